//! What the command line takes.

use clap::{Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::cold::ColdArgs;
use crate::compare::CompareArgs;
use crate::cost::CostArgs;
use crate::report::ReportArgs;
use crate::run::{CheckArgs, RunArgs};
use crate::sweep::SweepArgs;

/// What Weir does under load: throughput, latency, and whether every event is in the lake once.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXAMPLES: &str = "Examples (beside `weir up --table clickstream --no-limits`):
  loadgen run --endpoint http://127.0.0.1:4567 --rate 5000/s --for 30s
  loadgen run --endpoint http://127.0.0.1:4567 --rate \"0..20000/s over 60s\" --aggregate
  loadgen run --endpoint http://127.0.0.1:4567 --find-max --within 2s
  loadgen run --target invoke --program target/lambda/ingest --rate 20000/s --for 30s
  loadgen run --target dynamodb --stream orders --table orders_changes --for 30s
  loadgen run --stream clicks --lake s3://bucket/lake --rate 1000/s --for 10m    a real stream
  loadgen cold target/lambda/ingest --baseline target/lambda/empty_function
  loadgen sweep target/lambda/ingest --out sweep.json && loadgen cost --sweep sweep.json
  loadgen report run.json sweep.json --html report.html";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put events at a rate, follow them into the lake, and check that each is there once
    Run(Box<RunArgs>),
    /// Check the lake again for the events of a run: later, after a close, or in a copy
    Check(Box<CheckArgs>),
    /// Start a function fresh many times: process, init, first and second batch, memory
    Cold(Box<ColdArgs>),
    /// Run the same batches at many memory sizes: time, and cost of a million events and of a GB
    Sweep(Box<SweepArgs>),
    /// What a GB and a million events cost, beside Firehose and Glue streaming
    Cost(Box<CostArgs>),
    /// Results as one page with charts that needs nothing but a browser
    Report(ReportArgs),
    /// What the generator itself costs on one core
    Bench(BenchArgs),
    /// What got better or worse between two results, and whether by more than noise
    Compare(CompareArgs),
}
