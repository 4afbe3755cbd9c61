//! Dead letters as a user meets them: seen, mended, replayed once, counted by readers that others
//! wrote; replays that are killed; batches the mapping gave up on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::lake::Lake;
use weir_tests::process::Running;
use weir_tests::python::Python;
use weir_tests::{process, readers};

/// The table with bounds for `n`.
pub(crate) fn apply(lake: &Lake, max: u32) {
    let folder = lake.path().join("definitions");
    std::fs::create_dir_all(&folder).unwrap();
    let definition = json!({"Name": "readings", "TableType": "EXTERNAL_TABLE",
        "Parameters": {"weir.partition.site": "identity(site)"},
        "PartitionKeys": [{"Name": "site", "Type": "string"}],
        "StorageDescriptor": {"Columns": [
            {"Name": "id", "Type": "string", "Parameters": {"weir.required": "true"}},
            {"Name": "n", "Type": "int", "Parameters": {"weir.required": "true", "weir.max": max.to_string()}}]}});
    std::fs::write(folder.join("readings.json"), definition.to_string()).unwrap();
    process::run(lake.weir(["tables", "apply", "--schemas"]).arg(&folder));
}

fn ingest(lake: &Lake, name: &str, text: &str) -> PathBuf {
    let file = lake.path().join(name);
    std::fs::write(&file, text).unwrap();
    process::run(lake.weir(["ingest", "--table", "readings"]).arg(&file));
    file
}

fn answer(command: &mut Command) -> Value {
    serde_json::from_str(process::run(command).trim()).unwrap()
}

fn replay(lake: &Lake, flags: &[&str]) -> Value {
    answer(lake.weir(["quarantine", "replay", "--json"]).args(flags))
}

pub(crate) fn counts(lake: &Lake) -> (i64, i64) {
    let count = |table: &str| lake.number(&format!("select count(*) as n from {table}"));
    (count("readings"), count("quarantine"))
}

