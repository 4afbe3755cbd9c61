//! An event source mapping: a stream of any Kinesis or DynamoDB endpoint in, invocations of a function out, in
//! order per partition key, at least once, as AWS delivers them (design 5).
//!
//! ```text
//! ListShards ─► shard (parents first) ─► reader ─► lanes (by partition key) ─► event ─► function
//!                                                     │  ▲                              │
//!                                   checkpoint file ◄─┘  └──── next action ◄── answer ──┘
//! ```
//!
//! With a tumbling window events carry its fields, and the state goes to the checkpoint file.

mod buffer;
mod config;
pub mod decide;
mod destination;
pub mod dynamodb;
pub mod envelope;
pub mod kinesis;
mod lane;
#[cfg(test)]
mod recorded;
mod shard;
pub mod signature;
mod source;
pub mod state;
mod status;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir::clock::Clock;

pub(crate) use config::Stop;
pub use config::{
    Backoff, MAX_BATCH_SIZE, MAX_PARALLELIZATION_FACTOR, MAX_WINDOW, MappingConfig, StartingPosition,
};
pub use decide::InvokeOutcome;
pub use destination::Destination;
pub(crate) use lane::uuid_form;
pub use state::GivenUpBatch;
pub use status::{ShardState, ShardStatus, Status};
pub use window::{MAX_TUMBLING_WINDOW, OpenWindow};

use envelope::Names;
use kinesis::{From, ShardInfo};
use shard::ShardReader;
use source::Source;
use state::{ShardCheckpoint, StateFile};
use status::Board;

/// What gets the events. An implementation may be called by several lanes at once and must not
/// return before the function has answered, failed or was found too busy.
pub trait Invoke: Send + Sync {
    /// Invoke once.
    fn invoke(&self, event: Bytes) -> BoxFuture<'_, InvokeOutcome>;
}

impl<F, R> Invoke for F
where
    F: Fn(Bytes) -> R + Send + Sync,
    R: Future<Output = InvokeOutcome> + Send + 'static,
{
    fn invoke(&self, event: Bytes) -> BoxFuture<'_, InvokeOutcome> {
        Box::pin(self(event))
    }
}

/// Where lines for the user go.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// Everything a poller needs.
#[derive(Clone)]
pub struct PollerConfig {
    /// URL of the endpoint that has the stream.
    pub endpoint: String,
    /// The mapping.
    pub mapping: MappingConfig,
    /// Folder of `checkpoints.json`.
    pub state_dir: PathBuf,
    /// File that always holds the newest [`Status`] as JSON.
    pub status_file: PathBuf,
    /// Where given-up batches go.
    pub destination: Destination,
    /// The clock that record ages are measured with.
    pub clock: Arc<dyn Clock>,
    /// Where lines for the user go.
    pub report: Report,
}

/// What all tasks of a poller share.
pub(crate) struct Shared {
    source: Source,
    mapping: MappingConfig,
    names: Names,
    state: StateFile,
    board: Board,
    destination: Destination,
    function: Arc<dyn Invoke>,
    clock: Arc<dyn Clock>,
    report: Report,
}

/// A running poller. Dropping it stops delivery at the next await, as a crash would.
pub struct Poller {
    shared: Arc<Shared>,
    status_path: PathBuf,
    stop: Arc<watch::Sender<bool>>,
    supervisor: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Poller {
    /// Begin where the last run stopped, or at the starting position.
    pub async fn start(config: PollerConfig, function: Arc<dyn Invoke>) -> anyhow::Result<Self> {
        config.mapping.check()?;
        std::fs::create_dir_all(&config.state_dir)
            .with_context(|| format!("could not make the folder {}", config.state_dir.display()))?;
        let source = Source::new(&config.endpoint, &config.mapping.stream)?;
        let stream = source.describe().await;
        let stream =
            stream.with_context(|| format!("stream {} at {}", config.mapping.stream, config.endpoint))?;
        let state = StateFile::open(&config.state_dir.join("checkpoints.json"))?;
        let shared = Arc::new(Shared {
            names: Names::new(&stream.stream_arn, &config.mapping.function),
            board: Board::new(
                &config.endpoint,
                &config.mapping.stream,
                state.get().given_up,
                config.clock.clone(),
            ),
            source,
            mapping: config.mapping,
            state,
            destination: config.destination,
            function,
            clock: config.clock,
            report: config.report,
        });
        let first_iterators = shared.begin(stream.stream_creation_timestamp).await?;
        let (stop, stopped) = Stop::new();
        let supervisor =
            Supervisor { shared: shared.clone(), stop: stopped, first_iterators, running: HashMap::new() };
        let status_path = config.status_file;
        let (board, path) = (shared.clone(), status_path.clone());
        let writer = tokio::spawn(async move { board.board.write_to(path).await });
        Ok(Self { shared, status_path, stop, supervisor: tokio::spawn(supervisor.run()), writer })
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.shared.board.get()
    }

    /// Let invocations under way end, for at most `grace`, then stop. What is not acknowledged is
    /// delivered again by the next run.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let _ = tokio::time::timeout(grace, &mut self.supervisor).await;
        self.shared.board.stopped();
        self.shared.board.write_once(&self.status_path);
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.supervisor.abort();
        self.writer.abort();
    }
}

