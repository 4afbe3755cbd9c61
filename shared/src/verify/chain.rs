//! One chain: are all versions there, does each say what it holds, do the folded ranges agree, and
//! are the sets disjoint (C2, C3).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::files::{self, Context};
use super::finding::{Finding, Kind, Sink};
use super::folded::{Folded, cause, text};
use super::overlap::{self, Spans};
use super::{ChainReport, Origin, Verifier, add, replay};
use crate::commit::format::{Commit, CommitHeader};
use crate::commit::{LakeStore, PositionSet};
use crate::error::{Error, Result};
use crate::naming::{ChainKey, LogEntry};

/// Commits asked for ahead.
const READ_AHEAD: usize = 16;
/// Commits whose files are looked at together.
const COMMITS_AT_ONCE: usize = 4;

/// What the names in a chain's folder say.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Listing {
    /// The newest commit.
    pub(super) commit: u64,
    /// The newest checkpoint.
    pub(super) checkpoint: Option<u64>,
}

/// A commit, looked at alone.
struct Checked {
    version: u64,
    /// None if it is not there.
    read: Option<Read>,
    findings: Vec<Finding>,
}

struct Read {
    /// None if it cannot be understood.
    header: Option<CommitHeader>,
    ranges: Option<PositionSet>,
    origin: Option<Origin>,
}

pub(super) async fn verify(
    verifier: &mut Verifier,
    chain: &ChainKey,
    sink: &mut Sink<'_>,
) -> Result<ChainReport> {
    let lake = verifier.lake.clone();
    let listing = list(&lake, chain).await?;
    let mut findings = Vec::new();
    if let Some(shard) = chain.replayed() {
        replay::verify(verifier, &shard, &mut findings).await?;
    }
    let mut folded = Folded::open(&lake, chain, listing.checkpoint, &mut findings).await?;
    // Versions that a checkpoint summarizes were there, even if no later commit is.
    let head = listing.commit.max(listing.checkpoint.unwrap_or(0));
    let mut walk = Walk::new(verifier.budget.spans, chain, head);
    let context = Context {
        lake: lake.clone(),
        chain: chain.clone(),
        scope: verifier.scope.clone(),
        rows_at_once: verifier.budget.rows,
        progress: verifier.progress.clone(),
        closed: verifier.closed.clone(),
    };
    let context = &context;
    let mut checks = std::pin::pin!(
        versions(&lake, chain, 1..=head)
            .map_ok(|(version, bytes)| check(context, version, bytes))
            .try_buffered(COMMITS_AT_ONCE)
    );
    while let Some(checked) = checks.try_next().await? {
        let span = folded.span(&lake, chain, checked.version, &mut findings).await?;
        walk.absorb(verifier, checked, span, &mut folded, &mut findings);
        findings.drain(..).for_each(|finding| verifier.report(finding, sink));
    }
    walk.close_hole(&mut findings);
    walk.gaps(&mut findings);
    findings.drain(..).for_each(|finding| verifier.report(finding, sink));
    overlap::verify(verifier, chain, &mut walk.report, sink).await?;
    verifier.totals.chains += 1;
    Ok(walk.report)
}

/// The names of the folder, counted and not held.
pub(super) async fn list(lake: &LakeStore, chain: &ChainKey) -> Result<Listing> {
    let prefix = chain.prefix();
    let path = lake.path(&prefix)?;
    let store = lake.object_store();
    let mut names = store.list(Some(&path));
    let mut listing = Listing::default();
    while let Some(meta) = names.next().await {
        let meta = meta.map_err(|e| listed(&prefix, e))?;
        if meta.location.as_ref().contains("/segments/") {
            continue;
        }
        match LogEntry::parse(meta.location.as_ref()) {
            Some(LogEntry::Commit(version)) => listing.commit = listing.commit.max(version),
            Some(LogEntry::Checkpoint(version)) => {
                listing.checkpoint = listing.checkpoint.max(Some(version));
            }
            _ => {}
        }
    }
    Ok(listing)
}

pub(super) fn listed(object: &str, source: object_store::Error) -> Error {
    Error::Store { operation: "list", object: object.to_owned(), retryable: true, source: Box::new(source) }
}

