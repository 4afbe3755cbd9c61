//! The current state of changes beside a naive model: a map by key, the latest change wins.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use object_store::memory::InMemory;

use super::model::*;
use super::store::Mortal;
use crate::clock::{EpochMicros, ManualClock};
use crate::commit::LakeStore;
use crate::compact::{Fold, FoldProgress, Input, Limits, StateFiles, fold};
use crate::record::SequenceNumber;
use crate::schema::{HiveType, Provenance, TableSchema};
use crate::write::tests::model::{Random, Tree, table};

fn schema() -> TableSchema {
    let columns = [
        ("customer".to_owned(), HiveType::String),
        ("number".to_owned(), HiveType::BigInt),
        ("value".to_owned(), HiveType::String),
        ("_op".to_owned(), HiveType::String),
    ];
    let mut schema = table(&columns);
    schema.columns[3].from = vec!["_op".into()];
    schema.provenance = Provenance::Columns;
    schema
}

fn below(random: &mut Random, n: usize) -> usize {
    random.below(n as u64) as usize
}

/// A change of one of `keys` items; numbers of one shard are of very different lengths.
fn change(random: &mut Random, keys: usize, sequence: u64) -> Row {
    let key = below(random, keys) as i128;
    let shard = format!("shardId-{:020}-{:08x}", below(random, 3), key % 5);
    let removed = below(random, 4) == 0;
    let value = if removed { Tree::Null } else { Tree::Text(format!("v{sequence}")) };
    let op = if removed { "remove" } else { "modify" };
    let text = |t: &str| Tree::Text(t.into());
    vec![
        text(&format!("c{}", key % 7)),
        Tree::Int(key),
        value,
        text(op),
        text("orders"),
        text(&shard),
        text(&(SequenceNumber::from(sequence).to_string() + &"0".repeat((sequence % 3) as usize))),
        Tree::Int(0),
        Tree::Int(sequence as i128),
    ]
}

fn text(tree: &Tree) -> String {
    let Tree::Text(text) = tree else { panic!("{tree:?} is no text") };
    text.clone()
}

/// The rows of items that are there, by key.
fn model(rows: &[Row]) -> BTreeMap<String, Row> {
    let order = |row: &Row| (text(&row[5]), text(&row[6]).parse::<SequenceNumber>().unwrap());
    let mut last: BTreeMap<String, Row> = BTreeMap::new();
    for row in rows {
        let key = format!("{:?}{:?}", row[0], row[1]);
        if last.get(&key).is_none_or(|other| order(row) > order(other)) {
            last.insert(key, row.clone());
        }
    }
    last.retain(|_, row| text(&row[3]) != "remove");
    last
}

async fn put_as(
    lake: &LakeStore,
    schema: &TableSchema,
    files: &[Vec<Vec<Row>>],
    version: &str,
) -> Vec<Input> {
    let schema = TableSchema { version: version.into(), ..schema.clone() };
    put(lake, &schema, files).await
}

/// Rows of items that are there, by key; and how many removals are remembered, of which keys alone are.
async fn values(lake: &LakeStore, state: &StateFiles) -> (BTreeMap<String, String>, u64) {
    let mut found = BTreeMap::new();
    for file in state.shown() {
        for columns in rows_of(lake, &format!("{}/{}", state.directory, file.name)).await {
            let twice = found.insert(columns[..2].concat(), columns[2].clone());
            assert_eq!(twice, None, "an item stands there twice");
        }
    }
    let mut removed = 0;
    for file in state.parts.iter().flat_map(|part| &part.removed) {
        for columns in rows_of(lake, &format!("{}/{}", state.removed, file.name)).await {
            assert_eq!((columns.len(), columns[2].as_str()), (8, "\"remove\""), "keys, _op and provenance");
            assert!(!found.contains_key(&columns[..2].concat()), "an item is there and removed");
            removed += 1;
        }
    }
    (found, removed)
}

async fn rows_of(lake: &LakeStore, key: &str) -> Vec<Vec<String>> {
    let bytes = lake.get(key).await.unwrap().unwrap();
    let reader = parquet::file::reader::SerializedFileReader::new(bytes).unwrap();
    let rows = parquet::record::reader::RowIter::from_file_into(Box::new(reader));
    let columns = |row: parquet::record::Row| row.get_column_iter().map(|(_, f)| f.to_string()).collect();
    rows.map(|row| columns(row.unwrap())).collect()
}

fn expected(rows: &[Row]) -> BTreeMap<String, String> {
    let shown = |row: &Row| {
        let Tree::Int(number) = row[1] else { panic!() };
        (format!("\"{}\"{number}", text(&row[0])), format!("\"{}\"", text(&row[2])))
    };
    model(rows).values().map(shown).collect()
}

