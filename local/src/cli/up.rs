//! `weir up`: a Kinesis endpoint, the function and its mapping, until stopped.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use weir::clock::{Clock, SystemClock};
use weir::commit::LakeStore;

use crate::closing::{LocalStream, Scheduler};
use crate::runtime::function::Program;
use crate::runtime::poller::Destination;
use crate::runtime::{HostedFunction, Running, UpConfig, up};

use super::args::{Global, UpArgs};
use super::close::{Here, closing};
use super::follow;
use super::lake::{Lake, store_options};

/// How long a stream keeps a record, and so the longest that a mapping without a maximum record age
/// may hold one back.
const RETENTION: Duration = Duration::from_secs(24 * 3_600);

/// A setting of the function that `weir` hands on.
const RESERVE: &str = "WEIR_DEADLINE_RESERVE";

/// The function: this executable in the role of the deployed one, with its whole environment.
pub(super) fn program(lake: &Lake, tables: &[String], state: &Path) -> Result<Program> {
    let path = std::env::current_exe().context("could not find this program's own file")?;
    let mut env =
        vec![("WEIR_LAKE".to_owned(), lake.url.clone()), ("WEIR_TABLES".to_owned(), tables.join(","))];
    env.extend(lake.catalog_url.iter().map(|url| ("WEIR_CATALOG".to_owned(), url.clone())));
    env.push(("WEIR_STREAM_IDENTITY".to_owned(), stream_identity(state)?));
    let reserve = weir_functions::context::process_env(RESERVE);
    env.extend(reserve.map(|reserve| (RESERVE.to_owned(), reserve)));
    env.extend(store_options().into_iter().map(|(k, v)| (k.to_uppercase(), v)));
    Ok(Program { path, args: vec!["function".into(), "ingest".into()], env })
}

/// When the stream of this state folder was made. A stream made again under the same name begins
/// its numbers anew and must not look committed.
fn stream_identity(state: &Path) -> Result<String> {
    let file = state.join("stream-identity");
    if let Ok(identity) = std::fs::read_to_string(&file)
        && !identity.is_empty()
    {
        return Ok(identity);
    }
    std::fs::create_dir_all(state).with_context(|| format!("could not make {}", state.display()))?;
    let identity = SystemClock.now().0.to_string();
    // Whole or not at all: a kill between the two leaves only the scratch name.
    let scratch = state.join("stream-identity.new");
    std::fs::write(&scratch, &identity).with_context(|| format!("could not write {}", scratch.display()))?;
    std::fs::rename(&scratch, &file).with_context(|| format!("could not write {}", file.display()))?;
    Ok(identity)
}

pub(super) async fn run(global: &Global, args: &UpArgs) -> Result<ExitCode> {
    if let (Some(stream), Some(endpoint)) = (&args.dynamodb_stream, &args.endpoint) {
        return follow::run(global, args, stream, endpoint).await;
    }
    let lake = Lake::open(global)?;
    lake.ensure_tables(global, &args.tables).await?;
    let stream = args.stream.clone().unwrap_or_else(|| args.tables[0].clone());
    let mut config = settings(args, &stream)?;
    config.port = (args.port != 0).then_some(args.port);
    config.shards = args.shards;
    config.enforce_limits = !args.no_limits;
    let held_back = held_back(args, &config);
    let mut function = HostedFunction::new(program(&lake, &args.tables, &args.state)?);
    function.verbose = global.verbose;
    let running = up(config, function).await?;
    let scheduler = match args.close_every.is_zero() {
        true => None,
        false => {
            let streams = [local_stream(&running, &args.state, held_back, args.on_failure.as_deref())?];
            let here = Here { state: &args.state, grace: args.grace, say: |line| eprintln!("{line}") };
            let closing = closing((global, &lake), &streams, &args.tables, &here).await?;
            Some(Scheduler::start(closing, args.close_every, |line| eprintln!("{line}")))
        }
    };
    // Before the first screen says that it can be stopped.
    let mut signals = StopSignals::listen()?;
    greet(&lake, &stream, &args.tables[0], &running);
    signals.next().await;
    eprintln!(
        "stopping: batches under way end first; press Ctrl-C again to stop at once (nothing is lost either way)"
    );
    let stop = async {
        if let Some(scheduler) = scheduler {
            scheduler.stop().await;
        }
        running.stop().await;
    };
    tokio::select! {
        () = stop => Ok(ExitCode::SUCCESS),
        () = signals.next() => Ok(ExitCode::from(130)),
    }
}

