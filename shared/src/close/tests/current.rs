//! The current state that close keeps, beside a naive model: a map by key over what is closed. Changes
//! come in any order, late, from shards that end and have children; closers die at any call, work side
//! by side, and sleep for hours in the middle of one.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::dated::Dated;
use super::world::{Answer, Clicks, HOUR, KEY, Services, partition};
use crate::catalog::{Catalog, FolderCatalog, apply, plan_apply};
use crate::clock::{Clock, EpochMicros, ManualClock};
use crate::close::current::tests_of_states::folded;
use crate::close::*;
use crate::commit::{Built, BuiltFile, LakeStore, PositionSet, ShardWriter};
use crate::compact::tests::store::Mortal;
use crate::naming::closed::{CloseObject, parse_close};
use crate::partition::PartitionPath;
use crate::record::{RecordId, SequenceNumber, Shard};
use crate::schema::{TableInput, TableSchema};
use crate::write::tests::model::{Random, Tree, write};

const TABLE: &str = "orders";
const VIEW: &str = "orders_now";
const GRACE: i64 = 6 * HOUR;
/// What is left of a sleeper's calls lands within this.
const SLEEP: i64 = 2 * HOUR;

/// A change; its place in the world's list is its number, which the row has as its value.
#[derive(Debug, Clone)]
struct Change {
    item: u64,
    removed: bool,
    shard: String,
    sequence: u64,
    hour: i64,
}

/// A run of close; what it says if it came to its end.
type Running = Pin<Box<dyn Future<Output = Option<Report>>>>;

