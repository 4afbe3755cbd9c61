//! `weir close`: one run now; with a partition, that one, complete or not.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use weir::close::{OpenPartition, Waits};
use weir::partition::PartitionPath;
use weir::schema::CloseAction;
use weir_functions::context::process_env;
use weir_functions::memory::return_freed_memory;

use crate::closing::{Closing, LocalServices, LocalStream, sentence, view_sentence};
use crate::jobs::{LocalAggregates, find, job_files};

use super::args::{CloseArgs, Global};
use super::lake::Lake;
use super::output::count;

/// Wrong usage, as clap's own.
const USAGE: u8 = 2;

pub(super) async fn run(global: &Global, args: &CloseArgs) -> Result<ExitCode> {
    return_freed_memory();
    let lake = Lake::find(global)?;
    let partition = match args.partition.as_deref().map(PartitionPath::parse).transpose() {
        Ok(partition) => partition,
        Err(error) => {
            eprintln!("weir: --partition: {error}; example: --partition dt=2026-11-20");
            return Ok(ExitCode::from(USAGE));
        }
    };
    if lake.catalog.definition(&args.table).await?.is_none() {
        let known = lake.catalog.tables().await?.join(", ");
        eprintln!("weir: --table {}: {} has no such table; tables there: {known}", args.table, lake.url);
        return Ok(ExitCode::from(USAGE));
    }
    let streams: Vec<_> = LocalStream::running(&args.state)?.into_iter().collect();
    let tables = std::slice::from_ref(&args.table);
    let here = Here { state: &args.state, grace: args.grace, say: |line| eprintln!("{line}") };
    let closing = closing((global, &lake), &streams, tables, &here).await?;
    let report = closing.run(Some((args.table.clone(), partition.clone()))).await?;
    if global.json {
        println!("{}", json!(report));
    } else {
        report.closed.iter().for_each(|closed| println!("{}", sentence(closed)));
        report.views.iter().for_each(|view| println!("{}", view_sentence(view)));
        let asked = |open: &&OpenPartition| partition.as_ref().is_none_or(|only| *only == open.partition);
        report.open.iter().filter(asked).for_each(|open| println!("{}", open_sentence(open)));
        if report.closed.is_empty() && !report.open.iter().any(|open| asked(&open)) {
            println!("nothing to close: no rows of {} wait", args.table);
        }
        report.tables.iter().for_each(|(table, problem)| eprintln!("{table}: {problem}"));
    }
    Ok(if report.failures == 0 && report.tables.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What of this machine a closer uses.
pub(super) struct Here<'a> {
    /// Folder of events and scratch.
    pub(super) state: &'a Path,
    /// How long superseded files stay.
    pub(super) grace: Duration,
    /// Hears of each event that is sent.
    pub(super) say: fn(&str),
}

/// A closer with the state folder's event file and scratch. Tables that jobs fill are made where they
/// are missing.
pub(super) async fn closing(
    (global, lake): (&Global, &Lake),
    streams: &[LocalStream],
    tables: &[String],
    here: &Here<'_>,
) -> Result<Closing> {
    let scratch = here.state.join("compaction");
    std::fs::create_dir_all(&scratch).with_context(|| format!("could not make {}", scratch.display()))?;
    let parts = (lake.store.clone(), lake.catalog.clone());
    let jobs = process_env("WEIR_JOBS").unwrap_or_else(|| "jobs".to_owned());
    ensure_targets((global, lake), tables, Path::new(&jobs)).await?;
    let aggregates = LocalAggregates::new(parts.0.clone(), parts.1.clone(), jobs.into());
    let services = LocalServices::new(here.state, here.say).with_aggregates(aggregates);
    Closing::new(parts, streams, tables, services, (scratch, here.grace))
}

/// Tables that the jobs of these tables fill are in the catalog, if their definitions can be found. A job
/// or table that cannot is no reason to close nothing: it is shown with the partitions that wait for it.
async fn ensure_targets((global, lake): (&Global, &Lake), tables: &[String], jobs: &Path) -> Result<()> {
    let Ok(files) = job_files(jobs) else { return Ok(()) };
    let mut missing = Vec::new();
    for table in tables {
        let Ok(schema) = lake.catalog.table(table).await else { continue };
        for action in &schema.on_close {
            if let CloseAction::Aggregate(name) = action
                && let Ok(job) = find(&files, name)
                && lake.catalog.definition(&job.target).await?.is_none()
            {
                missing.push(job.target);
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let known = Lake::definitions(global)?;
    missing.retain(|table| known.iter().any(|definition| definition.name == *table));
    lake.ensure_tables(global, &missing).await
}

/// Why a partition is open, in a line.
pub(super) fn open_sentence(open: &OpenPartition) -> String {
    let what = format!("open {}/{}: {} rows wait: ", open.table, open.partition, count(open.rows));
    what + &reason(open)
}

pub(super) fn reason(open: &OpenPartition) -> String {
    let time = |micros: i64| {
        let at = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    match &open.reason {
        Waits::Time => match open.complete_at_us {
            Some(at) => format!("complete at {} at the earliest", time(at.0)),
            None => "not complete".to_owned(),
        },
        Waits::Shard(shard) => format!(
            "{} {} of {} holds a record that arrived at {} and is not committed",
            if shard.stuck { "stuck shard" } else { "shard" },
            shard.shard,
            shard.stream,
            time(shard.oldest_us.0)
        ),
        Waits::Stream { stream, problem } => format!("stream {stream}: {problem}"),
        Waits::Trouble(trouble) => {
            let tries = if trouble.tries > 1 { format!(" ({} tries)", trouble.tries) } else { String::new() };
            format!("{}{tries}", trouble.reason)
        }
        Waits::Hand => {
            format!(
                "no partition key is one of time; weir close --table {} --partition '{}'",
                open.table, open.partition
            )
        }
        Waits::Turn => "closed by the next run".to_owned(),
    }
}
