//! What the demo puts into its stream: generated events or the lines of a file, a kill of the function
//! on the way, and at the end events for an hour that is closed.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use weir::clock::{Clock, EpochMicros, SystemClock};

use crate::generate::{Generator, Kind};
use crate::ingest::{Packing, Source};
use crate::runtime::Running;

use super::super::args::DemoArgs;
use super::super::lake::store_options;
use super::super::output::count;

/// Most records and bytes of one PutRecords
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>).
const PUT_RECORDS: usize = 500;
const PUT_BYTES: usize = 4 << 20;
/// Largest record of the stream, key included.
const RECORD_BYTES: usize = 1 << 20;

/// Hours that the events lie in: whatever the minute, two fifths of them or more are of an hour that is
/// over for longer than the table waits (10 minutes), so that there are full hours to close.
const HOURS: u64 = 2;

#[derive(Default)]
pub(super) struct Sent {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) kinds: BTreeMap<Kind, u64>,
}

pub(super) async fn send_generated(running: &Running, stream: &str, args: &DemoArgs) -> Result<Sent> {
    eprintln!(
        "2. sending {} generated clickstream events, some late, some twice, some broken",
        count(args.events)
    );
    let mut generator = Generator::new(args.seed, SystemClock.now(), HOURS);
    let mut putter = Putter::new(running, stream);
    let mut event = String::new();
    for n in 0..args.events {
        let kind = generator.next_event(&mut event);
        *putter.sent.kinds.entry(kind).or_default() += 1;
        let key = (n % 1_000).to_string();
        putter.put(&key, event.as_bytes()).await?;
        if kind == Kind::SentTwice {
            putter.put(&key, event.as_bytes()).await?;
        }
        if n == args.events / 2 {
            kill(running).await;
        }
    }
    putter.flush().await?;
    Ok(putter.sent)
}

pub(super) async fn send_file(running: &Running, stream: &str, file: &str) -> Result<Sent> {
    eprintln!("2. sending the lines of {file}");
    let handle = tokio::runtime::Handle::current();
    let (file, options) = (file.to_owned(), store_options());
    let source = tokio::task::spawn_blocking(move || Source::open(&file, &options, &handle)).await??;
    let reader: Box<dyn std::io::Read + Send> = match source.packing {
        Packing::Plain => Box::new(source.reader()),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source.reader())),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(source.reader())?),
    };
    let mut putter = Putter::new(running, stream);
    let (mut killed, mut too_long) = (false, 0);
    for (n, line) in std::io::BufReader::new(reader).split(b'\n').enumerate() {
        let line = line.with_context(|| format!("could not read {}", source.url))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let key = n.to_string();
        if key.len() + line.len() > RECORD_BYTES {
            too_long += 1;
            continue;
        }
        putter.put(&key, &line).await?;
        if !killed && putter.sent.records == 5_000 {
            killed = true;
            kill(running).await;
        }
    }
    putter.flush().await?;
    if too_long > 0 {
        eprintln!(
            "   left out {} lines of more than 1 MiB, which a stream takes in no record; `weir ingest` loads them",
            count(too_long)
        );
    }
    if !killed {
        kill(running).await;
    }
    Ok(putter.sent)
}

/// Put that many good events of the hour that ends at `end`.
pub(super) async fn send_late(
    running: &Running,
    stream: &str,
    (seed, end, events): (u64, EpochMicros, u64),
) -> Result<()> {
    // The hour's end belongs to the next hour.
    let mut generator = Generator::new(seed, EpochMicros(end.0 - 1_000), 1);
    let mut putter = Putter::new(running, stream);
    let mut event = String::new();
    while putter.sent.records < events {
        if generator.next_event(&mut event) == Kind::Good {
            putter.put("late", event.as_bytes()).await?;
        }
    }
    putter.flush().await
}

struct Putter<'a> {
    running: &'a Running,
    stream: &'a str,
    records: Vec<serde_json::Value>,
    bytes: usize,
    sent: Sent,
}

impl<'a> Putter<'a> {
    fn new(running: &'a Running, stream: &'a str) -> Self {
        Self { running, stream, records: Vec::new(), bytes: 0, sent: Sent::default() }
    }

    async fn put(&mut self, key: &str, data: &[u8]) -> Result<()> {
        if self.records.len() == PUT_RECORDS || self.bytes + data.len() > PUT_BYTES {
            self.flush().await?;
        }
        let data64 = base64_simd::STANDARD.encode_to_string(data);
        self.records.push(json!({"PartitionKey": key, "Data": data64}));
        self.bytes += data.len();
        self.sent.records += 1;
        self.sent.bytes += data.len() as u64;
        Ok(())
    }

    /// Put what is there, and what was throttled again.
    async fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        while !self.records.is_empty() {
            let body = json!({"StreamName": self.stream, "Records": self.records});
            let answer = self.running.endpoint().client().call("PutRecords", &body).await?;
            let answer: serde_json::Value =
                serde_json::from_slice(&answer).context("PutRecords answered no JSON")?;
            let failed = answer["Records"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
            let mut failed = failed.map(|r| r.get("ErrorCode").is_some_and(|e| !e.is_null()));
            self.records.retain(|_| failed.next().unwrap_or(true));
            if !self.records.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }
}

/// Kill the function while a batch is under way.
async fn kill(running: &Running) {
    tokio::time::sleep(Duration::from_millis(700)).await;
    let killed = running.function().map_or(0, |f| f.kill_processes());
    eprintln!(
        "3. killed the function ({killed} processes) in the middle of it; its batches are delivered again"
    );
}
