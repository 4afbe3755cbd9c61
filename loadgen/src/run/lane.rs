//! One lane: makes the events whose turn it is, packs them into requests and keeps several under way.
//! Events of lane i of n have the numbers i, i + n, i + 2n, …

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use weir::clock::EpochMicros;

use super::outcome::Latencies;
use super::schedule::Schedule;
use super::send::{Batch, InRequest, send};
use super::shared::Shared;
use crate::generate::{Generator, Plan, bits_of};
use crate::target::{Record, Target, kpl};

/// Bytes of a request, however many the target takes.
const MOST_BYTES: usize = 4_400_000;

/// Bytes of all requests of a lane that are under way: each is held some five times (records, the
/// SDK's copy, its text in base64, what is on the wire).
const MOST_UNDER_WAY: usize = 16 << 20;

/// How events become records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// One event a record
    Single,
    /// Aggregates of the Kinesis Producer Library
    Aggregate,
    /// Lines of many events, compressed
    Gzip,
}

/// What all lanes have in common.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) plan: Arc<Plan>,
    pub(super) schedule: Arc<Schedule>,
    pub(super) target: Arc<Target>,
    pub(super) shared: Arc<Shared>,
    pub(super) packing: Packing,
    /// Events in all.
    pub(super) count: u64,
    /// No event is sent that would be due later.
    pub(super) end_us: i64,
    /// No event is sent later, whenever it was due.
    pub(super) latest_us: i64,
    pub(super) lanes: u64,
    pub(super) in_flight: usize,
    /// Longest that an event waits for others to fill its request.
    pub(super) linger: Duration,
    /// Payload at which an aggregate is full.
    pub(super) packed_bytes: usize,
}

pub(super) struct Lane {
    work: Work,
    generator: Generator,
    index: u64,
    /// Records made so far.
    made: u64,
    /// Of the next event.
    next: u64,
    batch: Batch,
    /// Events of the record that is being packed, and its bytes.
    packed: Vec<u8>,
    packed_from: usize,
    event: Vec<u8>,
    keys: u64,
}

impl Lane {
    pub(super) fn new(work: Work, generator: Generator, index: u64) -> Self {
        let (batch, packed, event) = (Batch::default(), Vec::new(), Vec::new());
        let keys = bits_of(work.plan.seed, index << 40);
        Self { work, generator, index, made: 0, next: index, batch, packed, packed_from: 0, event, keys }
    }

