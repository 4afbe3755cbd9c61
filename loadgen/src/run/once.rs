//! One run: target and generators opened, lanes at work, the lake followed and checked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use weir::clock::{Clock, SystemClock};

use super::args::RunArgs;
use super::lane::{Lane, Packing, Work};
use super::outcome::{Config, Latencies, Outcome};
use super::place::Place;
use super::plan;
use super::progress;
use super::schedule::Schedule;
use super::shared::{Shared, lock};
use crate::generate::{Generator, Plan};
use crate::target::{FunctionSetup, Target, TargetKind};
use crate::truth::Check;
use crate::watch::{Seen, Watcher};

/// What one run left.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) put: Latencies,
    pub(super) seen: Seen,
}

/// How long and how fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) rate: &'a str,
    pub(super) time: Option<Duration>,
}

/// Send, follow, check.
pub(super) async fn once(args: &RunArgs, place: &Place, load: Load<'_>) -> Result<Done> {
    let schedule: Arc<Schedule> = Arc::new(load.rate.parse()?);
    let Some(length) = length(args.count, load.time, &schedule) else {
        bail!("--rate {} goes on for ever; say --for 60s or --count 100000", load.rate);
    };
    let table = place.table(&args.table, &args.lake.schemas).await?;
    let plan = plan::plan(args, table, SystemClock.now())?;
    let target = Arc::new(open(args, place, &plan).await?);
    let plan = Arc::new(plan::suited(plan, args, &target)?);
    let generators = Generator::lanes(&plan, usize::from(args.workers))?;

    let started = SystemClock.now();
    let shared = Arc::new(Shared::new(started, args.patience));
    let follows = args.target.reaches_lake() && !args.no_watch;
    let watcher = match follows {
        false => None,
        true => Some(
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
    let cpu = processor_time();
    let lanes = generators
        .into_iter()
        .zip(0..)
        .map(|(generator, i)| tokio::spawn(Lane::new(work.clone(), generator, i).run()));
    let lanes: Vec<_> = lanes.collect();
    let (over, is_over) = tokio::sync::watch::channel(false);
    let watching = watcher.map(|watcher| tokio::spawn(watcher.follow(is_over, args.settle)));
    let progress = progress::Progress::start(Arc::clone(&shared), !args.json);
    let stopping = tokio::spawn(stop_on_signal(Arc::clone(&shared)));

    let mut put = Latencies::new();
    for lane in lanes {
        put.merge(&lane.await.context("a lane ended early")?);
    }
    let spent = Spent {
        seconds: shared.elapsed_us() as f64 / 1e6,
        cpu_seconds: (processor_time() - cpu).as_secs_f64(),
    };
    let _ = over.send(true);
    let (seen, watch_failure) = match watching {
        None => (Seen::default(), None),
        Some(watching) => match watching.await? {
            Ok(seen) => (seen, None),
            Err(error) => (Seen::default(), Some(format!("could not follow the lake: {error:#}"))),
        },
    };
    progress.stop();
    stopping.abort();

    let mut outcome = outcome(args, &plan, &work, (spent, load.rate), &put, follows.then_some(&seen));
    if let Some(failure) = watch_failure {
        outcome.ended_early.get_or_insert(failure);
    }
    if follows {
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
    Ok(Done { outcome, put, seen })
}

async fn open(args: &RunArgs, place: &Place, plan: &Plan) -> Result<Target> {
    if args.target != TargetKind::Invoke && (args.program.is_some() || args.function.is_some()) {
        bail!("--program and --function are for --target invoke");
    }
    let settings = function_settings(args, place);
    let function = FunctionSetup {
        program: args.program.as_deref(),
        function: args.function.as_deref(),
        settings: &settings,
        lanes: args.workers,
        started: SystemClock.now(),
    };
    let name = args.stream.as_deref().unwrap_or(&args.table);
    Target::open(args.target, name, &plan.table, &args.aws, function).await
}

/// What a program that is started here has to know of the lake.
fn function_settings(args: &RunArgs, place: &Place) -> Vec<(String, String)> {
    let mut settings = vec![
        ("WEIR_LAKE".to_owned(), place.url.clone()),
        ("WEIR_TABLE".to_owned(), args.table.clone()),
        ("WEIR_STREAM_IDENTITY".to_owned(), "loadgen".to_owned()),
    ];
    settings.extend(place.catalog_url.iter().map(|url| ("WEIR_CATALOG".to_owned(), url.clone())));
    settings.extend(args.aws.store_options().into_iter().map(|(name, value)| (name.to_uppercase(), value)));
    settings
}

/// How long the run sends, by time or by count.
fn length(count: Option<u64>, time: Option<Duration>, schedule: &Schedule) -> Option<Duration> {
    let by_count = count.map(|count| Duration::from_micros(schedule.intended_us(count) as u64 + 1));
    let ends = [time, by_count, schedule.length()];
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
    let usual_linger = match args.target {
        TargetKind::Invoke => Duration::from_secs(1),
        _ => Duration::from_millis(10),
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
        in_flight: target.in_flight(usize::from(args.in_flight)),
        linger: args.linger.unwrap_or(usual_linger),
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

/// What sending took.
#[derive(Debug, Clone, Copy)]
struct Spent {
    seconds: f64,
    cpu_seconds: f64,
}

fn outcome(
    args: &RunArgs,
    plan: &Plan,
    work: &Work,
    (spent, rate): (Spent, &str),
    put: &Latencies,
    seen: Option<&Seen>,
) -> Outcome {
    let shared = &work.shared;
    lock(&shared.ledger).close();
    let scheduled = work.count.min(work.schedule.due(work.end_us));
    let acknowledged = shared.read(|c| &c.acknowledged);
    let series = shared.seconds();
    let asked = Duration::from_micros(work.end_us as u64).as_secs_f64();
    Outcome {
        config: config(args, plan, work, rate),
        seconds: spent.seconds,
        cpu_seconds: spent.cpu_seconds,
        scheduled,
        generated: shared.read(|c| &c.generated),
        acknowledged,
        given_up: shared.read(|c| &c.given_up),
        rate: acknowledged as f64 / spent.seconds,
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
        committed: seen.map(|seen| seen.committed.summary()),
        queryable: seen.map(|seen| seen.queryable.summary()),
        skew: seen.and_then(|seen| seen.skew.clone()),
        behind_at_end: seen.map_or(0, |seen| seen.behind),
        // A run of less than a second has no series.
        peak_rss_bytes: series.iter().map(|s| s.rss_bytes).fold(progress::resident(), u64::max),
        series,
        truth: None,
        ledger: lock(&shared.ledger).runs(),
    }
}

fn config(args: &RunArgs, plan: &Plan, work: &Work, rate: &str) -> Config {
    let name =
        [args.program.as_ref().map(|p| p.display().to_string()), args.function.clone(), args.stream.clone()];
    let name = name.into_iter().flatten().next().unwrap_or_else(|| args.table.clone());
    Config {
        tag: plan.tag.0,
        started_us: work.shared.started.0,
        table: plan.table.name.clone(),
        target: match args.target {
            TargetKind::None => "none".to_owned(),
            kind => format!("{} {name}", format!("{kind:?}").to_lowercase()),
        },
        rate: rate.to_owned(),
        seed: plan.seed,
        percentages: [args.late, args.malformed, args.violating, args.duplicate],
        id_column: plan.carrier.column().to_owned(),
        packing: format!("{:?}", work.packing).to_lowercase(),
        replay: args.replay.as_ref().map(|file| file.display().to_string()),
        lanes: work.lanes,
        of_changes: plan.of_changes,
    }
}

/// User and system time of this process so far.
fn processor_time() -> Duration {
    // SAFETY: an all-zero rusage is valid, and the call writes no further than it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let of = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1_000);
    of(usage.ru_utime) + of(usage.ru_stime)
}
