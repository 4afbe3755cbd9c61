//! Partitions in Glue: registered, listed, switched, by several writers and beside others.

use serde_json::json;
use weir::catalog::{Catalog, REVISION, Switch, apply, plan_apply};
use weir::schema::TableInput;
use weir_tests::aws::{Aws, StandIn};

use super::{both, catalog, database};

const LAKE: &str = "s3://bucket/lake";

async fn with_clickstream(aws: &Aws, name: &str) {
    database(aws, name);
    let catalog = catalog(aws, name, LAKE);
    let definition = TableInput::from_json(include_str!("../../../schemas/clickstream.json")).unwrap();
    let changes = plan_apply(&[definition], &catalog, LAKE).await.unwrap();
    assert_eq!(apply(&changes, &catalog).await.unwrap(), 1);
}

fn hours(count: usize) -> Vec<Vec<String>> {
    let hour = |n: usize| {
        let day = format!("2026-{:02}-{:02}", 1 + n / 24 / 28, 1 + n / 24 % 28);
        vec![day.clone(), format!("{day}-{:02}", n % 24)]
    };
    (0..count).map(hour).collect()
}

fn to(values: &[String], revision: u32) -> Switch {
    Switch { directory: format!("clickstream/closed/dt={}/r{revision:04}-x", values[0]), revision }
}

