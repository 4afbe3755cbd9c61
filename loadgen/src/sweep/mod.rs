//! `loadgen sweep`: the same recorded batches at each memory size, what they take and what they cost.

mod cloud;
mod throttle;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::batch::{Batch, Batches};
use crate::cost::{Architecture, Prices};
use crate::host;
use crate::report::model::{BatchFigures, Sweep, SweepSize};
use crate::report::stats::median;
use crate::report::{self, text};
use crate::scratch::ScratchLake;
use crate::target::AwsArgs;

use throttle::{MB_PER_VCPU, Throttle};

/// `loadgen sweep`
#[derive(Debug, Args)]
#[command(mut_arg("endpoint", crate::function::endpoint))]
pub struct SweepArgs {
    /// Program to start here: a function's binary (`target/lambda/ingest`)
    #[arg(required_unless_present = "function")]
    pub(crate) program: Option<PathBuf>,
    /// A function in the cloud instead, which no stream may be mapped to; its memory and, for the time,
    /// its lake are changed and put back
    #[arg(long, conflicts_with = "program", requires = "scratch_lake")]
    pub(crate) function: Option<String>,
    /// Where that function writes the batches: an address that it may write and that is not in its own
    /// lake (`s3://bucket/scratch`)
    #[arg(long, requires = "function", value_name = "URL")]
    pub(crate) scratch_lake: Option<String>,
    /// Memory sizes in MB
    #[arg(long, value_delimiter = ',', default_value = "128,256,512,768,1024,1769,3538,10240",
          value_parser = clap::value_parser!(u32).range(128..=10_240))]
    pub(crate) memory: Vec<u32>,
    /// Warm batches for each size, after the first
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) batches: u32,
    /// Records of a batch
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) records: u64,
    /// Table of the events
    #[arg(long, default_value = "clickstream")]
    pub(crate) table: String,
    /// Folder of table definitions
    #[arg(long, env = "WEIR_SCHEMAS", default_value = "schemas")]
    pub(crate) schemas: PathBuf,
    /// Seed of the events
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Processor architecture that is priced
    #[arg(long, value_enum, default_value = "arm64")]
    pub(crate) architecture: Architecture,
    /// Prices instead of the built-in ones
    #[arg(long)]
    pub(crate) prices: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: report::OutputArgs,
    /// How long a change of the function may take, and how long throttles are waited out
    #[arg(long, default_value = "2m", value_parser = weir::schema::parse_duration)]
    pub(crate) update_patience: Duration,
    #[command(flatten)]
    pub(crate) aws: AwsArgs,
}

/// Measure and print.
///
/// # Errors
/// No size could be measured; a function that cannot be reached.
pub async fn run(args: &SweepArgs) -> Result<ExitCode> {
    let prices = Prices::read(args.prices.as_deref())?;
    let scratch = match &args.scratch_lake {
        Some(url) => ScratchLake::at(url, &args.aws.store_options(), &args.table, &args.schemas).await?,
        None => ScratchLake::make(&args.table, &args.schemas).await?,
    };
    let batches = batches(args, &scratch)?;
    let payload_bytes = batches.iter().map(|b| b.payload_bytes).sum::<u64>() / batches.len() as u64;
    let (function, throttle, processors, mut sizes) = match (&args.program, &args.function) {
        (Some(program), _) => here(program, args, &batches).await?,
        (None, Some(function)) => cloud::measure(function, &scratch, args, &batches).await?,
        (None, None) => bail!("give a program or --function"),
    };
    if sizes.iter().all(|size| size.failed.is_some()) {
        let why = sizes.iter().find_map(|size| size.failed.clone()).unwrap_or_default();
        bail!("no size could be measured: {why}");
    }
    for size in sizes.iter_mut().filter(|size| size.failed.is_none()) {
        let batch = prices.lambda.usd(args.architecture, size.memory_mb, median(&size.batches_ms));
        size.usd_per_million_events = batch / args.records as f64 * 1e6;
        size.usd_per_gb = batch / payload_bytes as f64 * 1e9;
    }
    let sweep = Sweep {
        function,
        throttle,
        processors,
        records: args.records,
        payload_bytes,
        prices_of: prices.date.clone(),
        architecture: args.architecture.to_string(),
        sizes,
    };
    args.output.write(&sweep, &text::sweep(&sweep))?;
    Ok(ExitCode::SUCCESS)
}

