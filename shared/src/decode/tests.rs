use proptest::prelude::*;

use crate::columns::{ColumnSet, LeafColumn, Values};
use crate::schema::{Column, HiveType, StructField, TableSchema, TimeFormat};

use super::*;

mod documents;
mod oracle;

fn f(name: &str, ty: HiveType) -> StructField {
    StructField { name: name.into(), key: name.into(), ty }
}

fn decimal(precision: u8, scale: u8) -> HiveType {
    HiveType::Decimal { precision, scale }
}

fn table() -> TableSchema {
    use HiveType as H;
    let item = H::Struct(vec![f("sku", H::String), f("qty", H::Int), f("price", decimal(10, 2))]);
    let columns = [
        ("id", H::String),
        ("at", H::Timestamp),
        ("b", H::Boolean),
        ("t", H::TinyInt),
        ("s", H::SmallInt),
        ("i", H::Int),
        ("l", H::BigInt),
        ("f", H::Float),
        ("d", H::Double),
        ("dec", decimal(18, 4)),
        ("big", decimal(38, 10)),
        ("day", H::Date),
        (
            "device",
            H::Struct(vec![f("os", H::String), f("w", H::Int), f("in", H::Struct(vec![f("x", H::Double)]))]),
        ),
        ("items", H::Array(Box::new(item.clone()))),
        ("grid", H::Array(Box::new(H::Array(Box::new(H::Int))))),
        ("props", H::Map(Box::new(H::String), Box::new(H::String))),
        ("deep", H::Map(Box::new(H::String), Box::new(H::Array(Box::new(item))))),
    ];
    let mut columns: Vec<Column> = columns.into_iter().map(|(n, ty)| Column::new(n, ty)).collect();
    let mut epoch = |name, ty, format| {
        let mut column = Column::new(name, ty);
        column.time_format = format;
        columns.push(column);
    };
    epoch("us", H::Timestamp, TimeFormat::EpochMicros);
    epoch("days", H::Date, TimeFormat::EpochSeconds);
    let mut raw = Column::new("raw", H::String);
    raw.json = true;
    let mut kind = Column::new("kind", H::String);
    kind.allowed = Some(vec!["view".into(), "click".into(), "".into()]);
    let mut brief = Column::new("brief", H::String);
    (brief.max_length, brief.default) = (Some(5), Some("\"none\"".into()));
    let mut ratio = Column::new("ratio", H::Double);
    (ratio.min, ratio.max) = (Some("-0.5".into()), Some("100".into()));
    columns.extend([raw, kind, brief, ratio, Column::new("code", H::Varchar(3))]);
    TableSchema::for_test("t", columns)
}

/// A leaf as text: one `rep/def/value` per entry.
fn dump_leaf(leaf: &LeafColumn) -> Vec<String> {
    let mut value = 0;
    (0..leaf.defs.len())
        .map(|i| {
            let def = leaf.defs.get(i);
            let rep = if leaf.max_rep == 0 { 0 } else { leaf.reps.get(i) };
            if def < leaf.max_def {
                return format!("{rep}/{def}/-");
            }
            value += 1;
            let v = value - 1;
            let text = match &leaf.values {
                Values::Bool(x) => format!("{}", x[v]),
                Values::Int32(x) => format!("{}", x[v]),
                Values::Int64(x) => format!("{}", x[v]),
                Values::Float(x) => format!("{:?}", x[v]),
                Values::Double(x) => format!("{:?}", x[v]),
                Values::Bytes(x) => String::from_utf8_lossy(x.get(v)).into_owned(),
                Values::Fixed { width, data } => format!("{:?}", &data[v * width..(v + 1) * width]),
            };
            format!("{rep}/{def}/{text}")
        })
        .collect()
}

fn dump(set: &ColumnSet) -> Vec<Vec<String>> {
    set.leaves.iter().map(dump_leaf).collect()
}

