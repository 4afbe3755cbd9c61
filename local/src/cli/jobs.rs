//! `weir jobs ls|check|run`: aggregation jobs, one SQL file each.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use weir::catalog::Partition;
use weir::partition::{NULL_PARTITION, PartitionPath};
use weir::schema::TableSchema;
use weir_query::jobs::{Job, JobOutcome, JobRun, RunLimits, check_job, run_job};

use crate::jobs::{find, job_files, nonce};

use super::args::{Global, JobsArgs, JobsCommand};
use super::lake::Lake;
use super::output::{count, size, table};

pub(super) async fn run(global: &Global, args: &JobsArgs) -> Result<ExitCode> {
    let files = job_files(&args.jobs)?;
    match &args.command {
        JobsCommand::Ls => list(global, &files),
        JobsCommand::Check => check(global, &files).await,
        JobsCommand::Run { name, partition, memory_mb } => {
            let job = find(&files, name)?;
            run_over(global, &job, partition.as_deref(), *memory_mb).await
        }
    }
}

fn list(global: &Global, files: &[(String, String)]) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for (name, sql) in files {
        let job = Job::parse(name, sql)?;
        if global.json {
            let (source, target, keys) = (&job.source, &job.target, &job.keys);
            println!(
                "{}",
                serde_json::json!({"job": name, "source": source, "target": target, "keys": keys, "version": job.version})
            );
        }
        rows.push(vec![job.name, job.source, job.target, job.keys.join(", ")]);
    }
    if !global.json {
        println!("{}", table(&["job", "source", "target", "keys"], &rows));
    }
    Ok(ExitCode::SUCCESS)
}

/// All jobs against the definitions of the folder; the catalog is not asked.
async fn check(global: &Global, files: &[(String, String)]) -> Result<ExitCode> {
    let definitions = Lake::definitions(global)?;
    let schema = |job: &Job, name: &str| -> Result<TableSchema> {
        let found = definitions.iter().find(|definition| definition.name == name);
        let found = found.with_context(|| {
            format!("{}:1: table {name} is not in {}; define it there", job.file(), global.schemas.display())
        })?;
        Ok(TableSchema::from_input(&found.complete()?)?)
    };
    let mut wrong = 0;
    for (name, sql) in files {
        let checked = match Job::parse(name, sql) {
            Ok(job) => match (schema(&job, &job.source), schema(&job, &job.target)) {
                (Ok(source), Ok(target)) => check_job(&job, &source, &target).await.map_err(Into::into),
                (Err(error), _) | (_, Err(error)) => Err(error),
            },
            Err(error) => Err(error.into()),
        };
        match checked {
            Ok(()) => println!("{name}: good"),
            Err(error) => {
                wrong += 1;
                println!("{error:#}");
            }
        }
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_over(global: &Global, job: &Job, partition: Option<&str>, memory_mb: usize) -> Result<ExitCode> {
    let lake = Lake::find(global)?;
    lake.ensure_tables(global, &[job.source.clone(), job.target.clone()]).await?;
    let scratch = tempfile::tempdir().context("could not make a scratch folder; set TMPDIR")?;
    let limits = RunLimits { memory_bytes: memory_mb << 20, scratch: scratch.path().to_owned() };
    let source = lake.catalog.table(&job.source).await?;
    let closed = closed_partitions(&lake, &source, partition).await?;
    for entry in closed {
        let run = JobRun {
            values: entry.values.clone(),
            location: entry.storage_descriptor.location.clone(),
            revision: entry.revision(),
            nonce: nonce(),
        };
        let outcome = run_job(&lake.store, &*lake.catalog, job, &run, &limits).await?;
        if global.json {
            println!("{}", serde_json::to_string(&outcome)?);
        } else {
            println!("{}", sentence(&outcome));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The closed partitions that are meant; an error if there is none.
async fn closed_partitions(
    lake: &Lake,
    source: &TableSchema,
    partition: Option<&str>,
) -> Result<Vec<Partition>> {
    let path = |entry: &Partition| {
        let values = entry.values.iter().map(|v| (*v != NULL_PARTITION).then_some(v.as_str()));
        let keys = source.partition_keys.iter().map(|k| k.name.as_str());
        PartitionPath::from_values(keys.zip(values)).to_string()
    };
    let mut entries = lake.catalog.partitions(&source.name).await?;
    entries.retain(|entry| entry.revision() > 0 && partition.is_none_or(|wanted| path(entry) == wanted));
    match partition {
        Some(wanted) if entries.is_empty() => bail!(
            "partition {wanted} of {} is not closed; a job reads closed partitions, `weir status` shows them",
            source.name
        ),
        None if entries.is_empty() => {
            eprintln!("no partition of {} is closed yet; `weir status` shows when they will be", source.name);
        }
        _ => {}
    }
    Ok(entries)
}

fn sentence(outcome: &JobOutcome) -> String {
    let JobOutcome { target, partition, revision, rows, files_read, .. } = outcome;
    if !outcome.switched {
        return format!("{target} {partition}: revision {revision} or a later one is there already");
    }
    let (read, written) = (size(outcome.bytes_read), size(outcome.bytes));
    let rows = count(*rows);
    format!(
        "{target} {partition}: {rows} rows, {written}, from {files_read} files, {read}; revision {revision}"
    )
}