/// What holds for the mapping of any stream.
pub(super) fn settings(args: &UpArgs, stream: &str) -> Result<UpConfig> {
    let mut config = UpConfig::new(&args.state, stream, "ingest", Arc::new(SystemClock));
    config.mapping.batch_size = args.batch_size;
    config.mapping.window = args.window;
    config.mapping.parallelization_factor = args.parallelization_factor;
    config.mapping.policy.tumbling_window = args.tumbling_window;
    config.mapping.policy.maximum_retry_attempts = Some(args.retries);
    config.mapping.policy.bisect = !args.no_bisect;
    config.destination = args.on_failure.as_deref().map(destination).transpose()?;
    config.report = Arc::new(|line: &str| eprintln!("{line}"));
    Ok(config)
}

/// With lanes: how long the mapping may hold a record back.
pub(super) fn held_back(args: &UpArgs, config: &UpConfig) -> Option<Duration> {
    let age = config.mapping.policy.maximum_record_age_ms.and_then(|ms| u64::try_from(ms).ok());
    let age = age.map_or(RETENTION, Duration::from_millis);
    (args.parallelization_factor > 1).then(|| age + Duration::from_secs(60))
}

/// Whole invocation records, as the service writes them to a bucket.
fn destination(place: &str) -> Result<Destination> {
    if !place.starts_with("s3://") {
        let folder = place.strip_prefix("file://").unwrap_or(place);
        if folder.contains("://") || folder.starts_with("arn:") {
            bail!(
                "--on-failure {place}: give a folder or s3://bucket/prefix; queues and topics are not run here"
            );
        }
        return Destination::folder(folder.into())
            .with_context(|| format!("could not make --on-failure {place}"));
    }
    let store = LakeStore::open(place.trim_end_matches('/'), &store_options())
        .with_context(|| format!("could not open --on-failure {place}"))?;
    let prefix = store.path("")?.to_string();
    let bucket = place.trim_end_matches('/').trim_end_matches(&prefix).trim_end_matches('/');
    Ok(Destination::Objects { store: store.object_store(), prefix, location: bucket.to_owned() })
}

/// The stream as close asks it.
pub(super) fn local_stream(
    running: &Running,
    state: &Path,
    held_back: Option<Duration>,
    on_failure: Option<&str>,
) -> Result<LocalStream> {
    let failed = || state.join("failed").to_string_lossy().into_owned();
    Ok(LocalStream {
        endpoint: running.endpoint_url(),
        arn: running.stream_arn().to_owned(),
        identity: stream_identity(state)?,
        failures: Some(on_failure.map_or_else(failed, str::to_owned)),
        held_back,
    })
}

fn greet(lake: &Lake, stream: &str, table: &str, running: &Running) {
    let url = running.endpoint_url();
    println!("Kinesis endpoint  {url}");
    println!("stream            {stream} -> table {table}");
    println!("lake              {}", lake.url);
    println!("
Put a record:
  AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws kinesis put-record --endpoint-url {url} --region us-east-1 \\
    --stream-name {stream} --partition-key k --cli-binary-format raw-in-base64-out --data '{{…}}'
See it:
  weir query --lake {} \"select count(*) from {table}\"
Ctrl-C stops; nothing is lost.", lake.url);
}

/// Ctrl-C and SIGTERM, which end the process until they are listened to.
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    pub(super) fn listen() -> Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("could not watch for Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("could not watch for SIGTERM")?;
        Ok(Self { interrupt, terminate })
    }

    /// The next one, also one that came since the last call.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Wait until everything put so far is acknowledged, or a bound of time has passed.
pub(super) async fn drained(running: &Running, records: u64, bound: Duration) -> bool {
    let step = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    while waited < bound {
        let status = running.status();
        if status.records_delivered() + status.records_given_up() >= records {
            return true;
        }
        tokio::time::sleep(step).await;
        waited += step;
    }
    false
}
