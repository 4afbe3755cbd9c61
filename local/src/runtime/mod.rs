//! The one-machine runtime: a Kinesis endpoint, an event source mapping and a Lambda host, started
//! and stopped together. Kill it at any moment and start it again: what was acknowledged to a
//! producer is delivered, and what the function acknowledged is delivered again at most as far back
//! as the last checkpoint.
//!
//! ```text
//! <state>/stream/    stream.journal, lock       the endpoint
//! <state>/poller/    checkpoints.json           the event source mapping
//! <state>/failed/    aws/lambda/<mapping>/…     batches that were given up (default destination)
//! <state>/status.json                           what `status` of another process reads
//! <state>/function.log                          output of the function's processes, 64 MB at most; function.log.1 before it
//! ```

pub mod endpoint;
mod follow;
pub mod function;
mod journal;
pub mod lock;
pub mod poller;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use weir::clock::Clock;

pub use follow::{Following, follow};

use endpoint::{ACCOUNT, COMPACT_FROM_BYTES, Endpoint, EndpointConfig, REGION};
use function::{FunctionConfig, FunctionHost, Program};
use poller::{Destination, Invoke, MappingConfig, Poller, PollerConfig, Report, Status};

/// The function that [`up`] hosts.
#[derive(Clone)]
pub struct HostedFunction {
    /// What to start, with its whole environment.
    pub program: Program,
    /// Memory that the function is told of, in MB.
    pub memory_mb: u32,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// Most processes at a time; `None` is one for each lane of the shards the stream is made with.
    pub concurrency: Option<usize>,
    /// Whether output lines also go to stderr.
    pub verbose: bool,
}

impl HostedFunction {
    /// A program with the deployed function's limits: 512 MB, a minute.
    pub fn new(program: Program) -> Self {
        Self { program, memory_mb: 512, timeout: Duration::from_secs(60), concurrency: None, verbose: false }
    }
}

/// Everything [`up`] needs.
#[derive(Clone)]
pub struct UpConfig {
    /// Folder of all state; one process at a time.
    pub state_dir: PathBuf,
    /// Port of the endpoint on 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// Shards of the stream if it is made now.
    pub shards: u32,
    /// Throttle producers as Kinesis does.
    pub enforce_limits: bool,
    /// Flush the disk before each acknowledgement to a producer.
    pub sync: bool,
    /// From which size on the endpoint's journal is compacted.
    pub compact_from_bytes: u64,
    /// The event source mapping; it also names stream and function.
    pub mapping: MappingConfig,
    /// Where given-up batches go; `None` is the folder `failed`.
    pub destination: Option<Destination>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where lines for the user go.
    pub report: Report,
}

impl UpConfig {
    /// The defaults: two shards, a free port, limits as in the cloud.
    pub fn new(state_dir: &Path, stream: &str, function: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            port: None,
            shards: 2,
            enforce_limits: true,
            sync: false,
            compact_from_bytes: COMPACT_FROM_BYTES,
            mapping: MappingConfig::new(stream, function),
            destination: None,
            clock,
            report: Arc::new(|_: &str| {}),
        }
    }

    fn host(&self, function: &HostedFunction, lanes: usize) -> anyhow::Result<FunctionHost> {
        FunctionHost::new(FunctionConfig {
            name: self.mapping.function.clone(),
            arn: format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.mapping.function),
            program: function.program.clone(),
            memory_mb: function.memory_mb,
            timeout: function.timeout,
            init_timeout: Duration::from_secs(10),
            concurrency: function.concurrency.unwrap_or(lanes),
            log_file: Some(self.state_dir.join("function.log")),
            verbose: function.verbose,
            clock: self.clock.clone(),
        })
    }

    fn poller(self, endpoint: String) -> anyhow::Result<PollerConfig> {
        let destination = match self.destination {
            Some(destination) => destination,
            None => Destination::folder(self.state_dir.join("failed"))
                .context("could not make the folder for batches that are given up")?,
        };
        Ok(PollerConfig {
            endpoint,
            mapping: self.mapping,
            state_dir: self.state_dir.join("poller"),
            status_file: status_file(&self.state_dir),
            destination,
            clock: self.clock,
            report: self.report,
        })
    }
}

/// The running runtime. Dropped, all of it ends at once, as by a kill.
pub struct Running {
    // In the order in which they must end.
    poller: Poller,
    function: Option<Arc<FunctionHost>>,
    endpoint: Endpoint,
    stream_arn: String,
    grace: Duration,
}

/// Start endpoint, stream, function and mapping, in this order. A function that cannot start is an
/// error here, before any record is read.
pub async fn up(config: UpConfig, function: HostedFunction) -> anyhow::Result<Running> {
    let endpoint = start_endpoint(&config).await?;
    let lanes = config.shards as usize * config.mapping.parallelization_factor;
    let host = config.host(&function, lanes)?;
    host.warm().await?;
    let host = Arc::new(host);
    let mut running = run(config, endpoint, host.clone()).await?;
    running.function = Some(host);
    running.grace = function.timeout + Duration::from_secs(1);
    Ok(running)
}

/// The same with a function inside this process.
pub async fn up_with(config: UpConfig, function: Arc<dyn Invoke>) -> anyhow::Result<Running> {
    let endpoint = start_endpoint(&config).await?;
    run(config, endpoint, function).await
}

async fn start_endpoint(config: &UpConfig) -> anyhow::Result<Endpoint> {
    config.mapping.check()?;
    Endpoint::start(EndpointConfig {
        state_dir: config.state_dir.join("stream"),
        port: config.port,
        enforce_limits: config.enforce_limits,
        sync: config.sync,
        compact_from_bytes: config.compact_from_bytes,
        clock: config.clock.clone(),
    })
    .await
}

async fn run(config: UpConfig, endpoint: Endpoint, function: Arc<dyn Invoke>) -> anyhow::Result<Running> {
    let stream_arn = endpoint.ensure_stream(&config.mapping.stream, config.shards).await?;
    let poller = config.poller(endpoint.url())?;
    let poller = Poller::start(poller, function).await?;
    Ok(Running { poller, function: None, endpoint, stream_arn, grace: Duration::from_secs(10) })
}

/// Where a runtime with this state folder writes its status.
pub fn status_file(state_dir: &Path) -> PathBuf {
    state_dir.join("status.json")
}

/// The status that a runtime, running or not, wrote last; `None` if there never was one.
pub fn read_status(state_dir: &Path) -> anyhow::Result<Option<Status>> {
    let path = status_file(state_dir);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("could not read {}", path.display())),
    };
    let status = serde_json::from_slice(&bytes);
    Ok(Some(status.with_context(|| format!("could not read {}", path.display()))?))
}

impl Running {
    /// URL of the Kinesis endpoint.
    pub fn endpoint_url(&self) -> String {
        self.endpoint.url()
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// ARN of the stream.
    pub fn stream_arn(&self) -> &str {
        &self.stream_arn
    }

    /// How it stands, shard by shard.
    pub fn status(&self) -> Status {
        self.poller.status()
    }

    /// The function's host, unless the function is inside this process.
    pub fn function(&self) -> Option<&FunctionHost> {
        self.function.as_deref()
    }

    /// Let invocations under way end, then stop everything.
    pub async fn stop(self) {
        self.poller.stop(self.grace).await;
        drop(self.function);
        self.endpoint.stop().await;
    }
}
