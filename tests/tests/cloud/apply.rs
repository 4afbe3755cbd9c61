//! `weir tables` on Glue: safe changes applied, others refused, what others wrote left alone.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use weir_tests::aws::{Aws, StandIn};
use weir_tests::lake::Lake;
use weir_tests::process;

use super::{both, database};

/// `weir tables ARGUMENTS` with the definitions of a folder; the exit code and what it printed.
fn tables(aws: &Aws, lake: &Lake, database: &str, arguments: &[&str]) -> (i32, String) {
    let mut weir: Command = lake.weir(["tables"]);
    weir.args(arguments).env("WEIR_CATALOG", format!("glue://{database}")).envs(aws.environment());
    weir.env("WEIR_SCHEMAS", lake.path().join("schemas"));
    let output = process::output(&mut weir);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code().unwrap(), if out.is_empty() { err } else { out })
}

fn write(lake: &Lake, definition: &Value) {
    let folder = lake.path().join("schemas");
    std::fs::create_dir_all(&folder).unwrap();
    let name = definition["Name"].as_str().unwrap();
    std::fs::write(folder.join(format!("{name}.json")), definition.to_string()).unwrap();
}

fn clickstream() -> Value {
    serde_json::from_str(include_str!("../../../schemas/clickstream.json")).unwrap()
}

#[test]
fn safe_changes_are_applied_and_unsafe_ones_refused_with_the_way_out() {
    for (which, aws) in both() {
        let (lake, name) = (Lake::empty(), "applied");
        database(&aws, name);
        let mut definition = clickstream();
        write(&lake, &definition);
        let (code, plan) = tables(&aws, &lake, name, &["diff"]);
        assert!(code == 0 && plan.contains("+ clickstream: create"), "{which:?}: {plan}");
        assert_eq!(tables(&aws, &lake, name, &["apply"]).0, 0);
        let (code, plan) = tables(&aws, &lake, name, &["diff"]);
        assert!(code == 0 && plan.contains("= clickstream: unchanged"), "{which:?}: {plan}");
        assert_eq!(tables(&aws, &lake, name, &["show"]).1, "clickstream\nquarantine\n");

        // A crawler and a person were there.
        let mut table =
            aws.cli(["glue", "get-table", "--database-name", name, "--name", "clickstream"])["Table"].clone();
        let input = ["Name", "Description", "StorageDescriptor", "PartitionKeys", "TableType", "Parameters"];
        table.as_object_mut().unwrap().retain(|member, _| input.contains(&member.as_str()));
        table["Parameters"]["theirs"] = json!("kept");
        table["Owner"] = json!("somebody");
        table["Retention"] = json!(9);
        aws.cli(["glue", "update-table", "--database-name", name, "--table-input", &table.to_string()]);

        let columns = definition["StorageDescriptor"]["Columns"].as_array_mut().unwrap();
        columns[0]["Comment"] = json!("another comment");
        columns.push(json!({"Name": "campaign", "Type": "string"}));
        definition["Parameters"]["weir.allowed_lateness"] = json!("20m");
        write(&lake, &definition);
        let (code, plan) = tables(&aws, &lake, name, &["apply"]);
        for line in [
            "~ clickstream: update",
            "+ column campaign string",
            "~ column event_id: comment = UUID given by the client → another comment",
            "~ weir.allowed_lateness = 10m → 20m",
        ] {
            assert!(code == 0 && plan.contains(line), "{which:?}: no {line:?} in {plan}");
        }
        let stands =
            aws.cli(["glue", "get-table", "--database-name", name, "--name", "clickstream"])["Table"].clone();
        assert_eq!(stands["Parameters"]["theirs"], "kept", "{which:?}");
        assert_eq!(stands["Owner"], "somebody", "{which:?}");
        // MiniStack keeps no retention.
        if which == StandIn::Moto {
            assert_eq!(stands["Retention"], 9);
        }

        let safe = definition.clone();
        for (change, expected) in [
            ("/StorageDescriptor/Columns/3/Type", "column `user_id` was bigint and would be string"),
            ("/StorageDescriptor/Columns/3/Name", "column `user_id` was removed"),
            ("/Parameters/weir.partition.dt", "`weir.partition.dt` was day(event_time) and would be"),
        ] {
            let mut unsafe_one = safe.clone();
            let text = if change.ends_with("dt") { "month(event_time)" } else { "string" };
            *unsafe_one.pointer_mut(change).unwrap() = json!(text);
            write(&lake, &unsafe_one);
            let (code, plan) = tables(&aws, &lake, name, &["apply"]);
            assert!(code == 1 && plan.contains(expected) && plan.contains("way out:"), "{which:?}: {plan}");
        }
        write(&lake, &safe);
        assert!(tables(&aws, &lake, name, &["diff"]).1.contains("= clickstream: unchanged"));

        // Sixty shards would fill a day's partition with half a million files.
        let mut daily = clickstream();
        daily["Name"] = json!("daily");
        daily["PartitionKeys"].as_array_mut().unwrap().pop();
        daily["Parameters"].as_object_mut().unwrap().remove("weir.partition.hour");
        write(&lake, &daily);
        let (code, plan) = tables(&aws, &lake, name, &["apply", "--shards", "60", "--batch-window", "10s"]);
        assert!(
            code == 1 && plan.contains("! daily: refused: a partition would hold 518400 live files"),
            "{plan}"
        );
        assert_eq!(
            tables(&aws, &lake, name, &["apply", "--shards", "60", "--batch-window", "10s", "--force"]).0,
            0
        );
    }
}

#[test]
fn a_crawler_over_the_lake_is_refused_by_apply() {
    for (which, aws) in both() {
        let (lake, name) = (Lake::at("s3://bucket/lake", aws.environment()), "crawled");
        database(&aws, name);
        let mut definition = clickstream();
        for (crawler, path) in [("over", "s3://bucket/"), ("beside", "s3://bucket/raw")] {
            let targets = json!({"S3Targets": [{"Path": path}]}).to_string();
            let role = "arn:aws:iam::123456789012:role/r";
            aws.cli(["glue", "create-crawler", "--name", crawler, "--role", role, "--targets", &targets]);
        }
        for (action, code, text) in [
            (
                "crawler:over",
                1,
                "refused: crawler over looks at s3://bucket/, which overlaps the lake s3://bucket/lake",
            ),
            ("crawler:nobody", 1, "there is no crawler nobody"),
            ("crawler:beside", 0, "+ clickstream: create"),
        ] {
            definition["Parameters"]["weir.on_close"] = json!(action);
            write(&lake, &definition);
            let (found, plan) = tables(&aws, &lake, name, &["apply"]);
            assert!(found == code && plan.contains(text), "{which:?} {action}: {plan}");
        }
    }
}

#[test]
fn a_database_that_is_not_set_or_not_there_is_told_with_the_way_out() {
    let Some((_, aws)) = both().next() else { return };
    let lake = Lake::empty();
    write(&lake, &clickstream());
    for (name, expected) in [("", "example: --catalog glue://analytics"), ("a/b", "names no database")] {
        let (code, said) = tables(&aws, &lake, name, &["show"]);
        assert!(code == 1 && said.contains(expected), "{said}");
    }
    let mut weir = lake.weir(["tables", "show"]);
    weir.env("WEIR_CATALOG", "glue://db").env_remove("AWS_REGION").env_remove("AWS_DEFAULT_REGION");
    let said = String::from_utf8(process::output(&mut weir).stderr).unwrap();
    assert!(said.contains("AWS_REGION: is not set"), "{said}");
    assert!(Path::new(lake.path()).exists());
}
