//! A lake of small files, the naive model of what becomes of their rows, and a reader of the result.

use std::cmp::Ordering;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::clock::{EpochMicros, ManualClock};
use crate::commit::LakeStore;
use crate::compact::*;
use crate::schema::{HiveType, TableSchema};
use crate::write::tests::model::{Random, Tree, oracle, random_type, random_value, table, write};

pub(super) type Row = Vec<Tree>;

pub(super) const DIRECTORY: &str = "t/closed/dt=1/r0001-abc";
pub(super) const WORK: &str = "_work/r0001";

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Put files of one row group per inner vector.
pub(super) async fn put(lake: &LakeStore, table: &TableSchema, files: &[Vec<Vec<Row>>]) -> Vec<Input> {
    let mut inputs = Vec::new();
    for (i, groups) in files.iter().enumerate() {
        let groups: Vec<&[Row]> = groups.iter().map(Vec::as_slice).collect();
        let bytes = write(table, &groups);
        let key = format!("t/live/dt=1/{i:05}-{}.parquet", table.version);
        let rows = groups.iter().map(|rows| rows.len() as u64).sum();
        inputs.push(Input { key: key.clone(), rows, bytes: bytes.len() as u64 });
        let _ = lake.put_if_absent(&key, Bytes::from(bytes)).await.unwrap();
    }
    inputs
}

/// Everything that a test does not vary.
pub(super) fn compaction<'a>(
    schema: &'a TableSchema,
    inputs: &'a [Input],
    scratch: &'a Path,
    memory: u64,
) -> Compaction<'a> {
    let limits = Limits { memory, ..Limits::default() };
    let until = EpochMicros(i64::MAX);
    Compaction { schema, inputs, directory: DIRECTORY, work: WORK, scratch, limits, until }
}

pub(super) fn memory_lake() -> LakeStore {
    LakeStore::open("memory:///", &[]).unwrap()
}

/// A random table whose first columns can be sorted, and rows of it in files.
pub(super) fn world(random: &mut Random, rows: u64) -> (TableSchema, Vec<Vec<Vec<Row>>>) {
    let mut columns: Vec<(String, HiveType)> =
        (0..3).map(|i| (format!("k{i}"), random_type(random, 0))).collect();
    columns.extend((0..3).map(|i| (format!("c{i}"), random_type(random, 2))));
    let mut schema = table(&columns);
    schema.version = "1".into();
    schema.sort = (0..random.below(3)).map(|i| format!("k{i}")).collect();
    schema.dedupe_key = (0..random.below(3)).map(|i| format!("k{}", 2 - i)).collect();
    schema.compact_bytes = 2_000 + random.below(20_000);
    schema.bloom = vec!["k0".into(), "c1".into()];
    let nulls = 2 + random.below(8);
    let row = |random: &mut Random| columns.iter().map(|(_, ty)| random_value(random, ty, nulls)).collect();
    let group = |random: &mut Random| (0..1 + random.below(rows)).map(|_| row(random)).collect();
    let file = |random: &mut Random| (0..1 + random.below(2)).map(|_| group(random)).collect();
    let files = (0..1 + random.below(6)).map(|_| file(random)).collect();
    (schema, files)
}

/// What becomes of the rows of some files.
pub(super) fn expected(schema: &TableSchema, files: &[Vec<Vec<Row>>]) -> Vec<Row> {
    let rows: Vec<Row> = files.iter().flatten().flatten().cloned().collect();
    let numbers = |names: &[String]| -> Vec<usize> {
        names.iter().map(|n| schema.columns.iter().position(|c| c.name == *n).unwrap()).collect()
    };
    model(&rows, &numbers(&schema.sort), &numbers(&schema.dedupe_key), None)
}

/// What the plan that stands in the work folder says.
pub(super) async fn plan(lake: &LakeStore) -> serde_json::Value {
    serde_json::from_slice(&lake.get(&format!("{WORK}/plan")).await.unwrap().unwrap()).unwrap()
}

pub(super) fn clock() -> ManualClock {
    ManualClock::at(EpochMicros(1_000_000))
}

/// Until it is finished.
pub(super) async fn compact(lake: &LakeStore, compaction: &Compaction<'_>) -> Compacted {
    for _ in 0..1_000 {
        if let Progress::Finished(compacted) = run(lake, &clock(), compaction).await.unwrap() {
            return compacted;
        }
    }
    panic!("a thousand invocations do not finish it");
}

/// All rows that readers see, in the order of the files.
pub(super) async fn read(lake: &LakeStore, compacted: &Compacted) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for file in &compacted.files {
        let bytes = lake.get(&format!("{DIRECTORY}/{}", file.name)).await.unwrap().unwrap();
        assert_eq!(bytes.len() as u64, file.bytes, "{}", file.name);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let read: Vec<_> = builder.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
        assert_eq!(read.iter().map(|b| b.num_rows() as u64).sum::<u64>(), file.rows, "{}", file.name);
        batches.extend(read);
    }
    batches
}

/// Compare what was read with what the model says, column by column.
pub(super) fn assert_rows(table: &TableSchema, found: &[RecordBatch], expected: &[Row]) {
    let oracle = oracle(table, expected);
    let found = match found.first() {
        Some(first) => concat_batches(&first.schema(), found).unwrap(),
        None => return assert!(expected.is_empty(), "no rows, expected {}", expected.len()),
    };
    assert_eq!(found.num_rows(), expected.len());
    for (i, column) in table.columns.iter().enumerate() {
        let expected = oracle.column(i);
        let found = arrow::compute::cast(found.column(i), expected.data_type()).unwrap();
        assert_eq!(&found, expected, "column {} of type {}", column.name, column.ty);
    }
}

/// The order of `weir.sort`: ascending, nulls last, NaN before them.
pub(super) fn compare(a: &Tree, b: &Tree) -> Ordering {
    match (a, b) {
        (Tree::Null, Tree::Null) => Ordering::Equal,
        (Tree::Null, _) => Ordering::Greater,
        (_, Tree::Null) => Ordering::Less,
        (Tree::Bool(a), Tree::Bool(b)) => a.cmp(b),
        (Tree::Int(a), Tree::Int(b)) => a.cmp(b),
        (Tree::Float(a), Tree::Float(b)) => (a + 0.0).total_cmp(&(b + 0.0)),
        (Tree::Text(a), Tree::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Tree::Binary(a), Tree::Binary(b)) => a.cmp(b),
        (a, b) => panic!("{a:?} and {b:?} are not compared"),
    }
}

/// What becomes of rows that arrive in this order; `arrived` is the number of a column of times.
pub(super) fn model(rows: &[Row], sort: &[usize], dedupe: &[usize], arrived: Option<usize>) -> Vec<Row> {
    let same = |a: &Row, b: &Row| dedupe.iter().all(|&c| a[c] != Tree::Null && compare(&a[c], &b[c]).is_eq());
    let time = |row: &Row| match arrived.map(|c| &row[c]) {
        Some(Tree::Int(time)) => *time,
        _ => 0,
    };
    let loses = |i: usize| {
        !dedupe.is_empty()
            && rows
                .iter()
                .enumerate()
                .any(|(j, other)| j != i && same(&rows[i], other) && (time(other), j) < (time(&rows[i]), i))
    };
    let mut kept: Vec<Row> = (0..rows.len()).filter(|&i| !loses(i)).map(|i| rows[i].clone()).collect();
    kept.sort_by(|a, b| {
        sort.iter().map(|&c| compare(&a[c], &b[c])).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    });
    kept
}
