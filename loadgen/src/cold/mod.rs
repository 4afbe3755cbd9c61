//! `loadgen cold`: what a fresh process costs, from its start to its second batch.
//!
//! On this machine each program is started N times behind a Runtime API, in turn and in an order that
//! rotates, so that neither the state of the caches nor a change of the machine's speed is one
//! program's alone. In the cloud new environments are forced by a change of the environment, and the
//! service's own REPORT lines are read.

mod cloud;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::batch::Batches;
use crate::host;
use crate::report::model::{Cold, ColdFunction, ColdPlace, ColdStart};
use crate::report::{self, text};
use crate::scratch::ScratchLake;
use crate::target::AwsArgs;

/// `loadgen cold`
#[derive(Debug, Args)]
#[command(mut_arg("endpoint", crate::function::endpoint))]
pub struct ColdArgs {
    /// Programs to start here, each a function's binary (`target/lambda/ingest`)
    #[arg(required_unless_present = "function")]
    pub(crate) programs: Vec<PathBuf>,
    /// Compare with this program, started in turn with the others
    #[arg(long)]
    pub(crate) baseline: Option<PathBuf>,
    /// A function in the cloud instead of programs here
    #[arg(long, conflicts_with_all = ["programs", "baseline"])]
    pub(crate) function: Option<String>,
    /// What the function in the cloud is invoked with, a file; an event without records if not given,
    /// since any other is written into its tables
    #[arg(long, requires = "function")]
    pub(crate) payload: Option<PathBuf>,
    /// Starts of each
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) runs: u32,
    /// Batches for each start
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) batches: u32,
    /// Records of a batch
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) records: u64,
    /// Table of the events, in a lake that is made for the measurement and removed
    #[arg(long, default_value = "clickstream")]
    pub(crate) table: String,
    /// Folder of table definitions
    #[arg(long, env = "WEIR_SCHEMAS", default_value = "schemas")]
    pub(crate) schemas: PathBuf,
    /// Seed of the events
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
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
/// A program that cannot be started or fails a batch; a function that cannot be reached.
pub async fn run(args: &ColdArgs) -> Result<ExitCode> {
    let cold = match &args.function {
        Some(function) => cloud::measure(function, args).await?,
        None => measure_here(args).await?,
    };
    args.output.write(&cold, &text::cold(&cold))?;
    Ok(ExitCode::SUCCESS)
}

async fn measure_here(args: &ColdArgs) -> Result<Cold> {
    let programs: Vec<&PathBuf> = args.baseline.iter().chain(&args.programs).collect();
    for program in &programs {
        if !program.is_file() {
            bail!(
                "there is no program {}; build the function with `cargo build --profile lambda -p weir-functions \
                 --bin ingest` and give target/lambda/ingest",
                program.display()
            );
        }
    }
    let lakes = {
        let mut lakes = Vec::new();
        for _ in &programs {
            lakes.push(ScratchLake::make(&args.table, &args.schemas).await?);
        }
        lakes
    };
    let mut batches = Batches::new(lakes[0].table.clone(), args.records, args.seed)?;
    let mut functions: Vec<ColdFunction> = programs
        .iter()
        .map(|program| ColdFunction { name: program.display().to_string(), starts: Vec::new() })
        .collect();
    for run in 0..args.runs as usize {
        let events: Vec<String> = (0..args.batches).filter_map(|_| batches.next()).map(|b| b.event).collect();
        for turn in 0..programs.len() {
            let i = (run + turn) % programs.len();
            let mut command = lakes[i].function(programs[i]);
            let events = events.clone();
            let start =
                host::off_thread(move |stop| host::start_held(&mut command, 1_769, &events, stop, |_| ()));
            let start = start.await?;
            let start = start.with_context(|| format!("could not measure {}", programs[i].display()))?;
            functions[i].starts.push(of_start(&start));
        }
    }
    Ok(Cold { place: ColdPlace::Here, records: args.records, baseline: args.baseline.is_some(), functions })
}

fn of_start(start: &host::Start) -> ColdStart {
    let ms = |d: &Duration| d.as_secs_f64() * 1e3;
    ColdStart {
        process_ms: Some(ms(&start.process)),
        init_ms: ms(&start.init),
        batches_ms: start.batches.iter().map(ms).collect(),
        billed_ms: None,
        billed_start_ms: None,
        restore_ms: None,
        resident_bytes: start.resident_bytes.clone(),
    }
}
