//! Tumbling windows: arrival times in, windows and the fields that events carry while one is open
//! out. No I/O, no clock.
//!
//! A window is a span of arrival time, counted from the epoch. Its events carry the state that the
//! function answered last; the one that ends it carries no records. An answer without a state has
//! failed, as AWS has it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use weir::clock::EpochMicros;

use super::envelope::{EventRecord, Names};

/// Longest window (quota of event source mappings).
pub const MAX_TUMBLING_WINDOW: Duration = Duration::from_secs(900);
/// Most bytes of a state (the same); past it the window ends early.
pub(super) const MAX_STATE_BYTES: usize = 1 << 20;

/// A window that has begun, and what the function keeps in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWindow {
    /// First millisecond.
    pub start_ms: i64,
    /// JSON text of the state.
    pub state: String,
}

/// Why a window's last event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// It is not the last one.
    NotYet,
    /// Its time is over, or its shard.
    InTime,
    /// The state has grown too large.
    Early,
}

impl OpenWindow {
    /// The window that a record falls into, with nothing in it.
    pub(super) fn of(arrived_ms: i64, length: Duration) -> Self {
        let length = (length.as_millis() as i64).max(1);
        Self { start_ms: arrived_ms.div_euclid(length) * length, state: "{}".to_owned() }
    }

    /// First millisecond after it.
    pub(super) fn end_ms(&self, length: Duration) -> i64 {
        self.start_ms + length.as_millis() as i64
    }

    /// How many records from the head of a batch belong to it. Arrival times are approximate: one
    /// before the window counts as its own, so that windows only go forward.
    pub(super) fn takes(&self, records: &[EventRecord], length: Duration) -> usize {
        let end = self.end_ms(length);
        records.iter().take_while(|r| r.arrived_at.millis() < end).count()
    }

    /// The fields beside `Records`, each with a comma before it.
    pub(super) fn fields(&self, length: Duration, names: &Names, shard: &str, ends: Ends) -> String {
        let at = |ms: i64| {
            let at = jiff::Timestamp::from_microsecond(EpochMicros::from_millis(ms).0).unwrap_or_default();
            at.to_string()
        };
        let window = json!({"start": at(self.start_ms), "end": at(self.end_ms(length))});
        format!(
            r#","window":{window},"state":{},"shardId":{},"eventSourceARN":{},"isFinalInvokeForWindow":{},"isWindowTerminatedEarly":{}"#,
            self.state,
            json!(shard),
            json!(names.stream_arn),
            ends != Ends::NotYet,
            ends == Ends::Early,
        )
    }
}

/// The state of an answer, if it has one.
pub(super) fn state_of(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Stated<'a> {
        #[serde(borrow)]
        state: Option<&'a RawValue>,
    }
    let state = serde_json::from_slice::<Stated<'_>>(answer).ok()?.state?.get();
    state.starts_with('{').then(|| state.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_window_begins_at_a_whole_multiple_of_its_length() {
        for (arrived, start) in [(0, 0), (59_999, 0), (60_000, 60_000), (-1, -60_000)] {
            assert_eq!(OpenWindow::of(arrived, MINUTE).start_ms, start, "{arrived}");
        }
    }

    #[test]
    fn the_fields_are_those_that_aws_documents() {
        let names = Names::new("arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream", "f");
        let window = OpenWindow { start_ms: 1_596_128_400_000, state: r#"{"1":282,"2":715}"#.into() };
        let length = Duration::from_secs(300);
        let fields = window.fields(length, &names, "shardId-000000000006", Ends::Early);
        let event: Value = serde_json::from_str(&format!("{{\"Records\":[]{fields}}}")).unwrap();
        assert_eq!(
            event,
            json!({
                "Records": [],
                "window": {"start": "2020-07-30T17:00:00Z", "end": "2020-07-30T17:05:00Z"},
                "state": {"1": 282, "2": 715},
                "shardId": "shardId-000000000006",
                "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream",
                "isFinalInvokeForWindow": true,
                "isWindowTerminatedEarly": true,
            })
        );
    }

    #[test]
    fn a_state_is_an_object_and_kept_as_written() {
        let cases = [
            (r#"{"state":{"n":1.50},"batchItemFailures":[]}"#, Some(r#"{"n":1.50}"#)),
            (r#"{"batchItemFailures":[]}"#, None),
            (r#"{"state":null}"#, None),
            (r#"{"state":"x"}"#, None),
            ("null", None),
            ("", None),
        ];
        for (answer, expected) in cases {
            assert_eq!(state_of(answer.as_bytes()).as_deref(), expected, "{answer}");
        }
    }
}
