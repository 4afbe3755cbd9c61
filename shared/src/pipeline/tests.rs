//! Where documents end up: rows of which partition, dead letters of which reason, or left to others.

use std::sync::Arc;

use super::*;
use crate::clock::EpochMicros;
use crate::commit::PositionSet;
use crate::dead_letter::Reason;
use crate::record::{Batch, Document, RecordId, Shard};
use crate::schema::TableSchema;

const NOW: EpochMicros = EpochMicros(1_767_322_000_000_000);

fn table(parameters: &str) -> Arc<TableSchema> {
    let definition = format!(
        r#"{{"Name": "t",
            "StorageDescriptor": {{"Columns": [{{"Name": "n", "Type": "bigint"}}]}},
            "PartitionKeys": [{{"Name": "k", "Type": "string"}}],
            "Parameters": {{{parameters} "weir.partition.k": "identity(k)"}}}}"#
    );
    Arc::new(TableSchema::parse(&definition).unwrap())
}

fn shard() -> Shard {
    Shard { stream: "s".into(), stream_key: "s".into(), shard: "0".into() }
}

fn rows(table: &Arc<TableSchema>, budget: usize) -> RowBuffers {
    RowBuffers::new(table.clone(), shard(), budget).unwrap()
}

fn id(n: usize) -> RecordId {
    RecordId { sequence: (n as u64).into(), subsequence: 0 }
}

#[test]
fn values_that_no_folder_can_say_are_dead_letters_and_the_rest_goes_on() {
    let table = table("");
    let mut rows = rows(&table, 1 << 20);
    let long = "x".repeat(300);
    let cases = [
        ("a", true),
        ("", false),
        ("__HIVE_DEFAULT_PARTITION__", false),
        (&long, false),
        ("ä/=%", true),
        ("a", true),
    ];
    for (n, (value, good)) in cases.into_iter().enumerate() {
        let document = serde_json::json!({"n": n, "k": value}).to_string();
        let letter = rows.push(document.as_bytes(), true, id(n), NOW).unwrap();
        assert_eq!(letter.map(|l| (l.reason, l.path)), (!good).then(|| (Reason::Constraint, "k".into())));
    }
    let files = rows.take_files().unwrap();
    assert_eq!(files.iter().map(|f| f.rows).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn unknown_fields_are_counted_once_a_row_and_only_names_are_told() {
    let table = table("");
    let mut rows = rows(&table, 1 << 20);
    for n in 0..10 {
        let key = if n % 2 == 0 { "a" } else { "b" };
        let document = format!(r#"{{"n": {n}, "k": "{key}", "zz": 1, "alice@example.com": 1}}"#);
        assert!(rows.push(document.as_bytes(), true, id(n), NOW).unwrap().is_none());
    }
    let counted: Vec<_> = rows.take_unknown_fields().into_iter().collect();
    assert_eq!(counted, [("*".to_owned(), 10), ("zz".to_owned(), 10)]);
}

#[test]
fn large_rows_are_encoded_before_they_fill_the_memory() {
    let table = table(r#""weir.unknown_fields": "rescue","#);
    let mut rows = rows(&table, 1 << 20);
    for n in 0..200 {
        // Text that does not repeat, so that no dictionary makes it small.
        let text: String = (0..60_000u64)
            .map(|i| char::from(b'a' + ((i * 2_654_435_761 + n as u64 * 97) >> 7) as u8 % 26))
            .collect();
        let document = format!(r#"{{"n": {n}, "k": "a", "text": "{text}"}}"#);
        assert!(rows.push(document.as_bytes(), true, id(n), NOW).unwrap().is_none());
    }
    assert!(rows.encoded_bytes() > 0, "12 MB went by with a budget of 1 MiB and nothing was encoded");
}

#[test]
fn a_table_without_a_route_takes_what_is_left_or_everything() {
    let (routed, all) = (table(r#""weir.route": "t=a","#), table(""));
    let quarantine = crate::quarantine::definition().unwrap();
    let quarantine = Arc::new(TableSchema::from_input(&quarantine).unwrap());
    let refused = |tables: &[&Arc<TableSchema>]| {
        let tables: Vec<_> = tables.iter().map(|table| Arc::clone(table)).collect();
        check_targets(&tables).err().map_or(String::new(), |error| error.to_string())
    };
    assert_eq!(refused(&[&all]), "");
    assert_eq!(refused(&[&routed, &routed, &all]), "");
    assert!(refused(&[&all, &routed]).contains("no `weir.route`"));
    assert!(refused(&[&all, &all]).contains("no `weir.route`"));
    assert!(refused(&[&quarantine]).contains("that other tables refuse"));
}

#[test]
fn what_no_route_takes_is_a_dead_letter_unless_the_stream_has_other_consumers() {
    let table = table(r#""weir.route": "t=a","#);
    let documents = [r#"{"t":"a","n":1,"k":"x"}"#, r#"{"t":"b","n":1,"k":"x"}"#, "not json"];
    let mut batch = Batch::default();
    for (n, text) in documents.iter().enumerate() {
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(text.as_bytes());
        let end = batch.bytes.len();
        batch.documents.push(Document { id: id(n), arrived_at: NOW, raw_start: start, start, end });
    }
    let positions: PositionSet = (0..3u64).map(Into::into).collect();
    let delivery = Delivery { batch: &batch, dead: &[], positions: &positions, now: NOW };
    let alone = Tables::new(&shard(), std::slice::from_ref(&table)).unwrap();
    let shared = Tables::new(&shard(), &[table]).unwrap().shared();
    let cases = [(alone, vec![("no_route", 2)], 0), (shared, vec![("malformed_json", 1)], 1)];
    for (mut tables, dead, left_to_others) in cases {
        let mut counts = BuildCounts::default();
        tables.build(&delivery, &positions, &|| true, &mut counts).unwrap();
        assert_eq!(counts.rows.into_iter().collect::<Vec<_>>(), [("t".to_owned(), 1)]);
        assert_eq!(counts.dead.into_iter().collect::<Vec<_>>(), dead);
        assert_eq!(counts.skipped_documents, left_to_others);
    }
}

#[test]
fn dates_are_read_from_numbers_as_the_day_in_utc_and_leap_seconds_are_refused() {
    let definition = r#"{"Name": "t", "StorageDescriptor": {"Columns": [
        {"Name": "at", "Type": "timestamp", "Parameters": {"weir.time_format": "%Y-%m-%d %H:%M:%S"}}]},
        "PartitionKeys": [{"Name": "d", "Type": "date", "Parameters": {"weir.time_format": "epoch_ms"}}],
        "Parameters": {"weir.partition.d": "identity(d)"}}"#;
    let table = Arc::new(TableSchema::parse(definition).unwrap());
    let mut rows = rows(&table, 1 << 20);
    for (n, (document, good)) in [
        (r#"{"d": 0}"#, true),
        (r#"{"d": -1}"#, true),
        (r#"{"d": "2026-01-01"}"#, false),
        (r#"{"at": "2026-01-01 23:59:59"}"#, true),
        (r#"{"at": "2026-01-01 23:59:60"}"#, false),
    ]
    .into_iter()
    .enumerate()
    {
        let letter = rows.push(document.as_bytes(), true, id(n), NOW).unwrap();
        assert_eq!(letter.is_none(), good, "{document}: {letter:?}");
    }
    let files = rows.take_files().unwrap();
    let days: Vec<_> = files.iter().map(|f| f.partition.as_str()).collect();
    assert_eq!(days, ["d=1970-01-01", "d=1969-12-31", "d=__HIVE_DEFAULT_PARTITION__"]);
}
