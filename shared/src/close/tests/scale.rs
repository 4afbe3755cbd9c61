//! Many partitions at once: what they cost in requests, time and memory, compaction included.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::memory::InMemory;

use super::slow::{Requests, Slow};
use super::world::{Content, HOUR, World};
use crate::catalog::Catalog;
use crate::close::Report;
use crate::commit::LakeStore;
use crate::write::tests::model::{Random, Tree, random_value, write};

/// A request of S3 takes about so long.
const REQUEST: Duration = Duration::from_millis(30);
/// Rows of a live file.
const ROWS: usize = 50;
/// The store puts objects at the time of the machine.
const AFTER_EVERYTHING: i64 = i64::MAX / 4;
/// Beside the time of the event.
const COLUMNS: [(&str, &str); 8] = [
    ("user_id", "string"),
    ("page", "string"),
    ("referrer", "string"),
    ("price", "double"),
    ("quantity", "int"),
    ("in_stock", "boolean"),
    ("country", "string"),
    ("session_ms", "bigint"),
];

/// A lake with so many shards, each of which has one commit with files of `hours` hours; each hour has
/// a file of two shards.
struct Many {
    world: World,
    requests: Requests,
    partitions: u64,
    shards: u64,
}

/// What a run took.
#[derive(Debug)]
struct Took {
    requests: u64,
    /// On this machine, where a request takes no time.
    here: Duration,
    /// Where each takes 30 ms and computing takes no time.
    far: Duration,
}

impl Many {
    fn new(shards: usize, hours: usize) -> Self {
        let requests = Requests::default();
        let (world, _) = requests.run(Self::world(&requests, shards, hours));
        requests.take(REQUEST);
        let (shards, partitions) = (shards as u64, (shards * hours) as u64);
        Self { world, requests, partitions, shards }
    }

    async fn world(requests: &Requests, shards: usize, hours: usize) -> World {
        let slow = Slow { store: InMemory::new(), requests: requests.clone() };
        let lake = LakeStore::new(Arc::new(slow), "".into(), "memory:///");
        let mut world = World::over(lake, shards, &COLUMNS).await;
        let table = world.catalog.table("t").await.unwrap();
        let mut random = Random(7);
        let mut row = || -> Vec<Tree> {
            let nulls = |name: &str| if name == "ts" { u64::MAX } else { 20 };
            let values = table.columns.iter().map(|c| random_value(&mut random, &c.ty, nulls(&c.name)));
            let provenance = ["s", "0", "1"].map(|text| Tree::Text(text.into())).into_iter();
            values.chain(provenance).chain([Tree::Int(0), Tree::Int(1)]).collect()
        };
        let rows: Vec<_> = (0..ROWS).map(|_| row()).collect();
        world.content = Content::Parquet(Bytes::from(write(&table, &[&rows])), ROWS as u64);
        for shard in 0..shards {
            let hour = |n: usize| ((shard * hours + n) % (shards * hours)) as i64;
            world.commit(shard, &(0..2 * hours).map(hour).collect::<Vec<_>>()).await;
        }
        *world.clicks.requests.lock().unwrap() = Some(requests.clone());
        world
    }

    /// A run at this time.
    fn run(&mut self, at: i64) -> (Report, Took) {
        self.world.at(at);
        let (before, began) = (self.requests.asked(), Instant::now());
        let (report, far) = self.requests.clone().run(self.world.run());
        let (requests, here) = (self.requests.asked() - before, began.elapsed());
        let took = Took { requests, far, here };
        let (shards, partitions, closed) = (self.shards, self.partitions, report.closed.len());
        let (open, summary) = (report.open.len(), report.summary_bytes);
        eprintln!(
            "{shards} shards, {partitions} partitions: {closed} closed, {open} open, {took:.1?}, summary {summary} B"
        );
        assert_eq!((report.failures, report.stuck().count(), report.out_of_time), (0, 0, false));
        (report, took)
    }

    /// Open, closed, watched, collected: the requests of each for a partition, but for what is asked
    /// for each shard.
    fn live(&mut self) -> Costs {
        let (shards, partitions) = (self.shards, self.partitions);
        let over = (partitions as i64 + 1) * HOUR;
        let (report, _) = self.run(0);
        assert_eq!(report.open.len() as u64, partitions);
        let (_, open) = self.run(0);
        let (report, closed) = self.run(over);
        assert_eq!(report.closed.len() as u64, partitions);
        assert!(report.closed.iter().all(|closed| (closed.rows, closed.files) == (2 * ROWS as u64, 1)));
        let (report, watched) = self.run(over);
        assert!(report.closed.is_empty() && report.open.is_empty());
        let (report, collected) = self.run(AFTER_EVERYTHING);
        assert_eq!(report.files_collected, 2 * partitions);
        let beside_shards = |took: &Took| took.requests - 3 * shards;
        Costs {
            open: beside_shards(&open),
            watched: beside_shards(&watched),
            closed: beside_shards(&closed) as f64 / partitions as f64,
            collected: beside_shards(&collected) as f64 / partitions as f64,
            took: closed,
        }
    }
}

/// Requests of runs.
#[derive(Debug)]
struct Costs {
    open: u64,
    watched: u64,
    /// A partition.
    closed: f64,
    collected: f64,
    took: Took,
}

#[test]
fn requests_grow_with_partitions_that_close_and_not_with_those_that_rest() {
    let [few, many] = [10, 100].map(|shards| Many::new(shards, 10).live());
    assert_eq!((few.open, few.watched), (many.open, many.watched), "{few:?} {many:?}");
    assert!(many.open <= 6 && many.watched <= 72, "{many:?}");
    assert!(many.closed <= few.closed + 0.1 && many.closed <= 16.0, "{few:?} {many:?}");
    // One after another they would take 420 s.
    assert!(many.took.far < Duration::from_secs(10), "{many:?}");
    assert!(many.collected <= few.collected + 0.1 && many.collected <= 16.0, "{few:?} {many:?}");
}

#[test]
#[ignore = "long: cargo test --release -p weir --lib -- --ignored --nocapture ten_thousand_partitions (alone, for the memory)"]
fn ten_thousand_partitions_of_a_thousand_shards_close_within_a_minute_and_512_mib() {
    let costs = Many::new(1_000, 10).live();
    let peak = peak_memory();
    eprintln!("{costs:?}, peak memory {peak:?} KiB");
    assert!(costs.took.here < Duration::from_secs(60));
    assert!(peak.is_none_or(|peak| peak < 512 << 10));
}

/// Of this process, in KiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
