//! `weir up` and what producers do to it: aggregates, several tables on one stream, records as large
//! as they come, shards that split and merge under load.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::lake::Lake;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;

const WITHIN: Duration = Duration::from_secs(60);

/// A lake, the flags of its `weir up`, and where that listens.
struct Host {
    lake: Lake,
    port: String,
    flags: Vec<String>,
}

impl Host {
    fn new(lake: Lake, flags: &[&str]) -> Self {
        let state = lake.path().join("state").to_string_lossy().into_owned();
        let flags = flags.iter().map(|f| (*f).to_owned()).chain(["--state".to_owned(), state]).collect();
        Self { lake, port: process::free_port().to_string(), flags }
    }

    fn start(&self) -> Running {
        self.start_with_window("1s")
    }

    fn start_with_window(&self, window: &str) -> Running {
        let mut up = self.lake.weir([
            "up",
            "--port",
            &self.port,
            "--no-limits",
            "--window",
            window,
            "--close-every",
            "0s",
        ]);
        let mut up = Running::start(up.args(&self.flags), &self.lake.path().join("up.log"));
        up.wait_for_text("Ctrl-C stops", WITHIN);
        // The log is one for all runs: the greeting of this one is told by its port being open.
        let port = self.port.parse().unwrap();
        assert!(process::wait_until(WITHIN, || process::accepts(port)), "{}", up.written());
        up
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn put(&self, python: &Python, arguments: &[&str]) {
        let endpoint = self.endpoint();
        python.run("producers/put_events.py", [endpoint.as_str()].iter().chain(arguments));
    }

    fn kinesis(&self, python: &Python, operation: &str, arguments: &[&str]) -> String {
        process::run(python.aws(&self.endpoint()).args(["kinesis", operation]).args(arguments))
    }

    fn status(&self) -> Value {
        let state = self.lake.path().join("state").to_string_lossy().into_owned();
        let text = process::run(&mut self.lake.weir(["status", "--json", "--state", &state]));
        serde_json::from_str::<Value>(&text).unwrap()["runtime"].take()
    }

    fn wait_for(&self, up: &Running, sql: &str, expected: i64) {
        let mut found = 0;
        let done = process::wait_until(WITHIN, || {
            std::thread::sleep(Duration::from_millis(200));
            found = self.lake.number(sql);
            found >= expected
        });
        assert!(done && found == expected, "{sql}: {found}, not {expected}; {}", up.written());
    }

    /// The lines that the function printed about its invocations.
    fn invocations(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.lake.path().join("state/function.log")).unwrap();
        let lines = log.lines().filter_map(|line| Some(&line[line.find('{')?..]));
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

#[test]
fn aggregates_of_a_foreign_producer_become_a_row_for_each_event_through_a_kill() {
    let Some(python) = Python::get() else { return };
    let host = Host::new(Lake::with_tables(), &["--table", "clickstream"]);
    let up = host.start();
    host.put(&python, &["clickstream", "0", "500", "--per", "25"]);
    up.kill();
    let up = host.start();
    host.put(&python, &["clickstream", "500", "500", "--per", "25"]);
    host.wait_for(&up, "select count(*) as n from clickstream", 1_000);
    assert!(up.stop(WITHIN).success());
    let row = &host.lake.query(
        "select count(*) as row_count, count(distinct event_id) as ids, count(distinct _sequence) as records, \
         max(_subsequence) as last, count(distinct _shard || '/' || _sequence || '/' || _subsequence) as positions \
         from clickstream",
    )[0];
    let expected = json!({"row_count": 1_000, "ids": 1_000, "records": 40, "last": 24, "positions": 1_000});
    assert_eq!(*row, expected);
}

#[test]
fn one_stream_feeds_two_tables_by_their_routes() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::empty();
    let schemas = lake.path().join("definitions");
    std::fs::create_dir(&schemas).unwrap();
    let clickstream = std::fs::read(weir_tests::place::checkout().join("schemas/clickstream.json")).unwrap();
    for (table, kind) in [("clicks", "click"), ("purchases", "purchase")] {
        let mut definition: Value = serde_json::from_slice(&clickstream).unwrap();
        definition["Name"] = json!(table);
        definition["Parameters"]["weir.route"] = json!(format!("event_type={kind}"));
        std::fs::write(schemas.join(format!("{table}.json")), definition.to_string()).unwrap();
    }
    let schemas = schemas.to_string_lossy().into_owned();
    let host = Host::new(lake, &["--table", "clicks,purchases", "--stream", "shared", "--schemas", &schemas]);
    let up = host.start();
    host.put(&python, &["shared", "0", "300", "--kind", "click,purchase,page_view"]);
    host.wait_for(&up, "select count(*) as n from clicks", 100);
    host.wait_for(&up, "select count(*) as n from purchases", 100);
    host.wait_for(&up, "select count(*) as n from quarantine", 100);
    assert!(up.stop(WITHIN).success());
    for (table, kind) in [("clicks", "click"), ("purchases", "purchase")] {
        let foreign = format!("select count(*) as n from {table} where event_type <> '{kind}'");
        assert_eq!(host.lake.number(&foreign), 0);
    }
}

#[test]
fn batches_are_cut_to_fit_and_a_record_that_fits_no_event_is_kept() {
    let Some(python) = Python::get() else { return };
    let host = Host::new(Lake::with_tables(), &["--table", "clickstream", "--shards", "1"]);
    // Three records that a kill finds undelivered, and the second of them grows: the endpoint takes
    // none of that size, streams of the cloud can.
    let up = host.start_with_window("5m");
    host.put(&python, &["clickstream", "0", "3"]);
    up.kill();
    let journal = host.lake.path().join("state/stream/stream.journal").to_string_lossy().into_owned();
    python.run("producers/enlarge_record.py", [journal.as_str(), "1", "5000000"]);
    let up = host.start();
    host.put(&python, &["clickstream", "3", "12", "--bytes", "1048000"]);
    host.wait_for(&up, "select count(distinct event_id) as n from clickstream", 14);
    assert!(process::wait_until(WITHIN, || !host.status()["given_up"].as_array().unwrap().is_empty()));
    assert!(up.stop(WITHIN).success());
    assert_eq!(host.lake.number("select count(*) as n from clickstream"), 14);

    let delivered: Vec<u64> =
        host.invocations().iter().map(|line| line["payload_bytes"].as_u64().unwrap()).collect();
    // 6 MB in base64.
    assert!(delivered.iter().all(|bytes| *bytes <= (6 << 20) / 4 * 3), "{delivered:?}");
    assert!(
        delivered.iter().any(|bytes| *bytes > 4_000_000),
        "batches are smaller than need be: {delivered:?}"
    );

    let status = host.status();
    let [given_up] = status["given_up"].as_array().unwrap().as_slice() else { panic!("{status}") };
    assert_eq!((&given_up["condition"], &given_up["records"]), (&json!("PayloadSizeExceeded"), &json!(1)));
    let kept = std::fs::read(Path::new(given_up["object"].as_str().unwrap())).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert!(kept["payload"]["Records"][0]["kinesis"]["data"].as_str().unwrap().len() > 6_000_000);
    let state = host.lake.path().join("state").to_string_lossy().into_owned();
    let shown = process::run(&mut host.lake.weir(["status", "--state", &state]));
    for part in ["weir up does not run", "shardId-000000000000", "PayloadSizeExceeded", "state/failed/"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    // What the mapping kept in its folder comes in once; x after x is no JSON, so it is a dead letter.
    for new_letters in [1, 0] {
        let mut replay = host.lake.weir(["quarantine", "replay", "--from-failures", "--json"]);
        replay.args(["--table", "clickstream", "--state", &state]);
        let answer: Value = serde_json::from_str(process::run(&mut replay).trim()).unwrap();
        assert_eq!(
            (&answer["batches"], &answer["dead_letters"]),
            (&json!(1), &json!(new_letters)),
            "{answer}"
        );
        assert_eq!(host.lake.number("select count(*) as n from quarantine"), 1);
    }
}

#[test]
fn shards_split_and_merge_under_load_and_a_kill_and_each_event_is_a_row_once() {
    let Some(python) = Python::get() else { return };
    let host = Host::new(Lake::with_tables(), &["--table", "clickstream", "--shards", "2"]);
    let up = host.start();
    let acked = host.lake.path().join("acked");
    let acked_path = acked.to_string_lossy().into_owned();
    let mut producer = python.tool("python");
    let script = weir_tests::place::checkout().join("tests/producers/put_events.py");
    producer.arg(script).args([&host.endpoint(), "clickstream", "0", "12000", "--acked", &acked_path]);
    let mut producer = Running::start(&mut producer, &host.lake.path().join("producer.log"));
    let acked_now =
        || std::fs::read_to_string(&acked).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(process::wait_until(WITHIN, || acked_now().len() > 300), "{}", producer.written());
    let name = ["--stream-name", "clickstream"];
    let split = ["--shard-to-split", "shardId-000000000000", "--new-starting-hash-key"];
    let quarter = (u128::MAX / 4).to_string();
    host.kinesis(&python, "split-shard", &[&name[..], &split[..], &[&quarter]].concat());
    up.kill();
    let up = host.start();
    let merge =
        ["--shard-to-merge", "shardId-000000000003", "--adjacent-shard-to-merge", "shardId-000000000001"];
    host.kinesis(&python, "merge-shards", &[&name[..], &merge[..]].concat());
    let put = acked_now().len();
    assert!(process::wait_until(WITHIN, || acked_now().len() > put + 300 || !producer.is_running()));
    assert!(producer.wait(WITHIN).success(), "{}", producer.written());
    let total = acked_now().len();
    assert!(total > 1_000, "too little load: {total}");
    let rows = || host.lake.number("select count(*) as n from clickstream");
    let idle = || host.status()["shards"].as_object().unwrap().values().all(|s| s["records_pending"] == 0);
    let done = process::wait_until(WITHIN, || {
        std::thread::sleep(Duration::from_millis(500));
        idle() && rows() >= total as i64
    });
    assert!(done, "{} of {total} rows; {}", rows(), up.written());
    assert!(up.stop(WITHIN).success());

    let found = host.lake.query("select event_id from clickstream");
    let ids: HashSet<&str> = found.iter().map(|row| row["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), found.len(), "an event became two rows");
    let missing: Vec<_> = acked_now().into_iter().filter(|id| !ids.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    let status = host.status();
    let closed = status["shards"].as_object().unwrap().values().filter(|s| s["state"] == "closed").count();
    assert_eq!(closed, 3, "{status}");
}