struct World {
    store: Arc<Dated>,
    clicks: Arc<Clicks>,
    table: Arc<TableSchema>,
    scratch: Arc<tempfile::TempDir>,
    changes: Vec<Change>,
    /// Numbers that no commit lists yet.
    held: Vec<usize>,
    /// Of these, numbers that come hours late.
    late: BTreeSet<usize>,
    /// Generation and next number of each lane of shards.
    lanes: Vec<(u32, u64)>,
    /// Numbers of the changes in each revision that was seen.
    revisions: BTreeMap<(PartitionPath, u32), BTreeSet<usize>>,
    ids: u32,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(EpochMicros(10 * HOUR)));
        let store = Arc::new(Dated::new(clock));
        let column = |name: &str, ty: &str| json!({"Name": name, "Type": ty});
        let definition = json!({
            "Name": TABLE,
            "StorageDescriptor": {"Columns": [
                column("customer", "string"), column("number", "bigint"), column("value", "string"),
                column("_op", "string"),
                {"Name": "_changed_at", "Type": "timestamp", "Parameters": {"weir.time_format": "epoch_s"}},
            ]},
            "PartitionKeys": [column("hour", "string")],
            "Parameters": {
                "weir.partition.hour": "hour(_changed_at)", "weir.allowed_lateness": "10m",
                "weir.keys": "customer,number", "weir.current": VIEW, "weir.sort": "customer",
            },
        });
        let definition = TableInput::from_json(&definition.to_string()).unwrap();
        let catalog = FolderCatalog::new(store.clone(), "".into(), "memory:///");
        let changes = plan_apply(&[definition], &catalog, "memory:///").await.unwrap();
        assert_eq!(apply(&changes, &catalog).await.unwrap(), 2, "the view's table is made, too: {changes:?}");
        let clicks = Arc::new(Clicks::default());
        clicks.shards.lock().unwrap().insert("shard-00000".into(), (false, Answer::Nothing));
        Self {
            store,
            clicks,
            table: catalog.table(TABLE).await.unwrap(),
            scratch: Arc::new(tempfile::tempdir().unwrap()),
            changes: Vec::new(),
            held: Vec::new(),
            late: BTreeSet::new(),
            lanes: vec![(1, 1); 3],
            revisions: BTreeMap::new(),
            ids: 0,
        }
    }

    /// A world of its own with all that is in this one.
    fn fork(&self) -> Self {
        let clicks = Arc::new(Clicks::default());
        *clicks.shards.lock().unwrap() = self.clicks.shards.lock().unwrap().clone();
        Self {
            store: Arc::new(self.store.fork()),
            clicks,
            table: self.table.clone(),
            scratch: self.scratch.clone(),
            changes: self.changes.clone(),
            held: self.held.clone(),
            late: self.late.clone(),
            lanes: self.lanes.clone(),
            revisions: self.revisions.clone(),
            ids: self.ids,
        }
    }

    fn now(&self) -> i64 {
        self.store.clock.now().0
    }

    fn pass(&self, time: i64) {
        self.store.clock.set(EpochMicros(self.now() + time));
    }

    fn lake(&self) -> LakeStore {
        LakeStore::new(self.store.clone(), Default::default(), "memory:///")
    }

    fn catalog(&self) -> FolderCatalog {
        FolderCatalog::new(self.store.clone(), "".into(), "memory:///")
    }

    /// An item changes now.
    fn change(&mut self, random: &mut Random, items: u64) {
        let item = random.below(items);
        let lane = (item % 3) as usize;
        if random.one_in(12) {
            // The shard ends; the numbers of its child have nothing to do with its own.
            self.lanes[lane] = (self.lanes[lane].0 + 1, 1 + random.below(500));
        }
        let (generation, next) = &mut self.lanes[lane];
        *next += 1 + random.below(90);
        let (shard, sequence) = (format!("shardId-{generation:05}-{lane}"), *next);
        let (removed, hour) = (random.one_in(4), self.now() / HOUR);
        self.held.push(self.changes.len());
        if random.one_in(6) {
            self.late.insert(self.changes.len());
        }
        self.changes.push(Change { item, removed, shard, sequence, hour });
    }

    /// Commit some of what is held, in any order, each shard's as one commit.
    async fn commit(&mut self, random: &mut Random, keep: u64) {
        let held = std::mem::take(&mut self.held);
        let mut by_shard: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for number in held {
            let waits = match self.late.contains(&number) {
                true => self.now() / HOUR < self.changes[number].hour + 3,
                false => random.below(100) < keep,
            };
            if keep > 0 && waits {
                self.held.push(number);
            } else {
                by_shard.entry(self.changes[number].shard.clone()).or_default().push(number);
            }
        }
        for (id, numbers) in by_shard {
            self.ids += 1;
            let attempt = format!("attempt-{}", self.ids);
            let shard = Shard { stream: KEY.into(), stream_key: KEY.into(), shard: id.as_str().into() };
            let mut hours: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
            numbers.iter().for_each(|&n| hours.entry(self.changes[n].hour).or_default().push(n));
            let sequence = |n: usize| SequenceNumber::from(self.changes[n].sequence);
            let mut build = |wanted: &PositionSet| {
                let files = hours.iter().map(|(hour, numbers)| BuiltFile {
                    table: TABLE.into(),
                    partition: partition(*hour),
                    quarantine: false,
                    first: RecordId { sequence: sequence(numbers[0]), subsequence: 0 },
                    bytes: Bytes::from(self.file(numbers)),
                    rows: numbers.len() as u64,
                    schema_version: "1".into(),
                });
                Ok(Built { files: files.collect(), covers: wanted.clone() })
            };
            let positions: PositionSet = numbers.iter().map(|n| sequence(*n)).collect();
            let mut writer = ShardWriter::new(self.lake(), shard);
            let _ = writer.commit(&positions, EpochMicros(0), &attempt, &mut build).await.unwrap();
            // Nobody asks the stream for these shards: a marker leads close to them.
            let chain = crate::naming::ChainKey { stream: KEY.into(), shard: id };
            let marker = crate::naming::closed::touched(&chain, u64::from(self.ids) + 1_000);
            let _ = self.lake().put_if_absent(&marker, Bytes::new()).await.unwrap();
        }
    }

    fn file(&self, numbers: &[usize]) -> Vec<u8> {
        let text = |t: &str| Tree::Text(t.into());
        let row = |&n: &usize| {
            let Change { item, removed, shard, sequence, hour } = &self.changes[n];
            vec![
                text(&format!("c{}", item % 7)),
                Tree::Int(i128::from(*item)),
                text(&n.to_string()),
                text(if *removed { "remove" } else { "modify" }),
                Tree::Int(i128::from(*hour * HOUR)),
                text("orders"),
                text(shard),
                text(&sequence.to_string()),
                Tree::Int(0),
                Tree::Int(0),
            ]
        };
        write(&self.table, &[&numbers.iter().map(row).collect::<Vec<_>>()])
    }

    /// A run of close, whose process is killed after so many calls.
    fn closer(&mut self, calls: i64, late: bool) -> Running {
        self.ids += 1;
        *self.clicks.now.lock().unwrap() = self.now();
        let mortal = Arc::new(Mortal::new(self.store.clone(), calls, late));
        let lake = LakeStore::new(mortal.clone(), Default::default(), "memory:///");
        let catalog = Arc::new(FolderCatalog::new(mortal, "".into(), "memory:///"));
        let mut settings = Settings::new(self.scratch.path().into());
        (settings.margin, settings.grace) = (Duration::ZERO, Duration::from_micros(GRACE as u64));
        let closer = Closer::new(
            (lake, catalog),
            vec![self.clicks.clone()],
            (Arc::new(StreamingCompact), Arc::new(Services::default())),
            self.store.clock.clone(),
            settings,
        );
        let until = EpochMicros(self.now() + 14 * 60_000_000);
        let run = Run { id: format!("run{}", self.ids), until, only: None };
        Box::pin(async move { closer.run(&run).await.ok() })
    }

    async fn run(&mut self) -> Report {
        self.closer(i64::MAX, true).await.unwrap()
    }

    /// What the view must show when these changes are taken in.
    fn model(&self, numbers: impl Iterator<Item = usize>) -> BTreeMap<u64, usize> {
        let mut last: BTreeMap<u64, usize> = BTreeMap::new();
        for number in numbers {
            let known = last.entry(self.changes[number].item).or_insert(number);
            *known = number.max(*known);
        }
        last.retain(|_, number| !self.changes[*number].removed);
        last
    }

    /// Item → number of the change, of all files in a folder.
    async fn rows(&self, folder: &str) -> Vec<(u64, usize)> {
        let mut rows = Vec::new();
        for key in self.lake().list(folder).await.unwrap() {
            let bytes = self.lake().get(&key).await.unwrap().unwrap();
            let file = parquet::file::reader::SerializedFileReader::new(bytes).unwrap();
            for row in parquet::record::reader::RowIter::from_file_into(Box::new(file)) {
                let row = row.unwrap();
                let columns: Vec<_> = row.get_column_iter().map(|(_, field)| field.to_string()).collect();
                rows.push((columns[1].parse().unwrap(), columns[2].trim_matches('"').parse().unwrap()));
            }
        }
        rows
    }

    async fn look_at_revisions(&mut self) {
        for key in self.lake().list("_weir/close/orders").await.unwrap() {
            let Some((_, partition, revision, CloseObject::Result)) = parse_close(&key) else { continue };
            if !self.revisions.contains_key(&(partition.clone(), revision)) {
                let bytes = self.lake().get(&key).await.unwrap().unwrap();
                let result: RevisionResult = serde_json::from_slice(&bytes).unwrap();
                let rows = self.rows(&result.directory).await;
                assert_eq!(rows.len() as u64, result.rows());
                self.revisions.insert((partition, revision), rows.into_iter().map(|(_, n)| n).collect());
            }
        }
    }

    /// A reader that follows the catalog sees one state, whole. Its number, and its rows.
    async fn judge(&mut self, why: &str) -> (u32, BTreeMap<u64, usize>) {
        self.look_at_revisions().await;
        let catalog = self.catalog();
        let Some(entry) = catalog.partition(VIEW, &["current".to_owned()]).await.unwrap() else {
            return (0, BTreeMap::new());
        };
        let state = entry.revision();
        let location = entry.storage_descriptor.location.trim_start_matches("memory:").trim_matches('/');
        let rows = self.rows(location).await;
        let shown: BTreeMap<u64, usize> = rows.iter().copied().collect();
        assert_eq!(shown.len(), rows.len(), "{why}: an item stands there twice");
        let folded = folded(&self.lake(), VIEW, state).await;
        let numbers = folded.into_iter().flat_map(|of| self.revisions[&of].iter().copied());
        assert_eq!(shown, self.model(numbers), "{why}: state {state}");
        let files = visible_files(&self.lake(), &catalog, Some(VIEW)).await.unwrap();
        assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), rows.len() as u64, "{why}");
        assert!(files.iter().all(|file| file.key.starts_with(location) && file.revision == state));
        (state, shown)
    }

    /// Everything is committed and closed, and what was superseded is past its grace.
    async fn rest(&mut self, why: &str) {
        self.commit(&mut Random(1), 0).await;
        self.pass(3 * HOUR);
        for _ in 0..4 {
            self.run().await;
            self.judge(why).await;
            self.pass(25 * 60_000_000);
        }
        let (state, shown) = self.judge(why).await;
        assert_eq!(shown, self.model(0..self.changes.len()), "{why}: at rest");
        self.pass(GRACE + HOUR);
        self.run().await;
        assert_eq!(self.judge(why).await, (state, shown), "{why}");
    }
}

