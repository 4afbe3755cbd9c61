//! Replays against a lake with letters: what they make of each, and that each is made once.
mod cases;
mod failures;
mod faults;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::{Columns, Letters, Mode, Replay, ReplayReport, Selection};
use crate::clock::EpochMicros;
use crate::commit::reader::live_files;
use crate::commit::{LakeStore, PositionSet, ShardWriter};
use crate::dead_letter::{DeadLetter, Reason};
use crate::error::Result;
use crate::pipeline::{BuildCounts, Delivery, Tables};
use crate::quarantine::StoredLetter;
use crate::record::{Batch, Document, RecordId, SequenceNumber, Shard};
use crate::schema::TableSchema;

const DAY: i64 = 86_400_000_000;
/// 2026-11-20T00:00:00Z
const DAY_ONE: i64 = 20_777 * DAY;

/// Table `name` whose `n` is at most `max`; the partition is the field `p`. With 100 the column is a
/// smallint, so that what fails again fails for another reason.
fn table(name: &str, max: u32, route: Option<&str>) -> Arc<TableSchema> {
    let route = route.map_or(String::new(), |route| format!(r#","weir.route":"{route}""#));
    let ty = if max == 100 { "smallint" } else { "int" };
    let definition = format!(
        r#"{{"Name":"{name}","TableType":"EXTERNAL_TABLE",
        "Parameters":{{"weir.partition.p":"identity(p)"{route}}},
        "PartitionKeys":[{{"Name":"p","Type":"string"}}],
        "StorageDescriptor":{{"Columns":[{{"Name":"n","Type":"{ty}","Parameters":{{"weir.max":"{max}","weir.required":"true"}}}}]}}}}"#
    );
    Arc::new(TableSchema::parse(&definition).unwrap())
}

fn shard(name: &str) -> Shard {
    Shard { stream: "clicks".into(), stream_key: "clicks-00000000".into(), shard: name.into() }
}

/// A record with its documents, one of them dead before it was decoded if `packed` is given.
struct Record {
    sequence: u64,
    arrived_at: EpochMicros,
    documents: Vec<String>,
    packed: Option<(Reason, Vec<u8>)>,
}

fn record(sequence: u64, documents: &[&str]) -> Record {
    let documents = documents.iter().map(|d| (*d).to_owned()).collect();
    Record { sequence, arrived_at: EpochMicros(DAY_ONE + sequence as i64), documents, packed: None }
}

/// Commit records as the function does.
async fn load(lake: &LakeStore, shard: &Shard, tables: &[Arc<TableSchema>], records: &[Record]) {
    let mut batch = Batch::default();
    let mut dead = Vec::new();
    for record in records {
        let sequence = SequenceNumber::from(record.sequence);
        for (subsequence, text) in (0..).zip(&record.documents) {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(text.as_bytes());
            let id = RecordId { sequence, subsequence };
            let end = batch.bytes.len();
            batch.documents.push(Document {
                id,
                arrived_at: record.arrived_at,
                raw_start: start,
                start,
                end,
            });
        }
        if let Some((reason, raw)) = &record.packed {
            let subsequence = record.documents.len() as u32;
            dead.push(DeadLetter {
                id: RecordId { sequence, subsequence },
                arrived_at: record.arrived_at,
                reason: *reason,
                path: String::new(),
                expected: "x".into(),
                found: "y".into(),
                raw: raw.clone(),
            });
        }
    }
    batch.bytes.reserve(crate::limits::DOCUMENT_PADDING_BYTES);
    let positions: PositionSet = records.iter().map(|r| r.sequence.into()).collect();
    let delivery = Delivery { batch: &batch, dead: &dead, positions: &positions, now: EpochMicros(DAY_ONE) };
    let mut tables = Tables::new(shard, tables).unwrap();
    let mut writer = ShardWriter::new(lake.clone(), shard.clone());
    let id = format!("load-{}", records[0].sequence);
    let mut build =
        |wanted: &PositionSet| tables.build(&delivery, wanted, &|| true, &mut BuildCounts::default());
    let _ = writer.commit(&positions, EpochMicros(DAY_ONE), &id, &mut build).await.unwrap();
}

async fn replay(
    lake: &LakeStore,
    tables: &[Arc<TableSchema>],
    selection: Selection,
    mode: Mode,
    run: &str,
) -> Result<ReplayReport> {
    let now = EpochMicros(DAY_ONE + 5 * DAY);
    Replay::new(lake.clone(), tables.to_vec(), selection, mode, (run, now)).run(&mut |_| ()).await
}

/// A row as a reader of the lake sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    table: String,
    stream: String,
    arrived_at: i64,
    n: i32,
}

type Key = (String, u64, u32);

/// What the lake holds: rows and letters by identity. Panics if an identity is there twice.
async fn seen(lake: &LakeStore) -> (BTreeMap<Key, Seen>, BTreeMap<Key, StoredLetter>) {
    let (mut rows, mut letters) = (BTreeMap::new(), BTreeMap::new());
    for listed in live_files(lake, None).await.unwrap() {
        let bytes = lake.get(&listed.key).await.unwrap();
        let bytes = bytes.unwrap_or_else(|| panic!("C1: {} is listed and gone", listed.key));
        let mut in_file = 0;
        if listed.file.quarantine {
            for letter in Letters::open(&listed.key, bytes, Columns::All).unwrap() {
                let letter = letter.unwrap();
                let id = letter.id;
                let key = (letter.shard.clone(), id.sequence.as_u64().unwrap(), id.subsequence);
                assert!(letters.insert(key.clone(), letter).is_none(), "C8: letter {key:?} twice");
                in_file += 1;
            }
        } else {
            for (key, row) in rows_of(bytes, &listed.file.table) {
                assert!(rows.insert(key.clone(), row).is_none(), "C2: row {key:?} twice");
                in_file += 1;
            }
        }
        assert!(in_file == listed.file.rows, "C2: {} holds other rows than its commit says", listed.key);
    }
    if let Some(both) = rows.keys().find(|key| letters.contains_key(*key)) {
        panic!("C2: {both:?} is a row and a letter");
    }
    (rows, letters)
}

fn rows_of(bytes: bytes::Bytes, table: &str) -> Vec<(Key, Seen)> {
    let reader = SerializedFileReader::new(bytes).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let columns: BTreeMap<String, Field> = row.unwrap().into_columns().into_iter().collect();
        let text = |name: &str| match &columns[name] {
            Field::Str(text) => text.clone(),
            other => panic!("{name}: {other:?}"),
        };
        let number = |name: &str| match &columns[name] {
            Field::Int(n) => *n,
            Field::Short(n) => i32::from(*n),
            other => panic!("{name}: {other:?}"),
        };
        let Field::TimestampMicros(arrived_at) = columns["_arrived_at"] else { panic!("no time") };
        let key = (text("_shard"), text("_sequence").parse().unwrap(), number("_subsequence") as u32);
        (key, Seen { table: table.to_owned(), stream: text("_stream"), arrived_at, n: number("n") })
    });
    rows.collect()
}

fn memory() -> LakeStore {
    LakeStore::open("memory:///", &[]).unwrap()
}
