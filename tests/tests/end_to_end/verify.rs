//! `weir verify` on lakes that the built programs made: clean, damaged, repaired, beside a stream.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use weir_tests::lake::Lake;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;

fn event(n: usize) -> String {
    let user = if n % 10 == 3 { "\"nobody\"".to_owned() } else { n.to_string() };
    format!(
        "{{\"event_id\":\"e-{n}\",\"event_type\":\"click\",\"event_time\":\"2025-11-{:02}T03:04:05Z\",\"user_id\":{user}}}",
        20 + n % 2
    )
}

/// 100 events, 10 of them dead letters, in three partitions with the quarantine's.
fn loaded() -> (Lake, PathBuf) {
    let lake = Lake::with_tables();
    let input = lake.path().join("events.ndjson");
    let text: String = (0..100).map(|n| event(n) + "\n").collect();
    std::fs::write(&input, text + "\n").unwrap();
    process::run(&mut lake.weir(["ingest", &input.to_string_lossy(), "--table", "clickstream"]));
    (lake, input)
}

/// Exit code and stdout.
fn verify<const N: usize>(lake: &Lake, arguments: [&str; N]) -> (i32, String) {
    let answer = process::output(lake.weir(["verify"]).args(arguments));
    let out = String::from_utf8(answer.stdout).unwrap();
    (answer.status.code().unwrap(), out)
}

#[test]
fn a_lake_is_clean_until_something_is_taken_and_repair_touches_only_what_it_may() {
    let (lake, input) = loaded();
    let clean = (0, "no gap, no duplicate, 100 records, 10 quarantined\n".to_owned());
    assert_eq!(verify(&lake, []), clean);
    assert_eq!(verify(&lake, ["--repair"]), clean);
    assert_eq!(verify(&lake, ["--table", "clickstream"]), clean);

    // A file that a crash left: no commit lists it, and its name is a slot of the shard.
    // A commit lists its files in the order in which their puts ended.
    let mut files = lake.files("clickstream").into_iter();
    let listed = files.find(|file| file.to_string_lossy().ends_with("-0.parquet")).unwrap();
    let name = listed.file_name().unwrap().to_string_lossy().replace("-0.parquet", "-7777.parquet");
    assert_ne!(name, listed.file_name().unwrap().to_string_lossy());
    // Nothing of that offset is committed: the file is 12 KB long, and ends before.
    let orphan = listed.with_file_name(name.replace("-7777", "-77777777"));
    std::fs::copy(&listed, &orphan).unwrap();
    let (code, out) = verify(&lake, []);
    let key = orphan.strip_prefix(lake.path()).unwrap().to_string_lossy().into_owned();
    assert_eq!(code, 1);
    assert_eq!(
        out,
        format!(
            "{key}: no commit lists it nor its first record: a crash left it, or its batch is under way; the batch's next delivery removes it; if there will be none, `weir verify --repair` does\n1 findings, 100 records, 10 quarantined\n"
        )
    );
    let (code, out) = verify(&lake, ["--repair", "--json"]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (code, &lines[0]["kind"], &lines[0]["repaired"]),
        (0, &"uncommitted_file".into(), &true.into())
    );
    assert_eq!((&lines[1]["clean"], &lines[1]["records"]), (&true.into(), &100.into()));
    assert!(!orphan.exists());
    assert_eq!(verify(&lake, []), clean);

    // A listed file is gone: nothing repairs that.
    std::fs::remove_file(&listed).unwrap();
    let (code, out) = verify(&lake, ["--repair"]);
    assert_eq!(code, 1);
    assert!(out.contains("version 1 lists it and it is not there; bring it back"), "{out}");
    assert!(out.ends_with("1 findings, 100 records, 10 quarantined\n"), "{out}");
    drop(input);
}

#[test]
fn a_source_that_is_still_there_is_compared_and_one_that_changed_is_not() {
    let (lake, input) = loaded();
    let (_, out) = verify(&lake, ["--json"]);
    let summary: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((&summary["sources_compared"], &summary["rows"]), (&1.into(), &90.into()));
    // A source that has become nothing but dead letters is known from their file.
    let letters = lake.path().join("letters.ndjson");
    std::fs::write(&letters, "no JSON\n".repeat(3)).unwrap();
    process::run(lake.weir(["ingest", "--table", "clickstream"]).arg(&letters));
    let (code, out) = verify(&lake, ["--json"]);
    let summary: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((code, &summary["sources_compared"], &summary["quarantined"]), (0, &2.into(), &13.into()));
    let more = std::fs::read_to_string(&input).unwrap() + &event(100) + "\n";
    std::fs::write(&input, more).unwrap();
    let (code, out) = verify(&lake, ["--json"]);
    let summary: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((code, &summary["sources_compared"]), (0, &1.into()));
    assert!(summary["sources_skipped"][0].as_str().unwrap().contains("it has changed"), "{out}");
}

#[test]
fn wrong_usage_is_exit_code_2_and_names_what_there_is() {
    let lake = Lake::with_tables();
    for (arguments, says) in [
        (["--table", "nothing"].as_slice(), "clickstream"),
        (&["--table", "clickstream", "--partition", "x"], "--partition dt=2026-11-20"),
        (&["--partition", "dt=2026-11-20"], "--table"),
        (&["--endpoint", "http://127.0.0.1:1"], "--stream"),
        (&["--nothing"], "--nothing"),
    ] {
        let answer = process::output(lake.weir(["verify"]).args(arguments).env_remove("WEIR_STREAM"));
        let text = String::from_utf8(answer.stderr).unwrap();
        assert_eq!(answer.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(says) && answer.stdout.is_empty(), "{arguments:?}: {text}");
    }
    assert_eq!(verify(&lake, []), (0, "no gap, no duplicate, 0 records, 0 quarantined\n".to_owned()));
}

