//! A lake on S3: what `weir verify` finds there and repairs, letters replayed through kills and a
//! failing store, and batches that the mapping gave up on, from its own objects, exactly once.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use weir_tests::fault_proxy::{Fault, FaultProxy};
use weir_tests::lake::Lake;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;
use weir_tests::seaweed::{self, BUCKET, CREDENTIALS, Seaweed};

use crate::quarantine::{apply, counts};
use crate::up;

/// A client that others wrote, on the bucket.
fn s3(python: &Python, server: &Seaweed, arguments: &[&str]) -> String {
    let mut aws = python.aws(&server.endpoint());
    aws.env("AWS_ACCESS_KEY_ID", CREDENTIALS.0).env("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1);
    process::run(aws.arg("s3").args(arguments))
}

/// Exit code and what was said.
fn verify(lake: &Lake, flags: &[&str]) -> (Option<i32>, String) {
    let output = process::output(lake.weir(["verify"]).args(flags));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), text)
}

/// Run a command again and again, killed a little later each time, until it ends by itself; how often
/// it was killed.
fn through_kills(lake: &Lake, arguments: &[&str]) -> (u64, Value) {
    for round in 0..60 {
        let mut command = lake.weir([]);
        let log = lake.path().join(format!("{}-{round}", arguments[1]));
        let mut run = Running::start(command.args(arguments).arg("--json"), &log);
        if process::wait_until(Duration::from_millis(100 + 120 * round), || !run.is_running()) {
            let written = run.written();
            // A store that fails too often in a row is a bad moment: run it again.
            if run.wait(Duration::from_secs(1)).success() {
                let last = written.lines().last().unwrap_or_default();
                return (round, serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {written}")));
            }
            continue;
        }
        run.kill();
    }
    panic!("{arguments:?} never ended by itself");
}

#[test]
fn a_lake_on_s3_is_verified_repaired_and_its_letters_replayed_once() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let proxy = FaultProxy::start(server.port(), 5);
    let prefix = format!("{BUCKET}/replay-s3/letters");
    let lake = Lake::at(&format!("s3://{prefix}"), seaweed::environment(&proxy.endpoint()));
    apply(&lake, 10);
    let (files, each) = (5, 3_000);
    for file in 0..files {
        let mut text = String::new();
        for n in 0..each {
            let _ = writeln!(text, r#"{{"id":"r{file}-{n}","n":{n},"site":"s{}"}}"#, n % 3);
        }
        let input = lake.path().join(format!("readings-{file}.ndjson"));
        std::fs::write(&input, text).unwrap();
        process::run(lake.weir(["ingest", "--table", "readings"]).arg(input));
    }
    let total = files * each;
    let letters = total - files * 11;
    let whole = format!("no gap, no duplicate, {total} records, {letters} quarantined");
    let (code, said) = verify(&lake, &[]);
    assert!(code == Some(0) && said.contains(&whole), "{said}");

    // A copy at another probe of a slot is dead by rule; one under a name of its own is not ours.
    let listed = process::run(&mut lake.weir(["files", "--table", "readings"]));
    let file = listed.lines().next().unwrap();
    let (dead, foreign) = (file.replace(".parquet", "-7.parquet"), file.replace(".parquet", "-copy.parquet"));
    for copy in [&dead, &foreign] {
        s3(&python, &server, &["cp", "--quiet", file, copy]);
    }
    let named = |said: &str, address: &str| said.contains(address.rsplit('/').next().unwrap());
    let (code, said) = verify(&lake, &["--repair"]);
    assert!(code == Some(1) && named(&said, &dead) && named(&said, &foreign), "{said}");
    let (code, said) = verify(&lake, &[]);
    assert!(code == Some(1) && !named(&said, &dead) && named(&said, &foreign), "{said}");
    s3(&python, &server, &["rm", "--quiet", &foreign]);
    assert_eq!(verify(&lake, &[]).0, Some(0));

    apply(&lake, 1_000_000);
    proxy.set(&[Fault::ErrorAfter, Fault::ResetBefore, Fault::ResetAfter, Fault::Conflict].map(|f| (f, 30)));
    let (kills, last) = through_kills(&lake, &["quarantine", "replay"]);
    proxy.set(&[]);
    eprintln!("{kills} kills; {:?}; the last run: {last}", proxy.struck());
    assert!(kills > 0, "nothing was killed");
    assert_eq!(counts(&lake), (i64::from(total), 0));
    assert_eq!(lake.number("select count(distinct id) as n from readings"), i64::from(total));
    // What a killed run left is dead or was never committed, and repair may take it away.
    let (code, said) = verify(&lake, &["--repair"]);
    let whole = format!("no gap, no duplicate, {total} records, 0 quarantined");
    assert!(code == Some(0) && said.contains(&whole), "{said}");
}

#[test]
fn batches_given_up_while_s3_was_away_come_in_from_the_mappings_own_objects_once() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let proxy = FaultProxy::start(server.port(), 6);
    let prefix = format!("s3://{BUCKET}/replay-s3/given-up");
    let lake = Lake::at(&format!("{prefix}/lake"), seaweed::environment(&proxy.endpoint()));
    let (port, failures) = (process::free_port(), format!("{prefix}/failed"));
    let endpoint = format!("http://127.0.0.1:{port}");
    let host = up::start_as(&lake, port, |mut command| {
        command.args(["--retries", "0", "--no-bisect", "--on-failure", &failures]);
        command
    });
    let rows = || lake.number("select count(*) as n from clickstream");
    let wait_for = |expected: i64| process::wait_until(up::WITHIN, || rows() == expected);
    up::put(&python, &lake, &endpoint, 0, 300);
    assert!(wait_for(300), "{}", host.written());
    proxy.down();
    up::put(&python, &lake, &endpoint, 1, 300);
    // The destination is away as well: the mapping keeps the batch of either shard until it takes it.
    let told = || {
        let written = host.written();
        let waits =
            |shard: u32| format!("shardId-{shard:012}: the on-failure destination did not take a batch");
        (0..2).all(|shard| written.contains(&waits(shard)))
    };
    assert!(process::wait_until(Duration::from_secs(60), told), "{}", host.written());
    proxy.set(&[]);
    let gave_up = || host.written().matches("gave up").count() >= 2;
    assert!(process::wait_until(Duration::from_secs(60), gave_up), "{}", host.written());
    up::put(&python, &lake, &endpoint, 2, 300);
    assert!(wait_for(600), "{} rows; {}", rows(), host.written());

    let state = lake.path().join("state").to_str().unwrap().to_owned();
    let compared = ["--stream", "clickstream", "--endpoint", &endpoint, "--state", &state];
    let (code, said) = verify(&lake, &compared);
    assert!(code == Some(1) && said.contains("are in no commit, later ones are"), "{said}");
    let status = process::run(lake.weir(["status", "--json"]).args(["--state", &state]));
    let status: Value = serde_json::from_str(&status).unwrap();
    let given_up = status["runtime"]["given_up"].as_array().unwrap();
    let records: u64 = given_up.iter().map(|batch| batch["records"].as_u64().unwrap()).sum();
    assert_eq!(records, 300, "{given_up:?}");
    for batch in given_up {
        let object = batch["object"].as_str().unwrap();
        assert_eq!(batch["condition"], "RetryAttemptsExhausted");
        let kept: Value =
            serde_json::from_str(&s3(&python, &server, &["cp", "--quiet", object, "-"])).unwrap();
        assert_eq!(
            kept["payload"]["Records"].as_array().unwrap().len() as u64,
            batch["records"].as_u64().unwrap()
        );
    }

    let replay =
        ["quarantine", "replay", "--from-failures", "--table", "clickstream", "--failures", &failures];
    let replay: Vec<&str> = replay.into_iter().chain(["--state", &state]).collect();
    let (kills, last) = through_kills(&lake, &replay);
    eprintln!("{kills} kills; the last run: {last}");
    assert_eq!((&last["records"], &last["batches"]), (&300.into(), &given_up.len().into()), "{last}");
    assert_eq!(rows(), 900);
    assert_eq!(lake.number("select count(distinct event_id) as n from clickstream"), 900);
    let (_, again) = through_kills(&lake, &replay);
    assert_eq!((&again["rows"], rows()), (&0.into(), 900), "{again}");
    let (code, said) = verify(&lake, &compared);
    assert!(code == Some(0) && said.contains("no gap, no duplicate, 900 records, 0 quarantined"), "{said}");
    assert!(host.stop(up::WITHIN).success());
}
