//! The Lambda function `ingest`: Kinesis events → partitioned Parquet.

#[path = "../mathematics.rs"]
mod mathematics;

use std::process::ExitCode;

use weir_functions::{ingest, lake};

fn main() -> ExitCode {
    ingest::run_ingest(lake::connect)
}