/// Bytes of the commits in order; none where there is no object.
pub(super) fn versions<'a>(
    lake: &'a LakeStore,
    chain: &'a ChainKey,
    versions: RangeInclusive<u64>,
) -> impl futures::Stream<Item = Result<(u64, Option<Bytes>)>> + Send + 'a {
    let get = move |version| async move {
        Ok((version, lake.get(&chain.object(LogEntry::Commit(version))).await?))
    };
    stream::iter(versions).map(get).buffered(READ_AHEAD)
}

async fn check(context: &Context, version: u64, bytes: Option<Bytes>) -> Result<Checked> {
    let Some(bytes) = bytes else { return Ok(Checked { version, read: None, findings: Vec::new() }) };
    add(&context.progress.commits, 1);
    let key = context.chain.object(LogEntry::Commit(version));
    let broken = |problem: String| {
        let way_out = "read it with a newer weir, or bring the object back from a backup; until then the shard's batches fail and nothing of it is repaired";
        Finding::new(Kind::BrokenCommit, key.clone(), problem, way_out)
    };
    let mut findings = Vec::new();
    let commit = match Commit::decode(&key, &bytes) {
        Ok(commit) => commit,
        Err(error) => {
            findings.push(broken(cause(&error)));
            let read = Read { header: None, ranges: None, origin: None };
            return Ok(Checked { version, read: Some(read), findings });
        }
    };
    let set = match commit.set(&key) {
        Ok(set) => set,
        Err(error) => {
            findings.push(broken(cause(&error)));
            let read = Read { header: None, ranges: None, origin: None };
            return Ok(Checked { version, read: Some(read), findings });
        }
    };
    let header = commit.header;
    contradictions(&header, &set).into_iter().for_each(|problem| findings.push(broken(problem)));
    let origin = files::verify(context, version, &header, &set, &mut findings).await?;
    let ranges = matches!(set, PositionSet::Ranges(_)).then_some(set);
    Ok(Checked { version, read: Some(Read { header: Some(header), ranges, origin }), findings })
}

/// Where a commit's counts are not those of what it lists.
fn contradictions(header: &CommitHeader, set: &PositionSet) -> Vec<String> {
    let sum = |quarantine| header.files.iter().filter(|f| f.quarantine == quarantine).map(|f| f.rows).sum();
    let counts: [(&str, u64, u64); 3] = [
        ("positions, its set holds", header.positions, set.count()),
        ("rows, its files hold", header.rows, sum(false)),
        ("dead letters, its files hold", header.quarantined, sum(true)),
    ];
    let differ = counts.into_iter().filter(|(_, said, found)| said != found);
    differ.map(|(what, said, found)| format!("it says {said} {what} {found}")).collect()
}

/// The way through the versions in order.
struct Walk {
    report: ChainReport,
    /// Names that no later version may list, and who said so.
    drops: BTreeMap<String, u64>,
    /// First and last missing version, and what folded ranges say that they listed.
    hole: Option<(u64, u64, Vec<String>)>,
}

impl Walk {
    fn new(room: usize, chain: &ChainKey, head: u64) -> Self {
        let report = ChainReport {
            chain: chain.clone(),
            head,
            intact: true,
            rows: 0,
            quarantined: 0,
            bytes: None,
            origin: None,
            spans: Spans::after(None, room),
        };
        Self { report, drops: BTreeMap::new(), hole: None }
    }

