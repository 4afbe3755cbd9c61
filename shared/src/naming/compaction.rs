//! Names in the folders of a compaction.
//!
//! ```text
//! <directory>/part-00003.parquet · part-00003-01.parquet     what readers see; more than one if it grew
//! <work>/plan · finished
//! <work>/keys-00002 · losers-00001 · split-00002-00000.parquet     deleted when it is finished
//! <work>/keys-00002.done · losers-00001.done · split-00002.done · part-00003.done
//! ```

/// The plan of a compaction.
pub const PLAN: &str = "plan";
/// What came of it.
pub const FINISHED: &str = "finished";

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Keys of a group of inputs, for `weir.dedupe_key`.
    Keys(u32),
    /// Copies among the keys of one share of all hashes.
    Losers(u32),
    /// Rows of a group of inputs, parted by ranges of `weir.sort`.
    Split(u32),
    /// A file for readers.
    Part(u32),
}

impl Task {
    /// Name of what the step leaves for later ones; a split leaves files of its own.
    pub fn name(self) -> String {
        match self {
            Task::Keys(n) => format!("keys-{n:05}"),
            Task::Losers(n) => format!("losers-{n:05}"),
            Task::Split(n) => format!("split-{n:05}"),
            Task::Part(n) => format!("part-{n:05}"),
        }
    }

    /// Name of its marker.
    pub fn marker(self) -> String {
        format!("{}.done", self.name())
    }

    /// Name of file `n` of a split.
    pub fn split_file(self, n: usize) -> String {
        format!("{}-{n:05}.parquet", self.name())
    }

    /// Name of file `n` of a part.
    pub fn part_file(self, n: usize) -> String {
        if n == 0 { format!("{}.parquet", self.name()) } else { format!("{}-{n:02}.parquet", self.name()) }
    }
}

/// Whether a name of a work folder is one that is deleted when the compaction is finished.
pub fn is_temporary(name: &str) -> bool {
    ["keys-", "losers-", "split-", "part-"].iter().any(|start| name.starts_with(start))
}
