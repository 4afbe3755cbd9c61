//! The compaction of a revision: small ones side by side, large ones alone, within one bound of memory.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::objects::Plan;
use super::work::Work;
use crate::compact::{self, Compacted, Compaction, Input, Limits, Progress};
use crate::error::{Error, Result};
use crate::naming::closed::{self, CloseObject};
use crate::naming::data_file;

/// Bytes of a share.
const SHARE: u64 = 1 << 20;

/// Memory, handed out in shares, to who came first.
pub(super) struct Shares {
    free: Semaphore,
    all: u32,
}

impl Shares {
    /// The memory of one compaction.
    pub(super) fn of(limits: Limits) -> Self {
        let all = u32::try_from(limits.memory / SHARE).unwrap_or(u32::MAX).max(1);
        Self { free: Semaphore::new(all as usize), all }
    }

    /// Wait until so many bytes are free, at most all there are.
    async fn take(&self, bytes: u64) -> Result<SemaphorePermit<'_>> {
        let shares = u32::try_from(bytes.div_ceil(SHARE)).unwrap_or(u32::MAX).clamp(1, self.all);
        self.free.acquire_many(shares).await.map_err(|e| Error::Internal(e.to_string()))
    }
}

impl Work<'_> {
    /// Go on with the revision's compaction in the directory of `nonce`.
    pub(super) async fn compact(&self, revision: u32, plan: &Plan, nonce: &str) -> Result<Progress> {
        let input = |key, rows, bytes| Input { key, rows, bytes };
        let base = plan.base.iter().flat_map(|base| {
            base.files
                .iter()
                .map(|file| input(format!("{}/{}", base.directory, file.name), file.rows, file.bytes))
        });
        let live = plan.inputs.iter().map(|file| {
            input(data_file(&self.table.name, self.partition, &file.name), file.rows, file.bytes)
        });
        let inputs: Vec<Input> = base.chain(live).collect();
        let work = closed::compaction_work(&self.table.name, self.partition, revision, nonce);
        let limits = Limits::default();
        let _share = self.closer.compacting.take(compact::memory_of(&inputs, limits)).await?;
        self.session.still()?;
        if self.session.is_over() {
            return Ok(Progress::Unfinished { done: 0, of: 1 });
        }
        let compaction = Compaction {
            schema: self.table,
            inputs: &inputs,
            directory: &self.directory(revision, nonce),
            work: &work,
            scratch: &self.closer.settings.scratch,
            limits,
            until: self.session.until,
        };
        self.closer.compact.run(&self.closer.lake, &*self.closer.clock, &compaction).await
    }

    /// Whether the rows add up.
    pub(super) fn check(&self, revision: u32, plan: &Plan, compacted: &Compacted) -> Result<()> {
        let rows: u64 = compacted.files.iter().map(|file| file.rows).sum();
        let (read, removed, planned) = (compacted.rows_read, compacted.rows_removed, plan.rows());
        if read == planned && rows + removed == read {
            return Ok(());
        }
        let problem = format!(
            "commits say {planned} rows, compaction read {read}, wrote {rows} and removed {removed}; the partition stays as it is"
        );
        Err(Error::Format { object: self.key(revision, &CloseObject::Result), problem, retryable: true })
    }
}
