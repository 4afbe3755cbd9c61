//! The poller over the embedded endpoint, with closures in the function's place.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir::clock::{Clock, EpochMicros, ManualClock, SystemClock};

use super::decide::Policy;
use super::*;
use crate::runtime::endpoint::{COMPACT_FROM_BYTES, Endpoint, EndpointConfig};

mod windows;

const STREAM: &str = "clicks";

/// Records as the function saw them: (event id, key, data), one list an event.
type Seen = Arc<Mutex<Vec<Vec<(String, String, String)>>>>;

struct Bench {
    folder: TempDir,
    endpoint: Endpoint,
}

impl Bench {
    async fn new(shards: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start(EndpointConfig {
            state_dir: folder.path().join("stream"),
            port: None,
            enforce_limits: false,
            sync: false,
            compact_from_bytes: COMPACT_FROM_BYTES,
            clock: Arc::new(SystemClock),
        })
        .await
        .unwrap();
        endpoint.ensure_stream(STREAM, shards).await.unwrap();
        Self { folder, endpoint }
    }

    fn config(&self) -> PollerConfig {
        let mut mapping = MappingConfig::new(STREAM, "ingest");
        mapping.window = Duration::ZERO;
        mapping.batch_size = 100;
        mapping.poll_interval = Duration::from_millis(10);
        mapping.discovery_interval = Duration::from_millis(50);
        mapping.backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) };
        PollerConfig {
            endpoint: self.endpoint.url(),
            mapping,
            state_dir: self.folder.path().join("poller"),
            status_file: self.folder.path().join("status.json"),
            destination: Destination::folder(self.folder.path().join("failed")).unwrap(),
            clock: Arc::new(SystemClock),
            report: Arc::new(|_: &str| {}),
        }
    }

    async fn put(&self, records: impl IntoIterator<Item = (String, String)>) {
        let records: Vec<Value> = records
            .into_iter()
            .map(|(key, data)| json!({"PartitionKey": key, "Data": base64_simd::STANDARD.encode_to_string(data)}))
            .collect();
        for chunk in records.chunks(500) {
            let body = json!({"StreamName": STREAM, "Records": chunk});
            let answer = self.endpoint.client().call("PutRecords", &body).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["FailedRecordCount"], 0);
        }
    }

    async fn put_numbers(&self, numbers: std::ops::Range<usize>) {
        self.put(numbers.map(|n| (format!("key{}", n % 17), n.to_string()))).await;
    }

    async fn manage(&self, operation: &'static str, mut body: Value) {
        body["StreamName"] = json!(STREAM);
        self.endpoint.client().call(operation, &body).await.unwrap();
    }

    /// The objects of the on-failure destination.
    fn failed(&self) -> Vec<Value> {
        let mut found = Vec::new();
        collect(&self.folder.path().join("failed"), &mut found);
        found
    }
}

pub(super) fn collect(folder: &Path, found: &mut Vec<Value>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
        }
    }
}

