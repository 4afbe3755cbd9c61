//! What AWS was recorded to do, case by case, against this poller: the embedded endpoint holds the
//! stream, a process of its own is the function, and events and envelopes have the recorded shapes,
//! conditions and invoke counts. `tests/fixtures/make_event_source_mapping.py` says where the
//! recording comes from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use weir::clock::{Clock, EpochMicros, ManualClock, SystemClock};

use super::*;
use crate::runtime::endpoint::{COMPACT_FROM_BYTES, Endpoint, EndpointConfig};
use crate::runtime::function::{FunctionConfig, FunctionHost, Program};

const RECORDED: &str = include_str!("../../../../tests/fixtures/event_source_mapping/recorded.json");
const STREAM: &str = "clicks";

/// Recorded cases that say nothing about delivery here, and why.
const LEFT_OUT: [(&str, &str); 2] = [
    (
        "test_kinesis_event_filtering_json_pattern",
        "the mapping has no filters: a filtered record would be acknowledged without a commit; tables of \
         one stream are told apart by weir.route",
    ),
    (
        "test_duplicate_event_source_mappings",
        "an error of the API that makes mappings, which is not here; a second runtime on one state folder \
         is refused in runtime::tests",
    ),
];

/// What happens around the function.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Course {
    /// The records are put, the mapping delivers them.
    Plain,
    /// The mapping is stopped, and ten more records are put.
    Disabled,
    /// Two mappings read the stream.
    TwoMappings,
    /// There is no stream.
    NoStream,
    /// A minute passes between the records and the mapping.
    Expired,
    /// A minute passes after the eighth invocation, which is how many AWS fitted into it.
    ExpiresAfter(usize),
    /// A minute has passed since the first record, and not since the others.
    FirstExpired,
}

/// Each case's function and course.
fn case(name: &str) -> (&'static str, Course) {
    let option = name.split_once('[').map_or("", |(_, option)| option.trim_end_matches(']'));
    let script = match option {
        "empty_list_success" => "answer []",
        "null_success" => "answer null",
        "empty_dict_success" => "answer {}",
        "empty_string_success" => "answer \"\"",
        "empty_batch_item_failure_success" => r#"answer {"batchItemFailures":[]}"#,
        "null_batch_item_failure_success" => r#"answer {"batchItemFailures":null}"#,
        "empty_string_item_identifier_failure" => r#"answer {"batchItemFailures":[{"itemIdentifier":""}]}"#,
        "null_item_identifier_failure" => r#"answer {"batchItemFailures":[{"itemIdentifier":null}]}"#,
        "invalid_key_foo_failure" => r#"answer {"batchItemFailures":[{"foo":"123"}]}"#,
        "invalid_key_foo_null_value_failure" => r#"answer {"batchItemFailures":[{"foo":null}]}"#,
        "item_identifier_not_present_failure" => {
            r#"answer {"batchItemFailures":[{"itemIdentifier":"123-456-789"}]}"#
        }
        "unhandled_exception_in_function" => "raise",
        "expire-while-retrying" => return ("raise", Course::ExpiresAfter(8)),
        "expire-before-ingestion" => return ("raise", Course::Expired),
        _ => "",
    };
    if !script.is_empty() {
        return (script, Course::Plain);
    }
    match name {
        "test_create_kinesis_event_source_mapping"
        | "test_kinesis_event_source_mapping_with_async_invocation"
        | "test_kinesis_event_source_trim_horizon" => ("answer null", Course::Plain),
        "test_kinesis_empty_provided" => ("answer", Course::Plain),
        "test_disable_kinesis_event_source_mapping" => ("answer null", Course::Disabled),
        "test_create_kinesis_event_source_mapping_multiple_lambdas_single_kinesis_event_stream" => {
            ("answer null", Course::TwoMappings)
        }
        "test_esm_with_not_existing_kinesis_stream" => ("answer null", Course::NoStream),
        "test_kinesis_maximum_record_age_exceeded_discard_records" => ("answer null", Course::FirstExpired),
        "test_kinesis_report_batch_item_failures" => ("report", Course::Plain),
        "test_kinesis_event_source_mapping_with_on_failure_destination_config"
        | "test_kinesis_event_source_mapping_with_sns_on_failure_destination_config"
        | "test_kinesis_event_source_mapping_with_s3_on_failure_destination" => ("raise", Course::Plain),
        other => panic!("{other}: neither played nor left out"),
    }
}

