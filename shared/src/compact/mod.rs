//! Many small Parquet files of one partition in, few large sorted ones out, in bounded memory and in
//! steps of bounded time that several processes may share.

use std::path::Path;

use crate::clock::EpochMicros;
use crate::schema::TableSchema;

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
#[derive(Debug)]
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
    /// No step is begun that would not end by then.
    pub until: EpochMicros,
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
