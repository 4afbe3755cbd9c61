//! Aggregation jobs on one machine: where their files are, and what starts them when a partition closes.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use weir::catalog::Catalog;
use weir::close::{ActionCall, ActionState};
use weir::commit::LakeStore;
use weir_query::jobs::{Job, JobError, JobOutcome, JobRun, RunLimits, run_job};

/// Memory of a run that a close starts.
const MEMORY_BYTES: usize = 512 << 20;

/// Jobs that the program carries, for use outside of a checkout.
const BUILT_IN: [(&str, &str); 5] = [
    ("access_log_traffic", include_str!("../../jobs/access_log_traffic.sql")),
    ("clickstream_pages", include_str!("../../jobs/clickstream_pages.sql")),
    ("clickstream_products", include_str!("../../jobs/clickstream_products.sql")),
    ("clickstream_sessions", include_str!("../../jobs/clickstream_sessions.sql")),
    ("sensor_statistics_5m", include_str!("../../jobs/sensor_statistics_5m.sql")),
];

/// Runs `aggregate:NAME` in this process.
#[derive(Debug)]
pub struct LocalAggregates {
    lake: LakeStore,
    catalog: Arc<dyn Catalog>,
    jobs: PathBuf,
}

impl LocalAggregates {
    /// Over a lake, with the jobs of a folder.
    pub fn new(lake: LakeStore, catalog: Arc<dyn Catalog>, jobs: PathBuf) -> Self {
        Self { lake, catalog, jobs }
    }

    /// Run the job over the partition that was closed; done when this answers.
    ///
    /// # Errors
    /// A bad moment. What needs a change of the job or its tables is an answer.
    pub async fn start(&self, name: &str, call: &ActionCall) -> weir::Result<ActionState> {
        let refused = |reason: String| Ok(ActionState::Refused { reason });
        let job = match job_files(&self.jobs).and_then(|files| find(&files, name)) {
            Ok(job) => job,
            Err(error) => return refused(format!("{error:#}")),
        };
        if job.source != call.table {
            return refused(format!(
                "job {name} reads {}, not {}; correct weir.on_close",
                job.source, call.table
            ));
        }
        let scratch = match tempfile::tempdir() {
            Ok(scratch) => scratch,
            Err(error) => return refused(format!("could not make a scratch folder: {error}; set TMPDIR")),
        };
        let limits = RunLimits { memory_bytes: MEMORY_BYTES, scratch: scratch.path().to_owned() };
        let run = JobRun {
            values: call.values.clone(),
            location: call.location.clone(),
            revision: call.revision,
            nonce: nonce(),
        };
        match run_job(&self.lake, &*self.catalog, &job, &run, &limits).await {
            Ok(outcome) => {
                let JobOutcome { target, revision, switched, .. } = &outcome;
                let stood = if *switched { "" } else { " or a later one stood there" };
                let run = format!("in this process, {target} revision {revision}{stood}");
                Ok(ActionState::Started { run })
            }
            Err(JobError::Lake(error)) if error.retryable() => Err(error),
            Err(error) => refused(error.to_string()),
        }
    }
}

/// Name and text of each job, sorted: of the folder, or the built-in ones where there is no folder.
///
/// # Errors
/// A folder that cannot be read.
pub fn job_files(folder: &Path) -> Result<Vec<(String, String)>> {
    if !folder.is_dir() {
        if folder != Path::new("jobs") {
            bail!("{} is not a folder; give the folder of jobs with --jobs", folder.display());
        }
        return Ok(BUILT_IN.iter().map(|(name, sql)| ((*name).to_owned(), (*sql).to_owned())).collect());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        if let (Some(name), Some("sql")) = (name, path.extension().and_then(|e| e.to_str())) {
            let sql = std::fs::read_to_string(&path);
            let sql = sql.with_context(|| format!("could not read {}", path.display()))?;
            files.push((name.to_owned(), sql));
        }
    }
    files.sort();
    Ok(files)
}

/// The job of that name.
///
/// # Errors
/// There is none, or its header cannot be read.
pub fn find(files: &[(String, String)], name: &str) -> Result<Job> {
    let Some((name, sql)) = files.iter().find(|(known, _)| known == name) else {
        let known: Vec<_> = files.iter().map(|(known, _)| known.as_str()).collect();
        bail!("there is no job {name}; jobs here: {}", known.join(", "));
    };
    Ok(Job::parse(name, sql)?)
}

/// 16 hex digits that no other run has: the hasher's keys are random.
pub fn nonce() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
