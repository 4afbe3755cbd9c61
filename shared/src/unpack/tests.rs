use std::io::Write;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// Short bounds, so that bombs are small.
const LIMITS: UnpackLimits =
    UnpackLimits { record_bytes: 50_000, batch_bytes: 120_000, record_documents: 2_000 };

fn head(n: u64) -> RecordHead {
    RecordHead { sequence: n.into(), arrived_at: EpochMicros(n as i64 + 1) }
}

#[derive(Default)]
struct Opened {
    batch: Batch,
    dead: Vec<DeadLetter>,
    counts: UnpackCounts,
}

impl Opened {
    fn add(&mut self, unpacker: &mut Unpacker, n: u64, payload: &[u8]) -> Unpacked {
        let record = StreamRecord { head: head(n), payload };
        unpacker.unpack(&mut self.batch, &mut self.dead, &mut self.counts, record)
    }

    fn documents(&self) -> Vec<&str> {
        self.batch.documents.iter().map(|d| std::str::from_utf8(self.batch.payload(d)).unwrap()).collect()
    }

    fn subsequences(&self) -> Vec<u32> {
        let documents = self.batch.documents.iter().map(|d| d.id.subsequence);
        let mut all: Vec<_> = documents.chain(self.dead.iter().map(|d| d.id.subsequence)).collect();
        all.sort_unstable();
        all
    }
}

