use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use weir::columns::ColumnSet;
use weir::decode::{self, Decoder};
use weir::schema::{HiveType, Provenance, TableSchema, UnknownFields};

use super::*;
use crate::target::write_item;

const NOW: EpochMicros = EpochMicros(1_795_000_000_123_456);

fn plan(table: TableSchema, percent: Percentages) -> Plan {
    let carrier = Carrier::choose(&table, None).unwrap();
    let shares = Shares::new(percent).unwrap();
    Plan {
        table: Arc::new(table),
        carrier,
        tag: RunTag(0x1234_5678),
        seed: 5,
        shares,
        pad_to: 0,
        lines: None,
        of_changes: false,
        keys: Vec::new(),
    }
}

fn schemas() -> Vec<TableSchema> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    files.iter().map(|file| TableSchema::parse(&std::fs::read_to_string(file).unwrap()).unwrap()).collect()
}

/// Whether the table takes each event.
fn taken(plan: &Plan, events: &[Vec<u8>]) -> Vec<bool> {
    // Where a row came from is not in its document.
    let table = TableSchema { provenance: Provenance::Footer, ..(*plan.table).clone() };
    let mut decoder = Decoder::new(&table, decode::Path::Judge).unwrap();
    let mut set = ColumnSet::new(decoder.layout());
    let decode = |event: &Vec<u8>| {
        let utf8 = std::str::from_utf8(event).is_ok();
        decoder.decode(event, utf8, &mut set).map(|()| set.finish_row()).is_ok()
    };
    events.iter().map(decode).collect()
}

fn make(plan: &Plan, lanes: usize, count: u64) -> Vec<Vec<u8>> {
    let mut generators = Generator::lanes(plan, lanes).unwrap();
    let made = (0..count).map(|number| {
        let mut out = Vec::new();
        let event = plan.event(number, EpochMicros(NOW.0 + number as i64 * 1_000));
        generators[number as usize % lanes].write(plan, &event, &mut out);
        out
    });
    made.collect()
}

#[test]
fn every_table_takes_what_is_good_and_refuses_what_is_bad() {
    let percent = Percentages { late: 5.0, malformed: 5.0, violating: 20.0, duplicate: 1.0 };
    let tables = schemas();
    assert!(tables.len() >= 7);
    for table in tables {
        let name = table.name.clone();
        let plan = plan(table, percent);
        let events = make(&plan, 2, 3_000);
        assert_eq!(events, make(&plan, 2, 3_000), "{name}: the same seed");
        for (number, (event, taken)) in events.iter().zip(taken(&plan, &events)).enumerate() {
            let kind = plan.event(number as u64, NOW).fate.kind;
            assert_eq!(taken, kind.is_good(), "{name}: {kind:?}: {}", String::from_utf8_lossy(event));
            if !plan.carrier.is_numeric() {
                assert_eq!(plan.tag.find(event).map(|s| s.number), Some(number as u64), "{name}");
            }
        }
    }
}

#[test]
fn items_of_every_table_become_rows_of_their_changes_and_keys_are_never_broken() {
    let percent = Percentages { late: 5.0, malformed: 0.0, violating: 20.0, duplicate: 0.0 };
    // A change says more than the item: tables that refuse what they don't know are not for changes.
    for table in schemas().into_iter().filter(|t| t.unknown_fields != UnknownFields::Reject) {
        let mut plan = plan(table, percent);
        plan.of_changes = true;
        plan.keys = vec![plan.carrier.field().to_owned()];
        if plan.table.name == "orders_changes" {
            plan.keys = vec!["customer_id".to_owned(), "order_no".to_owned()];
        }
        // A key stands at the top of its item.
        let is_key = |c: &Column| c.name == plan.carrier.column() && c.from == [plan.carrier.field()];
        if !plan.table.columns.iter().any(is_key) {
            continue;
        }
        let name = plan.table.name.clone();
        let binary: Vec<String> = plan
            .table
            .columns
            .iter()
            .filter(|c| c.ty == HiveType::Binary)
            .map(|c| c.from[0].clone())
            .collect();
        let change = |event: &Vec<u8>| {
            let fields: serde_json::Value = serde_json::from_slice(event).unwrap();
            assert!(CHANGE_FIELDS.iter().all(|field| fields.get(field).is_none()), "{fields}");
            let mut item = Vec::new();
            write_item(event, &binary, &mut item);
            let item: serde_json::Value = serde_json::from_slice(&item).unwrap();
            let ty = |key: &String| item[key].as_object().unwrap().keys().next().unwrap().clone();
            assert!(plan.keys.iter().all(|key| ["S", "N"].contains(&ty(key).as_str())), "{name}: {item}");
            if name == "orders_changes" {
                assert_eq!(plan.keys.iter().map(ty).collect::<Vec<_>>(), ["S", "N"]);
            }
            let record = json!({"eventSource": "aws:dynamodb", "eventName": "INSERT", "dynamodb":
                {"SequenceNumber": "1", "ApproximateCreationDateTime": 1_795_000_000, "NewImage": item}});
            let mut document = Vec::new();
            weir::unpack::write_document(record.to_string().as_bytes(), &mut document).unwrap();
            document
        };
        let changes: Vec<Vec<u8>> = make(&plan, 2, 1_000).iter().map(change).collect();
        for (number, taken) in taken(&plan, &changes).into_iter().enumerate() {
            let kind = plan.event(number as u64, NOW).fate.kind;
            assert_eq!(
                taken,
                kind.is_good(),
                "{name}: {kind:?}: {}",
                String::from_utf8_lossy(&changes[number])
            );
        }
    }
}

