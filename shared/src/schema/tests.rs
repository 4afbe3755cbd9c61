//! Whole definitions: what they parse to, what is refused and with which way out.

use std::path::PathBuf;
use std::time::Duration;

use arrow_schema::DataType;
use serde_json::{Value, json};

use super::*;

/// A small table that uses most settings.
fn base() -> Value {
    json!({
        "Name": "events",
        "Owner": "team-a",
        "StorageDescriptor": {
            "NumberOfBuckets": -1,
            "Columns": [
                {"Name": "id", "Type": "string", "Comment": "client's", "Parameters": {"weir.required": "true"}},
                {"Name": "event_time", "Type": "timestamp", "Parameters": {"weir.time_format": "epoch_ms"}},
                {"Name": "price", "Type": "decimal(10,2)", "Parameters": {"weir.min": "0", "weir.max": "99.5"}},
                {"Name": "kind", "Type": "string", "Parameters": {
                    "weir.enum": "a,b", "weir.default": "\"a\"", "weir.transform": "trim,lower", "weir.pattern": "[a-z]"}},
                {"Name": "orig_h", "Type": "string", "Parameters": {"weir.from": "id.orig_h"}},
                {"Name": "lat", "Type": "double", "Parameters": {"weir.from": "/geo/lat"}},
                {"Name": "items", "Type": "array<struct<sku:string,seller:struct<user_id:int>>>", "Parameters": {
                    "weir.from.sku": "SKU", "weir.from.seller.user_id": "/userId"}},
                {"Name": "extra", "Type": "string", "Parameters": {"weir.json": "true"}}
            ]
        },
        "PartitionKeys": [
            {"Name": "dt", "Type": "string"},
            {"Name": "region", "Type": "string", "Parameters": {"weir.required": "true", "weir.from": "Region"}}
        ],
        "Parameters": {
            "team": "a",
            "weir.event_time": "event_time",
            "weir.partition.dt": "day(event_time)",
            "weir.partition.region": "identity(region)",
            "weir.allowed_lateness": "1h30m",
            "weir.max_future": "1h",
            "weir.unknown_fields": "rescue",
            "weir.dedupe_key": "id",
            "weir.sort": "event_time",
            "weir.on_close": "aggregate:sessions, job:x, state-machine:arn:aws:states:eu-west-1:1:stateMachine:s,event",
            "weir.bloom": "id",
            "weir.route": "/meta/type=click"
        }
    })
}

/// `base` with one member set (or removed with null).
fn with(pointer: &str, value: Value) -> String {
    let mut definition = base();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    match definition.pointer_mut(parent).unwrap() {
        Value::Array(list) if member == "-" => list.push(value),
        Value::Array(list) => list[member.parse::<usize>().unwrap()] = value,
        parent if value.is_null() => drop(parent.as_object_mut().unwrap().remove(member)),
        parent => parent[member] = value,
    }
    definition.to_string()
}

#[test]
fn a_definition_parses_to_what_it_says() {
    let table = TableSchema::parse(&base().to_string()).unwrap();
    assert_eq!(table.name, "events");
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["id", "event_time", "price", "kind", "orig_h", "lat", "items", "extra", "region"]);
    assert_eq!(table.in_file, [true, true, true, true, true, true, true, true, false]);
    let froms: Vec<String> = table.columns.iter().map(|c| c.from.join(" > ")).collect();
    assert_eq!(
        froms,
        ["id", "event_time", "price", "kind", "id.orig_h", "geo > lat", "items", "extra", "Region"]
    );
    assert!(table.columns[0].required && table.columns[8].required && !table.columns[1].required);
    assert_eq!(table.columns[0].comment.as_deref(), Some("client's"));
    assert_eq!(table.columns[1].time_format, TimeFormat::EpochMillis);
    assert_eq!((table.columns[2].min.as_deref(), table.columns[2].max.as_deref()), (Some("0"), Some("99.5")));
    let kind = &table.columns[3];
    assert_eq!(kind.allowed.as_deref(), Some(["a".to_owned(), "b".to_owned()].as_slice()));
    assert_eq!(kind.default.as_deref(), Some("\"a\""));
    assert_eq!(kind.transforms, [Transform::Trim, Transform::Lower]);
    assert!(kind.pattern.as_ref().is_some_and(|p| p.is_match("a") && !p.is_match("ab")));
    let HiveType::Array(item) = &table.columns[6].ty else { panic!("{:?}", table.columns[6].ty) };
    let HiveType::Struct(fields) = item.as_ref() else { panic!("{item:?}") };
    let HiveType::Struct(seller) = &fields[1].ty else { panic!("{fields:?}") };
    assert_eq!([&fields[0].key, &fields[1].key, &seller[0].key], ["SKU", "seller", "userId"]);
    assert!(table.columns[7].json);
    let keys: Vec<_> =
        table.partition_keys.iter().map(|k| (k.name.as_str(), k.granularity, k.column)).collect();
    assert_eq!(keys, [("dt", Granularity::Day, 1), ("region", Granularity::Identity, 8)]);
    assert_eq!(table.event_time, Some(1));
    assert_eq!(table.allowed_lateness, Duration::from_secs(5_400));
    assert_eq!((table.max_future, table.max_age), (Some(Duration::from_secs(3_600)), None));
    assert_eq!(table.unknown_fields, UnknownFields::Rescue);
    assert_eq!(table.route, Some(Route { path: vec!["meta".into(), "type".into()], value: "click".into() }));
    assert_eq!((table.compression, table.provenance), (Compression::Zstd, Provenance::Columns));
    assert_eq!(table.bloom, ["id"]);
    assert_eq!((table.sort, table.dedupe_key), (vec!["event_time".into()], vec!["id".into()]));
    assert_eq!((table.compact_bytes, table.current), (256 << 20, None));
    let actions: Vec<_> = table.on_close.iter().map(CloseAction::to_string).collect();
    let machine = "state-machine:arn:aws:states:eu-west-1:1:stateMachine:s";
    assert_eq!(actions, ["aggregate:sessions", "job:x", machine, "event"]);
    assert_eq!(table.version.len(), 16);
}

