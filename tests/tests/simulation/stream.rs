//! The source: shards that split and merge, records with tiny payloads, and what each of them must
//! become under each version of the table.

use super::random::Random;
use super::tables::{self, Expected};

/// The first 38 digits of every sequence number; 18 digits of a counter follow.
pub(crate) const SEQUENCE_PREFIX: &str = "49590338271490256608559692538361571095";
/// 2026-11-20T22:00:00Z: a run goes over midnight.
pub(crate) const START_MS: i64 = 1_795_212_000_000;
pub(crate) const NAME: &str = "clicks";
pub(crate) const CONSUMER: &str = "simulated";
pub(crate) const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";

/// A document of a record.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    /// A row, or a dead letter where the version of the table refuses it.
    Fields { p: Option<&'static str>, q: &'static str, n: i64 },
    /// `n` is text.
    WrongType,
    /// Belongs to the table of another function (`weir.route`).
    Elsewhere,
    /// A payload that is no JSON.
    Malformed,
    /// White space.
    Nothing,
}

impl Document {
    pub(crate) fn text(&self) -> String {
        match self {
            Document::Fields { p: Some(p), q, n } => {
                format!(r#"{{"t":"1","p":"{p}","q":"{q}","n":{n}}}"#)
            }
            Document::Fields { p: None, q, n } => format!(r#"{{"t":"1","q":"{q}","n":{n}}}"#),
            Document::WrongType => r#"{"t":"1","p":"a","q":"b","n":"x"}"#.into(),
            Document::Elsewhere => r#"{"t":"2"}"#.into(),
            Document::Malformed => r#"{"t":"1","n":1"#.into(),
            Document::Nothing => " ".into(),
        }
    }

    /// What becomes of it under a version of the table.
    pub(crate) fn under(&self, version: usize) -> Expected {
        match self {
            Document::Fields { p, q, n } if version == tables::BOUNDED && *n > tables::MAX_N => {
                let _ = (p, q);
                Expected::Dead { reason: "constraint", path: "n" }
            }
            Document::Fields { p, q, n } => {
                let key = if version == tables::BY_Q { Some(*q) } else { *p };
                Expected::Row { partition: tables::partition(key), n: *n }
            }
            Document::WrongType => Expected::Dead { reason: "wrong_type", path: "n" },
            Document::Malformed => Expected::Dead { reason: "malformed_json", path: "" },
            Document::Nothing => Expected::Dead { reason: "empty", path: "" },
            Document::Elsewhere => Expected::Skipped,
        }
    }
}

/// What a stream holds at one position.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) key: u8,
    pub(crate) arrived_ms: i64,
    pub(crate) documents: Vec<Document>,
    pub(crate) payload: Vec<u8>,
    /// Does not fit an event with base64: the mapping never delivers it.
    pub(crate) oversize: bool,
}

impl Record {
    pub(crate) fn sequence(&self) -> String {
        format!("{SEQUENCE_PREFIX}{:018}", self.number)
    }

    /// Day of arrival.
    pub(crate) fn day(&self) -> String {
        format!("2026-11-{:02}", 20 + (self.arrived_ms - START_MS + 22 * 3_600_000) / 86_400_000)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) id: String,
    /// Partition keys it takes, first and one past the last.
    keys: (u16, u16),
    pub(crate) parents: Vec<usize>,
    pub(crate) closed: bool,
    pub(crate) records: Vec<Record>,
}

/// One incarnation of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// Its creation time, which a deployment is told.
    pub(crate) identity: String,
    pub(crate) shards: Vec<Shard>,
    numbers: u64,
    /// Records still to be put.
    pub(crate) to_come: usize,
}

impl Stream {
    pub(crate) fn new(incarnation: usize, shards: usize, to_come: usize) -> Self {
        let mut stream =
            Self { identity: format!("170000000{incarnation}"), shards: Vec::new(), numbers: 0, to_come };
        let width = 256 / shards as u16;
        for i in 0..shards as u16 {
            let end = if i as usize + 1 == shards { 256 } else { (i + 1) * width };
            stream.open((i * width, end), Vec::new());
        }
        stream
    }