/// The function's host, with a note of each event, and a clock that jumps after some of them.
struct Watched {
    host: FunctionHost,
    seen: Arc<Mutex<Vec<Value>>>,
    jump: Option<(usize, Arc<ManualClock>)>,
}

impl Invoke for Watched {
    fn invoke(&self, event: Bytes) -> BoxFuture<'_, InvokeOutcome> {
        self.seen.lock().unwrap().push(serde_json::from_slice(&event).unwrap());
        Box::pin(async move {
            let outcome = self.host.invoke(event).await;
            let seen = self.seen.lock().unwrap().len();
            if let Some((_, clock)) = self.jump.as_ref().filter(|(after, _)| *after == seen) {
                clock.set(EpochMicros(SystemClock.now().0 + 61_000_000));
            }
            outcome
        })
    }
}

/// One case on its own endpoint, with its own function.
struct Stage {
    folder: tempfile::TempDir,
    endpoint: Endpoint,
    case: Value,
    template: Value,
    clock: Arc<ManualClock>,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Stage {
    async fn new(case: &Value, template: &Value) -> Self {
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
        endpoint.ensure_stream(STREAM, 1).await.unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let (case, template, seen) = (case.clone(), template.clone(), Arc::default());
        Self { folder, endpoint, case, template, clock, seen }
    }

    /// The records that were put there, each once: those that were delivered, or the one that was not.
    fn records(&self, course: Course) -> Vec<(String, String)> {
        let mut records: Vec<(String, String, String)> = Vec::new();
        for record in self.delivered().into_iter().flatten().flat_map(|e| e.as_array().unwrap()) {
            let text = |field: &str| record[field].as_str().unwrap().to_owned();
            if !records.iter().any(|known| known.0 == text("sequence")) {
                records.push((text("sequence"), text("key"), text("data")));
            }
        }
        let payload = &self.case["on_failure"]["payload"]["Records"][0]["kinesis"];
        if records.is_empty() || course == Course::FirstExpired {
            let text = |field: &str, or: &str| payload[field].as_str().unwrap_or(or).to_owned();
            records.insert(0, (String::new(), text("partitionKey", "test"), text("data", "aGVsbG8=")));
        }
        records.into_iter().map(|(_, key, data)| (key, data)).collect()
    }

    fn delivered(&self) -> Option<&Vec<Value>> {
        self.case["events"].as_array().or(self.case["records"].as_array())
    }

    async fn put(&self, records: &[(String, String)]) {
        let records: Vec<_> =
            records.iter().map(|(key, data)| json!({"PartitionKey": key, "Data": data})).collect();
        let body = json!({"StreamName": STREAM, "Records": records});
        self.endpoint.client().call("PutRecords", &body).await.unwrap();
    }

    fn config(&self, mapping: &str) -> PollerConfig {
        let set = &self.case["mapping"];
        let number = |name: &str| set[name].as_i64().filter(|n| *n >= 0);
        let mut config = MappingConfig::new(STREAM, "ingest");
        config.name = mapping.to_owned();
        config.batch_size = number("BatchSize").unwrap_or(100) as usize;
        config.window = Duration::from_secs(number("MaximumBatchingWindowInSeconds").unwrap_or(0) as u64);
        config.policy.bisect = set["BisectBatchOnFunctionError"] == true;
        config.policy.report_batch_item_failures = set["FunctionResponseTypes"] != json!([]);
        config.policy.maximum_retry_attempts = number("MaximumRetryAttempts").map(|n| n as u32);
        config.policy.maximum_record_age_ms = number("MaximumRecordAgeInSeconds").map(|s| s * 1_000);
        config.poll_interval = Duration::from_millis(10);
        config.backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) };
        if set["StartingPosition"] == "LATEST" {
            config.starting_position = StartingPosition::Latest;
        }
        let failed = Destination::folder(self.folder.path().join("failed")).unwrap();
        let destination = match (self.case["destination"].as_str(), failed) {
            (Some("sqs" | "sns"), Destination::Objects { store, prefix, location }) => {
                Destination::Messages { store, prefix, location }
            }
            (_, objects) => objects,
        };
        PollerConfig {
            endpoint: self.endpoint.url(),
            mapping: config,
            state_dir: self.folder.path().join(mapping),
            status_file: self.folder.path().join(format!("{mapping}.json")),
            destination,
            clock: self.clock.clone(),
            report: Arc::new(|_: &str| {}),
        }
    }

    fn function(&self, script: &str, course: Course) -> Arc<dyn Invoke> {
        let host = FunctionHost::new(FunctionConfig {
            name: "ingest".into(),
            arn: "arn:aws:lambda:us-east-1:000000000000:function:ingest".into(),
            program: Program {
                path: std::env::current_exe().unwrap(),
                args: ["--exact", "runtime::function::tests::as_function", "--nocapture", "--test-threads=1"]
                    .map(Into::into)
                    .into(),
                env: [("TEST_ROLE", "scripted"), ("TEST_SCRIPT", script)]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
            },
            memory_mb: 512,
            timeout: Duration::from_secs(10),
            init_timeout: Duration::from_secs(10),
            concurrency: 1,
            log_file: None,
            verbose: false,
            clock: Arc::new(SystemClock),
        });
        let jump = match course {
            Course::ExpiresAfter(count) => Some((count, self.clock.clone())),
            _ => None,
        };
        Arc::new(Watched { host: host.unwrap(), seen: self.seen.clone(), jump })
    }

    async fn play(&self, script: &str, course: Course) -> Result<(), String> {
        let records = self.records(course);
        let function = self.function(script, course);
        if course == Course::NoStream {
            let mut config = self.config("one");
            config.mapping.stream = "nothing".into();
            let error = format!("{:#}", Poller::start(config, function).await.err().ok_or("started")?);
            return error.contains("stream nothing").then_some(()).ok_or(error);
        }
        let latest = self.case["mapping"]["StartingPosition"] == "LATEST";
        if course == Course::FirstExpired {
            self.put(&records[..1]).await;
            tokio::time::sleep(Duration::from_millis(2_100)).await;
            self.put(&records[1..]).await;
            // The first is 60 s old and a bit, the others are two seconds younger.
            self.clock.set(EpochMicros(SystemClock.now().0 + 59_000_000));
        } else if !latest {
            self.put(&records).await;
        }
        if course == Course::Expired {
            self.clock.set(EpochMicros(SystemClock.now().0 + 62_000_000));
        }
        let mut pollers = vec![Poller::start(self.config("one"), function.clone()).await.unwrap()];
        if course == Course::TwoMappings {
            pollers.push(Poller::start(self.config("two"), function).await.unwrap());
        }
        if latest {
            self.put(&records).await;
        }
        for poller in &pollers {
            let total = records.len() as u64;
            super::tests::eventually("every record done", || {
                let status = poller.status();
                status.records_delivered() + status.records_given_up() == total
            })
            .await;
        }
        for poller in pollers {
            poller.stop(Duration::from_secs(5)).await;
        }
        if course == Course::Disabled {
            self.put(&records).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.compare(course)
    }

    fn compare(&self, course: Course) -> Result<(), String> {
        let mut bound = HashMap::new();
        let seen = self.seen.lock().unwrap().clone();
        let mut expected: Vec<Value> =
            self.delivered().into_iter().flatten().map(|event| self.event(event)).collect();
        if course == Course::TwoMappings {
            expected.push(expected[0].clone());
        }
        if self.case["events"].is_array() {
            agrees(&json!(expected), &json!(seen), &mut bound)?;
        } else if self.case["records"].is_array() {
            let all = |events: &[Value]| -> Vec<Value> {
                events.iter().flat_map(|e| e["Records"].as_array().unwrap().clone()).collect()
            };
            agrees(&json!(all(&expected)), &json!(all(&seen)), &mut bound)?;
        }
        let mut found = Vec::new();
        super::tests::collect(&self.folder.path().join("failed"), &mut found);
        let expected = &self.case["on_failure"];
        let expected = if expected.is_null() { json!([]) } else { json!([expected]) };
        agrees(&expected, &json!(found), &mut bound)?;
        if let (Some(count), None) =
            (expected[0]["requestContext"]["approximateInvokeCount"].as_u64(), self.delivered())
        {
            // An envelope counts one invocation at least, also where there was none.
            let invoked = if course == Course::Expired { 0 } else { count };
            agrees(&json!(invoked), &json!(seen.len()), &mut bound)?;
        }
        Ok(())
    }

    /// The event of these records, from the shape that all recorded ones share.
    fn event(&self, records: &Value) -> Value {
        let record = |differs: &Value| {
            let mut record = self.template.clone();
            record["kinesis"]["sequenceNumber"] = differs["sequence"].clone();
            record["kinesis"]["partitionKey"] = differs["key"].clone();
            record["kinesis"]["data"] = differs["data"].clone();
            let sequence = differs["sequence"].as_str().unwrap();
            record["eventID"] = json!(format!("shardId-000000000000:{sequence}"));
            record
        };
        json!({"Records": records.as_array().unwrap().iter().map(record).collect::<Vec<_>>()})
    }
}

