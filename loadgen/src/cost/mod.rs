//! `loadgen cost`: what a GB and a million events cost, from measured figures and listed prices, beside
//! what else could do the work. Kinesis is paid whoever reads it, and shown apart.

mod model;
mod prices;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::report::OutputArgs;
use crate::report::model::{AnyResult, BatchFigures};
use crate::report::stats::median;

pub use prices::{Architecture, Prices};

use model::{Batch, Setting};

/// `loadgen cost`
#[derive(Debug, Args)]
pub struct CostArgs {
    /// Time, memory, bytes, requests and log of a batch from this result of `loadgen sweep --out` (its
    /// cheapest size); several for batches of several sizes, the largest first
    #[arg(long, required_unless_present_any = ["batch_ms", "print_prices"])]
    pub(crate) sweep: Vec<PathBuf>,
    /// Without a sweep: warm duration of a batch in ms, store included
    #[arg(long, conflicts_with = "sweep", requires = "batch_bytes", requires = "memory")]
    pub(crate) batch_ms: Option<f64>,
    /// Payload bytes of that batch
    #[arg(long, conflicts_with = "sweep")]
    pub(crate) batch_bytes: Option<f64>,
    /// Memory of the function that took it, in MB
    #[arg(long, conflicts_with = "sweep")]
    pub(crate) memory: Option<u32>,
    /// Bytes of an event of that batch
    #[arg(long, default_value_t = 540.0, conflicts_with = "sweep")]
    pub(crate) event_bytes: f64,
    /// What of a batch's time does not grow with it, ms: two puts to S3. Added to a sweep of this
    /// machine, whose store is a folder
    #[arg(long, default_value_t = 45.0)]
    pub(crate) fixed_ms: f64,
    /// Processor architecture of the function
    #[arg(long, value_enum, default_value = "arm64")]
    pub(crate) architecture: Architecture,
    /// Data files of a batch, instead of what the sweep found: partitions that it touches
    #[arg(long)]
    pub(crate) files: Option<f64>,
    /// Bytes of Parquet for a byte of payload, instead of what the sweep found
    #[arg(long)]
    pub(crate) parquet_share: Option<f64>,
    /// CPU seconds of compaction for a GB of Parquet, at one processor
    #[arg(long, default_value_t = 46.0)]
    pub(crate) close_s_per_gb: f64,
    /// How often the function `close` runs
    #[arg(long, default_value = "1m", value_parser = weir::schema::parse_duration)]
    pub(crate) close_every: std::time::Duration,
    /// Payload bytes of a partition: one close and one registration each
    #[arg(long, default_value_t = 2e9)]
    pub(crate) partition_bytes: f64,
    /// Events a second of the whole stream: sizes shards, runs of close and the Glue job beside it
    #[arg(long, default_value_t = 20_000.0)]
    pub(crate) rate: f64,
    /// JSON bytes a second that a DPU of a Glue streaming job takes
    #[arg(long, default_value_t = 10e6)]
    pub(crate) dpu_bytes: f64,
    /// The bucket encrypts with a key of yours and without a bucket key
    #[arg(long)]
    pub(crate) kms: bool,
    /// Prices instead of the built-in ones
    #[arg(long)]
    pub(crate) prices: Option<PathBuf>,
    /// Print the built-in prices, to be changed
    #[arg(long)]
    pub(crate) print_prices: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Costs in USD of a GB (10^9 bytes of payload).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Bytes of a batch that they hold for.
    pub batch_bytes: f64,
    /// Its billed time.
    pub batch_ms: f64,
    /// Memory that it has.
    pub memory_mb: u32,
    /// Where the batch was measured; none where it is computed from the one before.
    pub measured_in: Option<String>,
    /// Item and USD.
    pub items: Vec<(String, f64)>,
}

