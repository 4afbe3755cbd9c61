//! `loadgen run`: schedule → events → target, followed into the lake and checked there; and
//! `loadgen check`, which repeats the check.

mod args;
mod lane;
pub mod ledger;
mod max;
mod once;
pub mod outcome;
mod place;
mod plan;
mod progress;
pub mod schedule;
mod send;
pub(crate) mod shared;
pub(crate) mod summary;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::generate::{Carrier, Lines, Percentages, Plan, RunTag, Shares};
use crate::truth::Check;
pub use args::{CheckArgs, LakeArgs, RunArgs};
use ledger::Ledger;
use once::{Done, Load, once};
pub use outcome::{Latencies, Outcome, Percentiles, Second};
use place::Place;
use schedule::Schedule;

/// Run, report, and say by the exit code whether all of it held.
///
/// # Errors
/// A lake, table or target that cannot be opened; events that cannot be made.
pub async fn run(args: &RunArgs) -> Result<ExitCode> {
    let place = Place::open(&args.lake, &args.aws)?;
    if args.find_max {
        return max::search(args, &place).await;
    }
    let done = once(args, &place, Load { rate: &args.rate, time: args.time }).await?;
    if let Some(out) = &args.out {
        write(out, &done)?;
    }
    show(&done.outcome, args.json)
}

/// Repeat the check of a run that was written with `--out`, against the same lake later or a copy.
pub async fn check(args: &CheckArgs) -> Result<ExitCode> {
    let text =
        std::fs::read(&args.result).with_context(|| format!("could not read {}", args.result.display()))?;
    let mut outcome: Outcome = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no result of `loadgen run --out`", args.result.display()))?;
    let place = Place::open(&args.lake, &args.aws)?;
    let config = &outcome.config;
    let table = place.table(&config.table, &args.lake.schemas).await?;
    let carrier = Carrier::choose(&table, Some(&config.id_column))?;
    let [late, malformed, violating, duplicate] = config.percentages;
    let lines = config.replay.as_ref().map(|file| Lines::read(Path::new(file), &carrier)).transpose()?;
    let plan = Plan {
        table,
        carrier,
        tag: RunTag(config.tag),
        seed: config.seed,
        shares: Shares::new(Percentages { late, malformed, violating, duplicate })?,
        pad_to: 0,
        lines,
        of_changes: config.of_changes,
        keys: Vec::new(),
    };
    let schedule: Schedule = config.rate.parse()?;
    let ledger = Ledger::of_runs(&outcome.ledger);
    let check = Check {
        lake: &place.lake,
        catalog: &place.catalog,
        plan: &plan,
        schedule: &schedule,
        started_us: config.started_us,
        ledger: &ledger,
    };
    outcome.truth = Some(check.run().await?);
    show(&outcome, args.json)
}

fn write(out: &Path, Done { outcome, put, seen }: &Done) -> Result<()> {
    let at = |ending: &str| {
        out.with_file_name(format!("{}{ending}", out.file_name().unwrap_or_default().to_string_lossy()))
    };
    let mut files =
        vec![(at(".json"), serde_json::to_string_pretty(outcome)?), (at(".put.hgrm"), put.hgrm())];
    if outcome.committed.is_some() {
        files.push((at(".committed.hgrm"), seen.committed.hgrm()));
        files.push((at(".queryable.hgrm"), seen.queryable.hgrm()));
    }
    for (path, text) in files {
        std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

/// Print what it came to; 1 unless all of it held.
fn show(outcome: &Outcome, json: bool) -> Result<ExitCode> {
    match json {
        true => println!("{}", serde_json::to_string_pretty(outcome)?),
        false => println!("{}", summary::text(outcome)),
    }
    Ok(if outcome.held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