#[test]
fn the_file_holds_own_then_rescued_then_provenance_columns() {
    let schema = TableSchema::parse(&base().to_string()).unwrap().file_schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let own = ["id", "event_time", "price", "kind", "orig_h", "lat", "items", "extra"];
    let added =
        ["_rescued", "_rescued_truncated", "_stream", "_shard", "_sequence", "_subsequence", "_arrived_at"];
    assert_eq!(names, [own.as_slice(), &added].concat());
    assert_eq!(schema.field(13).data_type(), &DataType::Int32);

    let bare = with("/Parameters/weir.provenance", json!("footer"));
    let bare = TableSchema::parse(&bare.replace("rescue", "ignore")).unwrap().file_schema();
    assert_eq!(bare.fields().len(), own.len());
}

#[test]
fn bare_and_completed_definitions_are_the_same_table() {
    for provenance in ["columns", "footer"] {
        for unknown in ["ignore", "rescue", "reject"] {
            let text = with("/Parameters/weir.provenance", json!(provenance)).replace("rescue", unknown);
            let bare = TableInput::from_json(&text).unwrap();
            let completed = bare.complete().unwrap();
            let (a, b) =
                (TableSchema::from_input(&bare).unwrap(), TableSchema::from_catalog(&completed).unwrap());
            assert_eq!((&a.version, a.columns.len()), (&b.version, b.columns.len()));
            assert_eq!(a.file_schema(), b.file_schema());
            assert_eq!(completed.complete().unwrap(), completed);
            let declared: Vec<&String> =
                completed.storage_descriptor.columns.iter().map(|c| &c.name).collect();
            let file = a.file_schema();
            assert_eq!(declared, file.fields().iter().map(|f| f.name()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn completed_definitions_are_what_glue_and_athena_take() {
    let text = with("/StorageDescriptor/Columns/5/Type", json!("DOUBLE"));
    let completed = TableInput::from_json(&text).unwrap().complete().unwrap();
    let json: Value = serde_json::from_str(&completed.to_json().unwrap()).unwrap();
    for (pointer, value) in [
        ("/Owner", json!("team-a")),
        ("/StorageDescriptor/NumberOfBuckets", json!(-1)),
        ("/Parameters/team", json!("a")),
        ("/Parameters/classification", json!("parquet")),
        ("/TableType", json!("EXTERNAL_TABLE")),
        ("/StorageDescriptor/Columns/5/Type", json!("double")),
        (
            "/StorageDescriptor/SerdeInfo/SerializationLibrary",
            json!("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"),
        ),
    ] {
        assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[test]
fn the_version_covers_what_decides_how_records_become_rows() {
    let version = |text: &str| TableSchema::parse(text).unwrap().version;
    let first = version(&base().to_string());
    for (pointer, value, same) in [
        ("/StorageDescriptor/Columns/0/Comment", json!("other"), true),
        ("/Parameters/team", json!("b"), true),
        ("/Description", json!("d"), true),
        ("/StorageDescriptor/Columns/2/Type", json!("DECIMAL( 10 , 2 )"), true),
        ("/StorageDescriptor/Columns/0/Parameters", json!({}), false),
        ("/StorageDescriptor/Columns/2/Type", json!("decimal(11,2)"), false),
        ("/Parameters/weir.max_future", json!("2h"), false),
        ("/Parameters/weir.on_close", Value::Null, false),
        ("/PartitionKeys/1/Parameters", json!({}), false),
    ] {
        assert_eq!(version(&with(pointer, value)) == first, same, "{pointer}");
    }
}

#[test]
fn a_table_that_lost_settings_is_an_error_with_the_way_out() {
    let mut completed = TableInput::from_json(&base().to_string()).unwrap().complete().unwrap();
    completed.parameters.remove("weir.max_future");
    let error = TableSchema::from_catalog(&completed).unwrap_err().to_string();
    assert!(error.contains("lost settings") && error.contains("weir tables apply"), "{error}");
    completed.parameters.retain(|name, _| !name.starts_with("weir."));
    let error = TableSchema::from_catalog(&completed).unwrap_err().to_string();
    assert!(error.contains("no parameter `weir.schema_hash`"), "{error}");
}

#[test]
fn wrong_definitions_are_refused_with_the_reason() {
    let column = |json: Value| ("/StorageDescriptor/Columns/-", json);
    let ruled = |ty: &str, name: &str, value: &str| {
        column(json!({"Name": "c", "Type": ty, "Parameters": {name: value}}))
    };
    let setting = |name: &str, value: &str| (format!("/Parameters/{name}"), json!(value));
    let mut cases: Vec<((String, Value), &str)> = Vec::new();
    for ((pointer, value), message) in [
        (
            column(json!({"Name": "id.orig_h", "Type": "int"})),
            "{\"Name\": \"id_orig_h\", \"Type\": \"int\", \"Parameters\": {\"weir.from\": \"id.orig_h\"}}",
        ),
        (column(json!({"Name": "order", "Type": "int"})), "`order` is a reserved word in Athena"),
        (column(json!({"Name": "dt", "Type": "int"})), "a partition key is never also a column"),
        (column(json!({"Name": "id", "Type": "int"})), "`id` is declared twice"),
        (
            column(json!({"Name": "_stream", "Type": "string"})),
            "`_stream` is one that Weir adds itself; name it `stream`",
        ),
        (column(json!({"Name": "_rescued", "Type": "string"})), "`_rescued` is one that Weir adds itself"),
        (column(json!({"Name": "c", "Type": "array<long>"})), "column `c`: type `array<long>`, position 7"),
        (
            column(json!({"Name": "c", "Type": "int", "Parameters": {"weir.from": "id"}})),
            "column `c` would be read from what column `id` holds",
        ),
        (
            column(json!({"Name": "c", "Type": "int", "Parameters": {"weir.from": "/geo"}})),
            "column `lat` would be read from what column `c` holds",
        ),
        (
            ruled("string", "weir.min", "1"),
            "column `c`: `weir.min`: only numbers and times have bounds, the column is string",
        ),
        (ruled("tinyint", "weir.max", "200"), "`200` is not a number of type tinyint (-128 to 127)"),
        (ruled("timestamp", "weir.min", "yesterday"), "is not a time as `2026-11-20T05:00:00Z`"),
        (ruled("string", "weir.pattern", "a)(b"), "`weir.pattern`: regex parse error"),
        (ruled("int", "weir.pattern", "1"), "only for text, the column is int"),
        (ruled("int", "weir.enum", "1"), "only for text"),
        (ruled("string", "weir.max_length", "ten"), "expected a number of characters, found `ten`"),
        (ruled("string", "weir.default", "a"), "write the text with its quotes: `\"a\"`"),
        (ruled("int", "weir.default", "\"1\""), "expected a JSON value of type int, found \"1\""),
        (ruled("decimal(4,2)", "weir.default", "1.005"), "more digits than decimal(4,2) holds"),
        (ruled("string", "weir.transform", "rot13"), "expected trim, lower, upper or sha256, found `rot13`"),
        (ruled("string", "weir.required", "yes"), "expected `true` or `false`, found `yes`"),
        (ruled("int", "weir.json", "true"), "only a string column holds JSON text"),
        (ruled("string", "weir.time_format", "epoch_s"), "only for timestamp and date columns"),
        (ruled("timestamp", "weir.time_format", "unix"), "none of rfc3339, epoch_s"),
        (ruled("struct<a:int>", "weir.from.b", "B"), "no field `b` in the struct (it has a)"),
        (ruled("struct<a:int,b:int>", "weir.from.a", "b"), "fields `a` and `b` would both be read from `b`"),
        (ruled("struct<a:int>", "weir.from.a", "/x/a"), "a struct field is read from one key"),
        (ruled("string", "weir.requird", "true"), "the nearest is `weir.required`"),
    ] {
        cases.push(((pointer.to_owned(), value), message));
    }
    cases.extend([
        (setting("projection.enabled", "true"), "ignore the partitions that Weir registers"),
        (setting("weir.max_agee", "1d"), "the nearest is `weir.max_age`"),
        (setting("weir.allowed_lateness", "ten minutes"), "write `10m`, `7d` or `1h30m`"),
        (setting("weir.unknown_fields", "drop"), "expected one of ignore, rescue, reject, found `drop`"),
        (setting("weir.event_time", "ts"), "no column `ts`"),
        (setting("weir.event_time", "id"), "expected a timestamp or date column, `id` is string"),
        (
            setting("weir.partition.hour", "hour(event_time)"),
            "no partition key `hour`; declare it in PartitionKeys",
        ),
        (
            setting("weir.partition.dt", "week(event_time)"),
            "expected year(col), month(col), day(col), hour(col) or identity(col)",
        ),
        (setting("weir.partition.dt", "day(id)"), "expected a timestamp or date column, `id` is string"),
        (setting("weir.partition.dt", "identity(id)"), "takes the column out of the file"),
        (setting("weir.bloom", "region"), "no column `region` in the files"),
        (setting("weir.bloom", "items"), "has no bloom filter"),
        (setting("weir.sort", "nothing"), "`weir.sort`: no column `nothing` in the files"),
        (setting("weir.dedupe_key", "items"), "have no order"),
        (setting("weir.on_close", "crawl:x"), "`crawl:x` is no action; write `aggregate:NAME`"),
        (setting("weir.on_close", "job:"), "`job:` is no action"),
        (setting("weir.on_close", "event,event"), "`event` stands there twice"),
        (setting("weir.compact_size", "1GB"), "expected a size from `128MB` to `512MB`, found `1GB`"),
        (setting("weir.current", "Orders"), "name it `orders`"),
        (setting("weir.route", "click"), "expected `field=value`, found `click`"),
        (setting("weir.schema_hash", "0000000000000000"), "lost settings outside Weir"),
        (
            ("/Parameters/weir.partition.dt".to_owned(), Value::Null),
            "example: \"weir.partition.dt\": \"day(event_time)\"",
        ),
        (("/Parameters/weir.event_time".to_owned(), Value::Null), "`weir.max_future` bounds the event time"),
        (("/PartitionKeys/0/Type".to_owned(), json!("date")), "Type is `string`"),
        (
            ("/PartitionKeys/1/Type".to_owned(), json!("double")),
            "identity takes text, whole numbers, dates and booleans",
        ),
        (("/Name".to_owned(), json!("Click-Stream")), "name it `click_stream`"),
        (("/StorageDescriptor/Columns".to_owned(), json!([])), "it has no columns"),
        (
            ("/StorageDescriptor/InputFormat".to_owned(), json!("org.apache.hadoop.mapred.TextInputFormat")),
            "Weir writes Parquet",
        ),
        (
            ("/StorageDescriptor".to_owned(), Value::Null),
            "not a Glue TableInput: missing field `StorageDescriptor`",
        ),
    ]);
    for ((pointer, value), message) in cases {
        let text = with(&pointer, value.clone());
        let error = TableSchema::parse(&text).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(message), "{pointer} {value}\n  gave: {error}\n  not: {message}");
    }
}

#[test]
fn defaults_keep_the_other_rules_of_their_column() {
    for (rule, value, default) in [
        ("weir.enum", "a,b", "\"c\""),
        ("weir.pattern", "[a-z]+", "\"A\""),
        ("weir.max_length", "1", "\"ab\""),
        ("weir.required", "true", "null"),
    ] {
        let parameters = json!({rule: value, "weir.default": default});
        let column = json!({"Name": "c", "Type": "string", "Parameters": parameters});
        let error = TableSchema::parse(&with("/StorageDescriptor/Columns/-", column)).unwrap_err();
        assert!(error.to_string().contains("`weir.default`: "), "{error}");
    }
}

fn schemas_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

#[test]
fn shipped_definitions_parse_complete_and_round_trip() {
    let mut count = 0;
    for entry in std::fs::read_dir(schemas_folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let input = TableInput::from_json(&text).unwrap();
        let given: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_value(&input).unwrap(), given, "{}", path.display());
        let table = TableSchema::parse(&text).unwrap();
        assert_eq!(path.file_stem().unwrap().to_str(), Some(table.name.as_str()));
        let completed = input.complete().unwrap();
        assert_eq!(completed.complete().unwrap(), completed);
        assert_eq!(TableInput::from_json(&completed.to_json().unwrap()).unwrap(), completed);
        assert_eq!(TableSchema::from_catalog(&completed).unwrap().version, table.version);
        // No record is loaded into a table that a job fills.
        let kinds: &[&str] = if table.job.is_none() { &["good", "bad"] } else { &[] };
        for kind in kinds {
            let samples = schemas_folder().join(format!("samples/{}.{kind}.ndjson", table.name));
            assert_eq!(std::fs::read_to_string(&samples).unwrap().lines().count(), 3, "{samples:?}");
        }
    }
    assert_eq!(count, 13);
}
