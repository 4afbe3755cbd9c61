//! The folder catalog on memory and on disk, and what applying definitions does to it.

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};

use super::*;

const LAKE: &str = "file:///lake";

fn definition() -> Value {
    json!({
        "Name": "t",
        "StorageDescriptor": {"Columns": [
            {"Name": "id", "Type": "string"},
            {"Name": "ts", "Type": "timestamp", "Parameters": {"weir.required": "true"}},
            {"Name": "n", "Type": "int"}
        ]},
        "PartitionKeys": [{"Name": "dt", "Type": "string"}, {"Name": "city", "Type": "string"}],
        "Parameters": {"weir.partition.dt": "day(ts)", "weir.partition.city": "identity(city)"}
    })
}

fn input(definition: &Value) -> TableInput {
    TableInput::from_json(&definition.to_string()).unwrap()
}

fn memory() -> FolderCatalog {
    FolderCatalog::new(Arc::new(InMemory::new()), Path::from("lake"), LAKE)
}

/// Plans and applies; returns the printed plan.
async fn applied(definition: &Value, catalog: &FolderCatalog) -> String {
    let changes = plan_apply(&[input(definition)], catalog, LAKE).await.unwrap();
    apply(&changes, catalog).await.unwrap();
    changes[0].to_string()
}

fn values(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn tables_and_partitions_come_back_from_memory_and_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let stores: [Arc<dyn ObjectStore>; 2] = [Arc::new(InMemory::new()), Arc::new(disk)];
    for store in stores {
        let catalog = FolderCatalog::new(store, Path::from("some/lake"), LAKE);
        assert_eq!(catalog.tables().await.unwrap(), Vec::<String>::new());
        let missing = catalog.table("t").await.unwrap_err().to_string();
        assert_eq!(missing, "table t is not in the catalog file:///lake; create it with `weir tables apply`");

        applied(&definition(), &catalog).await;
        assert_eq!(catalog.tables().await.unwrap(), ["t"]);
        assert_eq!(catalog.table("t").await.unwrap().columns.len(), 4);

        let partitions = [values(&["2026-11-20", "São Paulo/é 100%"]), values(&["2026-11-19", ""])];
        catalog.register_partitions("t", &partitions).await.unwrap();
        catalog.register_partitions("t", &partitions[..1]).await.unwrap();
        let found = catalog.partitions("t").await.unwrap();
        let found: Vec<_> =
            found.iter().map(|p| (&p.values, p.storage_descriptor.location.as_str())).collect();
        assert_eq!(
            found,
            [
                (&partitions[1], "file:///lake/t/live/dt=2026-11-19/city=__HIVE_DEFAULT_PARTITION__/"),
                (&partitions[0], "file:///lake/t/live/dt=2026-11-20/city=São Paulo%2Fé 100%25/"),
            ]
        );
        let error = catalog.register_partitions("t", &[values(&["2026-11-20"])]).await.unwrap_err();
        assert!(error.to_string().contains("a partition has 1 values"), "{error}");
    }
}

#[tokio::test]
async fn a_partition_whose_location_was_switched_stays_switched() {
    let store = Arc::new(InMemory::new());
    let catalog = FolderCatalog::new(store.clone(), Path::from("lake"), LAKE);
    applied(&definition(), &catalog).await;
    let partition = [values(&["2026-11-20", "x"])];
    catalog.register_partitions("t", &partition).await.unwrap();
    let key = Path::from("lake/_weir/catalog/partitions/t/dt=2026-11-20/city=x.json");
    let closed =
        json!({"Values": ["2026-11-20", "x"], "StorageDescriptor": {"Location": "closed/"}, "Extra": 1});
    store.put(&key, closed.to_string().into()).await.unwrap();
    catalog.register_partitions("t", &partition).await.unwrap();
    let found = catalog.partitions("t").await.unwrap();
    assert_eq!(serde_json::to_value(&found[0]).unwrap(), closed);
}

#[tokio::test]
async fn objects_that_are_no_json_are_named() {
    let store = Arc::new(InMemory::new());
    let catalog = FolderCatalog::new(store.clone(), Path::from("lake"), LAKE);
    let key = Path::from("lake/_weir/catalog/tables/t.json");
    store.put(&key, "{".into()).await.unwrap();
    let error = catalog.table("t").await.unwrap_err();
    assert!(error.to_string().starts_with("could not read lake/_weir/catalog/tables/t.json: EOF"), "{error}");
}

