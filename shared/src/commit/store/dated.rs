//! When objects were put, by the store's own clock: what leases, grace periods and watermarks go by.

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::{LakeStore, count, is_absent};
use crate::clock::EpochMicros;
use crate::error::Result;

/// An object of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// Key below the lake.
    pub key: String,
    /// When it was put, by the store.
    pub modified: EpochMicros,
    /// Length.
    pub bytes: u64,
}

impl LakeStore {
    /// All objects below a folder, sorted by key, with the times they were put.
    pub async fn list_dated(&self, prefix: &str) -> Result<Vec<Dated>> {
        let path = self.path(prefix)?;
        let skip = if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
        let mut pauses = self.pauses();
        loop {
            count(&self.counters.lists);
            let dated = |meta: ObjectMeta| Dated {
                key: meta.location.as_ref()[skip..].to_owned(),
                modified: modified(&meta),
                bytes: meta.size,
            };
            let failure = match self.store.list(Some(&path)).map_ok(dated).try_collect::<Vec<_>>().await {
                Ok(mut found) => {
                    found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
                    return Ok(found);
                }
                Err(e) if is_absent(&e) => return Ok(Vec::new()),
                Err(e) => e,
            };
            self.pause_or_fail("list", prefix, failure, &mut pauses).await?;
        }
    }

    /// When the object was put, by the store; none if there is none.
    pub async fn modified(&self, key: &str) -> Result<Option<EpochMicros>> {
        let path = self.path(key)?;
        let mut pauses = self.pauses();
        loop {
            count(&self.counters.gets);
            let failure = match self.store.head(&path).await {
                Ok(found) => return Ok(Some(modified(&found))),
                Err(e) if is_absent(&e) => return Ok(None),
                Err(e) => e,
            };
            self.pause_or_fail("get", key, failure, &mut pauses).await?;
        }
    }
}

fn modified(meta: &ObjectMeta) -> EpochMicros {
    EpochMicros(meta.last_modified.timestamp_micros())
}
