use std::path::PathBuf;

use base64_simd::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dead_letter::Reason;
use crate::unpack::UnpackLimits;

const ARN: &str = "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream";

fn parse(text: &[u8]) -> Result<ParsedEvent> {
    let mut event = ParsedEvent::default();
    event.parse(&mut Unpacker::default(), text)?;
    Ok(event)
}

fn documents(event: &ParsedEvent) -> Vec<String> {
    let text = |d| String::from_utf8(event.batch.payload(d).to_vec()).unwrap();
    event.batch.documents.iter().map(text).collect()
}

fn record(sequence: &str, payload: &[u8]) -> Value {
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "1",
            "sequenceNumber": sequence,
            "data": STANDARD.encode_to_string(payload),
            "approximateArrivalTimestamp": 1545084650.987,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("shardId-000000000006:{sequence}"),
        "eventName": "aws:kinesis:record",
        "awsRegion": "us-east-2",
        "eventSourceARN": ARN,
    })
}

fn edited(edit: impl Fn(&mut Value)) -> String {
    let mut event = json!({"Records": [record("1", b"{\"a\":1}"), record("2", b"{\"a\":2}")]});
    edit(&mut event);
    event.to_string()
}

#[test]
fn an_event_is_its_documents_and_its_origin() {
    let event = parse(edited(|_| ()).as_bytes()).unwrap();
    assert_eq!(documents(&event), ["{\"a\":1}", "{\"a\":2}"]);
    assert_eq!(event.sequences, [1.into(), 2.into()]);
    let origin = event.origin.unwrap();
    assert_eq!(origin.shard, "shardId-000000000006");
    assert_eq!((origin.stream_arn.as_str(), origin.stream_name()), (ARN, "lambda-stream"));
    let arrived = EpochMicros(1_545_084_650_987_000);
    assert_eq!(event.arrived, Some((arrived, arrived)));
    assert_eq!(event.batch.documents[1].arrived_at, arrived);
    assert_eq!((event.window, event.untaken_from), (None, None));
    assert_eq!((event.counts.records, event.counts.payload_bytes), (2, 14));
}

#[test]
fn escapes_and_other_key_orders_are_read() {
    let text = r#" { "x": [{"Records": 1}], "Records" : [ {
        "\u0065": 1, "eventSourceARN": "arn:aws:kinesis:r:1:stream\/n\u0061me", "eventID": "shardId-1:5",
        "kinesis": { "data": "eyJhIjoxfQ\u003d=", "unknown": {"data": ["\"}"]}, "sequenceNumber": "5",
                     "approximateArrivalTimestamp": 1.545084650987E9 } } ] } "#;
    let event = parse(text.as_bytes()).unwrap();
    assert_eq!(documents(&event), ["{\"a\":1}"]);
    assert_eq!(event.origin.unwrap().stream_name(), "name");
}

#[test]
fn bad_payloads_are_dead_letters_and_not_errors() {
    let text = edited(|e| {
        e["Records"][0]["kinesis"]["data"] = json!("");
        e["Records"][1]["kinesis"]["data"] = json!(STANDARD.encode_to_string([0x1F, 0x8B, 8, 1]));
    });
    let event = parse(text.as_bytes()).unwrap();
    let reasons: Vec<_> = event.dead_letters.iter().map(|d| d.reason).collect();
    assert_eq!(reasons, [Reason::Empty, Reason::Compression]);
    assert_eq!(event.sequences.len(), 2);
}

