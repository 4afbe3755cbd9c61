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

/// Load, killed a little later each time, until it ends by itself: what was begun is gone on with,
/// and what an earlier run has committed is passed over.
fn load_with_kills(lake: &Lake, addresses: &[String], rows: u64) {
    for round in 0..60 {
        let mut load = lake.weir(["ingest", "--table", "clickstream", "--json"]);
        let report = lake.path().join(format!("report-{round}"));
        let mut run = Running::start(load.args(addresses), &report);
        if process::wait_until(Duration::from_millis(60 + 90 * round), || !run.is_running()) {
            assert!(run.wait(Duration::from_secs(1)).success(), "{}", run.written());
            let last: u64 = run.written().lines().filter_map(rows_of).sum();
            eprintln!("{round} kills; the last run loaded {last} of {rows} rows");
            assert!(round > 1 && last < rows, "no run went on from where another was killed");
            return;
        }
        run.kill();
    }
    panic!("it never ended by itself");
}

fn rows_of(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?["rows"].as_u64()
}

/// Events in one file, and the same in parts.
fn input(folder: &Path, rows: usize) -> (PathBuf, Vec<PathBuf>) {
    let (whole, text) = (folder.join("events.ndjson"), ingest::events(rows));
    std::fs::write(&whole, &text).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let part = |(number, lines): (usize, &[&str])| {
        let part = folder.join(format!("part-{number}.ndjson"));
        std::fs::write(&part, lines.concat()).unwrap();
        part
    };
    (whole, lines.chunks(rows.div_ceil(4)).enumerate().map(part).collect())
}

#[test]
fn local_files_are_loaded_into_s3_through_kills_exactly_once() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let lake = lake(&server, "end-to-end/local-source");
    lake.apply_tables();
    let applied = process::run(&mut lake.weir(["tables", "diff"]));
    assert!(!applied.contains("create"), "the catalog in S3 has what was applied: {applied}");
    let (whole, parts) = input(lake.path(), 120_000);
    let parts: Vec<_> = parts.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    load_with_kills(&lake, &parts, 120_000);
    exactly_once(&python, &server, &lake, &whole, 120_000);
}

#[test]
fn files_in_s3_are_loaded_into_s3_through_kills_exactly_once() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let scratch = tempfile::tempdir().unwrap();
    let (whole, parts) = input(scratch.path(), 80_000);
    // Nothing of this lake is applied before: the first load makes the table.
    let lake = lake(&server, "end-to-end/s3-source");
    let mut addresses = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let packed = number % 2 == 1;
        if packed {
            process::run(std::process::Command::new("gzip").arg("--fast").arg(part));
        }
        let part = if packed { part.with_extension("ndjson.gz") } else { part.clone() };
        addresses.push(upload(&python, &server, &part, &format!("input/part-{number}")));
    }
    load_with_kills(&lake, &addresses, 80_000);
    exactly_once(&python, &server, &lake, &whole, 80_000);
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