fn records_of(event: &Bytes) -> Vec<(String, String, String)> {
    let event: Value = serde_json::from_slice(event).unwrap();
    let records = event["Records"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    records
        .map(|r| {
            let data = base64_simd::STANDARD.decode_to_vec(text(&r["kinesis"]["data"])).unwrap();
            (text(&r["eventID"]), text(&r["kinesis"]["partitionKey"]), String::from_utf8(data).unwrap())
        })
        .collect()
}

/// A function that notes what it sees and answers what `answer` says.
fn function(
    seen: &Seen,
    answer: impl Fn(&[(String, String, String)]) -> InvokeOutcome + Send + Sync + 'static,
) -> Arc<dyn Invoke> {
    let seen = seen.clone();
    Arc::new(move |event: Bytes| {
        let records = records_of(&event);
        let outcome = answer(&records);
        seen.lock().unwrap().push(records);
        async move { outcome }
    })
}

fn success() -> InvokeOutcome {
    InvokeOutcome::Answer(Bytes::from_static(br#"{"batchItemFailures":[]}"#))
}

fn failed_from(record: &(String, String, String)) -> InvokeOutcome {
    let sequence = record.0.split(':').nth(1).unwrap();
    let answer = json!({"batchItemFailures": [{"itemIdentifier": sequence}]}).to_string();
    InvokeOutcome::Answer(Bytes::from(answer))
}

pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 30 s: {what}");
}

fn numbers(seen: &Seen) -> Vec<usize> {
    seen.lock().unwrap().iter().flatten().map(|r| r.2.parse().unwrap()).collect()
}

/// Every number of the range once, and those of one key in order.
fn assert_each_once_in_order(seen: &Seen, range: std::ops::Range<usize>) {
    let mut all = numbers(seen);
    let mut newest: HashMap<String, usize> = HashMap::new();
    for (_, key, data) in seen.lock().unwrap().iter().flatten() {
        let number = data.parse().unwrap();
        let before = newest.insert(key.clone(), number);
        assert!(before.is_none_or(|b| b < number), "{key}: {number} after {before:?}");
    }
    all.sort_unstable();
    assert_eq!(all, range.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_stay_in_order_per_key_through_a_split_and_a_merge() {
    for factor in [1, 4] {
        let bench = Bench::new(2).await;
        let seen = Seen::default();
        let mut config = bench.config();
        config.mapping.parallelization_factor = factor;
        bench.put_numbers(0..1_500).await;
        let poller = Poller::start(config, function(&seen, |_| success())).await.unwrap();
        bench.put_numbers(1_500..2_000).await;
        // The middle of the whole range is where shard 1 begins: split each shard in its middle.
        let halves = json!({"ShardToSplit": "shardId-000000000000",
            "NewStartingHashKey": "42535295865117307932921825928971026432"});
        bench.manage("SplitShard", halves).await;
        bench.put_numbers(2_000..3_500).await;
        let merge =
            json!({"ShardToMerge": "shardId-000000000003", "AdjacentShardToMerge": "shardId-000000000001"});
        bench.manage("MergeShards", merge).await;
        bench.put_numbers(3_500..5_000).await;
        eventually("5,000 records", || numbers(&seen).len() >= 5_000).await;
        eventually("closed parents", || {
            let states: BTreeMap<_, _> =
                poller.status().shards.into_iter().map(|(k, v)| (k, v.state)).collect();
            states.values().filter(|s| **s == ShardState::Closed).count() == 3 && states.len() == 5
        })
        .await;
        assert_each_once_in_order(&seen, 0..5_000);
        eventually("idle", || poller.status().is_idle()).await;
        let status = poller.status();
        assert_eq!(status.records_delivered(), 5_000, "{status:?}");
        poller.stop(Duration::from_secs(5)).await;
        let written = std::fs::read(bench.folder.path().join("status.json")).unwrap();
        let written: Status = serde_json::from_slice(&written).unwrap();
        assert_eq!(written.shards, status.shards);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_record_is_bisected_out_and_kept() {
    let bench = Bench::new(1).await;
    bench.put_numbers(0..100).await;
    let seen = Seen::default();
    let mut config = bench.config();
    config.mapping.policy.maximum_retry_attempts = Some(2);
    let passed = Seen::default();
    let passed_on = passed.clone();
    let poison = function(&seen, move |records| {
        if records.iter().any(|r| r.2 == "37") {
            return InvokeOutcome::FunctionError("cannot".into());
        }
        passed_on.lock().unwrap().push(records.to_vec());
        success()
    });
    let poller = Poller::start(config, poison).await.unwrap();
    eventually("99 records", || numbers(&passed).len() >= 99).await;
    eventually("idle", || poller.status().is_idle()).await;
    let expected: Vec<usize> = (0..100).filter(|n| *n != 37).collect();
    assert_eq!(numbers(&passed), expected);
    let objects = bench.failed();
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(objects[0]["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(objects[0]["responseContext"]["functionError"], "Unhandled");
    assert_eq!(objects[0]["KinesisBatchInfo"]["batchSize"], 1);
    let data = objects[0]["payload"]["Records"][0]["kinesis"]["data"].as_str().unwrap();
    assert_eq!(base64_simd::STANDARD.decode_to_vec(data).unwrap(), b"37");
    let status = poller.status();
    assert_eq!((status.records_delivered(), status.records_given_up()), (99, 1));
    let line = &status.shards["shardId-000000000000"];
    assert!(line.function_errors >= 3 + 6, "{line:?}");
    // What was given up is still known to the next run, and where it lies.
    poller.stop(Duration::from_secs(5)).await;
    let poller = Poller::start(bench.config(), function(&seen, |_| success())).await.unwrap();
    let [batch] = poller.status().given_up.try_into().unwrap();
    assert_eq!(
        (batch.condition.as_str(), batch.records, batch.invocations),
        ("RetryAttemptsExhausted", 1, 3)
    );
    let object: Value = serde_json::from_slice(&std::fs::read(batch.object.unwrap()).unwrap()).unwrap();
    assert_eq!(object, objects[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_failure_is_delivered_again_from_the_reported_record_as_recorded() {
    // test_kinesis_report_batch_item_failures: the last of six records always fails, three retries.
    let bench = Bench::new(1).await;
    bench.put_numbers(0..6).await;
    let seen = Seen::default();
    let mut config = bench.config();
    config.mapping.batch_size = 3;
    config.mapping.policy.maximum_retry_attempts = Some(3);
    let last = function(&seen, |records| match records.iter().find(|r| r.2 == "5") {
        Some(record) => failed_from(record),
        None => success(),
    });
    let poller = Poller::start(config, last).await.unwrap();
    eventually("given up", || poller.status().records_given_up() == 1).await;
    assert_eq!(numbers(&seen), [0, 1, 2, 3, 4, 5, 5, 5, 5, 5]);
    let objects = bench.failed();
    assert_eq!(objects[0]["requestContext"]["approximateInvokeCount"], 4);
    assert_eq!(objects[0]["responseContext"]["functionError"], Value::Null);
    assert_eq!(objects[0]["KinesisBatchInfo"]["batchSize"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_poller_goes_on_from_its_file() {
    let bench = Bench::new(2).await;
    bench.put_numbers(0..1_000).await;
    let first = Seen::default();
    let mut config = bench.config();
    config.mapping.batch_size = 50;
    config.mapping.parallelization_factor = 2;
    let done = first.clone();
    // After ten events the function never answers again: what a kill finds.
    let stuck: Arc<dyn Invoke> = Arc::new(move |event: Bytes| {
        let mut done = done.lock().unwrap();
        let answers = done.len() < 10;
        if answers {
            done.push(records_of(&event));
        }
        async move { if answers { success() } else { std::future::pending().await } }
    });
    let poller = Poller::start(config.clone(), stuck).await.unwrap();
    eventually("ten events", || first.lock().unwrap().len() == 10).await;
    eventually("acknowledged", || poller.status().records_delivered() as usize == numbers(&first).len())
        .await;
    drop(poller);

    let second = Seen::default();
    let poller = Poller::start(config, function(&second, |_| success())).await.unwrap();
    bench.put_numbers(1_000..1_100).await;
    let total = || numbers(&first).len() + numbers(&second).len();
    eventually("the rest", || total() >= 1_100).await;
    eventually("idle", || poller.status().is_idle()).await;
    let both = Seen::default();
    both.lock().unwrap().extend(first.lock().unwrap().iter().cloned());
    both.lock().unwrap().extend(second.lock().unwrap().iter().cloned());
    assert_each_once_in_order(&both, 0..1_100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttles_use_up_no_retries() {
    let bench = Bench::new(1).await;
    bench.put_numbers(0..3).await;
    let seen = Seen::default();
    let mut config = bench.config();
    config.mapping.policy.maximum_retry_attempts = Some(0);
    let calls = Arc::new(Mutex::new(0));
    let busy = function(&seen, move |_| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        if *calls < 20 { InvokeOutcome::Throttled } else { success() }
    });
    let poller = Poller::start(config, busy).await.unwrap();
    eventually("delivered", || poller.status().records_delivered() == 3).await;
    assert!(bench.failed().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_past_their_age_are_kept_and_not_delivered() {
    let bench = Bench::new(1).await;
    bench.put_numbers(0..5).await;
    let seen = Seen::default();
    let mut config = bench.config();
    let hour_later = SystemClock.now().0 + 3_600_000_000;
    config.clock = Arc::new(ManualClock::at(EpochMicros(hour_later)));
    config.mapping.policy = Policy { maximum_record_age_ms: Some(60_000), ..config.mapping.policy };
    let poller = Poller::start(config, function(&seen, |_| success())).await.unwrap();
    eventually("given up", || poller.status().records_given_up() == 5).await;
    assert!(seen.lock().unwrap().is_empty());
    let objects = bench.failed();
    assert_eq!(objects[0]["requestContext"]["condition"], "RecordAgeExceeded");
    assert_eq!(objects[0]["requestContext"]["approximateInvokeCount"], 1);
    assert_eq!(objects[0].get("responseContext"), None);
}

/// An endpoint with one shard whose second of three records is 5 MB, which the embedded endpoint
/// does not take.
async fn endpoint_with_a_large_record() -> String {
    let answer = |headers: axum::http::HeaderMap| async move {
        let target = headers["x-amz-target"].to_str().unwrap().rsplit('.').next().unwrap().to_owned();
        let record = |n: u32, data: String| {
            let data = base64_simd::STANDARD.encode_to_string(data);
            json!({"SequenceNumber": n.to_string(), "PartitionKey": "k", "Data": data,
                "ApproximateArrivalTimestamp": SystemClock.now().millis() / 1_000})
        };
        axum::Json(match target.as_str() {
            "DescribeStreamSummary" => {
                json!({"StreamDescriptionSummary": {"StreamARN": "arn:aws:kinesis:::stream/x",
                "StreamStatus": "ACTIVE", "StreamCreationTimestamp": 1.0}})
            }
            "ListShards" => json!({"Shards": [{"ShardId": "shardId-000000000000",
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"}, "SequenceNumberRange": {}}]}),
            "GetShardIterator" => json!({"ShardIterator": "i"}),
            _ => json!({"MillisBehindLatest": 0,
                "Records": [record(1, "1".into()), record(2, "2".repeat(5_000_000)), record(3, "3".into())]}),
        })
    };
    let app = axum::Router::new().route("/", axum::routing::post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_fits_no_event_is_kept_and_the_rest_is_delivered() {
    let bench = Bench::new(1).await;
    let seen = Seen::default();
    let mut config = bench.config();
    config.endpoint = endpoint_with_a_large_record().await;
    let poller = Poller::start(config, function(&seen, |_| success())).await.unwrap();
    eventually("delivered", || poller.status().records_delivered() == 2).await;
    assert_eq!(numbers(&seen), [1, 3]);
    let objects = bench.failed();
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0]["requestContext"]["condition"], "PayloadSizeExceeded");
    assert_eq!(objects[0]["KinesisBatchInfo"]["startSequenceNumber"], "2");
    assert_eq!(objects[0]["payload"]["Records"][0]["kinesis"]["data"].as_str().unwrap().len(), 6_666_668);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_mapping_begins_where_it_is_told() {
    let bench = Bench::new(2).await;
    bench.put_numbers(0..20).await;
    bench
        .manage(
            "SplitShard",
            json!({"ShardToSplit": "shardId-000000000001",
        "NewStartingHashKey": "255211775190703847597530955573826158592"}),
        )
        .await;
    let seen = Seen::default();
    let mut config = bench.config();
    config.mapping.starting_position = StartingPosition::Latest;
    let poller = Poller::start(config, function(&seen, |_| success())).await.unwrap();
    bench.put_numbers(20..40).await;
    eventually("the new ones", || numbers(&seen).len() >= 20).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_each_once_in_order(&seen, 20..40);
    drop(poller);

    // A new shard's records arrive up to a second early, by whole seconds.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let later = SystemClock.now();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    bench.put_numbers(40..60).await;
    let seen = Seen::default();
    let mut config = bench.config();
    config.state_dir = bench.folder.path().join("other");
    config.mapping.starting_position = StartingPosition::AtTimestamp(EpochMicros(later.0 + 10_000));
    let _poller = Poller::start(config, function(&seen, |_| success())).await.unwrap();
    eventually("the new ones", || numbers(&seen).len() >= 20).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_each_once_in_order(&seen, 40..60);
}
