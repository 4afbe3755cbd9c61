//! The event of a Kinesis event source mapping → documents in one buffer. The text is read once,
//! by a cursor: no tree, no string per field
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>).

use base64_simd::{Out, STANDARD};

use crate::clock::EpochMicros;
use crate::dead_letter::DeadLetter;
use crate::error::{Error, Result};
use crate::record::{Batch, SequenceNumber};
use crate::scan::{number_end, skip_space, string_stop, unescape};
use crate::unpack::{StreamRecord, UnpackCounts, Unpacker};

/// Deepest nesting of what is passed over.
const MAX_DEPTH: u32 = 64;

/// A delivery: which shard, and everything in it. Reused from event to event.
#[derive(Debug, Default)]
pub struct ParsedEvent {
    /// ARN of the stream.
    pub stream_arn: String,
    /// Shard id.
    pub shard: String,
    /// Documents.
    pub batch: Batch,
    /// Records that could not be unpacked.
    pub dead: Vec<DeadLetter>,
    /// Every record's number, ascending.
    pub positions: Vec<SequenceNumber>,
    /// Arrival time of the newest record.
    pub arrived_through: EpochMicros,
    /// What was met while unpacking.
    pub counts: UnpackCounts,
    /// Raw JSON of a tumbling window's `state`, which the answer has to echo.
    pub window_state: Option<String>,
}

impl ParsedEvent {
    /// Name of the stream, the last part of its ARN.
    pub fn stream(&self) -> &str {
        self.stream_arn.rsplit('/').next().unwrap_or_default()
    }

    fn clear(&mut self) {
        self.stream_arn.clear();
        self.shard.clear();
        self.batch.clear();
        self.dead.clear();
        self.positions.clear();
        self.arrived_through = EpochMicros(i64::MIN);
        self.counts = UnpackCounts::default();
        self.window_state = None;
    }
}

/// Reads events; keeps its buffers.
#[derive(Debug, Default)]
pub struct EventParser {
    unpacker: Unpacker,
    payload: Vec<u8>,
    key: Vec<u8>,
    text: Vec<u8>,
}

/// Where the pieces of one record stand in the event.
#[derive(Default)]
struct Found<'a> {
    sequence: Option<SequenceNumber>,
    arrived_at: Option<EpochMicros>,
    data: Option<&'a [u8]>,
    event_id: Option<&'a [u8]>,
    stream_arn: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
}

type Step<T> = std::result::Result<T, String>;

impl EventParser {
    /// Read one event into `out`.
    ///
    /// # Errors
    /// [`Error::Event`]: not a Kinesis event, or records of several shards in one.
    pub fn parse(&mut self, json: &[u8], out: &mut ParsedEvent) -> Result<()> {
        out.clear();
        self.unpacker.begin_batch();
        self.event(json, out).map_err(Error::Event)?;
        if out.positions.is_empty() {
            return Err(Error::Event("no Records in it; expected the event of a Kinesis event source mapping".into()));
        }
        out.positions.sort_unstable();
        out.positions.dedup();
        Ok(())
    }

    fn event(&mut self, json: &[u8], out: &mut ParsedEvent) -> Step<()> {
        let mut at = open(json, 0, b'{')?;
        let mut first = true;
        while let Some(value) = self.member(json, &mut at, &mut first)? {
            at = match self.key.as_slice() {
                b"Records" => self.records(json, value, out)?,
                b"state" => {
                    let end = skip(json, value, MAX_DEPTH)?;
                    out.window_state = Some(String::from_utf8_lossy(&json[value..end]).into_owned());
                    end
                }
                _ => skip(json, value, MAX_DEPTH)?,
            };
        }
        Ok(())
    }

    fn records(&mut self, json: &[u8], at: usize, out: &mut ParsedEvent) -> Step<usize> {
        let mut at = open(json, at, b'[')?;
        if json.get(at) == Some(&b']') {
            return Ok(at + 1);
        }
        loop {
            let mut found = Found::default();
            at = self.record(json, at, &mut found)?;
            self.take(&found, out)?;
            at = skip_space(json, at);
            match json.get(at) {
                Some(b',') => at = skip_space(json, at + 1),
                Some(b']') => return Ok(at + 1),
                _ => return Err(broken(json, at, "`,` or `]` behind a record")),
            }
        }
    }