#[test]
fn what_is_no_event_of_a_stream_is_a_clear_error() {
    let r0 = |key: &'static str, value: Value| {
        edited(move |e| match key.strip_prefix("kinesis.") {
            Some(inner) => e["Records"][0]["kinesis"][inner] = value.clone(),
            None => e["Records"][0][key] = value.clone(),
        })
    };
    let cases = [
        (String::new(), "expected an object at byte 0"),
        ("[]".into(), "expected an object at byte 0"),
        ("{}".into(), "no Records but nothing else either"),
        (r#"{"awslogs":{"data":""}}"#.into(), "no Records but awslogs; this function takes"),
        (r#"{"Records":[],"Records":[]}"#.into(), "Records twice"),
        (r#"{"Records":null}"#.into(), "expected an array at byte 11"),
        (r#"{"Records":[1]}"#.into(), "expected an object at byte 12"),
        (r#"{"Records":[]} x"#.into(), "expected the end at byte 15"),
        (r0("eventSource", json!("aws:sqs")), "Records[0]: comes from aws:sqs; this function takes"),
        (r0("kinesis", Value::Null), "Records[0]: kinesis is missing"),
        (r0("eventSourceARN", json!(1)), "Records[0]: eventSourceARN is missing"),
        (r0("eventID", json!("shard")), "Records[0]: eventID shard is not <shard>:<sequence number>"),
        (r0("kinesis.sequenceNumber", json!("1x")), "Records[0]: kinesis.sequenceNumber 1x: not a sequence"),
        (r0("kinesis.sequenceNumber", json!(1)), "Records[0]: kinesis.sequenceNumber is missing"),
        (r0("kinesis.data", json!("a!==")), "Records[0]: kinesis.data is not base64"),
        (r0("kinesis.data", json!({})), "Records[0]: kinesis.data is missing"),
        (r0("kinesis.approximateArrivalTimestamp", json!("1")), "Records[0]: kinesis.approximateArrival"),
        (r0("kinesis.approximateArrivalTimestamp", json!(1e30)), "Records[0]: kinesis.approximateArrival"),
        (edited(|e| e["Records"][1]["eventID"] = json!("other:2")), "Records[1]: from other of arn:aws"),
        (
            edited(|e| e["Records"][1]["eventSourceARN"] = json!("x")),
            "Records[1]: from shardId-000000000006 of x",
        ),
    ];
    for (text, expected) in cases {
        let message = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("unreadable event: {expected}")), "{text}: {message}");
    }
}

#[test]
fn windows_are_noticed_and_their_state_is_kept_as_written() {
    let text = edited(|e| {
        e["window"] = json!({"start": "2026-11-20T05:00:00Z", "end": "2026-11-20T05:02:00Z"});
        e["state"] = json!({"1": [282]});
        e["shardId"] = json!("shardId-000000000006");
        e["isFinalInvokeForWindow"] = json!(false);
    });
    let window = parse(text.as_bytes()).unwrap().window.unwrap();
    assert_eq!(window, Window { state: "{\"1\":[282]}".into(), is_final: false });
    let last =
        r#"{"Records":[],"window":{"start":"a","end":"b"},"state":null,"isFinalInvokeForWindow":true}"#;
    let event = parse(last.as_bytes()).unwrap();
    assert_eq!(event.window, Some(Window { state: "{}".into(), is_final: true }));
    assert_eq!(event.origin, None);
}

#[test]
fn what_does_not_fit_the_batch_is_left_for_later() {
    let large = zstd::encode_all(&vec![b'1'; 700][..], 1).unwrap();
    let limits = UnpackLimits { record_bytes: 1_000, batch_bytes: 1_500, ..UnpackLimits::default() };
    let records: Vec<_> = ["1", "2", "3", "4"].iter().map(|n| record(n, &large)).collect();
    let mut event = ParsedEvent::default();
    event.parse(&mut Unpacker::new(limits), json!({"Records": records}).to_string().as_bytes()).unwrap();
    assert_eq!(event.untaken_from, Some(3.into()));
    assert_eq!(event.sequences, [1.into(), 2.into()]);
}

#[test]
fn no_truncation_and_no_flipped_bit_panics() {
    let whole = edited(|e| e["window"] = json!({"a": [1.5e3, true, "\u{1F600}"]})).into_bytes();
    for n in 0..whole.len() {
        parse(&whole[..n]).unwrap_err();
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        _ = parse(&flipped);
    }
}

/// `data/lambda-events`, or `None` with a notice.
pub(super) fn fixtures() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("WEIR_DATA").map_or(root.join("shared/data"), PathBuf::from);
    let folder = data.join("lambda-events");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is absent; set WEIR_DATA to the folder of the real input data", folder.display());
    None
}

#[test]
fn recorded_events_are_read_or_refused_as_what_they_are() {
    let Some(folder) = fixtures() else { return };
    let mut taken = 0;
    for library in ["powertools-python", "rust-runtime"] {
        for file in std::fs::read_dir(folder.join(library)).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read(&path).unwrap();
            let oracle: Option<Value> = serde_json::from_slice(&text).ok();
            let records = oracle.as_ref().and_then(|v| v["Records"].as_array());
            let is_kinesis = records.is_some_and(|r| r.iter().all(|r| r["eventSource"] == "aws:kinesis"));
            // Those have tests of their own.
            if records.is_some_and(|r| r.iter().all(|r| r["eventSource"] == "aws:dynamodb")) {
                continue;
            }
            match parse(&text) {
                Ok(event) => {
                    assert!(is_kinesis, "{}", path.display());
                    agrees(&event, records.unwrap());
                    taken += 1;
                }
                Err(error) => assert!(!is_kinesis, "{}: {error}", path.display()),
            }
        }
    }
    assert_eq!(taken, 5);
    let logs = folder.join("powertools-python/kinesisStreamCloudWatchLogsEvent.json");
    let event = parse(&std::fs::read(logs).unwrap()).unwrap();
    assert_eq!(event.counts.envelopes + event.counts.control_messages, 2);
    assert!(event.dead_letters.is_empty() && !event.batch.documents.is_empty());
    for document in documents(&event) {
        assert!(serde_json::from_str::<Value>(&document).unwrap().is_object(), "{document}");
    }
}

