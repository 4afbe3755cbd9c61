//! Partitions that are complete: compacted, switched in the catalog in one step, and what waits for
//! them started. Steps, ownership and what is deleted when: docs/COMMIT_PROTOCOL.md.
//!
//! ```text
//! streams ─► shards ─┐
//! chains ────────────┴► inventory ─► watermark ─► partitions that are ready ─► work, one by one:
//!                          │                      plan ─► compact ─► result ─► switch ─► actions ─► done
//!                       summary, a cache                                                  └► collect
//!                                     what is done, of tables of changes ─► current: the latest row of each item
//! ```

mod action;
#[cfg(feature = "glue")]
mod aws;
mod batch;
mod collect;
mod compacting;
mod current;
mod engine;
mod inventory;
mod objects;
mod period;
pub(crate) mod reader;
mod report;
mod run;
mod stream;
mod summary;
mod watch;
mod watermark;
mod work;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::commit::LakeStore;
use crate::compact::{self, Compaction, Fold, FoldProgress, Progress};
use crate::error::Result;
use crate::limits;

use compacting::Shares;

pub use action::{ActionCall, ActionState, Actions};
#[cfg(feature = "glue")]
pub use aws::{Aggregates, AwsActions};
pub use current::CurrentView;
pub use engine::{Engine, EngineSetting, choose_engine};
pub use objects::{ActionOutcome, Base, DoneRecord, Plan, PlannedFile, RevisionResult, Started, Vector, Why};
pub use reader::{RevisionStatus, VisibleFile, revisions, visible_files};
pub use report::{OpenPartition, Report, Waits};
pub use run::Run;
pub use stream::{GivenUpRange, Idleness, Look, Shards, Stream, StreamShard};
pub use summary::Trouble;
pub use watermark::{HoldingShard, StreamMark};
pub use work::ClosedRevision;

/// Partitions that are switched side by side.
const SWITCHES_AT_ONCE: usize = 24;
/// Actions that are started side by side.
const ACTIONS_AT_ONCE: usize = 8;

/// Who makes few large files of many small ones.
#[async_trait]
pub trait Compact: Send + Sync {
    /// Go on with a compaction until it is finished or its time is over. Several processes may be at
    /// work on the same directory.
    async fn run(&self, lake: &LakeStore, clock: &dyn Clock, what: &Compaction<'_>) -> Result<Progress>;

    /// The same for a current state.
    async fn fold(&self, lake: &LakeStore, clock: &dyn Clock, what: &Fold<'_>) -> Result<FoldProgress> {
        compact::fold(lake, clock, what).await
    }
}

/// [`compact::run`].
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamingCompact;

#[async_trait]
impl Compact for StreamingCompact {
    async fn run(&self, lake: &LakeStore, clock: &dyn Clock, what: &Compaction<'_>) -> Result<Progress> {
        compact::run(lake, clock, what).await
    }
}

/// How a lake is closed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tables to close; all of the catalog if none are named. Never the quarantine, whose letters
    /// replays take out again.
    pub tables: Option<BTreeSet<String>>,
    /// Taken off the streams' watermarks.
    pub margin: Duration,
    /// How long superseded files stay.
    pub grace: Duration,
    /// Folder of this machine for compactions.
    pub scratch: PathBuf,
    /// Keys of streams that feed tables no more and cannot be asked.
    pub ended_streams: BTreeSet<String>,
}

impl Settings {
    /// The deployed function's.
    pub fn new(scratch: PathBuf) -> Self {
        Self {
            tables: None,
            margin: limits::CLOSE_MARGIN,
            grace: limits::CLOSE_GRACE,
            scratch,
            ended_streams: BTreeSet::new(),
        }
    }
}

/// Closes the partitions of a lake. Any number of them may run at once.
pub struct Closer {
    lake: LakeStore,
    catalog: Arc<dyn Catalog>,
    streams: Vec<Arc<dyn Stream>>,
    compact: Arc<dyn Compact>,
    actions: Arc<dyn Actions>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    /// Memory that compactions may take together.
    compacting: Shares,
    /// Partitions that are switched side by side: catalogs throttle.
    switching: Semaphore,
    /// Actions that are started side by side: one may be a job in this process.
    acting: Semaphore,
}

impl Closer {
    /// Of a lake, the streams that feed it, and those who do the work.
    pub fn new(
        (lake, catalog): (LakeStore, Arc<dyn Catalog>),
        streams: Vec<Arc<dyn Stream>>,
        (compact, actions): (Arc<dyn Compact>, Arc<dyn Actions>),
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        let compacting = Shares::of(compact::Limits::default());
        let (switching, acting) = (Semaphore::new(SWITCHES_AT_ONCE), Semaphore::new(ACTIONS_AT_ONCE));
        Self { lake, catalog, streams, compact, actions, clock, settings, compacting, switching, acting }
    }
}
