//! What is wrong: one finding an object, with the way out.

use std::fmt;

use serde::Serialize;

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Versions of a chain that are not there although later ones are.
    MissingVersions,
    /// A commit that cannot be read, or that contradicts itself.
    BrokenCommit,
    /// A checkpoint or segment that says other than the commits.
    FoldedWrongly,
    /// Two commits list the same positions.
    DuplicatePositions,
    /// A commit lists a file that is not there.
    MissingFile,
    /// A listed file has another length than its commit says, or is no Parquet.
    DamagedFile,
    /// Commit, footer and columns disagree on how many rows a file has.
    RowCount,
    /// A file's footer or name says other than the commit that lists it.
    WrongFile,
    /// Rows of positions that the commit does not list.
    ForeignRows,
    /// One record stands twice in the files of a commit.
    DuplicateRows,
    /// A commit lists a file that an earlier commit has dropped.
    DroppedFileListed,
    /// No commit lists the file nor its first record: a crash left it, or its batch is under way.
    UncommittedFile,
    /// A commit lists the file's first record and not the file, or a repair has dropped its name.
    DeadFile,
    /// No readable commit lists the file, but some of its chain cannot be read.
    UnprovenFile,
    /// A file whose name is none that Weir gives.
    ForeignFile,
    /// An object of a closed revision is gone or cannot be read.
    BrokenRevision,
    /// A table with rows that readers cannot find in the catalog.
    CatalogTable,
    /// A partition with rows that the catalog does not declare.
    CatalogPartition,
    /// Records or bytes of the source that no commit lists, although later ones are listed.
    MissingRange,
    /// Positions that commits list and the source does not have.
    PhantomRecords,
    /// The source has another number of lines than there are rows and dead letters.
    SourceCount,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its kind.
    pub kind: Kind,
    /// Key of the object, or the name of what is wrong.
    pub object: String,
    /// What is wrong, with both sides.
    pub problem: String,
    /// What to do.
    pub way_out: String,
    /// Whether this run has repaired it.
    pub repaired: bool,
}

impl Finding {
    /// A fault that stands.
    pub fn new(
        kind: Kind,
        object: impl Into<String>,
        problem: impl Into<String>,
        way_out: impl Into<String>,
    ) -> Self {
        let (object, problem, way_out) = (object.into(), problem.into(), way_out.into());
        Self { kind, object, problem, way_out, repaired: false }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.repaired { "repaired: " } else { "" };
        let end = if self.repaired { "" } else { self.way_out.as_str() };
        write!(f, "{done}{}: {}", self.object, self.problem)?;
        if end.is_empty() { Ok(()) } else { write!(f, "; {end}") }
    }
}

/// Takes findings as they are made, so that no number of them fills the memory.
pub type Sink<'a> = dyn FnMut(Finding) + Send + 'a;
