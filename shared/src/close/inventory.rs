//! Chains → the summary, up to date: what is new in the chains of open shards, of touched chains and
//! of chains never seen. One get of a chain that has nothing new.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::objects::PlannedFile;
use super::summary::{PartitionState, Summary};
use crate::commit::LakeStore;
use crate::commit::format::{Commit, CommitHeader, CommittedFile, unreadable};
use crate::error::Result;
use crate::naming::{COMMITS, ChainKey, LogEntry, closed};
use crate::partition::PartitionPath;

/// Requests under way at once.
pub(super) const PARALLEL: usize = 32;
/// Versions that are looked for one by one; further behind, a list is cheaper.
const WALK: u64 = 8;

/// What a run found beside the chains.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Markers whose version is in the summary by now.
    pub(super) covered: Vec<String>,
    /// Partitions that were not in the summary, by table.
    pub(super) new: BTreeMap<String, BTreeSet<PartitionPath>>,
    /// Commits read.
    pub(super) commits: u64,
}

/// A commit without its set.
struct Read {
    version: u64,
    header: CommitHeader,
    file: bool,
}

/// Bring the summary up to date. `open` are the chains of the shards that take records.
pub(super) async fn catch_up(
    lake: &LakeStore,
    summary: &mut Summary,
    open: &BTreeSet<ChainKey>,
) -> Result<Found> {
    let mut found = Found::default();
    let markers = lake.list(closed::TOUCHED).await?;
    let markers: Vec<_> =
        markers.into_iter().filter_map(|key| Some((closed::parse_touched(&key)?, key))).collect();
    let mut chains: BTreeSet<ChainKey> = open.clone();
    let behind = |summary: &Summary, chain: &ChainKey, version: u64| {
        summary.find(chain).is_none_or(|known| known.version < version)
    };
    chains.extend(markers.iter().filter(|((c, v), _)| behind(summary, c, *v)).map(|((c, _), _)| c.clone()));
    for stream in lake.folders(COMMITS).await? {
        if !summary.streams.contains_key(&stream) {
            let shards = lake.folders(&format!("{COMMITS}/{stream}")).await?;
            chains.extend(shards.into_iter().map(|shard| ChainKey { stream: stream.clone(), shard }));
            summary.streams.entry(stream).or_default();
        }
    }
    let from: Vec<_> = chains.into_iter().map(|c| (summary.find(&c).map_or(0, |s| s.version), c)).collect();
    let walks: Vec<_> = from.into_iter().map(|(version, chain)| walk(lake, chain, version)).collect();
    let mut walks = stream::iter(walks).buffered(PARALLEL);
    let mut far = Vec::new();
    while let Some((chain, reads, more)) = walks.try_next().await? {
        // A shard without commits has no place in the summary.
        if reads.is_empty() {
            continue;
        }
        let at = summary.chain(&chain);
        reads.into_iter().for_each(|read| fold(summary, at, &chain, read, &mut found));
        far.extend(more.then_some((at, chain)));
    }
    drop(walks);
    for (at, chain) in far {
        rest(lake, summary, at, &chain, &mut found).await?;
    }
    found.covered =
        markers.into_iter().filter(|((c, v), _)| !behind(summary, c, *v)).map(|(_, key)| key).collect();
    Ok(found)
}

/// Versions above `from`, one after the other; whether there may be more.
async fn walk(lake: &LakeStore, chain: ChainKey, from: u64) -> Result<(ChainKey, Vec<Read>, bool)> {
    let mut reads = Vec::new();
    for version in from + 1..=from + WALK {
        let key = chain.object(LogEntry::Commit(version));
        match lake.get(&key).await? {
            Some(bytes) => reads.push(decode(version, &key, &bytes)?),
            None => return Ok((chain, reads, false)),
        }
    }
    Ok((chain, reads, true))
}

