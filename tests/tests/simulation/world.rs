//! One seed, one world: a stream, mappings, function instances, a store, a catalog and the time.
//! Single-threaded: an instance runs until its next store call, and the seed says whose call goes
//! on, and how. [`super::actions`] holds what may happen between two calls.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::check::{self, Truth, Violation, broken};
use super::function::{Deployment, Function, event_text};
use super::mapping::{Config, Delivery, Invoked, Mapping, Settled};
use super::random::Random;
use super::reader::Reader;
use super::store::{Answer, Call, Objects, Overwrites, Shared};
use super::stream::{Record, START_MS, Stream};
use super::tables;

/// What is broken on purpose: rows of 'What breaks without each rule' in docs/COMMIT_PROTOCOL.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// The driver in place of the deployed pipeline, with every rule kept.
    DrivenByTheRules,
    /// A cleaner deletes what no commit lists.
    SweepUnlisted,
    /// A put of a data file replaces what is there.
    FileOverwrite,
    /// An attempt that fails deletes the files it put.
    DeleteOwnOnError,
    /// An attempt does not know its own commit, takes itself for the loser and cleans up.
    OwnCommitUnknown,
    /// Commits are deleted once a checkpoint covers them.
    CommitsDeleted,
    /// The newest position in place of exact sets.
    HighWaterMark,
    /// No second look at what is committed after a conflict.
    NoRecheck,
    /// A put of a version replaces what is there.
    VersionOverwrite,
    /// Dead names are not written into the commit.
    DeadNotListed,
    /// A taken name is left for one that nobody will step on.
    RandomSuffix,
    /// A cut falls between the documents of one stream record.
    CutInsideARecord,
    /// A stream made again has the identity of the one before.
    SameIdentity,
    /// A mapping without `ReportBatchItemFailures`.
    DeafMapping,
}

/// A run, down to every step of it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) broken: Broken,
    /// Crashes, lost answers and refusals, but nothing that lands late, no zombies, one version of
    /// the table, one lane: then attempts alone leave no file behind.
    pub(crate) calm: bool,
    pub(crate) steps: u32,
    /// Steps in which nothing happens.
    pub(crate) left_out: BTreeSet<u32>,
    /// Steps in which no call fails.
    pub(crate) faultless: BTreeSet<u32>,
}

impl Plan {
    pub(crate) fn new(seed: u64, broken: Broken) -> Self {
        let calm = matches!(broken, Broken::DeadNotListed | Broken::RandomSuffix) || seed % 8 == 7;
        let (left_out, faultless) = (BTreeSet::new(), BTreeSet::new());
        Self { seed, broken, calm, steps: 320, left_out, faultless }
    }
}

/// An attempt that has not ended.
pub(crate) struct Running {
    pub(crate) process: u64,
    future: Pin<Box<dyn Future<Output = (Function, Invoked)>>>,
    /// None once the mapping has stopped waiting: a zombie.
    pub(crate) delivery: Option<Delivery>,
    pub(crate) frozen: bool,
}

/// Records of one shard of one incarnation.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) incarnation: usize,
    pub(crate) shard: usize,
    pub(crate) records: Vec<usize>,
}

/// What a run came to.
pub(crate) struct Run {
    pub(crate) violation: Option<Violation>,
    pub(crate) trace: Vec<String>,
    pub(crate) attempts: u64,
    pub(crate) commits: usize,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) objects: Shared,
    pub(crate) now_us: Arc<AtomicI64>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) mappings: Vec<Mapping>,
    pub(crate) running: Vec<Running>,
    pub(crate) idle: Vec<Function>,
    pub(crate) history: Vec<Batch>,
    /// Calls whose caller has no answer, and that have not landed yet.
    pub(crate) late: Vec<Call>,
    /// Calls that will be throttled.
    pub(crate) storm: u32,
    /// Version of the table that new instances start with.
    pub(crate) version: usize,
    pub(crate) route: bool,
    tumbling: bool,
    fold_every: u64,
    processes: u64,
    deliveries: u64,
    pub(crate) reader: Reader,
    trace: Option<Vec<String>>,
}

/// Run a plan to its end.
pub(crate) fn run(plan: &Plan, traced: bool) -> Run {
    let mut world = World::new(plan.clone(), traced);
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.live()));
    let violation = match end {
        Ok(lived) => lived.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Some(Violation { invariant: "panic", what: text.unwrap_or_default() })
        }
    };
    let commits = match world.objects.lock() {
        Ok(objects) => objects.objects.keys().filter(|key| key.ends_with(".commit")).count(),
        Err(_) => 0,
    };
    Run { violation, trace: world.trace.take().unwrap_or_default(), attempts: world.deliveries, commits }
}