/// Where a state stands, and how it is made.
struct Step<'a> {
    schema: &'a TableSchema,
    keys: &'a [String],
    base: Option<&'a StateFiles>,
    inputs: &'a [Input],
    memory: u64,
    scratch: &'a Path,
}

impl Step<'_> {
    async fn run(&self, lake: &LakeStore, clock: i64, number: u32) -> crate::Result<StateFiles> {
        let (directory, removed) = (format!("now/closed/r{number}"), format!("removed/r{number}"));
        let what = Fold {
            schema: self.schema,
            keys: self.keys,
            base: self.base,
            inputs: self.inputs,
            directory: &directory,
            removed: &removed,
            work: &format!("work/r{number}"),
            scratch: self.scratch,
            limits: Limits { memory: self.memory, ..Limits::default() },
            until: EpochMicros(i64::MAX),
        };
        match fold(lake, &ManualClock::at(EpochMicros(clock)), &what).await? {
            FoldProgress::Finished(state) => Ok(state),
            FoldProgress::Unfinished { done, of } => panic!("{done} of {of} steps, and time is left"),
        }
    }
}

fn keys() -> Vec<String> {
    ["customer".to_owned(), "number".to_owned()].into()
}

/// Changes in any order, in files of two row groups.
fn changes(random: &mut Random, count: usize, items: usize) -> Vec<Row> {
    let mut numbers: Vec<u64> = (1..=count as u64).collect();
    for i in (1..numbers.len()).rev() {
        numbers.swap(i, below(random, i + 1));
    }
    numbers.iter().map(|n| change(random, items, *n)).collect()
}

/// Whatever comes late, twice or in another order, however little memory there is, and into however
/// many parts the state before was cut.
#[test]
fn the_state_is_the_latest_image_of_each_item_step_by_step() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut grown, mut shrunk) = (0, 0);
    for seed in 0..40 {
        let mut random = Random(seed);
        let (schema, keys) = (schema(), keys());
        let (count, items) = (30 + below(&mut random, 300), 1 + below(&mut random, 60));
        let rows = changes(&mut random, count, items);
        block_on(async {
            let lake = LakeStore::open("memory:///", &[]).unwrap();
            let (mut base, mut seen, mut at): (Option<StateFiles>, Vec<Row>, _) = (None, Vec::new(), 0);
            for number in 0.. {
                if at == rows.len() {
                    break;
                }
                let take = (1 + below(&mut random, rows.len())).min(rows.len() - at);
                let mut new = rows[at..at + take].to_vec();
                at += take;
                seen.extend(new.iter().cloned());
                // Some that were there before: a partition closed again has all its rows.
                let again = below(&mut random, seen.len());
                new.extend(seen[again..].iter().take(20).cloned());
                let middle = below(&mut random, new.len());
                let files = vec![vec![new[middle..].to_vec()], vec![new[..middle].to_vec()]];
                let files: Vec<_> = files.into_iter().filter(|f| !f[0].is_empty()).collect();
                let inputs = put_as(&lake, &schema, &files, &format!("s{number}")).await;
                let memory = [64 << 20, 4_096, 40_000][below(&mut random, 3)];
                let (schema, keys, base_files) = (&schema, &keys, base.as_ref());
                let step =
                    Step { schema, keys, base: base_files, inputs: &inputs, memory, scratch: scratch.path() };
                let state = step.run(&lake, 1_000, number).await.unwrap();
                let parts = base_files.map_or(1, |base| base.parts.len());
                grown += usize::from(state.parts.len() > parts);
                shrunk += usize::from(state.parts.len() < parts);
                let (found, removed) = values(&lake, &state).await;
                assert_eq!(found, expected(&seen), "seed {seed} step {number}");
                let all: std::collections::BTreeSet<_> =
                    seen.iter().map(|row| format!("{:?}{:?}", row[0], row[1])).collect();
                assert_eq!(removed as usize, all.len() - found.len(), "seed {seed}: removals");
                assert_eq!(state.rows(), (found.len() as u64, removed));
                assert_eq!(step.run(&lake, 1_000, number).await.unwrap(), state, "a run that began again");
                assert_eq!(
                    lake.list(&format!("work/r{number}")).await.unwrap().len(),
                    2,
                    "plan and finished"
                );
                base = Some(state);
            }
        });
    }
    assert!(grown > 10 && shrunk > 10, "{grown} {shrunk}");
}

/// A state in several parts on top of another, and what it must hold.
struct Prepared {
    schema: TableSchema,
    keys: Vec<String>,
    base: StateFiles,
    inputs: Vec<Input>,
    expected: BTreeMap<String, String>,
    scratch: tempfile::TempDir,
}