/// All that is left of a chain, in order.
async fn rest(
    lake: &LakeStore,
    summary: &mut Summary,
    at: u32,
    chain: &ChainKey,
    found: &mut Found,
) -> Result<()> {
    let from = summary.chains[at as usize].version;
    let keys = lake.list_after(&chain.prefix(), None, usize::MAX).await?;
    let versions = keys.iter().filter(|key| !key.contains("/segments/")).filter_map(|key| {
        let LogEntry::Commit(version) = LogEntry::parse(key)? else { return None };
        Some(version)
    });
    let head = versions.max().unwrap_or(from);
    let whose = Arc::new(chain.clone());
    let reads = (from + 1..=head).map(|version| read_of(lake, at, whose.clone(), version));
    let mut reads = stream::iter(reads).buffered(PARALLEL);
    while let Some((read, _, _)) = reads.try_next().await? {
        fold(summary, at, chain, read, found);
    }
    Ok(())
}

async fn read(lake: &LakeStore, chain: &ChainKey, version: u64) -> Result<Read> {
    let key = chain.object(LogEntry::Commit(version));
    let hole = || unreadable(&key, "a hole in the versions: the commit was deleted or is not visible yet");
    decode(version, &key, &lake.get(&key).await?.ok_or_else(hole)?)
}

/// A commit, with the place of its chain in the summary.
async fn read_of(
    lake: &LakeStore,
    at: u32,
    chain: Arc<ChainKey>,
    version: u64,
) -> Result<(Read, u32, Arc<ChainKey>)> {
    Ok((read(lake, &chain, version).await?, at, chain))
}

fn decode(version: u64, key: &str, bytes: &bytes::Bytes) -> Result<Read> {
    let commit = Commit::decode(key, bytes)?;
    let file = commit.is_of_file();
    Ok(Read { version, header: commit.header, file })
}

fn fold(summary: &mut Summary, at: u32, chain: &ChainKey, read: Read, found: &mut Found) {
    found.commits += 1;
    for file in &read.header.files {
        if summary.add(at, read.version, file) {
            found.new.entry(file.table.clone()).or_default().insert(file.partition.clone());
        }
    }
    // What replays made of a shard's letters holds nothing open, and its positions are no records.
    if read.file && chain.replayed().is_none() {
        summary.streams.entry(chain.stream.clone()).or_default().file = true;
    }
    let state = &mut summary.chains[at as usize];
    state.version = read.version;
    state.max = state.max.max(read.header.max);
}

/// A live file, and the commit that lists it.
#[derive(Debug, Clone)]
pub(super) struct LiveFile {
    pub(super) chain: Arc<ChainKey>,
    pub(super) version: u64,
    pub(super) file: PlannedFile,
}

/// The live files that the spans of some partitions lead to, each commit read once.
pub(super) async fn files(
    lake: &LakeStore,
    summary: &Summary,
    partitions: &[(&str, &PartitionPath, &PartitionState)],
) -> Result<Vec<Vec<LiveFile>>> {
    let mut wanted: BTreeSet<(u32, u64)> = BTreeSet::new();
    let mut places: HashMap<(&str, &PartitionPath), usize> = HashMap::new();
    for (at, (table, partition, state)) in partitions.iter().enumerate() {
        places.insert((table, partition), at);
        for span in &state.spans {
            wanted.extend((span.1..=span.2).map(|version| (span.0, version)));
        }
    }
    let chains: HashMap<u32, Arc<ChainKey>> = wanted
        .iter()
        .filter_map(|(at, _)| Some((*at, summary.chains.get(*at as usize)?)))
        .map(|(at, chain)| (at, Arc::new(chain.key())))
        .collect();
    let reads = wanted.into_iter().filter_map(|(at, version)| {
        let chain = chains.get(&at)?.clone();
        Some(read_of(lake, at, chain, version))
    });
    let mut found: Vec<Vec<_>> = vec![Vec::new(); partitions.len()];
    let mut reads = stream::iter(reads).buffered(PARALLEL);
    while let Some((read, at, chain)) = reads.try_next().await? {
        for file in read.header.files.into_iter().filter(|file| !file.quarantine) {
            let Some(&place) = places.get(&(file.table.as_str(), &file.partition)) else { continue };
            if partitions[place].2.may_hold(at, read.version) {
                let CommittedFile { name, rows, bytes, .. } = file;
                let file = PlannedFile { name, rows, bytes };
                found[place].push(LiveFile { chain: chain.clone(), version: read.version, file });
            }
        }
    }
    Ok(found)
}
