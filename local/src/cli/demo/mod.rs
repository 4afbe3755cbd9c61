//! `weir demo`: everything once. Events go to a real Kinesis endpoint, a real function process takes
//! them, it is killed once on the way, records are delivered twice, hours are closed and aggregated,
//! one of them again for late events, and at the end the lake is compared with what was sent.

mod aggregate;
mod report;
mod send;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use weir::clock::{EpochMicros, SystemClock};
use weir::close::{ClosedRevision, OpenPartition, Waits};

use crate::runtime::{HostedFunction, Running, UpConfig, up};

use super::args::{DemoArgs, Global};
use super::close::{Here, closing, open_sentence};
use super::lake::Lake;
use super::output::count;
use super::up::{StopSignals, drained, local_stream, program};
use aggregate::Aggregated;
use send::{Sent, send_file, send_generated, send_late};

/// Events that are sent for an hour that is closed.
const LATE_EVENTS: u64 = 200;

pub(super) async fn run(global: &Global, args: &DemoArgs) -> Result<ExitCode> {
    let mut signals = StopSignals::listen()?;
    // Dropped in the middle, the demo takes its processes and its folder with it.
    tokio::select! {
        done = show(global, args) => done,
        () = signals.next() => {
            eprintln!("stopped; nothing is left behind but what --keep names");
            Ok(ExitCode::from(130))
        }
    }
}

