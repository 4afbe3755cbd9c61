//! What an event source mapping does next, given what the function answered: batch and answer in,
//! next action out. No I/O, no clock, no state.
//!
//! | the function | with | next |
//! |---|---|---|
//! | answers success | | the batch is done |
//! | reports item i > 0 | | what stands before i is done, the rest is a fresh batch |
//! | reports item 0, an invalid identifier, or fails | bisect, more than one record | two halves; no retry is used up |
//! | the same | retries left | the same batch again, one retry used up |
//! | the same | no retries left | the batch goes to the on-failure destination |
//! | is throttled | | the same batch again; no retry is used up |
//!
//! A batch that a partial answer or a bisect has made smaller counts its retries from zero: so AWS
//! did in the recorded case `test_kinesis_report_batch_item_failures`.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::window::state_of;

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvokeOutcome {
    /// The function returned these bytes.
    Answer(Bytes),
    /// The function failed: an error, a crash, a time-out.
    FunctionError(String),
    /// The function was not invoked; the same event must be offered again.
    Throttled,
}

/// The settings that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether answers are read as `ReportBatchItemFailures`; otherwise every answer is success.
    pub report_batch_item_failures: bool,
    /// Whether a failed batch is split in two.
    pub bisect: bool,
    /// Retries of one batch; `None` is without end.
    pub maximum_retry_attempts: Option<u32>,
    /// Age in milliseconds after which a record is no longer delivered; `None` is never.
    pub maximum_record_age_ms: Option<i64>,
    /// Length of the tumbling window; with one, an answer without a state has failed.
    pub tumbling_window: Option<Duration>,
}

/// Why a batch was given up, as the destination's envelope names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All retries failed.
    RetryAttemptsExhausted,
    /// The record is older than the mapping delivers.
    RecordAgeExceeded,
    /// The record alone does not fit an invocation.
    PayloadSizeExceeded,
}

impl Condition {
    /// The envelope's `condition`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
            Self::PayloadSizeExceeded => "PayloadSizeExceeded",
        }
    }
}

/// What an answer says about a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is done.
    Success,
    /// The records from this index on are not done.
    FailedFrom(usize),
    /// None of it is done.
    Failed,
}

/// What to do with the batch.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Checkpoint after its last record.
    Done,
    /// Checkpoint before this index; the rest is a fresh batch.
    ContinueFrom(usize),
    /// Two fresh batches, the second beginning at this index.
    Split(usize),
    /// The same again, one retry used up.
    Retry,
    /// The same again, no retry used up.
    RetryUncounted,
    /// To the on-failure destination, then checkpoint after its last record.
    GiveUp(Condition),
}

/// The next action for a batch of `sequence_numbers` that has used `retries` retries.
pub fn decide(outcome: &InvokeOutcome, sequence_numbers: &[&str], retries: u32, policy: &Policy) -> Next {
    let verdict = match outcome {
        InvokeOutcome::Throttled => return Next::RetryUncounted,
        InvokeOutcome::FunctionError(_) => Verdict::Failed,
        InvokeOutcome::Answer(bytes) if policy.tumbling_window.is_some() && state_of(bytes).is_none() => {
            Verdict::Failed
        }
        InvokeOutcome::Answer(_) if !policy.report_batch_item_failures => Verdict::Success,
        InvokeOutcome::Answer(bytes) => read_answer(bytes, sequence_numbers),
    };
    match verdict {
        Verdict::Success => Next::Done,
        Verdict::FailedFrom(index) if index > 0 => Next::ContinueFrom(index),
        Verdict::FailedFrom(_) | Verdict::Failed => failed(sequence_numbers.len(), retries, policy),
    }
}

fn failed(records: usize, retries: u32, policy: &Policy) -> Next {
    if policy.bisect && records > 1 {
        return Next::Split(records / 2);
    }
    match policy.maximum_retry_attempts {
        Some(maximum) if retries >= maximum => Next::GiveUp(Condition::RetryAttemptsExhausted),
        _ => Next::Retry,
    }
}

/// Read an answer as AWS does with `ReportBatchItemFailures`: the lowest reported sequence number
/// counts, one bad identifier spoils the whole batch, and emptiness of any kind is success.
pub fn read_answer(answer: &[u8], sequence_numbers: &[&str]) -> Verdict {
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Verdict::Success;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return Verdict::Failed };
    let failures = match &answer {
        Value::Null => return Verdict::Success,
        Value::String(text) if text.is_empty() => return Verdict::Success,
        Value::Array(items) if items.is_empty() => return Verdict::Success,
        Value::Object(fields) => match fields.get("batchItemFailures") {
            None | Some(Value::Null) => return Verdict::Success,
            Some(Value::Array(failures)) => failures,
            Some(_) => return Verdict::Failed,
        },
        _ => return Verdict::Failed,
    };
    let mut lowest = None;
    for failure in failures {
        let reported = failure.get("itemIdentifier").and_then(Value::as_str);
        let Some(index) = reported.and_then(|id| sequence_numbers.iter().position(|s| *s == id)) else {
            return Verdict::Failed;
        };
        lowest = Some(lowest.map_or(index, |low: usize| low.min(index)));
    }
    lowest.map_or(Verdict::Success, Verdict::FailedFrom)
}

