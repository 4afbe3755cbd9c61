//! One seed, one world: records, attempts that commit them, closers, readers, a foreign writer of the
//! catalog, and the time. Single-threaded: a process runs until its next call, and the seed says whose
//! call goes on, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use weir::catalog::{FolderCatalog, apply, plan_apply};
use weir::clock::{Clock, EpochMicros};
use weir::close::{Closer, Run, Settings};
use weir::commit::LakeStore;
use weir::commit::store::Retry;
use weir::partition::PartitionPath;
use weir::schema::TableInput;

use super::broken::{Broken, Violation};
use super::driver::Driver;
use super::judge::{Seen, read};
use super::parts::{Clicks, Lines, Record, Services, ingest};
use super::random::Random;
use super::store::{Answer, Call, ProcessStore, Shared};

pub(crate) const TABLE: &str = "t";
const SECOND: i64 = 1_000_000;
pub(crate) const HOUR: i64 = 3_600 * SECOND;
pub(crate) const LATENESS: i64 = 600 * SECOND;
/// A function's life, how late a call may land, and how long a query may take.
const LIFE: i64 = 15 * 60 * SECOND;
const LAND: i64 = 60 * SECOND;
const READ: i64 = 1_800 * SECOND;
/// How long superseded files stay: longer than a query, what is under way, and a sleep.
const GRACE: i64 = 3_600 * SECOND;
const GRACE_OF_SLEEPERS: i64 = 8 * HOUR;
const LONGEST_SLEEP: i64 = 6 * HOUR;
const FIRST_HOUR: i64 = 10;

pub(crate) enum Ended {
    Ingest { last: u64, committed: bool },
    Closer,
    Reader(Option<Seen>),
    Foreign,
}

pub(crate) struct Process {
    id: u64,
    future: Pin<Box<dyn Future<Output = Ended>>>,
    began: i64,
    frozen_until: i64,
    /// The call before which it did last.
    slept_before: u64,
    reader: bool,
    /// Rows committed when it began.
    pub(crate) must: BTreeSet<u64>,
    /// The revisions that readers have seen before.
    pub(crate) floor: BTreeMap<i64, u32>,
}

struct WorldClock(Shared);

impl Clock for WorldClock {
    fn now(&self) -> EpochMicros {
        EpochMicros(self.0.lock().unwrap().now)
    }
}

pub(crate) struct World {
    pub(crate) broken: Broken,
    random: Random,
    pub(crate) objects: Shared,
    pub(crate) clicks: Clicks,
    processes: Vec<Process>,
    ids: u64,
    /// Records up to this one are acknowledged.
    acknowledged: u64,
    delivering: Option<(u64, i64)>,
    late: Vec<(i64, Call)>,
    /// Closers that sleep wake hours later; else a function's life ends.
    pub(crate) sleepers: bool,
    token: bool,
    pub(crate) stats: Stats,
    pub(crate) seen: BTreeMap<i64, u32>,
    /// Versions that are read, and what they list.
    pub(crate) versions: u64,
    pub(crate) commits: BTreeMap<u64, (u64, i64)>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Stats {
    pub(crate) closers: u64,
    pub(crate) reads: u64,
    pub(crate) revisions: u64,
}

pub(crate) fn partition(hour: i64) -> PartitionPath {
    PartitionPath::parse(&format!("hour=1970-01-{:02}-{:02}", 1 + hour / 24, hour % 24)).unwrap()
}

pub(crate) fn values(partition: &PartitionPath) -> Vec<String> {
    partition.values().into_iter().map(|(_, value)| value.unwrap()).collect()
}

impl World {
    pub(crate) fn new(seed: u64, broken: Broken) -> Self {
        let mut random = Random::of(seed, 7);
        let objects = Shared::default();
        objects.lock().unwrap().now = FIRST_HOUR * HOUR;
        let clicks = Clicks { objects: objects.clone(), ..Clicks::default() };
        let sleepers = broken.needs_sleepers() || random.chance(25) && broken.allows_sleepers();
        let token = sleepers || random.chance(30) && broken != Broken::NoMarker;
        let world = Self {
            broken,
            random,
            objects,
            clicks,
            processes: Vec::new(),
            ids: 0,
            acknowledged: 0,
            delivering: None,
            late: Vec::new(),
            sleepers,
            token,
            stats: Stats::default(),
            seen: BTreeMap::new(),
            versions: 0,
            commits: BTreeMap::new(),
        };
        let table = serde_json::json!({
            "Name": TABLE,
            "StorageDescriptor": {"Columns": [{"Name": "ts", "Type": "timestamp", "Parameters": {"weir.required": "true"}}]},
            "PartitionKeys": [{"Name": "hour", "Type": "string"}],
            "Parameters": {"weir.partition.hour": "hour(ts)", "weir.event_time": "ts",
                "weir.allowed_lateness": "10m", "weir.on_close": "event"}
        });
        let table = TableInput::from_json(&table.to_string()).unwrap();
        let catalog = world.catalog(0);
        now(async {
            let changes = plan_apply(&[table], &catalog, "memory:///").await.unwrap();
            apply(&changes, &catalog).await.unwrap();
        });
        world
    }