/// Whether a document is what was recorded: the same fields and values, a token standing for some
/// text, and one sequence number token for the same text everywhere.
fn agrees(recorded: &Value, got: &Value, bound: &mut HashMap<String, String>) -> Result<(), String> {
    let differ = || Err(format!("recorded {recorded}\n     got {got}"));
    match (recorded, got) {
        (Value::Object(a), Value::Object(b)) => {
            if a.len() != b.len() || !a.keys().all(|key| b.contains_key(key)) {
                return differ();
            }
            a.iter().try_for_each(|(key, value)| agrees(value, &b[key], bound))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).try_for_each(|(a, b)| agrees(a, b, bound))
        }
        (Value::String(token), Value::Number(_)) if token == "<approximate-arrival-timestamp>" => Ok(()),
        (Value::String(pattern), Value::String(text)) if text_agrees(pattern, text, bound) => Ok(()),
        _ if recorded == got => Ok(()),
        _ => differ(),
    }
}

fn text_agrees(pattern: &str, text: &str, bound: &mut HashMap<String, String>) -> bool {
    if let Some(example) = pattern.strip_prefix("<timestamp:").and_then(|p| p.strip_suffix('>')) {
        let form = |s: &str| s.replace(|c: char| c.is_ascii_digit(), "0");
        return form(example) == form(text);
    }
    let mut rest = text;
    let pattern = pattern.replace("111111111111", "<account>");
    let mut pieces = pattern.split('<');
    let Some(left) = rest.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    rest = left;
    for piece in pieces {
        let (token, literal) = piece.split_once('>').unwrap();
        let end = if literal.is_empty() { Some(rest.len()) } else { rest.find(literal) };
        let Some(end) = end.filter(|end| *end > 0) else { return false };
        let (value, left) = rest.split_at(end);
        if token.contains("sequence-number:") {
            let known = bound.entry(token.to_owned()).or_insert_with(|| value.to_owned());
            if known != value {
                return false;
            }
        }
        rest = &left[literal.len()..];
    }
    rest.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poller_does_what_the_service_was_recorded_to_do() {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let left_out = |name: &str| LEFT_OUT.iter().any(|(known, _)| *known == name);
    let cases: Vec<_> = recorded["cases"].as_array().unwrap().iter().collect();
    assert_eq!(cases.len(), 28);
    let played = cases.into_iter().filter(|c| !left_out(c["name"].as_str().unwrap()));
    let results = join_all(played.map(|recorded_case| async {
        let name = recorded_case["name"].as_str().unwrap();
        let (script, course) = case(name);
        let result = Stage::new(recorded_case, &recorded["record"]).await.play(script, course).await;
        result.map_err(|difference| format!("{name}\n{difference}"))
    }))
    .await;
    let failures: Vec<String> = results.iter().filter_map(|r| r.clone().err()).collect();
    assert_eq!(results.len(), 26);
    assert!(failures.is_empty(), "{} of 26 cases differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_comparison_notices_what_differs() {
    let recorded = json!({"shardId": "<shard>", "a": "arn:<region>:111111111111:x", "n": 3,
        "t": "<timestamp:2022-07-13T13:48:01.000Z>", "s": "<sequence-number:1>", "e": "<sequence-number:1>"});
    let got = json!({"shardId": "s-1", "a": "arn:us-east-1:000000000000:x", "n": 3,
        "t": "2026-01-02T03:04:05.678Z", "s": "17", "e": "17"});
    agrees(&recorded, &got, &mut HashMap::new()).unwrap();
    for (field, other) in [
        ("shardId", json!("")),
        ("a", json!("arn:us-east-1:000000000000:y")),
        ("n", json!(4)),
        ("t", json!("2026-01-02T03:04:05Z")),
        ("e", json!("18")),
        ("more", json!(1)),
    ] {
        let mut got = got.clone();
        got[field] = other;
        assert!(agrees(&recorded, &got, &mut HashMap::new()).is_err(), "{field}");
    }
}