impl World {
    fn new(plan: Plan, traced: bool) -> Self {
        let mut random = Random::of(plan.seed, 1);
        let overwrites = match plan.broken {
            Broken::VersionOverwrite => Overwrites::Versions,
            Broken::FileOverwrite => Overwrites::DataFiles,
            _ => Overwrites::Nothing,
        };
        let route = random.chance(20);
        let mut objects = Objects::new(overwrites);
        objects.objects.extend(tables::catalog(route).map(|(key, text)| (key, text.into())));
        let stream = Stream::new(0, random.pick(&[1, 1, 1, 2]), random.pick(&[6, 10, 16]));
        let mut world = Self {
            objects: Arc::new(Mutex::new(objects)),
            now_us: Arc::new(AtomicI64::new(START_MS * 1_000)),
            streams: vec![stream],
            mappings: Vec::new(),
            running: Vec::new(),
            idle: Vec::new(),
            history: Vec::new(),
            late: Vec::new(),
            storm: 0,
            version: 0,
            route,
            tumbling: random.chance(10),
            fold_every: random.pick(&[2, 3, 8]),
            processes: 0,
            deliveries: 0,
            reader: Reader::default(),
            trace: traced.then(Vec::new),
            plan,
        };
        for _ in 0..3 {
            world.produce(&mut random);
        }
        world.map(&mut random, false);
        world
    }

    fn live(&mut self) -> Result<(), Violation> {
        for step in (0..self.plan.steps).filter(|step| !self.plan.left_out.contains(step)).collect::<Vec<_>>()
        {
            let mut random = Random::of(self.plan.seed, 1_000 + u64::from(step));
            if self.trace.is_some() {
                self.log(|| format!("-- step {step}"));
            }
            self.step(&mut random, !self.plan.faultless.contains(&step))?;
        }
        self.come_to_rest()?;
        self.judge()
    }

