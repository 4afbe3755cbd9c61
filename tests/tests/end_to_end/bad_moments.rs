//! Bad moments and bad deployments of the store: what users are told, how soon, and that nothing is
//! lost by it.

use std::process::Command;
use std::time::{Duration, Instant};

use weir_tests::fault_proxy::FaultProxy;
use weir_tests::lake::Lake;
use weir_tests::python::Python;
use weir_tests::seaweed::{self, BUCKET, Seaweed};
use weir_tests::small_disk::SmallDisk;
use weir_tests::{binaries, place, process};

use crate::{ingest, up};

/// A function has ten seconds for its init.
const SOON: Duration = Duration::from_secs(10);

/// The one line that a command which must fail says, within the bound.
fn told(command: &mut Command) -> String {
    let begun = Instant::now();
    let answer = process::output(command);
    let (took, text) = (begun.elapsed(), String::from_utf8(answer.stderr).unwrap());
    eprintln!("{took:.1?} {}", text.trim_end());
    assert_eq!(answer.status.code(), Some(1), "{command:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(took < SOON, "{command:?} took {took:?}");
    text
}

/// The deployed function; the Runtime API is not there, and init fails before it is asked.
fn function(lake: &str, environment: &[(&'static str, String)]) -> Command {
    let mut function = Command::new(binaries::ingest());
    function
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{}", process::free_port()))
        .env("AWS_LAMBDA_FUNCTION_NAME", "ingest")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("WEIR_LAKE", lake)
        .env("WEIR_TABLE", "clickstream")
        .envs(environment.iter().cloned());
    function
}

/// Commands that need the store, and the function.
fn everybody(lake: &Lake, environment: &[(&'static str, String)]) -> Vec<Command> {
    let sample = place::checkout().join("schemas/samples/clickstream.good.ndjson");
    let (sample, state) = (sample.to_str().unwrap().to_owned(), lake.path().join("state"));
    vec![
        function(&lake.url(), environment),
        lake.weir(["tables", "apply"]),
        lake.weir(["ingest", &sample, "--table", "clickstream"]),
        lake.weir(["query", "select 1"]),
        lake.weir(["status"]),
        lake.weir(["files", "--table", "clickstream"]),
        lake.weir(["up", "--table", "clickstream", "--port", "0", "--state", state.to_str().unwrap()]),
    ]
}

fn assert_told(lake: &str, environment: Vec<(&'static str, String)>, expected: &[&str]) {
    let lake = Lake::at(lake, environment.clone());
    for mut command in everybody(&lake, &environment) {
        let text = told(&mut command);
        for part in expected {
            assert!(text.contains(part), "{command:?} does not say {part:?}: {text}");
        }
    }
}

#[test]
fn a_store_that_is_not_there_is_named_with_the_way_out_by_everybody_within_ten_seconds() {
    let nobody = format!("http://127.0.0.1:{}", process::free_port());
    let expected = ["s3://lake/nothing", "Connection refused", "check the network and AWS_ENDPOINT_URL"];
    assert_told("s3://lake/nothing", seaweed::environment(&nobody).into(), &expected);
}

#[test]
fn a_missing_bucket_and_wrong_credentials_are_named_with_the_way_out_by_everybody() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let mut wrong = server.environment();
    for (name, value) in &mut wrong {
        if *name == "AWS_SECRET_ACCESS_KEY" {
            *value = "wrong".to_owned();
        }
    }
    let lake = format!("s3://{BUCKET}/x");
    assert_told(&lake, wrong.into(), &["SignatureDoesNotMatch", "check AWS_ACCESS_KEY_ID, AWS_SECRET"]);
    let address = "s3://no-such-bucket/x";
    let expected = ["NoSuchBucket", "create the bucket, or correct the address s3://no-such-bucket/x"];
    assert_told(address, server.environment().into(), &expected);
}

#[test]
fn missing_credentials_are_named_with_the_way_out() {
    let nobody = format!("http://127.0.0.1:{}", process::free_port());
    let environment = seaweed::environment(&nobody).into_iter().filter(|(name, _)| !name.contains("KEY"));
    let environment: Vec<_> = environment.collect();
    let mut command = function("s3://lake/nothing", &environment);
    let text = told(&mut command);
    assert!(text.contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{text}");
}

#[test]
fn a_missing_table_fails_the_functions_init_with_the_command_that_makes_it() {
    let lake = Lake::empty();
    let text = told(&mut function(&lake.url(), &[]));
    assert!(text.contains("table clickstream is not in the catalog") && text.contains("weir tables apply"));
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let url = format!("s3://{BUCKET}/no-tables");
    let text = told(&mut function(&url, &server.environment()));
    assert!(text.contains(&url) && text.contains("weir tables apply"), "{text}");
}

#[test]
fn a_folder_that_cannot_be_made_or_opened_is_named() {
    let lake = Lake::at("file:///proc/no/such/lake", []);
    for mut command in everybody(&lake, &[]) {
        let text = told(&mut command);
        assert!(text.contains("/proc/no/such/lake") && text.contains("WEIR_LAKE"), "{text}");
    }
}

#[test]
fn a_lake_that_is_not_there_is_no_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("typo");
    let lake = Lake::at(missing.to_str().unwrap(), []);
    let commands =
        [&["verify"][..], &["status"], &["files", "--table", "clickstream"], &["query", "select 1"]];
    for arguments in commands {
        let text = told(lake.weir([]).args(arguments));
        assert!(text.contains("there is no lake in") && text.contains("typo"), "{text}");
        assert!(!missing.exists(), "{arguments:?} made it");
    }
}

#[test]
fn tables_that_cannot_share_or_take_a_stream_fail_the_functions_init() {
    let lake = Lake::with_tables();
    let cases = [
        ("quarantine", "holds the records that other tables refuse"),
        ("clickstream,access_log", "has no `weir.route` and would take every record of the stream"),
    ];
    for (tables, problem) in cases {
        let text = told(function(&lake.url(), &[]).env_remove("WEIR_TABLE").env("WEIR_TABLES", tables));
        assert!(text.contains(problem), "{text}");
    }
}

/// Rows, all of them different, when as many are there as were put.
fn wait_for_rows(count: &dyn Fn(&str) -> i64, rows: i64, within: Duration) {
    let mut found = 0;
    let done = process::wait_until(within, || {
        std::thread::sleep(Duration::from_millis(300));
        found = count("count(*)");
        found >= rows
    });
    assert!(done, "{found} of {rows} rows");
    assert_eq!((count("count(*)"), count("count(distinct event_id)")), (rows, rows));
}

#[test]
fn records_put_while_the_store_is_away_are_rows_once_it_is_back() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let proxy = FaultProxy::start(server.port(), 21);
    let lake = Lake::at(&format!("s3://{BUCKET}/bad-moments/away"), seaweed::environment(&proxy.endpoint()));
    let port = process::free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let host = up::start(&lake, port);
    let count = |what: &str| lake.number(&format!("select {what} as n from clickstream"));
    up::put(&python, &lake, &endpoint, 0, 100);
    wait_for_rows(&count, 100, up::WITHIN);
    for outage in 1..=2 {
        proxy.down();
        up::put(&python, &lake, &endpoint, outage, 100);
        let said = || host.written().matches("check the network and AWS_ENDPOINT_URL").count();
        let told = process::wait_until(Duration::from_secs(25), || said() >= outage);
        assert!(told, "outage {outage} is not told: {}", host.written());
        std::thread::sleep(Duration::from_secs(2));
        proxy.set(&[]);
        wait_for_rows(&count, 100 * (outage as i64 + 1), up::WITHIN);
    }
    assert!(host.stop(up::WITHIN).success());
}

#[test]
fn records_put_while_the_disk_is_full_are_rows_once_there_is_space() {
    let Some(disk) = SmallDisk::of_kib(6_000) else { return };
    let Some(python) = Python::get() else { return };
    let lake = Lake::at(&format!("file://{}/lake", disk.path().display()), []);
    process::run(&mut disk.enter(&lake.weir(["tables", "apply"])));
    let port = process::free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut host = up::start_as(&lake, port, |command| disk.enter(&command));
    let count = |what: &str| {
        let sql = format!("select {what} as n from clickstream");
        let row = process::run(&mut disk.enter(&lake.weir(["query", &sql, "--json"])));
        serde_json::from_str::<serde_json::Value>(&row).unwrap()["n"].as_i64().unwrap()
    };
    up::put(&python, &lake, &endpoint, 0, 100);
    wait_for_rows(&count, 100, up::WITHIN);
    disk.fill();
    up::put(&python, &lake, &endpoint, 1, 100);
    let written = host.wait_for_text("No space left on device", Duration::from_secs(25));
    assert!(written.contains("free some space for file://"), "{written}");
    assert_eq!(count("count(*)"), 100);
    disk.free();
    wait_for_rows(&count, 200, up::WITHIN);
    assert!(host.stop(up::WITHIN).success());
}

#[test]
fn a_load_that_fills_the_disk_says_so_and_goes_on_when_there_is_space() {
    let Some(disk) = SmallDisk::of_kib(260) else { return };
    let lake = Lake::at(&format!("file://{}/lake", disk.path().display()), []);
    process::run(&mut disk.enter(&lake.weir(["tables", "apply"])));
    let rows = 60_000;
    let input = lake.path().join("events.ndjson");
    std::fs::write(&input, ingest::events(rows)).unwrap();
    let load = lake.weir(["ingest", input.to_str().unwrap(), "--table", "clickstream"]);
    let text = told(&mut disk.enter(&load));
    assert!(
        text.contains("No space left on device") && text.contains("free some space for file://"),
        "{text}"
    );
    disk.grow_to_kib(64_000);
    process::run(&mut disk.enter(&load));
    let sql = "select count(*) as n, count(distinct event_id) as ids from clickstream";
    let row = process::run(&mut disk.enter(&lake.weir(["query", sql, "--json"])));
    let row: serde_json::Value = serde_json::from_str(&row).unwrap();
    assert_eq!((&row["n"], &row["ids"]), (&rows.into(), &rows.into()));
}

#[test]
fn what_was_answered_as_loaded_is_there_after_a_power_cut() {
    let scratch = tempfile::tempdir().unwrap();
    let (image, after) = (scratch.path().join("image"), scratch.path().join("after"));
    let Some(()) = SmallDisk::image(&image, 64) else { return };
    let Some(disk) = SmallDisk::of_image(&image) else { return };
    let rows = 20_000;
    let lake = Lake::at(&format!("file://{}/lake", disk.path().display()), []);
    let input = lake.path().join("events.ndjson");
    std::fs::write(&input, ingest::events(rows)).unwrap();
    let load = lake.weir(["ingest", input.to_str().unwrap(), "--table", "clickstream"]);
    process::run(&mut disk.enter(&load));
    // What has reached the disk by now, and nothing of what the system still keeps in memory.
    std::fs::copy(&image, &after).unwrap();
    drop(disk);
    let Some(disk) = SmallDisk::of_image(&after) else { return };
    let lake = Lake::at(&format!("file://{}/lake", disk.path().display()), []);
    let sql = "select count(*) as n, count(distinct event_id) as ids from clickstream";
    let row = process::run(&mut disk.enter(&lake.weir(["query", sql, "--json"])));
    let row: serde_json::Value = serde_json::from_str(&row).unwrap();
    assert_eq!((&row["n"], &row["ids"]), (&rows.into(), &rows.into()));
}
