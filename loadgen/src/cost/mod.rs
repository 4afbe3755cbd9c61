//! `loadgen cost`: what a GB and a million events cost, from measured figures and listed prices, beside
//! what else could do the work.
//!
//! | item | of one batch |
//! |---|---|
//! | Lambda | its billed milliseconds at its memory, and its request |
//! | S3 | files + 1 commit, puts; a fold and a cold start now and then |
//! | logs | one line an invocation, and the service's own three |
//! | KMS | one data key a put where the bucket has keys of its own and no bucket key |
//! | Glue calls | one call a new partition |
//! | close | reads, writes and Lambda time of compaction, by bytes |
//!
//! Kinesis is paid whoever reads it, and shown apart.

mod prices;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::report::OutputArgs;
use crate::report::model::AnyResult;
use crate::report::stats::median;
use crate::report::text::table;

pub use prices::{Architecture, Prices};

/// `loadgen cost`
#[derive(Debug, Args)]
pub struct CostArgs {
    /// Take duration, memory and bytes from this result of `loadgen sweep --json` (its cheapest size)
    #[arg(long, conflicts_with_all = ["batch_ms", "memory", "event_bytes", "batch_bytes"])]
    pub(crate) sweep: Option<PathBuf>,
    /// Bytes of an event
    #[arg(long, default_value_t = 540.0)]
    pub(crate) event_bytes: f64,
    /// Payload bytes of a batch; what one 6 MB payload holds with base64 if not given
    #[arg(long, default_value_t = 4_400_000.0)]
    pub(crate) batch_bytes: f64,
    /// Warm duration of such a batch in ms, store included
    #[arg(long, default_value_t = 80.0)]
    pub(crate) batch_ms: f64,
    /// What of it does not grow with the batch, ms: two puts to S3
    #[arg(long, default_value_t = 45.0)]
    pub(crate) fixed_ms: f64,
    /// Memory of the function in MB
    #[arg(long, default_value_t = 512)]
    pub(crate) memory: u32,
    /// Processor architecture of the function
    #[arg(long, value_enum, default_value = "arm64")]
    pub(crate) architecture: Architecture,
    /// Data files of a batch: partitions that it touches, and its quarantine
    #[arg(long, default_value_t = 1.2)]
    pub(crate) files: f64,
    /// Bytes of Parquet for a byte of payload
    #[arg(long, default_value_t = 0.09)]
    pub(crate) parquet_share: f64,
    /// CPU seconds of compaction for a GB of Parquet, at one processor
    #[arg(long, default_value_t = 12.0)]
    pub(crate) close_s_per_gb: f64,
    /// Payload bytes of a partition: one close and one registration each
    #[arg(long, default_value_t = 2e9)]
    pub(crate) partition_bytes: f64,
    /// Events a second of the whole stream: sizes shards and the Glue job beside it
    #[arg(long, default_value_t = 20_000.0)]
    pub(crate) rate: f64,
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
    /// At the measured batch and at 100 KB.
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
    let measured = Measured::of(args)?;
    let table = costs(&prices, &measured, args);
    args.output.write(&table, &text(&table))?;
    Ok(ExitCode::SUCCESS)
}

/// A batch as it was measured.
#[derive(Debug, Clone, Copy)]
struct Measured {
    event_bytes: f64,
    batch_bytes: f64,
    batch_ms: f64,
    memory_mb: u32,
}

impl Measured {
    fn of(args: &CostArgs) -> Result<Self> {
        let given = Self {
            event_bytes: args.event_bytes,
            batch_bytes: args.batch_bytes,
            batch_ms: args.batch_ms,
            memory_mb: args.memory,
        };
        let Some(file) = &args.sweep else { return Ok(given) };
        let text = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
        let AnyResult::Sweep(sweep) = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no result of loadgen", file.display()))?
        else {
            bail!("{} is no result of `loadgen sweep --json`", file.display());
        };
        let usable = sweep.sizes.iter().filter(|size| size.failed.is_none());
        let cheapest = usable.min_by(|a, b| a.usd_per_gb.total_cmp(&b.usd_per_gb));
        let Some(size) = cheapest else { bail!("{} holds no size that was measured", file.display()) };
        Ok(Self {
            event_bytes: sweep.payload_bytes as f64 / sweep.records as f64,
            batch_bytes: sweep.payload_bytes as f64,
            // Measured here the store is a folder, and two puts come on top.
            batch_ms: median(&size.batches_ms) + if sweep.processors > 0 { args.fixed_ms } else { 0.0 },
            memory_mb: size.memory_mb,
        })
    }

    /// The same for a smaller or larger batch: what is not fixed grows with the bytes.
    fn at(&self, batch_bytes: f64, fixed_ms: f64) -> Self {
        let fixed = fixed_ms.min(self.batch_ms);
        let batch_ms = fixed + (self.batch_ms - fixed) * batch_bytes / self.batch_bytes;
        Self { batch_bytes, batch_ms, ..*self }
    }
}

