use serde_json::{Value, json};
use weir::clock::ManualClock;

use super::*;
use crate::context::Config;

const NOW_US: i64 = 1_800_000_000_000_000;

/// Answers what it is told to, and notes what it was given.
struct Told {
    answer: Option<Result<Processed>>,
    time_left: Option<Duration>,
    documents: usize,
}

impl Process for Told {
    async fn process(&mut self, event: &mut ParsedEvent, time_left: Duration) -> Result<Processed> {
        self.time_left = Some(time_left);
        self.documents = event.batch.documents.len();
        self.answer.take().unwrap()
    }
}

fn told(answer: Result<Processed>) -> Handler<Told, ManualClock> {
    let config = Config::from_env(|name| {
        let value = match name {
            "WEIR_LAKE" => "file:///tmp/lake",
            "WEIR_TABLE" => "clickstream",
            "AWS_LAMBDA_FUNCTION_NAME" => "ingest-1",
            _ => return None,
        };
        Some(value.to_owned())
    });
    let told = Told { answer: Some(answer), time_left: None, documents: 0 };
    Handler::new(&config.unwrap(), told, ManualClock::at(EpochMicros(NOW_US)))
}

fn event(window: bool) -> String {
    let record = |n: u32, data: &str| {
        json!({
            "kinesis": {"sequenceNumber": n.to_string(), "data": data, "approximateArrivalTimestamp": 1.5},
            "eventSource": "aws:kinesis",
            "eventID": format!("shardId-000000000002:{n}"),
            "eventSourceARN": "arn:aws:kinesis:eu-west-1:1:stream/clicks",
        })
    };
    let mut event = json!({"Records": [record(10, "eyJzZWNyZXQiOjF9"), record(11, "e30="), record(12, "")]});
    if window {
        event["window"] = json!({"start": "a", "end": "b"});
        event["state"] = json!({"n": 1.50});
    }
    event.to_string()
}