#[tokio::test]
async fn closers_that_die_work_together_and_sleep_keep_the_latest_image_of_each_item() {
    let (mut states, mut late, mut kills) = (0, 0, 0);
    for seed in 1..9 {
        let mut random = Random(seed);
        let mut world = World::new().await;
        let items = 3 + random.below(40);
        let mut asleep: Vec<(i64, Running)> = Vec::new();
        for step in 0..24 {
            let why = format!("seed {seed} step {step}");
            for _ in 0..random.below(25) {
                world.change(&mut random, items);
            }
            let keep = [1, 30, 90][random.below(3) as usize];
            world.commit(&mut random, keep).await;
            world.pass((1 + random.below(50) as i64) * 60_000_000);
            match random.below(5) {
                0 | 1 => drop(world.run().await),
                kind @ (2 | 3) => {
                    // What it leaves behind, two may go on with.
                    kills += 1;
                    let (calls, takes_effect) = (1 + random.below(160) as i64, random.one_in(2));
                    let _ = world.closer(calls, takes_effect).await;
                    if kind == 3 {
                        world.pass(25 * 60_000_000);
                        let _ = futures::join!(world.closer(i64::MAX, true), world.closer(i64::MAX, true));
                    }
                }
                _ => {
                    let mut sleeper = world.closer(i64::MAX, true);
                    let mut ended = false;
                    for _ in 0..random.below(150) {
                        ended = ended || matches!(futures::poll!(&mut sleeper), Poll::Ready(_));
                    }
                    if !ended {
                        asleep.push((world.now(), sleeper));
                    }
                }
            }
            world.judge(&why).await;
            let wakes = |since: i64, random: &mut Random| random.one_in(4) || world.now() - since > SLEEP;
            let (awake, rest): (Vec<_>, Vec<_>) =
                asleep.into_iter().partition(|(since, _)| wakes(*since, &mut random));
            asleep = rest;
            for (_, sleeper) in awake {
                let _ = sleeper.await;
                world.judge(&why).await;
            }
        }
        for (_, sleeper) in asleep {
            let _ = sleeper.await;
        }
        world.rest(&format!("seed {seed} in the end")).await;
        states += world.judge("").await.0;
        late += world.revisions.keys().filter(|(_, revision)| *revision > 1).count();
    }
    assert!(states > 40 && late > 40 && kills > 10, "{states} states, {late} late revisions, {kills} kills");
}