    fn record<'a>(&mut self, json: &'a [u8], at: usize, found: &mut Found<'a>) -> Step<usize> {
        let mut at = open(json, at, b'{')?;
        let mut first = true;
        while let Some(value) = self.member(json, &mut at, &mut first)? {
            at = match self.key.as_slice() {
                b"kinesis" => self.kinesis(json, value, found)?,
                b"eventID" => string(json, value, &mut found.event_id)?,
                b"eventSourceARN" => string(json, value, &mut found.stream_arn)?,
                b"eventSource" => string(json, value, &mut found.source)?,
                _ => skip(json, value, MAX_DEPTH)?,
            };
        }
        Ok(at)
    }

    fn kinesis<'a>(&mut self, json: &'a [u8], at: usize, found: &mut Found<'a>) -> Step<usize> {
        let mut at = open(json, at, b'{')?;
        let mut first = true;
        while let Some(value) = self.member(json, &mut at, &mut first)? {
            at = match self.key.as_slice() {
                b"data" => string(json, value, &mut found.data)?,
                b"sequenceNumber" => {
                    let mut text = None;
                    let end = string(json, value, &mut text)?;
                    found.sequence = text.and_then(|t| SequenceNumber::parse(t).ok());
                    end
                }
                b"approximateArrivalTimestamp" => {
                    let end = number_end(json, value).ok_or_else(|| broken(json, value, "a time in seconds"))?;
                    found.arrived_at = Some(micros(&json[value..end]));
                    end
                }
                _ => skip(json, value, MAX_DEPTH)?,
            };
        }
        Ok(at)
    }

    /// The next member of an object: its key into `self.key`, the index of its value; `None` behind
    /// the closing brace.
    fn member(&mut self, json: &[u8], at: &mut usize, first: &mut bool) -> Step<Option<usize>> {
        *at = skip_space(json, *at);
        match json.get(*at) {
            Some(b'}') => {
                *at += 1;
                return Ok(None);
            }
            Some(b',') if !*first => *at = skip_space(json, *at + 1),
            Some(b'"') if *first => {}
            _ => return Err(broken(json, *at, "a member or `}`")),
        }
        *first = false;
        if json.get(*at) != Some(&b'"') {
            return Err(broken(json, *at, "a key"));
        }
        let stop = string_stop(json, *at + 1);
        let end = match json.get(stop) {
            Some(b'"') => {
                self.key.clear();
                self.key.extend_from_slice(&json[*at + 1..stop]);
                stop + 1
            }
            _ => unescape(json, *at + 1, stop, &mut self.key).ok_or_else(|| broken(json, stop, "a string"))?,
        };
        let colon = skip_space(json, end);
        if json.get(colon) != Some(&b':') {
            return Err(broken(json, colon, "`:`"));
        }
        Ok(Some(skip_space(json, colon + 1)))
    }

    fn take(&mut self, found: &Found<'_>, out: &mut ParsedEvent) -> Step<()> {
        if let Some(source) = found.source
            && source != b"aws:kinesis"
        {
            let source = String::from_utf8_lossy(source);
            return Err(format!("a record from {source}; this function takes aws:kinesis"));
        }
        let (Some(sequence), Some(arrived_at), Some(data)) = (found.sequence, found.arrived_at, found.data) else {
            return Err("a record without kinesis.sequenceNumber, data or approximateArrivalTimestamp".into());
        };
        let text = |b: Option<&[u8]>| String::from_utf8_lossy(b.unwrap_or_default()).into_owned();
        let shard = found.event_id.and_then(|id| id.split(|&b| b == b':').next()).unwrap_or_default();
        if out.positions.is_empty() {
            out.stream_arn = text(found.stream_arn);
            out.shard = text(Some(shard));
            if out.stream_arn.is_empty() || out.shard.is_empty() {
                return Err("a record without eventSourceARN or eventID".into());
            }
        } else if shard != out.shard.as_bytes() || found.stream_arn != Some(out.stream_arn.as_bytes()) {
            return Err("records of several shards in one event; expected one".into());
        }
        out.positions.push(sequence);
        out.arrived_through = out.arrived_through.max(arrived_at);
        let data = match memchr::memchr(b'\\', data) {
            None => data,
            Some(stop) => {
                let quoted = [data, b"\""].concat();
                unescape(&quoted, 0, stop, &mut self.text).ok_or("a record whose data is no string")?;
                &self.text
            }
        };
        let length = STANDARD.decoded_length(data).map_err(|_| base64_error(sequence))?;
        self.payload.resize(length, 0);
        STANDARD.decode(data, Out::from_slice(&mut self.payload)).map_err(|_| base64_error(sequence))?;
        let record = StreamRecord { sequence, arrived_at, payload: &self.payload };
        self.unpacker.unpack(record, &mut out.batch, &mut out.dead, &mut out.counts);
        Ok(())
    }
}

