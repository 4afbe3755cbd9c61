//! Events of DynamoDB streams.

use serde_json::{Value, json};

use super::*;
use crate::dead_letter::Reason;

const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2016-12-01T00:00:00.000";

fn parse(event: &Value) -> Result<ParsedEvent> {
    let mut parsed = ParsedEvent::default();
    parsed.parse(&mut Unpacker::default(), event.to_string().as_bytes())?;
    Ok(parsed)
}

fn record(sequence: &str, price: &str) -> Value {
    json!({
        "eventID": format!("f07f8ca4b0b26cb9c4e5e77e{sequence}"),
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_480_642_020,
            "Keys": {"id": {"N": "7"}},
            "NewImage": {"id": {"N": "7"}, "price": {"N": price}},
            "SequenceNumber": sequence,
            "SizeBytes": 54,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": ARN,
    })
}

fn documents(event: &ParsedEvent) -> Vec<&str> {
    event.batch.documents.iter().map(|d| std::str::from_utf8(event.batch.payload(d)).unwrap()).collect()
}

#[test]
fn a_change_is_a_document_that_remembers_its_text() {
    let records = [record("100", "9.90"), record("200", "dear"), record("300", "1e2")];
    let event =
        parse(&json!({"Records": records, "shardId": "shardId-00000001414576573621-f55eea83"})).unwrap();
    assert_eq!(
        documents(&event),
        [
            r#"{"id":7,"price":9.90,"_op":"insert","_changed_at":1480642020,"_ttl":false}"#,
            r#"{"id":7,"price":1e2,"_op":"insert","_changed_at":1480642020,"_ttl":false}"#,
        ]
    );
    assert_eq!(event.batch.raw(&event.batch.documents[1]), records[2].to_string().as_bytes());
    let [letter] = &event.dead_letters[..] else { panic!("{:?}", event.dead_letters) };
    assert_eq!((letter.reason, letter.path.as_str()), (Reason::Envelope, "NewImage.price"));
    assert_eq!(letter.raw, records[1].to_string().as_bytes());
    assert_eq!((letter.id.sequence, letter.id.subsequence), (200.into(), 0));
    assert_eq!(event.sequences, [100.into(), 200.into(), 300.into()]);
    let at = EpochMicros(1_480_642_020_000_000);
    assert_eq!((event.arrived, event.batch.documents[0].arrived_at), (Some((at, at)), at));
    assert_eq!((event.counts.records, event.counts.changes), (3, 3));
    let origin = event.origin.as_ref().unwrap();
    assert_eq!(origin.source, Source::DynamoDb);
    assert_eq!(
        (origin.stream_name(), origin.shard.as_str()),
        ("orders", "shardId-00000001414576573621-f55eea83")
    );
    assert_eq!(event.identifier(300.into()), "300");
}

#[test]
fn where_the_shard_is_not_named_numbers_of_all_shards_stay_apart() {
    let (mut a, mut b) = (record("100", "1"), record("100", "2"));
    (a["eventID"], b["eventID"]) = (json!("of one shard"), json!("of another"));
    let event = parse(&json!({"Records": [a.clone()]})).unwrap();
    let other = parse(&json!({"Records": [b]})).unwrap();
    assert_eq!(event.origin.as_ref().unwrap().shard, ALL_SHARDS);
    assert_ne!(event.sequences, other.sequences);
    assert_eq!(event.sequences, parse(&json!({"Records": [a]})).unwrap().sequences);
    for event in [&event, &other] {
        assert_eq!(event.sequences[0].to_string().len(), 13);
        assert_eq!(event.batch.documents[0].id.sequence, event.sequences[0]);
        assert_eq!(event.identifier(event.sequences[0]), "100");
    }
    // The order of the stream stays.
    let longest = "9".repeat(40);
    let records = [record("99", "1"), record("100", "1"), record(&longest, "1")];
    let event = parse(&json!({"Records": records})).unwrap();
    assert!(event.sequences.is_sorted());
    assert_eq!(event.identifier(event.sequences[2]), longest);
    let error = parse(&json!({"Records": [record(&"9".repeat(70), "1")]})).unwrap_err().to_string();
    assert!(error.contains("Records[0]: dynamodb.SequenceNumber: more digits than any has"), "{error}");
}