/// Decode some documents one way: what was refused (by index and path) and all columns.
fn run(table: &TableSchema, docs: &[Vec<u8>], path: Path) -> (Vec<Option<Refusal>>, Vec<Vec<String>>) {
    let mut decoder = Decoder::new(table, path).unwrap();
    let mut set = ColumnSet::new(decoder.layout());
    let mut verdicts = Vec::new();
    for doc in docs {
        let utf8 = std::str::from_utf8(doc).is_ok();
        verdicts.push(decoder.decode(doc, utf8, &mut set).map(|()| set.finish_row()).err().map(|r| *r));
    }
    (verdicts, dump(&set))
}

fn check(json: &str, expected: Result<&[(&str, &str)], (Reason, &str)>) {
    let table = table();
    for path in [Path::Fast, Path::Judge] {
        let (verdicts, columns) = run(&table, &[json.as_bytes().to_vec()], path);
        match (&verdicts[0], expected) {
            (Some(refusal), Err((reason, at))) => {
                assert_eq!((refusal.reason, refusal.path.as_str()), (reason, at), "{json} by {path:?}");
            }
            (None, Ok(cells)) => {
                let layout = Layout::of(&table);
                for (name, value) in cells {
                    let leaf = layout.leaves.iter().position(|l| l.path.join(".") == *name).unwrap();
                    assert_eq!(columns[leaf].join(" "), *value, "{name} of {json} by {path:?}");
                }
            }
            (verdict, _) => panic!("{json} by {path:?}: {verdict:?}"),
        }
    }
}

