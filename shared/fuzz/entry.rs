//! Any bytes → one call of what reads foreign bytes, with what must hold after it. Called by the
//! fuzz targets and, for mutated seeds, by `shared/tests/robustness`. A broken promise is a panic.
#![allow(dead_code, clippy::unwrap_used, reason = "each target uses a part; a panic is the finding")]

use std::collections::HashSet;

use bytes::Bytes;
use md5::{Digest, Md5};
use weir::clock::EpochMicros;
use weir::columns::ColumnSet;
use weir::commit::encoding::{decode_numbers, decode_set, encode_numbers, encode_set};
use weir::commit::format::Commit;
use weir::decode::{Decoder, Path};
use weir::event::ParsedEvent;
use weir::record::Batch;
use weir::schema::TableSchema;
use weir::unpack::{
    RecordHead, StreamRecord, UnpackCounts, UnpackLimits, Unpacked, Unpacker, write_document,
};
use weir::write::{Encoder, FileFormat, FileWriter};

/// Small, so that bombs are small too.
pub(crate) const LIMITS: UnpackLimits =
    UnpackLimits { record_bytes: 1 << 20, batch_bytes: 4 << 20, record_documents: 100_000 };
const KPL_MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// The text of a Lambda event.
pub(crate) fn event(bytes: &[u8]) {
    let mut parsed = ParsedEvent::default();
    if parsed.parse(&mut Unpacker::new(LIMITS), bytes).is_ok() {
        assert_eq!(parsed.counts.records, parsed.sequences.len() as u64, "a record is lost or twice");
        assert_eq!(parsed.origin.is_some(), !parsed.sequences.is_empty() || parsed.untaken_from.is_some());
        let sequences: HashSet<_> = parsed.sequences.iter().collect();
        for document in &parsed.batch.documents {
            assert!(sequences.contains(&document.id.sequence));
            parsed.batch.payload(document);
        }
    }
}

/// The payload of a record.
pub(crate) fn unpack(bytes: &[u8]) {
    let head = RecordHead { sequence: 7.into(), arrived_at: EpochMicros(1) };
    let (mut batch, mut dead, mut counts) = (Batch::default(), Vec::new(), UnpackCounts::default());
    let record = StreamRecord { head, payload: bytes };
    let taken = Unpacker::new(LIMITS).unpack(&mut batch, &mut dead, &mut counts, record);
    assert_eq!(taken, Unpacked::Taken, "the first record always fits");
    let found = batch.documents.len() + dead.len();
    assert!(found as u64 + counts.control_messages > 0, "the record is lost");
    let mut numbers: Vec<_> = batch.documents.iter().map(|d| d.id.subsequence).collect();
    numbers.extend(dead.iter().map(|letter| letter.id.subsequence));
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..found as u32), "sub-sequence numbers have gaps");
    assert!(batch.documents.iter().all(|d| d.start <= d.end && d.end <= batch.bytes.len()));
    // Envelopes and newlines go; what is written around log events counts as inflated.
    assert!(batch.bytes.len() <= bytes.len() + LIMITS.record_bytes, "more than the bound");
}

/// A change of an item: its document is JSON, and no longer than the change and its fields.
pub(crate) fn change(bytes: &[u8]) {
    let mut document = Vec::new();
    let written = write_document(bytes, &mut document);
    let as_is = document == bytes;
    if written.is_ok() && !as_is && std::str::from_utf8(bytes).is_ok() {
        assert!(document.len() <= bytes.len() + 64, "longer than the change");
        serde_json::from_slice::<&serde_json::value::RawValue>(&document).unwrap();
    }
    unpack(bytes);
}

/// The message of an aggregate: with its digest, so that what is behind it is met.
pub(crate) fn kpl(message: &[u8]) {
    unpack(&[&KPL_MAGIC[..], message, &Md5::digest(message)[..]].concat());
}

/// Documents, one a line: either path of decode has the same rows and refusals.
pub(crate) fn decode(bytes: &[u8]) {
    thread_local! {
        static TABLES: [TableSchema; 2] = [
            TableSchema::parse(EVERY_TYPE).unwrap(),
            TableSchema::parse(include_str!("../../schemas/clickstream.json")).unwrap(),
        ];
    }
    TABLES.with(|tables| {
        for table in tables {
            let (fast, judge) = (decoded(table, bytes, Path::Fast), decoded(table, bytes, Path::Judge));
            assert!(fast == judge, "{}: cursor and tape differ", table.name);
        }
    });
}

/// Refusals by line, and the file of the rows.
fn decoded(table: &TableSchema, bytes: &[u8], path: Path) -> (Vec<String>, Vec<u8>) {
    let mut decoder = Decoder::new(table, path).unwrap();
    let layout = decoder.layout().clone();
    let mut set = ColumnSet::new(&layout);
    let mut refusals = Vec::new();
    for line in bytes.split(|b| *b == b'\n') {
        let utf8 = std::str::from_utf8(line).is_ok();
        match decoder.decode(line, utf8, &mut set) {
            Ok(()) => {
                if let Some(first) = layout.provenance {
                    set.push_null(first..first + 5, 0, 0);
                }
                set.finish_row();
            }
            Err(refusal) => refusals.push(format!("{refusal:?}")),
        }
    }
    let format = FileFormat::new(&layout, table.compression, &[]).unwrap();
    let mut writer = FileWriter::new(&format);
    writer.write_row_group(&set, &mut Encoder::new()).unwrap();
    (refusals, writer.finish(&[]).unwrap())
}

/// An object of the commit log, and the set in it alone.
pub(crate) fn commit(bytes: &[u8]) {
    let object = Bytes::copy_from_slice(bytes);
    if let Ok(commit) = Commit::decode("fuzz", &object)
        && let Ok(set) = commit.set("fuzz")
    {
        let again = Commit::encode(&commit.header, &set).unwrap();
        let again = Commit::decode("fuzz", &again).unwrap();
        assert_eq!((&again.header, again.set("fuzz").unwrap()), (&commit.header, set));
    }
    if let Ok(set) = decode_set(bytes) {
        assert_eq!(decode_set(&encode_set(&set).unwrap()).unwrap(), set);
    }
    if let Ok(numbers) = decode_numbers(bytes) {
        assert_eq!(decode_numbers(&encode_numbers(&numbers).unwrap()).unwrap(), numbers);
    }
}

const EVERY_TYPE: &str = r#"{
  "Name": "every_type",
  "StorageDescriptor": {"Columns": [
    {"Name": "s", "Type": "string"}, {"Name": "v", "Type": "varchar(5)"},
    {"Name": "b", "Type": "boolean"}, {"Name": "t", "Type": "tinyint"},
    {"Name": "i", "Type": "int"}, {"Name": "l", "Type": "bigint"},
    {"Name": "f", "Type": "float"}, {"Name": "d", "Type": "double"},
    {"Name": "p", "Type": "decimal(9,2)"}, {"Name": "q", "Type": "decimal(38,10)"},
    {"Name": "at", "Type": "timestamp"}, {"Name": "day", "Type": "date"},
    {"Name": "e", "Type": "timestamp", "Parameters": {"weir.time_format": "epoch_ms"}},
    {"Name": "y", "Type": "binary"},
    {"Name": "a", "Type": "array<array<int>>"},
    {"Name": "m", "Type": "map<string,array<string>>"},
    {"Name": "o", "Type": "struct<x:int,y:struct<z:string>,w:array<struct<k:double>>>"}
  ]},
  "Parameters": {"weir.provenance": "footer", "weir.unknown_fields": "rescue"}
}"#;