#[tokio::test]
async fn safe_changes_are_applied_and_printed_as_a_diff() {
    let catalog = memory();
    let mut t = definition();
    let created = applied(&t, &catalog).await;
    assert!(created.starts_with("+ t: create\n  + column id string\n"), "{created}");
    assert!(created.ends_with("  + partition key dt string\n  + partition key city string"), "{created}");
    assert_eq!(applied(&t, &catalog).await, "= t: unchanged");

    let columns = t["StorageDescriptor"]["Columns"].as_array_mut().unwrap();
    columns.push(json!({"Name": "extra", "Type": "map<string,int>"}));
    columns[0]["Comment"] = json!("who");
    columns[2]["Parameters"] = json!({"weir.min": "0"});
    t["Parameters"]["weir.allowed_lateness"] = json!("1h");
    let updated = applied(&t, &catalog).await;
    let lines: Vec<&str> = updated.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "~ t: update",
            "  + column id: comment = who",
            "  + column n: weir.min = 0",
            "  + column extra map<string,int>",
            "  + weir.allowed_lateness = 1h",
        ]
    );
    assert!(lines[5].starts_with("  ~ weir.schema_hash = "), "{updated}");
    assert_eq!(applied(&t, &catalog).await, "= t: unchanged");
    assert_eq!(catalog.table("t").await.unwrap().columns[3].name, "extra");
}

#[tokio::test]
async fn changes_that_files_do_not_bear_are_refused_with_the_way_out() {
    type Edit = fn(&mut Value);
    let cases: [(Edit, &str, &str); 8] = [
        (
            |t| drop(t["StorageDescriptor"]["Columns"].as_array_mut().unwrap().remove(0)),
            "column `id` was removed",
            "{\"Name\": \"id\", \"Type\": \"string\"}",
        ),
        (
            |t| t["StorageDescriptor"]["Columns"][2]["Type"] = json!("bigint"),
            "column `n` was int and would be bigint",
            "{\"Name\": \"n_v2\", \"Type\": \"bigint\"}",
        ),
        (
            |t| t["StorageDescriptor"]["Columns"].as_array_mut().unwrap().swap(0, 2),
            "column `id` was at place 1 and would be at 3",
            "new columns come at the end",
        ),
        (
            |t| {
                let columns = t["StorageDescriptor"]["Columns"].as_array_mut().unwrap();
                columns.insert(0, json!({"Name": "first_one", "Type": "int"}));
            },
            "column `id` was at place 1 and would be at 2",
            "new columns come at the end",
        ),
        (
            |t| {
                drop(t["PartitionKeys"].as_array_mut().unwrap().remove(1));
                t["Parameters"].as_object_mut().unwrap().remove("weir.partition.city");
            },
            "the partition keys were (dt string, city string) and would be (dt string)",
            "t_v2",
        ),
        (
            |t| t["Parameters"]["weir.partition.dt"] = json!("month(ts)"),
            "`weir.partition.dt` was day(ts) and would be month(ts)",
            "t_v2",
        ),
        (
            |t| t["StorageDescriptor"]["Location"] = json!("s3://elsewhere/t/"),
            "Location is s3://elsewhere/t/",
            "leave Location out",
        ),
        (
            |t| t["Parameters"]["weir.sorted"] = json!("id"),
            "no parameter `weir.sorted`",
            "change the definition of t",
        ),
    ];
    for (edit, reason, way_out) in cases {
        let catalog = memory();
        applied(&definition(), &catalog).await;
        let before = catalog.definition("t").await.unwrap();
        let mut edited = definition();
        edit(&mut edited);
        let printed = applied(&edited, &catalog).await;
        assert!(printed.starts_with("! t: refused: ") && printed.contains(reason), "{printed}");
        assert!(printed.contains(way_out), "{printed}");
        assert_eq!(catalog.definition("t").await.unwrap(), before, "{reason}");
    }
}

#[tokio::test]
async fn apply_restores_a_table_that_lost_its_settings() {
    let catalog = memory();
    applied(&definition(), &catalog).await;
    let mut lost = catalog.definition("t").await.unwrap().unwrap();
    lost.parameters.retain(|name, _| !name.starts_with("weir."));
    lost.parameters.insert("crawler".to_owned(), "was-here".to_owned());
    lost.other.insert("Owner".to_owned(), json!("crawler"));
    catalog.put_table(lost).await.unwrap();
    assert!(catalog.table("t").await.unwrap_err().to_string().contains("weir tables apply"));
    let printed = applied(&definition(), &catalog).await;
    assert!(printed.contains("+ weir.partition.dt = day(ts)"), "{printed}");
    catalog.table("t").await.unwrap();
    let restored = catalog.definition("t").await.unwrap().unwrap();
    assert_eq!(restored.parameters.get("crawler").map(String::as_str), Some("was-here"));
    assert_eq!(applied(&definition(), &catalog).await, "= t: unchanged");
}

#[tokio::test]
async fn the_shipped_definitions_apply_to_an_empty_catalog() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let definitions = read_definitions(&folder).unwrap();
    let catalog = memory();
    let changes = plan_apply(&definitions, &catalog, LAKE).await.unwrap();
    assert!(changes.iter().all(|c| c.change == Change::Create), "{changes:?}");
    assert!(definitions.len() >= 7);
    assert_eq!(apply(&changes, &catalog).await.unwrap(), definitions.len());
    for table in catalog.tables().await.unwrap() {
        catalog.table(&table).await.unwrap();
    }
    let error = read_definitions(&folder.join("nowhere")).unwrap_err().to_string();
    assert!(error.starts_with("could not list "), "{error}");
}
