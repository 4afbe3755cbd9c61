//! A run → one line of JSON in CloudWatch's Embedded Metric Format. Dimension is the function alone:
//! tables, partitions and shards are properties.

use serde_json::json;
use weir::clock::EpochMicros;
use weir::close::{Report, Waits};
use weir::commit::Requests;

use crate::emf::NAMESPACE;
use crate::ingest::Invocation;

/// Partitions that a line names; the others are counted.
const NAMED: usize = 50;

/// What is said about a run.
pub(crate) struct CloseLine<'a> {
    pub(crate) began_at: EpochMicros,
    pub(crate) duration_us: i64,
    pub(crate) function: &'a str,
    pub(crate) invocation: &'a Invocation,
    pub(crate) cold_start: bool,
    /// None if the run failed.
    pub(crate) report: Option<&'a Report>,
    pub(crate) error: Option<String>,
    pub(crate) requests: Requests,
}

impl CloseLine<'_> {
    /// The line, without its end.
    pub(crate) fn to_json(&self) -> String {
        let metrics = self.metrics();
        let named: Vec<_> =
            metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
        let mut line = json!({
            "_aws": {
                "Timestamp": self.began_at.millis(),
                "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [["function"]], "Metrics": named}],
            },
            "level": if self.error.is_some() { "error" } else { "info" },
            "function": self.function,
            "request_id": self.invocation.request_id,
            "trace_id": self.invocation.trace_id,
            "cold_start": self.cold_start,
            "requests": self.requests,
        });
        if let Some(error) = &self.error {
            line["error"] = json!(error);
        }
        for (name, _, value) in metrics {
            line[name] = json!(value);
        }
        if let Some(report) = self.report {
            line["closed"] = report.closed.iter().take(NAMED).map(|closed| json!(closed)).collect();
            // Those that only wait for their time are nothing to look at.
            let troubled =
                report.open.iter().filter(|open| !matches!(open.reason, Waits::Time | Waits::Turn));
            line["open"] = troubled.take(NAMED).map(|open| json!(open)).collect();
            line["streams"] = json!(report.streams);
            line["tables"] = json!(report.tables);
            line["views"] = json!(report.views);
        }
        line.to_string()
    }

    fn metrics(&self) -> Vec<(&'static str, &'static str, i64)> {
        let count = |count: fn(&Report) -> usize| self.report.map_or(0, count) as i64;
        let lag = self.report.map_or(0, |report| {
            let marks = report.streams.iter().filter_map(|stream| stream.watermark_us);
            marks.min().map_or(0, |oldest| (report.at_us.0 - oldest.0).max(0))
        });
        let unknown: fn(&Report) -> usize = |r| r.streams.iter().filter(|s| s.watermark_us.is_none()).count();
        let late: fn(&Report) -> usize = |r| r.closed.iter().filter(|c| c.revision > 1).count();
        let troubled: fn(&Report) -> usize =
            |r| r.open.iter().filter(|open| matches!(open.reason, Waits::Trouble(_))).count();
        let troubled_views: fn(&Report) -> usize =
            |r| r.views.iter().filter(|view| view.trouble.is_some()).count();
        vec![
            ("invocations_count", "Count", 1),
            ("cold_starts_count", "Count", i64::from(self.cold_start)),
            ("failed_runs_count", "Count", i64::from(self.error.is_some())),
            ("closed_revisions_count", "Count", count(|r| r.closed.len())),
            ("late_revisions_count", "Count", count(late)),
            ("open_partitions_count", "Count", count(|r| r.open.len())),
            ("troubled_partitions_count", "Count", count(troubled)),
            ("troubled_views_count", "Count", count(troubled_views)),
            ("stuck_shards_count", "Count", count(|r| r.stuck().count())),
            ("unknown_streams_count", "Count", count(unknown)),
            ("collected_files_count", "Count", count(|r| r.files_collected as usize)),
            ("commits_count", "Count", count(|r| r.commits_read as usize)),
            ("summary_bytes", "Bytes", count(|r| r.summary_bytes as usize)),
            ("watermark_lag_us", "Microseconds", lag),
            ("duration_us", "Microseconds", self.duration_us),
        ]
    }
}
