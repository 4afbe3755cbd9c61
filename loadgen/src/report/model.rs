//! Results of the other commands as JSON: written by `--json` and `--out`, read by `report` and
//! `compare`. The result of a run is [`crate::run::Outcome`].

use serde::{Deserialize, Serialize};

use crate::run::Outcome;

/// Any result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnyResult {
    /// `loadgen run`
    Run(Box<Outcome>),
    /// `loadgen cold`
    Cold(Cold),
    /// `loadgen sweep`
    Sweep(Sweep),
}

impl AnyResult {
    /// What made it.
    pub fn kind(&self) -> &'static str {
        match self {
            AnyResult::Run(_) => "run",
            AnyResult::Cold(_) => "cold",
            AnyResult::Sweep(_) => "sweep",
        }
    }
}

/// Where something was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ColdPlace {
    /// On this machine.
    Here,
    /// In the cloud, at this memory.
    Lambda {
        /// MB.
        memory_mb: u32,
    },
}

/// Cold starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cold {
    /// Where.
    pub place: ColdPlace,
    /// Records of a batch; 0 where that is not known.
    pub records: u64,
    /// Whether the first function is what the others are compared with.
    pub baseline: bool,
    /// Each with its starts.
    pub functions: Vec<ColdFunction>,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColdFunction {
    /// Program or function name.
    pub name: String,
    /// In the order in which they were measured.
    pub starts: Vec<ColdStart>,
}

/// One start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColdStart {
    /// Before the process is made → its program is executed; unknown in the cloud.
    pub process_ms: Option<f64>,
    /// From there → first poll; in the cloud the service's init duration.
    pub init_ms: f64,
    /// Each batch, from its event to its answer.
    pub batches_ms: Vec<f64>,
    /// Billed for the first invocation, its init included; only in the cloud.
    pub billed_ms: Option<f64>,
    /// What of it is not the handler's: the init, or what is billed of a restore.
    #[serde(default)]
    pub billed_start_ms: Option<f64>,
    /// Restoring a snapshot; only in the cloud.
    pub restore_ms: Option<f64>,
    /// Resident bytes at the first poll (not in the cloud) and after each batch.
    pub resident_bytes: Vec<u64>,
}

/// One figure of a start, where it has it.
pub type ColdFigure = fn(&ColdStart) -> Option<f64>;

impl ColdStart {
    /// Start → first poll.
    pub fn first_poll_ms(&self) -> f64 {
        self.process_ms.unwrap_or(0.0) + self.init_ms
    }
}

/// Memory sizes compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Program or function.
    pub function: String,
    /// How a share of a processor was given: `Lambda`, `cgroup cpu.max`, …
    pub throttle: String,
    /// Processors of the machine; more than these cannot be given. 0 in the cloud.
    pub processors: u32,
    /// Records of a batch.
    pub records: u64,
    /// Payload bytes of a batch, on average.
    pub payload_bytes: u64,
    /// Day of the prices.
    pub prices_of: String,
    /// Processor architecture that is priced: `x86_64` or `arm64`.
    pub architecture: String,
    /// One a size.
    pub sizes: Vec<SweepSize>,
}

/// One memory size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepSize {
    /// MB.
    pub memory_mb: u32,
    /// Share of processors that it has, in the cloud and here.
    pub vcpu: f64,
    /// Start → first poll.
    pub first_poll_ms: f64,
    /// First batch.
    pub first_batch_ms: f64,
    /// Warm batches, each.
    pub batches_ms: Vec<f64>,
    /// Processor time of a warm batch, on average; 0 where that is not known.
    pub cpu_ms: f64,
    /// Resident bytes at the end.
    pub resident_bytes: u64,
    /// Lambda's price of a million events in warm batches, request included.
    pub usd_per_million_events: f64,
    /// The same by payload (10^9 bytes).
    pub usd_per_gb: f64,
    /// What the function said of its batches; none where its lines were not read.
    #[serde(default)]
    pub batch: Option<BatchFigures>,
    /// Why this size could not be measured.
    pub failed: Option<String>,
}

/// What a function says of a batch in its log line, on average over the warm ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchFigures {
    /// Data and quarantine files.
    pub files: f64,
    /// Their bytes.
    pub files_bytes: f64,
    /// Puts to the store.
    pub puts: f64,
    /// Gets.
    pub gets: f64,
    /// Pages listed.
    pub lists: f64,
    /// Bytes of the log line.
    pub log_bytes: f64,
}
