//! A lake on S3: loaded from files here and there, killed on the way, served by `weir up`, and read
//! by a client that others wrote.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use weir_tests::lake::Lake;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;
use weir_tests::readers;
use weir_tests::seaweed::{BUCKET, CREDENTIALS, Seaweed};

use crate::{ingest, up};

/// A lake below a prefix of the server's bucket.
fn lake(server: &Seaweed, prefix: &str) -> Lake {
    Lake::at(&format!("s3://{BUCKET}/{prefix}"), server.environment())
}

/// Put a file into the bucket with a client that others wrote; its address.
fn upload(python: &Python, server: &Seaweed, file: &Path, key: &str) -> String {
    let address = format!("s3://{BUCKET}/{key}");
    let mut aws = python.aws(&server.endpoint());
    aws.args(["s3", "cp", "--quiet"]).arg(file).arg(&address);
    process::run(aws.env("AWS_ACCESS_KEY_ID", CREDENTIALS.0).env("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1));
    address
}

/// Copies of a table's files, made by a client that others wrote.
fn fetch(python: &Python, server: &Seaweed, lake: &Lake, table: &str, folder: &Path) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder).unwrap();
    let addresses = process::run(&mut lake.weir(["files", "--table", table]));
    assert!(addresses.lines().all(|line| line.starts_with("s3://")), "{addresses}");
    let script = weir_tests::place::checkout().join("tests/readers/fetch.py");
    let mut fetch = python.tool("python");
    fetch.arg(script).arg(server.endpoint()).args([CREDENTIALS.0, CREDENTIALS.1]).arg(folder);
    let mut running = fetch.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(addresses.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
}

fn exactly_once(python: &Python, server: &Seaweed, lake: &Lake, input: &Path, rows: i64) {
    assert_eq!(lake.number("select count(*) as n from clickstream"), rows);
    assert_eq!(lake.number("select count(distinct event_id) as n from clickstream"), rows);
    let files = fetch(python, server, lake, "clickstream", &lake.path().join("fetched"));
    readers::recount(python, &[input.to_path_buf()], &files, &[], &["user_id"]);
    let agreed = readers::read(python, "duckdb", &files);
    assert_eq!(agreed["rows"], rows);
    let status = process::run(&mut lake.weir(["status", "--json"]));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let listed: i64 = status["shards"].as_array().unwrap().iter().map(|s| s["rows"].as_i64().unwrap()).sum();
    assert_eq!(listed, rows, "{status}");
}

/// Load, killed a little later each time, until it ends by itself; how often it was killed.
fn load_with_kills(lake: &Lake, address: &str) -> u32 {
    let log = lake.path().join("log");
    for round in 0..60 {
        let mut run = Running::start(&mut lake.weir(["ingest", address, "--table", "clickstream"]), &log);
        if process::wait_until(Duration::from_millis(60 + 90 * round), || !run.is_running()) {
            assert!(run.wait(Duration::from_secs(1)).success(), "{}", run.written());
            return round as u32;
        }
        run.kill();
    }
    panic!("it never ended: {}", std::fs::read_to_string(log).unwrap());
}

#[test]
fn a_local_file_is_loaded_into_s3_through_kills_exactly_once() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let lake = lake(&server, "end-to-end/local-source");
    lake.apply_tables();
    let applied = process::run(&mut lake.weir(["tables", "diff"]));
    assert!(!applied.contains("create"), "the catalog in S3 has what was applied: {applied}");
    let rows = 120_000;
    let input = lake.path().join("events.ndjson");
    std::fs::write(&input, ingest::events(rows)).unwrap();
    let kills = load_with_kills(&lake, input.to_str().unwrap());
    assert!(kills > 1, "it was killed {kills} times");
    exactly_once(&python, &server, &lake, &input, rows as i64);
}

#[test]
fn files_in_s3_are_loaded_into_s3_through_kills_exactly_once() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let rows = 80_000;
    let scratch = tempfile::tempdir().unwrap();
    let input = scratch.path().join("events.ndjson");
    std::fs::write(&input, ingest::events(rows)).unwrap();
    process::run(std::process::Command::new("gzip").args(["--keep", "--fast"]).arg(&input));
    for (kind, file) in [("plain", input.clone()), ("gzip", scratch.path().join("events.ndjson.gz"))] {
        // Nothing of this lake is applied before: the first load makes the table.
        let lake = lake(&server, &format!("end-to-end/s3-source-{kind}"));
        let address = upload(&python, &server, &file, &format!("input/{kind}/events.ndjson"));
        let kills = load_with_kills(&lake, &address);
        assert!(kills > 1, "it was killed {kills} times");
        exactly_once(&python, &server, &lake, &input, rows as i64);
    }
    let lake = lake(&server, "end-to-end/no-source");
    let missing = format!("s3://{BUCKET}/input/nothing.ndjson");
    let answer = process::output(&mut lake.weir(["ingest", &missing, "--table", "clickstream"]));
    let text = String::from_utf8(answer.stderr).unwrap();
    assert!(answer.status.code() == Some(1) && text.contains("nothing.ndjson does not exist"), "{text}");
}

#[test]
fn records_put_to_a_host_with_a_lake_on_s3_are_rows_there_also_after_a_kill() {
    let Some(python) = Python::get() else { return };
    let server: Arc<Seaweed> = Seaweed::shared(&python);
    let lake = lake(&server, "end-to-end/up");
    let port = process::free_port();
    let (rounds, each) = (3, 300);
    for round in 0..rounds {
        let up = up::start(&lake, port);
        up::put(&python, &lake, &format!("http://127.0.0.1:{port}"), round, each);
        std::thread::sleep(Duration::from_millis(600 * round as u64));
        up.kill();
    }
    let up = up::start(&lake, port);
    let total = (rounds * each) as i64;
    let count = || lake.number("select count(*) as n from clickstream");
    let done = process::wait_until(Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_millis(300));
        count() >= total
    });
    assert!(done, "{} of {total} rows; {}", count(), up.written());
    assert!(up.stop(up::WITHIN).success());
    assert_eq!(count(), total);
    assert_eq!(lake.number("select count(distinct event_id) as n from clickstream"), total);
}
