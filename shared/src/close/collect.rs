//! What a revision superseded → deleted, once the grace is over and the catalog shows the revision.
//! Only names that plans and results list, and directories that lost: never by prefix or age alone.

use std::collections::BTreeMap;

use super::objects::{Plan, RevisionResult};
use super::work::{Work, shows, values};
use crate::error::Result;
use crate::naming::closed::{self, CloseObject};
use crate::naming::data_file;

/// Files that are deleted between two looks at the clock.
const BETWEEN_LOOKS: usize = 1_000;

impl Work<'_> {
    /// Delete what the revisions up to the newest one superseded; how many files. None if it is not
    /// time yet, or the catalog does not show the newest revision: nothing is deleted then.
    pub(super) async fn collect(&self) -> Result<Option<u64>> {
        let state = self.state().await?;
        let newest = state.done();
        let Some(done_at) = state.at(newest, &CloseObject::Done) else { return Ok(None) };
        let grace = self.closer.settings.grace.as_micros() as i64;
        // Another revision is under way: its end collects both.
        if self.session.now.0 - done_at.0 < grace || state.planned() > newest {
            return Ok(None);
        }
        let entry = self.closer.catalog.partition(&self.table.name, &values(self.partition)).await?;
        let result: RevisionResult = self.get(newest, &CloseObject::Result).await?;
        if !entry.is_some_and(|entry| shows(&entry, newest, &result.directory)) {
            return Ok(None);
        }
        let left: Vec<u32> =
            (1..=newest).filter(|revision| !state.has(*revision, &CloseObject::Collected)).collect();
        let mut deleted = self.losers(&left).await?;
        for revision in left {
            deleted += self.collect_one(revision).await?;
            let key = self.key(revision, &CloseObject::Collected);
            let _ = self.closer.lake.put_if_absent(&key, bytes::Bytes::from_static(b"{}\n")).await?;
        }
        Ok(Some(deleted))
    }

    async fn collect_one(&self, revision: u32) -> Result<u64> {
        let plan: Plan = self.get(revision, &CloseObject::Plan).await?;
        let live = plan.inputs.iter().map(|f| data_file(&self.table.name, self.partition, &f.name));
        let base = plan
            .base
            .iter()
            .flat_map(|base| base.files.iter().map(|file| format!("{}/{}", base.directory, file.name)));
        self.delete(live.chain(base).collect()).await
    }

    async fn delete(&self, keys: Vec<String>) -> Result<u64> {
        for some in keys.chunks(BETWEEN_LOOKS) {
            self.session.still()?;
            self.closer.lake.delete_all(some).await?;
        }
        Ok(keys.len() as u64)
    }

    /// Files in directories of finished revisions that their results do not name.
    async fn losers(&self, revisions: &[u32]) -> Result<u64> {
        let mut winners = BTreeMap::new();
        for revision in revisions {
            let result: RevisionResult = self.get(*revision, &CloseObject::Result).await?;
            winners.insert(*revision, result.directory);
        }
        if winners.is_empty() {
            return Ok(0);
        }
        let mut keys =
            self.closer.lake.list(&closed::closed_prefix(&self.table.name, self.partition)).await?;
        keys.retain(|key| {
            let Some((revision, directory)) = closed::parse_closed_file(key) else { return false };
            winners.get(&revision).is_some_and(|winner| winner != directory)
        });
        self.delete(keys).await
    }
}
