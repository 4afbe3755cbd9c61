//! The Glue catalog against a service of our own, for what the stand-ins do not enforce.

mod service;

use serde_json::{Value, json};

use super::*;
use crate::catalog::{Change, REVISION, apply, plan_apply};
use crate::clock::ManualClock;
use service::{Fault, Service};

const LAKE: &str = "s3://b/lake";

fn definition() -> Value {
    json!({
        "Name": "t",
        "StorageDescriptor": {"Columns": [{"Name": "id", "Type": "string"}, {"Name": "n", "Type": "int"}]},
        "PartitionKeys": [{"Name": "dt", "Type": "string"}],
        "Parameters": {"weir.partition.dt": "identity(dt)"}
    })
}

fn input(definition: &Value) -> TableInput {
    TableInput::from_json(&definition.to_string()).unwrap()
}

/// A service with the table applied, and a catalog of it.
fn world(table: &Value) -> Service {
    Service { table: Some(table.clone()), version: 1, ..Service::default() }
}

fn applied_table() -> Value {
    let mut table = input(&definition()).complete().unwrap();
    table.storage_descriptor.location = Some(format!("{LAKE}/t/"));
    serde_json::from_str(&table.to_json().unwrap()).unwrap()
}

fn catalog(address: &str) -> (GlueCatalog, Arc<ManualClock>) {
    patient(address, Patience::LONG)
}

fn patient(address: &str, patience: Patience) -> (GlueCatalog, Arc<ManualClock>) {
    let options = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT_URL_GLUE", address),
    ];
    let options = options.map(|(k, v)| (k.to_owned(), v.to_owned()));
    let access = AwsAccess::from_options(&options, patience).unwrap();
    let clock = Arc::new(ManualClock::at(EpochMicros(0)));
    let client = Arc::new(GlueClient::new(Arc::new(access), 7));
    (GlueCatalog::new(client, "db", LAKE, clock.clone()), clock)
}

fn days(count: usize) -> Vec<Vec<String>> {
    (0..count).map(|n| vec![format!("d{n:04}")]).collect()
}

fn to(revision: u32) -> Switch {
    Switch { directory: format!("t/closed/dt=d0000/r{revision:04}-x"), revision }
}

#[tokio::test]
async fn partitions_go_a_hundred_a_call_and_come_back_page_by_page() {
    let (address, service) = world(&applied_table()).start();
    let (catalog, _) = catalog(&address);
    catalog.register_partitions("t", &days(250)).await.unwrap();
    let sizes: Vec<usize> =
        service.lock().unwrap().calls.iter().map(|(_, n)| *n).filter(|n| *n > 0).collect();
    assert_eq!(sizes, [100, 100, 50]);
    let found = catalog.partitions("t").await.unwrap();
    assert_eq!(found.len(), 250);
    assert_eq!(found[249].storage_descriptor.location, format!("{LAKE}/t/live/dt=d0249/"));
    assert_eq!(found[0].storage_descriptor.other["Columns"][0]["Name"], "id");
    assert_eq!(service.lock().unwrap().count("GetPartitions"), 7);
    assert_eq!(service.lock().unwrap().count("GetTable"), 1, "the table is remembered");
    assert_eq!(catalog.tables().await.unwrap().len(), 95);
}

