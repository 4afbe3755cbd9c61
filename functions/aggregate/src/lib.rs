#![cfg_attr(test, allow(clippy::unwrap_used))]
//! One action of one closed partition, as JSON → the job's rows, and one line about it.
//!
//! The event is what close knows of the action, with the job's name beside it:
//! `{"job": "clickstream_pages", "id": …, "table": …, "values": […], "location": …, "revision": 2, …}`.
//! Sent twice it does the same once.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir::catalog::Catalog;
use weir::catalog::glue::Patience;
use weir::close::ActionCall;
use weir::commit::LakeStore;
use weir::{Error, Result};
use weir_functions::context::lake_and_catalog;
use weir_query::jobs::{Job, JobError, JobOutcome, JobRun, RunLimits, run_job};

/// What is left of the function's memory for sorting and grouping: the rest is the program, pages that
/// are read, and the file that is written.
const SHARE_OF_MEMORY: usize = 2;

/// The event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AggregateEvent {
    /// Job: `<WEIR_JOBS>/<job>.sql`.
    pub job: String,
    /// The action.
    #[serde(flatten)]
    pub call: ActionCall,
}

/// What the function was configured with, opened.
#[derive(Debug)]
pub struct Aggregate {
    lake: LakeStore,
    catalog: Arc<dyn Catalog>,
    jobs: PathBuf,
    limits: RunLimits,
}

impl Aggregate {
    /// Read the settings and open the lake.
    ///
    /// # Errors
    /// A setting that cannot be used, with an example that works.
    pub async fn open(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let (lake, catalog, aws) = lake_and_catalog(&get)?;
        let (lake, catalog) = weir_functions::lake::open(&lake, &catalog, &aws, Patience::LONG)?;
        let set = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        let jobs = PathBuf::from(set("WEIR_JOBS").unwrap_or_else(|| "jobs".to_owned()));
        if !jobs.is_dir() {
            let problem = format!("{} is not a folder of the function", jobs.display());
            return Err(Error::Setting {
                setting: "WEIR_JOBS".into(),
                problem,
                example: "/var/task/jobs".into(),
            });
        }
        let memory = set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|mb| mb.parse::<usize>().ok());
        let memory_bytes = (memory.unwrap_or(1_024) << 20) / SHARE_OF_MEMORY;
        let scratch = PathBuf::from(set("WEIR_SCRATCH").unwrap_or_else(|| "/tmp".to_owned()));
        Ok(Self { lake, catalog, jobs, limits: RunLimits { memory_bytes, scratch } })
    }

    /// Run the job of an event.
    ///
    /// # Errors
    /// There is no such job, or it failed; nothing is switched then, and the event may be sent again.
    pub async fn handle(&self, event: &AggregateEvent) -> Result<JobOutcome, JobError> {
        let path = self.jobs.join(format!("{}.sql", event.job));
        let sql = std::fs::read_to_string(&path).map_err(|source| Error::Store {
            operation: "read",
            object: path.display().to_string(),
            retryable: false,
            source: Box::new(source),
        })?;
        let job = Job::parse(&event.job, &sql)?;
        if job.source != event.call.table {
            let problem =
                format!("job {} reads {}, the closed partition is of this table", job.name, job.source);
            return Err(Error::Schema { table: event.call.table.clone(), problem }.into());
        }
        let run = JobRun {
            values: event.call.values.clone(),
            location: event.call.location.clone(),
            revision: event.call.revision,
            nonce: format!("{:016x}", RandomState::new().hash_one(&event.call.id)),
        };
        run_job(&self.lake, &*self.catalog, &job, &run, &self.limits).await
    }
}

/// The line about an invocation.
pub fn line(event: &AggregateEvent, request_id: &str, done: &Result<JobOutcome, JobError>) -> String {
    let (job, action, table, source) = (&event.job, &event.call.id, &event.call.table, event.call.revision);
    let mut line = serde_json::json!({
        "function": "aggregate", "request_id": request_id, "job": job, "action": action, "table": table,
        "partition": event.call.partition, "source_revision": source,
    });
    match done {
        Ok(outcome) => line["outcome"] = serde_json::to_value(outcome).unwrap_or_default(),
        Err(error) => line["error"] = error.to_string().into(),
    }
    line.to_string()
}
