//! Time as an argument: the only place that reads a clock.

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct EpochMicros(pub i64);

impl EpochMicros {
    /// From milliseconds since the epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms * 1_000)
    }
    /// Whole milliseconds since the epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

/// A source of wall-clock time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> EpochMicros;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one reader of the clock")]
    fn now(&self) -> EpochMicros {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        EpochMicros(since.as_micros() as i64)
    }
}

/// A clock that tests set by hand.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: EpochMicros) -> Self {
        Self(std::sync::atomic::AtomicI64::new(now.0))
    }
    /// Move it.
    pub fn set(&self, now: EpochMicros) {
        self.0.store(now.0, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> EpochMicros {
        EpochMicros(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}