/// One batch to begin with and the warm ones.
fn batches(args: &SweepArgs, lake: &ScratchLake) -> Result<Vec<Batch>> {
    let batches = Batches::new(lake.table.clone(), args.records, args.seed)?;
    let batches: Vec<Batch> = batches.take(args.batches as usize + 1).collect();
    match batches.iter().map(|batch| batch.event.len()).find(|bytes| *bytes > LARGEST_EVENT) {
        Some(bytes) => bail!(
            "a batch of {} records has {bytes} bytes, Lambda takes 6 MB; give fewer --records",
            args.records
        ),
        None => Ok(batches),
    }
}

/// What an invocation takes
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const LARGEST_EVENT: usize = 6 << 20;

type Measured = (String, String, u32, Vec<SweepSize>);

async fn here(program: &Path, args: &SweepArgs, batches: &[Batch]) -> Result<Measured> {
    if !program.is_file() {
        bail!(
            "there is no program {}; build the function with `cargo build --profile lambda -p weir-functions --bin \
             ingest` and give target/lambda/ingest",
            program.display()
        );
    }
    let throttle = Arc::new(Throttle::find()?);
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    let events: Vec<String> = batches.iter().map(|b| b.event.clone()).collect();
    let mut sizes = Vec::new();
    for &memory_mb in &args.memory {
        // A lake of its own for each size: the same batches are new ones there.
        let lake = ScratchLake::make(&args.table, &args.schemas).await?;
        let vcpu = f64::from(memory_mb) / MB_PER_VCPU;
        let given = vcpu.min(f64::from(processors));
        let mut command = lake.function(program);
        throttle.limit(given, &mut command)?;
        let holder = Arc::clone(&throttle);
        let hold = move |pid| holder.hold(given, pid);
        let events = events.clone();
        let started =
            host::off_thread(move |stop| host::start_held(&mut command, memory_mb, &events, stop, hold));
        sizes.push(match started.await? {
            Ok(start) => of_start(memory_mb, vcpu, &start),
            Err(problem) => failed(memory_mb, vcpu, problem.to_string()),
        });
    }
    Ok((program.display().to_string(), throttle.describe().to_owned(), processors, sizes))
}

fn of_start(memory_mb: u32, vcpu: f64, start: &host::Start) -> SweepSize {
    let ms = |d: &std::time::Duration| d.as_secs_f64() * 1e3;
    let warm: Vec<f64> = start.batches.iter().skip(1).map(ms).collect();
    let cpu: Vec<f64> = start.cpu.iter().skip(1).map(ms).collect();
    SweepSize {
        memory_mb,
        vcpu,
        first_poll_ms: ms(&start.first_poll()),
        first_batch_ms: start.batches.first().map_or(0.0, ms),
        cpu_ms: cpu.iter().sum::<f64>() / cpu.len().max(1) as f64,
        batches_ms: warm,
        resident_bytes: start.resident_bytes.last().copied().unwrap_or(0),
        usd_per_million_events: 0.0,
        usd_per_gb: 0.0,
        batch: batch_figures(&start.lines),
        failed: None,
    }
}

/// From the lines of the warm batches; none where the function writes none that it knows.
fn batch_figures(lines: &[String]) -> Option<BatchFigures> {
    let parsed = lines.iter().filter_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        value["files_count"].is_u64().then_some((line.len() as f64 + 1.0, value))
    });
    let warm: Vec<(f64, serde_json::Value)> = parsed.skip(1).collect();
    let mean = |pick: &dyn Fn(&serde_json::Value) -> &serde_json::Value| {
        warm.iter().filter_map(|(_, line)| pick(line).as_f64()).sum::<f64>() / warm.len() as f64
    };
    (!warm.is_empty()).then(|| BatchFigures {
        files: mean(&|line| &line["files_count"]),
        files_bytes: mean(&|line| &line["files_bytes"]),
        puts: mean(&|line| &line["requests"]["put_count"]),
        gets: mean(&|line| &line["requests"]["get_count"]),
        lists: mean(&|line| &line["requests"]["list_count"]),
        log_bytes: warm.iter().map(|(bytes, _)| bytes).sum::<f64>() / warm.len() as f64,
    })
}

fn failed(memory_mb: u32, vcpu: f64, why: String) -> SweepSize {
    let start = host::Start::default();
    SweepSize { failed: Some(why), ..of_start(memory_mb, vcpu, &start) }
}