/// Sequence numbers, arrivals and payload bytes are those that serde_json reads.
fn agrees(event: &ParsedEvent, records: &[Value]) {
    let sequences: Vec<String> = event.sequences.iter().map(ToString::to_string).collect();
    let expected: Vec<_> = records.iter().map(|r| r["kinesis"]["sequenceNumber"].as_str().unwrap()).collect();
    assert_eq!(sequences, expected);
    let millis =
        |r: &Value| (r["kinesis"]["approximateArrivalTimestamp"].as_f64().unwrap() * 1e3).round() as i64;
    let (first, last) = event.arrived.unwrap();
    assert_eq!(records.iter().map(millis).min(), Some(first.millis()));
    assert_eq!(records.iter().map(millis).max(), Some(last.millis()));
    let sizes = records.iter().map(|r| {
        STANDARD.decode_to_vec(r["kinesis"]["data"].as_str().unwrap().as_bytes()).unwrap().len() as u64
    });
    assert_eq!(event.counts.payload_bytes, sizes.sum::<u64>());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,4}", inner), 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// The members of an object in another order, some others among them.
fn shuffled(object: Value, others: Vec<(String, Value)>) -> impl Strategy<Value = Value> {
    let Value::Object(members) = object else { unreachable!("an object is given") };
    let known: Vec<_> = members.iter().map(|(k, _)| k.clone()).collect();
    let others =
        others.into_iter().filter(move |(k, _)| !known.contains(k) && k != "Records" && k != "EventSource");
    let all: Vec<_> = members.into_iter().chain(others).collect();
    Just(all).prop_shuffle().prop_map(|m| Value::Object(m.into_iter().collect()))
}

fn others() -> impl Strategy<Value = Vec<(String, Value)>> {
    prop::collection::vec((".{0,6}", any_json()), 0..3)
}

fn any_record() -> impl Strategy<Value = (Value, Vec<u8>)> {
    let content =
        (0u128.., prop::collection::vec(32u8..127, 1..60), 0..4_000_000_000_000i64, others(), others());
    content.prop_flat_map(|(sequence, payload, millis, inside, beside)| {
        let mut value = record(&sequence.to_string(), &payload);
        value["kinesis"]["approximateArrivalTimestamp"] = json!(millis as f64 / 1e3);
        let kinesis = shuffled(value["kinesis"].take(), inside);
        let whole = kinesis.prop_flat_map(move |kinesis| {
            let mut value = value.clone();
            value["kinesis"] = kinesis;
            shuffled(value, beside.clone())
        });
        (whole, Just(payload))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agrees_with_serde_json(
        records in prop::collection::vec(any_record(), 1..6),
        pretty in any::<bool>(),
        more in others(),
    ) {
        let values: Vec<_> = records.iter().map(|(value, _)| value.clone()).collect();
        let mut event = json!({});
        for (key, value) in more {
            event[key] = value;
        }
        event["Records"] = json!(values);
        let text = if pretty { serde_json::to_string_pretty(&event) } else { serde_json::to_string(&event) }.unwrap();
        let parsed = parse(text.as_bytes()).unwrap();
        agrees(&parsed, &values);
        let expected: Vec<_> = records
            .iter()
            .map(|(_, payload)| std::str::from_utf8(payload).unwrap().trim_matches(' ').to_owned())
            .filter(|text| !text.is_empty())
            .collect();
        prop_assert_eq!(documents(&parsed), expected);
    }
}
