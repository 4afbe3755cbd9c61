//! One invocation → one line of JSON that is a log event and a CloudWatch metric record (Embedded
//! Metric Format) at once. Dimensions are function, stream and table; the shard is a property, because
//! each value of a dimension is billed. Holds positions, counts and times, never a payload.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use weir::clock::EpochMicros;
use weir::event::EventOrigin;
use weir::metrics::BatchMetrics;

/// Namespace of all metrics.
pub const NAMESPACE: &str = "Weir";

/// What is said about an invocation.
#[derive(Debug)]
pub struct InvocationLine<'a> {
    /// When it began.
    pub began_at: EpochMicros,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Name of the function.
    pub function: &'a str,
    /// Tables it writes.
    pub tables: &'a [String],
    /// Stream and shard; `None` if the event had no records or was none.
    pub origin: Option<&'a EventOrigin>,
    /// The service's id of the invocation.
    pub request_id: &'a str,
    /// X-Ray trace header.
    pub trace_id: Option<&'a str>,
    /// First invocation of the process.
    pub cold_start: bool,
    /// First and last record delivered.
    pub range: Option<(String, String)>,
    /// The first record reported as failed.
    pub first_failure: Option<&'a str>,
    /// What went wrong, causes included.
    pub error: Option<String>,
    /// The counters.
    pub metrics: &'a BatchMetrics,
}

/// Name, unit and value of each metric: one row a metric.
type Metric = (&'static str, &'static str, fn(&InvocationLine<'_>) -> u64);

const METRICS: [Metric; 20] = [
    ("invocations_count", "Count", |_| 1),
    ("cold_starts_count", "Count", |l| u64::from(l.cold_start)),
    ("failed_batches_count", "Count", |l| u64::from(l.first_failure.is_some() || l.error.is_some())),
    ("records_count", "Count", |l| l.metrics.records_count),
    ("redelivered_count", "Count", |l| l.metrics.redelivered_count),
    ("documents_count", "Count", |l| l.metrics.documents_count),
    ("rows_count", "Count", |l| l.metrics.rows_count),
    ("dead_letters_count", "Count", |l| l.metrics.dead_letters_count()),
    ("unknown_fields_count", "Count", |l| l.metrics.unknown_fields_count()),
    ("files_count", "Count", |l| l.metrics.files_count),
    ("partitions_count", "Count", |l| l.metrics.partitions_count),
    ("commits_count", "Count", |l| l.metrics.commits_count),
    ("unregistered_partitions_count", "Count", |l| l.metrics.unregistered_partitions_count),
    ("requests_count", "Count", |l| l.metrics.requests.total()),
    ("payload_bytes", "Bytes", |l| l.metrics.payload_bytes),
    ("files_bytes", "Bytes", |l| l.metrics.files_bytes),
    ("duration_us", "Microseconds", |l| l.duration_us),
    ("unpack_us", "Microseconds", |l| l.metrics.stages.unpack_us),
    ("build_us", "Microseconds", |l| l.metrics.stages.build_us),
    ("commit_us", "Microseconds", |l| l.metrics.stages.commit_us),
];

impl InvocationLine<'_> {
    /// The line, without its end.
    pub fn to_json(&self) -> String {
        // Serializing strings and numbers into memory has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for InvocationLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("_aws", &directive(self.began_at))?;
        line.serialize_entry("level", if self.error.is_some() { "error" } else { "info" })?;
        line.serialize_entry("function", self.function)?;
        line.serialize_entry("stream", self.origin.map_or("none", EventOrigin::stream_name))?;
        line.serialize_entry("table", &self.tables.join(","))?;
        line.serialize_entry("shard", &self.origin.map(|o| &o.shard))?;
        line.serialize_entry("request_id", self.request_id)?;
        line.serialize_entry("trace_id", &self.trace_id)?;
        line.serialize_entry("cold_start", &self.cold_start)?;
        line.serialize_entry("from_sequence", &self.range.as_ref().map(|r| &r.0))?;
        line.serialize_entry("to_sequence", &self.range.as_ref().map(|r| &r.1))?;
        line.serialize_entry("first_failure", &self.first_failure)?;
        if let Some(error) = &self.error {
            line.serialize_entry("error", error)?;
        }
        for (name, _, value) in METRICS {
            line.serialize_entry(name, &value(self))?;
        }
        line.serialize_entry("inflated_bytes", &self.metrics.inflated_bytes)?;
        line.serialize_entry("control_messages_count", &self.metrics.control_messages_count)?;
        line.serialize_entry("dead_letters", &self.metrics.dead_letters)?;
        line.serialize_entry("unknown_fields", &self.metrics.unknown_fields)?;
        line.serialize_entry("requests", &self.metrics.requests)?;
        line.end()
    }
}

fn directive(began_at: EpochMicros) -> serde_json::Value {
    let metrics: Vec<_> =
        METRICS.iter().map(|(name, unit, _)| serde_json::json!({"Name": name, "Unit": unit})).collect();
    serde_json::json!({
        "Timestamp": began_at.millis(),
        "CloudWatchMetrics": [{
            "Namespace": NAMESPACE,
            "Dimensions": [["function", "stream", "table"]],
            "Metrics": metrics,
        }],
    })
}
