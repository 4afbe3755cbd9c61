//! Any number of writers on one chain, from a seed: a mapping with lanes, batches cut anew on
//! redelivery, zombies, a second mapping from TRIM_HORIZON, a schema that changes in between, a
//! cleaner by the dead-file rule. What lies in the store in the end, as `reader` sees it, must
//! hold C1, C2, C3 and C5; the same checks must fail in worlds that are broken on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use object_store::ObjectStoreExt;

use super::world::{Broken, FaultyStore, Random, Shared, World};
use super::{block_on, files_of, shard};
use crate::clock::EpochMicros;
use crate::commit::attempt::{Outcome, ShardWriter};
use crate::commit::known::Folding;
use crate::commit::positions::PositionSet;
use crate::commit::reader::{self, VersionedCommit};
use crate::commit::store::{LakeStore, Retry};
use crate::error::Result;
use crate::naming::{ChainKey, LogEntry, SlotName};

const RECORDS: u64 = 10;

type Attempt = Pin<Box<dyn Future<Output = (ShardWriter, Result<Outcome>)>>>;
type Violation = String;

struct Running {
    future: Attempt,
    process: usize,
    delivery: Option<(usize, usize, u64)>,
    batch: Vec<u64>,
}

/// An event source mapping: lanes of records in order, one delivery a lane at a time.
struct Mapping {
    alive: bool,
    lanes: Vec<Vec<u64>>,
    busy: Vec<Option<u64>>,
    size: Vec<usize>,
}

struct Simulation {
    world: Shared,
    random: Random,
    mappings: Vec<Mapping>,
    running: Vec<Running>,
    idle: Vec<(usize, ShardWriter)>,
    processes: usize,
    deliveries: u64,
    schema: usize,
    /// Partition of each record under both schemas; none for a control message.
    partitions: [BTreeMap<u64, Option<u64>>; 2],
    acknowledged: BTreeSet<u64>,
    lake: LakeStore,
    calm: bool,
}

impl Simulation {
    fn new(seed: u64, broken: Broken, calm: bool) -> Self {
        let world = World::new(seed ^ 0xfeed, broken);
        world.lock().unwrap().punctual = calm;
        let mut random = Random::new(seed);
        let lanes = if calm { 1 } else { [1, 1, 2, 3][random.below(4)] };
        let mut of_record = || match random.below(10) {
            0 => None,
            1 => Some(9),
            2..6 => Some(1 + random.below(3) as u64),
            _ => Some(1),
        };
        let first: BTreeMap<_, _> = (1..=RECORDS).map(|n| (n, of_record())).collect();
        let mut second = first.clone();
        for partition in second.values_mut().filter(|p| p.is_some()) {
            if random.chance(20.0) {
                *partition = Some(5);
            }
        }
        let objects = world.lock().unwrap().objects();
        let lake = LakeStore::new(objects, Default::default(), "memory:///");
        let mut simulation = Self {
            world,
            random,
            mappings: Vec::new(),
            running: Vec::new(),
            idle: Vec::new(),
            processes: 0,
            deliveries: 0,
            schema: 0,
            partitions: [first, second],
            acknowledged: BTreeSet::new(),
            lake,
            calm,
        };
        simulation.map(lanes);
        simulation
    }

    fn map(&mut self, lanes: usize) {
        let mut split = vec![Vec::new(); lanes];
        (1..=RECORDS).for_each(|n| split[self.random.below(lanes)].push(n));
        let size = vec![[2, 3, 4, 8][self.random.below(4)]; lanes];
        self.mappings.push(Mapping { alive: true, lanes: split, busy: vec![None; lanes], size });
    }

    fn writer(&mut self) -> (usize, ShardWriter) {
        if !self.idle.is_empty() && (self.random.chance(80.0) || self.processes > 30) {
            let at = self.random.below(self.idle.len());
            return self.idle.swap_remove(at);
        }
        self.processes += 1;
        let store = FaultyStore { world: Arc::clone(&self.world), process: self.processes };
        let lake = LakeStore::new(Arc::new(store), Default::default(), "faulty:///");
        let lake = lake.with_retry(Retry { tries: 8, pause: Duration::ZERO });
        // Calm worlds keep every commit in reach, so that no dead file is forgotten.
        let folding = if self.calm {
            Folding { every: 1_000, segment: 1_000, commits: 100 }
        } else {
            Folding { every: 2, segment: 2, commits: 4 }
        };
        (self.processes, ShardWriter::with_folding(lake, shard(), folding))
    }

