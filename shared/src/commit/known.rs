//! What a writer knows of its shard's chain, and how it learns more: cold start, walk, and the
//! redelivery check that holds C2.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::checkpoint::{Checkpoint, SegmentRef, Span, meet};
use super::format::{Commit, CommitHeader, unreadable};
use super::log::CommitLog;
use super::positions::PositionSet;
use super::store::Put;
use crate::error::Result;
use crate::limits;
use crate::naming::LogEntry;
use crate::record::SequenceNumber;

/// When to fold and how much to remember. Small numbers reach every path with a short chain.
#[derive(Debug, Clone, Copy)]
pub struct Folding {
    /// Versions between two checkpoints.
    pub every: u64,
    /// Versions of a segment; a checkpoint keeps at least as many.
    pub segment: usize,
    /// Commits kept in memory, encoded (20–40 KB each at 10,000 records).
    pub commits: usize,
}

impl Default for Folding {
    fn default() -> Self {
        Self { every: limits::FOLD_EVERY, segment: limits::CHECKPOINT_RANGES, commits: 48 }
    }
}

/// Known versions 1 to `head` of a chain, each of them once.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) folding: Folding,
    /// None before the first look.
    head: Option<u64>,
    base: u64,
    spans: Vec<Span>,
    segments: Vec<SegmentRef>,
    max: Option<SequenceNumber>,
    /// Keys that no later commit may list.
    pub(crate) drops: BTreeSet<String>,
    /// Keys that absorbed commits call dead and nobody here has deleted.
    pub(crate) dead: BTreeSet<String>,
    /// Keys at which a file may stand that no commit lists.
    pub(crate) suspects: BTreeSet<String>,
    /// Recently read commits, in order of reading.
    recent: VecDeque<(u64, Commit)>,
    /// The segment read last.
    segment: Option<(u64, Vec<Span>)>,
}

impl Known {
    pub(crate) fn new(folding: Folding) -> Self {
        Self { folding, ..Self::default() }
    }

    /// The newest known version; none before the first look.
    pub(crate) fn head(&self) -> Option<u64> {
        self.head
    }

    /// Make the chain's state known: a cold start if nothing is, or too much; else a walk when the
    /// last batch ended in doubt; else nothing.
    pub(crate) async fn refresh(&mut self, log: &dyn CommitLog, in_doubt: bool) -> Result<()> {
        if self.head.is_none() || self.spans.len() > 4 * self.folding.segment {
            *self = self.cold(log).await?;
        } else if in_doubt {
            self.walk(log).await?;
        }
        Ok(())
    }

