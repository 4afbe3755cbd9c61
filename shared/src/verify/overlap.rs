//! C2: no position in two commits of a chain. Ranges of versions are compared first; sets are read
//! again only where ranges meet, which they do only with several writers side by side.

use std::collections::VecDeque;

use futures::TryStreamExt;

use super::chain::versions;
use super::finding::{Finding, Kind, Sink};
use super::{ChainReport, Verifier};
use crate::commit::format::Commit;
use crate::commit::{LakeStore, PositionSet};
use crate::error::Result;
use crate::naming::{ChainKey, LogEntry};
use crate::record::SequenceNumber;

/// Sets kept decoded (32 bytes a record).
const SETS: usize = 24;

/// First and last position of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) min: SequenceNumber,
    pub(super) max: SequenceNumber,
    pub(super) version: u64,
}

/// Ranges of versions that reach behind one position and begin at or before another.
#[derive(Debug)]
pub(super) struct Spans {
    pub(super) entries: Vec<Entry>,
    room: usize,
    after: Option<SequenceNumber>,
    /// None: to the end.
    through: Option<SequenceNumber>,
}

impl Spans {
    pub(super) fn after(after: Option<SequenceNumber>, room: usize) -> Self {
        Self { entries: Vec::new(), room: room.max(2), after, through: None }
    }

    pub(super) fn insert(&mut self, version: u64, span: Option<(SequenceNumber, SequenceNumber)>) {
        let Some((min, max)) = span else { return };
        if self.after.is_some_and(|after| max <= after) || self.through.is_some_and(|end| min > end) {
            return;
        }
        self.entries.push(Entry { min, max, version });
        if self.entries.len() > self.room {
            self.entries.sort_unstable();
            let middle = self.entries[self.entries.len() / 2].min;
            // Versions that all begin at one place cannot be told apart by where they begin.
            if self.after.is_none_or(|after| middle > after) && self.through != Some(middle) {
                self.through = Some(middle);
                self.entries.retain(|entry| entry.min <= middle);
            }
        }
    }

    /// The ranges after these; none if these go to the end.
    pub(super) async fn next(&self, lake: &LakeStore, chain: &ChainKey, head: u64) -> Result<Option<Self>> {
        let Some(through) = self.through else { return Ok(None) };
        Self::read(lake, chain, head, Some(through), self.room).await.map(Some)
    }

    /// The ranges after a position, from the commits.
    pub(super) async fn read(
        lake: &LakeStore,
        chain: &ChainKey,
        head: u64,
        after: Option<SequenceNumber>,
        room: usize,
    ) -> Result<Self> {
        let mut spans = Self::after(after, room);
        let mut commits = std::pin::pin!(versions(lake, chain, 1..=head));
        while let Some((version, bytes)) = commits.try_next().await? {
            // What cannot be read has its finding already.
            let commit = bytes.and_then(|bytes| Commit::decode("", &bytes).ok());
            if let Some(commit) = commit {
                spans.insert(version, commit.header.min.zip(commit.header.max));
            }
        }
        Ok(spans)
    }

    /// Whether these say everything about positions up to this one.
    pub(super) fn reach(&self, position: SequenceNumber) -> bool {
        self.through.is_none_or(|through| position <= through)
    }

    pub(super) fn starts_before(&self, position: SequenceNumber) -> bool {
        self.after.is_none_or(|after| after < position)
    }
}

/// Sets of commits, the ones used last kept.
#[derive(Debug)]
pub(super) struct Sets {
    lake: LakeStore,
    chain: ChainKey,
    kept: VecDeque<(u64, PositionSet)>,
}

impl Sets {
    pub(super) fn new(lake: LakeStore, chain: ChainKey) -> Self {
        Self { lake, chain, kept: VecDeque::new() }
    }

    /// The set of a version; empty if it cannot be read any more.
    pub(super) async fn of(&mut self, version: u64) -> Result<&PositionSet> {
        let at = match self.kept.iter().position(|(v, _)| *v == version) {
            Some(at) => at,
            None => {
                let key = self.chain.object(LogEntry::Commit(version));
                let bytes = self.lake.get(&key).await?;
                let set = bytes.and_then(|b| Commit::decode(&key, &b).ok()?.set(&key).ok());
                if self.kept.len() >= SETS {
                    self.kept.pop_front();
                }
                self.kept.push_back((version, set.unwrap_or_default()));
                self.kept.len() - 1
            }
        };
        Ok(&self.kept[at].1)
    }
}

pub(super) async fn verify(
    verifier: &mut Verifier,
    chain: &ChainKey,
    report: &mut ChainReport,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let lake = verifier.lake.clone();
    let mut sets = Sets::new(lake.clone(), chain.clone());
    report.spans.entries.sort_unstable();
    sweep(verifier, chain, &report.spans, &mut sets, sink).await?;
    let mut further = report.spans.next(&lake, chain, report.head).await?;
    while let Some(mut spans) = further {
        spans.entries.sort_unstable();
        sweep(verifier, chain, &spans, &mut sets, sink).await?;
        further = spans.next(&lake, chain, report.head).await?;
    }
    Ok(())
}

/// Pairs of ranges that meet, each once, by the later beginning of the two.
async fn sweep(
    verifier: &mut Verifier,
    chain: &ChainKey,
    spans: &Spans,
    sets: &mut Sets,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut open: Vec<Entry> = Vec::new();
    for entry in &spans.entries {
        open.retain(|other| other.max >= entry.min);
        // Begun before this pass: the pass before has compared it with all that had begun too.
        if spans.starts_before(entry.min) {
            for other in &open {
                if let Some(finding) = compare(chain, sets, *other, *entry).await? {
                    verifier.report(finding, sink);
                }
            }
        }
        open.push(*entry);
    }
    Ok(())
}

async fn compare(chain: &ChainKey, sets: &mut Sets, a: Entry, b: Entry) -> Result<Option<Finding>> {
    let (old, new) = (a.version.min(b.version), a.version.max(b.version));
    let older = sets.of(old).await?.clone();
    let newer = sets.of(new).await?;
    if !newer.overlaps(&older) {
        return Ok(None);
    }
    let both = newer.subtract(&newer.subtract(&older));
    let (first, last) = (both.min().unwrap_or_default(), both.max().unwrap_or_default());
    let unit = if matches!(both, PositionSet::Ranges(_)) { "bytes" } else { "records" };
    let range = if first == last { first.to_string() } else { format!("{first} to {last}") };
    let problem =
        format!("{} {unit} ({range}) are listed by version {old} and again by version {new}", both.count());
    let way_out = format!(
        "their rows count twice: tell apart the files of {} and {}, and what wrote the second (`head -1 FILE` names the attempt)",
        chain.object(LogEntry::Commit(old)),
        chain.object(LogEntry::Commit(new))
    );
    Ok(Some(Finding::new(Kind::DuplicatePositions, chain.object(LogEntry::Commit(new)), problem, way_out)))
}
