//! `weir demo`: everything once. Events go to a real Kinesis endpoint, a real function process takes
//! them, it is killed once on the way, records are delivered twice, and at the end the lake is
//! compared with what was sent.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use weir::clock::{Clock, SystemClock};
use weir::close::{ClosedRevision, VisibleFile, visible_files};
use weir::partition::PartitionPath;
use weir_query::query;

use crate::generate::{Generator, Kind};
use crate::ingest::{Packing, Source};
use crate::runtime::{HostedFunction, Running, UpConfig, up};

use super::args::{DemoArgs, Global};
use super::lake::{Lake, store_options};
use super::output::{count, megabytes, table};
use super::up::{drained, local_stream, program, wait_for_stop};

/// Most records and bytes of one PutRecords
/// (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>).
const PUT_RECORDS: usize = 500;
const PUT_BYTES: usize = 4 << 20;
/// Events that are sent for hours that are closed.
const LATE_EVENTS: u64 = 200;

#[derive(Default)]
struct Sent {
    records: u64,
    bytes: u64,
    kinds: BTreeMap<Kind, u64>,
}

pub(super) async fn run(global: &Global, args: &DemoArgs) -> Result<ExitCode> {
    // Dropped in the middle, the demo takes its processes and its folder with it.
    tokio::select! {
        done = show(global, args) => done,
        stop = wait_for_stop() => {
            stop?;
            eprintln!("stopped; nothing is left behind but what --keep names");
            Ok(ExitCode::from(130))
        }
    }
}

async fn show(global: &Global, args: &DemoArgs) -> Result<ExitCode> {
    let started = Instant::now();
    // Goes with the demo, unless a folder is given.
    let scratch =
        tempfile::Builder::new().prefix("weir-demo-").tempdir().context("could not make a folder")?;
    let home = args.keep.clone().unwrap_or_else(|| scratch.path().to_owned());
    std::fs::create_dir_all(&home).with_context(|| format!("could not make {}", home.display()))?;
    let lake = Lake::open_at(&home.join("lake").to_string_lossy())?;
    let name = args.table.clone().unwrap_or_else(|| "clickstream".into());
    lake.ensure_tables(global, std::slice::from_ref(&name)).await?;
    let mut config = UpConfig::new(&home.join("state"), &name, "ingest", Arc::new(SystemClock));
    config.enforce_limits = false;
    config.mapping.window = Duration::from_secs(1);
    let running =
        up(config, HostedFunction::new(program(&lake, std::slice::from_ref(&name), &home.join("state"))?))
            .await?;
    eprintln!(
        "1. a Kinesis endpoint with 2 shards on {}, and a function in a process of its own",
        running.endpoint_url()
    );
    let sent = match &args.data {
        Some(file) => send_file(&running, &name, file).await?,
        None => send_generated(&running, &name, args).await?,
    };
    eprintln!("4. {} records sent; waiting until the last is acknowledged", count(sent.records));
    let all = drained(&running, sent.records, Duration::from_secs(300)).await;
    let closed = match all {
        true => close(&lake, &running, &name, &home.join("state"), args, sent.records).await?,
        false => Closed::default(),
    };
    let sent = Sent { records: sent.records + closed.late, ..sent };
    let started_processes = running.function().map_or(0, |f| f.processes_started());
    let given_up = running.status().records_given_up();
    running.stop().await;
    if !all {
        bail!(
            "the records were not taken within 5 minutes; see {}",
            home.join("state/function.log").display()
        );
    }
    let ok = report(&lake, &name, &sent, (given_up, started_processes), &closed).await?;
    if args.keep.is_some() {
        println!("\nkept: weir --lake {} query \"select count(*) from {name}\"", home.join("lake").display());
    }
    eprintln!("\n{:.1} s in all", started.elapsed().as_secs_f64());
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was closed, and how many records came after it.
#[derive(Default)]
struct Closed {
    revisions: Vec<ClosedRevision>,
    late: u64,
}

/// Close what is complete, send late events to a closed hour, close again.
async fn close(
    lake: &Lake,
    running: &Running,
    name: &str,
    state: &Path,
    args: &DemoArgs,
    sent: u64,
) -> Result<Closed> {
    let streams = [local_stream(running, state, None, None)?];
    let tables = [name.to_owned()];
    let closing = super::close::closing(lake, &streams, &tables, state, weir::limits::CLOSE_GRACE)?;
    let report = closing.run(None).await?;
    eprintln!(
        "5. closed {} partitions that are complete, each into one revision of few files; {} are open",
        report.closed.len(),
        report.open.len()
    );
    let mut closed = Closed { revisions: report.closed, late: 0 };
    if args.data.is_some() || closed.revisions.is_empty() {
        return Ok(closed);
    }
    let mut generator = Generator::new(args.seed + 1, SystemClock.now());
    let mut putter = Putter { running, stream: name, records: Vec::new(), bytes: 0, sent: Sent::default() };
    let mut event = String::new();
    while closed.late < LATE_EVENTS {
        if generator.next_event(&mut event) == Kind::Late {
            putter.put("late", event.as_bytes()).await?;
            closed.late += 1;
        }
    }
    putter.flush().await?;
    if !drained(running, sent + closed.late, Duration::from_secs(60)).await {
        bail!("the late events were not taken within a minute; see {}", state.join("function.log").display());
    }
    let report = closing.run(None).await?;
    eprintln!(
        "6. {} late events came for closed hours: {} of these have a second revision now",
        count(closed.late),
        report.closed.len()
    );
    closed.revisions.extend(report.closed);
    Ok(closed)
}

struct Putter<'a> {
    running: &'a Running,
    stream: &'a str,
    records: Vec<serde_json::Value>,
    bytes: usize,
    sent: Sent,
}

