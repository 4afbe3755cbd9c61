//! The envelope of a CloudWatch Logs subscription
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>): one
//! document per log event. A message that is a JSON object is the document; any other text becomes
//! `{"id", "timestamp", "message", "log_group", "log_stream", "owner"}`, timestamp in milliseconds.

use serde::{Deserialize, Serialize};

use super::Broken;
use crate::dead_letter::Reason;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    message_type: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    log_group: String,
    #[serde(default)]
    log_stream: String,
    log_events: Vec<LogEvent>,
}

#[derive(Deserialize)]
struct LogEvent {
    id: String,
    timestamp: i64,
    message: String,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    timestamp: i64,
    message: &'a str,
    log_group: &'a str,
    log_stream: &'a str,
    owner: &'a str,
}

/// A cheap look: only then is the record parsed an extra time.
pub(super) fn may_be(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'{')
        && memchr::memmem::find(&bytes[..bytes.len().min(4_096)], b"\"messageType\"").is_some()
        && memchr::memmem::find(bytes, b"\"logEvents\"").is_some()
}

/// The documents of an envelope; `Some(None)`: a control message; `None`: some other document.
pub(super) fn open(bytes: &[u8]) -> Result<Option<Option<Vec<String>>>, Broken> {
    let envelope: Envelope = match serde_json::from_slice(bytes) {
        Ok(envelope) => envelope,
        // Cut short is an envelope that lost its end; anything else is for the table to judge.
        Err(error) if error.is_eof() => {
            let found = "an envelope cut short".into();
            return Err(Broken { reason: Reason::Envelope, expected: "a CloudWatch Logs envelope", found });
        }
        Err(_) => return Ok(None),
    };
    match envelope.message_type.as_str() {
        "CONTROL_MESSAGE" => Ok(Some(None)),
        "DATA_MESSAGE" => Ok(Some(Some(envelope.log_events.iter().map(|e| document(&envelope, e)).collect()))),
        _ => Ok(None),
    }
}

fn document(envelope: &Envelope, event: &LogEvent) -> String {
    let text = event.message.trim();
    if text.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return text.to_owned();
    }
    let line = Line {
        id: &event.id,
        timestamp: event.timestamp,
        message: &event.message,
        log_group: &envelope.log_group,
        log_stream: &envelope.log_stream,
        owner: &envelope.owner,
    };
    serde_json::to_string(&line).unwrap_or_default()
}
