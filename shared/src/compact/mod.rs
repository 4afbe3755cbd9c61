//! Many small Parquet files of one partition in, few large sorted ones out, in bounded memory and in
//! steps of bounded time that several processes may share.

mod block;
mod copies;
mod current;
mod evolve;
mod gather;
mod header;
mod hybrid;
mod key;
mod load;
mod order;
mod output;
mod page;
mod part;
mod plan;
mod sample;
mod source;
mod split;
mod steps;
mod work;

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;

use crate::clock::{Clock, EpochMicros};
use crate::columns::Layout;
use crate::commit::LakeStore;
use crate::error::Result;
use crate::schema::TableSchema;

pub use current::{Fold, FoldProgress, StateFiles, StatePart, fold};

use steps::Steps;

/// Files that are read at once.
const FILES_AT_ONCE: usize = 8;

/// A file to take in: one that the partition's plan pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Key below the lake.
    pub key: String,
    /// Rows, as the commit or the revision before says.
    pub rows: u64,
    /// Length.
    pub bytes: u64,
}

/// What is to be compacted, and where to. The same for every process that works on it.
#[derive(Debug, Clone, Copy)]
pub struct Compaction<'a> {
    /// The table as it is now; files of earlier versions are read by its columns.
    pub schema: &'a TableSchema,
    /// Pinned by the plan, in its order.
    pub inputs: &'a [Input],
    /// Folder below the lake for the files that readers will see
    /// (`clicks/closed/dt=2026-11-20/r0002-1f3a`).
    pub directory: &'a str,
    /// Folder below the lake for what the steps leave for each other.
    pub work: &'a str,
    /// Folder of this machine for what does not fit into memory.
    pub scratch: &'a Path,
    /// What a step may take of this machine.
    pub limits: Limits,
    /// No step is begun that would not end by then.
    pub until: EpochMicros,
}

/// What a step may take of a machine, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows and buffers held in memory, about.
    pub memory: u64,
    /// Files in the scratch folder.
    pub scratch: u64,
}

impl Default for Limits {
    /// What the smallest useful function has: half of its 512 MiB of memory, and its `/tmp`.
    fn default() -> Self {
        Self { memory: 256 << 20, scratch: 512 << 20 }
    }
}

/// A file of a closed partition.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CompactedFile {
    /// Name in the directory: `part-00000.parquet`.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Length.
    pub bytes: u64,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// In the order of `weir.sort`.
    pub files: Vec<CompactedFile>,
    /// Rows read: what the inputs' commits say, or it is an error.
    pub rows_read: u64,
    /// Rows that `weir.dedupe_key` left out.
    pub rows_removed: u64,
}

/// How far it came.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The directory holds everything.
    Finished(Compacted),
    /// Steps are left: for a later invocation, or for one that works on them now.
    Unfinished {
        /// Steps done.
        done: usize,
        /// Steps in all.
        of: usize,
    },
}

/// Bytes of memory that a compaction of these inputs may take, about: few for few and small ones, all
/// of the limit for others. Those that fit into a limit together can go side by side.
pub fn memory_of(inputs: &[Input], limits: Limits) -> u64 {
    plan::memory_of(inputs, limits)
}

/// Do what is left of a compaction, as far as time allows.
///
/// # Errors
/// A file that is missing, cannot be read or holds another number of rows than its commit says: with
/// its key, what was expected and what was found. A bad moment of the lake or of the scratch folder.
pub async fn run(lake: &LakeStore, clock: &dyn Clock, compaction: &Compaction<'_>) -> Result<Progress> {
    let layout = Layout::of(compaction.schema);
    Steps { lake, clock, compaction, layout: &layout }.run().await
}