fn costs(prices: &Prices, measured: &Measured, args: &CostArgs) -> CostTable {
    let small = measured.at(100_000.0, args.fixed_ms);
    CostTable {
        prices_of: prices.date.clone(),
        region: prices.region.clone(),
        event_bytes: measured.event_bytes,
        weir: [measured, &small].map(|m| weir(prices, m, args)).to_vec(),
        others: others(prices, measured, args),
        stream: stream(prices, measured, args),
    }
}

/// Bytes of log lines an invocation: ours, and the service's START, END and REPORT.
const LOG_BYTES: f64 = 1_500.0;
/// One fold in 32 commits puts a checkpoint; every thousandth invocation is a cold start with a list
/// and some gets (docs/COMMIT_PROTOCOL.md).
const FOLD: f64 = 1.0 / 32.0;
const COLD: f64 = 1.0 / 1_000.0;
/// Objects that a close writes and reads beside the data: plan, owner, result, done and the summary.
const CLOSE_PUTS: f64 = 8.0;
const CLOSE_GETS: f64 = 12.0;
/// Memory that has one processor, in GB.
const VCPU_GB: f64 = 1_769.0 / 1_024.0;

fn weir(prices: &Prices, m: &Measured, args: &CostArgs) -> Costs {
    let batches = 1e9 / m.batch_bytes;
    let put = prices.s3.thousand_puts_and_lists / 1e3;
    let get = prices.s3.thousand_gets / 1e3;
    let puts = args.files + 1.0 + FOLD;
    let partitions = 1e9 / args.partition_bytes;
    let parquet_gb = args.parquet_share;
    let live_files = batches * args.files;
    let gb_second =
        prices.lambda.usd(args.architecture, 1_024, 1_000.0) - prices.lambda.million_requests / 1e6;
    let close = parquet_gb * args.close_s_per_gb * VCPU_GB * gb_second
        // A live file is read whole once and its footer once more.
        + 2.0 * live_files * get
        + partitions * (CLOSE_PUTS * put + CLOSE_GETS * get)
        // Compacted files of 256 MB.
        + (parquet_gb / 0.256).max(partitions) * put;
    let kms = if args.kms { batches * puts * prices.kms.ten_thousand_requests / 1e4 } else { 0.0 };
    let items = [
        ("Lambda", batches * prices.lambda.usd(args.architecture, m.memory_mb, m.batch_ms)),
        ("S3 requests", batches * (puts * put + COLD * (put + 16.0 * get))),
        ("logs", batches * LOG_BYTES / 1e9 * prices.logs.gb_ingested),
        ("KMS", kms),
        ("Glue calls", partitions * 4.0 * prices.glue.million_catalog_requests / 1e6),
        ("close", close),
    ];
    let items = items.into_iter().map(|(name, usd)| (name.to_owned(), usd)).collect();
    Costs { batch_bytes: m.batch_bytes, items }
}

fn others(prices: &Prices, m: &Measured, args: &CostArgs) -> Vec<(String, f64)> {
    let firehose = &prices.firehose;
    let unit = firehose.record_unit_bytes;
    let rounded = (m.event_bytes / unit).ceil() * unit / m.event_bytes;
    let converted = rounded * (firehose.gb_ingested + firehose.gb_converted);
    // Objects of 128 MB of payload, the largest buffer, and at least one a partition.
    let objects = (1e9 / 128e6f64).max(1e9 / args.partition_bytes);
    let partitioned =
        converted + firehose.gb_partitioned + objects * firehose.thousand_partition_objects / 1e3;
    // Two workers of a quarter of a DPU are the least of a streaming job; one DPU takes about 10 MB/s
    // of JSON to Parquet.
    let bytes_per_second = args.rate * m.event_bytes;
    let dpus = (bytes_per_second / 10e6).ceil().max(0.5);
    let glue = dpus * prices.glue.dpu_hour / 3_600.0 / bytes_per_second * 1e9;
    vec![
        ("Firehose with format conversion".into(), converted),
        ("Firehose, conversion and dynamic partitions".into(), partitioned),
        (format!("Glue streaming, {dpus} DPU at {:.0} events/s, 10 MB/s a DPU", args.rate), glue),
    ]
}