#[tokio::test]
async fn a_partition_that_is_there_stays_as_it_is_and_one_that_fails_keeps_no_other_out() {
    let mut service = world(&applied_table());
    service.items.insert("d0001", ("InternalServiceException", 2));
    service.items.insert("d0002", ("ResourceNumberLimitExceededException", 9));
    service.partitions.insert(
        vec!["d0000".into()],
        json!({"Values": ["d0000"],
        "StorageDescriptor": {"Location": "s3://b/lake/t/closed/x/"}, "Parameters": {REVISION: "1"}}),
    );
    let (address, service) = service.start();
    let (catalog, _) = catalog(&address);
    let error = catalog.register_partitions("t", &days(4)).await.unwrap_err();
    assert!(!error.retryable());
    assert!(error.to_string().contains(r#"could not register partition glue://db/t ["d0002"]"#), "{error}");
    let service = service.lock().unwrap();
    assert_eq!(service.partitions.len(), 3);
    assert_eq!(service.partitions[&vec!["d0000".to_owned()]]["Parameters"][REVISION], "1");
    let sizes: Vec<usize> = service.calls.iter().map(|(_, n)| *n).filter(|n| *n > 0).collect();
    assert_eq!(sizes, [4, 1, 1], "only what passes is tried again");
}

#[tokio::test]
async fn a_throttle_and_a_lost_answer_pass_and_a_denial_says_what_to_allow() {
    let mut service = world(&applied_table());
    let throttle = Fault::Refuse("ThrottlingException");
    service.faults.insert("BatchCreatePartition", vec![throttle.clone(), throttle, Fault::LoseAnswer]);
    service.faults.insert("GetPartitions", vec![Fault::Refuse("AccessDeniedException")]);
    let (address, service) = service.start();
    let (catalog, _) = catalog(&address);
    catalog.register_partitions("t", &days(3)).await.unwrap();
    assert_eq!(service.lock().unwrap().partitions.len(), 3);
    let error = catalog.partitions("t").await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(!error.retryable() && cause.contains("allow glue:GetPartitions"), "{error}: {cause}");
}

#[tokio::test]
async fn a_switch_changes_location_and_revision_alone_and_never_goes_back() {
    let mut service = world(&applied_table());
    let entry = json!({"Values": ["d0000"], "LastAccessTime": 5.0,
        "StorageDescriptor": {"Location": "s3://b/lake/t/live/dt=d0000/", "Compressed": true,
            "SerdeInfo": {"Name": "theirs"}, "Columns": [{"Name": "id", "Type": "string", "Comment": "c"}],
            "Parameters": {"foreign": "storage"}},
        "Parameters": {"foreign": "kept"}});
    service.partitions.insert(vec!["d0000".into()], entry.clone());
    service.faults.insert("BatchUpdatePartition", vec![Fault::LoseAnswer]);
    let (address, service) = service.start();
    let (catalog, _) = catalog(&address);
    let values = vec!["d0000".to_owned()];
    let read = catalog.switch_partition("t", &values, &to(2)).await.unwrap();
    assert_eq!(read.revision(), 2);
    let mut expected = entry;
    expected["StorageDescriptor"]["Location"] = json!("s3://b/lake/t/closed/dt=d0000/r0002-x/");
    expected["Parameters"][REVISION] = json!("2");
    let stands = service.lock().unwrap().partitions[&values].clone();
    assert_eq!(stands, expected);
    assert_eq!(service.lock().unwrap().count("BatchUpdatePartition"), 1, "the lost answer was looked up");

    for revision in [1, 2] {
        let read = catalog.switch_partition("t", &values, &to(revision)).await.unwrap();
        assert_eq!(read.revision(), 2, "never back");
    }
    assert_eq!(service.lock().unwrap().count("BatchUpdatePartition"), 1);
    // A partition that was never registered.
    let new = vec!["d0001".to_owned()];
    assert_eq!(catalog.switch_partition("t", &new, &to(1)).await.unwrap().revision(), 1);
}

#[tokio::test]
async fn entries_are_asked_for_by_their_values_many_a_call() {
    let (address, service) = world(&applied_table()).start();
    let (catalog, _) = catalog(&address);
    catalog.register_partitions("t", &days(250)).await.unwrap();
    let mut asked = days(253);
    asked.retain(|values| values[0].as_str() >= "d0100");
    let mut found = catalog.partitions_of("t", &asked).await.unwrap();
    found.sort_by(|a, b| a.values.cmp(&b.values));
    assert_eq!(found, catalog.partitions("t").await.unwrap()[100..]);
    // The service answers for 80 at a time, and never for the three that are not there.
    let count = |call: &str| service.lock().unwrap().count(call);
    assert_eq!((count("BatchGetPartition"), count("GetPartition")), (3, 3));
    assert!(catalog.partitions_of("t", &[]).await.unwrap().is_empty());
    let denied = Fault::Refuse("AccessDeniedException");
    service.lock().unwrap().faults.insert("BatchGetPartition", vec![denied]);
    let error = catalog.partitions_of("t", &asked).await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("allow glue:BatchGetPartition"));
}

#[tokio::test]
async fn the_right_revision_in_a_wrong_place_is_repaired_by_who_knows_the_place() {
    let mut service = world(&applied_table());
    service.partitions.insert(
        vec!["d0000".into()],
        json!({"Values": ["d0000"],
        "StorageDescriptor": {"Location": "s3://b/lake/t/live/dt=d0000/"}, "Parameters": {REVISION: "2"}}),
    );
    let (address, _) = service.start();
    let (catalog, _) = catalog(&address);
    let values = ["d0000".to_owned()];
    let read = catalog.switch_partition("t", &values, &to(2)).await.unwrap();
    assert_eq!(read.storage_descriptor.location, "s3://b/lake/t/live/dt=d0000/");
    let read = catalog.repair_partition("t", &values, &to(2)).await.unwrap();
    assert_eq!(read.storage_descriptor.location, "s3://b/lake/t/closed/dt=d0000/r0002-x/");
    let read = catalog.repair_partition("t", &values, &to(1)).await.unwrap();
    assert_eq!(read.revision(), 2, "never back");
}

#[tokio::test]
async fn a_writer_in_between_is_seen_when_the_entry_is_read_back() {
    for (revision, expected) in [(3, 3), (1, 2)] {
        let mut service = world(&applied_table());
        service.partitions.insert(
            vec!["d0000".into()],
            json!({"Values": ["d0000"],
            "StorageDescriptor": {"Location": "s3://b/lake/t/live/dt=d0000/"}, "Parameters": {}}),
        );
        // The second read is the one after our write: what it finds was written over ours.
        service.faults.insert(
            "GetPartition",
            vec![
                Fault::Meanwhile("s3://b/lake/t/live/dt=d0000/", 0),
                Fault::Meanwhile("s3://b/lake/t/closed/dt=d0000/theirs/", revision),
            ],
        );
        let (address, service) = service.start();
        let (catalog, _) = catalog(&address);
        let read = catalog.switch_partition("t", &["d0000".to_owned()], &to(2)).await.unwrap();
        assert_eq!(read.revision(), expected, "an older one is switched again, a newer one stays");
        let writes = service.lock().unwrap().count("BatchUpdatePartition");
        assert_eq!(writes, if revision == 1 { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_definition_that_changed_since_it_was_compared_is_a_conflict_that_passes() {
    let (address, service) = world(&applied_table()).start();
    let (catalog, _) = catalog(&address);
    let mut wanted = definition();
    wanted["Description"] = json!("new");
    let changes = plan_apply(&[input(&wanted)], &catalog, LAKE).await.unwrap();
    assert!(matches!(changes[0].change, Change::Update(_)), "{}", changes[0]);
    service.lock().unwrap().version += 1;
    let error = apply(&changes, &catalog).await.unwrap_err();
    assert!(error.retryable(), "{error}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("run it again"));

    // The same again, and its answer is lost: it has taken effect.
    let changes = plan_apply(&[input(&wanted)], &catalog, LAKE).await.unwrap();
    service.lock().unwrap().faults.insert("UpdateTable", vec![Fault::LoseAnswer]);
    assert_eq!(apply(&changes, &catalog).await.unwrap(), 1);
    let again = plan_apply(&[input(&wanted)], &catalog, LAKE).await.unwrap();
    assert_eq!(again[0].change, Change::Unchanged);
    assert_eq!(service.lock().unwrap().count("GetPartitions"), 0, "no type changed: no partition is read");
}

#[tokio::test]
async fn partitions_are_updated_only_where_a_type_changed() {
    let mut table = applied_table();
    table["StorageDescriptor"]["Columns"][1]["Type"] = json!("INT");
    let mut service = world(&table);
    for n in 0..150 {
        let ty = if n % 3 == 0 { "int" } else { "INT" };
        service.partitions.insert(vec![format!("d{n:04}")], json!({"Values": [format!("d{n:04}")],
            "StorageDescriptor": {"Location": "l", "Columns": [{"Name": "id", "Type": "string"}, {"Name": "n", "Type": ty}]},
            "Parameters": {"foreign": "kept"}}));
    }
    let (address, service) = service.start();
    let (catalog, _) = catalog(&address);
    let changes = plan_apply(&[input(&definition())], &catalog, LAKE).await.unwrap();
    apply(&changes, &catalog).await.unwrap();
    let service = service.lock().unwrap();
    assert_eq!(service.count("BatchUpdatePartition"), 1);
    assert_eq!(
        service
            .calls
            .iter()
            .filter(|(call, _)| call == "BatchUpdatePartition")
            .map(|(_, n)| n)
            .sum::<usize>(),
        100
    );
    for partition in service.partitions.values() {
        assert_eq!(partition["StorageDescriptor"]["Columns"][1]["Type"], "int");
        assert_eq!(partition["Parameters"]["foreign"], "kept");
    }
}

#[tokio::test]
async fn a_table_is_remembered_for_a_while_and_through_a_bad_moment() {
    let (address, service) = world(&applied_table()).start();
    let (catalog, clock) = catalog(&address);
    let first = catalog.table("t").await.unwrap();
    assert!(Arc::ptr_eq(&first, &catalog.table("t").await.unwrap()));
    assert_eq!(service.lock().unwrap().count("GetTable"), 1);
    clock.set(EpochMicros(FRESH.as_micros() as i64 + 1));
    catalog.table("t").await.unwrap();
    assert_eq!(service.lock().unwrap().count("GetTable"), 2);

    let mut changed = definition();
    changed["StorageDescriptor"]["Columns"]
        .as_array_mut()
        .unwrap()
        .push(json!({"Name": "new", "Type": "date"}));
    let mut changed = input(&changed).complete().unwrap();
    changed.storage_descriptor.location = Some(format!("{LAKE}/t"));
    service.lock().unwrap().table = Some(serde_json::from_str(&changed.to_json().unwrap()).unwrap());
    clock.set(EpochMicros(3 * FRESH.as_micros() as i64));
    service.lock().unwrap().faults.insert("GetTable", vec![Fault::Refuse("InternalServiceException"); 6]);
    assert_eq!(catalog.table("t").await.unwrap().version, first.version, "a bad moment");
    assert_ne!(catalog.table("t").await.unwrap().version, first.version);

    service.lock().unwrap().table = None;
    clock.set(EpochMicros(9 * FRESH.as_micros() as i64));
    let error = catalog.table("t").await.unwrap_err().to_string();
    assert_eq!(error, "table t is not in the catalog glue://db; create it with `weir tables apply`");
}

#[tokio::test]
async fn tables_that_others_made_are_taken_as_they_stand() {
    let crawled = json!({
        "Name": "t", "TableType": "EXTERNAL_TABLE", "Retention": 0, "Owner": "owner",
        "StorageDescriptor": {
            "Columns": [{"Name": "id", "Type": "string"}, {"Name": "n", "Type": "int"}],
            "Location": "s3a://b/lake/t", "Compressed": false, "NumberOfBuckets": -1, "SortColumns": [],
            "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
                "Parameters": {"serialization.format": "1"}},
            "BucketColumns": [], "StoredAsSubDirectories": false,
            "Parameters": {"CrawlerSchemaDeserializerVersion": "1.0", "UPDATED_BY_CRAWLER": "c", "classification": "parquet"}},
        "PartitionKeys": [{"Name": "dt", "Type": "string"}, {"Name": "shop", "Type": "int"}],
        "Parameters": {"CrawlerSchemaSerializerVersion": "1.0", "UPDATED_BY_CRAWLER": "c", "classification": "parquet"}
    });
    let (address, service) = world(&crawled).start();
    let (catalog, _) = catalog(&address);
    let schema = catalog.table("t").await.unwrap();
    assert_eq!(schema.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["id", "n", "dt", "shop"]);

    let values = vec!["2026-11-20".to_owned(), "7".to_owned()];
    catalog.register_partitions("t", std::slice::from_ref(&values)).await.unwrap();
    catalog.register_partitions("t", std::slice::from_ref(&values)).await.unwrap();
    service.lock().unwrap().partitions.get_mut(&values).unwrap()["StorageDescriptor"]["Location"] =
        json!("s3://b/lake/t/dt=2026-11-20/shop=7/");
    let error = catalog.register_partitions("t", &[values]).await.unwrap_err().to_string();
    assert!(error.contains("is in the catalog already, at s3://b/lake/t/dt=2026-11-20/shop=7/"), "{error}");

    // Elsewhere, nobody would see the rows; of text files, nobody could read them.
    for (place, value, expected) in [
        ("/StorageDescriptor/Location", "s3://b/raw/t/", "but this lake keeps it in s3://b/lake/t/"),
        ("/StorageDescriptor/InputFormat", "org.apache.hadoop.mapred.TextInputFormat", "Weir writes Parquet"),
        ("/PartitionKeys/1/Type", "double", "identity takes text, whole numbers"),
        (
            "/StorageDescriptor/Columns/1/Name",
            "_sequence",
            "the table was made by Weir and lost its settings",
        ),
    ] {
        let mut table = crawled.clone();
        *table.pointer_mut(place).unwrap() = json!(value);
        let (address, _service) = world(&table).start();
        let error = super::tests::catalog(&address).0.table("t").await.unwrap_err().to_string();
        assert!(error.contains(expected), "{place}: {error}");
    }
}

#[tokio::test]
async fn a_table_that_may_not_be_read_is_no_missing_table() {
    let mut service = world(&applied_table());
    service.faults.insert("GetTable", vec![Fault::Refuse("AccessDeniedException")]);
    let (address, _service) = service.start();
    let error = catalog(&address).0.table("t").await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(error.to_string(), "could not get table glue://db/t");
    assert!(cause.contains("allow glue:GetTable"), "{cause}");
}

fn cause(error: &Error) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

#[tokio::test]
async fn an_answer_that_is_none_is_asked_for_again_and_its_way_out_is_the_network() {
    let mut service = world(&applied_table());
    let page = Fault::Say(200, "<html>Sign in</html>");
    service.faults.insert(
        "GetTable",
        vec![Fault::Say(503, "busy"), Fault::Say(429, ""), Fault::Say(200, ""), page.clone()],
    );
    service.faults.insert("GetPartitions", vec![page; 6]);
    let (address, _service) = service.start();
    let (catalog, _) = catalog(&address);
    catalog.table("t").await.unwrap();
    let error = catalog.partitions("t").await.unwrap_err();
    assert!(error.retryable());
    let cause = cause(&error);
    assert!(cause.contains("no JSON object") && cause.contains("AWS_ENDPOINT_URL_GLUE"), "{cause}");
    assert!(catalog.partitions("t").await.unwrap().is_empty(), "the seventh answer is one");
}

#[tokio::test]
async fn a_list_that_does_not_go_on_is_an_error_and_no_shorter_list() {
    let mut service = world(&applied_table());
    let page = r#"{"Partitions": [{"Values": ["d0000"]}], "NextToken": "x"}"#;
    service.faults.insert("GetPartitions", vec![Fault::Say(200, page); 2]);
    service.faults.insert("GetTables", vec![Fault::Say(200, r#"{"TableList": [], "NextToken": "x"}"#); 2]);
    let (address, _service) = service.start();
    let (catalog, _) = catalog(&address);
    assert!(cause(&catalog.partitions("t").await.unwrap_err()).starts_with("the same page again"));
    assert!(cause(&catalog.tables().await.unwrap_err()).starts_with("the same page again"));
}

#[tokio::test]
async fn tries_end_when_patience_does_and_what_was_said_last_is_told() {
    let mut service = world(&applied_table());
    service.faults.insert("GetTable", vec![Fault::Refuse("ThrottlingException"); 9]);
    let (address, service) = service.start();
    let short = Patience { in_all: Duration::from_millis(250), ..Patience::SHORT };
    let (catalog, _) = patient(&address, short);
    let began = std::time::Instant::now();
    let error = catalog.definition("t").await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(error.retryable() && cause(&error).starts_with("ThrottlingException"), "{}", cause(&error));
    let left = service.lock().unwrap().faults["GetTable"].len();
    assert!((5..=8).contains(&left), "{left} faults left");
}

#[tokio::test]
async fn where_nobody_answers_the_setting_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let short = Patience { in_all: Duration::from_millis(400), ..Patience::SHORT };
    let (catalog, _) = patient(&format!("http://{nobody}"), short);
    let error = catalog.definition("t").await.unwrap_err();
    assert!(error.retryable() && cause(&error).contains("AWS_ENDPOINT_URL_GLUE"), "{}", cause(&error));
}