#[test]
fn values_become_what_the_column_says() {
    check(r#"{"id":"a","i":1}"#, Ok(&[("id", "0/1/a"), ("i", "0/1/1"), ("l", "0/0/-")]));
    check(
        r#" { "id" : "a\u00e9\n\ud83d\ude00" , "b" : true } "#,
        Ok(&[("id", "0/1/aé\n😀"), ("b", "0/1/1")]),
    );
    check(r#"{"i":1.0,"l":1e3,"t":-128}"#, Ok(&[("i", "0/1/1"), ("l", "0/1/1000"), ("t", "0/1/-128")]));
    check(r#"{"dec":12.34,"big":1234567890123456789012345678.1}"#, Ok(&[("dec", "0/1/123400")]));
    check(r#"{"dec":1.5000000000}"#, Ok(&[("dec", "0/1/15000")]));
    check(r#"{"at":"1970-01-01T00:00:01.5Z"}"#, Ok(&[("at", "0/1/1500000")]));
    check(
        r#"{"at":"1970-01-01T01:00:00+01:00","day":"1970-01-02"}"#,
        Ok(&[("at", "0/1/0"), ("day", "0/1/1")]),
    );
    check(
        r#"{"items":[{"sku":"x","qty":2},null,{"price":1.25}]}"#,
        Ok(&[
            ("items.list.element.sku", "0/4/x 1/2/- 1/3/-"),
            ("items.list.element.price", "0/3/- 1/2/- 1/4/125"),
        ]),
    );
    check(
        r#"{"grid":[[1,2],[],null,[3]]}"#,
        Ok(&[("grid.list.element.list.element", "0/5/1 2/5/2 1/3/- 1/2/- 1/5/3")]),
    );
    check(r#"{"props":{}}"#, Ok(&[("props.key_value.key", "0/1/-")]));
    check(r#"{"props":{"a":"b","c":null}}"#, Ok(&[("props.key_value.value", "0/3/b 1/2/-")]));
}

#[test]
fn the_last_of_equal_keys_wins() {
    check(r#"{"i":1,"i":2}"#, Ok(&[("i", "0/1/2")]));
    check(r#"{"props":{"a":"1","a":"2"}}"#, Ok(&[("props.key_value.value", "0/3/2")]));
    check(r#"{"props":{"a":"1","\u0061":"2"}}"#, Ok(&[("props.key_value.value", "0/3/2")]));
}

#[test]
fn what_is_no_json_is_said_with_its_place() {
    let cases: [(&[u8], &str); 8] = [
        (b"{\"id\":\"\xff\"}", "bytes that are no UTF-8, at byte 7"),
        (br#"{"id":"\ud800"}"#, "a surrogate without its other half, at byte 7"),
        (br#"{"id":"a""#, "the end of the text, at byte 9"),
        (br#"{"id" 1}"#, "expected `:`, at byte 6"),
        (b"{\"id\":\"a\",\n\n \"b\" true}", "expected `:`, at byte 17"),
        (br#"{"id":"a"} {}"#, "trailing characters, at byte 11"),
        (br#"{"id":"a\q"}"#, "invalid escape, at byte 9"),
        (
            b"{\"id\":\"a\x01\"}",
            "control character (\\u0000-\\u001F) found while parsing a string, at byte 8",
        ),
    ];
    for (doc, expected) in cases {
        for path in [Path::Fast, Path::Judge] {
            let (verdicts, _) = run(&table(), &[doc.to_vec()], path);
            assert_eq!(verdicts[0].as_ref().map(|refusal| refusal.found.as_str()), Some(expected), "{doc:?}");
        }
    }
}

#[test]
fn values_that_do_not_fit_are_refused_with_their_path() {
    check(r#"{"i":"1"}"#, Err((Reason::WrongType, "i")));
    check(r#"{"i":1.5}"#, Err((Reason::WrongType, "i")));
    check(r#"{"i":3000000000}"#, Err((Reason::OutOfRange, "i")));
    check(r#"{"l":9223372036854775808}"#, Err((Reason::OutOfRange, "l")));
    check(r#"{"l":123456789012345678901234567890123456789012345}"#, Err((Reason::OutOfRange, "l")));
    check(r#"{"dec":0.00001}"#, Err((Reason::OutOfRange, "dec")));
    check(r#"{"f":1e39}"#, Err((Reason::OutOfRange, "f")));
    check(r#"{"other":[1, -1e400 ],"f":1}"#, Err((Reason::OutOfRange, "")));
    check(r#"{"d":1e-400,"f":1e-60}"#, Ok(&[("d", "0/1/0.0"), ("f", "0/1/0.0")]));
    check(r#"{"f":69.12500381469726562500000000000001}"#, Ok(&[("f", "0/1/69.12501")]));
    check(r#"{"d":01}"#, Err((Reason::MalformedJson, "")));
    check(r#"{"at":"2026-02-29T00:00:00Z"}"#, Err((Reason::InvalidTime, "at")));
    check(r#"{"at":"2026-02-28T00:00:00.1234567Z"}"#, Err((Reason::InvalidTime, "at")));
    check(r#"{"at":"2026-02-28T00:00:00"}"#, Err((Reason::InvalidTime, "at")));
    // Years 1 to 9999, whatever the format.
    check(
        r#"{"us":-62135596800000000,"days":253402300799}"#,
        Ok(&[("us", "0/1/-62135596800000000"), ("days", "0/1/2932896")]),
    );
    check(r#"{"us":-62135596800000001}"#, Err((Reason::InvalidTime, "us")));
    check(r#"{"us":253402300800000000}"#, Err((Reason::InvalidTime, "us")));
    check(r#"{"us":9223372036854775807}"#, Err((Reason::InvalidTime, "us")));
    check(r#"{"days":253402300800}"#, Err((Reason::InvalidTime, "days")));
    check(r#"{"days":-62135596801}"#, Err((Reason::InvalidTime, "days")));
    check(r#"{"at":"0001-01-01T00:00:00+00:01"}"#, Err((Reason::InvalidTime, "at")));
    check(r#"{"at":"9999-12-31T23:59:59-00:01"}"#, Err((Reason::InvalidTime, "at")));
    check(r#"{"at":"9999-12-31T23:59:59.999999Z"}"#, Ok(&[("at", "0/1/253402300799999999")]));
    check(r#"{"items":[{"price":1},{"price":"x"}]}"#, Err((Reason::WrongType, "items[1].price")));
    check(r#"{"device":{"in":{"x":true}}}"#, Err((Reason::WrongType, "device.in.x")));
    check(r#"[1]"#, Err((Reason::WrongType, "")));
    check("", Err((Reason::Empty, "")));
    check(" \n", Err((Reason::Empty, "")));
    check(r#"{"id":"a"} x"#, Err((Reason::MalformedJson, "")));
    check(r#"{"id":"\ud800"}"#, Err((Reason::InvalidUtf8, "")));
    check(r#"{"id":"a"#, Err((Reason::MalformedJson, "")));
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
    check(&deep, Err((Reason::TooDeep, "")));
}

#[test]
fn what_is_refused_once_is_refused_again() {
    let table = table();
    let bad = [
        r#"{"kind":"other"}"#,
        r#"{"brief":"longer than five"}"#,
        r#"{"code":"long"}"#,
        r#"{"ratio":100.5}"#,
        r#"{"raw":1e400}"#,
        r#"{"props":{"k":"v"},"kind":"other"}"#,
    ];
    let good = r#"{"kind":"view","brief":"short","code":"abc","ratio":-0.25,"raw":12.50}"#;
    let docs: Vec<Vec<u8>> =
        (0..5).flat_map(|_| bad.iter().chain([&good])).map(|doc| doc.as_bytes().to_vec()).collect();
    for path in [Path::Fast, Path::Judge] {
        let (verdicts, columns) = run(&table, &docs, path);
        for (doc, verdict) in docs.iter().zip(verdicts) {
            assert_eq!(
                verdict.is_none(),
                doc == good.as_bytes(),
                "{} by {path:?}",
                String::from_utf8_lossy(doc)
            );
        }
        let layout = Layout::of(&table);
        let raw = layout.leaves.iter().position(|leaf| leaf.path == ["raw"]).unwrap();
        assert_eq!(columns[raw], ["0/1/12.50"; 5]);
    }
}

#[test]
fn a_bad_value_leaves_no_trace_of_its_row() {
    let table = table();
    let good = br#"{"id":"a","items":[{"sku":"s1"}],"props":{"k":"v"}}"#.to_vec();
    let bad = br#"{"id":"poison","items":[{"sku":"poison"},{"sku":1}],"props":{"poison":"p"}}"#.to_vec();
    for path in [Path::Fast, Path::Judge] {
        let (_, with) = run(&table, &[good.clone(), bad.clone(), good.clone()], path);
        let (_, without) = run(&table, &[good.clone(), good.clone()], path);
        assert_eq!(with, without);
    }
}

fn json_value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|v| v.to_string()),
        (-300i32..300).prop_map(|v| v.to_string()),
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("{v:?}")),
        "-?[0-9]{1,4}(\\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?",
        "-?[1-9][0-9]{0,9}(\\.[0-9]{1,9})?",
        Just("1e400".to_owned()),
        "[ -~é😀]{0,12}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        Just("\"2026-11-20T05:00:00.123Z\"".to_owned()),
        Just("\"2026-11-20\"".to_owned()),
        Just("\"\\u00e9\\t\\ud83d\\ude00\"".to_owned()),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(","))),
            proptest::collection::vec((key(), inner), 0..5).prop_map(|v| object(&v)),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let names = [
        "id", "at", "b", "t", "s", "i", "l", "f", "d", "dec", "big", "day", "device", "items", "grid",
        "props", "deep", "sku", "qty", "price", "os", "w", "in", "x", "other", "i\\u0064", "raw", "kind",
        "brief", "ratio", "code",
    ];
    proptest::sample::select(names.to_vec()).prop_map(str::to_owned)
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(k, v)| format!("\"{k}\" :{v}")).collect();
    format!("{{{}}}", members.join(", "))
}

/// Members that fit the table most of the time, so that whole rows pass.
fn fitting() -> impl Strategy<Value = String> {
    let text = || "[a-z\"\\\\é]{0,8}".prop_map(|s| serde_json::to_string(&s).unwrap());
    let price = || (0i64..100_000).prop_map(|c| format!("{}.{:02}", c / 100, c % 100));
    let item = || {
        (text(), 0i32..9, price()).prop_map(|(s, q, p)| format!("{{\"sku\":{s},\"qty\":{q},\"price\":{p}}}"))
    };
    let items = || proptest::collection::vec(item(), 0..3).prop_map(|v| format!("[{}]", v.join(",")));
    let member = prop_oneof![
        text().prop_map(|v| format!("\"id\":{v}")),
        (0i64..4_000_000_000).prop_map(|v| format!("\"l\":{v}")),
        any::<f32>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("\"d\":{v:?}")),
        price().prop_map(|v| format!("\"dec\":{v}")),
        items().prop_map(|v| format!("\"items\":{v}")),
        (text(), text()).prop_map(|(k, v)| format!("\"props\":{{{k}:{v}}}")),
        proptest::sample::select(vec!["view", "click", "", "other"])
            .prop_map(|v| format!("\"kind\":\"{v}\"")),
        text().prop_map(|v| format!("\"brief\":{v}")),
        "[a-zé]{0,4}".prop_map(|v| format!("\"code\":\"{v}\"")),
        (-90i64..20_000).prop_map(|v| format!("\"ratio\":{}.{:02}", v / 100, v.abs() % 100)),
        prop_oneof![text(), price(), Just("1e400".to_owned()), Just("true".to_owned()), items()]
            .prop_map(|v| format!("\"raw\":{v}")),
        (text(), items()).prop_map(|(k, v)| format!("\"deep\":{{{k}:{v}}}")),
        Just("\"grid\":[[1,2],[],null,[null]]".to_owned()),
        (text(), 0i32..9)
            .prop_map(|(o, w)| format!("\"device\":{{\"os\":{o},\"w\":{w},\"in\":{{\"x\":1.5}}}}")),
    ];
    proptest::collection::vec(member, 0..8).prop_map(|m| format!("{{{}}}", m.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn the_cursor_agrees_with_the_tape(docs in proptest::collection::vec(
        prop_oneof![3 => fitting(), 2 => proptest::collection::vec((key(), json_value()), 0..6).prop_map(|m| object(&m)), 1 => json_value()], 1..6),
        cut in any::<prop::sample::Index>(), flip in any::<(bool, u8)>())
    {
        let mut docs: Vec<Vec<u8>> = docs.into_iter().map(String::into_bytes).collect();
        if flip.0 && !docs[0].is_empty() {
            let at = cut.index(docs[0].len());
            docs[0][at] ^= flip.1;
        }
        let table = table();
        prop_assert_eq!(run(&table, &docs, Path::Fast), run(&table, &docs, Path::Judge));
    }
}

#[test]
fn every_conformance_case_ends_as_a_row_or_a_dead_letter() {
    let root = std::env::var("WEIR_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into());
    let Ok(folder) = std::fs::read_dir(format!("{root}/json-conformance")) else {
        eprintln!("skipped: no json-conformance folder below {root}");
        return;
    };
    let columns = ["a", "b", "v"].map(|n| {
        let mut c = Column::new(n, HiveType::String);
        c.json = true;
        c
    });
    let table = TableSchema::for_test("t", columns.into());
    let mut seen = 0;
    for entry in folder {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".json") {
            continue;
        }
        let case = std::fs::read(&path).unwrap();
        // As it stands, and as a value inside a row.
        let inside = [b"{\"v\":".as_slice(), &case, b"}"].concat();
        for doc in [case, inside] {
            let docs = [doc];
            let judged = run(&table, &docs, Path::Judge);
            let (fast, columns) = run(&table, &docs, Path::Fast);
            assert_eq!((&fast, &columns), (&judged.0, &judged.1), "{name}");
            let malformed = fast[0].as_ref().is_some_and(|r| !matches!(r.reason, Reason::WrongType));
            match name.as_bytes()[0] {
                b'y' => assert!(!malformed, "{name} must parse: {fast:?}"),
                b'n' => assert!(malformed || fast[0].is_some(), "{name} must be refused"),
                _ => {}
            }
        }
        seen += 1;
    }
    assert!(seen > 200, "{seen} cases");
}

#[test]
fn a_route_reads_one_scalar() {
    let doc = br#" {"a":{"b":[1,{"t":"no"}],"t":"x"}, "t" : "y", "n":1.50, "t":"z"}"#;
    for (path, expected) in
        [("t", Some("z")), ("n", Some("1.50")), ("a/t", Some("x")), ("a", None), ("q", None), ("a/b/t", None)]
    {
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        assert_eq!(text_at(doc, &path).as_deref(), expected, "{path:?}");
    }
}
