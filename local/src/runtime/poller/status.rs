//! What users see of the poller: one line a shard, as a value and as a JSON file that another
//! process can read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use weir::clock::{Clock, EpochMicros};

use super::state::{Durability, GivenUpBatch, replace_file};

/// What a shard is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// Its parents are not read to their end.
    #[default]
    Waiting,
    /// Records are read and delivered.
    Reading,
    /// It was read and acknowledged to its end.
    Closed,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ShardStatus {
    /// What it is doing.
    pub state: ShardState,
    /// Everything up to here is acknowledged.
    pub checkpoint: Option<String>,
    /// Age of the oldest record that is read and not acknowledged; 0 if there is none.
    pub iterator_age_ms: i64,
    /// Records read and not acknowledged.
    pub records_pending: u64,
    /// Records acknowledged by the function in this run.
    pub records_delivered: u64,
    /// Batches acknowledged in this run.
    pub batches_delivered: u64,
    /// Invocations in this run that ended in an error of the function.
    #[serde(default)]
    pub function_errors: u64,
    /// Retries that batches now under way have used.
    pub retries_in_progress: u32,
    /// Batches given up in this run.
    pub batches_given_up: u64,
    /// Their records.
    pub records_given_up: u64,
    /// The newest failure, of the function, the stream or the destination.
    pub last_error: Option<String>,
    /// Arrival of the oldest pending record, from which the age is computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_pending_ms: Option<i64>,
}

/// The whole poller.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// URL of the Kinesis endpoint.
    pub endpoint: String,
    /// Stream name.
    pub stream: String,
    /// When this was true.
    pub updated_at_ms: i64,
    /// Whether the poller had not been stopped then. A killed one leaves `true` and an old time:
    /// while it runs the file is a few seconds old.
    #[serde(default)]
    pub running: bool,
    /// Shards by id.
    pub shards: BTreeMap<String, ShardStatus>,
    /// The newest batches that this and earlier runs gave up, oldest first.
    #[serde(default)]
    pub given_up: Vec<GivenUpBatch>,
}

/// The file is written at least this often.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

impl Status {
    /// Whether the poller runs at `now`, as far as its file tells.
    pub fn is_running(&self, now: EpochMicros) -> bool {
        self.running && now.millis() - self.updated_at_ms < 3 * HEARTBEAT.as_millis() as i64
    }
    /// Whether nothing that was read waits to be acknowledged.
    pub fn is_idle(&self) -> bool {
        self.shards.values().all(|s| s.records_pending == 0)
    }
    /// Records acknowledged over all shards.
    pub fn records_delivered(&self) -> u64 {
        self.shards.values().map(|s| s.records_delivered).sum()
    }
    /// Records given up over all shards.
    pub fn records_given_up(&self) -> u64 {
        self.shards.values().map(|s| s.records_given_up).sum()
    }
}

/// The status while the poller runs.
pub(super) struct Board {
    status: Mutex<Status>,
    changed: Notify,
    clock: Arc<dyn Clock>,
}

impl Board {
    /// An empty board.
    pub(super) fn new(
        endpoint: &str,
        stream: &str,
        given_up: Vec<GivenUpBatch>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let status = Status {
            endpoint: endpoint.to_owned(),
            stream: stream.to_owned(),
            given_up,
            running: true,
            ..Default::default()
        };
        Self { status: Mutex::new(status), changed: Notify::new(), clock }
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Change one shard's line.
    pub(super) fn update(&self, shard: &str, change: impl FnOnce(&mut ShardStatus)) {
        let mut status = self.lock();
        match status.shards.get_mut(shard) {
            Some(line) => change(line),
            None => change(status.shards.entry(shard.to_owned()).or_default()),
        }
        drop(status);
        self.changed.notify_one();
    }

    /// Nothing more will change.
    pub(super) fn stopped(&self) {
        self.lock().running = false;
    }

    /// Show what was given up.
    pub(super) fn show_given_up(&self, given_up: Vec<GivenUpBatch>) {
        self.lock().given_up = given_up;
        self.changed.notify_one();
    }

    /// The status now.
    pub(super) fn get(&self) -> Status {
        let mut status = self.lock().clone();
        let now = self.clock.now();
        status.updated_at_ms = now.millis();
        for line in status.shards.values_mut() {
            line.iterator_age_ms = line.oldest_pending_ms.map_or(0, |oldest| age_ms(oldest, now));
        }
        status
    }

    /// Keep a file in step, until cancelled. Changes within a tenth of a second share one write.
    pub(super) async fn write_to(&self, path: PathBuf) {
        loop {
            self.write_once(&path);
            let heartbeat = tokio::time::sleep(HEARTBEAT);
            tokio::select! { () = self.changed.notified() => {}, () = heartbeat => {} }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Write the file now. A status that cannot be written is not worth stopping for.
    pub(super) fn write_once(&self, path: &std::path::Path) {
        if let Ok(bytes) = serde_json::to_vec_pretty(&self.get()) {
            let _ = replace_file(path, &bytes, Durability::Process);
        }
    }
}

fn age_ms(oldest: i64, now: EpochMicros) -> i64 {
    (now.millis() - oldest).max(0)
}