fn open(payload: &[u8]) -> Opened {
    let mut opened = Opened::default();
    assert_eq!(opened.add(&mut Unpacker::new(LIMITS), 7, payload), Unpacked::Taken);
    for document in &opened.batch.documents {
        assert_eq!(document.id.sequence, head(7).sequence);
        assert_eq!(document.arrived_at, head(7).arrived_at);
    }
    let found = opened.subsequences();
    assert_eq!(found, (0..found.len() as u32).collect::<Vec<_>>(), "sub-sequence numbers have no gaps");
    let spare = opened.batch.bytes.capacity() - opened.batch.bytes.len();
    assert!(spare >= limits::DOCUMENT_PADDING_BYTES);
    opened
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

fn check(payload: &[u8], expected: &[&str]) {
    let opened = open(payload);
    assert_eq!(opened.documents(), expected, "{}", String::from_utf8_lossy(payload));
    assert!(opened.dead.is_empty(), "{:?}", opened.dead);
}

fn check_dead(payload: &[u8], reason: Reason, raw: &[u8]) {
    let opened = open(payload);
    assert!(opened.documents().is_empty(), "{:?}", opened.documents());
    let found: Vec<_> = opened.dead.iter().map(|d| (d.reason, &d.raw[..])).collect();
    assert_eq!(found, [(reason, raw)]);
}

#[test]
fn text_is_one_document_or_one_a_line() {
    check(b"{\"a\":1}", &["{\"a\":1}"]);
    check(b"{\"a\":1}\n", &["{\"a\":1}"]);
    check(b"\r\n {\"a\":1} \r\n\r\n", &["{\"a\":1}"]);
    check(b"{\"a\":1}\n{\"a\":2}", &["{\"a\":1}", "{\"a\":2}"]);
    check(b"{\"a\":1}\r\n\r\n{\"a\":2}\r\n", &["{\"a\":1}", "{\"a\":2}"]);
    check(b"\n{\"a\":1}\n \n\n{\"a\":2}\n\n", &["{\"a\":1}", "{\"a\":2}"]);
    check(b"1\n\"x\"\n[2]", &["1", "\"x\"", "[2]"]);
}

#[test]
fn a_document_on_several_lines_is_not_split() {
    let pretty = "{\n  \"a\": [\n    {\n    },\n{\n}\n  ],\n  \"b\": \"} \\\" ]\"\n}";
    check(pretty.as_bytes(), &[pretty]);
    check(format!("{pretty}\n{pretty}\n{{\"c\":1}}\n").as_bytes(), &[pretty, pretty, "{\"c\":1}"]);
    check(b"{\"a\":{\"b\":1}\n,\"c\":2}\n", &["{\"a\":{\"b\":1}\n,\"c\":2}"]);
}

#[test]
fn a_broken_line_costs_only_itself() {
    check(b"{\"a\":1}\nnot json\n{\"a\":2}", &["{\"a\":1}", "not json", "{\"a\":2}"]);
    check(b"{\"a\":[1\n{\"a\":2}\n{\"a\":3}\n", &["{\"a\":[1", "{\"a\":2}", "{\"a\":3}"]);
    check(b"{\"a\":\"x\n{\"a\":2}\n{\"a\":3}", &["{\"a\":\"x", "{\"a\":2}", "{\"a\":3}"]);
    check(b"{\"a\":1}}\n{\"a\":2}", &["{\"a\":1}}", "{\"a\":2}"]);
    check(b"{\n \"a\": 1,\n \"b\":", &["{\n \"a\": 1,\n \"b\":"]);
}

#[test]
fn nothing_is_a_dead_letter() {
    check_dead(b"", Reason::Empty, b"");
    check_dead(b" \r\n\n\t", Reason::Empty, b" \r\n\n\t");
    check_dead(&gzip(b""), Reason::Empty, b"");
    let none = kpl::aggregate(&[]);
    check_dead(&none, Reason::Empty, &none);
}

#[test]
fn compressed_payloads_are_opened() {
    check(&gzip(b"{\"a\":1}\n{\"a\":2}\n"), &["{\"a\":1}", "{\"a\":2}"]);
    check(&zstd(b"{\"a\":1}\n{\"a\":2}\n"), &["{\"a\":1}", "{\"a\":2}"]);
    check(&[gzip(b"{\"a\":"), gzip(b"1}")].concat(), &["{\"a\":1}"]);
    check(&[zstd(b"{\"a\":"), zstd(b"1}")].concat(), &["{\"a\":1}"]);
    check(&gzip(&zstd(&gzip(b"{}"))), &["{}"]);
}

#[test]
fn bombs_and_broken_compression_are_dead_letters() {
    let large = vec![b' '; LIMITS.record_bytes + 1];
    for payload in [gzip(&large), zstd(&large), gzip(&gzip(&large)[..40])] {
        check_dead_kept(&payload);
    }
    // Each of several parts is small, together they are not.
    let part = gzip(&[b"{\"a\":\"", &vec![b'x'; 20_000][..], b"\"}"].concat());
    let opened = open(&kpl::aggregate(&[&part, &part, &part]));
    assert_eq!(opened.documents().len(), 2);
    assert_eq!(opened.dead[0].reason, Reason::Compression);
    assert_eq!((opened.dead[0].id.subsequence, &opened.dead[0].raw), (2, &part));
    // Exactly at the bound.
    assert_eq!(open(&gzip(&large[1..])).dead[0].reason, Reason::Empty);
}

fn check_dead_kept(payload: &[u8]) {
    let opened = open(payload);
    assert!(opened.batch.documents.is_empty());
    assert_eq!(opened.dead.len(), 1);
    assert_eq!(opened.dead[0].reason, Reason::Compression);
    let inner = gzip(&vec![b' '; LIMITS.record_bytes + 1]);
    assert!(opened.dead[0].raw == payload || opened.dead[0].raw == inner[..40]);
}

#[test]
fn every_truncation_of_a_compressed_payload_is_a_dead_letter() {
    let content: Vec<u8> = (0..40).flat_map(|n| format!("{{\"n\":{n}}}\n").into_bytes()).collect();
    for whole in [gzip(&content), zstd(&content)] {
        for n in 4..whole.len() {
            check_dead(&whole[..n], Reason::Compression, &whole[..n]);
        }
    }
}

#[test]
fn a_zstd_frame_that_asks_for_a_huge_window_is_refused() {
    // Magic, no content size, window descriptor for 2 TiB, an empty last raw block.
    let frame = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xF8, 0x01, 0x00, 0x00];
    check_dead(&frame, Reason::Compression, &frame);
}

#[test]
fn containers_nest_up_to_a_bound() {
    let mut payload = b"{}".to_vec();
    for _ in 0..limits::MAX_UNPACK_DEPTH {
        payload = gzip(&payload);
    }
    check(&payload, &["{}"]);
    let deeper = open(&gzip(&payload));
    assert_eq!(deeper.dead[0].reason, Reason::Envelope);
    let aggregates = (0..=limits::MAX_UNPACK_DEPTH).fold(b"{}".to_vec(), |p, _| kpl::aggregate(&[&p]));
    assert_eq!(open(&aggregates).dead[0].reason, Reason::Envelope);
}

#[test]
fn a_record_of_too_many_documents_is_one_dead_letter() {
    let lines = "1\n".repeat(LIMITS.record_documents as usize + 1);
    let empty: Vec<&[u8]> = vec![b""; LIMITS.record_documents as usize + 1];
    let aggregate = kpl::aggregate(&empty);
    for payload in [lines.as_bytes(), &gzip(lines.as_bytes()), &gzip(&gzip(lines.as_bytes())), &aggregate] {
        check_dead(payload, Reason::Envelope, payload);
    }
}

