//! The deployed function with a Glue catalog: tables as Weir, the AWS CLI and a crawler make them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weir_tests::aws::{Aws, StandIn};
use weir_tests::binaries;
use weir_tests::lake::Lake;
use weir_tests::process;
use weir_tests::runtime_api::Function;

use super::{both, database};

fn function(aws: &Aws, lake: &Lake, database: &str, table: &str) -> Result<Function, String> {
    let settings = [
        ("WEIR_LAKE", lake.url()),
        ("WEIR_CATALOG", format!("glue://{database}")),
        ("WEIR_TABLE", table.to_owned()),
    ];
    Function::start(
        &binaries::ingest(),
        settings.into_iter().chain(aws.environment()),
        &lake.path().join("log"),
    )
}

/// Records as the event source mapping hands them over.
fn event(from: usize, documents: impl IntoIterator<Item = Value>) -> Value {
    let record = |(n, document): (usize, Value)| {
        json!({
            "eventID": format!("shardId-000000000000:{n}"), "eventSource": "aws:kinesis",
            "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/clicks",
            "kinesis": {"sequenceNumber": n.to_string(), "partitionKey": "k",
                "data": base64_simd::STANDARD.encode_to_string(document.to_string()),
                "approximateArrivalTimestamp": 1_767_322_000.5},
        })
    };
    json!({"Records": documents.into_iter().enumerate().map(|(i, d)| record((from + i, d))).collect::<Vec<_>>()})
}

fn click(n: usize) -> Value {
    let (day, hour) = (1 + n / 24 % 28, n % 24);
    json!({"event_id": n.to_string(), "event_type": "click", "user_id": n,
        "event_time": format!("2025-{:02}-{day:02}T{hour:02}:04:05Z", 1 + n / 24 / 28)})
}

/// Values → location of the partitions that Glue has.
fn partitions(aws: &Aws, database: &str, table: &str) -> Vec<(Vec<String>, String)> {
    let answer = aws.cli(["glue", "get-partitions", "--database-name", database, "--table-name", table]);
    let mut found: Vec<_> = answer["Partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            let values = serde_json::from_value(p["Values"].clone()).unwrap();
            (values, p["StorageDescriptor"]["Location"].as_str().unwrap().to_owned())
        })
        .collect();
    found.sort();
    found
}

/// Rows that stand below the locations of a table's partitions, as a reader of Glue finds them.
fn rows_at(locations: &[(Vec<String>, String)]) -> i64 {
    let mut rows = 0;
    for (_, location) in locations {
        for file in std::fs::read_dir(location.strip_prefix("file://").unwrap()).unwrap() {
            let file = std::fs::File::open(file.unwrap().path()).unwrap();
            use parquet::file::reader::FileReader;
            let reader = parquet::file::reader::SerializedFileReader::new(file).unwrap();
            rows += reader.metadata().file_metadata().num_rows();
        }
    }
    rows
}

#[test]
fn the_deployed_function_registers_the_partitions_that_it_writes() {
    for (which, aws) in both() {
        let (lake, name) = (Lake::empty(), "ingested");
        database(&aws, name);
        let mut apply = lake.weir(["tables", "apply"]);
        process::run(apply.env("WEIR_CATALOG", format!("glue://{name}")).envs(aws.environment()));
        let mut ingest = function(&aws, &lake, name, "clickstream").unwrap();
        // More partitions than one call takes.
        let (all, first) = (event(1, (0..720).map(click)), event(1, (0..3).map(click)));
        for event in [&all, &all, &first] {
            assert_eq!(ingest.invoke(event), json!({"batchItemFailures": []}));
        }
        let line: Value = serde_json::from_str(ingest.written().lines().next().unwrap()).unwrap();
        assert_eq!(line["unregistered_partitions_count"], 0, "{which:?}: {line}");
        let found = partitions(&aws, name, "clickstream");
        assert_eq!(found.len(), 720, "{which:?}");
        let location = format!("{}/clickstream/live/dt=2025-01-01/hour=2025-01-01-00/", lake.url());
        assert_eq!(found[0], (vec!["2025-01-01".into(), "2025-01-01-00".into()], location));
        assert_eq!(rows_at(&found), 720, "{which:?}");
    }
}

