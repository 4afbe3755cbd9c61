//! The line that Lambda writes after each invocation, as the log tail of an invoke holds it: as text
//! (<https://docs.aws.amazon.com/lambda/latest/operatorguide/log-structure.html>, for snapshots
//! <https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html>), or as JSON where the
//! function's log format is that
//! (<https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html#platform-report>).

use serde::Deserialize;

/// One REPORT line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportLine {
    /// `Duration`: the handler, ms.
    pub duration_ms: f64,
    /// `Billed Duration`, ms. Holds the init of a cold start, which is billed since August 2025, and what is
    /// billed of a restore.
    pub billed_ms: f64,
    /// `Memory Size`, MB.
    pub memory_mb: u32,
    /// `Max Memory Used`, MB.
    pub max_memory_mb: u32,
    /// `Init Duration`, ms: only after a cold start.
    pub init_ms: Option<f64>,
    /// `Restore Duration`, ms: only where a snapshot was restored.
    pub restore_ms: Option<f64>,
    /// `Billed Restore Duration`, ms.
    pub billed_restore_ms: Option<f64>,
}

impl ReportLine {
    /// The last report of a log tail, or none.
    pub fn find(log_tail: &str) -> Option<Self> {
        log_tail.lines().rev().find_map(|line| {
            let line = line.trim_start();
            if line.starts_with("REPORT ") { Self::of_text(line) } else { Self::of_json(line) }
        })
    }

    /// Whether a new environment was made for it.
    pub fn is_cold(&self) -> bool {
        self.init_ms.is_some() || self.restore_ms.is_some()
    }

    /// Part of the billed time that is not the handler's: the init or the restore, as far as the
    /// service bills it.
    pub fn billed_start_ms(&self) -> f64 {
        (self.billed_ms - self.duration_ms.ceil()).max(0.0)
    }

    /// Fields are separated by tabs and may come in any order; those it does not know are passed over.
    fn of_text(line: &str) -> Option<Self> {
        let mut found = Self::default();
        let (mut has_duration, mut has_billed) = (false, false);
        for field in line.split('\t') {
            let Some((name, value)) = field.trim().split_once(':') else { continue };
            let Some(number) = value.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()) else {
                continue;
            };
            match name {
                "Duration" => (found.duration_ms, has_duration) = (number, true),
                "Billed Duration" => (found.billed_ms, has_billed) = (number, true),
                "Memory Size" => found.memory_mb = number as u32,
                "Max Memory Used" => found.max_memory_mb = number as u32,
                "Init Duration" => found.init_ms = Some(number),
                "Restore Duration" => found.restore_ms = Some(number),
                "Billed Restore Duration" => found.billed_restore_ms = Some(number),
                _ => {}
            }
        }
        (has_duration && has_billed).then_some(found)
    }

    fn of_json(line: &str) -> Option<Self> {
        if !line.contains("\"platform.report\"") {
            return None;
        }
        let event: PlatformReport = serde_json::from_str(line).ok()?;
        let metrics = event.record.metrics;
        (event.kind == "platform.report").then_some(Self {
            duration_ms: metrics.duration_ms,
            billed_ms: metrics.billed_duration_ms,
            memory_mb: metrics.memory_size_mb,
            max_memory_mb: metrics.max_memory_used_mb,
            init_ms: metrics.init_duration_ms,
            restore_ms: metrics.restore_duration_ms,
            billed_restore_ms: metrics.billed_restore_duration_ms,
        })
    }
}

#[derive(Deserialize)]
struct PlatformReport {
    #[serde(rename = "type")]
    kind: String,
    record: ReportRecord,
}

#[derive(Deserialize)]
struct ReportRecord {
    metrics: ReportMetrics,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportMetrics {
    duration_ms: f64,
    billed_duration_ms: f64,
    #[serde(rename = "memorySizeMB")]
    memory_size_mb: u32,
    #[serde(rename = "maxMemoryUsedMB")]
    max_memory_used_mb: u32,
    init_duration_ms: Option<f64>,
    restore_duration_ms: Option<f64>,
    billed_restore_duration_ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_lines_are_read_as_the_service_writes_them() {
        let cold = "START RequestId: 8f5 Version: $LATEST\nEND RequestId: 8f5\n\
                    REPORT RequestId: 8f5\tDuration: 12.43 ms\tBilled Duration: 31 ms\tMemory Size: 512 MB\t\
                    Max Memory Used: 61 MB\tInit Duration: 18.11 ms\t\n";
        let warm = "REPORT RequestId: 9\tDuration: 3.10 ms\tBilled Duration: 4 ms\tMemory Size: 512 MB\tMax Memory Used: 61 MB\t\n\
                    XRAY TraceId: 1-5e1b\tSegmentId: 7f\tSampled: true\n";
        let snapshot = "REPORT RequestId: 7\tDuration: 5.00 ms\tBilled Duration: 65 ms\tMemory Size: 1024 MB\tMax Memory Used: 90 MB\t\
                        Restore Duration: 301.20 ms\tBilled Restore Duration: 60 ms";
        let json = r#"{"time":"2026-11-20T08:10:30.100Z","type":"platform.start","record":{"requestId":"9","version":"$LATEST"}}
{"time":"2026-11-20T08:10:30.208Z","type":"platform.report","record":{"requestId":"9","metrics":{"durationMs":12.430,"billedDurationMs":31,"memorySizeMB":512,"maxMemoryUsedMB":61,"initDurationMs":18.110},"status":"success"}}"#;
        let line = |duration_ms, billed_ms, memory_mb, max_memory_mb| ReportLine {
            duration_ms,
            billed_ms,
            memory_mb,
            max_memory_mb,
            ..ReportLine::default()
        };
        for (text, expected) in [
            (cold, Some(ReportLine { init_ms: Some(18.11), ..line(12.43, 31.0, 512, 61) })),
            (warm, Some(line(3.1, 4.0, 512, 61))),
            (
                snapshot,
                Some(ReportLine {
                    restore_ms: Some(301.2),
                    billed_restore_ms: Some(60.0),
                    ..line(5.0, 65.0, 1_024, 90)
                }),
            ),
            (json, Some(ReportLine { init_ms: Some(18.11), ..line(12.43, 31.0, 512, 61) })),
            (r#"{"type":"platform.report","record":{}}"#, None),
            ("REPORT RequestId: 7\tDuration: x ms", None),
            ("no report\n", None),
            ("", None),
        ] {
            assert_eq!(ReportLine::find(text), expected, "{text}");
        }
        // Init and restore are billed with the handler, each rounded up with it.
        for (text, billed) in [(cold, 18.0), (warm, 0.0), (snapshot, 60.0)] {
            assert_eq!(ReportLine::find(text).unwrap().billed_start_ms(), billed, "{text}");
        }
        // A function's own output may hold the word; the service's line comes last.
        assert_eq!(ReportLine::find(&format!("REPORT of mine\n{warm}")), Some(line(3.1, 4.0, 512, 61)));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}", tabs in "[A-Z a-z:\t0-9.\n]{0,200}") {
            let _ = ReportLine::find(&text);
            let _ = ReportLine::find(&format!("REPORT {tabs}"));
        }
    }
}