    fn store(&self, process: u64) -> ProcessStore {
        ProcessStore { objects: self.objects.clone(), process }
    }

    pub(crate) fn lake(&self, process: u64) -> LakeStore {
        let lake = LakeStore::new(Arc::new(self.store(process)), "".into(), "memory:///");
        lake.with_retry(Retry { tries: 4, pause: Duration::ZERO })
    }

    pub(crate) fn catalog(&self, process: u64) -> FolderCatalog {
        FolderCatalog::new(Arc::new(self.store(process)), "".into(), "memory:///")
    }

    fn now(&self) -> i64 {
        self.objects.lock().unwrap().now
    }

    fn grace(&self) -> i64 {
        if self.sleepers { GRACE_OF_SLEEPERS } else { GRACE }
    }

    /// Live, come to rest, and be judged.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        for _ in 0..1_600 {
            self.step()?;
        }
        self.rest()?;
        self.judge_end()
    }

    fn step(&mut self) -> Result<(), Violation> {
        let ahead = match self.random.below(1_000) {
            0..4 => self.random.below(4 * 3_600) as i64,
            4..24 => self.random.below(120) as i64,
            _ => self.random.below(3) as i64,
        };
        let now = self.now() + ahead * SECOND;
        self.objects.lock().unwrap().now = now;
        self.land(now - LAND);
        if !self.sleepers {
            // Readers are not functions: theirs is a query's time.
            self.processes.retain(|p| p.reader || now - p.began <= LIFE);
        }
        match self.random.below(1_000) {
            0..25 => self.produce(now),
            25..60 => self.deliver(now),
            60..90 if self.count(false) < 5 => self.closer(),
            90..130 if self.count(true) < 5 => self.reader(),
            130..134 => self.foreign(),
            134..138 => self.land(i64::MAX),
            _ => return self.go_on(true),
        }
        Ok(())
    }

    fn count(&self, readers: bool) -> usize {
        self.processes.iter().filter(|p| p.reader == readers).count()
    }

    fn land(&mut self, before: i64) {
        let mut objects = self.objects.lock().unwrap();
        let (land, keep) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= before);
        self.late = keep;
        let land: Vec<(i64, Call)> = land;
        land.iter().for_each(|(_, call)| drop(objects.apply(call)));
    }

    fn produce(&mut self, now: i64) {
        let mut records = self.clicks.records.lock().unwrap();
        if records.len() >= 24 {
            return;
        }
        let back = self.random.pick(&[0, 0, 0, 1, 2, 3, 5]);
        let hour = (now / HOUR - back).max(FIRST_HOUR);
        records.push(Record { arrived: now, hour });
    }

    /// The mapping's next batch; the same again if the last attempt died or takes too long.
    fn deliver(&mut self, now: i64) {
        if self.delivering.is_some_and(|(id, at)| {
            now - at < 60 * SECOND && self.processes.iter().any(|process| process.id == id)
        }) {
            return;
        }
        let records = self.clicks.records.lock().unwrap().clone();
        let from = self.acknowledged as usize;
        let batch = 1 + self.random.below(3);
        let to = records.len().min(from + batch);
        if from == to {
            return;
        }
        let batch: Vec<(u64, i64)> = (from..to).map(|at| (at as u64 + 1, records[at].hour)).collect();
        let id = self.next_id();
        let lake = self.lake(id);
        self.delivering = Some((id, now));
        self.spawn(id, false, async move { ingest(lake, id, batch).await });
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn spawn(&mut self, id: u64, reader: bool, future: impl Future<Output = Ended> + 'static) {
        let must = if reader { self.committed().into_keys().collect() } else { BTreeSet::new() };
        let (began, floor) = (self.now(), self.seen.clone());
        self.processes.push(Process {
            id,
            future: Box::pin(future),
            began,
            frozen_until: 0,
            slept_before: 0,
            reader,
            must,
            floor,
        });
    }

    fn closer(&mut self) {
        let id = self.next_id();
        self.stats.closers += 1;
        let (lake, catalog) = (self.lake(id), self.catalog(id));
        if self.broken == Broken::Nothing {
            let services = Services { lake: lake.clone(), process: id, token: self.token };
            let lines = Lines { process: id, calls: AtomicU64::new(0) };
            let mut settings = Settings::new("unused".into());
            settings.margin = Duration::ZERO;
            settings.grace = Duration::from_micros(self.grace() as u64);
            let clock = Arc::new(WorldClock(self.objects.clone()));
            let closer = Closer::new(
                (lake, Arc::new(catalog)),
                vec![Arc::new(self.clicks.clone())],
                (Arc::new(lines), Arc::new(services)),
                clock,
                settings,
            );
            let run = Run { id: format!("p{id}"), until: EpochMicros(self.now() + LIFE), only: None };
            self.spawn(id, false, async move {
                let _ = closer.run(&run).await;
                Ended::Closer
            });
            return;
        }
        // The driver knows no watermark: it closes what the world knows to be over.
        let now = self.now();
        let over: BTreeSet<i64> = self.clicks.records.lock().unwrap().iter().map(|r| r.hour).collect();
        let over = over.into_iter().filter(|hour| (hour + 1) * HOUR + LATENESS <= now);
        let mut over: Vec<PartitionPath> = over.map(partition).collect();
        // A function's life is too short for all of them.
        let first = self.random.below(over.len());
        over.rotate_left(first);
        let (grace, token, broken) = (self.grace(), self.token, self.broken);
        let driver = Driver { lake, catalog, process: id, now, grace, token, broken };
        self.spawn(id, false, async move {
            driver.run(&over).await;
            Ended::Closer
        });
    }

    /// A query by the catalog: location, list, files.
    fn reader(&mut self) {
        let id = self.next_id();
        let hours: Vec<i64> = self.clicks.records.lock().unwrap().iter().map(|record| record.hour).collect();
        if hours.is_empty() {
            return;
        }
        let hour = self.random.pick(&hours);
        let (lake, catalog) = (self.lake(id), self.catalog(id));
        self.spawn(id, true, async move { Ended::Reader(read(lake, catalog, hour).await) });
    }

    /// Somebody who sets a parameter of an entry, and writes the whole entry back.
    fn foreign(&mut self) {
        let id = self.next_id();
        let hours: Vec<i64> = self.clicks.records.lock().unwrap().iter().map(|record| record.hour).collect();
        if hours.is_empty() || !matches!(self.broken, Broken::Nothing) {
            return;
        }
        let key = format!("_weir/catalog/partitions/{TABLE}/{}.json", partition(self.random.pick(&hours)));
        let store = self.store(id);
        self.spawn(id, false, async move {
            use object_store::{ObjectStoreExt, PutPayload};
            let path = object_store::path::Path::parse(&key).unwrap();
            if let Ok(found) = store.get(&path).await
                && let Ok(bytes) = found.bytes().await
            {
                let mut entry: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                entry["Parameters"]["foreign"] = id.to_string().into();
                let _ = store.put(&path, PutPayload::from(entry.to_string())).await;
            }
            Ended::Foreign
        });
    }

    /// One process goes on: its next call gets its fate, and it runs to the one after.
    fn go_on(&mut self, faults: bool) -> Result<(), Violation> {
        if self.processes.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let at = self.random.below(self.processes.len());
        if self.processes[at].frozen_until > now {
            return Ok(());
        }
        let (id, reader) = (self.processes[at].id, self.processes[at].reader);
        let waiting: Vec<u64> = {
            let objects = self.objects.lock().unwrap();
            objects
                .waiting()
                .into_iter()
                .filter(|(_, process)| *process == id)
                .map(|(call, _)| call)
                .collect()
        };
        if !waiting.is_empty() {
            let call_id = self.random.pick(&waiting);
            let call = self.objects.lock().unwrap().call(call_id).unwrap();
            let slept = self.processes[at].slept_before == call_id;
            // Queries hold a location, or a list, for a while before they read.
            let (pauses, percent) = if reader { (call.reads_table(), 8) } else { (call.matters_late(), 20) };
            if faults && !slept && pauses && self.random.chance(percent) {
                let longest = match (reader, self.sleepers) {
                    (true, _) => READ,
                    (false, true) => LONGEST_SLEEP,
                    (false, false) => LIFE,
                };
                let until = now + self.random.below((longest / SECOND) as usize) as i64 * SECOND;
                (self.processes[at].frozen_until, self.processes[at].slept_before) = (until, call_id);
                return Ok(());
            }
            let fate = if faults && !reader { self.random.below(200) } else { 200 };
            let mut objects = self.objects.lock().unwrap();
            let answer = match fate {
                0 => None,
                1 => {
                    objects.apply(&call);
                    None
                }
                2 if call.mutates() => {
                    self.late.push((now, call.clone()));
                    None
                }
                3 if call.mutates() => {
                    objects.apply(&call);
                    Some(Answer::Timeout)
                }
                4 => Some(Answer::Timeout),
                _ => Some(objects.apply(&call)),
            };
            match answer {
                Some(answer) => objects.answer(call_id, answer),
                None => {
                    drop(objects);
                    drop(self.processes.swap_remove(at));
                    return self.judge_entry(&call);
                }
            }
            drop(objects);
            self.judge_entry(&call)?;
        }
        let poll = self.processes[at].future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(ended) = poll else { return Ok(()) };
        let process = self.processes.swap_remove(at);
        match ended {
            Ended::Ingest { last, committed: true } => self.acknowledged = self.acknowledged.max(last),
            Ended::Reader(Some(seen)) if now - process.began <= READ => return self.judge(&process, &seen),
            _ => {}
        }
        Ok(())
    }

    /// No more faults: everything is delivered, and closers run until nothing is left to do.
    fn rest(&mut self) -> Result<(), Violation> {
        for round in 0..24 {
            self.objects.lock().unwrap().now += 2 * HOUR;
            self.land(i64::MAX);
            self.processes.iter_mut().for_each(|process| process.frozen_until = 0);
            let now = self.now();
            // What sleeps wakes up once more and ends.
            self.drain()?;
            for _ in 0..if round == 0 { 30 } else { 2 } {
                self.deliver(now);
                self.drain()?;
            }
            if round < 16 {
                self.closer();
                self.drain()?;
            }
            for _ in 0..2 {
                self.reader();
                self.drain()?;
            }
            if round >= 16 {
                self.closer();
                self.drain()?;
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Violation> {
        while !self.processes.is_empty() {
            self.go_on(false)?;
        }
        Ok(())
    }
}

/// A future whose calls are all answered at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}