impl Putter<'_> {
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

async fn send_generated(running: &Running, stream: &str, args: &DemoArgs) -> Result<Sent> {
    eprintln!(
        "2. sending {} generated clickstream events, some late, some twice, some broken",
        count(args.events)
    );
    let mut generator = Generator::new(args.seed, SystemClock.now());
    let mut putter = Putter { running, stream, records: Vec::new(), bytes: 0, sent: Sent::default() };
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

async fn send_file(running: &Running, stream: &str, file: &str) -> Result<Sent> {
    eprintln!("2. sending the lines of {file}");
    let handle = tokio::runtime::Handle::current();
    let (file, options) = (file.to_owned(), store_options());
    let source = tokio::task::spawn_blocking(move || Source::open(&file, &options, &handle)).await??;
    let reader: Box<dyn std::io::Read + Send> = match source.packing {
        Packing::Plain => Box::new(source.reader()),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source.reader())),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(source.reader())?),
    };
    let mut putter = Putter { running, stream, records: Vec::new(), bytes: 0, sent: Sent::default() };
    let mut killed = false;
    for (n, line) in std::io::BufReader::new(reader).split(b'\n').enumerate() {
        let line = line.with_context(|| format!("could not read {}", source.url))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        putter.put(&n.to_string(), &line).await?;
        if !killed && putter.sent.records == 5_000 {
            killed = true;
            kill(running).await;
        }
    }
    putter.flush().await?;
    if !killed {
        kill(running).await;
    }
    Ok(putter.sent)
}

/// Kill the function while a batch is under way.
async fn kill(running: &Running) {
    tokio::time::sleep(Duration::from_millis(700)).await;
    let killed = running.function().map_or(0, |f| f.kill_processes());
    eprintln!(
        "3. killed the function ({killed} processes) in the middle of it; its batches are delivered again"
    );
}