#[test]
fn rows_of_a_replay_show_in_a_closed_partition_with_its_next_revision_and_the_replay_says_so() {
    let lake = Lake::empty();
    apply(&lake, 10);
    let mut text = String::new();
    for n in 0..20 {
        let _ = writeln!(text, r#"{{"id":"r{n}","n":{n},"site":"{}"}}"#, ["x", "y"][n % 2]);
    }
    ingest(&lake, "readings.ndjson", &text);
    let close = || process::run(&mut lake.weir(["close", "--table", "readings", "--partition", "site=x"]));
    close();
    apply(&lake, 200);
    assert!(!process::run(&mut lake.weir(["quarantine", "replay", "--dry-run"])).contains("are closed"));
    let said = process::run(&mut lake.weir(["quarantine", "replay"]));
    assert!(said.contains("closed: 1; their rows show with the next revision"), "{said}");
    assert_eq!(counts(&lake), (16, 0), "those of site y");
    close();
    assert_eq!(counts(&lake), (20, 0));
}

#[test]
fn letters_are_seen_mended_and_replayed_once() {
    let lake = Lake::empty();
    apply(&lake, 10);
    let mut text = String::new();
    for n in 0..300 {
        let _ = writeln!(text, r#"{{"id":"r{n}","n":{n},"site":"{}"}}"#, ["x", "y"][n % 2]);
    }
    text.push_str("{\"id\":\"bad\",\"n\":\"\x1b[31mred\",\"site\":\"x\"}\nno json\n");
    let input = ingest(&lake, "readings.ndjson", &text);
    assert_eq!(counts(&lake), (11, 291));

    let listed = process::run(&mut lake.weir(["quarantine", "ls", "--json"]));
    let groups: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let group = |reason: &str| groups.iter().find(|g| g["reason"] == reason).unwrap();
    assert_eq!((&group("constraint")["letters"], &group("constraint")["path"]), (&289.into(), &"n".into()));
    let table = process::run(&mut lake.weir(["quarantine", "ls"]));
    assert!(table.contains("291 open letters") && table.contains("malformed_json"), "{table}");
    let shown = process::run(&mut lake.weir(["quarantine", "show", "--reason", "malformed_json"]));
    assert!(shown.contains("no json") && !shown.contains("\"n\":11"), "{shown}");
    assert!(!process::run(&mut lake.weir(["quarantine", "show", "--limit", "1000"])).contains('\x1b'));
    let cut = answer(&mut lake.weir(["quarantine", "show", "--limit", "1", "--bytes", "4", "--json"]));
    assert_eq!((&cut["raw"], &cut["raw_is_cut"]), (&Value::Null, &true.into()), "{cut}");

    apply(&lake, 200);
    let dry = replay(&lake, &["--dry-run"]);
    assert_eq!((&dry["letters"], &dry["resolved"], &dry["commits"]), (&291.into(), &190.into(), &0.into()));
    assert_eq!(counts(&lake), (11, 291), "a dry run changed something");
    let other = replay(&lake, &["--reason", "wrong_type,malformed_json"]);
    assert_eq!((&other["letters"], &other["resolved"]), (&2.into(), &0.into()));
    let later = replay(&lake, &["--since", "2999-01-01"]);
    assert_eq!(later["letters"], 0);
    let done = replay(&lake, &["--table", "readings", "--since", "1h"]);
    assert_eq!((&done["resolved"], &done["letters"]), (&190.into(), &291.into()));
    assert_eq!(counts(&lake), (201, 101));
    assert_eq!(
        lake.number("select count(distinct _sequence || '.' || _subsequence) as n from readings"),
        201
    );
    let arrived = "select count(distinct _arrived_at) as n from readings";
    assert_eq!(lake.number(arrived), 1, "replayed rows keep their arrival");
    let again = replay(&lake, &[]);
    assert_eq!((&again["resolved"], &again["commits"]), (&0.into(), &0.into()), "{again}");
    let said = process::run(&mut lake.weir(["quarantine", "replay"]));
    assert!(said.contains("nothing to do"), "{said}");
    let status = answer(&mut lake.weir(["status", "--json"]));
    assert_eq!(
        (&status["shards"][0]["rows"], &status["shards"][0]["quarantined"]),
        (&201.into(), &101.into())
    );

    let verified = process::run(&mut lake.weir(["verify"]));
    assert!(verified.contains("no gap, no duplicate, 302 records, 101 quarantined"), "{verified}");

    let Some(python) = Python::get() else { return };
    readers::recount(&python, &[input], &lake.files("readings"), &lake.files("quarantine"), &[]);
    let agreed = readers::read_alike(&python, &lake.files("quarantine"));
    assert_eq!(agreed["rows"], 101);
}

#[test]
fn replays_that_are_killed_and_run_side_by_side_lose_and_repeat_nothing() {
    let lake = Lake::empty();
    apply(&lake, 10);
    let (files, each) = (6, 4_000);
    let mut inputs = Vec::new();
    for file in 0..files {
        let mut text = String::new();
        for n in 0..each {
            let n = 100 * file * each + n * 2;
            let _ = writeln!(text, r#"{{"id":"r{n}","n":{n},"site":"s{}"}}"#, n % 3);
        }
        inputs.push(ingest(&lake, &format!("readings-{file}.ndjson"), &text));
    }
    let total = (files * each) as i64;
    let before = counts(&lake);
    assert_eq!(before.0 + before.1, total);
    apply(&lake, 1_200_000);
    let fits = total - (5 * each) as i64 + fitting(&inputs);
    let mut kills = 0;
    for round in 0..60u64 {
        let log = |n: u8| lake.path().join(format!("log{n}"));
        let mut one = Running::start(&mut lake.weir(["quarantine", "replay"]), &log(1));
        let two = (round % 3 == 0).then(|| Running::start(&mut lake.weir(["quarantine", "replay"]), &log(2)));
        let patience = Duration::from_millis(15 + 40 * round);
        let ended = process::wait_until(patience, || !one.is_running());
        if let Some(two) = two {
            two.kill();
        }
        // One query sees one state, also while the other replay goes on.
        let all =
            "select count(*) as n from (select id from readings union all select sequence from quarantine)";
        assert_eq!(lake.number(all), total, "after {kills} kills");
        if ended {
            assert!(one.wait(Duration::from_secs(1)).success(), "{}", one.written());
            break;
        }
        one.kill();
        kills += 1;
    }
    assert!(kills > 0, "it was never killed");
    assert_eq!(replay(&lake, &[])["resolved"], 0, "something was left to replay");
    let (rows, letters) = counts(&lake);
    assert_eq!((rows, letters), (fits, total - fits));
    assert_eq!(lake.number("select count(distinct id) as n from readings"), rows);
    assert_eq!(
        lake.number("select count(distinct stream || sequence || '.' || subsequence) as n from quarantine"),
        letters
    );
    let verified = process::run(&mut lake.weir(["verify"]));
    assert!(verified.contains(&format!("{total} records, {letters} quarantined")), "{verified}");
    if let Some(python) = Python::get() {
        readers::recount(&python, &inputs, &lake.files("readings"), &lake.files("quarantine"), &[]);
    }
}

/// Records of all files but the first that the wider table takes.
fn fitting(inputs: &[PathBuf]) -> i64 {
    let fits = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["n"].as_i64().unwrap() <= 1_200_000
    };
    let of =
        |file: &PathBuf| std::fs::read_to_string(file).unwrap().lines().filter(|l| fits(l)).count() as i64;
    inputs[1..].iter().map(of).sum()
}

fn up(lake: &Lake, port: u16) -> Running {
    let state = lake.path().join("state").to_string_lossy().into_owned();
    let port = port.to_string();
    let mut up = lake.weir(["up", "--table", "readings", "--port", &port, "--shards", "1", "--window", "1s"]);
    let mut up = Running::start(up.args(["--state", &state]), &lake.path().join("up.log"));
    up.wait_for_text("Ctrl-C stops", Duration::from_secs(30));
    up
}

/// What the mapping writes of the batch of these records; with their content for an object.
fn given_up(records: &[(String, String)], whole: bool) -> Value {
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/readings";
    let shard = "shardId-000000000000";
    let mut object = json!({
        "requestContext": {"requestId": "r", "functionArn": "f", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 3},
        "version": "1.0", "timestamp": "2026-11-20T00:00:00.000Z",
        "KinesisBatchInfo": {"shardId": shard, "startSequenceNumber": records[0].0,
            "endSequenceNumber": records[records.len() - 1].0,
            "approximateArrivalOfFirstRecord": "2026-11-20T00:00:00.000Z",
            "approximateArrivalOfLastRecord": "2026-11-20T00:00:00.000Z",
            "batchSize": records.len(), "streamArn": arn}});
    if whole {
        let record = |(sequence, base64): &(String, String)| {
            json!({"kinesis": {"kinesisSchemaVersion": "1.0", "partitionKey": "k", "sequenceNumber": sequence,
                "data": base64, "approximateArrivalTimestamp": 1_763_600_000.5}, "eventSource": "aws:kinesis",
                "eventVersion": "1.0", "eventID": format!("{shard}:{sequence}"), "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "i", "awsRegion": "us-east-1", "eventSourceARN": arn})
        };
        object["payload"] = json!({"Records": records.iter().map(record).collect::<Vec<_>>()});
    }
    object
}

/// Put records; their sequence numbers and content in base64.
fn put(python: &Python, lake: &Lake, port: u16, count: usize) -> Vec<(String, String)> {
    let data = |n: usize| format!(r#"{{"id":"r{n}","n":{n},"site":"x"}}"#);
    let records: Vec<_> =
        (0..count).map(|n| json!({"PartitionKey": n.to_string(), "Data": data(n)})).collect();
    let file = lake.path().join("records.json");
    std::fs::write(&file, serde_json::to_vec(&records).unwrap()).unwrap();
    let file = format!("file://{}", file.display());
    let mut aws = python.aws(&format!("http://127.0.0.1:{port}"));
    let answered =
        answer(aws.args(["kinesis", "put-records", "--stream-name", "readings", "--records", &file]));
    let records = answered["Records"].as_array().unwrap().iter().enumerate();
    records
        .map(|(n, r)| (r["SequenceNumber"].as_str().unwrap().to_owned(), base64(data(n).as_bytes())))
        .collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let value = chunk.iter().fold(0u32, |v, b| v << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(value >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

fn from_failures(lake: &Lake, state: &Path, failures: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let mut weir = lake.weir(["quarantine", "replay", "--from-failures", "--table", "readings", "--json"]);
    let output = process::output(weir.arg("--state").arg(state).arg("--failures").arg(failures).args(more));
    let text = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("{text}{err}")))
}

#[test]
fn batches_that_the_mapping_gave_up_on_come_in_once() {
    let Some(python) = Python::get() else { return };
    // The stream feeds one lake; another one gets what its mapping gave up on.
    let (fed, lake) = (Lake::empty(), Lake::empty());
    [&fed, &lake].into_iter().for_each(|lake| apply(lake, 80));
    let port = process::free_port();
    let up = up(&fed, port);
    let mut records = put(&python, &fed, port, 100);
    records.sort();
    let state = fed.path().join("state");
    let failures = lake.path().join("failures");
    let object = failures.join("aws/lambda/m/shardId-000000000000/2026/11/20");
    std::fs::create_dir_all(&object).unwrap();
    let write = |name: &str, value: Value| std::fs::write(object.join(name), value.to_string()).unwrap();
    write("2026-11-20T00.00.00-a", given_up(&records[..60], true));
    let (code, first) = from_failures(&lake, &state, &failures, &[]);
    assert_eq!((code, &first["records"]), (Some(0), &60.into()), "{first}");
    let total = |answer: &Value| answer["rows"].as_i64().unwrap() + answer["dead_letters"].as_i64().unwrap();
    assert_eq!(total(&first), 60);

    // Overlapping, cut anew, and of some only the positions: what is in the lake is trimmed.
    write("2026-11-20T00.00.01-b", given_up(&records[40..70], true));
    write("2026-11-20T00.00.02-c", given_up(&records[65..], false));
    let (code, without) = from_failures(&lake, &state, &failures, &[]);
    assert_eq!((code, &without["batches_without_payload"], total(&without)), (Some(1), &1.into(), 10));
    let listed = process::run(
        lake.weir(["quarantine", "ls", "--from-failures", "--json", "--failures"])
            .arg(&failures)
            .arg("--state")
            .arg(&state),
    );
    let left: Vec<Value> = listed
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap()["not_in_the_lake"].clone())
        .collect();
    assert_eq!(left, [0, 0, 30]);
    let endpoint = format!("http://127.0.0.1:{port}");
    let (code, whole) = from_failures(&lake, &state, &failures, &["--endpoint", &endpoint]);
    assert_eq!((code, total(&whole)), (Some(0), 30), "{whole}");
    let (code, again) = from_failures(&lake, &state, &failures, &["--endpoint", &endpoint]);
    assert_eq!((code, total(&again)), (Some(0), 0), "{again}");
    assert_eq!(counts(&lake), (81, 19));
    assert_eq!(lake.number("select count(distinct _sequence) as n from readings"), 81);

    // The lake that was fed knows them all; with another identity they would come in again.
    let fed_all = process::wait_until(Duration::from_secs(30), || counts(&fed) == (81, 19));
    assert!(fed_all, "{}", up.written());
    let (code, known) = from_failures(&fed, &state, &failures, &["--endpoint", &endpoint]);
    assert_eq!((code, total(&known)), (Some(0), 0), "{known}");
    let mut wrong = fed.weir(["quarantine", "replay", "--from-failures", "--table", "readings"]);
    wrong.arg("--failures").arg(&failures).args(["--stream-identity", "another"]);
    let refused = process::output(&mut wrong);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && text.contains("--stream-identity"), "{text}");
    // Letters of a stream are replayed like those of files.
    apply(&lake, 1_000);
    assert_eq!(replay(&lake, &[])["resolved"], 19);
    assert_eq!(counts(&lake), (100, 0));
    let verified = process::run(&mut lake.weir(["verify"]));
    assert!(verified.contains("no gap, no duplicate, 100 records, 0 quarantined"), "{verified}");
    assert!(up.stop(Duration::from_secs(30)).success());
}
