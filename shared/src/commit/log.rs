//! The log of one shard in three calls, and how they stand in the lake.

use async_trait::async_trait;
use bytes::Bytes;

use super::store::{LakeStore, Put};
use crate::error::Result;
use crate::naming::{ChainKey, LogEntry};

/// Entries of one page: a page of an S3 list.
const PAGE: usize = 1_000;

/// Where the log of one shard is kept. An implementer guarantees:
///
/// - `create` is atomic and never replaces: of any number of callers one is told `Created`, also
///   when answers are lost (the rest, and a repeat of the same call, are told `Exists`);
/// - what was created can be read at once by everybody and never changes;
/// - `newest` shows every entry created before the call.
#[async_trait]
pub trait CommitLog: Send + Sync {
    /// Create the entry unless it is there.
    async fn create(&self, entry: LogEntry, bytes: Bytes) -> Result<Put>;
    /// The entry's bytes, or none.
    async fn get(&self, entry: LogEntry) -> Result<Option<Bytes>>;
    /// A page of commits and checkpoints, newest first: those after `after` in that order, or from
    /// the head. An empty page is the end.
    async fn newest(&self, after: Option<LogEntry>) -> Result<Vec<LogEntry>>;
    /// Name of an entry for errors.
    fn name(&self, entry: LogEntry) -> String;
}

/// A log in the lake: one object an entry.
#[derive(Debug, Clone)]
pub struct LakeLog {
    lake: LakeStore,
    chain: ChainKey,
}

impl LakeLog {
    /// The log of one shard.
    pub fn new(lake: LakeStore, chain: ChainKey) -> Self {
        Self { lake, chain }
    }
}

#[async_trait]
impl CommitLog for LakeLog {
    async fn create(&self, entry: LogEntry, bytes: Bytes) -> Result<Put> {
        self.lake.put_if_absent(&self.chain.object(entry), bytes).await
    }

    async fn get(&self, entry: LogEntry) -> Result<Option<Bytes>> {
        self.lake.get(&self.chain.object(entry)).await
    }

    async fn newest(&self, after: Option<LogEntry>) -> Result<Vec<LogEntry>> {
        let after = after.map(|entry| self.chain.object(entry));
        // Digits sort before `segments/`, so a page of entries is a page of the list.
        let keys = self.lake.list_after(&self.chain.prefix(), after.as_deref(), PAGE).await?;
        Ok(keys
            .iter()
            .filter(|key| !key.contains("/segments/"))
            .filter_map(|key| LogEntry::parse(key))
            .collect())
    }

    fn name(&self, entry: LogEntry) -> String {
        self.chain.object(entry)
    }
}