impl Prepared {
    async fn on(lake: &LakeStore) -> Self {
        let (schema, keys, scratch) = (schema(), keys(), tempfile::tempdir().unwrap());
        let rows = changes(&mut Random(5), 200, 40);
        let first = put_as(lake, &schema, &[vec![rows[..120].to_vec()]], "s0").await;
        let inputs =
            put_as(lake, &schema, &[vec![rows[120..160].to_vec()], vec![rows[160..].to_vec()]], "s1").await;
        let step = Step {
            schema: &schema,
            keys: &keys,
            base: None,
            inputs: &first,
            memory: 20_000,
            scratch: scratch.path(),
        };
        let base = step.run(lake, 1_000, 0).await.unwrap();
        Self { schema, keys, base, inputs, expected: expected(&rows), scratch }
    }

    fn step(&self) -> Step<'_> {
        let (base, scratch) = (Some(&self.base), self.scratch.path());
        Step { schema: &self.schema, keys: &self.keys, base, inputs: &self.inputs, memory: 10_000, scratch }
    }
}

fn mortal(store: &Arc<InMemory>, calls: i64, late: bool) -> LakeStore {
    LakeStore::new(Arc::new(Mortal::new(store.clone(), calls, late)), Default::default(), "mortal:///")
}

#[test]
fn a_kill_at_any_call_leaves_what_the_next_run_finishes() {
    let mut kills = 0;
    for late in [false, true] {
        for calls in (1..).step_by(2) {
            let killed = block_on(async {
                let store = Arc::new(InMemory::new());
                let lake = LakeStore::new(store.clone(), Default::default(), "memory:///");
                let prepared = Prepared::on(&lake).await;
                let first = prepared.step().run(&mortal(&store, calls, late), 1_000, 1).await;
                let state = prepared.step().run(&lake, 2_000, 1).await.unwrap();
                assert!(state.parts.len() > 1);
                assert_eq!(values(&lake, &state).await.0, prepared.expected, "killed at call {calls}");
                assert_eq!(lake.list("now/closed/r1").await.unwrap().len(), state.shown().count());
                assert_eq!(lake.list("work/r1").await.unwrap().len(), 2, "killed at call {calls}");
                first.is_err()
            });
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 40, "{kills}");
}

#[test]
fn runners_side_by_side_make_one_state() {
    for seed in 0..10 {
        block_on(async {
            let store = Arc::new(InMemory::new());
            let lake = LakeStore::new(store.clone(), Default::default(), "memory:///");
            let prepared = Prepared::on(&lake).await;
            let (first, second, third) = (
                mortal(&store, i64::MAX, true),
                mortal(&store, i64::MAX, true),
                mortal(&store, 20 + 10 * seed, true),
            );
            let step = prepared.step();
            let (a, b, _) = futures::join!(
                step.run(&first, 1_000, 1),
                step.run(&second, 7_000 + seed * 1_000, 1),
                step.run(&third, 3_000, 1),
            );
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_eq!(a, b, "seed {seed}");
            assert_eq!(values(&lake, &a).await.0, prepared.expected, "seed {seed}");
            assert_eq!(step.run(&lake, 1, 1).await.unwrap(), a);
            assert_eq!(lake.list("work/r1").await.unwrap().len(), 2);
        });
    }
}

#[test]
fn a_state_of_which_everything_is_removed_has_columns_and_no_rows() {
    block_on(async {
        let lake = LakeStore::open("memory:///", &[]).unwrap();
        let (schema, keys, scratch) = (schema(), keys(), tempfile::tempdir().unwrap());
        let mut rows = changes(&mut Random(1), 1, 1);
        rows[0][3] = Tree::Text("remove".into());
        let inputs = put_as(&lake, &schema, &[vec![rows]], "s0").await;
        let step = Step {
            schema: &schema,
            keys: &keys,
            base: None,
            inputs: &inputs,
            memory: 9_000,
            scratch: scratch.path(),
        };
        let state = step.run(&lake, 1, 0).await.unwrap();
        assert_eq!((state.rows(), state.shown().count()), ((0, 1), 1));
        let step = Step { base: Some(&state), ..step };
        assert_eq!(step.run(&lake, 1, 1).await.unwrap().rows(), (0, 1));
    });
}

#[test]
fn a_table_without_the_order_of_its_changes_has_no_state() {
    let lake = LakeStore::open("memory:///", &[]).unwrap();
    let what = |schema: &TableSchema, keys: &[String]| {
        let scratch = Path::new("unused");
        let step = Step { schema, keys, base: None, inputs: &[], memory: 1, scratch };
        block_on(step.run(&lake, 1, 0)).unwrap_err().to_string()
    };
    let (mut footer, mut no_op) = (schema(), schema());
    footer.provenance = Provenance::Footer;
    no_op.columns[3].from = vec!["op".into()];
    assert!(what(&footer, &[]).contains("weir.provenance"), "{}", what(&footer, &[]));
    assert!(what(&no_op, &[]).contains("`_op`"));
    assert!(what(&schema(), &["other".to_owned()]).contains("`other`"));
}