#[test]
fn a_stream_is_compared_with_the_commits_record_by_record() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::with_tables();
    let port = process::free_port().to_string();
    let endpoint = format!("http://127.0.0.1:{port}");
    let state = lake.path().join("state").to_string_lossy().into_owned();
    let mut up = lake.weir(["up", "--table", "clickstream", "--port", &port, "--window", "1s"]);
    let mut up = Running::start(up.args(["--state", &state]), &lake.path().join("up.log"));
    up.wait_for_text("Ctrl-C stops", Duration::from_secs(30));
    let put = |from: usize| {
        let records: Vec<_> = (from..from + 100)
            .map(|n| serde_json::json!({"PartitionKey": n.to_string(), "Data": event(n)}))
            .collect();
        let file = lake.path().join("records.json");
        std::fs::write(&file, serde_json::to_vec(&records).unwrap()).unwrap();
        let records = format!("file://{}", file.display());
        process::run(
            python
                .aws(&endpoint)
                .args(["kinesis", "put-records", "--stream-name", "clickstream"])
                .args(["--records", &records]),
        );
    };
    put(0);
    let compare = || {
        let (code, out) =
            verify(&lake, ["--endpoint", &endpoint, "--stream", "clickstream", "--state", &state, "--json"]);
        let last = out.lines().last().unwrap_or_default().to_owned();
        (code, serde_json::from_str::<Value>(&last).unwrap_or_default(), out)
    };
    let done = process::wait_until(Duration::from_secs(30), || compare().1["records"] == 100);
    let (code, summary, out) = compare();
    assert!(done, "{out}\n{}", up.written());
    assert_eq!(
        (code, &summary["stream_records"], &summary["stream_waiting"]),
        (0, &100.into(), &0.into()),
        "{out}"
    );

    put(100);
    assert!(process::wait_until(Duration::from_secs(30), || compare().1["records"] == 200));
    // The newest commit of a shard is taken away: its records are in the stream and in no commit.
    let commits = lake.path().join("_weir/commits");
    let mut taken = Vec::new();
    for stream in std::fs::read_dir(commits).unwrap() {
        for shard in std::fs::read_dir(stream.unwrap().path()).unwrap() {
            let names = std::fs::read_dir(shard.unwrap().path()).unwrap().map(|entry| entry.unwrap().path());
            taken.extend(names.filter(|path| path.ends_with("999999999998.commit")));
        }
    }
    std::fs::remove_file(&taken[0]).unwrap();
    let (code, _, out) = compare();
    let kinds: Vec<String> = out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(code, 1);
    assert!(kinds.contains(&"missing_versions".to_owned()), "{kinds:?}");
    assert!(kinds.contains(&"missing_range".to_owned()), "{kinds:?}");
    assert!(up.stop(Duration::from_secs(30)).success());
}

#[test]
fn an_endpoint_that_wants_signed_requests_is_read_with_the_keys_of_the_environment() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::with_tables();
    let (port, gate) = (process::free_port(), process::free_port());
    let host = crate::up::start(&lake, port);
    crate::up::put(&python, &lake, &format!("http://127.0.0.1:{port}"), 0, 50);
    let rows = || lake.number("select count(*) as n from clickstream");
    assert!(process::wait_until(Duration::from_secs(30), || rows() == 50), "{}", host.written());
    let mut signed_only = python.tool("python");
    signed_only.arg(weir_tests::place::checkout().join("tests/producers/signed_only.py"));
    signed_only.args([
        &gate.to_string(),
        &format!("http://127.0.0.1:{port}"),
        "AKID",
        "of us both",
        "eu-west-1",
    ]);
    let gatekeeper = Running::start(&mut signed_only, &lake.path().join("gate.log"));
    assert!(
        process::wait_until(Duration::from_secs(30), || process::accepts(gate)),
        "{}",
        gatekeeper.written()
    );
    let state = lake.path().join("state");
    let asked = |secret: Option<&str>| {
        let mut verify = lake.weir(["verify", "--stream", "clickstream", "--endpoint"]);
        verify
            .arg(format!("http://127.0.0.1:{gate}"))
            .arg("--state")
            .arg(&state)
            .env("AWS_REGION", "eu-west-1");
        if let Some(secret) = secret {
            verify.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", secret);
        }
        let output = process::output(&mut verify);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = asked(Some("of us both"));
    assert!(
        code == Some(0) && said.contains("50 records: 50 are committed"),
        "{said}\n{}",
        gatekeeper.written()
    );
    for secret in [Some("another"), None] {
        let (code, said) = asked(secret);
        assert!(code == Some(1) && said.contains("InvalidSignatureException"), "{said}");
    }
    let mut far =
        lake.weir(["verify", "--stream", "s", "--endpoint", "https://kinesis.eu-west-1.amazonaws.com"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        far.env_remove(name);
    }
    let refused = process::output(&mut far);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && text.contains("set AWS_ACCESS_KEY_ID"), "{text}");
    assert!(host.stop(Duration::from_secs(30)).success());
}
