//! The logs as a reader sees them: what is committed, and nothing else. Reads whole chains from
//! version 1 and trusts no checkpoint, so that it can judge what the writers made.

use futures::{StreamExt, TryStreamExt, stream};

use super::format::{Commit, CommittedFile, unreadable};
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
    /// Dead letters.
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
    let reads = commits.into_iter().map(|(version, key)| read(lake, version, key));
    stream::iter(reads).buffered(PARALLEL).try_collect().await
}

/// Exactly the live files that commits list, of one table or of all, in order of chain and version.
pub async fn live_files(lake: &LakeStore, table: Option<&str>) -> Result<Vec<ListedFile>> {
    let mut listed = Vec::new();
    for chain in chains(lake).await? {
        for VersionedCommit { version, commit, .. } in read_chain(lake, &chain).await? {
            let files = commit.header.files.into_iter().filter(|f| table.is_none_or(|t| t == f.table));
            listed.extend(files.map(|file| ListedFile {
                key: file.key(),
                chain: chain.clone(),
                version,
                file,
            }));
        }
    }
    Ok(listed)
}

/// The state of every shard.
pub async fn shard_status(lake: &LakeStore) -> Result<Vec<ShardStatus>> {
    let mut all = Vec::new();
    for chain in chains(lake).await? {
        let commits = read_chain(lake, &chain).await?;
        let headers = || commits.iter().map(|c| &c.commit.header);
        let files = || headers().flat_map(|h| &h.files);
        all.push(ShardStatus {
            head: commits.len() as u64,
            positions: headers().map(|h| h.positions).sum(),
            rows: headers().map(|h| h.rows).sum(),
            quarantined: headers().map(|h| h.quarantined).sum(),
            files: files().count() as u64,
            bytes: files().map(|f| f.bytes).sum(),
            min: headers().filter_map(|h| h.min).min(),
            max: headers().filter_map(|h| h.max).max(),
            arrived_through: headers().map(|h| h.arrived_through).max().unwrap_or_default(),
            chain,
        });
    }
    Ok(all)
}

async fn read(lake: &LakeStore, version: u64, key: String) -> Result<VersionedCommit> {
    let bytes = lake.get(&key).await?.ok_or_else(|| unreadable(&key, "it was listed and is gone"))?;
    let commit = Commit::decode(&key, &bytes)?;
    Ok(VersionedCommit { version, key, commit })
}