    fn absorb(
        &mut self,
        verifier: &mut Verifier,
        checked: Checked,
        folded_span: Option<(String, crate::commit::checkpoint::Span)>,
        folded: &mut Folded,
        findings: &mut Vec<Finding>,
    ) {
        let version = checked.version;
        let Some(read) = checked.read else {
            let (first, _, mut listed) = self.hole.take().unwrap_or((version, version, Vec::new()));
            if let Some((_, span)) = folded_span.filter(|_| listed.len() < 8) {
                listed.push(text(span));
            }
            self.hole = Some((first, version, listed));
            self.report.intact = false;
            return;
        };
        self.close_hole(findings);
        findings.extend(checked.findings);
        let Some(header) = read.header else {
            self.report.intact = false;
            return;
        };
        folded.compare(version, folded_span, header.min.zip(header.max), findings);
        self.report.spans.insert(version, header.min.zip(header.max));
        self.report.origin = self.report.origin.take().or(read.origin);
        if let Some(ranges) = read.ranges {
            let before = self.report.bytes.take().unwrap_or_default();
            self.report.bytes = Some(before.union(&ranges));
        }
        verifier.totals.commits += 1;
        for drop in &header.drops {
            folded.knows_drop(version, drop, findings);
            self.drops.insert(drop.clone(), version);
        }
        for file in &header.files {
            let (rows, dead) = if file.quarantine { (0, file.rows) } else { (file.rows, 0) };
            self.report.rows += rows;
            self.report.quarantined += dead;
            if let Some(dropped) = self.drops.get(&file.key()) {
                let problem = format!("version {version} lists it, and version {dropped} had dropped it");
                let way_out = "its rows stand, if the file is there; tell who wrote version ";
                let way_out = format!("{way_out}{version} (attempt {})", header.attempt);
                findings.push(Finding::new(Kind::DroppedFileListed, file.key(), problem, way_out));
            }
            if verifier.scope.takes(file) {
                verifier.totals.files += 1;
                verifier.totals.rows += rows;
                verifier.totals.quarantined += dead;
                verifier.keys.insert(&file.key());
                let here = (file.table.clone(), file.partition.clone());
                let covered =
                    verifier.closed.get(&here).map_or(0, |closed| closed.vector.of(&self.report.chain));
                if version <= covered {
                    *verifier.closed_rows.entry(here).or_default() += rows;
                }
                let partitions = verifier.partitions.entry(file.table.clone()).or_default();
                if !partitions.contains(&file.partition) {
                    partitions.insert(file.partition.clone());
                }
            }
        }
    }

    fn close_hole(&mut self, findings: &mut Vec<Finding>) {
        let Some((first, last, listed)) = self.hole.take() else { return };
        let missing = if first == last {
            format!("version {first} is missing")
        } else {
            format!("versions {first} to {last} are missing")
        };
        let listed = match listed.as_slice() {
            [] => String::new(),
            spans => format!("; by the checkpoint they listed {}", spans.join(", ")),
        };
        let way_out = "bring the commits back from a backup or a version of the bucket; never write others in their place: the files that they listed are still there";
        findings.push(Finding::new(
            Kind::MissingVersions,
            self.report.chain.prefix(),
            format!("{missing}{listed}"),
            way_out,
        ));
    }

    /// For a loaded file: bytes in the middle that no commit lists. With a version missing, that is
    /// why.
    fn gaps(&mut self, findings: &mut Vec<Finding>) {
        let Some(listed @ PositionSet::Ranges(ranges)) = &self.report.bytes else { return };
        let Some(end) = ranges.last().map(|r| r.end).filter(|_| self.report.intact) else { return };
        let gaps = PositionSet::from_ranges(std::iter::once(0..end)).subtract(listed);
        let PositionSet::Ranges(ranges) = &gaps else { return };
        let Some(first) = ranges.first() else { return };
        let origin = self.report.origin.as_ref();
        let name = origin.map_or_else(|| self.report.chain.prefix(), |origin| origin.stream.clone());
        let more = match ranges.len() {
            1 => String::new(),
            n => format!(" and {} more ranges, {} bytes in all", n - 1, gaps.count()),
        };
        let problem = format!("bytes {} to {}{more} are in no commit", first.start, first.end - 1);
        let table = origin.map_or("TABLE", |origin| origin.table.as_str());
        let way_out = format!("run `weir ingest {name} --table {table}` again: it loads what is missing");
        findings.push(Finding::new(Kind::MissingRange, name, problem, way_out));
    }
}

/// Whether a version is there.
pub(super) async fn exists(lake: &LakeStore, chain: &ChainKey, version: u64) -> Result<bool> {
    Ok(lake.get(&chain.object(LogEntry::Commit(version))).await?.is_some())
}