#[tokio::test]
async fn a_kill_at_any_call_of_a_run_leaves_a_whole_state_and_the_next_run_goes_on() {
    let mut random = Random(3);
    let mut begun = World::new().await;
    for _ in 0..2 {
        for _ in 0..30 {
            begun.change(&mut random, 15);
        }
        begun.commit(&mut random, 20).await;
        begun.pass(HOUR + 20 * 60_000_000);
        begun.run().await;
    }
    for _ in 0..20 {
        begun.change(&mut random, 15);
    }
    // Superseded files are past their grace, so that deletes are among the calls.
    begun.pass(GRACE + HOUR);
    begun.commit(&mut random, 0).await;
    let before = begun.judge("before").await;
    let mut kills = 0;
    // The call that is the last one takes effect, or does not.
    for (late, step) in [(true, 1), (false, 3)] {
        for calls in (1..).step_by(step) {
            let mut world = begun.fork();
            let ended = world.closer(calls, late).await.is_some();
            let why = format!("killed at call {calls}");
            world.judge(&why).await;
            world.pass(25 * 60_000_000);
            world.run().await;
            world.run().await;
            let (state, shown) = world.judge(&why).await;
            assert!(state > before.0, "{why}");
            assert_eq!(shown, world.model(0..world.changes.len()), "{why}");
            if ended {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 100, "{kills}");
}

#[tokio::test]
async fn a_view_that_cannot_be_made_is_named_blocks_no_partition_and_keeps_what_it_needs() {
    let mut random = Random(9);
    let mut world = World::new().await;
    let definition = "_weir/catalog/tables/orders_now.json";
    let kept = world.lake().get(definition).await.unwrap().unwrap();
    world.lake().delete(definition).await.unwrap();
    for round in 1..=2 {
        for _ in 0..40 {
            world.change(&mut random, 12);
        }
        // The second time late ones, too: a revision of the first hour.
        let keep = if round == 1 { 40 } else { 0 };
        world.commit(&mut random, keep).await;
        world.pass(HOUR + 20 * 60_000_000);
        let report = world.run().await;
        assert!(!report.closed.is_empty(), "partitions close: {round}");
        let [view] = &report.views[..] else { panic!("{:?}", report.views) };
        let trouble = view.trouble.as_ref().map(|trouble| trouble.reason.as_str()).unwrap_or_default();
        assert!(trouble.contains(VIEW), "{trouble}");
        assert_eq!((view.state, report.failures), (0, 1));
    }
    assert!(world.lake().list("_weir/close/orders").await.unwrap().iter().any(|key| key.contains("/r0002/")));
    // Long after the grace nothing is deleted that the state will be made of.
    world.pass(GRACE + 20 * HOUR);
    assert_eq!(world.run().await.files_collected, 0);
    let _ = world.lake().put_if_absent(definition, kept).await.unwrap();
    world.pass(2 * HOUR);
    let report = world.run().await;
    assert_eq!((report.views[0].trouble.as_ref(), report.views[0].waiting), (None, 0), "{:?}", report.views);
    let (_, shown) = world.judge("mended").await;
    assert_eq!(shown, world.model(0..world.changes.len()));
    world.pass(HOUR);
    assert!(world.run().await.files_collected > 0);
    world.rest("mended").await;
}