fn handle<P: Process>(handler: &mut Handler<P, ManualClock>, body: &str) -> (Result<Value>, Value) {
    let invocation = Invocation {
        request_id: "r-1".into(),
        deadline: EpochMicros(NOW_US + 30_000_000),
        trace_id: Some("Root=1-5759e988".into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = runtime.block_on(handler.handle(body.as_bytes(), &invocation));
    assert!(!outcome.line.contains('\n'));
    let answer = outcome.answer.map(|answer| serde_json::to_value(answer).unwrap());
    (answer, serde_json::from_str(&outcome.line).unwrap())
}

fn done(first_uncommitted: Option<u64>) -> Result<Processed> {
    let mut metrics = BatchMetrics { rows_count: 2, files_count: 1, ..BatchMetrics::default() };
    metrics.dead_letters.insert("empty", 1);
    metrics.requests.put_count = 2;
    Ok(Processed { first_uncommitted: first_uncommitted.map(Into::into), metrics })
}

fn store_error(retryable: bool) -> Result<Processed> {
    let source = std::io::Error::other("slow down").into();
    Err(Error::Store { operation: "put", object: "x".into(), retryable, source })
}

#[test]
fn the_answer_holds_at_most_one_failure() {
    let complete = json!({"batchItemFailures": []});
    let from = |n: &str| json!({"batchItemFailures": [{"itemIdentifier": n}]});
    let cases = [(done(None), complete), (done(Some(11)), from("11")), (store_error(true), from("10"))];
    for (told_answer, expected) in cases {
        let (answer, _) = handle(&mut told(told_answer), &event(false));
        assert_eq!(answer.unwrap(), expected);
    }
    let (answer, line) = handle(&mut told(store_error(false)), &event(false));
    assert_eq!(chain(&answer.unwrap_err()), "could not put x: slow down");
    assert_eq!(line["error"], "could not put x: slow down");
    assert_eq!(line["failed_batches_count"], 1);
}

#[test]
fn a_tumbling_window_gets_its_state_back() {
    let (answer, _) = handle(&mut told(done(Some(11))), &event(true));
    let expected = json!({"state": {"n": 1.5}, "batchItemFailures": [{"itemIdentifier": "11"}]});
    assert_eq!(answer.unwrap(), expected);
    let last = r#"{"Records":[],"window":{},"isFinalInvokeForWindow":true,"state":{"n":2}}"#;
    let mut handler = told(done(None));
    let (answer, _) = handle(&mut handler, last);
    assert_eq!(answer.unwrap(), json!({"state": {"n": 2}, "batchItemFailures": []}));
    assert_eq!(handler.process.time_left, None, "an event without records is nothing to process");
}

#[test]
fn an_unreadable_event_is_an_error_of_the_function() {
    let mut handler = told(done(None));
    let (answer, line) = handle(&mut handler, r#"{"Records":[{"eventSource":"aws:sqs"}]}"#);
    assert!(matches!(answer, Err(Error::Event(_))));
    assert_eq!((&line["stream"], &line["level"]), (&json!("none"), &json!("error")));
    let (answer, _) = handle(&mut handler, &event(false));
    assert_eq!(answer.unwrap(), json!({"batchItemFailures": []}), "the next event is read as ever");
}

#[test]
fn the_reserve_is_kept_of_the_deadline() {
    let mut handler = told(done(None));
    _ = handle(&mut handler, &event(false));
    assert_eq!(handler.process.time_left, Some(Duration::from_secs(28)));
    handler.process.answer = Some(done(None));
    handler.clock.set(EpochMicros(NOW_US + 31_000_000));
    _ = handle(&mut handler, &event(false));
    assert_eq!(handler.process.time_left, Some(Duration::ZERO));
    assert_eq!(handler.process.documents, 2);
}

#[test]
fn the_line_is_an_emf_record_without_payloads() {
    let mut handler = told(done(Some(12)));
    let (_, line) = handle(&mut handler, &event(false));
    let expected = [
        ("level", json!("info")),
        ("function", json!("ingest-1")),
        ("stream", json!("clicks")),
        ("table", json!("clickstream")),
        ("shard", json!("shardId-000000000002")),
        ("request_id", json!("r-1")),
        ("trace_id", json!("Root=1-5759e988")),
        ("cold_start", json!(true)),
        ("cold_starts_count", json!(1)),
        ("from_sequence", json!("10")),
        ("to_sequence", json!("12")),
        ("first_failure", json!("12")),
        ("records_count", json!(3)),
        ("documents_count", json!(2)),
        ("rows_count", json!(2)),
        ("dead_letters_count", json!(1)),
        ("dead_letters", json!({"empty": 1})),
        ("requests_count", json!(2)),
        ("payload_bytes", json!(14)),
    ];
    for (name, value) in expected {
        assert_eq!(line[name], value, "{name}");
    }
    assert!(!line.to_string().contains("secret"));

    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(line["_aws"]["Timestamp"], NOW_US / 1_000);
    assert_eq!(directive["Namespace"], "Weir");
    assert_eq!(directive["Dimensions"], json!([["function", "stream", "table"]]));
    for dimension in directive["Dimensions"][0].as_array().unwrap() {
        assert!(line[dimension.as_str().unwrap()].is_string());
    }
    let metrics = directive["Metrics"].as_array().unwrap();
    assert!(metrics.len() <= 100, "the format's bound");
    for metric in metrics {
        let name = metric["Name"].as_str().unwrap();
        assert!(line[name].is_u64(), "{name}");
        let unit = match name.rsplit('_').next().unwrap() {
            "count" => "Count",
            "bytes" => "Bytes",
            "us" => "Microseconds",
            other => panic!("{name}: no unit {other}"),
        };
        assert_eq!(metric["Unit"], unit, "{name}");
    }

    handler.process.answer = Some(done(None));
    let (_, line) = handle(&mut handler, &event(false));
    assert_eq!((&line["cold_start"], &line["first_failure"]), (&json!(false), &Value::Null));
}
