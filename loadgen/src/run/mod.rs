//! `loadgen run`: schedule → events → target, followed into the lake and checked there; and
//! `loadgen check`, which repeats the check.

mod args;
mod lane;
pub mod ledger;
pub mod outcome;
mod place;
mod progress;
pub mod schedule;
mod send;
pub(crate) mod shared;
pub(crate) mod summary;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use weir::clock::{Clock, EpochMicros, SystemClock};

use crate::generate::{Carrier, Generator, Lines, Percentages, Plan, RunTag, Shares, bits_of};
use crate::target::Target;
use crate::truth::Check;
use crate::watch::{Seen, Watcher};
pub use args::{CheckArgs, LakeArgs, RunArgs};
use lane::{Lane, Packing, Work};
use ledger::Ledger;
use outcome::Config;
pub use outcome::{Latencies, Outcome, Percentiles, Second};
use place::Place;
use schedule::Schedule;
use shared::{Shared, lock};

/// Run, report, and say by the exit code whether all of it held.
pub async fn run(args: &RunArgs) -> Result<ExitCode> {
    let place = Place::open(&args.lake, &args.aws)?;
    let started = SystemClock.now();
    let plan = Arc::new(plan(args, &place, started).await?);
    let schedule: Arc<Schedule> = Arc::new(args.rate.parse()?);
    let Some(length) = length(args, &schedule) else {
        bail!("--rate {} goes on for ever; say --for 60s or --count 100000", args.rate);
    };
    let name = args.stream.clone().unwrap_or_else(|| args.table.clone());
    let target = Arc::new(Target::open(args.target, &name, &args.aws).await?);
    let generators = Generator::lanes(&plan, usize::from(args.workers))?;

    let started = SystemClock.now();
    let shared = Arc::new(Shared::new(started, args.patience));
    let watcher = match args.no_watch {
        true => None,
        false => Some(
            Watcher::open(
                place.lake.clone(),
                Arc::clone(&place.catalog),
                Arc::clone(&plan),
                Arc::clone(&schedule),
                Arc::clone(&shared),
            )
            .await?,
        ),
    };
    let work = work(args, &plan, &schedule, &target, &shared, length);
    let lanes = generators
        .into_iter()
        .zip(0..)
        .map(|(generator, i)| tokio::spawn(Lane::new(work.clone(), generator, i).run()));
    let lanes: Vec<_> = lanes.collect();
    let (over, is_over) = tokio::sync::watch::channel(false);
    let watching = watcher.map(|watcher| tokio::spawn(watcher.follow(is_over, args.settle)));
    let progress = tokio::spawn(progress::show(Arc::clone(&shared), !args.json));
    let stopping = tokio::spawn(stop_on_signal(Arc::clone(&shared)));

    let mut put = Latencies::new();
    for lane in lanes {
        put.merge(&lane.await.context("a lane ended early")?);
    }
    let seconds = shared.elapsed_us() as f64 / 1e6;
    let _ = over.send(true);
    let (seen, watch_failure) = match watching {
        None => (Seen::default(), None),
        Some(watching) => match watching.await? {
            Ok(seen) => (seen, None),
            Err(error) => (Seen::default(), Some(format!("could not follow the lake: {error:#}"))),
        },
    };
    progress.abort();
    stopping.abort();

    let mut outcome = outcome(args, &plan, &work, seconds, &put, &seen);
    if let Some(failure) = watch_failure {
        outcome.ended_early.get_or_insert(failure);
    }
    if !args.no_watch {
        let ledger = std::mem::take(&mut *lock(&shared.ledger));
        let check = Check {
            lake: &place.lake,
            catalog: &place.catalog,
            plan: &plan,
            schedule: &schedule,
            started_us: started.0,
            ledger: &ledger,
        };
        outcome.truth = Some(check.run().await?);
    }
    if let Some(out) = &args.out {
        write(out, &outcome, &put, &seen)?;
    }
    show(&outcome, args.json)
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

async fn plan(args: &RunArgs, place: &Place, now: EpochMicros) -> Result<Plan> {
    let table = place.table(&args.table, &args.lake.schemas).await?;
    let carrier = Carrier::choose(&table, args.id_column.as_deref())?;
    let percentages = Percentages {
        late: args.late,
        malformed: args.malformed,
        violating: args.violating,
        duplicate: args.duplicate,
    };
    if args.replay.is_some() && (args.late > 0.0 || args.violating > 0.0) {
        bail!("--replay sends lines as they are: --late and --violating are for generated events");
    }
    let lines = args.replay.as_ref().map(|file| Lines::read(file, &carrier)).transpose()?;
    Ok(Plan {
        carrier,
        // Another run of the same seed is another run.
        tag: RunTag((bits_of(args.seed, now.0 as u64) >> 32) as u32),
        seed: args.seed,
        shares: Shares::new(percentages)?,
        pad_to: args.bytes,
        lines,
        table,
    })
}

/// How long the run sends, by time or by count.
fn length(args: &RunArgs, schedule: &Schedule) -> Option<Duration> {
    let by_count = args.count.map(|count| Duration::from_micros(schedule.intended_us(count) as u64 + 1));
    let ends = [args.time, by_count, schedule.length()];
    ends.into_iter().flatten().min()
}

fn work(
    args: &RunArgs,
    plan: &Arc<Plan>,
    schedule: &Arc<Schedule>,
    target: &Arc<Target>,
    shared: &Arc<Shared>,
    length: Duration,
) -> Work {
    let packing = match (args.aggregate, args.gzip) {
        (true, _) => Packing::Aggregate,
        (_, true) => Packing::Gzip,
        _ => Packing::Single,
    };
    Work {
        plan: Arc::clone(plan),
        schedule: Arc::clone(schedule),
        target: Arc::clone(target),
        shared: Arc::clone(shared),
        packing,
        count: args.count.unwrap_or(u64::MAX),
        end_us: length.as_micros() as i64,
        // A count is sent to its end; a time ends, but for what a slow timer left.
        latest_us: if args.count.is_some() { i64::MAX } else { length.as_micros() as i64 + 100_000 },
        lanes: u64::from(args.workers),
        in_flight: usize::from(args.in_flight),
        linger: args.linger,
        packed_bytes: args.packed_bytes.min(target.limits().record_bytes / 2),
    }
}

async fn stop_on_signal(shared: Arc<Shared>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    for round in 0.. {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        match round {
            0 => {
                eprintln!("stopping: what is under way ends first; press Ctrl-C again to stop at once");
                shared.interrupt();
            }
            _ => std::process::exit(130),
        }
    }
}

fn outcome(args: &RunArgs, plan: &Plan, work: &Work, seconds: f64, put: &Latencies, seen: &Seen) -> Outcome {
    let shared = &work.shared;
    lock(&shared.ledger).close();
    let scheduled = work.count.min(work.schedule.due(work.end_us));
    let acknowledged = shared.read(|c| &c.acknowledged);
    let series = shared.seconds();
    let asked = Duration::from_micros(work.end_us as u64).as_secs_f64();
    let watched = |latencies: &Latencies| (!args.no_watch).then(|| latencies.summary());
    Outcome {
        config: Config {
            tag: plan.tag.0,
            started_us: shared.started.0,
            table: plan.table.name.clone(),
            target: format!("{:?} {}", args.target, args.stream.as_deref().unwrap_or(&args.table))
                .to_lowercase(),
            rate: args.rate.clone(),
            seed: plan.seed,
            percentages: [args.late, args.malformed, args.violating, args.duplicate],
            id_column: plan.carrier.column().to_owned(),
            packing: format!("{:?}", work.packing).to_lowercase(),
            replay: args.replay.as_ref().map(|file| file.display().to_string()),
            lanes: work.lanes,
        },
        seconds,
        scheduled,
        generated: shared.read(|c| &c.generated),
        acknowledged,
        given_up: shared.read(|c| &c.given_up),
        rate: acknowledged as f64 / seconds,
        asked_rate: scheduled as f64 / asked,
        records: shared.read(|c| &c.records),
        requests: shared.read(|c| &c.requests),
        payload_bytes: shared.read(|c| &c.bytes),
        event_bytes: shared.read(|c| &c.event_bytes),
        throttled: shared.read(|c| &c.throttled_records),
        retried: shared.read(|c| &c.retried_records),
        failed_requests: shared.read(|c| &c.failed_requests),
        failures: shared.troubles(),
        ended_early: shared
            .gone()
            .map(|why| format!("the target is gone: {why}"))
            .or_else(|| shared.interrupted()),
        put: put.summary(),
        committed: watched(&seen.committed),
        queryable: watched(&seen.queryable),
        skew: seen.skew.clone(),
        behind_at_end: seen.behind,
        peak_rss_bytes: series.iter().map(|s| s.rss_bytes).max().unwrap_or(0),
        series,
        truth: None,
        ledger: lock(&shared.ledger).runs(),
    }
}

fn write(out: &Path, outcome: &Outcome, put: &Latencies, seen: &Seen) -> Result<()> {
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
    let held = outcome.ended_early.is_none()
        && outcome.given_up == 0
        && outcome.truth.as_ref().is_none_or(crate::truth::Truth::holds);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