    fn deliver(&mut self, mapping: usize, lane: usize) {
        let m = &mut self.mappings[mapping];
        let batch: Vec<u64> = m.lanes[lane].iter().copied().take(m.size[lane]).collect();
        self.deliveries += 1;
        m.busy[lane] = Some(self.deliveries);
        let delivery = Some((mapping, lane, self.deliveries));
        self.attempt(batch, delivery);
    }

    fn attempt(&mut self, batch: Vec<u64>, delivery: Option<(usize, usize, u64)>) {
        let (process, mut writer) = self.writer();
        self.world.lock().unwrap().own.remove(&process);
        let (partitions, salt) = (self.partitions[self.schema].clone(), format!("{}", self.schema));
        let cut = self.random.chance(15.0).then(|| self.random.below(batch.len().max(1)));
        let id = format!("attempt-{}-{}", self.deliveries, process);
        let set: PositionSet = batch.iter().map(|&n| n.into()).collect();
        let future = async move {
            let mut build = |left: &PositionSet| {
                let PositionSet::Exact(left) = left else { unreachable!() };
                let keep = cut.map_or(left.len(), |cut| left.len().min(cut + 1));
                let kept: PositionSet = left[..keep].iter().copied().collect();
                Ok(files_of(&kept, &salt, |n| partitions[&n]))
            };
            let outcome = writer.commit(&set, EpochMicros(0), &id, &mut build).await;
            (writer, outcome)
        };
        self.running.push(Running { future: Box::pin(future), process, delivery, batch });
    }

    /// The mapping takes the delivery as failed and cuts the next one anew.
    fn fail(&mut self, delivery: Option<(usize, usize, u64)>, batch: &[u64]) {
        let Some((mapping, lane, id)) = delivery else { return };
        let m = &mut self.mappings[mapping];
        if m.busy[lane] == Some(id) {
            m.busy[lane] = None;
            m.size[lane] =
                [1.max(batch.len() / 2), batch.len(), 1 + self.random.below(8)][self.random.below(3)];
        }
    }

    /// One poll of one attempt: up to its next call.
    fn step(&mut self) -> Result<(), Violation> {
        let at = self.random.below(self.running.len());
        let answer = self.running[at].future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let process = self.running[at].process;
        if self.world.lock().unwrap().dead.remove(&process) {
            let dead = self.running.swap_remove(at);
            self.fail(dead.delivery, &dead.batch);
            return Ok(());
        }
        let Poll::Ready((writer, outcome)) = answer else { return Ok(()) };
        let done = self.running.swap_remove(at);
        self.idle.push((process, writer));
        match outcome {
            Ok(outcome) => self.acknowledge(done, outcome.first_pending()),
            Err(_) => {
                self.clean_up_after_error(process)?;
                self.fail(done.delivery, &done.batch);
                Ok(())
            }
        }
    }

    fn acknowledge(
        &mut self,
        done: Running,
        pending: Option<crate::record::SequenceNumber>,
    ) -> Result<(), Violation> {
        let Some((mapping, lane, id)) = done.delivery else { return Ok(()) };
        let before = |n: &u64| pending.is_none_or(|p| crate::record::SequenceNumber::from(*n) < p);
        let acknowledged: Vec<u64> = done.batch.into_iter().filter(before).collect();
        let m = &mut self.mappings[mapping];
        if m.busy[lane] != Some(id) {
            return Ok(());
        }
        m.busy[lane] = None;
        m.lanes[lane].retain(|n| !acknowledged.contains(n));
        let committed = self.committed()?;
        if let Some(n) = acknowledged.iter().find(|n| !committed.contains((**n).into())) {
            return Err(format!("C1: {n} was acknowledged and no commit lists it"));
        }
        self.acknowledged.extend(acknowledged);
        Ok(())
    }

    fn random_event(&mut self) -> Result<(), Violation> {
        match self.random.below(1000) {
            0..120 => self.deliver_any(),
            120..140 => drop(self.world.lock().unwrap().land_one()),
            140..160 if !self.calm && !self.running.is_empty() => {
                // The mapping gives up on the attempt; it goes on as a zombie.
                let at = self.random.below(self.running.len());
                let delivery = self.running[at].delivery.take();
                let batch = self.running[at].batch.clone();
                self.fail(delivery, &batch);
            }
            160..165 if !self.calm => self.schema = 1,
            165..175 if !self.calm && self.mappings.len() < 2 => {
                self.mappings[0].alive = self.random.chance(50.0);
                let lanes = 1 + self.random.below(3);
                self.map(lanes);
            }
            175..190 => self.sweep()?,
            _ if !self.running.is_empty() => self.step()?,
            _ => {}
        }
        Ok(())
    }

