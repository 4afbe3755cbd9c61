//! One request until each of its records has a definite answer or is given up: partial failures and
//! throttles are tried again with a growing pause.

use std::sync::Arc;
use std::time::Duration;

use super::ledger::Sent;
use super::shared::Shared;
use crate::target::{Answer, Record, Target};

/// Pause before the second try; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// An event in a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct InRequest {
    pub(super) number: u64,
    pub(super) intended_us: i64,
    pub(super) twice: bool,
}

/// Records that go together, and their events.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    pub(super) events: Vec<InRequest>,
    pub(super) bytes: usize,
}

/// Send a batch; the latencies of acknowledged events come back, in microseconds from when each was
/// to be sent.
pub(super) async fn send(target: Arc<Target>, shared: Arc<Shared>, mut batch: Batch) -> Vec<i64> {
    let mut latencies = Vec::with_capacity(batch.events.len());
    let mut records = std::mem::take(&mut batch.records);
    // Whether a put without an answer may have stored what is left.
    let mut unsure = false;
    let mut pause = FIRST_PAUSE;
    loop {
        let sent_us = shared.elapsed_us();
        shared.count(|c| &c.requests, 1);
        let answered = target.put(&records).await;
        let acked_us = shared.elapsed_us();
        match answered {
            Ok(answers) => {
                shared.reached();
                let mut left = Vec::new();
                for (record, answer) in records.into_iter().zip(answers) {
                    let events = &batch.events[record.events.clone()];
                    match answer {
                        Answer::Stored => {
                            latencies.extend(events.iter().map(|e| acked_us - e.intended_us));
                            let twice = unsure && !target.knows_repeats();
                            shared.acknowledged(&record, events, twice, sent_us, acked_us);
                        }
                        Answer::Throttled => {
                            shared.count(|c| &c.throttled_records, 1);
                            left.push(record);
                        }
                        Answer::Failed(text) => {
                            shared.trouble(&text);
                            left.push(record);
                        }
                    }
                }
                records = left;
            }
            Err(failure) => {
                unsure |= failure.may_be_stored;
                match failure.throttled {
                    true => shared.count(|c| &c.throttled_records, records.len() as u64),
                    false => shared.failed_put(&failure),
                }
            }
        }
        if records.is_empty() {
            return latencies;
        }
        if shared.gives_up() {
            let sent = if unsure { Sent::Unknown } else { Sent::Not };
            records.iter().for_each(|record| shared.given_up(&batch.events[record.events.clone()], sent));
            return latencies;
        }
        shared.count(|c| &c.retried_records, records.len() as u64);
        tokio::time::sleep(pause + jitter(sent_us, pause)).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Up to half of the pause, so that requests that were throttled together don't come together again.
fn jitter(us: i64, pause: Duration) -> Duration {
    pause.mul_f64((us as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / u64::MAX as f64 / 2.0)
}
