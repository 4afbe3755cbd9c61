//! `jobs/run_sql.py` as Glue starts it: by its arguments, in a process of its own, with a catalog that
//! it switches itself. Spark is local, the catalog moto's.

use std::process::Command;

use serde_json::{Value, json};
use weir_tests::aws::{Aws, StandIn};
use weir_tests::python::Python;
use weir_tests::{place, process};

use crate::closing::close;
use crate::{World, keys_of, local, piped};

const DATABASE: &str = "on_glue";

/// The script with these arguments; boto3 is another environment's.
fn script(spark: &Python, moto: &Python, arguments: &[(&str, &str)]) -> Command {
    let packages = "import boto3, pathlib; print(pathlib.Path(boto3.__file__).parent.parent)";
    let packages = process::run(moto.tool("python").args(["-c", packages]));
    let mut command = spark.tool("python");
    command.arg(place::checkout().join("jobs/run_sql.py")).env("PYTHONPATH", packages.trim());
    // What the service sets, as far as it can be seen, and an argument of its own.
    let submit = "--master local[2] --conf spark.sql.shuffle.partitions=1 --conf spark.ui.enabled=false \
         --conf spark.driver.bindAddress=127.0.0.1 --conf spark.driver.host=127.0.0.1 pyspark-shell";
    command.env("PYSPARK_SUBMIT_ARGS", submit).args(["--JOB_ID", "j_1"]);
    for (name, value) in arguments {
        command.arg(name).arg(value);
    }
    command
}

#[test]
fn the_script_that_glue_runs_switches_its_partition_once_and_says_what_it_did() {
    let (Some(python), Some(spark), Some(moto)) = (Python::get(), Python::spark(), Python::moto()) else {
        return;
    };
    let Some(aws) = Aws::start(StandIn::Moto) else { return };
    let world = World::new();
    world.load(&python, "access_log", 1, 3_000);
    let closed = close(&world, "access_log", 1);
    let (partition, location) = &closed[0];
    let ours = world.run("access_log_traffic").into_iter().find(|done| done["partition"] == json!(partition));

    // The tables in Glue; their partitions are only where the script puts them.
    aws.ask("glue", "AWSGlue.CreateDatabase", &json!({"DatabaseInput": {"Name": DATABASE}}));
    let catalog = format!("glue://{DATABASE}");
    process::run(world.command(["tables", "apply"]).env("WEIR_CATALOG", &catalog).envs(aws.environment()));
    let entry = || {
        let asked = json!({"DatabaseName": DATABASE, "TableName": "access_log_traffic"});
        let found = aws.ask("glue", "AWSGlue.GetPartitions", &asked)["Partitions"].clone();
        let [entry] = <[Value; 1]>::try_from(found.as_array().unwrap().clone()).unwrap();
        entry
    };
    let (jobs, lake) = (world.jobs(), world.lake.url());
    let run = |revision: &str| {
        let arguments = [
            ("--weir_job", "access_log_traffic"),
            ("--weir_jobs", jobs.to_str().unwrap()),
            ("--weir_table", "access_log"),
            ("--weir_partition", partition),
            ("--weir_location", location),
            ("--weir_revision", revision),
            ("--weir_action", "weir-1f"),
            ("--weir_rows", "1"),
            ("--weir_lake", &lake),
            ("--weir_catalog", &catalog),
        ];
        let mut script = script(&spark, &moto, &arguments);
        script.envs(aws.environment()).env("AWS_DEFAULT_REGION", "us-east-1");
        let out = process::run(&mut script);
        serde_json::from_str::<Value>(out.lines().last().unwrap_or_else(|| panic!("it printed nothing")))
            .unwrap()
    };
    let first = run("2");
    assert_eq!(
        (&first["switched"], &first["revision"], &first["action"]),
        (&json!(true), &json!(2), &json!("weir-1f"))
    );
    let shown = entry();
    assert_eq!(shown["Parameters"]["weir.revision"], "2", "{shown}");
    assert_eq!(shown["StorageDescriptor"]["Location"], first["location"], "{shown}");
    assert_eq!(shown["Values"], json!([partition.split_once('=').unwrap().1]));
    // An old start that wakes up changes nothing.
    let second = run("1");
    assert_eq!(second["switched"], json!(false), "{second}");
    assert_eq!(entry(), shown);

    let ours = ours.unwrap();
    let keys = keys_of(&jobs, "access_log_traffic");
    let pair = json!({"name": partition, "ours": local(&ours["location"]), "theirs": local(&first["location"]), "keys": keys});
    let mut compare = python.tool("python");
    compare.arg(place::checkout().join("tests/jobs/compare.py"));
    let report = piped(compare, &[pair]).pop().unwrap();
    assert_eq!(report["differences"], 0, "{report}");
    assert!(report["rows"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(report["rows"], first["rows"]);
}

#[test]
fn the_script_names_the_argument_that_it_misses() {
    let (Some(spark), Some(moto)) = (Python::spark(), Python::moto()) else { return };
    let output = process::output(&mut script(&spark, &moto, &[("--weir_job", "x"), ("--weir_jobs", "y")]));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("--weir_location is not given; see the top of the file"), "{text}");
}
