//! The whole runtime with the test binary as the function, and SIGKILL.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;
use serde_json::{Value, json};
use weir::clock::SystemClock;

const HOSTED: &str = "runtime::function::tests::as_function";
const RUNTIME: &str = "runtime::tests::as_runtime";

fn test_program(test: &str, env: &[(&str, &str)]) -> Program {
    Program {
        path: std::env::current_exe().unwrap(),
        args: ["--exact", test, "--nocapture", "--test-threads=1"].map(Into::into).into(),
        env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

fn config(folder: &Path) -> UpConfig {
    let mut config = UpConfig::new(folder, "clicks", "ingest", Arc::new(SystemClock));
    config.enforce_limits = false;
    // So that kills meet the journal in the middle of being written anew.
    config.compact_from_bytes = 1;
    config.mapping.window = Duration::from_millis(50);
    config.mapping.batch_size = 200;
    config.mapping.poll_interval = Duration::from_millis(10);
    config
}

async fn put(kinesis: &poller::kinesis::Kinesis, numbers: std::ops::Range<usize>) -> bool {
    let encode = |n: usize| base64_simd::STANDARD.encode_to_string(n.to_string());
    let records: Vec<_> =
        numbers.map(|n| json!({"PartitionKey": format!("k{}", n % 13), "Data": encode(n)})).collect();
    kinesis.call("PutRecords", &json!({"StreamName": "clicks", "Records": records})).await.is_ok()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 30 s: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_process_gets_every_record_and_status_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let function = HostedFunction::new(test_program(HOSTED, &[("TEST_ROLE", "accepts")]));
    let running = up(config(folder.path()), function.clone()).await.unwrap();
    for from in (0..1_000).step_by(100) {
        assert!(put(running.endpoint().client(), from..from + 100).await);
        if from == 500 {
            assert!(running.function().unwrap().kill_processes() > 0);
        }
    }
    eventually("1,000 records", || running.status().records_delivered() == 1_000).await;
    let message = format!("{:#}", up(config(folder.path()), function).await.err().unwrap());
    assert!(message.contains("in use by process"), "{message}");
    running.stop().await;
    let status = read_status(folder.path()).unwrap().unwrap();
    assert_eq!((status.records_delivered(), status.records_given_up()), (1_000, 0));
    assert!(status.shards.values().all(|s| s.checkpoint.is_some() && s.records_pending == 0), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_ends_the_function_is_bisected_out_kept_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let env = [("TEST_ROLE", "scripted"), ("TEST_SCRIPT", "poison 37")];
    let mut config = config(folder.path());
    config.shards = 1;
    config.mapping.policy.maximum_retry_attempts = Some(1);
    config.mapping.backoff =
        poller::Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) };
    let running = up(config, HostedFunction::new(test_program(HOSTED, &env))).await.unwrap();
    assert!(put(running.endpoint().client(), 0..100).await);
    let done = |status: &Status| (status.records_delivered(), status.records_given_up());
    eventually("99 records and one given up", || done(&running.status()) == (99, 1)).await;
    running.stop().await;
    let status = read_status(folder.path()).unwrap().unwrap();
    let line = &status.shards["shardId-000000000000"];
    // The poison is met in each half of a half, and once more when it is alone.
    assert!((7..=12).contains(&line.function_errors), "{line:?}");
    assert!(line.last_error.as_ref().unwrap().contains("RetryAttemptsExhausted"), "{line:?}");
    assert!(!status.running);
    let object = status.given_up[0].object.as_ref().unwrap();
    let object: Value = serde_json::from_slice(&std::fs::read(object).unwrap()).unwrap();
    assert_eq!(object["payload"]["Records"][0]["kinesis"]["data"], "Mzc=");
}

/// A runtime in a process of its own, whose function writes down what it gets; a no-op otherwise.
#[test]
fn as_runtime() {
    #[allow(clippy::disallowed_methods, reason = "a test that starts itself as a process")]
    let Ok(folder) = std::env::var("TEST_RUNTIME_FOLDER") else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = PathBuf::from(folder);
        let log = Arc::new(std::sync::Mutex::new(
            std::fs::File::options().create(true).append(true).open(folder.join("seen")).unwrap(),
        ));
        let function = move |event: bytes::Bytes| {
            use std::io::Write;
            let event: Value = serde_json::from_slice(&event).unwrap();
            let mut lines = String::new();
            for record in event["Records"].as_array().unwrap() {
                let data = record["kinesis"]["data"].as_str().unwrap();
                let data = String::from_utf8(base64_simd::STANDARD.decode_to_vec(data).unwrap()).unwrap();
                lines += &format!("{} {data}\n", record["eventID"].as_str().unwrap());
            }
            log.lock().unwrap().write_all(lines.as_bytes()).unwrap();
            async { poller::InvokeOutcome::Answer(bytes::Bytes::from_static(b"{}")) }
        };
        let running = up_with(config(&folder), Arc::new(function)).await.unwrap();
        println!("\nendpoint {}", running.endpoint_url());
        std::future::pending::<()>().await;
    });
}

fn start_runtime(folder: &Path) -> (Child, String) {
    let program = test_program(RUNTIME, &[]);
    let mut child = Command::new(program.path)
        .args(program.args)
        .env("TEST_RUNTIME_FOLDER", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.map_while(Result::ok).find_map(|l| l.strip_prefix("endpoint ").map(str::to_owned));
    (child, url.unwrap())
}

/// Event ids by the number in the record, as the function saw them in all runs.
fn seen(folder: &Path) -> HashMap<usize, Vec<String>> {
    let mut seen: HashMap<usize, Vec<String>> = HashMap::new();
    for line in std::fs::read_to_string(folder.join("seen")).unwrap_or_default().lines() {
        let Some((id, number)) = line.split_once(' ') else { continue };
        let ids = seen.entry(number.parse().unwrap()).or_default();
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_under_load_it_loses_no_acknowledged_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for round in 0..6_u64 {
        let (mut child, url) = start_runtime(folder.path());
        let kinesis = poller::kinesis::Kinesis::new(&url).unwrap();
        let killer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(40 + 37 * round)).await;
            child.kill().unwrap();
            child.wait().unwrap();
        });
        while put(&kinesis, number..number + 100).await {
            acknowledged.extend(number..number + 100);
            number += 100;
        }
        // A request that was cut off may or may not have been taken: its numbers are not reused.
        number += 100;
        killer.await.unwrap();
    }
    let (mut child, url) = start_runtime(folder.path());
    let kinesis = poller::kinesis::Kinesis::new(&url).unwrap();
    assert!(put(&kinesis, number..number + 100).await);
    acknowledged.extend(number..number + 100);
    eventually("every acknowledged record", || {
        let seen = seen(folder.path());
        acknowledged.iter().all(|n| seen.contains_key(n))
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    // Whatever was delivered twice was delivered as the same record.
    let seen = seen(folder.path());
    assert!(acknowledged.len() > 600, "too little load: {}", acknowledged.len());
    assert!(acknowledged.iter().all(|n| seen[n].len() == 1));
}
