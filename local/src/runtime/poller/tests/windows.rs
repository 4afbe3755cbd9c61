//! Tumbling windows over the embedded endpoint, with a function that counts records in their state.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use weir::clock::{Clock, EpochMicros, ManualClock, SystemClock};

use super::super::{Invoke, InvokeOutcome, Poller};
use super::{Bench, eventually};

/// Of each event: records, count in the state it came with, whether final, whether early.
type WindowNotes = Arc<Mutex<Vec<(usize, u64, bool, bool)>>>;

/// Counts records in the window's state, as a function would.
fn counting(
    notes: &WindowNotes,
    answer: impl Fn(usize, Value) -> Value + Send + Sync + 'static,
) -> Arc<dyn Invoke> {
    let notes = notes.clone();
    Arc::new(move |event: Bytes| {
        let event: Value = serde_json::from_slice(&event).unwrap();
        let records = event["Records"].as_array().unwrap().len();
        let count = event["state"]["count"].as_u64().unwrap_or(0);
        let flag = |name: &str| event[name].as_bool().unwrap();
        let mut notes = notes.lock().unwrap();
        notes.push((records, count, flag("isFinalInvokeForWindow"), flag("isWindowTerminatedEarly")));
        assert_eq!(event["shardId"], "shardId-000000000000");
        let answer = answer(notes.len(), json!({"count": count + records as u64}));
        async move { InvokeOutcome::Answer(Bytes::from(answer.to_string())) }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tumbling_window_carries_its_state_to_its_end_through_a_restart() {
    let bench = Bench::new(1).await;
    let mut config = bench.config();
    config.mapping.batch_size = 10;
    config.mapping.policy.tumbling_window = Some(Duration::from_secs(900));
    config.mapping.policy.bisect = false;
    // All records have to arrive in one window.
    let left = 900_000 - SystemClock.now().millis() % 900_000;
    if left < 10_000 {
        tokio::time::sleep(Duration::from_millis(left as u64)).await;
    }
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    config.clock = clock.clone();
    bench.put_numbers(0..20).await;
    let notes = WindowNotes::default();
    // The second answer has no state, so its batch is delivered again.
    let forgetful =
        counting(&notes, |call, state| if call == 2 { json!({}) } else { json!({"state": state}) });
    let poller = Poller::start(config.clone(), forgetful.clone()).await.unwrap();
    eventually("20 records", || poller.status().records_delivered() == 20).await;
    poller.stop(Duration::from_secs(5)).await;
    bench.put_numbers(20..25).await;
    let poller = Poller::start(config, forgetful).await.unwrap();
    eventually("5 more", || poller.status().records_delivered() == 5).await;
    clock.set(EpochMicros(SystemClock.now().0 + 901_000_000));
    eventually("the end of the window", || notes.lock().unwrap().last().is_some_and(|n| n.2)).await;
    let expected = [
        (10, 0, false, false),
        (10, 10, false, false),
        (10, 10, false, false),
        (5, 20, false, false),
        (0, 25, true, false),
    ];
    assert_eq!(*notes.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_ends_with_the_next_ones_first_record_and_early_when_its_state_is_too_large() {
    let bench = Bench::new(1).await;
    let mut config = bench.config();
    config.mapping.policy.tumbling_window = Some(Duration::from_secs(1));
    bench.put_numbers(0..3).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    bench.put_numbers(3..5).await;
    let notes = WindowNotes::default();
    let large = counting(&notes, |call, mut state| {
        if call == 3 {
            state["filler"] = json!("x".repeat(1 << 20));
        }
        json!({"state": state})
    });
    let poller = Poller::start(config, large).await.unwrap();
    eventually("both windows", || notes.lock().unwrap().iter().filter(|n| n.2).count() == 2).await;
    assert_eq!(poller.status().records_delivered(), 5);
    let expected = [(3, 0, false, false), (0, 3, true, false), (2, 0, false, false), (0, 2, true, true)];
    assert_eq!(*notes.lock().unwrap(), expected);
}
