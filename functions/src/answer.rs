//! What the function answers to the event source mapping. The type cannot express the forms that
//! fail a whole batch (empty identifiers, several of them, a wrong key)
//! (<https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>).

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;
use weir::record::SequenceNumber;

/// All records are committed, or all before one.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The first record that no commit lists.
    pub first_uncommitted: Option<SequenceNumber>,
    /// State of a tumbling window, echoed: AWS takes an answer without it as a failure.
    pub window_state: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    item_identifier: String,
}

impl Serialize for Answer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let failure = self.first_uncommitted.map(|s| Failure { item_identifier: s.to_string() });
        map.serialize_entry("batchItemFailures", &failure.into_iter().collect::<Vec<_>>())?;
        if let Some(state) = &self.window_state {
            map.serialize_entry("state", state)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_one_record_or_none() {
        let text = |first: Option<u64>, state: Option<&str>| {
            let window_state = state.map(|s| RawValue::from_string(s.into()).unwrap());
            serde_json::to_string(&Answer { first_uncommitted: first.map(Into::into), window_state }).unwrap()
        };
        assert_eq!(text(None, None), r#"{"batchItemFailures":[]}"#);
        assert_eq!(text(Some(7), None), r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#);
        assert_eq!(text(None, Some("{}")), r#"{"batchItemFailures":[],"state":{}}"#);
    }
}