#[test]
fn tables_of_the_aws_cli_and_of_a_crawler_work_as_they_come() {
    for (which, aws) in both() {
        let (lake, name) = (Lake::empty(), "foreign");
        database(&aws, name);
        let definition =
            format!("file://{}/schemas/clickstream.json", weir_tests::place::checkout().display());
        aws.cli(["glue", "create-table", "--database-name", name, "--table-input", &definition]);
        let crawled = json!({
            "Name": "orders", "TableType": "EXTERNAL_TABLE", "Retention": 0,
            "StorageDescriptor": {
                "Columns": [{"Name": "id", "Type": "bigint"}, {"Name": "items", "Type": "array<struct<sku:string,qty:int>>"}],
                "Location": format!("{}/orders/", lake.url()), "Compressed": false, "NumberOfBuckets": -1,
                "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
                "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
                    "Parameters": {"serialization.format": "1"}},
                "BucketColumns": [], "SortColumns": [], "StoredAsSubDirectories": false,
                "Parameters": {"CrawlerSchemaDeserializerVersion": "1.0", "UPDATED_BY_CRAWLER": "c",
                    "classification": "parquet", "typeOfData": "file"}},
            "PartitionKeys": [{"Name": "dt", "Type": "string"}, {"Name": "shop", "Type": "int"}],
            "Parameters": {"CrawlerSchemaSerializerVersion": "1.0", "UPDATED_BY_CRAWLER": "c",
                "classification": "parquet", "compressionType": "none", "typeOfData": "file"}});
        aws.cli(["glue", "create-table", "--database-name", name, "--table-input", &crawled.to_string()]);

        let mut clicks = function(&aws, &lake, name, "clickstream").unwrap();
        let answer = clicks.invoke(&event(1, (0..30).map(click)));
        assert_eq!(answer, json!({"batchItemFailures": []}), "{which:?}");
        assert_eq!(rows_at(&partitions(&aws, name, "clickstream")), 30, "{which:?}");

        let order = |n: usize| json!({"id": n, "dt": format!("2026-11-{:02}", 1 + n % 3), "shop": n % 2, "items": [{"sku": "a", "qty": 1}]});
        let mut orders = function(&aws, &lake, name, "orders").unwrap();
        let answer = orders.invoke(&event(1_000, (0..60).map(order)));
        assert_eq!(answer, json!({"batchItemFailures": []}), "{which:?}");
        let found = partitions(&aws, name, "orders");
        assert_eq!(found.len(), 6, "{which:?}: {found:?}");
        assert_eq!(found[0].1, format!("{}/orders/live/dt=2026-11-01/shop=0/", lake.url()));
        assert_eq!(rows_at(&found), 60, "{which:?}: {}", orders.written());

        // Completed by apply, it is Weir's; without its settings, it is not loaded any more.
        let apply = || {
            let mut apply = lake.weir(["tables", "apply"]);
            process::run(apply.env("WEIR_CATALOG", format!("glue://{name}")).envs(aws.environment()))
        };
        assert!(apply().contains("~ clickstream: update"), "{which:?}");
        assert!(apply().contains("= clickstream: unchanged"), "{which:?}");
        let mut table =
            aws.cli(["glue", "get-table", "--database-name", name, "--name", "clickstream"])["Table"].clone();
        let input = ["Name", "StorageDescriptor", "PartitionKeys", "TableType", "Parameters"];
        table.as_object_mut().unwrap().retain(|member, _| input.contains(&member.as_str()));
        table["Parameters"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("weir."));
        aws.cli(["glue", "update-table", "--database-name", name, "--table-input", &table.to_string()]);
        let refused = function(&aws, &lake, name, "clickstream").unwrap_err();
        assert!(
            refused.contains("lost its settings") && refused.contains("weir tables apply"),
            "{which:?}: {refused}"
        );
        apply();
        assert!(function(&aws, &lake, name, "clickstream").is_ok());
    }
}

#[test]
fn a_catalog_that_is_gone_fails_no_batch_and_one_that_is_wrong_fails_init() {
    let Some(aws) = Aws::start(StandIn::Moto) else { return };
    let (lake, name) = (Lake::empty(), "gone");
    let refused = function(&aws, &lake, name, "clickstream").unwrap_err();
    assert!(refused.contains("aws glue create-database"), "{refused}");
    database(&aws, name);
    let refused = function(&aws, &lake, name, "clickstream").unwrap_err();
    assert!(refused.contains("table clickstream is not in the catalog glue://gone"), "{refused}");
    let mut apply = lake.weir(["tables", "apply"]);
    process::run(apply.env("WEIR_CATALOG", format!("glue://{name}")).envs(aws.environment()));
    let mut ingest = function(&aws, &lake, name, "clickstream").unwrap();
    drop(aws);
    assert_eq!(ingest.invoke(&event(1, (0..3).map(click))), json!({"batchItemFailures": []}));
    let written = ingest.written();
    let line = written.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{written}"));
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&line["rows_count"], &line["unregistered_partitions_count"]),
        (&json!(3), &json!(3)),
        "{line}"
    );
    let files: BTreeSet<_> = lake.lying_files("clickstream").into_iter().collect();
    assert_eq!(files.len(), 3);
}
