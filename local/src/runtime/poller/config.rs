//! The settings of an event source mapping, and what is allowed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir::clock::EpochMicros;

use super::buffer::BatchLimits;
use super::decide::Policy;
use super::envelope::MAX_RECORD_BYTES;
use super::window::{MAX_STATE_BYTES, MAX_TUMBLING_WINDOW};

/// Most records of a batch (quota of event source mappings for streams).
pub const MAX_BATCH_SIZE: usize = 10_000;
/// Longest batching window (the same).
pub const MAX_WINDOW: Duration = Duration::from_secs(300);
/// Most lanes a shard (the same).
pub const MAX_PARALLELIZATION_FACTOR: usize = 10;

/// Where a new mapping begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// The oldest record kept.
    TrimHorizon,
    /// What arrives after the poller is ready.
    Latest,
    /// What arrived then or later.
    AtTimestamp(EpochMicros),
}

/// How long to wait after failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first.
    pub first: Duration,
    /// Never more than this.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after this many failures in a row: doubling.
    pub fn delay(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20));
        doubled.min(self.longest)
    }
}

/// An event source mapping.
#[derive(Debug, Clone)]
pub struct MappingConfig {
    /// Its name, in the keys of the on-failure destination.
    pub name: String,
    /// The stream it reads.
    pub stream: String,
    /// The function it invokes, for its ARN in envelopes.
    pub function: String,
    /// Most records of one event.
    pub batch_size: usize,
    /// How long a batch may wait to fill.
    pub window: Duration,
    /// What happens when the function does not succeed.
    pub policy: Policy,
    /// Lanes a shard.
    pub parallelization_factor: usize,
    /// Where reading begins when there is no checkpoint.
    pub starting_position: StartingPosition,
    /// How long to wait between two reads of a shard that has no more records.
    pub poll_interval: Duration,
    /// How often to ask for new shards.
    pub discovery_interval: Duration,
    /// How long to wait after failures.
    pub backoff: Backoff,
}

impl MappingConfig {
    /// The defaults of Weir, which are not those of AWS (batch 100, no window, endless retries, no
    /// bisect): those hold up a shard for a day for one bad record.
    pub fn new(stream: &str, function: &str) -> Self {
        Self {
            name: format!("{stream}-{function}"),
            stream: stream.to_owned(),
            function: function.to_owned(),
            batch_size: MAX_BATCH_SIZE,
            window: Duration::from_secs(10),
            policy: Policy {
                report_batch_item_failures: true,
                bisect: true,
                maximum_retry_attempts: Some(10),
                // On one machine the stream waits while the machine sleeps: age is no sign of a poisoned batch.
                maximum_record_age_ms: None,
                tumbling_window: None,
            },
            parallelization_factor: 1,
            starting_position: StartingPosition::TrimHorizon,
            poll_interval: Duration::from_millis(50),
            discovery_interval: Duration::from_secs(1),
            backoff: Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(30) },
        }
    }

    /// Refuse what AWS would refuse.
    pub fn check(&self) -> Result<(), weir::Error> {
        let wrong = |setting: &'static str, problem: String, example: &'static str| {
            Err(weir::Error::Setting { setting: setting.into(), problem, example: example.into() })
        };
        if !(1..=MAX_BATCH_SIZE).contains(&self.batch_size) {
            return wrong("--batch-size", format!("{} is not in 1..=10000", self.batch_size), "10000");
        }
        if self.window > MAX_WINDOW {
            return wrong("--window", format!("{:?} is more than 300 s", self.window), "10s");
        }
        if !(1..=MAX_PARALLELIZATION_FACTOR).contains(&self.parallelization_factor) {
            let problem = format!("{} is not in 1..=10", self.parallelization_factor);
            return wrong("--parallelization-factor", problem, "1");
        }
        let Some(window) = self.policy.tumbling_window else { return Ok(()) };
        if window < Duration::from_secs(1) || window > MAX_TUMBLING_WINDOW {
            return wrong("--tumbling-window", format!("{window:?} is not in 1..=900 s"), "60s");
        }
        if self.parallelization_factor > 1 {
            // The lanes of a shard would each need a state.
            let problem = "is not run beside a tumbling window".to_owned();
            return wrong("--parallelization-factor", problem, "1");
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> BatchLimits {
        let state_bytes = self.policy.tumbling_window.map_or(0, |_| MAX_STATE_BYTES);
        let record_bytes = MAX_RECORD_BYTES - state_bytes;
        BatchLimits { batch_size: self.batch_size, window: self.window, record_bytes }
    }
}

/// Whether to stop; cloned into every task.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn new() -> (Arc<watch::Sender<bool>>, Self) {
        let (sender, receiver) = watch::channel(false);
        (Arc::new(sender), Self(receiver))
    }
    pub(crate) fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
    /// Resolves when asked to stop, or when nobody is left to ask.
    pub(crate) async fn stopped(&self) {
        let _ = self.0.clone().wait_for(|stop| *stop).await;
    }
    /// Sleep; `false` if woken to stop.
    pub(crate) async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stopped() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_bounds_are_refused_by_name() {
        let ok = MappingConfig::new("clicks", "ingest");
        assert!(ok.check().is_ok());
        let windowed = |window, parallelization_factor| {
            let policy = Policy { tumbling_window: Some(window), ..ok.policy };
            MappingConfig { policy, parallelization_factor, ..ok.clone() }
        };
        assert!(windowed(Duration::from_secs(900), 1).check().is_ok());
        let cases = [
            (MappingConfig { batch_size: 0, ..ok.clone() }, "--batch-size"),
            (MappingConfig { batch_size: 10_001, ..ok.clone() }, "--batch-size"),
            (MappingConfig { window: Duration::from_secs(301), ..ok.clone() }, "--window"),
            (MappingConfig { parallelization_factor: 11, ..ok.clone() }, "--parallelization-factor"),
            (windowed(Duration::from_millis(999), 1), "--tumbling-window"),
            (windowed(Duration::from_secs(901), 1), "--tumbling-window"),
            (windowed(Duration::from_secs(60), 2), "--parallelization-factor"),
        ];
        for (config, name) in cases {
            let message = config.check().unwrap_err().to_string();
            assert!(message.starts_with(name), "{message}");
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
        let waits: Vec<_> = [1, 2, 3, 4, 5, 99].map(|n| backoff.delay(n).as_millis()).into();
        assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000]);
    }
}