    fn deliver_any(&mut self) {
        let mut free = Vec::new();
        for (i, m) in self.mappings.iter().enumerate().filter(|(_, m)| m.alive) {
            free.extend(
                (0..m.lanes.len()).filter(|&l| !m.lanes[l].is_empty() && m.busy[l].is_none()).map(|l| (i, l)),
            );
        }
        if !free.is_empty() {
            let (mapping, lane) = free[self.random.below(free.len())];
            self.deliver(mapping, lane);
        }
    }

    fn all_delivered(&self) -> bool {
        self.mappings.iter().filter(|m| m.alive).all(|m| m.lanes.iter().all(Vec::is_empty))
    }

    fn run(&mut self) -> Result<(), Violation> {
        for _ in 0..300 {
            self.random_event()?;
        }
        // No more faults: zombies finish, late calls land, everything is delivered.
        self.world.lock().unwrap().faults = false;
        for _ in 0..20_000 {
            let landed = self.random.chance(20.0) && self.world.lock().unwrap().land_one();
            if self.random.chance(30.0) {
                self.deliver_any();
            }
            if !self.running.is_empty() {
                self.step()?;
            } else if !landed && self.all_delivered() && !self.world.lock().unwrap().land_one() {
                break;
            }
        }
        if !self.all_delivered() || !self.running.is_empty() {
            return Err("the world does not come to rest".into());
        }
        self.check()?;
        self.sweep_dead()?;
        self.check()
    }

    fn chain(&self) -> Result<Vec<VersionedCommit>, Violation> {
        block_on(reader::read_chain(&self.lake, &ChainKey::of(&shard()))).map_err(|e| format!("C3: {e}"))
    }

    fn committed(&self) -> Result<PositionSet, Violation> {
        let mut all = PositionSet::default();
        for commit in self.chain()? {
            all = all.union(&commit.set().map_err(|e| e.to_string())?);
        }
        Ok(all)
    }

    /// C1, C2 and C3 from what lies in the store.
    fn check(&self) -> Result<(), Violation> {
        for (key, times) in &self.world.lock().unwrap().created {
            if key.starts_with("_weir/") && *times > 1 {
                return Err(format!("C3: {key} was created {times} times"));
            }
        }
        let mut seen = PositionSet::default();
        for commit in self.chain()? {
            let set = commit.set().map_err(|e| e.to_string())?;
            if set.overlaps(&seen) {
                return Err(format!("C2: version {} lists a record again", commit.version));
            }
            seen = seen.union(&set);
            let mut rows = Vec::new();
            for file in &commit.commit.header.files {
                let bytes = block_on(self.lake.get(&file.key())).map_err(|e| e.to_string())?;
                let bytes = bytes.ok_or_else(|| format!("C1: {} is listed and gone", file.key()))?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let (schema, held) = text.split_once(':').unwrap();
                let held: Vec<u64> = held.split(',').map(|n| n.parse().unwrap()).collect();
                if (held.len() as u64, schema) != (file.rows, file.schema_version.as_str()) {
                    return Err(format!(
                        "C2: {} holds other rows than version {} says",
                        file.key(),
                        commit.version
                    ));
                }
                rows.extend(held);
            }
            rows.sort_unstable();
            let PositionSet::Exact(listed) = &set else { return Err("C2: not exact".into()) };
            let listed = listed.iter().filter_map(|n| n.as_u64());
            let expected: Vec<u64> = listed.filter(|n| self.partitions[0][n].is_some()).collect();
            if rows != expected {
                return Err(format!(
                    "C1: version {} lists {expected:?}, its files hold {rows:?}",
                    commit.version
                ));
            }
        }
        match self.acknowledged.iter().find(|n| !seen.contains((**n).into())) {
            Some(n) => Err(format!("C1: {n} was acknowledged and is lost")),
            None => Ok(()),
        }
    }