fn stream(prices: &Prices, m: &Measured, args: &CostArgs) -> Vec<(String, f64)> {
    let kinesis = &prices.kinesis;
    let bytes_per_second = args.rate * m.event_bytes;
    let by_bytes = bytes_per_second / kinesis.shard_bytes_per_second;
    let shards = by_bytes.max(args.rate / kinesis.shard_records_per_second).ceil();
    let hours_per_gb = 1e9 / bytes_per_second / 3_600.0;
    let units = |record_bytes: f64| (record_bytes / kinesis.put_unit_bytes).ceil() / record_bytes * 1e9;
    let put = |record_bytes: f64| units(record_bytes) * kinesis.million_put_units / 1e6;
    let provisioned = |shards: f64| shards * kinesis.shard_hour * hours_per_gb;
    vec![
        (format!("Kinesis, {shards:.0} shards, single records"), provisioned(shards) + put(m.event_bytes)),
        (
            format!("Kinesis, {:.0} shards, aggregates of 25 KB", by_bytes.ceil()),
            provisioned(by_bytes.ceil()) + put(kinesis.put_unit_bytes),
        ),
        (
            "Kinesis on demand".into(),
            kinesis.on_demand_gb_in + kinesis.on_demand_gb_out + kinesis.on_demand_stream_hour * hours_per_gb,
        ),
    ]
}

fn text(costs: &CostTable) -> String {
    let per_million = costs.event_bytes * 1e6 / 1e9;
    let mut head: Vec<String> = vec!["USD".into()];
    for weir in &costs.weir {
        let size = format!("{:.1} MB a batch", weir.batch_bytes / 1e6);
        head.extend([format!("GB, {size}"), format!("million events, {size}")]);
    }
    let cells = |name: &str, values: &[f64]| -> Vec<String> {
        let pairs = values.iter().flat_map(|usd| [format!("{usd:.5}"), format!("{:.5}", usd * per_million)]);
        std::iter::once(name.to_owned()).chain(pairs).collect()
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (i, (name, _)) in costs.weir[0].items.iter().enumerate() {
        let values: Vec<f64> = costs.weir.iter().map(|weir| weir.items[i].1).collect();
        rows.push(cells(name, &values));
    }
    let totals: Vec<f64> = costs.weir.iter().map(Costs::total).collect();
    rows.push(cells("all of Weir", &totals));
    let head_text: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut out = format!(
        "events of {:.0} B; prices of {} in {}\n\n{}\n\n",
        costs.event_bytes,
        costs.prices_of,
        costs.region,
        table(&head_text, &rows)
    );
    let beside = |list: &[(String, f64)], ratios: bool| -> Vec<Vec<String>> {
        list.iter()
            .map(|(name, usd)| {
                let mut row = cells(name, &[*usd]);
                row.extend(totals.iter().filter(|_| ratios).map(|total| ratio(usd / total)));
                row
            })
            .collect()
    };
    let against = ["instead", "GB", "million events", "of Weir", "of Weir at 100 KB"];
    out.push_str(&table(&against, &beside(&costs.others, true)));
    out.push_str("\n\n");
    out.push_str(&table(
        &["the stream, whoever reads it", "GB", "million events"],
        &beside(&costs.stream, false),
    ));
    out
}

fn ratio(times: f64) -> String {
    if times < 10.0 { format!("{times:.1}×") } else { format!("{times:.0}×") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        cost: CostArgs,
    }

    fn table_of(args: &[&str]) -> CostTable {
        let cli = Cli::parse_from(std::iter::once("cost").chain(args.iter().copied()));
        let prices = Prices::read(None).unwrap();
        costs(&prices, &Measured::of(&cli.cost).unwrap(), &cli.cost)
    }

    #[test]
    fn firehose_rounds_each_record_up_to_5_kb() {
        for (bytes, expected) in
            [("540", 0.047 * 5_120.0 / 540.0), ("5120", 0.047), ("5121", 0.047 * 10_240.0 / 5_121.0)]
        {
            let usd = table_of(&["--event-bytes", bytes]).others[0].1;
            assert!((usd - expected).abs() < 1e-9, "{bytes}: {usd}");
        }
    }

    #[test]
    fn full_batches_cost_a_fiftieth_of_firehose_with_conversion() {
        let table = table_of(&[]);
        let ratio = table.others[0].1 / table.weir[0].total();
        assert!(ratio >= 50.0, "{ratio:.1}: {table:?}");
        assert!(table.weir[1].total() > 3.0 * table.weir[0].total(), "small batches are dear: {table:?}");
    }

    #[test]
    fn every_item_grows_as_it_should() {
        let usd = |args: &[&str], item: &str| {
            table_of(args).weir[0].items.iter().find(|(name, _)| name == item).unwrap().1
        };
        // The request costs the same at any memory.
        let request = 0.2e-6 * 1e9 / 4_400_000.0;
        let time = |args: &[&str]| usd(args, "Lambda") - request;
        assert!((time(&["--memory", "1024"]) / time(&[]) - 2.0).abs() < 1e-9);
        assert_eq!(usd(&[], "KMS"), 0.0);
        assert!(usd(&["--kms"], "KMS") > 0.0);
        assert!(usd(&["--files", "10"], "S3 requests") > 4.0 * usd(&[], "S3 requests"));
        assert!(usd(&["--partition-bytes", "1e8"], "Glue calls") > 10.0 * usd(&[], "Glue calls"));
    }
}
