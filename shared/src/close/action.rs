//! What close asks of the services that wait for a partition.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::schema::CloseAction;

/// One action of one revision of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionCall {
    /// The same for every try at this action of this revision and for no other: `[a-z0-9-]`, at most
    /// 64. The token of services that have one; `--weir_action` of a Glue job.
    pub id: String,
    /// Table of the partition.
    pub table: String,
    /// `dt=2026-11-20/hour=2026-11-20-05`; empty for a table without keys.
    pub partition: String,
    /// Values of the partition keys, not escaped.
    pub values: Vec<String>,
    /// Folder of the closed files, as the catalog has it, with a slash at its end.
    pub location: String,
    /// Revision, from 1.
    pub revision: u32,
    /// Rows of the revision.
    pub rows: u64,
    /// Rows that this revision added to the one before; 0 for the first.
    pub late_rows: u64,
    /// Records that the event source mapping gave up on while the partition was open.
    pub given_up: u64,
    /// Bytes of the closed files.
    pub bytes: u64,
    /// Whether an earlier try may have started it: look for a run that carries the id first.
    pub repeated: bool,
}

/// How far an action came.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionState {
    /// It is started or done, once; `run` names it where the service has a name.
    Started {
        /// Run id, execution ARN, event id, or a sentence.
        run: String,
    },
    /// Not yet: already running for another, its limit reached. Asked again by a later close.
    Waiting {
        /// Why.
        reason: String,
    },
    /// It cannot be started as it is (no such job, access denied). Shown with the partition, tried
    /// again with growing pauses.
    Refused {
        /// Why, with the way out.
        reason: String,
    },
}

/// Who starts actions: services in the cloud, the local runtime, or a test.
///
/// An implementation must start an action at most once per [`ActionCall::id`] where the service
/// allows it (docs/COMMIT_PROTOCOL.md, C6). A bad moment is an error that is retryable.
#[async_trait]
pub trait Actions: Send + Sync {
    /// Start it, or find that it is.
    async fn start(&self, action: &CloseAction, call: &ActionCall) -> Result<ActionState>;
}
