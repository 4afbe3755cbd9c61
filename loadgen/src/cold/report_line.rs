//! The line that Lambda writes after each invocation, as the log tail of an invoke holds it
//! (<https://docs.aws.amazon.com/lambda/latest/operatorguide/log-structure.html>, for snapshots
//! <https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html>).

/// One REPORT line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportLine {
    /// `Duration`: the handler, ms.
    pub duration_ms: f64,
    /// `Billed Duration`, ms. Holds the init of a cold start: it is billed since August 2025.
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
    /// The last REPORT line of a log tail, or none. Fields are separated by tabs and may come in any
    /// order; those it does not know are passed over.
    pub fn find(log_tail: &str) -> Option<Self> {
        let line = log_tail.lines().rev().find(|line| line.trim_start().starts_with("REPORT "))?;
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
        let snapshot = "REPORT RequestId: 7\tDuration: 5.00 ms\tBilled Duration: 6 ms\tMemory Size: 1024 MB\tMax Memory Used: 90 MB\t\
                        Restore Duration: 301.20 ms\tBilled Restore Duration: 60 ms";
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
                    ..line(5.0, 6.0, 1_024, 90)
                }),
            ),
            ("REPORT RequestId: 7\tDuration: x ms", None),
            ("no report\n", None),
            ("", None),
        ] {
            assert_eq!(ReportLine::find(text), expected, "{text}");
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