/// How many records at the head of a batch are too old to be delivered.
pub fn expired_records(arrivals_ms: impl IntoIterator<Item = i64>, now_ms: i64, policy: &Policy) -> usize {
    let Some(maximum) = policy.maximum_record_age_ms else { return 0 };
    arrivals_ms.into_iter().take_while(|arrived| now_ms.saturating_sub(*arrived) > maximum).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [&str; 4] = ["11", "12", "13", "14"];

    fn policy() -> Policy {
        Policy {
            report_batch_item_failures: true,
            bisect: false,
            maximum_retry_attempts: Some(2),
            maximum_record_age_ms: Some(60_000),
            tumbling_window: None,
        }
    }

    #[test]
    fn answers_are_read_as_aws_reads_them() {
        let cases: [(&str, Verdict); 24] = [
            // test_kinesis_report_batch_item_success_scenarios
            (r#"[]"#, Verdict::Success),
            (r#""""#, Verdict::Success),
            (r#""#, Verdict::Success),
            (r#"null"#, Verdict::Success),
            (r#"{}"#, Verdict::Success),
            (r#"{"batchItemFailures":[]}"#, Verdict::Success),
            (r#"{"batchItemFailures":null}"#, Verdict::Success),
            // test_kinesis_report_batch_item_failure_scenarios
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures":[{"foo":"11"}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures":[{"foo":null}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures":[{"itemIdentifier":"123-456"}]}"#, Verdict::Failed),
            // one bad identifier among good ones
            (r#"{"batchItemFailures":[{"itemIdentifier":"13"},{"itemIdentifier":""}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures":[{"itemIdentifier":"13"},{"itemIdentifier":"99"}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures":[{"itemIdentifier":13}]}"#, Verdict::Failed),
            // partial answers
            (r#"{"batchItemFailures":[{"itemIdentifier":"13"}]}"#, Verdict::FailedFrom(2)),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"14"},{"itemIdentifier":"12"}]}"#,
                Verdict::FailedFrom(1),
            ),
            (r#"{"batchItemFailures":[{"itemIdentifier":"11"}]}"#, Verdict::FailedFrom(0)),
            // other shapes
            (r#"{"statusCode":200}"#, Verdict::Success),
            (r#"{"batchItemFailures":"13"}"#, Verdict::Failed),
            (r#"{"batchItemFailures":[null]}"#, Verdict::Failed),
            (r#"{"batchItemFailures":["13"]}"#, Verdict::Failed),
            (r#"not json"#, Verdict::Failed),
            (r#"42"#, Verdict::Failed),
        ];
        for (answer, expected) in cases {
            assert_eq!(read_answer(answer.as_bytes(), &NUMBERS), expected, "{answer}");
        }
    }

    #[test]
    fn every_outcome_has_its_next_action() {
        let answer = |text: &str| InvokeOutcome::Answer(Bytes::copy_from_slice(text.as_bytes()));
        let error = InvokeOutcome::FunctionError("boom".into());
        let third = answer(r#"{"batchItemFailures":[{"itemIdentifier":"13"}]}"#);
        let first = answer(r#"{"batchItemFailures":[{"itemIdentifier":"11"}]}"#);
        let bisect = Policy { bisect: true, ..policy() };
        let endless = Policy { maximum_retry_attempts: None, ..policy() };
        let deaf = Policy { report_batch_item_failures: false, ..policy() };
        let gave_up = Next::GiveUp(Condition::RetryAttemptsExhausted);
        let windowed = Policy { tumbling_window: Some(Duration::from_secs(60)), ..policy() };
        let windowed_deaf = Policy { report_batch_item_failures: false, ..windowed };
        let stated = answer(r#"{"state":{},"batchItemFailures":[{"itemIdentifier":"13"}]}"#);
        let cases: [(&InvokeOutcome, &[&str], u32, Policy, Next); 19] = [
            (&answer("{}"), &NUMBERS, 0, windowed, Next::Retry),
            (&third, &NUMBERS, 2, windowed_deaf, gave_up),
            (&stated, &NUMBERS, 0, windowed, Next::ContinueFrom(2)),
            (&stated, &NUMBERS, 0, windowed_deaf, Next::Done),
            (&answer("{}"), &NUMBERS, 0, policy(), Next::Done),
            (&third, &NUMBERS, 0, policy(), Next::ContinueFrom(2)),
            (&third, &NUMBERS, 2, policy(), Next::ContinueFrom(2)),
            (&third, &NUMBERS, 2, bisect, Next::ContinueFrom(2)),
            (&first, &NUMBERS, 0, policy(), Next::Retry),
            (&first, &NUMBERS, 2, policy(), gave_up),
            (&first, &NUMBERS, 2, bisect, Next::Split(2)),
            (&third, &NUMBERS, 0, deaf, Next::Done),
            (&error, &NUMBERS, 0, deaf, Next::Retry),
            (&error, &NUMBERS, 1, policy(), Next::Retry),
            (&error, &NUMBERS, 2, policy(), gave_up),
            (&error, &NUMBERS, 1_000_000, endless, Next::Retry),
            (&error, &NUMBERS[..3], 0, bisect, Next::Split(1)),
            (&error, &NUMBERS[..1], 2, bisect, gave_up),
            (&InvokeOutcome::Throttled, &NUMBERS, 2, bisect, Next::RetryUncounted),
        ];
        for (n, (outcome, numbers, retries, policy, expected)) in cases.into_iter().enumerate() {
            assert_eq!(decide(outcome, numbers, retries, &policy), expected, "case {n}");
        }
    }

    #[test]
    fn only_the_old_head_of_a_batch_expires() {
        let cases: [(&[i64], Option<i64>, usize); 5] = [
            (&[0, 0, 50_000], Some(60_000), 2),
            (&[0, 50_000, 0], Some(60_000), 1),
            (&[40_001, 40_000], Some(60_000), 0),
            (&[0, 0], None, 0),
            (&[200_000], Some(60_000), 0),
        ];
        for (arrivals, age, expected) in cases {
            let policy = Policy { maximum_record_age_ms: age, ..policy() };
            assert_eq!(expired_records(arrivals.iter().copied(), 100_000, &policy), expected, "{arrivals:?}");
        }
    }
}
