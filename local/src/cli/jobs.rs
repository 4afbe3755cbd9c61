//! `weir jobs ls|check|run`: aggregation jobs, one SQL file each.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use weir::catalog::Partition;
use weir::partition::{NULL_PARTITION, PartitionPath};
use weir::schema::TableSchema;
use weir_query::jobs::{Job, JobOutcome, JobRun, RunLimits, check_job, run_job};

use super::args::{Global, JobsArgs, JobsCommand};
use super::lake::Lake;
use super::output::{count, megabytes, table};

/// Jobs that the program carries, for use outside of a checkout.
const BUILT_IN: [(&str, &str); 5] = [
    ("access_log_traffic", include_str!("../../../jobs/access_log_traffic.sql")),
    ("clickstream_pages", include_str!("../../../jobs/clickstream_pages.sql")),
    ("clickstream_products", include_str!("../../../jobs/clickstream_products.sql")),
    ("clickstream_sessions", include_str!("../../../jobs/clickstream_sessions.sql")),
    ("sensor_statistics_5m", include_str!("../../../jobs/sensor_statistics_5m.sql")),
];

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

/// Name and text of each job, sorted: of the folder, or the built-in ones where there is no folder.
pub(super) fn job_files(folder: &Path) -> Result<Vec<(String, String)>> {
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
pub(super) fn find(files: &[(String, String)], name: &str) -> Result<Job> {
    let Some((name, sql)) = files.iter().find(|(known, _)| known == name) else {
        let known: Vec<_> = files.iter().map(|(known, _)| known.as_str()).collect();
        bail!("there is no job {name}; jobs here: {}", known.join(", "));
    };
    Ok(Job::parse(name, sql)?)
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
    let lake = Lake::open(global)?;
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
    let (read, written) = (megabytes(outcome.bytes_read), megabytes(outcome.bytes));
    let rows = count(*rows);
    format!(
        "{target} {partition}: {rows} rows, {written}, from {files_read} files, {read}; revision {revision}"
    )
}

/// 16 hex digits that no other run has: the hasher's keys are random.
pub(super) fn nonce() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