#[tokio::test]
async fn partitions_are_registered_once_and_keep_what_others_wrote_through_a_switch() {
    for (which, aws) in both() {
        with_clickstream(&aws, "switched").await;
        let glue = catalog(&aws, "switched", LAKE);
        let hours = hours(250);
        glue.register_partitions("clickstream", &hours).await.unwrap();
        let found = glue.partitions("clickstream").await.unwrap();
        assert_eq!(found.iter().map(|p| p.values.clone()).collect::<Vec<_>>(), hours, "{which:?}");
        let absent = vec!["2030-01-01".to_owned(), "x".to_owned()];
        let asked = [hours[3].clone(), absent, hours[200].clone()];
        let mut some = glue.partitions_of("clickstream", &asked).await.unwrap();
        some.sort_by(|a, b| a.values.cmp(&b.values));
        let some: Vec<_> = some.into_iter().map(|p| (p.values, p.storage_descriptor.location)).collect();
        let place = |n: usize| (hours[n].clone(), found[n].storage_descriptor.location.clone());
        assert_eq!(some, [place(3), place(200)], "{which:?}");
        let (values, location) = (&hours[7], &found[7].storage_descriptor.location);
        assert_eq!(location, "s3://bucket/lake/clickstream/live/dt=2026-01-01/hour=2026-01-01-07/");

        // Somebody writes beside us: statistics, a comment, a SerDe's parameter.
        let mut entry = aws.cli([
            "glue",
            "get-partition",
            "--database-name",
            "switched",
            "--table-name",
            "clickstream",
            "--partition-values",
            &values[0],
            &values[1],
        ])["Partition"]
            .clone();
        let members = entry.as_object_mut().unwrap();
        members.retain(|name, _| ["Values", "StorageDescriptor", "Parameters"].contains(&name.as_str()));
        entry["Parameters"] = json!({"numRows": "7", "theirs": "kept"});
        entry["StorageDescriptor"]["Columns"][0]["Comment"] = json!("theirs");
        entry["StorageDescriptor"]["SerdeInfo"]["Parameters"]["theirs"] = json!("kept");
        let update = json!([{"PartitionValueList": values, "PartitionInput": entry}]).to_string();
        aws.cli([
            "glue",
            "batch-update-partition",
            "--database-name",
            "switched",
            "--table-name",
            "clickstream",
            "--entries",
            &update,
        ]);

        let switched = glue.switch_partition("clickstream", values, &to(values, 2)).await.unwrap();
        assert_eq!(switched.revision(), 2, "{which:?}");
        let stale = catalog(&aws, "switched", LAKE);
        let read = stale.switch_partition("clickstream", values, &to(values, 1)).await.unwrap();
        assert_eq!(read.revision(), 2, "{which:?}: never back");
        // Registering again, as every new process does, changes nothing.
        stale.register_partitions("clickstream", &hours).await.unwrap();

        let read = stale.partition("clickstream", values).await.unwrap().unwrap();
        assert_eq!(
            read.storage_descriptor.location,
            "s3://bucket/lake/clickstream/closed/dt=2026-01-01/r0002-x/"
        );
        let parameters = json!({"numRows": "7", "theirs": "kept", REVISION: "2"});
        assert_eq!(json!(read.parameters), parameters, "{which:?}");
        assert_eq!(read.storage_descriptor.other["Columns"][0]["Comment"], "theirs");
        assert_eq!(read.storage_descriptor.other["SerdeInfo"]["Parameters"]["theirs"], "kept");
        assert_eq!(stale.partition("clickstream", &["2030-01-01".into(), "x".into()]).await.unwrap(), None);
        // One that nobody registered is declared by its switch.
        let new = vec!["2026-12-01".to_owned(), "2026-12-01-00".to_owned()];
        assert_eq!(glue.switch_partition("clickstream", &new, &to(&new, 1)).await.unwrap().revision(), 1);
        assert_eq!(glue.partitions("clickstream").await.unwrap().len(), 251);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_race_for_a_switch_end_at_the_newest_revision() {
    for (which, aws) in both() {
        with_clickstream(&aws, "raced").await;
        let hours = hours(6);
        catalog(&aws, "raced", LAKE).register_partitions("clickstream", &hours).await.unwrap();
        for values in &hours {
            let writers: Vec<_> = [1, 2, 3]
                .into_iter()
                .map(|revision| {
                    let (glue, values) = (catalog(&aws, "raced", LAKE), values.clone());
                    let to = to(&values, revision);
                    tokio::spawn(async move { glue.switch_partition("clickstream", &values, &to).await })
                })
                .collect();
            for writer in writers {
                assert!(writer.await.unwrap().unwrap().revision() >= 1);
            }
            // Glue has no conditional update: what a late write undid, the next run repairs.
            let glue = catalog(&aws, "raced", LAKE);
            let read = glue.switch_partition("clickstream", values, &to(values, 3)).await.unwrap();
            let location = &read.storage_descriptor.location;
            assert!(read.revision() == 3 && location.ends_with("/r0003-x/"), "{which:?}: {read:?}");
        }
    }
}

#[tokio::test]
async fn a_definition_that_another_changed_is_not_overwritten() {
    // moto takes any version.
    let Some(aws) = Aws::shared(StandIn::MiniStack) else { return };
    with_clickstream(&aws, "versions").await;
    let (ours, theirs) = (catalog(&aws, "versions", LAKE), catalog(&aws, "versions", LAKE));
    let definition = |text: &str| {
        let mut input = TableInput::from_json(include_str!("../../../schemas/clickstream.json")).unwrap();
        input.description = Some(text.to_owned());
        input
    };
    let changes = plan_apply(&[definition("ours")], &ours, LAKE).await.unwrap();
    let others = plan_apply(&[definition("theirs")], &theirs, LAKE).await.unwrap();
    apply(&others, &theirs).await.unwrap();
    let error = apply(&changes, &ours).await.unwrap_err();
    assert!(error.retryable(), "{error}");
    let stands = ours.definition("clickstream").await.unwrap().unwrap();
    assert_eq!(stands.description.as_deref(), Some("theirs"));
    // What is compared anew is applied.
    let changes = plan_apply(&[definition("ours")], &ours, LAKE).await.unwrap();
    apply(&changes, &ours).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    for (which, aws) in both() {
        database(&aws, "empty");
        let glue = catalog(&aws, "empty", LAKE);
        assert_eq!(glue.tables().await.unwrap(), Vec::<String>::new(), "{which:?}");
        assert_eq!(glue.definition("clickstream").await.unwrap(), None);
        let error = glue.register_partitions("clickstream", &hours(1)).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "table clickstream is not in the catalog glue://empty; create it with `weir tables apply`"
        );
    }
    // MiniStack takes any name for a database.
    let Some(aws) = Aws::shared(StandIn::Moto) else { return };
    let error = catalog(&aws, "nowhere", LAKE).definition("clickstream").await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("aws glue create-database"), "{error}: {cause}");
}