    fn open(&mut self, keys: (u16, u16), parents: Vec<usize>) {
        let id = format!("shardId-{:012}", self.shards.len());
        self.shards.push(Shard { id, keys, parents, closed: false, records: Vec::new() });
    }

    /// A producer puts one record.
    pub(crate) fn put(&mut self, random: &mut Random, now_ms: i64, route: bool) -> Option<(usize, u64)> {
        if self.to_come == 0 {
            return None;
        }
        self.to_come -= 1;
        self.numbers += 1;
        let key = random.below(256) as u8;
        let takes = |s: &Shard| !s.closed && (s.keys.0..s.keys.1).contains(&u16::from(key));
        let at = self.shards.iter().position(takes)?;
        let (documents, payload) = content(random, route);
        // Arrival times are approximate and not ordered.
        let arrived_ms = now_ms - random.below(3) as i64 * 1_000;
        let oversize = random.chance(2);
        let record = Record { number: self.numbers, key, arrived_ms, documents, payload, oversize };
        self.shards[at].records.push(record);
        Some((at, self.numbers))
    }

    /// Split a shard in two, or merge two neighbours; what happened, in words.
    pub(crate) fn reshard(&mut self, random: &mut Random) -> Option<String> {
        let open: Vec<usize> = (0..self.shards.len()).filter(|&i| !self.shards[i].closed).collect();
        if self.shards.len() > 6 {
            return None;
        }
        let at = random.below(open.len());
        let (first, (start, end)) = (open[at], self.shards[open[at]].keys);
        let neighbour = open.iter().copied().find(|&i| self.shards[i].keys.0 == end);
        match neighbour {
            Some(second) if random.chance(50) => {
                let keys = (start, self.shards[second].keys.1);
                (self.shards[first].closed, self.shards[second].closed) = (true, true);
                self.open(keys, vec![first, second]);
                Some(format!("shards {first} and {second} merge"))
            }
            _ if end - start > 1 => {
                let middle = start + (end - start) / 2;
                self.shards[first].closed = true;
                self.open((start, middle), vec![first]);
                self.open((middle, end), vec![first]);
                Some(format!("shard {first} splits"))
            }
            _ => None,
        }
    }
}

fn content(random: &mut Random, route: bool) -> (Vec<Document>, Vec<u8>) {
    const VALUES: [&str; 4] = ["a", "a", "b", "x/y"];
    let fields = |random: &mut Random| Document::Fields {
        p: (!random.chance(10)).then(|| random.pick(&VALUES)),
        q: random.pick(&VALUES),
        n: random.below(100) as i64,
    };
    let documents = match random.below(20) {
        0 => {
            // The service's own test of the destination holds no document.
            let control = br#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logEvents":[]}"#;
            return (Vec::new(), control.to_vec());
        }
        1 => vec![Document::Malformed],
        2 => vec![Document::Nothing],
        3 => vec![Document::WrongType],
        4..7 => vec![fields(random), Document::WrongType, fields(random)],
        7..9 => vec![fields(random), fields(random)],
        9 if route => vec![Document::Elsewhere],
        10 if route => {
            // Enough documents that the deadline is looked at.
            let mut many = vec![Document::Elsewhere; 520];
            many.push(fields(random));
            many
        }
        _ => vec![fields(random)],
    };
    let lines: Vec<_> = documents.iter().map(Document::text).collect();
    let text = lines.join("\n").into_bytes();
    let plain = matches!(documents[0], Document::Nothing | Document::Malformed) || text.len() > 150;
    let payload = if !plain && random.chance(20) { zstd::bulk::compress(&text, 1).unwrap() } else { text };
    (documents, payload)
}