async fn report(
    lake: &Lake,
    name: &str,
    sent: &Sent,
    (given_up, processes): (u64, u64),
    closed: &Closed,
) -> Result<bool> {
    let files = visible_files(&lake.store, &*lake.catalog, None).await?;
    let of = |table: &str| files.iter().filter(|f| f.table == table).cloned().collect::<Vec<_>>();
    let (data, dead) = (of(name), of(weir::naming::QUARANTINE_TABLE));
    let sum = |files: &[VisibleFile]| files.iter().map(|f| f.rows).sum::<u64>();
    let (rows, quarantined) = (sum(&data), sum(&dead));
    let mut newest: BTreeMap<&PartitionPath, &ClosedRevision> = BTreeMap::new();
    closed.revisions.iter().for_each(|closed| _ = newest.insert(&closed.partition, closed));
    let removed: u64 = newest.values().map(|closed| closed.removed).sum();
    let bytes: u64 = data.iter().map(|f| f.bytes).sum();
    let partitions: std::collections::BTreeSet<_> = data.iter().map(|f| f.partition.as_str()).collect();
    let line = |what: &str, n: u64, note: String| vec![what.to_owned(), count(n), note];
    let mut lines = vec![line("records sent", sent.records, megabytes(sent.bytes))];
    if let Some(late) = sent.kinds.get(&Kind::Late) {
        lines.push(line("  of them late", *late, "each goes to its own hour".into()));
    }
    if let Some(twice) = sent.kinds.get(&Kind::SentTwice) {
        lines.push(line(
            "  sent twice by the producer",
            *twice,
            "two records; removed by business key at close".into(),
        ));
    }
    lines.push(line(
        "rows in the lake",
        rows,
        format!("{} in {} files, {} partitions", megabytes(bytes), data.len(), partitions.len()),
    ));
    if !newest.is_empty() {
        lines.push(line("  partitions closed", newest.len() as u64, "sorted, deduped, few files".into()));
        let again = newest.values().filter(|closed| closed.revision > 1).count() as u64;
        lines.push(line("  closed again", again, format!("for {} late events", count(closed.late))));
        lines.push(line("  duplicates removed at close", removed, "by business key".into()));
    }
    lines.push(line("dead letters", quarantined, "raw bytes and reason kept in table quarantine".into()));
    lines.push(line("given up", given_up, String::new()));
    lines.push(line("function processes", processes, "started, the killed ones among them".into()));
    println!("\n{}", table(&["", "count", ""], &lines));
    let tables = super::query::tables(lake).await?;
    let store = lake.store.object_store();
    if quarantined > 0 {
        let why = "select reason, path, expected, arrow_cast(count(*), 'Int64') as records, min(found) as example from quarantine group by 1, 2, 3 order by 4 desc limit 10";
        println!(
            "\nwhy records were quarantined\n{}",
            query(store.clone(), tables.clone(), why).await?.to_table()?
        );
    }
    let identity = format!(
        "select count(*) as \"rows\", count(distinct _shard || _sequence || cast(_subsequence as varchar)) as identities from {name}"
    );
    println!(
        "\nrows against distinct record identities\n{}",
        query(store.clone(), tables.clone(), &identity).await?.to_table()?
    );
    if name == "clickstream" {
        let sql = "select hour, event_type, count(*) as events, count(distinct user_id) as users, round(avg(latency_ms), 1) as latency_ms from clickstream group by 1, 2 order by 1 desc, 3 desc limit 8";
        println!("\nweir query \"{sql}\"\n{}", query(store, tables, sql).await?.to_table()?);
    }
    let expected_dead: u64 = sent.kinds.iter().filter(|(k, _)| k.is_bad()).map(|(_, n)| n).sum();
    let adds_up = rows + removed + quarantined + given_up == sent.records;
    let as_planned = sent.kinds.is_empty() || quarantined == expected_dead;
    println!(
        "\n{} rows + {} duplicates removed + {} dead letters + {} given up = {} records sent: {}",
        count(rows),
        count(removed),
        count(quarantined),
        count(given_up),
        count(sent.records),
        match (adds_up, given_up) {
            (true, 0) => "every record exactly once",
            (true, _) => "no record twice, and some only in the on-failure destination",
            (false, _) => "THIS DOES NOT ADD UP",
        }
    );
    if !as_planned {
        println!("expected {} dead letters", count(expected_dead));
    }
    Ok(adds_up && as_planned)
}