    /// One page of the log, the newest checkpoint, and the commits above it.
    async fn cold(&self, log: &dyn CommitLog) -> Result<Self> {
        let (folding, dead, suspects) = (self.folding, self.dead.clone(), self.suspects.clone());
        let mut known = Self { folding, dead, suspects, ..Self::default() };
        let mut commits = Vec::new();
        let mut last = None;
        let checkpoint = 'pages: loop {
            let page = log.newest(last).await?;
            for &entry in &page {
                match entry {
                    LogEntry::Checkpoint(v) => break 'pages Some(v),
                    LogEntry::Commit(1) => {
                        commits.push(1);
                        break 'pages None;
                    }
                    LogEntry::Commit(v) => commits.push(v),
                    LogEntry::Segment(_) => {}
                }
            }
            match page.last() {
                Some(&entry) => last = Some(entry),
                None => break None,
            }
        };
        if let Some(version) = checkpoint {
            known.restore(log, version).await?;
        }
        let mut head = known.spans.len() as u64 + known.base;
        known.head = Some(head);
        for version in commits.into_iter().rev().filter(|v| Some(*v) > checkpoint) {
            head += 1;
            if version != head {
                return Err(hole(log, head));
            }
            let bytes = log.get(LogEntry::Commit(version)).await?.ok_or_else(|| hole(log, version))?;
            known.absorb(log, version, &bytes)?;
        }
        Ok(known)
    }

    async fn restore(&mut self, log: &dyn CommitLog, version: u64) -> Result<()> {
        let entry = LogEntry::Checkpoint(version);
        let key = log.name(entry);
        let bytes = log.get(entry).await?.ok_or_else(|| unreadable(&key, "it was listed and is gone"))?;
        let checkpoint = Checkpoint::decode(&key, &bytes)?;
        if checkpoint.head() != version {
            return Err(unreadable(&key, format!("it summarizes version {}", checkpoint.head())));
        }
        let spans = checkpoint.spans.iter().copied().chain(checkpoint.segments.iter().map(SegmentRef::span));
        self.max = spans.flatten().map(|span| span.1).max();
        self.drops = checkpoint.drops.into_iter().collect();
        (self.base, self.spans, self.segments) = (checkpoint.base, checkpoint.spans, checkpoint.segments);
        Ok(())
    }

    /// Read versions above the head until there is none. Far behind, a list is cheaper than gets.
    pub(crate) async fn walk(&mut self, log: &dyn CommitLog) -> Result<()> {
        for _ in 0..self.folding.every {
            let version = self.head.unwrap_or(0) + 1;
            match log.get(LogEntry::Commit(version)).await? {
                Some(bytes) => self.absorb(log, version, &bytes)?,
                None => return Ok(()),
            };
        }
        *self = self.cold(log).await?;
        Ok(())
    }

    /// Take in the version after the head.
    pub(crate) fn absorb(&mut self, log: &dyn CommitLog, version: u64, bytes: &Bytes) -> Result<()> {
        let commit = Commit::decode(&log.name(LogEntry::Commit(version)), bytes)?;
        debug_assert_eq!(self.head.map(|head| head + 1), Some(version), "C3: one chain without holes");
        self.spans.push(commit.header.min.zip(commit.header.max));
        self.max = self.max.max(commit.header.max);
        self.drops.extend(commit.header.drops.iter().cloned());
        self.dead.extend(commit.header.dead.iter().cloned());
        for file in &commit.header.files {
            self.suspects.remove(&file.key());
        }
        self.head = Some(version);
        self.remember(version, commit);
        Ok(())
    }

    /// The redelivery check: what of `batch` no known version lists.
    pub(crate) async fn trim(&mut self, log: &dyn CommitLog, batch: &PositionSet) -> Result<PositionSet> {
        let mut left = batch.clone();
        if self.max < left.min() {
            return Ok(left);
        }
        for i in (0..self.spans.len()).rev() {
            if meet(self.spans[i], span(&left)) {
                left = left.subtract(&self.set(log, self.base + 1 + i as u64).await?);
            }
        }
        for i in (0..self.segments.len()).rev() {
            if !meet(self.segments[i].span(), span(&left)) {
                continue;
            }
            let version = self.segments[i].version;
            let spans = self.segment_spans(log, version).await?;
            let base = version - spans.len() as u64;
            for (i, &of_version) in spans.iter().enumerate().rev() {
                if meet(of_version, span(&left)) {
                    left = left.subtract(&self.set(log, base + 1 + i as u64).await?);
                }
            }
        }
        Ok(left)
    }

    /// The commit in memory that lists the position.
    pub(crate) fn commit_of(&self, position: SequenceNumber) -> Option<&Commit> {
        let here = |commit: &Commit| {
            let (min, max) = (commit.header.min, commit.header.max);
            min <= Some(position)
                && Some(position) <= max
                && commit.set("commit in memory").is_ok_and(|set| set.contains(position))
        };
        self.recent.iter().map(|(_, commit)| commit).rev().find(|commit| here(commit))
    }

    /// The commits in memory that list any of the records.
    pub(crate) fn commits_of(&self, records: &PositionSet) -> Vec<CommitHeader> {
        let lists = |commit: &Commit| {
            meet(commit.header.min.zip(commit.header.max), span(records))
                && commit.set("commit in memory").is_ok_and(|set| set.overlaps(records))
        };
        let commits = self.recent.iter().map(|(_, commit)| commit).filter(|commit| lists(commit));
        commits.map(|commit| commit.header.clone()).collect()
    }

    /// Whether a commit in memory lists the file.
    pub(crate) fn lists(&self, key: &str) -> bool {
        self.recent.iter().any(|(_, commit)| commit.header.files.iter().any(|file| file.key() == key))
    }

    /// Write the checkpoint of the head if one is due, segments first.
    pub(crate) async fn fold(&mut self, log: &dyn CommitLog) -> Result<()> {
        let Some(head) = self.head.filter(|head| *head > 0 && head.is_multiple_of(self.folding.every)) else {
            return Ok(());
        };
        // Segments end at multiples of their size whoever writes them, so writers of one size agree.
        while self.spans.len() >= 2 * self.folding.segment {
            let (segment, reference) = self.summary().cut_segment(self.folding.segment);
            let entry = LogEntry::Segment(reference.version);
            if log.create(entry, segment.encode()?).await? == Put::Exists {
                // A program that cuts elsewhere may have ended a segment here: a checkpoint of ours
                // would then name ranges that no segment holds. Its own checkpoints serve as well.
                let key = log.name(entry);
                let there = log.get(entry).await?.ok_or_else(|| unreadable(&key, "it exists and is gone"))?;
                if Checkpoint::decode(&key, &there)? != segment {
                    return Ok(());
                }
            }
            self.base = reference.version;
            self.spans.drain(..self.folding.segment);
            self.segments.push(reference);
        }
        let _ = log.create(LogEntry::Checkpoint(head), self.summary().encode()?).await?;
        Ok(())
    }

    fn summary(&self) -> Checkpoint {
        let drops = self.drops.iter().cloned().collect();
        Checkpoint { base: self.base, spans: self.spans.clone(), segments: self.segments.clone(), drops }
    }

    async fn set(&mut self, log: &dyn CommitLog, version: u64) -> Result<PositionSet> {
        let entry = LogEntry::Commit(version);
        if let Some((_, commit)) = self.recent.iter().find(|(v, _)| *v == version) {
            return commit.set(&log.name(entry));
        }
        let bytes = log.get(entry).await?.ok_or_else(|| hole(log, version))?;
        let key = log.name(entry);
        let commit = Commit::decode(&key, &bytes)?;
        let set = commit.set(&key);
        self.remember(version, commit);
        set
    }

    async fn segment_spans(&mut self, log: &dyn CommitLog, version: u64) -> Result<Vec<Span>> {
        match &self.segment {
            Some((cached, spans)) if *cached == version => Ok(spans.clone()),
            _ => {
                let entry = LogEntry::Segment(version);
                let key = log.name(entry);
                let bytes = log
                    .get(entry)
                    .await?
                    .ok_or_else(|| unreadable(&key, "a checkpoint names it and it is gone"))?;
                let segment = Checkpoint::decode(&key, &bytes)?;
                if segment.head() != version {
                    return Err(unreadable(&key, format!("it ends at version {}", segment.head())));
                }
                self.segment = Some((version, segment.spans.clone()));
                Ok(segment.spans)
            }
        }
    }

    fn remember(&mut self, version: u64, commit: Commit) {
        if self.recent.len() >= self.folding.commits {
            self.recent.pop_front();
        }
        self.recent.push_back((version, commit));
    }
}

fn span(set: &PositionSet) -> Span {
    set.min().zip(set.max())
}

/// A version that must be there is not: retryable, and never taken for the end of the chain.
pub(crate) fn hole(log: &dyn CommitLog, version: u64) -> crate::error::Error {
    unreadable(
        &log.name(LogEntry::Commit(version)),
        "a hole in the versions: the commit was deleted or is not visible yet",
    )
}