#[test]
fn an_identifier_has_the_zeros_that_the_stream_writes() {
    for shard in [None, Some("shardId-1")] {
        let mut event = json!({"Records": [record("0000000017", "1"), record("0000000100", "1")]});
        if let Some(shard) = shard {
            event["shardId"] = json!(shard);
        }
        let event = parse(&event).unwrap();
        let identifiers: Vec<_> = event.sequences.iter().map(|s| event.identifier(*s)).collect();
        assert_eq!(identifiers, ["0000000017", "0000000100"]);
    }
}

#[test]
fn what_an_event_of_changes_lacks_is_named() {
    for (edit, expected) in [
        (("/dynamodb/SequenceNumber", Value::Null), "Records[0]: dynamodb.SequenceNumber is missing"),
        (("/dynamodb/SequenceNumber", json!("x1")), "Records[0]: dynamodb.SequenceNumber x1: not a sequence"),
        (("/dynamodb", json!([])), "Records[0]: dynamodb is missing"),
        (("/eventID", Value::Null), "Records[0]: eventID is missing"),
        (("/eventSourceARN", Value::Null), "Records[0]: eventSourceARN is missing"),
        (
            ("/dynamodb/ApproximateCreationDateTime", Value::Null),
            "Records[0]: dynamodb.ApproximateCreationDateTime is missing",
        ),
        (("/eventSource", json!("aws:s3")), "Records[0]: comes from aws:s3; this function takes"),
    ] {
        let mut record = record("1", "1");
        *record.pointer_mut(edit.0).unwrap() = edit.1;
        let error = parse(&json!({"Records": [record]})).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut other = record("2", "1");
    other["eventSourceARN"] = json!("another");
    let error = parse(&json!({"Records": [record("1", "1"), other]})).unwrap_err().to_string();
    assert!(error.contains("an event holds one shard"), "{error}");
}

/// The fixtures that others made: what they hold, read by a JSON library.
#[test]
#[allow(clippy::approx_constant, reason = "the number of the fixture")]
fn fixtures_of_the_rust_runtime_and_of_powertools_are_read() {
    let Some(folder) = super::tests::fixtures() else { return };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let text = read("rust-runtime/example-dynamodb-event.json");
    let mut event = ParsedEvent::default();
    event.parse(&mut Unpacker::default(), text.as_bytes()).unwrap();
    assert_eq!((event.origin.as_ref().unwrap().stream_name(), event.sequences.len()), ("Example-Table", 2));
    let found: Value = serde_json::from_str(documents(&event)[1]).unwrap();
    let expected = json!({
        "val": "data", "asdf1": "AAEqQQ==", "b2": "test", "asdf2": ["AAEqQQ==", "QSoBAA==", "AAEqQQ=="],
        "key": "binary", "Binary": "AAEqQQ==", "Boolean": true, "BinarySet": ["AAEqQQ==", "AAEqQQ=="],
        "List": ["Cookies", "Coffee", 3.14159], "Map": {"Name": "Joe", "Age": 35}, "FloatNumber": 123.45,
        "IntegerNumber": 123, "NumberSet": [1234, 567.8], "Null": null, "String": "Hello",
        "StringSet": ["Giraffe", "Zebra"], "EmptyStringSet": [], "_op": "insert",
        "_changed_at": 1_480_642_020, "_ttl": false,
    });
    assert_eq!(found, expected);

    // Made up: its records are of two streams, and the second has no time.
    let event: Value = serde_json::from_str(&read("powertools-python/dynamoStreamEvent.json")).unwrap();
    let error = parse(&event).unwrap_err().to_string();
    assert!(error.contains("Records[1]: from all-shards of source_arn"), "{error}");
    let first = parse(&json!({"Records": [event["Records"][0]]})).unwrap();
    assert_eq!(
        documents(&first),
        [r#"{"Message":"New item!","Id":101,"_op":"insert","_changed_at":1693997155.0,"_ttl":false}"#]
    );

    // What a Kinesis stream carries of a table's changes.
    let payload = read("rust-runtime/example-dynamodb-event-record-with-optional-fields.json");
    let mut out = Vec::new();
    crate::unpack::write_document(payload.as_bytes(), &mut out).unwrap();
    let found: Value = serde_json::from_slice(&out).unwrap();
    let id = "00000000-0000-0000-0000-000000000000";
    assert_eq!(
        found,
        json!({"id": id, "created": "2022-02-16T15:12:00.14Z", "_op": "insert", "_ttl": false})
    );
}