fn base64_error(sequence: SequenceNumber) -> String {
    format!("record {sequence} whose data is not base64")
}

fn broken(json: &[u8], at: usize, expected: &str) -> String {
    match json.get(at) {
        Some(_) => format!("expected {expected} at byte {at}"),
        None => format!("expected {expected}, but it ends at byte {at}"),
    }
}

fn open(json: &[u8], at: usize, bracket: u8) -> Step<usize> {
    let at = skip_space(json, at);
    if json.get(at) != Some(&bracket) {
        return Err(broken(json, at, if bracket == b'{' { "an object" } else { "an array" }));
    }
    Ok(skip_space(json, at + 1))
}

/// A string's content as it stands (escapes and all), and the index behind it. `null` is nothing.
fn string<'a>(json: &'a [u8], at: usize, out: &mut Option<&'a [u8]>) -> Step<usize> {
    if json.get(at..at + 4) == Some(b"null") {
        return Ok(at + 4);
    }
    if json.get(at) != Some(&b'"') {
        return Err(broken(json, at, "a string"));
    }
    let end = string_end(json, at)?;
    *out = Some(&json[at + 1..end - 1]);
    Ok(end)
}

fn string_end(json: &[u8], at: usize) -> Step<usize> {
    let mut at = at + 1;
    loop {
        at = string_stop(json, at);
        match json.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += 2,
            _ => return Err(broken(json, at, "the end of a string")),
        }
    }
}

/// The index behind any value.
fn skip(json: &[u8], at: usize, depth: u32) -> Step<usize> {
    match json.get(at) {
        Some(b'"') => string_end(json, at),
        Some(open @ (b'{' | b'[')) => {
            if depth == 0 {
                return Err(broken(json, at, "less nesting"));
            }
            let mut at = skip_space(json, at + 1);
            if let Some(b'}' | b']') = json.get(at) {
                return Ok(at + 1);
            }
            loop {
                if *open == b'{' {
                    at = skip_space(json, string_end(json, at)?);
                    if json.get(at) != Some(&b':') {
                        return Err(broken(json, at, "`:`"));
                    }
                    at = skip_space(json, at + 1);
                }
                at = skip_space(json, skip(json, at, depth - 1)?);
                match json.get(at) {
                    Some(b',') => at = skip_space(json, at + 1),
                    Some(b'}' | b']') => return Ok(at + 1),
                    _ => return Err(broken(json, at, "`,` or a closing bracket")),
                }
            }
        }
        Some(b't' | b'n') => Ok(at + 4),
        Some(b'f') => Ok(at + 5),
        _ => number_end(json, at).ok_or_else(|| broken(json, at, "a value")),
    }
}

