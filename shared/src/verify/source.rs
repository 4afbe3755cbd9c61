//! A loaded file that is still there and unchanged, against the byte ranges that commits list and
//! the rows and dead letters that they count.

use super::finding::{Finding, Kind};
use super::{ChainReport, Origin};
use crate::commit::PositionSet;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceContents {
    /// Bytes, unpacked.
    pub bytes: u64,
    /// Lines that are not blank.
    pub lines: u64,
}

/// What of the file commits do not list, or list and count otherwise.
pub fn compare_source(report: &ChainReport, origin: &Origin, contents: SourceContents) -> Vec<Finding> {
    let Origin { stream: url, table } = origin;
    let way_out = format!("run `weir ingest {url} --table {table}` again: it loads what is missing");
    let listed = report.bytes.clone().unwrap_or_default();
    let whole = PositionSet::from_ranges(std::iter::once(0..contents.bytes));
    let end = match &listed {
        PositionSet::Ranges(ranges) => ranges.last().map_or(0, |range| range.end),
        PositionSet::Exact(_) => 0,
    };
    let mut findings = Vec::new();
    // Gaps in the middle are told by the chain itself, source or not.
    if end < contents.bytes {
        let problem = format!("bytes {end} to {} are in no commit", contents.bytes - 1);
        findings.push(Finding::new(Kind::MissingRange, url, problem, way_out));
    } else if end > contents.bytes {
        let problem = format!("commits list bytes up to {end}, the file has {}", contents.bytes);
        let way_out = "the commits are of another content: compare what `weir status` shows with the file";
        findings.push(Finding::new(Kind::PhantomRecords, url, problem, way_out));
    } else if whole.within(&listed) && report.intact && contents.lines != report.rows + report.quarantined {
        let (rows, quarantined) = (report.rows, report.quarantined);
        let problem = format!(
            "it has {} lines that are not blank, commits count {rows} rows and {quarantined} dead letters",
            contents.lines
        );
        let way_out = "load it into a fresh table and compare the two";
        findings.push(Finding::new(Kind::SourceCount, url, problem, way_out));
    }
    findings
}
