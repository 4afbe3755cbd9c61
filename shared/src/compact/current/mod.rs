//! Changes of items → the latest image of each, items that were removed gone.
//!
//! ```text
//! state before ─┐ (parts of all keys by their hash)       ┌─► rows of items that are there: for readers
//! removals ─────┼─► the last change of each key, by       │
//! new changes ──┘   (shard, sequence, sub-sequence) ──────┴─► of items that were removed, keys and
//!   └► parted by the hash of their keys                       provenance: for the next time
//! ```
//!
//! The last change wins whatever the order of the inputs, and taking the same input twice changes
//! nothing. So a state stays true when changes come late, when a partition is closed again with all
//! of its rows, and when a run that was killed begins again. For that a removal has to be remembered:
//! an older change of the item may still come. Removals are files of their own, which no reader sees.
//!
//! Memory is bounded, and the time of a step: a state is in parts of all keys by their hash, each made
//! by a step of its own from the same part of the state before and its share of the changes. What is
//! written depends on plan and inputs alone, so several processes may share the steps.

mod last;
mod part;
mod plan;
mod steps;

use std::path::Path;

use super::{CompactedFile, Input, Limits};
use crate::clock::{Clock, EpochMicros};
use crate::commit::LakeStore;
use crate::error::Result;
use crate::schema::TableSchema;

/// A state to be made. The same for every process that works on it.
#[derive(Debug, Clone, Copy)]
pub struct Fold<'a> {
    /// The table of the state: columns of the table of changes, with provenance.
    pub schema: &'a TableSchema,
    /// Columns that name an item.
    pub keys: &'a [String],
    /// The state before.
    pub base: Option<&'a StateFiles>,
    /// Files of changes that are not in it; in any order, and no harm if they are.
    pub inputs: &'a [Input],
    /// Folder below the lake for the rows that readers will see.
    pub directory: &'a str,
    /// Folder below the lake for the removals.
    pub removed: &'a str,
    /// Folder below the lake for what the steps leave for each other.
    pub work: &'a str,
    /// Folder of this machine for what does not fit into memory.
    pub scratch: &'a Path,
    /// What a step may take of this machine.
    pub limits: Limits,
    /// No step is begun that would not end by then.
    pub until: EpochMicros,
}

/// The files of a state.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateFiles {
    /// Folder below the lake of the rows that readers see.
    pub directory: String,
    /// Folder of the removals.
    pub removed: String,
    /// Shares of all keys by their hash, in order; their number is a power of two.
    pub parts: Vec<StatePart>,
}

/// A share of a state.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatePart {
    /// One row an item.
    pub files: Vec<CompactedFile>,
    /// The last row of each item that was removed.
    pub removed: Vec<CompactedFile>,
}

impl StateFiles {
    /// All files, for readers and not, as keys below the lake.
    pub fn keys(&self) -> impl Iterator<Item = String> + '_ {
        let key = |folder: &str, file: &CompactedFile| format!("{folder}/{}", file.name);
        self.parts.iter().flat_map(move |part| {
            let files = part.files.iter().map(move |file| key(&self.directory, file));
            files.chain(part.removed.iter().map(move |file| key(&self.removed, file)))
        })
    }

    /// Files that readers see.
    pub fn shown(&self) -> impl Iterator<Item = &CompactedFile> {
        self.parts.iter().flat_map(|part| &part.files)
    }

    /// Items, and removed ones that are remembered.
    pub fn rows(&self) -> (u64, u64) {
        let sum = |files: &[CompactedFile]| files.iter().map(|file| file.rows).sum::<u64>();
        self.parts.iter().fold((0, 0), |(a, b), part| (a + sum(&part.files), b + sum(&part.removed)))
    }
}

/// How far it came.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoldProgress {
    /// The directories hold everything.
    Finished(StateFiles),
    /// Steps are left: for a later invocation, or for one that works on them now.
    Unfinished {
        /// Steps done.
        done: usize,
        /// Steps in all.
        of: usize,
    },
}

/// Do what is left of a state, as far as time allows.
///
/// # Errors
/// A table without what tells the order of changes, a file that is missing or is not what it should
/// be, a bad moment of the lake or of the scratch folder.
pub async fn fold(lake: &LakeStore, clock: &dyn Clock, what: &Fold<'_>) -> Result<FoldProgress> {
    steps::Steps::of(lake, clock, what)?.run().await
}