    fn orphans(&self) -> Result<Vec<String>, Violation> {
        let listed = block_on(reader::live_files(&self.lake, None)).map_err(|e| format!("C3: {e}"))?;
        let listed: BTreeSet<_> = listed.into_iter().map(|f| f.key).collect();
        let all = block_on(self.lake.list("")).map_err(|e| e.to_string())?;
        Ok(all.into_iter().filter(|key| !key.starts_with("_weir/") && !listed.contains(key)).collect())
    }

    /// What close does: delete by the dead-file rule. It may run at any moment.
    fn sweep_dead(&self) -> Result<(), Violation> {
        let committed = self.committed()?;
        for key in self.orphans()? {
            let slot = SlotName::parse(&shard(), &key).ok_or_else(|| format!("C5: {key} is no slot name"))?;
            if committed.contains(slot.first.sequence) {
                block_on(self.lake.delete(&key)).map_err(|e| e.to_string())?;
            } else if self.running.is_empty() && self.all_delivered() && !self.world.lock().unwrap().faults {
                return Err(format!("C5: {key} can never be deleted"));
            }
        }
        Ok(())
    }

    fn sweep(&self) -> Result<(), Violation> {
        let broken = self.world.lock().unwrap().broken;
        match broken {
            Broken::SweepUnlisted => {
                for key in self.orphans()? {
                    block_on(self.lake.delete(&key)).map_err(|e| e.to_string())?;
                }
                Ok(())
            }
            Broken::DeleteCommits => {
                let chain = ChainKey::of(&shard());
                let objects = self.world.lock().unwrap().objects();
                let old = chain.object(LogEntry::Commit(1));
                let _ = block_on(objects.delete(&self.lake.path(&old).map_err(|e| e.to_string())?));
                Ok(())
            }
            _ => self.sweep_dead(),
        }
    }

    fn clean_up_after_error(&self, process: usize) -> Result<(), Violation> {
        let world = self.world.lock().unwrap();
        if world.broken != Broken::DeleteOwnOnError {
            return Ok(());
        }
        let own = world.own.get(&process).cloned().unwrap_or_default();
        drop(world);
        let orphans = self.orphans()?;
        for key in own.into_iter().filter(|key| orphans.contains(key)) {
            block_on(self.lake.delete(&key)).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

#[test]
fn the_invariants_hold_in_every_world() {
    for seed in 0..800 {
        let mut simulation = Simulation::new(seed, Broken::Nothing, false);
        if let Err(violation) = simulation.run() {
            panic!("seed {seed}: {violation}; repeat with Simulation::new({seed}, Broken::Nothing, false)");
        }
        assert_eq!(simulation.committed().unwrap().count(), RECORDS, "C1: seed {seed}");
    }
}

#[test]
fn each_broken_world_is_caught() {
    let broken = [
        (Broken::ChainOverwrite, 300, ["C3", "C1"]),
        (Broken::FileOverwrite, 300, ["C2", "C1"]),
        (Broken::SweepUnlisted, 300, ["C1", "C2"]),
        (Broken::DeleteOwnOnError, 1_500, ["C1", "C2"]),
        (Broken::DeleteCommits, 300, ["C3", "C2"]),
    ];
    for (broken, seeds, invariants) in broken {
        let caught = (0..seeds).find_map(|seed| Simulation::new(seed, broken, false).run().err());
        let named = caught.as_ref().is_some_and(|v| invariants.iter().any(|name| v.starts_with(name)));
        assert!(named, "{broken:?} in {seeds} worlds: {caught:?}");
    }
}

#[test]
fn after_crashes_alone_the_next_attempts_leave_no_file_behind() {
    for seed in 0..300 {
        let mut simulation = Simulation::new(seed, Broken::Nothing, true);
        for _ in 0..300 {
            if simulation.random.chance(12.0) {
                simulation.deliver_any();
            } else if !simulation.running.is_empty() {
                simulation.step().unwrap();
            }
        }
        simulation.world.lock().unwrap().faults = false;
        while !simulation.all_delivered() || !simulation.running.is_empty() {
            if simulation.running.is_empty() {
                simulation.deliver_any();
            } else {
                simulation.step().unwrap();
            }
        }
        // One more delivery, to a process that is new and reads the whole chain.
        simulation.idle.clear();
        simulation.attempt(vec![1], None);
        while !simulation.running.is_empty() {
            simulation.step().unwrap();
        }
        simulation.check().unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        assert_eq!(simulation.orphans(), Ok(vec![]), "C5: seed {seed}");
    }
}
