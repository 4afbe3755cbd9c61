use super::*;
use super::kpl::MAGIC;
use md5::{Digest, Md5};
use std::io::Write;

fn unpack(payload: &[u8]) -> (Vec<String>, Vec<Reason>, UnpackCounts) {
    let (mut batch, mut dead, mut counts) = (Batch::default(), Vec::new(), UnpackCounts::default());
    let record = StreamRecord { sequence: 7.into(), arrived_at: EpochMicros(1), payload };
    Unpacker::default().unpack(record, &mut batch, &mut dead, &mut counts);
    for (i, d) in batch.documents.iter().enumerate() {
        assert_eq!((d.id.sequence, d.id.subsequence), (7.into(), i as u32));
    }
    let text = |d: &Document| String::from_utf8_lossy(batch.payload(d)).into_owned();
    (batch.documents.iter().map(text).collect(), dead.iter().map(|d| d.reason).collect(), counts)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An aggregate as the format page describes it, written independently of the reader.
fn aggregate(parts: &[&[u8]]) -> Vec<u8> {
    let field = |n: u8, bytes: &[u8]| {
        let (mut out, mut length) = (vec![n << 3 | 2], bytes.len());
        while length >= 128 {
            out.push(length as u8 | 128);
            length >>= 7;
        }
        out.push(length as u8);
        [out, bytes.to_vec()].concat()
    };
    let mut message = field(1, b"pk");
    for part in parts {
        message.extend(field(3, &[vec![8, 0], field(3, part)].concat()));
    }
    let digest = Md5::digest(&message);
    [MAGIC.as_slice(), &message, &digest].concat()
}

#[test]
fn lines_and_layers_become_documents() {
    let cases: &[(&[u8], &[&str])] = &[
        (b"{\"a\":1}", &["{\"a\":1}"]),
        (b"{\"a\":1}\n", &["{\"a\":1}"]),
        (b"{\"a\":1}\r\n\r\n{\"a\":2}\r\n", &["{\"a\":1}", "{\"a\":2}"]),
        (b"{\n \"a\": \"}\\\"\",\n \"b\": [1,\n2]\n}", &["{\n \"a\": \"}\\\"\",\n \"b\": [1,\n2]\n}"]),
        (b"{\"a\":\n1}\n{\"b\":2}", &["{\"a\":\n1}", "{\"b\":2}"]),
        (b"{\"cut\n{\"b\":2}\n{\"c\":3}", &["{\"cut", "{\"b\":2}", "{\"c\":3}"]),
        (b"not json", &["not json"]),
    ];
    for (payload, expected) in cases {
        assert_eq!(unpack(payload).0, *expected);
        assert_eq!(unpack(&gzip(payload)).0, *expected);
        assert_eq!(unpack(&zstd::bulk::compress(payload, 1).unwrap()).0, *expected);
        assert_eq!(unpack(&aggregate(&[payload])).0, *expected);
        assert_eq!(unpack(&gzip(&aggregate(&[&gzip(payload)]))).0, *expected);
    }
    let two = [gzip(b"{\"a\":1}\n"), gzip(b"{\"a\":2}\n")].concat();
    assert_eq!(unpack(&two).0, ["{\"a\":1}", "{\"a\":2}"]);
}

#[test]
fn what_cannot_be_unpacked_is_one_dead_letter() {
    assert_eq!(unpack(b"").1, [Reason::Empty]);
    assert_eq!(unpack(b" \n\n").1, [Reason::Empty]);
    let packed = gzip(b"{\"a\":\"0123456789\"}");
    for cut in 2..packed.len() {
        let (documents, dead, _) = unpack(&packed[..cut]);
        assert!(documents.is_empty() && dead == [Reason::Compression], "cut at {cut}");
    }
    let bomb = gzip(&vec![b' '; MAX_INFLATED_RECORD_BYTES + 1]);
    assert_eq!(unpack(&bomb).1, [Reason::Compression]);
    let mut nested = b"{}".to_vec();
    for _ in 0..8 {
        nested = gzip(&nested);
    }
    assert_eq!(unpack(&nested).1, [Reason::Envelope]);
}

#[test]
fn a_damaged_aggregate_is_a_plain_record() {
    let whole = aggregate(&[b"{\"a\":1}", b"{\"a\":2}"]);
    assert_eq!(unpack(&whole).0.len(), 2);
    for at in 4..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert_eq!(unpack(&damaged).0.len(), 1, "flipped at {at}");
        assert_eq!(unpack(&whole[..at]).0.len(), 1, "cut at {at}");
    }
}

#[test]
fn log_events_become_documents_and_control_messages_none() {
    let envelope = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":[],"logEvents":[{"id":"e1","timestamp":5,"message":"plain \"text\""},{"id":"e2","timestamp":6,"message":"{\"a\":1}"}]}"#;
    let (documents, _, counts) = unpack(&gzip(envelope.as_bytes()));
    assert_eq!(documents[0], r#"{"id":"e1","timestamp":5,"message":"plain \"text\"","log_group":"g","log_stream":"s","owner":"1"}"#);
    assert_eq!(documents[1], r#"{"a":1}"#);
    assert_eq!((counts.envelopes, counts.documents), (1, 2));
    let control = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE"}]}"#;
    let (documents, dead, counts) = unpack(control.as_bytes());
    assert!(documents.is_empty() && dead.is_empty() && counts.control_messages == 1);
    assert_eq!(unpack(&envelope.as_bytes()[..200]).1, [Reason::Envelope]);
}