#[test]
fn clickstream_has_sessions_that_go_through_a_funnel_and_pages_that_are_skewed() {
    let table = schemas().into_iter().find(|t| t.name == "clickstream").unwrap();
    let plan = plan(table, Percentages::default());
    let (mut sessions, mut pages, mut bytes) =
        (std::collections::HashMap::new(), std::collections::HashMap::new(), 0);
    let events = make(&plan, 1, 60_000);
    for event in &events {
        bytes += event.len();
        let event: serde_json::Value = serde_json::from_slice(event).unwrap();
        let session: &mut Vec<_> =
            sessions.entry(event["session_id"].as_str().unwrap().to_owned()).or_default();
        session.push((
            event["event_type"].as_str().unwrap().to_owned(),
            event["user_id"].clone(),
            event["ip"].clone(),
        ));
        *pages.entry(event["page_url"].as_str().unwrap().to_owned()).or_insert(0u32) += 1;
    }
    assert!((450..600).contains(&(bytes / events.len())), "{} bytes an event", bytes / events.len());
    for events in sessions.values() {
        assert!(events.iter().all(|e| (&e.1, &e.2) == (&events[0].1, &events[0].2)), "one visitor a session");
        if let Some(bought) = events.iter().position(|e| e.0 == "purchase") {
            assert!(events[..bought].iter().any(|e| e.0 == "add_to_cart"), "bought without a cart");
        }
    }
    let mut counts: Vec<u32> = pages.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    assert!(counts[0] > 5 * counts[20] && counts[0] > 50 * counts[counts.len() / 2], "{:?}", &counts[..25]);
}

#[test]
fn an_event_is_as_long_as_it_has_to_be() {
    for table in
        schemas().into_iter().filter(|t| ["clickstream", "access_log", "web_logs"].contains(&t.name.as_str()))
    {
        let name = table.name.clone();
        let plan = Plan { pad_to: 2_000, ..plan(table, Percentages::default()) };
        let events = make(&plan, 1, 200);
        assert!(
            events.iter().all(|e| (2_000..2_050).contains(&e.len())),
            "{name}: {:?}",
            events.iter().map(Vec::len).max()
        );
        assert!(taken(&plan, &events).into_iter().all(|taken| taken), "{name}");
    }
}

#[test]
fn a_column_that_no_value_can_be_made_for_is_named() {
    let cases = [
        (
            json!({"Name": "tight", "Type": "string", "Parameters": {"weir.pattern": "a{40}", "weir.max_length": "10"}}),
            "tight",
        ),
        (
            json!({"Name": "bounded", "Type": "timestamp", "Parameters": {"weir.min": "2020-01-01T00:00:00Z"}}),
            "bounded",
        ),
        (json!({"Name": "money", "Type": "decimal(9,2)", "Parameters": {"weir.max": "-1.00"}}), "money"),
    ];
    for (column, name) in cases {
        let id = json!({"Name": "id", "Type": "string"});
        let table = json!({"Name": "t", "StorageDescriptor": {"Columns": [id, column]}}).to_string();
        let plan = plan(TableSchema::parse(&table).unwrap(), Percentages::default());
        let problem = Generator::lanes(&plan, 1).unwrap_err().to_string();
        assert!(problem.contains(name) && problem.contains("table t"), "{problem}");
    }
    let none = json!({"Name": "t", "StorageDescriptor": {"Columns": [{"Name": "flag", "Type": "boolean"}]}})
        .to_string();
    assert!(
        Carrier::choose(&TableSchema::parse(&none).unwrap(), None)
            .unwrap_err()
            .to_string()
            .contains("table t")
    );
}

#[test]
fn replayed_lines_are_as_they_were_but_for_the_stamp() {
    let table = schemas().into_iter().find(|t| t.name == "clickstream").unwrap();
    let mut plan = plan(table, Percentages::default());
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/loadgen-tests");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("replay-{}.ndjson", std::process::id()));
    let lines = "{\"a\": 1, \"event_id\" : \"x\", \"b\":[1]}\n\n{}\n{\"b\":2}\n";
    std::fs::write(&file, lines).unwrap();
    plan.lines = Some(Lines::read(&file, &plan.carrier).unwrap());
    for (number, event) in make(&plan, 2, 6).into_iter().enumerate() {
        let parsed: serde_json::Value = serde_json::from_slice(&event).unwrap();
        let mut expected: serde_json::Value =
            serde_json::from_str(["{\"a\":1,\"b\":[1]}", "{}", "{\"b\":2}"][number % 3]).unwrap();
        expected["event_id"] = parsed["event_id"].clone();
        assert_eq!(parsed, expected);
        assert_eq!(plan.tag.find(&event).map(|s| s.number), Some(number as u64));
    }
    std::fs::write(&file, "[1]\n").unwrap();
    assert!(Lines::read(&file, &plan.carrier).unwrap_err().to_string().contains("line 1"));
    std::fs::remove_file(file).unwrap();
}
