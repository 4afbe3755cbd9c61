//! Any number of replays at once, from a seed, over a store whose processes die before and after
//! every call, whose answers get lost and whose puts land late. Schemas change between runs,
//! selections differ. At any moment every record is a row or a letter, once; in the end what fits is
//! a row and what does not is a letter.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::world::{Broken, FaultyStore, Random, Shared, World, block_on};
use super::*;
use crate::commit::store::Retry;
use crate::naming::ChainKey;
use crate::replay::{Fate, fates, resolutions};

const SHARDS: [&str; 2] = ["0", "1"];
/// What the table takes at first, and what it takes later.
const BOUNDS: [u32; 3] = [10, 100, 1_000];

type Run = Pin<Box<dyn Future<Output = Result<ReplayReport>>>>;

struct Simulation {
    world: Shared,
    random: Random,
    lake: LakeStore,
    running: Vec<(usize, Run)>,
    processes: usize,
    records: BTreeMap<Key, String>,
    bound: usize,
}

fn document(random: &mut Random) -> String {
    let n = [1 + random.below(9), 11 + random.below(80), 101 + random.below(800), 5_000][random.below(4)];
    match random.below(8) {
        0 => "{".into(),
        1 => format!(r#"{{"n":"{n}","p":"a"}}"#),
        _ => format!(r#"{{"n":{n},"p":"{}"}}"#, ["a", "b"][random.below(2)]),
    }
}

impl Simulation {
    fn new(seed: u64, broken: Broken) -> Self {
        let world = World::new(seed ^ 0xfeed, broken);
        let mut random = Random::new(seed);
        let lake = LakeStore::new(world.lock().unwrap().objects(), Default::default(), "memory:///");
        let mut records = BTreeMap::new();
        for name in SHARDS {
            let mut sequence = 0;
            for _ in 0..1 + random.below(3) {
                let batch: Vec<Record> = (0..1 + random.below(3))
                    .map(|_| {
                        sequence += 1;
                        let documents: Vec<_> =
                            (0..1 + random.below(3)).map(|_| document(&mut random)).collect();
                        let arrived_at =
                            EpochMicros(DAY_ONE + DAY * random.below(2) as i64 + sequence as i64);
                        for (sub, text) in (0..).zip(&documents) {
                            records.insert((name.to_owned(), sequence, sub), text.clone());
                        }
                        Record { sequence, arrived_at, documents, packed: None }
                    })
                    .collect();
                block_on(load(&lake, &shard(name), &[table("t", BOUNDS[0], None)], &batch));
            }
        }
        let (running, processes, bound) = (Vec::new(), 0, 0);
        Self { world, random, lake, running, processes, records, bound }
    }

    fn start(&mut self, selection: Selection) {
        self.processes += 1;
        let store = FaultyStore { world: Arc::clone(&self.world), process: self.processes };
        let lake = LakeStore::new(Arc::new(store), Default::default(), "faulty:///");
        let lake = lake.with_retry(Retry { tries: 8, pause: Duration::ZERO });
        let tables = vec![table("t", BOUNDS[self.bound], None)];
        let run_id = format!("run-{}", self.processes);
        let now = EpochMicros(DAY_ONE + 5 * DAY);
        let run = async move {
            Replay::new(lake, tables, selection, Mode::Commit, (&run_id, now)).run(&mut |_| ()).await
        };
        self.running.push((self.processes, Box::pin(run)));
    }

    fn some_selection(&mut self) -> Selection {
        let mut selection = Selection::default();
        match self.random.below(4) {
            0 => drop(selection.reasons.insert("constraint".into())),
            1 => selection.since = Some(EpochMicros(DAY_ONE + DAY)),
            _ => {}
        }
        selection
    }

    /// One run goes on to its next call.
    fn step(&mut self) -> Option<ReplayReport> {
        let at = self.random.below(self.running.len());
        let (process, run) = &mut self.running[at];
        let (process, answer) = (*process, run.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        let died = self.world.lock().unwrap().dead.remove(&process);
        match answer {
            Poll::Pending if !died => None,
            Poll::Pending => {
                drop(self.running.swap_remove(at));
                None
            }
            Poll::Ready(answer) => {
                drop(self.running.swap_remove(at));
                answer.ok()
            }
        }
    }

    fn run(&mut self) {
        for step in 0..600 {
            match self.random.below(100) {
                0..8 if self.running.len() < 3 => {
                    let selection = self.some_selection();
                    self.start(selection);
                }
                8..12 => drop(self.world.lock().unwrap().land_one()),
                12 => self.bound = (self.bound + 1).min(1),
                _ if !self.running.is_empty() => drop(self.step()),
                _ => {}
            }
            if step % 60 == 0 {
                self.check();
            }
        }
        // No more faults: what sleeps finishes, calls under way land, and two more runs come.
        self.world.lock().unwrap().faults = false;
        while self.world.lock().unwrap().land_one() {}
        while !self.running.is_empty() {
            self.step();
        }
        self.check();
        self.bound = 2;
        let whole = self.alone();
        assert_eq!(whole.taken, 0);
        let again = self.alone();
        assert_eq!((again.commits, again.counts.resolved()), (0, 0), "C8: replayed twice");
        self.check();
        self.check_left();
        self.check_end();
    }

    fn alone(&mut self) -> ReplayReport {
        self.start(Selection::default());
        loop {
            if let Some(report) = self.step() {
                return report;
            }
            assert!(!self.running.is_empty(), "a run without faults failed");
        }
    }

    /// What holds at any moment.
    fn check(&self) {
        for (key, times) in &self.world.lock().unwrap().created {
            assert!(!key.starts_with("_weir/") || *times == 1, "C3: {key} was created {times} times");
        }
        let (rows, letters) = block_on(seen(&self.lake));
        for (key, text) in &self.records {
            match (rows.get(key), letters.get(key)) {
                (Some(row), None) => {
                    assert!(text.contains(&format!("\"n\":{}", row.n)), "C2: {key:?} {row:?}")
                }
                (None, Some(letter)) => assert_eq!(letter.raw, text.as_bytes(), "C8: {key:?}"),
                _ => panic!("C1: {key:?} is gone"),
            }
        }
        assert_eq!(rows.len() + letters.len(), self.records.len(), "C1: something that nobody sent");
        for name in SHARDS {
            block_on(self.check_resolutions(&ChainKey::of(&shard(name))));
        }
    }

    async fn check_resolutions(&self, chain: &ChainKey) {
        let mut resolved = BTreeSet::new();
        for resolution in resolutions(&self.lake, chain).await.unwrap() {
            let judged: u64 = resolution.replaced.iter().map(|file| file.file.rows).sum();
            assert_eq!(resolution.rows + resolution.letters, judged, "C8: version {}", resolution.version);
            let mut twice = Vec::new();
            let mut each = |id, fate| {
                if fate == Fate::Row && !resolved.insert(id) {
                    twice.push(id);
                }
            };
            fates(&self.lake, &resolution, &mut each).await.unwrap();
            assert!(twice.is_empty(), "C8: resolved twice {twice:?}");
        }
    }

    /// Beside a file that a replay's commit lists, at another name of its slot, none is left.
    fn check_left(&self) {
        let listed: BTreeSet<String> =
            block_on(live_files(&self.lake, None)).unwrap().into_iter().map(|file| file.key).collect();
        let slot = |key: &str| {
            key.split_once(".replay-").map(|(to, n)| format!("{to}.{}", n.split(['-', '.']).next().unwrap()))
        };
        let slots: BTreeSet<String> = listed.iter().filter_map(|key| slot(key)).collect();
        for key in ["t", "quarantine"].iter().flat_map(|table| block_on(self.lake.list(table)).unwrap()) {
            let dead = !listed.contains(&key) && slot(&key).is_some_and(|slot| slots.contains(&slot));
            assert!(!dead, "C5: {key} is left");
        }
    }

    fn check_end(&self) {
        let (rows, letters) = block_on(seen(&self.lake));
        for (key, text) in &self.records {
            let number: Option<u32> =
                text.strip_prefix(r#"{"n":"#).and_then(|rest| rest.split(',').next()?.parse().ok());
            let fits = number.is_some_and(|n| n <= BOUNDS[2]);
            assert_eq!(rows.contains_key(key), fits, "{key:?} {text}");
            if let Some(letter) = letters.get(key) {
                let reason = match (number, text.as_str()) {
                    (Some(_), _) => "constraint",
                    (None, "{") => "malformed_json",
                    (None, _) => "wrong_type",
                };
                assert_eq!(letter.reason, reason, "{key:?} {text}");
            }
        }
        for ((name, sequence, _), row) in &rows {
            assert_eq!((row.stream.as_str(), row.arrived_at % DAY), ("clicks", *sequence as i64), "{name}");
        }
    }
}

/// What was found wrong.
fn violation(seed: u64, broken: Broken) -> Option<String> {
    let found = std::panic::catch_unwind(|| Simulation::new(seed, broken).run()).err()?;
    let text = found.downcast_ref::<String>().cloned();
    Some(text.or_else(|| found.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default())
}

#[test]
fn every_record_is_a_row_or_a_letter_once_whatever_dies() {
    for seed in 0..60 {
        let found = violation(seed, Broken::Nothing);
        assert_eq!(found, None, "repeat with Simulation::new({seed}, Broken::Nothing)");
    }
}

#[test]
fn a_broken_store_is_caught() {
    for broken in [Broken::ChainOverwrite, Broken::FileOverwrite] {
        let caught = (0..200).find_map(|seed| Some((seed, violation(seed, broken)?)));
        let named = caught.as_ref().is_some_and(|(_, text): &(u64, String)| {
            ["C1", "C2", "C3", "C8"].iter().any(|name| text.starts_with(name))
        });
        assert!(named, "{broken:?}: {caught:?}");
    }
}
