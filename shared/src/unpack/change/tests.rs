use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// The document of a change that was written as text.
fn document(change: &str) -> Result<String, NotTyped> {
    let mut out = Vec::new();
    let change = read(change.as_bytes()).expect("a change");
    change.write_document(&mut out).map(|()| String::from_utf8(out).unwrap())
}

fn change(name: &str, images: &Value) -> Value {
    json!({"eventName": name, "eventSource": "aws:dynamodb", "dynamodb": images})
}

fn of_item(item: &str) -> Result<String, NotTyped> {
    document(&format!(
        r#"{{"eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{{"NewImage":{item},"SequenceNumber":"1"}}}}"#
    ))
}

const TAIL: &str = r#","_op":"insert","_ttl":false}"#;

#[test]
fn each_typed_value_becomes_its_json() {
    for (typed, expected) in [
        (r#"{"S":"caf\u00e9 \"x\""}"#, r#""caf\u00e9 \"x\"""#),
        (r#"{"S":""}"#, r#""""#),
        (r#"{"N":"12345678901234567890123456789012345678"}"#, "12345678901234567890123456789012345678"),
        (r#"{"N":"-0.00000000000000000000000000000000000001"}"#, "-0.00000000000000000000000000000000000001"),
        (r#"{"N":"1E+125"}"#, "1E+125"),
        (r#"{"B":"AAEqQQ=="}"#, r#""AAEqQQ==""#),
        (r#"{"BOOL":true}"#, "true"),
        (r#"{ "BOOL" : false }"#, "false"),
        (r#"{"NULL":true}"#, "null"),
        (r#"{"M":{}}"#, "{}"),
        (
            r#"{"M":{"a":{"N":"1"},"_op":{"L":[{"S":"x"},{"M":{"b":{"NULL":true}}}]}}}"#,
            r#"{"a":1,"_op":["x",{"b":null}]}"#,
        ),
        (r#"{"L":[]}"#, "[]"),
        (r#"{"SS":["a","b"]}"#, r#"["a","b"]"#),
        (r#"{"SS":[]}"#, "[]"),
        (r#"{"NS":["1234","567.8"]}"#, "[1234,567.8]"),
        (r#"{"BS":["AAEqQQ==","QSoBAA=="]}"#, r#"["AAEqQQ==","QSoBAA=="]"#),
    ] {
        assert_eq!(of_item(&format!(r#"{{"v":{typed}}}"#)).unwrap(), format!(r#"{{"v":{expected}{TAIL}"#));
    }
}

#[test]
fn what_is_no_typed_value_is_refused_with_its_path() {
    for (typed, path, expected) in [
        (r#"{"N":"a lot"}"#, "NewImage.v", "a number as text"),
        (r#"{"N":"NaN"}"#, "NewImage.v", "a number as text"),
        (r#"{"N":"01"}"#, "NewImage.v", "a number as text"),
        (r#"{"N":7}"#, "NewImage.v", "a string"),
        (r#"{"S":7}"#, "NewImage.v", "a string"),
        (r#"{"NULL":false}"#, "NewImage.v", "S, N, B, BOOL, NULL, M, L, SS, NS or BS"),
        (r#"{"BOOL":"true"}"#, "NewImage.v", "a value"),
        (r#"{"X":"1"}"#, "NewImage.v", "S, N, B, BOOL, NULL, M, L, SS, NS or BS"),
        ("{}", "NewImage.v", "a typed value"),
        (r#"{"S":"a","N":"1"}"#, "NewImage.v", "one type"),
        (r#""x""#, "NewImage.v", "an object"),
        (r#"{"M":{"a":{"L":[{"S":"x"},{"N":"-"}]}}}"#, "NewImage.v.a[1]", "a number as text"),
        (r#"{"NS":["1","x"]}"#, "NewImage.v[1]", "a number as text"),
    ] {
        let found = of_item(&format!(r#"{{"v":{typed}}}"#)).unwrap_err();
        assert_eq!((found.path.as_str(), found.expected), (path, expected), "{typed}");
        assert_eq!(found.reason, Reason::Envelope);
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| {
        let (open, close) = (r#"{"L":["#.repeat(levels - 1), "]}".repeat(levels - 1));
        of_item(&format!(r#"{{"v":{open}{{"S":"x"}}{close}}}"#))
    };
    assert!(nested(MAX_ATTRIBUTE_DEPTH).is_ok());
    assert_eq!(nested(MAX_ATTRIBUTE_DEPTH + 1).unwrap_err().reason, Reason::TooDeep);
    assert_eq!(nested(100_000).unwrap_err().reason, Reason::TooDeep);
}

#[test]
fn a_change_says_what_it_was() {
    let (keys, new, old) =
        (json!({"k": {"S": "a"}}), json!({"k": {"S": "a"}, "v": {"N": "2"}}), json!({"v": {"N": "1"}}));
    let images = json!({"ApproximateCreationDateTime": 1_480_642_020, "SequenceNumber": "1", "Keys": keys,
                        "NewImage": new, "OldImage": old});
    let text = change("MODIFY", &images).to_string();
    assert_eq!(
        document(&text).unwrap(),
        r#"{"k":"a","v":2,"_old":{"v":1},"_op":"modify","_changed_at":1480642020,"_ttl":false}"#
    );
    // A removed item is its keys.
    let images = json!({"Keys": keys, "OldImage": old, "SequenceNumber": "1"});
    assert_eq!(
        document(&change("REMOVE", &images).to_string()).unwrap(),
        r#"{"k":"a","_old":{"v":1},"_op":"remove","_ttl":false}"#
    );
    let broken = document(&change("UPSERT", &images).to_string()).unwrap_err();
    assert_eq!((broken.path.as_str(), broken.expected), ("eventName", "INSERT, MODIFY or REMOVE"));
    assert_eq!(document(&change("INSERT", &json!({})).to_string()).unwrap_err().path, "Keys");
}

#[test]
fn only_what_the_service_removed_itself_is_marked() {
    let service = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
    for (name, identity, expected) in [
        ("REMOVE", service.clone(), true),
        ("REMOVE", json!({"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}), true),
        ("MODIFY", service, false),
        ("REMOVE", json!({"type": "Service", "principalId": "other.amazonaws.com"}), false),
        ("REMOVE", json!({"type": "User", "principalId": "dynamodb.amazonaws.com"}), false),
        ("REMOVE", Value::Null, false),
    ] {
        let mut change = change(name, &json!({"Keys": {}, "SequenceNumber": "1"}));
        change["userIdentity"] = identity;
        let document: Value = serde_json::from_str(&document(&change.to_string()).unwrap()).unwrap();
        assert_eq!(document["_ttl"], expected, "{change}");
    }
}

#[test]
fn attributes_with_the_names_of_a_changes_fields_step_aside() {
    let item =
        r#"{"_op":{"S":"a"},"__op":{"S":"b"},"\u005fttl":{"S":"c"},"op":{"S":"d"},"_opera":{"S":"e"}}"#;
    let expected = r#"{"__op":"a","___op":"b","_\u005fttl":"c","op":"d","_opera":"e""#;
    assert_eq!(of_item(item).unwrap(), format!("{expected}{TAIL}"));
}

#[test]
fn times_of_changes_in_a_kinesis_stream_are_milliseconds_unless_they_say_otherwise() {
    for (images, expected) in [
        (json!({"ApproximateCreationDateTime": 1_480_642_020_123u64}), "1480642020123e-3"),
        (
            json!({"ApproximateCreationDateTime": 1_480_642_020_123_456u64, "ApproximateCreationDateTimePrecision": "MICROSECOND"}),
            "1480642020123456e-6",
        ),
        (json!({"ApproximateCreationDateTime": 1_480_642_020, "SequenceNumber": "1"}), "1480642020"),
    ] {
        let mut images = images;
        images["Keys"] = json!({});
        let text = change("REMOVE", &images).to_string();
        assert!(document(&text).unwrap().contains(&format!("\"_changed_at\":{expected},")), "{text}");
    }
    let mut out = Vec::new();
    write_seconds(b"1.5E12", 3, &mut out);
    assert_eq!(out, b"1.5e9");
}

#[test]
fn a_payload_is_a_change_only_if_it_says_so() {
    for (text, expected) in [
        (r#"{"eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{}}"#, true),
        (" { \"awsRegion\":\"x\",\"dynamodb\":{},\"eventSource\":\"aws:dynamodb\"} \n", true),
        (r#"{"eventName":"INSERT","eventSource":"aws:kinesis","dynamodb":{},"a":"aws:dynamodb"}"#, false),
        (r#"{"eventName":"INSERT","eventSource":"aws:dynamodb"}"#, false),
        (r#"{"eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{}} {}"#, false),
        (r#"{"eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{}"#, false),
        (r#"{"event_name":"INSERT","eventSource":"aws:dynamodb","dynamodb":{}}"#, false),
        (r#"[{"eventSource":"aws:dynamodb"}]"#, false),
    ] {
        assert_eq!(read(text.as_bytes()).is_some(), expected, "{text}");
    }
}

/// A value of an item, as a program has it.
#[derive(Debug, Clone)]
enum Attribute {
    Text(String),
    Number(String),
    Binary(Vec<u8>),
    Bool(bool),
    Null,
    Map(BTreeMap<String, Attribute>),
    List(Vec<Attribute>),
    Texts(Vec<String>),
    Numbers(Vec<String>),
    Binaries(Vec<Vec<u8>>),
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

impl Attribute {
    /// As a stream writes it.
    fn typed(&self) -> Value {
        match self {
            Attribute::Text(text) => json!({"S": text}),
            Attribute::Number(digits) => json!({"N": digits}),
            Attribute::Binary(bytes) => json!({"B": base64(bytes)}),
            Attribute::Bool(value) => json!({"BOOL": value}),
            Attribute::Null => json!({"NULL": true}),
            Attribute::Map(members) => json!({"M": typed_members(members)}),
            Attribute::List(items) => json!({"L": items.iter().map(Attribute::typed).collect::<Vec<_>>()}),
            Attribute::Texts(texts) => json!({"SS": texts}),
            Attribute::Numbers(numbers) => json!({"NS": numbers}),
            Attribute::Binaries(all) => json!({"BS": all.iter().map(|b| base64(b)).collect::<Vec<_>>()}),
        }
    }

    /// As plain JSON text, numbers digit by digit; the naive way.
    fn plain(&self) -> String {
        let text = |text: &String| Value::from(text.as_str()).to_string();
        let list = |items: Vec<String>| format!("[{}]", items.join(","));
        match self {
            Attribute::Text(value) => text(value),
            Attribute::Number(digits) => digits.clone(),
            Attribute::Binary(bytes) => text(&base64(bytes)),
            Attribute::Bool(value) => value.to_string(),
            Attribute::Null => "null".into(),
            Attribute::Map(members) => format!("{{{}}}", plain_members(members)),
            Attribute::List(items) => list(items.iter().map(Attribute::plain).collect()),
            Attribute::Texts(texts) => list(texts.iter().map(text).collect()),
            Attribute::Numbers(numbers) => list(numbers.clone()),
            Attribute::Binaries(all) => list(all.iter().map(|b| text(&base64(b))).collect()),
        }
    }
}

fn typed_members(members: &BTreeMap<String, Attribute>) -> Value {
    Value::Object(members.iter().map(|(k, v)| (k.clone(), v.typed())).collect::<Map<_, _>>())
}

fn plain_members(members: &BTreeMap<String, Attribute>) -> String {
    let member = |(k, v): (&String, &Attribute)| format!("{}:{}", Value::from(k.as_str()), v.plain());
    members.iter().map(member).collect::<Vec<_>>().join(",")
}

/// Numbers as the service writes them: up to 38 digits, a point somewhere.
fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[1-9][0-9]{0,37}",
        "-?(0|[1-9][0-9]{0,18})\\.[0-9]{0,18}[1-9]",
        "-?[1-9](\\.[0-9]{0,36}[1-9])?E[+-]?[1-9][0-9]?",
        Just("0".to_owned()),
    ]
}

fn attributes() -> impl Strategy<Value = Attribute> {
    let binary = || prop::collection::vec(any::<u8>(), 0..20);
    let leaf = prop_oneof![
        any::<String>().prop_map(Attribute::Text),
        numbers().prop_map(Attribute::Number),
        binary().prop_map(Attribute::Binary),
        any::<bool>().prop_map(Attribute::Bool),
        Just(Attribute::Null),
        prop::collection::vec(any::<String>(), 0..4).prop_map(Attribute::Texts),
        prop::collection::vec(numbers(), 0..4).prop_map(Attribute::Numbers),
        prop::collection::vec(binary(), 0..4).prop_map(Attribute::Binaries),
    ];
    leaf.prop_recursive(12, 64, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Attribute::List),
            prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(Attribute::Map),
        ]
    })
}

proptest! {
    #[test]
    fn random_items_are_written_as_the_naive_model_writes_them(
        item in prop::collection::btree_map("[a-zé\"\\\\ .]{0,8}", attributes(), 1..6),
        old in prop::option::of(prop::collection::btree_map("[_a-z]{0,8}", attributes(), 0..3)),
        pretty in any::<bool>(),
    ) {
        let mut images = json!({"SequenceNumber": "1", "NewImage": typed_members(&item)});
        if let Some(old) = &old {
            images["OldImage"] = typed_members(old);
        }
        let change = change("INSERT", &images);
        let text = if pretty { serde_json::to_string_pretty(&change).unwrap() } else { change.to_string() };
        let old = old.map_or(String::new(), |old| format!(",\"_old\":{{{}}}", plain_members(&old)));
        let expected = format!("{{{}{old}{TAIL}", plain_members(&item));
        let found = document(&text).unwrap();
        prop_assert_eq!(&found, &expected);
        prop_assert!(found.len() <= text.len() + 64);
    }
}
