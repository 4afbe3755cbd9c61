//! What the lanes of a run, its watcher and its progress line share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weir::clock::EpochMicros;

use super::ledger::{Ledger, Sent};
use super::outcome::Second;
use super::send::InRequest;
use crate::target::{PutFailure, Record};

/// Requests remembered for the comparison of clocks.
const SAMPLES: usize = 4_096;

/// Counters of a run.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) generated: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) event_bytes: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) throttled_records: AtomicU64,
    pub(crate) retried_records: AtomicU64,
    pub(crate) failed_requests: AtomicU64,
}

/// When a request was sent and answered, by the generator's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) sent_us: i64,
    pub(crate) acked_us: i64,
}

/// State of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Wall clock at the start; everything later is counted from it by a clock that never jumps.
    pub(crate) started: EpochMicros,
    begun: Instant,
    pub(crate) counters: Counters,
    pub(crate) ledger: Mutex<Ledger>,
    /// Requests by the number of their first event.
    pub(crate) samples: Mutex<BTreeMap<u64, Sample>>,
    seconds: Mutex<Vec<Second>>,
    stop: AtomicBool,
    interrupted: AtomicBool,
    /// Whether what is under way is given up too.
    abandon: AtomicBool,
    reached_us: AtomicI64,
    patience: Duration,
    /// Why the run ended early.
    gone: Mutex<Option<String>>,
    trouble: Mutex<BTreeMap<String, u64>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(started: EpochMicros, patience: Duration) -> Self {
        Self {
            started,
            begun: Instant::now(),
            counters: Counters::default(),
            ledger: Mutex::default(),
            samples: Mutex::default(),
            seconds: Mutex::default(),
            stop: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            abandon: AtomicBool::new(false),
            reached_us: AtomicI64::new(0),
            patience,
            gone: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Microseconds since the start.
    pub(crate) fn elapsed_us(&self) -> i64 {
        self.begun.elapsed().as_micros() as i64
    }

    pub(crate) fn count(&self, which: impl Fn(&Counters) -> &AtomicU64, n: u64) {
        which(&self.counters).fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, which: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        which(&self.counters).load(Ordering::Relaxed)
    }

    /// Change the figures of the second that is now.
    pub(crate) fn second(&self, change: impl FnOnce(&mut Second)) {
        let now = (self.elapsed_us() / 1_000_000) as usize;
        let mut seconds = lock(&self.seconds);
        while seconds.len() <= now {
            let second = Second { second: seconds.len() as u64, ..Second::default() };
            seconds.push(second);
        }
        change(&mut seconds[now]);
    }

    pub(super) fn seconds(&self) -> Vec<Second> {
        lock(&self.seconds).clone()
    }

    pub(super) fn reached(&self) {
        self.reached_us.fetch_max(self.elapsed_us(), Ordering::Relaxed);
    }

    pub(super) fn acknowledged(
        &self,
        record: &Record,
        events: &[InRequest],
        unsure: bool,
        sent_us: i64,
        acked_us: i64,
    ) {
        let sent = if unsure { Sent::AcknowledgedPerhapsTwice } else { Sent::Acknowledged };
        let count = events.len() as u64;
        {
            let mut ledger = lock(&self.ledger);
            for event in events {
                match event.twice {
                    true => ledger.note_copy(event.number, sent),
                    false => ledger.note(event.number, sent),
                }
            }
        }
        self.count(|c| &c.acknowledged, count);
        self.count(|c| &c.records, 1);
        self.count(|c| &c.bytes, record.data.len() as u64);
        self.second(|s| s.acknowledged += count);
        if let Some(first) = events.first() {
            let mut samples = lock(&self.samples);
            if samples.last_key_value().is_none_or(|(_, last)| sent_us - last.sent_us > 2_000) {
                samples.insert(first.number, Sample { sent_us, acked_us });
                if samples.len() > SAMPLES {
                    samples.pop_first();
                }
            }
        }
    }

    pub(super) fn given_up(&self, events: &[InRequest], sent: Sent) {
        let mut ledger = lock(&self.ledger);
        for event in events {
            match event.twice {
                true => ledger.note_copy(event.number, sent),
                false => ledger.note(event.number, sent),
            }
        }
        self.count(|c| &c.given_up, events.len() as u64);
    }

    /// A put without an answer for its records; ends the run once the target is out of reach for
    /// longer than the patience, or cannot ever take it.
    pub(super) fn failed_put(&self, failure: &PutFailure) {
        self.count(|c| &c.failed_requests, 1);
        self.second(|s| s.errors += 1);
        self.trouble(&failure.text);
        let silent = Duration::from_micros(
            (self.elapsed_us() - self.reached_us.load(Ordering::Relaxed)).max(0) as u64,
        );
        if failure.permanent || silent > self.patience {
            lock(&self.gone).get_or_insert_with(|| failure.text.clone());
            self.abandon();
        }
    }

    /// Count an answer that was no success, by its text; few texts are kept.
    pub(super) fn trouble(&self, text: &str) {
        let mut trouble = lock(&self.trouble);
        if trouble.len() < 20 || trouble.contains_key(text) {
            *trouble.entry(text.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn troubles(&self) -> BTreeMap<String, u64> {
        lock(&self.trouble).clone()
    }

    /// Send nothing new.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// The user stops the run.
    pub(super) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.stop();
    }

    pub(super) fn interrupted(&self) -> Option<String> {
        self.interrupted.load(Ordering::SeqCst).then(|| "stopped by the user".to_owned())
    }

    /// Send nothing new, and try nothing again.
    pub(super) fn abandon(&self) {
        self.stop();
        self.abandon.store(true, Ordering::SeqCst);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    pub(super) fn gives_up(&self) -> bool {
        self.abandon.load(Ordering::SeqCst)
    }

    pub(super) fn gone(&self) -> Option<String> {
        lock(&self.gone).clone()
    }
}
