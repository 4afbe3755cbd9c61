//! `loadgen sweep`: the same recorded batches at each memory size, what they take and what they cost.

mod throttle;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use weir::clock::{Clock, SystemClock};

use crate::batch::{Batch, Batches};
use crate::cold::Configured;
use crate::cost::{Architecture, Prices};
use crate::host;
use crate::report::model::{Sweep, SweepSize};
use crate::report::stats::median;
use crate::report::{self, text};
use crate::scratch::ScratchLake;
use crate::target::AwsArgs;

use throttle::{MB_PER_VCPU, Throttle};

/// `loadgen sweep`
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// Program to start here: a function's binary (`target/lambda/ingest`)
    #[arg(required_unless_present = "function")]
    pub(crate) program: Option<PathBuf>,
    /// A function in the cloud instead; it must write into a scratch lake, since the batches are
    /// written where its settings say
    #[arg(long, conflicts_with = "program")]
    pub(crate) function: Option<String>,
    /// The function's lake is a scratch lake: what is written there may be thrown away
    #[arg(long, requires = "function")]
    pub(crate) scratch_lake: bool,
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
    #[command(flatten)]
    pub(crate) aws: AwsArgs,
}

/// Measure and print.
///
/// # Errors
/// No size could be measured; a function that cannot be reached.
pub async fn run(args: &SweepArgs) -> Result<ExitCode> {
    let prices = Prices::read(args.prices.as_deref())?;
    let lake = ScratchLake::make(&args.table, &args.schemas).await?;
    let batches: Vec<Batch> =
        Batches::new(lake.table.clone(), args.records, args.seed)?.take(args.batches as usize + 1).collect();
    let payload_bytes = batches.iter().map(|b| b.payload_bytes).sum::<u64>() / batches.len() as u64;
    let (function, throttle, processors, mut sizes) = match (&args.program, &args.function) {
        (Some(program), _) => {
            drop(lake);
            here(program, args, &batches).await?
        }
        (None, Some(function)) => cloud(function, args, &batches).await?,
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
    if let Some(large) = events.iter().find(|event| event.len() > 6 << 20) {
        bail!(
            "a batch of {} records has {} bytes, Lambda takes 6 MB; give fewer --records",
            args.records,
            large.len()
        );
    }
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
        failed: None,
    }
}

fn failed(memory_mb: u32, vcpu: f64, why: String) -> SweepSize {
    let start = host::Start::default();
    SweepSize { failed: Some(why), ..of_start(memory_mb, vcpu, &start) }
}

async fn cloud(function: &str, args: &SweepArgs, batches: &[Batch]) -> Result<Measured> {
    if !args.scratch_lake {
        bail!(
            "{function} writes the batches into its lake; point it at a scratch lake (WEIR_LAKE), then say \
             --scratch-lake"
        );
    }
    let configured = Configured::read(function, &args.aws).await?;
    let measured = tokio::select! {
        measured = sizes_of(&configured, args, batches) => measured,
        stop = tokio::signal::ctrl_c() => {
            stop.map_err(Into::into).and_then(|()| bail!("stopped; the function is put back"))
        }
    };
    configured.restore().await?;
    Ok((function.to_owned(), "Lambda".to_owned(), 0, measured?))
}

async fn sizes_of(configured: &Configured, args: &SweepArgs, batches: &[Batch]) -> Result<Vec<SweepSize>> {
    let begun = SystemClock.now();
    let mut sizes = Vec::new();
    for (round, &memory_mb) in args.memory.iter().enumerate() {
        configured.set(Some(&round.to_string()), memory_mb as i32).await?;
        let mut reports = Vec::new();
        for (i, batch) in batches.iter().enumerate() {
            // Another shard for each size and each sweep: the same records would be redeliveries.
            let shard = format!("shardId-{:09}{round:03}", begun.millis() % 1_000_000_000);
            let event = batch.event.replace("shardId-000000000000", &shard);
            let invoked = configured.invoke(event.as_bytes()).await;
            reports.push(invoked.with_context(|| format!("batch {} at {memory_mb} MB", i + 1))?.report);
        }
        let Some(first) = reports.first() else { continue };
        sizes.push(SweepSize {
            memory_mb,
            vcpu: f64::from(memory_mb) / MB_PER_VCPU,
            first_poll_ms: first.init_ms.unwrap_or(0.0),
            first_batch_ms: first.duration_ms,
            batches_ms: reports.iter().skip(1).map(|r| r.duration_ms).collect(),
            cpu_ms: 0.0,
            resident_bytes: u64::from(reports.iter().map(|r| r.max_memory_mb).max().unwrap_or(0)) << 20,
            usd_per_million_events: 0.0,
            usd_per_gb: 0.0,
            failed: None,
        });
    }
    Ok(sizes)
}