impl Costs {
    /// Sum.
    pub fn total(&self) -> f64 {
        self.items.iter().map(|(_, usd)| usd).sum()
    }
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostTable {
    /// Day of the prices.
    pub prices_of: String,
    /// Region of the prices.
    pub region: String,
    /// Bytes of an event.
    pub event_bytes: f64,
    /// Events a second.
    pub rate: f64,
    /// What was assumed and not measured, in words.
    pub assumed: Vec<String>,
    /// At each measured batch, and at 100 KB.
    pub weir: Vec<Costs>,
    /// What else could do it: name, USD of a GB.
    pub others: Vec<(String, f64)>,
    /// The stream: name, USD of a GB.
    pub stream: Vec<(String, f64)>,
}

/// Print the table.
///
/// # Errors
/// A file that cannot be read.
pub fn run(args: &CostArgs) -> Result<ExitCode> {
    if args.print_prices {
        print!("{}", Prices::built_in_text());
        return Ok(ExitCode::SUCCESS);
    }
    let prices = Prices::read(args.prices.as_deref())?;
    let table = costs(&prices, &measured(args)?, args);
    args.output.write(&table, &table::text(&table))?;
    Ok(ExitCode::SUCCESS)
}

/// A batch and where it was measured.
type Measured = (Batch, Option<String>);

/// A batch of this size is always shown.
const SMALL_BATCH: f64 = 100_000.0;
/// Commits are folded every so often (docs/COMMIT_PROTOCOL.md), which is a put.
const FOLD: f64 = 1.0 / 32.0;
/// Where nothing was measured: one partition a batch and now and then two, with the line of one shard.
const ASSUMED_FILES: f64 = 1.2;
const ASSUMED_PARQUET_SHARE: f64 = 0.09;
const ASSUMED_LOG_BYTES: f64 = 2_700.0;

/// The batches that are asked for, and one of 100 KB unless one was measured.
fn measured(args: &CostArgs) -> Result<Vec<Measured>> {
    let mut found = Vec::new();
    for file in &args.sweep {
        found.push((of_sweep(file, args)?, Some(file.display().to_string())));
    }
    if let (Some(ms), Some(bytes), Some(memory_mb)) = (args.batch_ms, args.batch_bytes, args.memory) {
        found.push((batch(args, (bytes, ms, 0.0, memory_mb), args.event_bytes, None), Some("flags".into())));
    }
    let Some((first, _)) = found.first() else {
        bail!("give --sweep, or --batch-ms, --batch-bytes and --memory")
    };
    if found.iter().all(|(batch, _)| (batch.batch_bytes / SMALL_BATCH - 1.0).abs() > 0.2) {
        found.push((first.at(SMALL_BATCH, args.fixed_ms), None));
    }
    Ok(found)
}

fn of_sweep(file: &Path, args: &CostArgs) -> Result<Batch> {
    let text = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    let way_out = "write one with `loadgen sweep PROGRAM --out sweep.json`";
    let AnyResult::Sweep(sweep) = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no result of `loadgen sweep`; {way_out}", file.display()))?
    else {
        bail!("{} is no result of `loadgen sweep`; {way_out}", file.display());
    };
    let usable = sweep.sizes.iter().filter(|size| size.failed.is_none());
    let cheapest = usable.min_by(|a, b| a.usd_per_gb.total_cmp(&b.usd_per_gb));
    let Some(size) = cheapest else { bail!("{} holds no size that was measured", file.display()) };
    // Measured here the store is a folder, and two puts come on top.
    let puts_ms = if sweep.processors > 0 { args.fixed_ms } else { 0.0 };
    let warm_ms = median(&size.batches_ms);
    let cold_ms = size.first_poll_ms + (size.first_batch_ms - warm_ms).max(0.0);
    let bytes = sweep.payload_bytes as f64;
    let figures = (bytes, warm_ms + puts_ms, cold_ms, size.memory_mb);
    Ok(batch(args, figures, bytes / sweep.records as f64, size.batch.as_ref()))
}

fn batch(
    args: &CostArgs,
    (batch_bytes, batch_ms, cold_ms, memory_mb): (f64, f64, f64, u32),
    event_bytes: f64,
    found: Option<&BatchFigures>,
) -> Batch {
    let files = args.files.or(found.map(|f| f.files)).unwrap_or(ASSUMED_FILES);
    let share = args.parquet_share.or(found.map(|f| f.files_bytes / batch_bytes));
    Batch {
        event_bytes,
        batch_bytes,
        batch_ms,
        cold_ms,
        memory_mb,
        files,
        files_bytes: share.unwrap_or(ASSUMED_PARQUET_SHARE) * batch_bytes,
        // Too few batches to meet a fold as often as it comes: never below what the protocol says.
        puts: (files + 1.0 + FOLD).max(found.filter(|_| args.files.is_none()).map_or(0.0, |f| f.puts)),
        gets: found.map_or(0.0, |f| f.gets),
        lists: found.map_or(0.0, |f| f.lists),
        log_bytes: found.map_or(ASSUMED_LOG_BYTES, |f| f.log_bytes),
    }
}

fn costs(prices: &Prices, batches: &[Measured], args: &CostArgs) -> CostTable {
    let setting = Setting {
        architecture: args.architecture,
        fixed_ms: args.fixed_ms,
        rate: args.rate,
        partition_bytes: args.partition_bytes,
        close_every_s: args.close_every.as_secs_f64(),
        close_s_per_gb: args.close_s_per_gb,
        kms: args.kms,
        dpu_bytes_per_second: args.dpu_bytes,
    };
    let (first, _) = &batches[0];
    let weir = batches.iter().map(|(batch, measured_in)| Costs {
        batch_bytes: batch.batch_bytes,
        batch_ms: batch.batch_ms,
        memory_mb: batch.memory_mb,
        measured_in: measured_in.clone(),
        items: owned(model::weir(prices, batch, &setting)),
    });
    CostTable {
        prices_of: prices.date.clone(),
        region: prices.region.clone(),
        event_bytes: first.event_bytes,
        rate: args.rate,
        assumed: assumed(args),
        weir: weir.collect(),
        others: model::others(prices, first, &setting),
        stream: model::stream(prices, first, args.rate),
    }
}

fn owned(items: Vec<(&'static str, f64)>) -> Vec<(String, f64)> {
    items.into_iter().map(|(name, usd)| (name.to_owned(), usd)).collect()
}

fn assumed(args: &CostArgs) -> Vec<String> {
    vec![
        format!("{} ms of a batch are S3's answers (--fixed-ms)", args.fixed_ms),
        format!("compaction takes {} CPU s for a GB of Parquet (--close-s-per-gb)", args.close_s_per_gb),
        format!("{:.1} GB a partition (--partition-bytes)", args.partition_bytes / 1e9),
        format!("a DPU takes {:.0} MB/s (--dpu-bytes)", args.dpu_bytes / 1e6),
    ]
}
