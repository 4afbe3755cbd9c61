//! Batches that the mapping gave up on: objects of its on-failure destination → the ordinary attempt
//! of their shard, which trims what is committed. Of queues and topics only positions are known; the
//! records are read from the stream while it has them.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::json;
use serde_json::value::RawValue;

use weir::clock::{Clock, EpochMicros, SystemClock};
use weir::commit::reader::read_chain;
use weir::commit::{LakeStore, PositionSet};
use weir::event::{ALL_SHARDS, ParsedEvent, Source};
use weir::naming::{COMMITS, ChainKey, stream_key};
use weir::pipeline::{Attempt, Ingest};
use weir::record::{SequenceNumber, Shard};
use weir::replay::Mode;
use weir::replay::failures::{FailedBatch, event_of, read};
use weir::unpack::{UnpackLimits, Unpacker};

use super::super::args::{FailuresArgs, Global, WhichLetters};
use super::super::lake::{Lake, address, store_options};
use super::super::output::{count, table};
use super::stream::BatchReader;

#[derive(Default)]
struct Totals {
    objects: u64,
    batches: u64,
    records: u64,
    rows: u64,
    dead_letters: u64,
    /// Records that the stream does not have any more.
    lost: u64,
    /// Batches of which only positions are known, without an endpoint to ask.
    unread: u64,
    /// Objects that are none of a mapping's.
    unreadable: u64,
}

/// Objects of the destination with their batches, one object at a time.
struct Destination {
    store: LakeStore,
    keys: Vec<String>,
}

impl Destination {
    async fn open(args: &FailuresArgs) -> Result<Option<Self>> {
        let place = args.failures.clone().unwrap_or_else(|| args.state.join("failed").display().to_string());
        let folder = place.strip_prefix("file://").unwrap_or(&place);
        if !folder.contains("://") && !Path::new(folder).is_dir() {
            if args.failures.is_none() {
                return Ok(None);
            }
            bail!("--failures {place}: no such folder; give the mapping's on-failure destination");
        }
        let store = LakeStore::open(&address(&place)?, &store_options())?;
        let keys = store.list("").await.with_context(|| format!("could not list {place}"))?;
        Ok(Some(Self { store, keys }))
    }

    /// The batches of an object; none if it is no document of a mapping.
    async fn batches(&self, key: &str, totals: &mut Totals) -> Result<Vec<FailedBatch>> {
        let Some(bytes) = self.store.get(key).await? else { return Ok(Vec::new()) };
        totals.objects += 1;
        match read(key, &bytes) {
            Ok(batches) => Ok(batches),
            Err(error) => {
                totals.unreadable += 1;
                eprintln!("passed over: {error}");
                Ok(Vec::new())
            }
        }
    }
}

/// What stands between the name of a stream and its key in the lake.
fn identity(args: &FailuresArgs) -> String {
    let file = || std::fs::read_to_string(args.state.join("stream-identity")).ok();
    let text = args.stream_identity.clone().or_else(file).unwrap_or_default();
    // As the function understands it.
    if text == "arn-only" { String::new() } else { text }
}

/// The key of the batch's stream. If the lake knows streams of this name and this is none of them,
/// the identity is most likely wrong, and everything would come in a second time under another key.
async fn known_stream(lake: &Lake, batch: &FailedBatch, identity: &str) -> Result<String> {
    // The ARN of a DynamoDB stream says when it was made.
    let made = if batch.source == Source::DynamoDb { "" } else { identity };
    let key = stream_key(batch.stream(), &format!("{}{made}", batch.stream_arn));
    let Some(name) = key.len().checked_sub(8).map(|end| &key[..end]) else { return Ok(key) };
    let streams = lake.store.folders(COMMITS).await?;
    let same_name: Vec<_> =
        streams.iter().filter(|s| s.starts_with(name) && s.len() == key.len()).map(String::as_str).collect();
    if !same_name.is_empty() && !same_name.contains(&key.as_str()) {
        bail!(
            "stream {} would be {key}, but the lake has {}; give the function's WEIR_STREAM_IDENTITY with --stream-identity, or the state folder with --state",
            batch.stream_arn,
            same_name.join(", ")
        );
    }
    Ok(key)
}

/// The shard that an event of the batch's records has to name, so that they come into the chain that
/// the function wrote to: of a DynamoDB stream its own if the mapping has a tumbling window, which the
/// payload says, or the chain that is there.
async fn named_shard<'b>(lake: &Lake, batch: &'b FailedBatch, identity: &str) -> Result<Option<&'b str>> {
    if batch.source == Source::Kinesis {
        return Ok(None);
    }
    let key = known_stream(lake, batch, identity).await?;
    let shards = lake.store.folders(&format!("{COMMITS}/{key}")).await?;
    let named = batch.names_shard || shards.contains(&batch.shard);
    Ok(named.then_some(batch.shard.as_str()))
}