    /// Run to the end of the schedule, or until the run is stopped.
    pub(super) async fn run(mut self) -> Latencies {
        let mut latencies = Latencies::new();
        let mut under_way = UnderWay::default();
        loop {
            let now_us = self.work.shared.elapsed_us();
            let total = self.work.count.min(self.work.schedule.due(self.work.end_us));
            let due = total.min(self.work.schedule.due(now_us));
            let stops = self.work.shared.stopped() || now_us > self.work.latest_us;
            while !stops && self.next < due && !self.is_full() {
                self.make();
            }
            let over = stops || self.next >= total;
            let waited = self.batch.events.first().map(|e| now_us - e.intended_us);
            let ripe = waited.is_some_and(|us| us >= self.work.linger.as_micros() as i64);
            if !self.batch.events.is_empty() && (self.is_full() || ripe || over) {
                while under_way.requests.len() >= self.work.in_flight
                    || under_way.bytes + self.batch.bytes > MOST_UNDER_WAY && under_way.bytes > 0
                {
                    let done = under_way.requests.join_next().await;
                    under_way.collect(done, &mut latencies);
                }
                let batch = self.take();
                under_way.begin(&self.work, batch);
                while let Some(done) = under_way.requests.try_join_next() {
                    under_way.collect(Some(done), &mut latencies);
                }
                tokio::task::yield_now().await;
                continue;
            }
            if over || now_us > self.work.end_us {
                break;
            }
            let next_us = self.work.schedule.intended_us(self.next).min(self.work.end_us + 1);
            let wake_us = match self.batch.events.first() {
                Some(first) => next_us.min(first.intended_us + self.work.linger.as_micros() as i64),
                None => next_us,
            };
            let pause = Duration::from_micros((wake_us - now_us).clamp(500, 100_000) as u64);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Some(done) = under_way.requests.join_next() => under_way.collect(Some(done), &mut latencies),
            }
        }
        while let Some(done) = under_way.requests.join_next().await {
            under_way.collect(Some(done), &mut latencies);
        }
        latencies
    }

    fn is_full(&self) -> bool {
        let limits = self.work.target.limits();
        let bytes = self.batch.bytes + self.packed.len() + self.work.packed_bytes;
        self.batch.records.len() >= limits.records || bytes >= limits.bytes.min(MOST_BYTES)
    }

    fn make(&mut self) {
        let intended_us = self.work.schedule.intended_us(self.next);
        let intended = EpochMicros(self.work.shared.started.0 + intended_us);
        let event = self.work.plan.event(self.next, intended);
        self.event.clear();
        self.generator.write(&self.work.plan, &event, &mut self.event);
        let copies = if event.fate.twice { 2 } else { 1 };
        let of_request = InRequest { number: self.next, intended_us, twice: event.fate.twice };
        for _ in 0..copies {
            self.pack(of_request);
        }
        self.work.shared.count(|c| &c.generated, copies);
        self.work.shared.count(|c| &c.event_bytes, copies * self.event.len() as u64);
        self.next += self.work.lanes;
    }

    fn pack(&mut self, event: InRequest) {
        if self.packed.is_empty() {
            self.packed_from = self.batch.events.len();
            if self.work.packing == Packing::Aggregate {
                let key = self.key();
                kpl::begin(&key, &mut self.packed);
            }
        }
        self.batch.events.push(event);
        match self.work.packing {
            Packing::Single => self.work.target.write(&self.event, &mut self.packed),
            Packing::Aggregate => kpl::add(&self.event, &mut self.packed),
            Packing::Gzip => {
                self.packed.extend_from_slice(&self.event);
                self.packed.push(b'\n');
            }
        }
        if self.work.packing == Packing::Single || self.packed.len() >= self.work.packed_bytes {
            self.seal();
        }
    }

    /// Make a record of what is packed.
    fn seal(&mut self) {
        if self.packed.is_empty() {
            return;
        }
        let data = match self.work.packing {
            Packing::Single => self.packed.clone(),
            Packing::Aggregate => {
                kpl::seal(&mut self.packed);
                self.packed.clone()
            }
            Packing::Gzip => gzip(&self.packed),
        };
        self.packed.clear();
        let key = self.key();
        self.batch.bytes += data.len() + key.len() + self.work.target.limits().frame;
        let events = self.packed_from..self.batch.events.len();
        self.batch.records.push(Record { key, data, events, made: (self.index, self.made) });
        self.made += 1;
    }

    /// Keys are spread evenly, and so are shards.
    fn key(&mut self) -> String {
        self.keys = bits_of(self.keys, 1);
        format!("{:016x}", self.keys)
    }

    fn take(&mut self) -> Batch {
        self.seal();
        let count = self.batch.events.len() as u64;
        self.work.shared.second(|s| s.sent += count);
        std::mem::take(&mut self.batch)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    // Writing to memory has nothing to fail on.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Requests that have no answer yet.
#[derive(Default)]
struct UnderWay {
    requests: JoinSet<(usize, Vec<i64>)>,
    bytes: usize,
}

impl UnderWay {
    fn begin(&mut self, work: &Work, batch: Batch) {
        let bytes = batch.bytes;
        self.bytes += bytes;
        let sending = send(Arc::clone(&work.target), Arc::clone(&work.shared), batch);
        self.requests.spawn(async move { (bytes, sending.await) });
    }

    fn collect(
        &mut self,
        done: Option<Result<(usize, Vec<i64>), tokio::task::JoinError>>,
        latencies: &mut Latencies,
    ) {
        let Some(Ok((bytes, measured))) = done else { return };
        self.bytes -= bytes;
        measured.into_iter().for_each(|us| latencies.record(us));
    }
}