/// Seconds with a fraction to microseconds, without going through a float where that is exact.
fn micros(text: &[u8]) -> EpochMicros {
    let exact = crate::number::scaled(text, 6).and_then(|v| i64::try_from(v).ok());
    let rounded = || fast_float2::parse::<f64, _>(text).map_or(0, |s| (s * 1e6).round() as i64);
    EpochMicros(exact.unwrap_or_else(rounded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(json: &[u8]) -> Result<ParsedEvent> {
        let mut out = ParsedEvent::default();
        EventParser::default().parse(json, &mut out).map(|()| out)
    }

    fn record(n: u64, data: &[u8]) -> serde_json::Value {
        json!({"eventSource": "aws:kinesis", "eventVersion": "1.0", "awsRegion": "eu-west-1",
            "eventID": format!("shardId-000000000006:{n}"), "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::1:role/r", "eventSourceARN": "arn:aws:kinesis:eu-west-1:1:stream/clicks",
            "kinesis": {"kinesisSchemaVersion": "1.0", "partitionKey": "k\"\\", "sequenceNumber": n.to_string(),
                "data": STANDARD.encode_to_string(data), "approximateArrivalTimestamp": 1545084650.987}})
    }

    proptest! {
        #[test]
        fn an_event_reads_as_serde_reads_it(
            payloads in proptest::collection::vec("[ -~]{1,30}", 1..20), pretty in any::<bool>(),
            cut in any::<prop::sample::Index>())
        {
            let records: Vec<_> = payloads.iter().enumerate().map(|(i, p)| record(i as u64, p.as_bytes())).collect();
            let event = json!({"Records": records, "window": {"start": "x"}, "state": {"a": [1]}});
            let text = if pretty { serde_json::to_vec_pretty(&event) } else { serde_json::to_vec(&event) }.unwrap();
            let parsed = parse(&text).unwrap();
            prop_assert_eq!(parsed.stream(), "clicks");
            prop_assert_eq!(&parsed.shard, "shardId-000000000006");
            prop_assert_eq!(parsed.arrived_through, EpochMicros(1_545_084_650_987_000));
            let positions: Vec<_> = (0..payloads.len() as u64).map(SequenceNumber::from).collect();
            prop_assert_eq!(&parsed.positions, &positions);
            let state: serde_json::Value = serde_json::from_str(&parsed.window_state.clone().unwrap()).unwrap();
            prop_assert_eq!(state, json!({"a": [1]}));
            let got: Vec<_> = parsed.batch.documents.iter().map(|d| String::from_utf8_lossy(parsed.batch.payload(d)).into_owned()).collect();
            let expected: Vec<_> = payloads.iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect();
            prop_assert_eq!(got, expected);
            prop_assert!(parse(&text[..cut.index(text.len())]).is_err());
        }
    }

    #[test]
    fn what_is_no_kinesis_event_says_what_it_is() {
        let other = json!({"Records": [{"eventSource": "aws:sqs", "body": "x"}]}).to_string();
        assert!(parse(other.as_bytes()).unwrap_err().to_string().contains("aws:sqs"));
        for text in ["", "{}", "[]", "{\"Records\":[]}", "{\"Records\":{}}", "nonsense"] {
            assert!(matches!(parse(text.as_bytes()), Err(Error::Event(_))), "{text}");
        }
        let mut two = vec![record(1, b"{}"), record(2, b"{}")];
        two[1]["eventID"] = json!("shardId-000000000007:2");
        assert!(parse(json!({"Records": two}).to_string().as_bytes()).is_err());
    }

    #[test]
    fn recorded_events_are_read() {
        let root = std::env::var("WEIR_DATA")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into());
        let files = [
            ("powertools-python/kinesisStreamEvent.json", 2),
            ("powertools-python/kinesisStreamEventOneRecord.json", 1),
            ("powertools-python/kinesisStreamCloudWatchLogsEvent.json", 0),
            ("rust-runtime/example-kinesis-event.json", 0),
            ("rust-runtime/example-kinesis-event-encrypted.json", 0),
        ];
        for (file, documents) in files {
            let Ok(text) = std::fs::read(format!("{root}/lambda-events/{file}")) else {
                eprintln!("skipped: no {file} below {root}");
                continue;
            };
            let event: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let parsed = parse(&text).unwrap();
            assert_eq!(parsed.counts.records as usize, event["Records"].as_array().unwrap().len(), "{file}");
            assert!(documents == 0 || parsed.batch.documents.len() == documents, "{file}");
            assert!(!parsed.batch.documents.is_empty() && parsed.dead.is_empty(), "{file}: {:?}", parsed.counts);
        }
    }
}
