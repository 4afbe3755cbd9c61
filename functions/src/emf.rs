//! One line an invocation: structured for people and machines, and a CloudWatch embedded metric
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//! Dimensions are function, stream and table; the shard is a property, because each value of a
//! dimension is billed. No payload is ever in it.

use serde_json::{Value, json};
use weir::event::ParsedEvent;
use weir::pipeline::Processed;

/// What the line is about.
pub(crate) struct Invocation<'a> {
    pub(crate) function: &'a str,
    pub(crate) tables: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) cold_start: bool,
    pub(crate) now_ms: i64,
    pub(crate) event_bytes: usize,
    pub(crate) parse_us: i64,
}

const METRICS: [(&str, &str); 11] = [
    ("records_count", "Count"),
    ("rows_count", "Count"),
    ("dead_letters_count", "Count"),
    ("failed_batches_count", "Count"),
    ("files_count", "Count"),
    ("file_bytes", "Bytes"),
    ("puts_count", "Count"),
    ("gets_count", "Count"),
    ("unknown_fields_count", "Count"),
    ("age_ms", "Milliseconds"),
    ("duration_us", "Microseconds"),
];

/// The line.
pub(crate) fn line(invocation: &Invocation<'_>, event: &ParsedEvent, done: Result<&Processed, &weir::Error>) -> Value {
    let none = Processed::default();
    let processed = done.unwrap_or(&none);
    let counts = &processed.counts;
    let metrics: Vec<_> = METRICS.iter().map(|(name, unit)| json!({"Name": name, "Unit": unit})).collect();
    let text = |s: Option<&weir::record::SequenceNumber>| s.map(ToString::to_string);
    json!({
        "_aws": {"Timestamp": invocation.now_ms, "CloudWatchMetrics": [{
            "Namespace": "Weir", "Dimensions": [["function", "stream", "table"]], "Metrics": metrics}]},
        "function": invocation.function,
        "stream": event.stream(),
        "table": invocation.tables,
        "shard": event.shard,
        "from": text(event.positions.first()),
        "to": text(event.positions.last()),
        "first_uncommitted": text(processed.first_uncommitted.as_ref()),
        "request_id": invocation.request_id,
        "trace_id": invocation.trace_id,
        "cold_start": invocation.cold_start,
        "cold_shard": processed.cold_shard,
        "error": done.err().map(|e| describe(e)),
        "records_count": event.counts.records,
        "documents_count": event.counts.documents,
        "control_messages_count": event.counts.control_messages,
        "rows_count": counts.rows.values().sum::<u64>(),
        "rows_by_table": counts.rows,
        "dead_letters_count": counts.dead.values().sum::<u64>(),
        "dead_letters_by_reason": counts.dead,
        "unknown_fields_count": counts.unknown_fields.values().sum::<u64>(),
        "unknown_fields_by_path": counts.unknown_fields,
        "skipped_documents_count": counts.skipped_documents,
        "unregistered_partitions_count": processed.unregistered_partitions,
        "failed_batches_count": u64::from(done.is_err() || processed.first_uncommitted.is_some()),
        "files_count": processed.files,
        "file_bytes": counts.file_bytes,
        "puts_count": processed.requests.puts,
        "gets_count": processed.requests.gets,
        "lists_count": processed.requests.lists,
        "event_bytes": invocation.event_bytes,
        "age_ms": (invocation.now_ms - event.arrived_through.millis()).max(0),
        "parse_us": invocation.parse_us,
        "build_us": processed.build_us,
        "duration_us": invocation.parse_us + processed.total_us,
    })
}

/// An error with its causes, once.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
