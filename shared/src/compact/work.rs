//! The folder in which steps leave things for each other: names, markers, what is deleted in the end.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::source::wrong;
use crate::commit::LakeStore;
use crate::commit::store::Put;
use crate::error::{Error, Result};
use crate::naming::compaction::{Task, is_temporary};

/// A work folder below the lake.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkFolder<'a> {
    pub(super) lake: &'a LakeStore,
    pub(super) path: &'a str,
}

impl WorkFolder<'_> {
    /// Names of what stands there.
    pub(super) async fn names(&self) -> Result<BTreeSet<String>> {
        let keys = self.lake.list(self.path).await?;
        Ok(keys
            .iter()
            .filter_map(|key| key.strip_prefix(self.path)?.strip_prefix('/'))
            .map(str::to_owned)
            .collect())
    }

    /// An object, if it is there.
    pub(super) async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let key = format!("{}/{name}", self.path);
        let Some(bytes) = self.lake.get(&key).await? else { return Ok(None) };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|e| wrong(&key, format!("it is not what a step leaves: {e}")))
    }

    /// What a step that is done has left.
    pub(super) async fn marked<T: DeserializeOwned>(&self, task: Task) -> Result<T> {
        let name = task.marker();
        let gone = || wrong(&format!("{}/{name}", self.path), "it is gone".into());
        self.get(&name).await?.ok_or_else(gone)
    }

    /// Leave an object. The first one stands: the others did the same.
    pub(super) async fn put(&self, name: &str, value: &impl Serialize) -> Result<Put> {
        let bytes = serde_json::to_vec(value).map_err(|e| Error::Internal(e.to_string()))?;
        self.lake.put_if_absent(&format!("{}/{name}", self.path), Bytes::from(bytes)).await
    }

    /// Delete what steps left for each other; whoever wakes up late and leaves more finds that it is
    /// finished, and comes here too.
    pub(super) async fn sweep(&self, names: &BTreeSet<String>) -> Result<()> {
        for name in names.iter().filter(|name| is_temporary(name)) {
            self.lake.delete(&format!("{}/{name}", self.path)).await?;
        }
        Ok(())
    }
}
