//! A stream that still holds its records, against what the commits of a shard list: record by
//! record, in the order of the stream, a window at a time.

use std::collections::BTreeSet;

use super::finding::{Finding, Kind, Sink};
use super::overlap::{Sets, Spans};
use super::{ChainReport, Verifier};
use crate::commit::PositionSet;
use crate::error::Result;
use crate::record::SequenceNumber;

/// Records without a commit that are looked at a second time by name; of more only the number is
/// told.
const DOUBTS: usize = 100_000;

/// What a comparison saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Compared {
    /// Records that the stream holds.
    pub records: u64,
    /// Of them: listed by a commit.
    pub committed: u64,
    /// Behind everything that is committed: not loaded yet.
    pub waiting: u64,
    /// Listed by no commit although later ones are.
    pub missing: u64,
    /// Listed by a commit, between records that the stream holds, and not in the stream.
    pub phantoms: u64,
}

/// One shard of a stream against its chain.
pub struct StreamComparison {
    spans: Spans,
    sets: Sets,
    report: ChainReport,
    newest: Option<SequenceNumber>,
    last: Option<SequenceNumber>,
    doubts: BTreeSet<SequenceNumber>,
    doubtful: u64,
    phantom: Option<SequenceNumber>,
    compared: Compared,
}

impl StreamComparison {
    /// Of the chain that `report` is about.
    pub fn new(verifier: &Verifier, mut report: ChainReport) -> Self {
        let spans = std::mem::replace(&mut report.spans, Spans::after(None, verifier.budget.spans));
        let newest = spans.entries.iter().map(|entry| entry.max).max();
        let sets = Sets::new(verifier.lake.clone(), report.chain.clone());
        Self {
            spans,
            sets,
            report,
            newest,
            last: None,
            doubts: BTreeSet::new(),
            doubtful: 0,
            phantom: None,
            compared: Compared::default(),
        }
    }

    /// The next records of the stream, ascending, behind those of the call before.
    ///
    /// # Errors
    /// The commits cannot be read.
    pub async fn records(&mut self, verifier: &Verifier, records: &[SequenceNumber]) -> Result<()> {
        let (Some(&first), Some(&last)) = (records.first(), records.last()) else { return Ok(()) };
        let stream: PositionSet = records.iter().copied().collect();
        let mut listed = PositionSet::default();
        let from = self.last.unwrap_or(first);
        if !self.spans.reach(first) || !self.spans.starts_before(first) {
            // Too many versions to be held: the ones that matter here are read again.
            let (lake, chain) = (verifier.lake.clone(), self.report.chain.clone());
            let room = verifier.budget.spans;
            self.spans = Spans::read(&lake, &chain, self.report.head, self.last, room).await?;
        }
        loop {
            let meeting = self.spans.entries.iter().filter(|e| e.min <= last && from <= e.max);
            let versions: Vec<u64> = meeting.map(|entry| entry.version).collect();
            for version in versions {
                listed = listed.union(&within(self.sets.of(version).await?, self.last, first, last));
            }
            if self.spans.reach(last) {
                break;
            }
            let next = self.spans.next(&verifier.lake, &self.report.chain, self.report.head).await?;
            match next {
                Some(next) => self.spans = next,
                None => break,
            }
        }
        self.newest = self.newest.max(self.spans.entries.iter().map(|entry| entry.max).max());
        let missing = stream.subtract(&listed);
        let phantoms = listed.subtract(&stream);
        self.compared.records += stream.count();
        self.compared.committed += stream.count() - missing.count();
        self.compared.phantoms += phantoms.count();
        self.phantom = self.phantom.or(phantoms.min());
        if let PositionSet::Exact(numbers) = missing {
            self.doubtful += numbers.len() as u64;
            let room = DOUBTS.saturating_sub(self.doubts.len());
            self.doubts.extend(numbers.into_iter().take(room));
        }
        self.last = Some(last);
        Ok(())
    }

    /// The end of the stream: what was committed meanwhile counts, and the rest is told.
    ///
    /// # Errors
    /// The commits cannot be read.
    pub async fn finish(mut self, verifier: &mut Verifier, sink: &mut Sink<'_>) -> Result<Compared> {
        let mut version = self.report.head + 1;
        loop {
            let set = self.sets.of(version).await?;
            if set.is_empty() && !super::chain::exists(&verifier.lake, &self.report.chain, version).await? {
                break;
            }
            self.newest = self.newest.max(set.max());
            let before = self.doubts.len();
            self.doubts.retain(|&number| !set.contains(number));
            let found = (before - self.doubts.len()) as u64;
            (self.doubtful, self.compared.committed) =
                (self.doubtful - found, self.compared.committed + found);
            version += 1;
        }
        let waiting: u64 = match self.newest {
            Some(newest) => self.doubts.range(newest..).count() as u64,
            None => self.doubts.len() as u64,
        };
        // Doubts that were not kept by name come after those that were.
        let unnamed = self.doubtful - self.doubts.len() as u64;
        let past = self.doubts.last() > self.newest.as_ref();
        self.compared.waiting = waiting + if past { unnamed } else { 0 };
        self.compared.missing = self.doubtful - self.compared.waiting;
        let name = self.report.chain.prefix();
        if self.compared.missing > 0 {
            let mut missing = self.doubts.iter().filter(|&&n| Some(n) <= self.newest);
            let (first, last) = (missing.next().copied(), missing.next_back().copied());
            let range = match (first, last) {
                (Some(first), Some(last)) => format!("{first} to {last}"),
                (Some(only), None) => only.to_string(),
                _ => String::new(),
            };
            let problem = format!(
                "{} records that the stream holds ({range}) are in no commit, later ones are",
                self.compared.missing
            );
            let way_out = "with a parallelization factor above 1 they may be under way: run it again; else the mapping gave them up: see its on-failure destination";
            verifier.report(Finding::new(Kind::MissingRange, name.clone(), problem, way_out), sink);
        }
        if let Some(first) = self.phantom {
            let problem = format!(
                "commits list {} records (first {first}) that the stream does not hold, between others that it does",
                self.compared.phantoms
            );
            let way_out = "the commits may be of another stream of this name: compare `weir status` with the stream's creation time";
            verifier.report(Finding::new(Kind::PhantomRecords, name, problem, way_out), sink);
        }
        Ok(self.compared)
    }
}

/// Positions of the set behind `after` (or from `first` on) up to `last`.
fn within(
    set: &PositionSet,
    after: Option<SequenceNumber>,
    first: SequenceNumber,
    last: SequenceNumber,
) -> PositionSet {
    let PositionSet::Exact(numbers) = set else { return PositionSet::default() };
    let start = match after {
        Some(after) => numbers.partition_point(|&n| n <= after),
        None => numbers.partition_point(|&n| n < first),
    };
    let end = numbers.partition_point(|&n| n <= last);
    PositionSet::Exact(numbers[start..end.max(start)].to_vec())
}
