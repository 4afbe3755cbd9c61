//! The logs as a reader sees them: what is committed, and nothing else. Reads whole chains from
//! version 1 and trusts no checkpoint, so that it can judge what the writers made.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};

use super::format::{Commit, CommitHeader, CommittedFile, unreadable};
use super::positions::PositionSet;
use super::store::LakeStore;
use crate::clock::EpochMicros;
use crate::error::Result;
use crate::naming::{COMMITS, ChainKey, LogEntry};
use crate::record::SequenceNumber;

/// Requests under way at once.
const PARALLEL: usize = 16;

/// A commit and where it stands.
#[derive(Debug, Clone)]
pub struct VersionedCommit {
    /// Version, from 1.
    pub version: u64,
    /// Key of the object.
    pub key: String,
    /// Its content.
    pub commit: Commit,
}

impl VersionedCommit {
    /// The exact set.
    pub fn set(&self) -> Result<PositionSet> {
        self.commit.set(&self.key)
    }
}

/// A file that a commit lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Key in the lake.
    pub key: String,
    /// Chain of the commit.
    pub chain: ChainKey,
    /// Version of the commit.
    pub version: u64,
    /// What the commit says of it.
    pub file: CommittedFile,
}

/// A shard at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStatus {
    /// Which.
    pub chain: ChainKey,
    /// Newest version.
    pub head: u64,
    /// Stream records committed (bytes for a file).
    pub positions: u64,
    /// Rows in tables.
    pub rows: u64,
    /// Of these, rows that were dead letters before a replay.
    pub replayed: u64,
    /// Dead letters that no replay has resolved.
    pub quarantined: u64,
    /// Files listed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Smallest position.
    pub min: Option<SequenceNumber>,
    /// Largest position.
    pub max: Option<SequenceNumber>,
    /// Newest arrival time of a committed delivery.
    pub arrived_through: EpochMicros,
}

/// All chains, in order.
pub async fn chains(lake: &LakeStore) -> Result<Vec<ChainKey>> {
    let mut chains = Vec::new();
    for stream in lake.folders(COMMITS).await? {
        for shard in lake.folders(&format!("{COMMITS}/{stream}")).await? {
            chains.push(ChainKey { stream: stream.clone(), shard });
        }
    }
    Ok(chains)
}

/// All versions of a chain, ascending from 1; a hole is an error.
pub async fn read_chain(lake: &LakeStore, chain: &ChainKey) -> Result<Vec<VersionedCommit>> {
    let commits = versions(lake, chain).await?;
    let reads = commits.into_iter().map(|(version, key)| read(lake, version, key));
    stream::iter(reads).buffered(PARALLEL).try_collect().await
}

/// The headers of a chain, from version 1; the sets are let go at once.
pub async fn read_headers(lake: &LakeStore, chain: &ChainKey) -> Result<Vec<CommitHeader>> {
    let commits = versions(lake, chain).await?;
    let reads = commits.into_iter().map(|(version, key)| read(lake, version, key));
    stream::iter(reads).buffered(PARALLEL).map_ok(|read| read.commit.header).try_collect().await
}

async fn versions(lake: &LakeStore, chain: &ChainKey) -> Result<Vec<(u64, String)>> {
    let keys = lake.list(&chain.prefix()).await?;
    let commits = keys.into_iter().filter_map(|key| match LogEntry::parse(&key) {
        Some(LogEntry::Commit(version)) if !key.contains("/segments/") => Some((version, key)),
        _ => None,
    });
    let mut commits: Vec<_> = commits.collect();
    commits.sort_unstable();
    for (expected, (version, key)) in (1..).zip(&commits) {
        if *version != expected {
            return Err(unreadable(key, format!("a hole in the versions: {expected} is missing")));
        }
    }
    Ok(commits)
}

/// Exactly the live files that commits list, of one table or of all, in order of chain and version.
/// Quarantine files whose letters a replay has judged again are left out: what became of the letters
/// stands in the files of the replay's commit.
pub async fn live_files(lake: &LakeStore, table: Option<&str>) -> Result<Vec<ListedFile>> {
    let (mut listed, mut replaced) = (Vec::new(), BTreeSet::new());
    let mut chains = chains(lake).await?;
    // Replays last: one that runs meanwhile is seen up to some version, and each version takes
    // letters out and puts what became of them in, so no record is seen twice or not at all.
    chains.sort_by_key(|chain| chain.replayed().is_some());
    for chain in chains {
        for (header, version) in read_headers(lake, &chain).await?.into_iter().zip(1..) {
            replaced.extend(header.replaces);
            let files = header.files.into_iter().filter(|f| table.is_none_or(|t| t == f.table));
            listed.extend(files.map(|file| ListedFile {
                key: file.key(),
                chain: chain.clone(),
                version,
                file,
            }));
        }
    }
    listed.retain(|file| !file.file.quarantine || !replaced.contains(&file.key));
    Ok(listed)
}

/// The state of every shard. What a replay made of a shard's dead letters counts as the shard's.
pub async fn shard_status(lake: &LakeStore) -> Result<Vec<ShardStatus>> {
    let chains = chains(lake).await?;
    let mut all = Vec::new();
    for chain in chains.iter().filter(|chain| chain.replayed().is_none()) {
        let headers = read_headers(lake, chain).await?;
        let replay = chain.replay();
        let replays = if chains.contains(&replay) { read_headers(lake, &replay).await? } else { Vec::new() };
        all.push(status_of(chain.clone(), &headers, &replays));
    }
    Ok(all)
}

fn status_of(chain: ChainKey, headers: &[CommitHeader], replays: &[CommitHeader]) -> ShardStatus {
    let replaced: BTreeSet<&String> = replays.iter().flat_map(|h| &h.replaces).collect();
    let files = headers.iter().chain(replays).flat_map(|h| &h.files);
    let listed: Vec<_> = files.filter(|f| !f.quarantine || !replaced.contains(&f.key())).collect();
    let rows = |quarantine| listed.iter().filter(|f| f.quarantine == quarantine).map(|f| f.rows).sum();
    ShardStatus {
        head: headers.len() as u64,
        positions: headers.iter().map(|h| h.positions).sum(),
        rows: rows(false),
        replayed: replays.iter().map(|h| h.rows).sum(),
        quarantined: rows(true),
        files: listed.len() as u64,
        bytes: listed.iter().map(|f| f.bytes).sum(),
        min: headers.iter().filter_map(|h| h.min).min(),
        max: headers.iter().filter_map(|h| h.max).max(),
        arrived_through: headers.iter().map(|h| h.arrived_through).max().unwrap_or_default(),
        chain,
    }
}

async fn read(lake: &LakeStore, version: u64, key: String) -> Result<VersionedCommit> {
    let bytes = lake.get(&key).await?.ok_or_else(|| unreadable(&key, "it was listed and is gone"))?;
    let commit = Commit::decode(&key, &bytes)?;
    Ok(VersionedCommit { version, key, commit })
}
