//! Aggregation jobs: one SQL file over one closed partition → one partition of another table.
//!
//! ```text
//! jobs/NAME.sql ─► header ─► lint ─► session (source, unnested) ─► rows, sorted by the keys
//!                                       ─► Parquet in a fresh directory ─► the catalog's switch
//! ```
//!
//! The SQL is a subset that DataFusion and Spark answer alike (docs/JOBS.md); what is outside of it is
//! refused with its line. `jobs/run_sql.py` runs the same files on Spark.

mod collect;
mod functions;
mod header;
mod lint;
mod output;
mod run;
mod session;
mod syntax;
mod types;

use std::fmt;

pub use header::{Job, Unnest};
pub use lint::check_job;
pub use run::{JobOutcome, JobRun, RunLimits, closed_files, run_job};

/// What a job can fail with.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file is not in the subset, or does not fit its tables.
    #[error("{}", list(.0))]
    Refused(Vec<Finding>),
    /// The engine could not run it.
    #[error("could not run job {job}: {problem}")]
    Engine {
        /// Its name.
        job: String,
        /// What the engine says.
        problem: String,
    },
    /// The lake or the catalog.
    #[error(transparent)]
    Lake(#[from] weir::Error),
}

impl JobError {
    /// Whether trying again later can help.
    pub fn retryable(&self) -> bool {
        matches!(self, JobError::Lake(error) if error.retryable())
    }
}

/// Something that a job's file may not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `jobs/NAME.sql`
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub way_out: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.reason, self.way_out)
    }
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
}
