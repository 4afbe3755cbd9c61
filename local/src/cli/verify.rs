//! `weir verify`: is every record in the lake exactly once, and if not, what is wrong exactly.

mod source;
mod stream;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use weir::clock::{Clock, SystemClock};
use weir::partition::PartitionPath;
use weir::verify::{Budget, Finding, Progress, Repair, Scope, Totals, Verifier};

use super::args::{Global, VerifyArgs};
use super::lake::Lake;

/// Wrong usage, as clap's own.
const USAGE: u8 = 2;

pub(super) async fn run(global: &Global, args: &VerifyArgs) -> Result<ExitCode> {
    let lake = Lake::find(global)?;
    let partition = match args.partition.as_deref().map(PartitionPath::parse).transpose() {
        Ok(partition) => partition,
        Err(error) => return Ok(usage(&format!("--partition: {error}; example: --partition dt=2026-11-20"))),
    };
    if let Some(table) = &args.table
        && lake.catalog.definition(table).await?.is_none()
        && lake.store.list_after(&weir::naming::live_prefix(table), None, 1).await?.is_empty()
    {
        let known = lake.catalog.tables().await?.join(", ");
        return Ok(usage(&format!("--table {table}: {} has no such table; tables there: {known}", lake.url)));
    }
    let mut stream = match (&args.endpoint, args.stream.as_ref().or(args.table.as_ref())) {
        (Some(endpoint), Some(name)) => Some(stream::Stream::open(endpoint, name, &args.state).await?),
        (Some(_), None) => return Ok(usage("--endpoint needs the stream's name; give it with --stream")),
        (None, _) => None,
    };
    let scope = Scope { table: args.table.clone(), partition };
    let progress = Arc::new(Progress::default());
    let watching = watch(progress.clone());
    let (store, catalog) = (lake.store.clone(), lake.catalog.clone());
    let mut verifier = Verifier::new(store, catalog, scope, Budget::default(), progress.clone());
    let mut compared = Compared::default();
    let bar = watching.bar.clone();
    let mut sink = move |finding: Finding| bar.suspend(|| print(global, &finding));
    for chain in verifier.chains().await? {
        let report = verifier.chain(&chain, &mut sink).await?;
        match (&mut stream, &report.bytes) {
            (_, Some(_)) => match source::compare(&report).await? {
                source::Outcome::Compared(findings) => {
                    compared.files += 1;
                    findings.into_iter().for_each(|finding| verifier.report(finding, &mut sink));
                }
                source::Outcome::Gone(why) => compared.skipped.push(why),
            },
            (Some(stream), None) => {
                if let Some(shard) = stream.shard_of(&chain) {
                    compared.shards.push(stream.compare(&shard, report, &mut verifier, &mut sink).await?);
                }
            }
            (None, None) => compared.unread += u64::from(chain.replayed().is_none()),
        }
    }
    if let Some(stream) = &stream {
        compared.shards.extend(stream.without_commits(&mut verifier, &mut sink).await?);
    }
    let attempt = format!("repair-{:x}-{:x}", std::process::id(), SystemClock.now().0);
    let repair = args.repair.then_some(Repair { attempt: &attempt });
    let totals = verifier.finish(repair.as_ref(), &mut sink).await?;
    watching.stop();
    conclude(global, args, &totals, &compared, &progress);
    Ok(if totals.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What commits were held against.
#[derive(Debug, Default)]
struct Compared {
    /// Loaded files that are still there and unchanged.
    files: u64,
    /// Why others were not compared.
    skipped: Vec<String>,
    /// Shards of the stream.
    shards: Vec<weir::verify::Compared>,
    /// Shards whose stream was not given.
    unread: u64,
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("weir: {problem}");
    ExitCode::from(USAGE)
}

fn print(global: &Global, finding: &Finding) {
    if global.json {
        println!("{}", serde_json::to_string(finding).unwrap_or_default());
    } else {
        println!("{finding}");
    }
}

fn conclude(global: &Global, args: &VerifyArgs, totals: &Totals, compared: &Compared, progress: &Progress) {
    let sum = |field: fn(&weir::verify::Compared) -> u64| compared.shards.iter().map(field).sum::<u64>();
    let waiting = sum(|shard| shard.waiting);
    if global.json {
        println!(
            "{}",
            serde_json::json!({"clean": totals.is_clean(), "records": totals.records(), "rows": totals.rows,
                "quarantined": totals.open_letters(), "replayed": totals.replayed, "files": totals.files,
                "commits": totals.commits, "shards": totals.chains, "findings": totals.findings,
                "repaired": totals.repaired, "rows_read": progress.rows.load(Ordering::Relaxed),
                "sources_compared": compared.files, "sources_skipped": compared.skipped,
                "stream_records": sum(|shard| shard.records), "stream_waiting": waiting})
        );
        return;
    }
    for why in &compared.skipped {
        eprintln!("not compared: {why}");
    }
    if !compared.shards.is_empty() {
        let (records, committed) = (sum(|shard| shard.records), sum(|shard| shard.committed));
        eprintln!(
            "the stream holds {records} records: {committed} are committed, {waiting} are not loaded yet"
        );
    }
    if compared.unread > 0 && args.endpoint.is_none() {
        eprintln!(
            "{} shards of streams were not compared with their stream; give its address with --endpoint",
            compared.unread
        );
    }
    let repaired = match totals.repaired {
        0 => String::new(),
        n => format!(", {n} repaired"),
    };
    let (records, quarantined) = (totals.records(), totals.open_letters());
    match totals.findings - totals.repaired {
        0 => println!("no gap, no duplicate, {records} records, {quarantined} quarantined{repaired}"),
        n => println!("{n} findings{repaired}, {records} records, {quarantined} quarantined"),
    }
}

/// A line on the terminal that says how far it is.
struct Watching {
    bar: ProgressBar,
    task: tokio::task::JoinHandle<()>,
}

fn watch(progress: Arc<Progress>) -> Watching {
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{spinner} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let told = bar.clone();
    let task = tokio::spawn(async move {
        loop {
            let get = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
            let (commits, files, rows) = (get(&progress.commits), get(&progress.files), get(&progress.rows));
            told.set_message(format!("{commits} commits, {files} files, {rows} rows"));
            told.tick();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    Watching { bar, task }
}

impl Watching {
    fn stop(self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}