impl Shared {
    /// Decide where the shards known today begin, and remember it before anything is read.
    /// Returns iterators that were taken now, for `LATEST`.
    async fn begin(&self, stream_created: f64) -> anyhow::Result<HashMap<String, String>> {
        let mut iterators = HashMap::new();
        let known = self.state.get();
        if known.stream_created == stream_created {
            return Ok(iterators);
        }
        if known.stream_created != 0.0 {
            (self.report)("the stream was made again since the last run; reading it from its start");
        }
        let shards = self.source.list_shards().await?;
        let now = self.clock.now();
        let given_up = known.given_up;
        let mut begun = state::Checkpoints { stream_created, given_up, ..Default::default() };
        for shard in shards {
            let mut checkpoint = ShardCheckpoint::default();
            match self.mapping.starting_position {
                StartingPosition::TrimHorizon => {}
                StartingPosition::AtTimestamp(at) => checkpoint.from_ms = Some(at.millis()),
                StartingPosition::Latest if shard.is_closed() => checkpoint.closed = true,
                StartingPosition::Latest => {
                    let latest = self.source.iterator(&shard.shard_id, &From::Latest).await?;
                    iterators.insert(shard.shard_id.clone(), latest);
                    // Arrival times may be whole seconds: a restart before the first checkpoint
                    // begins with the whole second.
                    checkpoint.from_ms = Some(now.millis().div_euclid(1_000) * 1_000);
                }
            }
            begun.shards.insert(shard.shard_id, checkpoint);
        }
        self.state.update(|c| *c = begun);
        self.state.save().await.context("could not write the first checkpoint")?;
        Ok(iterators)
    }
}

/// Starts shards when their parents are done, and starts them again if their task breaks.
struct Supervisor {
    shared: Arc<Shared>,
    stop: Stop,
    first_iterators: HashMap<String, String>,
    running: HashMap<String, AbortOnDrop>,
}

struct AbortOnDrop(JoinHandle<bool>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Supervisor {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            self.reap().await;
            let pause = match self.shared.source.list_shards().await {
                Ok(shards) => {
                    failures = 0;
                    self.start_ready(&shards);
                    self.shared.mapping.discovery_interval
                }
                Err(error) => {
                    failures += 1;
                    (self.shared.report)(&error.to_string());
                    self.shared.mapping.backoff.delay(failures)
                }
            };
            if !self.wait(pause).await {
                break;
            }
        }
        for (_, mut task) in self.running.drain() {
            let _ = (&mut task.0).await;
        }
    }

    /// Wait for a pause, or less if a shard ends; `false` to stop.
    async fn wait(&self, pause: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + pause;
        loop {
            if self.running.values().any(|task| task.0.is_finished()) {
                return !self.stop.is_stopped();
            }
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return !self.stop.is_stopped();
            }
            if !self.stop.sleep(left.min(Duration::from_millis(50))).await {
                return false;
            }
        }
    }

    /// Take note of the shards that have ended.
    async fn reap(&mut self) {
        let finished = self.running.iter().filter(|(_, task)| task.0.is_finished());
        let finished: Vec<String> = finished.map(|(id, _)| id.clone()).collect();
        for id in finished {
            let Some(mut task) = self.running.remove(&id) else { continue };
            match (&mut task.0).await {
                Ok(true) => self.close(&id).await,
                Ok(false) => {}
                Err(error) => (self.shared.report)(&format!("{id}: reading it broke, trying again: {error}")),
            }
        }
    }

    async fn close(&self, id: &str) {
        self.shared.state.update(|c| c.shards.entry(id.to_owned()).or_default().closed = true);
        if let Err(error) = self.shared.state.save().await {
            (self.shared.report)(&format!("{id}: could not write the checkpoint: {error}"));
        }
        self.shared.board.update(id, |line| line.state = ShardState::Closed);
    }

    fn start_ready(&mut self, shards: &[ShardInfo]) {
        let listed: HashSet<&str> = shards.iter().map(|s| s.shard_id.as_str()).collect();
        let known = self.shared.state.update(|checkpoints| {
            // Shards that the stream has forgotten will not come back.
            checkpoints.shards.retain(|id, _| listed.contains(id.as_str()));
            checkpoints.clone()
        });
        let closed = |id: &str| known.shards.get(id).is_some_and(|c| c.closed);
        for shard in shards {
            let id = &shard.shard_id;
            if self.running.contains_key(id) {
                continue;
            }
            if closed(id) {
                self.shared.board.update(id, |line| line.state = ShardState::Closed);
                continue;
            }
            if shard.parents().any(|parent| listed.contains(parent) && !closed(parent)) {
                self.shared.board.update(id, |line| line.state = ShardState::Waiting);
                continue;
            }
            let reader = ShardReader {
                shared: self.shared.clone(),
                shard: id.as_str().into(),
                stop: self.stop.clone(),
                first_iterator: self.first_iterators.remove(id),
            };
            self.running.insert(id.clone(), AbortOnDrop(tokio::spawn(reader.run())));
        }
    }
}
