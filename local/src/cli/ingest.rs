//! `weir ingest FILE… --table T`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;
use weir::pipeline::check_targets;
use weir::schema::{TableSchema, UnknownFields};
use weir_functions::memory::return_freed_memory;

use crate::ingest::{Load, Packing, Progress, Source};

use super::args::{Global, IngestArgs};
use super::lake::{Lake, store_options};
use super::output::{count, size};

pub(super) fn run(global: &Global, args: &IngestArgs, runtime: &Runtime) -> Result<ExitCode> {
    return_freed_memory();
    let lake = Lake::open(global)?;
    let tables = [args.table.clone()];
    runtime.block_on(lake.ensure_tables(global, &tables))?;
    let table = runtime.block_on(lake.catalog.table(&args.table))?;
    check_targets(std::slice::from_ref(&table))?;
    let processors = std::thread::available_parallelism().map_or(1, Into::into);
    let options = store_options();
    let sources: Vec<Source> =
        args.files.iter().map(|f| Source::open(f, &options, runtime.handle())).collect::<Result<_>>()?;
    for source in sources {
        let progress = Arc::new(Progress::default());
        let bar = bar(&source);
        let load = Load {
            lake: lake.store.clone(),
            table: table.clone(),
            source: source.clone(),
            threads: args.threads.unwrap_or(processors).max(1),
            progress: progress.clone(),
            runtime: runtime.handle().clone(),
        };
        let started = Instant::now();
        let thread = std::thread::spawn(move || load.run());
        while !thread.is_finished() {
            bar.set_position(
                progress.bytes.load(Ordering::Relaxed) + progress.skipped.load(Ordering::Relaxed),
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        bar.finish_and_clear();
        let done = thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the load panicked")));
        // What is committed is to be seen, whatever ended the load.
        let registered = runtime.block_on(progress.register(&*lake.catalog));
        done?;
        registered?;
        summary(global, &source, &table, &progress, started.elapsed());
    }
    Ok(ExitCode::SUCCESS)
}

fn bar(source: &Source) -> ProgressBar {
    let bar = match source.packing {
        Packing::Plain => ProgressBar::new(source.size),
        Packing::Gzip | Packing::Zstd => ProgressBar::new_spinner(),
    };
    let style = match source.packing {
        Packing::Plain => "{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        Packing::Gzip | Packing::Zstd => "{msg} {spinner} {bytes} inflated {bytes_per_sec}",
    };
    bar.with_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(source.name.clone())
}

fn summary(global: &Global, source: &Source, table: &TableSchema, progress: &Progress, took: Duration) {
    let (unknown_fields, policy) = (progress.unknown_fields(), table.unknown_fields);
    let table = &table.name;
    let get = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    let (rows, dead, bytes) = (get(&progress.rows), get(&progress.dead), get(&progress.bytes));
    let (blank, files, file_bytes, skipped) =
        (get(&progress.blank), get(&progress.files), get(&progress.file_bytes), get(&progress.skipped));
    let rate = bytes as f64 / 1e6 / took.as_secs_f64().max(1e-9);
    if global.json {
        let line = serde_json::json!({"file": source.url, "table": table, "rows": rows, "dead_letters": dead,
            "blank_lines": blank, "bytes": bytes, "skipped_bytes": skipped, "files": files,
            "file_bytes": file_bytes, "unknown_fields": unknown_fields, "seconds": took.as_secs_f64()});
        println!("{line}");
        return;
    }
    // Of a small file the time is that of the start and the commit.
    let rate = if bytes < 1_000_000 { String::new() } else { format!(" at {rate:.0} MB/s") };
    println!(
        "{}: {} rows, {} dead letters into {} ({} files, {}); {} read{rate}",
        source.name,
        count(rows),
        count(dead),
        table,
        count(files),
        size(file_bytes),
        size(bytes),
    );
    if skipped > 0 {
        println!("  {} were committed by an earlier run and passed over", size(skipped));
    }
    if blank > 0 {
        println!("  {} blank lines", count(blank));
    }
    if !unknown_fields.is_empty() {
        let became = match policy {
            UnknownFields::Ignore => "left out; `weir.unknown_fields` = `rescue` keeps them as JSON",
            UnknownFields::Rescue => "kept as JSON in _rescued",
            UnknownFields::Reject => "the lines are dead letters",
        };
        println!("  fields that {table} does not have: {} ({became})", most_met(unknown_fields));
    }
    if dead > 0 && rows == 0 && skipped == 0 {
        println!("  no line of it fits {table}: is it the right file, and one JSON object a line?");
    }
    if dead > 0 {
        println!(
            "  see why: weir query \"select reason, path, expected, found, count(*) from quarantine where source_table = '{table}' group by 1, 2, 3, 4\""
        );
    }
}

/// Unknown fields named in the summary; all are in that of `--json`.
const NAMED: usize = 5;

/// `b 12 times, a 3 times and 2 more`
fn most_met(fields: BTreeMap<String, u64>) -> String {
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let more = fields.len().saturating_sub(NAMED);
    let named: Vec<_> =
        fields.iter().take(NAMED).map(|(path, n)| format!("{path} {} times", count(*n))).collect();
    match more {
        0 => named.join(", "),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}