pub(super) async fn replay(
    global: &Global,
    lake: &Lake,
    which: &WhichLetters,
    args: &FailuresArgs,
    mode: Mode,
) -> Result<ExitCode> {
    if mode == Mode::DryRun {
        return ls(global, lake, which, args).await;
    }
    let Some(destination) = Destination::open(args).await? else {
        println!("no batches were given up");
        return Ok(ExitCode::SUCCESS);
    };
    if which.tables.is_empty() {
        bail!("--table is missing; give the tables that the stream feeds, as the function has them");
    }
    lake.ensure_tables(global, &which.tables).await?;
    let mut importer = Importer::new(lake, which, args).await?;
    for key in &destination.keys {
        for batch in destination.batches(key, &mut importer.totals).await? {
            importer.bring(lake, args, batch).await.with_context(|| format!("could not bring in {key}"))?;
        }
    }
    let totals = importer.totals;
    print(global, &totals);
    let whole = totals.lost + totals.unread + totals.unreadable == 0;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The way of a given-up batch into the lake.
struct Importer {
    ingest: Ingest,
    unpacker: Unpacker,
    event: ParsedEvent,
    identity: String,
    run_id: String,
    attempts: u64,
    totals: Totals,
}

impl Importer {
    async fn new(lake: &Lake, which: &WhichLetters, args: &FailuresArgs) -> Result<Self> {
        let mut tables = Vec::new();
        for name in &which.tables {
            tables.push(lake.catalog.table(name).await?);
        }
        let identity = identity(args);
        let clock = Arc::new(SystemClock);
        let run_id = format!("failures-{:x}-{:x}", std::process::id(), clock.now().0);
        let ingest = Ingest::new(lake.store.clone(), lake.catalog.clone(), tables, identity.clone(), clock)
            .announced();
        let (unpacker, event) = (Unpacker::new(UnpackLimits::default()), ParsedEvent::default());
        Ok(Self { ingest, unpacker, event, identity, run_id, attempts: 0, totals: Totals::default() })
    }

    async fn bring(&mut self, lake: &Lake, args: &FailuresArgs, batch: FailedBatch) -> Result<()> {
        known_stream(lake, &batch, &self.identity).await?;
        if batch.source == Source::DynamoDb {
            self.ingest.identify(&batch.stream_arn, String::new());
        }
        self.totals.batches += 1;
        self.totals.records += batch.records;
        match (&batch.payload, &args.endpoint) {
            (Some(records), _) => {
                let shard = named_shard(lake, &batch, &self.identity).await?;
                self.commit(records, shard).await
            }
            (None, Some(endpoint)) => self.ask_stream(lake, endpoint, &batch).await,
            (None, None) => {
                self.totals.unread += 1;
                Ok(())
            }
        }
    }

    /// Records of one shard, in as many events as their unpacked size asks for.
    async fn commit(&mut self, records: &[Box<RawValue>], shard: Option<&str>) -> Result<()> {
        let mut at = 0;
        while at < records.len() {
            self.event.parse(&mut self.unpacker, &event_of(&records[at..], shard))?;
            self.attempts += 1;
            let id = format!("{}-{}", self.run_id, self.attempts);
            let attempt = Attempt { event: &self.event, id: &id, build_until: EpochMicros(i64::MAX) };
            let done = self.ingest.process(&attempt).await?;
            if let Some(first) = done.first_uncommitted {
                bail!("record {first} was not committed; run it again");
            }
            self.totals.rows += done.counts.rows.values().sum::<u64>();
            self.totals.dead_letters += done.counts.dead.values().sum::<u64>();
            if self.event.sequences.is_empty() {
                break;
            }
            at += self.event.sequences.len();
        }
        Ok(())
    }

    /// The records between the batch's positions, as the stream has them now.
    async fn ask_stream(&mut self, lake: &Lake, endpoint: &str, batch: &FailedBatch) -> Result<()> {
        let mut reader = BatchReader::open(endpoint, batch).await?;
        let shard = named_shard(lake, batch, &self.identity).await?;
        let mut read = 0;
        while let Some(records) = reader.next().await? {
            read += records.len() as u64;
            self.commit(&records, shard).await?;
        }
        let lost = batch.records.saturating_sub(read);
        if lost > 0 {
            self.totals.lost += lost;
            eprintln!(
                "{lost} of the {} records from {} of {} {} are not in the stream any more",
                batch.records,
                batch.first,
                batch.stream(),
                batch.shard
            );
        }
        Ok(())
    }
}

fn print(global: &Global, totals: &Totals) {
    let Totals { objects, batches, records, rows, dead_letters, lost, unread, unreadable } = totals;
    if global.json {
        println!(
            "{}",
            json!({"objects": objects, "batches": batches, "records": records, "rows": rows,
                "dead_letters": dead_letters, "lost_records": lost, "batches_without_payload": unread,
                "unreadable_objects": unreadable})
        );
        return;
    }
    println!(
        "{} batches with {} records: {} new rows, {} new letters; the rest was in the lake",
        count(*batches),
        count(*records),
        count(*rows),
        count(*dead_letters)
    );
    if *unread > 0 {
        println!(
            "of {} batches only the positions are known: give the stream's --endpoint while it has the records",
            count(*unread)
        );
    }
    if *lost > 0 {
        println!("{} records are lost: the stream does not have them any more", count(*lost));
    }
    if *unreadable > 0 {
        println!("{} objects are none of an event source mapping", count(*unreadable));
    }
}

/// The batches, and how many of their records no commit lists.
pub(super) async fn ls(
    global: &Global,
    lake: &Lake,
    _which: &WhichLetters,
    args: &FailuresArgs,
) -> Result<ExitCode> {
    let Some(destination) = Destination::open(args).await? else {
        println!("no batches were given up");
        return Ok(ExitCode::SUCCESS);
    };
    let (identity, mut totals) = (identity(args), Totals::default());
    let mut lines = Vec::new();
    let mut left_in_all = 0;
    for key in &destination.keys {
        for batch in destination.batches(key, &mut totals).await? {
            let left = uncommitted(lake, &batch, &identity).await?;
            left_in_all += left;
            let what = if batch.payload.is_some() { "records" } else { "positions" };
            if global.json {
                println!(
                    "{}",
                    json!({"object": key, "stream": batch.stream_arn, "shard": batch.shard,
                        "from": batch.first.to_string(), "to": batch.last.to_string(),
                        "records": batch.records, "not_in_the_lake": left, "condition": batch.condition,
                        "given_up_at": batch.at, "holds": what})
                );
            }
            let (records, left) = (count(batch.records), count(left));
            lines.push(vec![
                batch.stream().to_owned(),
                batch.shard,
                records,
                left,
                batch.condition,
                batch.at,
                what.into(),
            ]);
        }
    }
    if !global.json {
        let headers = ["stream", "shard", "records", "not in the lake", "why", "given up at", "holds"];
        println!("{}", table(&headers, &lines));
        println!("\n{} records are not in the lake", count(left_in_all));
    }
    Ok(ExitCode::SUCCESS)
}

/// Records of the batch that no commit lists. Where only positions are known, records of other lanes
/// between them count as the batch's.
async fn uncommitted(lake: &Lake, batch: &FailedBatch, identity: &str) -> Result<u64> {
    let key = known_stream(lake, batch, identity).await?;
    let named = named_shard(lake, batch, identity).await?;
    let of_all = batch.source == Source::DynamoDb && named.is_none();
    let id = if of_all { ALL_SHARDS } else { batch.shard.as_str() };
    let shard = Shard { stream: batch.stream().into(), stream_key: key.into(), shard: id.into() };
    let left = batch.payload.as_deref().map(|records| sequences(records, named));
    let mut left: Option<PositionSet> = left.transpose()?;
    let mut committed = 0;
    for version in read_chain(&lake.store, &ChainKey::of(&shard)).await? {
        let (min, max) = (version.commit.header.min, version.commit.header.max);
        // Numbers of all shards have ten digits more than the batch says.
        let bare = |number: SequenceNumber| if of_all { number.without_ten_digits() } else { number };
        if max.map(bare) < Some(batch.first) || min.map(bare) > Some(batch.last) {
            continue;
        }
        let set = version.set()?;
        match &mut left {
            Some(left) => *left = left.subtract(&set),
            None => {
                let PositionSet::Exact(numbers) = set else { continue };
                let inside = |n: &&SequenceNumber| (batch.first..=batch.last).contains(&bare(**n));
                committed += numbers.iter().filter(inside).count() as u64;
            }
        }
    }
    Ok(left.map_or_else(|| batch.records.saturating_sub(committed), |left| left.count()))
}

/// Positions of records, as an attempt lists them.
fn sequences(records: &[Box<RawValue>], shard: Option<&str>) -> Result<PositionSet> {
    let (mut unpacker, mut event) = (Unpacker::new(UnpackLimits::default()), ParsedEvent::default());
    let (mut at, mut numbers) = (0, Vec::new());
    while at < records.len() {
        event.parse(&mut unpacker, &event_of(&records[at..], shard))?;
        if event.sequences.is_empty() {
            break;
        }
        at += event.sequences.len();
        numbers.extend_from_slice(&event.sequences);
    }
    Ok(numbers.into_iter().collect())
}