async fn show(global: &Global, args: &DemoArgs) -> Result<ExitCode> {
    let started = Instant::now();
    // Goes with the demo, unless a folder is given.
    let scratch =
        tempfile::Builder::new().prefix("weir-demo-").tempdir().context("could not make a folder")?;
    let home = args.keep.clone().unwrap_or_else(|| scratch.path().to_owned());
    std::fs::create_dir_all(&home).with_context(|| format!("could not make {}", home.display()))?;
    let lake = Lake::open_at(&home.join("lake").to_string_lossy())?;
    let name = args.table.clone().unwrap_or_else(|| "clickstream".into());
    if args.data.is_none() {
        aggregate::start_on_close(global, &lake, &name).await?;
    }
    lake.ensure_tables(global, std::slice::from_ref(&name)).await?;
    let state = home.join("state");
    let mut config = UpConfig::new(&state, &name, "ingest", Arc::new(SystemClock));
    config.enforce_limits = false;
    config.mapping.window = Duration::from_secs(1);
    let function = HostedFunction::new(program(&lake, std::slice::from_ref(&name), &state)?);
    let running = up(config, function).await?;
    eprintln!(
        "1. a Kinesis endpoint with 2 shards on {}, and a function in a process of its own",
        running.endpoint_url()
    );
    let sent = match &args.data {
        Some(file) => send_file(&running, &name, file).await?,
        None => send_generated(&running, &name, args).await?,
    };
    eprintln!("4. {} records sent; waiting until the last is acknowledged", count(sent.records));
    let all = drained(&running, sent.records, Duration::from_secs(300)).await;
    let closed = match all {
        true => close((global, &lake), (&running, &name, &state), args, sent.records).await?,
        false => Closed::default(),
    };
    let sent = Sent { records: sent.records + closed.late, ..sent };
    let started_processes = running.function().map_or(0, |f| f.processes_started());
    let given_up = running.status().records_given_up();
    running.stop().await;
    if !all {
        bail!("the records were not taken within 5 minutes; see {}", state.join("function.log").display());
    }
    let ok = report::report(&lake, &name, &sent, (given_up, started_processes), &closed).await?;
    if args.keep.is_some() {
        println!("\nkept: weir --lake {} query \"select count(*) from {name}\"", home.join("lake").display());
    }
    eprintln!("\n{:.1} s in all", started.elapsed().as_secs_f64());
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was closed, what the aggregation made of it each time, and how many records came after it.
#[derive(Default)]
struct Closed {
    revisions: Vec<ClosedRevision>,
    aggregated: Vec<Aggregated>,
    late: u64,
}

/// Close what is complete, send late events for a closed hour, close again.
async fn close(
    (global, lake): (&Global, &Lake),
    (running, name, state): (&Running, &str, &Path),
    args: &DemoArgs,
    sent: u64,
) -> Result<Closed> {
    let streams = [local_stream(running, state, None, None)?];
    let tables = [name.to_owned()];
    let here = Here { state, grace: weir::limits::CLOSE_GRACE, say: |_| {} };
    let closing = closing((global, lake), &streams, &tables, &here).await?;
    let report = closing.run(None).await?;
    eprintln!(
        "5. closed {} partitions that are complete, each into one revision of few files; {} are open",
        report.closed.len(),
        report.open.len()
    );
    tell(&report.closed, &report.open);
    let mut closed = Closed { revisions: report.closed, ..Closed::default() };
    let Some((hour, end)) = closed.revisions.iter().filter_map(hour_and_end).min() else { return Ok(closed) };
    if args.data.is_some() {
        return Ok(closed);
    }
    closed.aggregated.extend(aggregate::aggregated(lake).await?);
    send_late(running, name, (args.seed + 1, end, LATE_EVENTS)).await?;
    closed.late = LATE_EVENTS;
    if !drained(running, sent + closed.late, Duration::from_secs(60)).await {
        bail!("the late events were not taken within a minute; see {}", state.join("function.log").display());
    }
    let report = closing.run(None).await?;
    eprintln!(
        "6. {} late events came for the closed hour {hour}: partitions that have a second revision now: {}",
        count(closed.late),
        report.closed.len()
    );
    tell(&report.closed, &report.open);
    closed.aggregated.extend(aggregate::aggregated(lake).await?);
    closed.revisions.extend(report.closed);
    Ok(closed)
}

/// How often each action was started, and what is in the way of a partition.
fn tell(closed: &[ClosedRevision], open: &[OpenPartition]) {
    let mut started = std::collections::BTreeMap::<&str, u64>::new();
    for action in closed.iter().flat_map(|closed| &closed.actions).filter(|action| action.run.is_some()) {
        *started.entry(&action.action).or_default() += 1;
    }
    for (action, times) in started {
        let times = if times == 1 { "once".to_owned() } else { format!("{} times", count(times)) };
        eprintln!("   weir.on_close {action}: {times}");
    }
    for open in open.iter().filter(|open| matches!(open.reason, Waits::Trouble(_))) {
        eprintln!("   {}", open_sentence(open));
    }
}

/// Of a partition whose last key is an hour: `2026-11-20-05`, and when it ends.
fn hour_and_end(closed: &ClosedRevision) -> Option<(String, EpochMicros)> {
    let (_, hour) = closed.partition.values().pop()?;
    let hour = hour?;
    let begins = jiff::civil::DateTime::strptime("%Y-%m-%d-%H:%M", format!("{hour}:00")).ok()?;
    let begins = begins.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
    Some((hour, EpochMicros(begins + 3_600_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir::partition::PartitionPath;

    #[test]
    fn late_events_are_sent_for_partitions_that_are_an_hour() {
        let cases = [
            ("dt=2026-11-20/hour=2026-11-20-05", Some(1_795_154_400_000_000)),
            ("dt=2026-11-20/hour=2026-11-20-23", Some(1_795_219_200_000_000)),
            ("dt=2026-11-20", None),
            ("dt=2026-11-20/hour=__HIVE_DEFAULT_PARTITION__", None),
        ];
        for (partition, expected) in cases {
            let closed = ClosedRevision {
                table: "clickstream".into(),
                partition: PartitionPath::parse(partition).unwrap(),
                revision: 1,
                why: weir::close::Why::Complete,
                rows: 1,
                late_rows: 0,
                removed: 0,
                given_up: 0,
                files: 1,
                bytes: 1,
                actions: Vec::new(),
            };
            assert_eq!(hour_and_end(&closed).map(|(_, end)| end.0), expected, "{partition}");
        }
    }
}