/// An envelope of so many log events that are no objects, with a long name of their group.
fn long_group(bytes: usize, events: usize) -> Vec<u8> {
    let events = vec![r#"{"message":""}"#; events].join(",");
    let text = envelope("DATA_MESSAGE", &events).replace("g/\\u00e9", &"g".repeat(bytes));
    text.into_bytes()
}

#[test]
fn log_events_that_repeat_a_long_name_are_bounded_as_bombs_are() {
    let (few, many) = (long_group(1_000, 40), long_group(1_000, 60));
    let opened = open(&few);
    assert_eq!((opened.batch.documents.len(), opened.dead.len()), (40, 0));
    assert!(opened.counts.inflated_bytes as usize >= opened.batch.bytes.len() - few.len());
    check_dead(&many, Reason::Envelope, &many);
    check_dead(&gzip(&many), Reason::Envelope, &gzip(&many));
    // The batch has room for two of 41 KB.
    let (mut unpacker, mut opened) = (Unpacker::new(LIMITS), Opened::default());
    let taken = [1, 2, 3].map(|n| opened.add(&mut unpacker, n, &few) == Unpacked::Taken);
    assert_eq!(taken, [true, true, false]);
    assert_eq!((opened.batch.documents.len(), opened.dead.len()), (80, 0));
}

#[test]
fn many_lines_after_a_broken_one_are_looked_through_once() {
    let text = "{\n".repeat(1_000);
    check(text.as_bytes(), &vec!["{"; 1_000]);
}

#[test]
fn a_full_batch_leaves_the_record_for_later() {
    let mut unpacker = Unpacker::new(LIMITS);
    let mut opened = Opened::default();
    let large = gzip(&vec![b'1'; 45_000]);
    assert_eq!(opened.add(&mut unpacker, 1, &large), Unpacked::Taken);
    assert_eq!(opened.add(&mut unpacker, 2, &large), Unpacked::Taken);
    let before = (opened.batch.bytes.clone(), opened.batch.documents.clone(), opened.counts);
    assert_eq!(opened.add(&mut unpacker, 3, &kpl::aggregate(&[b"{}", &large])), Unpacked::BatchFull);
    assert_eq!(
        (&opened.batch.bytes, &opened.batch.documents, opened.counts),
        (&before.0, &before.1, before.2)
    );
    assert!(opened.dead.is_empty());
    assert_eq!(opened.add(&mut unpacker, 3, b"{}"), Unpacked::Taken);
}

#[test]
fn aggregates_are_opened_and_mismatches_are_plain() {
    let payload = kpl::aggregate(&[b"{\"a\":1}\n{\"a\":2}", b"", &gzip(b"{\"a\":3}")]);
    let opened = open(&payload);
    assert_eq!(opened.documents(), ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]);
    assert_eq!(opened.dead.len(), 1);
    assert_eq!((opened.dead[0].reason, opened.dead[0].id.subsequence), (Reason::Empty, 2));
    for n in 4..payload.len() {
        let cut = open(&payload[..n]);
        assert!(cut.dead.is_empty());
        assert_eq!(cut.batch.documents.len(), 1, "cut at {n}");
        assert_eq!(cut.batch.payload(&cut.batch.documents[0]), &payload[..n]);
        assert_eq!(cut.counts.aggregate_mismatches, 1);
    }
}

#[test]
fn aggregates_of_another_producer_are_opened() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/kpl");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let lines: Vec<_> =
            text.lines().map(|l| base64_simd::STANDARD.decode_to_vec(l.as_bytes()).unwrap()).collect();
        let opened = open(&lines[0]);
        // Each user record opens as it would as a record of its own.
        let alone: Vec<_> = lines[1..].iter().map(|l| open(l)).collect();
        let expected: Vec<_> = alone.iter().flat_map(|o| o.documents()).collect();
        assert_eq!(opened.documents(), expected);
        assert!(!expected.is_empty() && opened.dead.is_empty());
        assert_eq!(opened.counts.aggregates, 1);
        files += 1;
    }
    assert_eq!(files, 5);
}

fn envelope(kind: &str, events: &str) -> String {
    format!(
        "{{\"messageType\":\"{kind}\",\"owner\":\"12\",\"logGroup\":\"g/\\u00e9\",\"logStream\":\"s\",\
         \"subscriptionFilters\":[\"f\"],\"logEvents\":[{events}]}}"
    )
}