    pub(crate) fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    pub(crate) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.now_us.load(Ordering::Relaxed) / 1_000
    }

    pub(crate) fn produce(&mut self, random: &mut Random) {
        let (now, route, newest) = (self.now_ms(), self.route, self.streams.len() - 1);
        if let Some((shard, number)) = self.streams[newest].put(random, now, route) {
            self.log(|| format!("stream {newest}: record #{number} in shard {shard}"));
        }
    }

    /// A new mapping of the newest incarnation.
    pub(crate) fn map(&mut self, random: &mut Random, patient: bool) {
        let incarnation = self.streams.len() - 1;
        let mut config = match patient || self.plan.calm {
            true => Config::patient(random),
            false => Config::random(random, self.now_ms()),
        };
        if self.plan.calm {
            config.factor = 1;
        }
        config.partial = self.plan.broken != Broken::DeafMapping;
        let name = self.mappings.len();
        self.log(|| format!("mapping {name} of stream {incarnation}: {config:?}"));
        self.mappings.push(Mapping::new(incarnation, config, &self.streams[incarnation]));
    }

    /// A free lane of some mapping invokes the function.
    pub(crate) fn deliver(&mut self, random: &mut Random, faults: bool) -> Result<bool, Violation> {
        let now = self.now_ms();
        let mut free = Vec::new();
        for (i, mapping) in self.mappings.iter_mut().enumerate().filter(|(_, m)| m.alive) {
            let ready = mapping.ready(&self.streams[mapping.incarnation], now);
            free.extend(ready.into_iter().map(|lane| (i, lane)));
        }
        if free.is_empty() {
            return Ok(false);
        }
        let (at, (shard, lane)) = free[random.below(free.len())];
        self.deliveries += 1;
        let delivery = Delivery { mapping: at, shard, lane, id: self.deliveries };
        let mapping = &mut self.mappings[at];
        let incarnation = mapping.incarnation;
        let (records, settled) = mapping.take(&self.streams[incarnation], (shard, lane), delivery.id, now);
        self.settled(at, shard, settled)?;
        let Some(records) = records else { return Ok(true) };
        if faults && random.chance(3) {
            self.log(|| format!("mapping {at}: throttled"));
            self.settle(delivery, &Invoked::Throttled)?;
            return Ok(true);
        }
        self.attempt(random, Batch { incarnation, shard, records }, Some(delivery))?;
        Ok(true)
    }

    /// Invoke an instance, warm or new.
    pub(crate) fn attempt(
        &mut self,
        random: &mut Random,
        batch: Batch,
        delivery: Option<Delivery>,
    ) -> Result<(), Violation> {
        let warm = self.idle.iter().position(|f| f.incarnation == batch.incarnation);
        let function = match warm {
            Some(_) if random.chance(80) => {
                let of: Vec<usize> =
                    (0..self.idle.len()).filter(|&i| self.idle[i].incarnation == batch.incarnation).collect();
                self.idle.swap_remove(random.pick(&of))
            }
            _ => self.start(random, batch.incarnation),
        };
        let shard = &self.streams[batch.incarnation].shards[batch.shard];
        let records: Vec<&Record> = batch.records.iter().map(|&i| &shard.records[i]).collect();
        let numbers: Vec<u64> = records.iter().map(|r| r.number).collect();
        let text = event_text(&shard.id, &records, self.tumbling);
        self.history.push(batch.clone());
        let (process, version, in_time) = (function.process, function.version, !random.chance(15));
        let id = format!("{process}-{}", self.history.len());
        self.objects().sent.remove(&process);
        self.log(|| {
            let from =
                delivery.map_or("a duplicate".into(), |d| format!("mapping {} lane {}", d.mapping, d.lane));
            let late = if in_time { "" } else { ", short of time" };
            format!(
                "process {process} (table version {version}{late}) gets {numbers:?} of shard {} from {from}",
                batch.shard
            )
        });
        let future = Box::pin(function.invoke(text, id, in_time));
        self.running.push(Running { process, future, delivery, frozen: false });
        self.poll(process)
    }

    fn start(&mut self, random: &mut Random, incarnation: usize) -> Function {
        self.processes += 1;
        let identity = self.identity(incarnation);
        let deployment = Deployment {
            objects: &self.objects,
            process: self.processes,
            incarnation,
            identity,
            version: self.version,
            route: self.route,
            fold_every: self.fold_every,
            now_us: self.now_us.clone(),
        };
        Function::start(deployment, &self.plan, random)
    }

    pub(crate) fn identity(&self, incarnation: usize) -> String {
        self.streams[incarnation].identity.clone()
    }

    /// Let an attempt go on to its next calls, or to its end.
    pub(crate) fn poll(&mut self, process: u64) -> Result<(), Violation> {
        let Some(at) = self.running.iter().position(|r| r.process == process) else { return Ok(()) };
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready((function, end)) = self.running[at].future.as_mut().poll(&mut context) else {
            return Ok(());
        };
        let ended = self.running.remove(at);
        self.log(|| format!("process {process} ends: {}", super::store::short(&format!("{end:?}"))));
        let failed = match &end {
            Invoked::Answer(first) => first.is_some(),
            _ => true,
        };
        if failed && self.plan.broken == Broken::DeleteOwnOnError {
            self.delete_own(process)?;
        }
        self.idle.push(function);
        match ended.delivery {
            Some(delivery) => self.settle(delivery, &end),
            None => Ok(()),
        }
    }

    /// The process is gone; what it asked for and was not answered is gone with it.
    pub(crate) fn die(&mut self, process: u64) -> Result<(), Violation> {
        let Some(at) = self.running.iter().position(|r| r.process == process) else { return Ok(()) };
        let dead = self.running.remove(at);
        match dead.delivery {
            Some(delivery) => self.settle(delivery, &Invoked::FunctionError),
            None => Ok(()),
        }
    }

    pub(crate) fn settle(&mut self, delivery: Delivery, end: &Invoked) -> Result<(), Violation> {
        let mapping = &mut self.mappings[delivery.mapping];
        let settled = mapping.settle(&self.streams[mapping.incarnation], delivery, end);
        self.settled(delivery.mapping, delivery.shard, settled)
    }

    fn settled(&mut self, mapping: usize, shard: usize, settled: Settled) -> Result<(), Violation> {
        let kept = self.mappings[mapping].config.destination;
        for (record, condition) in &settled.given_up {
            let to = if kept { "the destination" } else { "nobody" };
            self.log(|| {
                format!("mapping {mapping}: gives up record {record} of shard {shard} to {to}: {condition:?}")
            });
        }
        if settled.acknowledged.is_empty() {
            return Ok(());
        }
        let incarnation = self.mappings[mapping].incarnation;
        let of = &self.streams[incarnation].shards[shard];
        let sequences: Vec<String> = settled.acknowledged.iter().map(|&i| of.records[i].sequence()).collect();
        let name = (check::stream_key(&self.identity(incarnation)), of.id.clone());
        let numbers: Vec<u64> = settled.acknowledged.iter().map(|&i| of.records[i].number).collect();
        self.log(|| format!("mapping {mapping}: acknowledged {numbers:?} of shard {shard}"));
        let objects = self.objects.lock().unwrap();
        check::acknowledged(&mut self.reader, &objects.objects, &name, &sequences)
    }

    /// A call takes effect.
    pub(crate) fn land(&mut self, call: &Call) -> Result<Answer, Violation> {
        let mut objects = self.objects();
        let answer = objects.apply(call);
        if let Call::Put { key, .. } = call
            && key.ends_with(".commit")
            && objects.created.get(key).is_some_and(|times| *times > 1)
        {
            return broken("C3", format!("{key} was created twice"));
        }
        Ok(answer)
    }

    fn delete_own(&mut self, process: u64) -> Result<(), Violation> {
        let own = self.objects().sent.remove(&process).unwrap_or_default();
        let orphans = self.orphans()?;
        for (key, _) in orphans.into_iter().filter(|(key, _)| own.contains(key)) {
            self.log(|| format!("process {process} deletes its own {}", super::store::short(&key)));
            self.objects().objects.remove(&key);
        }
        Ok(())
    }

    pub(crate) fn orphans(&mut self) -> Result<Vec<(String, Option<String>)>, Violation> {
        let objects = self.objects.lock().unwrap();
        check::orphans(&mut self.reader, &objects.objects)
    }

    /// No more faults: zombies finish, late calls land, everything is delivered, at last by a new
    /// mapping from the beginning of the stream.
    fn come_to_rest(&mut self) -> Result<(), Violation> {
        let mut random = Random::of(self.plan.seed, 2);
        self.log(|| "-- no more faults".into());
        self.running.iter_mut().for_each(|r| r.frozen = false);
        self.storm = 0;
        while self.streams.last().is_some_and(|s| s.to_come > 0) {
            self.produce(&mut random);
        }
        self.rest(&mut random)?;
        self.log(|| "-- once more from the beginning".into());
        self.mappings.iter_mut().for_each(|m| m.alive = false);
        if self.plan.calm {
            self.idle.clear();
        }
        self.map(&mut random, true);
        self.rest(&mut random)
    }

    fn rest(&mut self, random: &mut Random) -> Result<(), Violation> {
        for _ in 0..30_000 {
            if !self.late.is_empty() && random.chance(20) {
                self.land_one(random)?;
            }
            let delivered = random.chance(30) && self.deliver(random, false)?;
            let waiting = self.objects().waiting();
            if !waiting.is_empty() {
                let (id, process) = random.pick(&waiting);
                self.grant(random, (id, process), false)?;
            } else if !delivered && !self.deliver(random, false)? {
                let streams = &self.streams;
                let at_rest = |m: &mut Mapping| m.at_rest(&streams[m.incarnation]);
                if self.late.is_empty() && self.running.is_empty() && self.mappings.iter_mut().all(at_rest) {
                    return Ok(());
                }
                // A window that has not passed.
                self.now_us.fetch_add(10_000_000, Ordering::Relaxed);
                if !self.late.is_empty() {
                    self.land_one(random)?;
                }
            }
        }
        broken("rest", "the world does not come to rest")
    }

    fn judge(&mut self) -> Result<(), Violation> {
        self.check()?;
        let newest = self.streams.len() - 1;
        let key = check::stream_key(&self.identity(newest));
        for (orphan, proof) in self.orphans()? {
            let mut objects = self.objects();
            if self.plan.calm {
                return broken("C5", format!("{orphan} is left behind"));
            }
            if proof.is_some() {
                // What close does; it must harm nobody.
                objects.objects.remove(&orphan);
            } else if orphan.contains(&key) {
                return broken("C5", format!("{orphan} can never be deleted"));
            }
        }
        self.check()
    }

    fn check(&mut self) -> Result<(), Violation> {
        let holes_allowed = self.plan.broken == Broken::CommitsDeleted;
        let truth = Truth { streams: &self.streams, route: self.route, holes_allowed };
        let objects = self.objects.lock().unwrap();
        check::chains(&truth, &mut self.reader, &objects.objects)?;
        if holes_allowed {
            return Ok(());
        }
        let newest = self.streams.len() - 1;
        check::complete(&mut self.reader, &objects.objects, &self.streams[newest])
    }
}