#[test]
fn log_events_are_documents() {
    let events = r#"{"id":"1","timestamp":5,"message":" {\"a\":\"x\\n\"}\n"},
        {"id":"2","timestamp":6,"message":"plain \"text\"\n"},
        {"id":"3","timestamp":7,"message":"{broken","extractedFields":{"k":"v"}},
        {"id":"4","timestamp":8,"message":"\ud800"},
        {"message":""}"#;
    let text = envelope("DATA_MESSAGE", events);
    let tail = r#""log_group":"g/\u00e9","log_stream":"s","owner":"12""#;
    let expected = [
        r#"{"a":"x\n"}"#.to_owned(),
        format!(r#"{{"id":"2","timestamp":6,{tail},"message":"plain \"text\"\n"}}"#),
        format!(r#"{{"id":"3","timestamp":7,{tail},"extracted_fields":{{"k":"v"}},"message":"{{broken"}}"#),
        format!(r#"{{"id":"4","timestamp":8,{tail},"message":"\ud800"}}"#),
        format!(r#"{{{tail},"message":""}}"#),
    ];
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    check(text.as_bytes(), &expected);
    check(&gzip(text.as_bytes()), &expected);
    let other_order = text.replacen("\"messageType\":\"DATA_MESSAGE\",", "", 1);
    let other_order = format!("{},\"messageType\":\"DATA_MESSAGE\"}}", &other_order[..other_order.len() - 1]);
    check(&gzip(other_order.as_bytes()), &expected);
}

#[test]
fn control_messages_are_counted_and_skipped() {
    let text = envelope("CONTROL_MESSAGE", r#"{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE"}"#);
    let opened = open(&gzip(text.as_bytes()));
    assert!(opened.batch.documents.is_empty() && opened.dead.is_empty());
    assert_eq!((opened.counts.control_messages, opened.counts.records), (1, 1));
}

#[test]
fn what_only_resembles_an_envelope_stays_a_document() {
    for text in [
        r#"{"messageType":"DATA_MESSAGE","n":1}"#,
        r#"{"messageType":"order","logEvents":[]}"#,
        r#"{"messageType":1}"#,
        r#"{"messageType":"#,
    ] {
        check(text.as_bytes(), &[text]);
        check(&gzip(text.as_bytes()), &[text]);
    }
    check(b"{\"messageType\":\"x\"}\n{\"b\":1}", &["{\"messageType\":\"x\"}", "{\"b\":1}"]);
}

#[test]
fn every_truncation_of_an_envelope_is_a_dead_letter() {
    let text = envelope("DATA_MESSAGE", r#"{"id":"1","timestamp":5,"message":"m"}"#);
    for n in r#"{"messageType":"DATA_MESSAGE""#.len()..text.len() {
        check_dead(&text.as_bytes()[..n], Reason::Envelope, &text.as_bytes()[..n]);
    }
    let empty = envelope("DATA_MESSAGE", "");
    check_dead(empty.as_bytes(), Reason::Empty, empty.as_bytes());
}

fn nested() -> Vec<u8> {
    let log = envelope("DATA_MESSAGE", r#"{"id":"1","timestamp":5,"message":"{\"m\":1}"}"#);
    kpl::aggregate(&[b"{\"a\":1}\n{\"a\":2}", &gzip(log.as_bytes()), &zstd(b"{\"z\":1}")])
}

#[test]
fn flipped_bits_never_panic_and_never_lose_the_record() {
    for whole in [nested(), gzip(&nested()), zstd(b"{\"a\":1}\n{\"a\":2}"), gzip(b"{\"a\":1}")] {
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let opened = open_any(&flipped);
            assert!(opened.batch.documents.len() + opened.dead.len() > 0, "bit {bit}");
        }
    }
}

fn open_any(payload: &[u8]) -> Opened {
    let mut opened = Opened::default();
    assert_eq!(opened.add(&mut Unpacker::new(LIMITS), 7, payload), Unpacked::Taken);
    opened
}

proptest! {
    /// The naive reading: a line is a document.
    #[test]
    fn lines_of_well_formed_objects_are_the_documents(
        values in prop::collection::vec(("[a-z{}\\[\\]\\\\\" \n]{0,8}", any::<bool>()), 1..8),
        ending in prop::sample::select(vec!["\n", "\r\n", "\n\n", " \n"]),
    ) {
        let documents: Vec<_> = values.iter().map(|(text, pretty)| {
            let value = serde_json::json!({ "k": [text, {"n": {}}], text: null });
            if *pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap()
        }).collect();
        check(documents.join(ending).as_bytes(), &documents.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_taken(payload in prop::collection::vec(any::<u8>(), 0..200), magic in 0..5usize) {
        let magics: [&[u8]; 5] = [b"", &[0x1F, 0x8B, 8], &[0x28, 0xB5, 0x2F, 0xFD], &kpl::MAGIC, b"{\"messageType\":\"DATA_MESSAGE\""];
        let opened = open_any(&[magics[magic], &payload[..]].concat());
        prop_assert!(opened.batch.documents.len() + opened.dead.len() > 0);
    }
}
