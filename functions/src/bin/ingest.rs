//! The Lambda function `ingest`: Kinesis events → partitioned Parquet.

use std::process::ExitCode;

use weir_functions::{ingest, lake};

fn main() -> ExitCode {
    ingest::run_ingest(lake::connect)
}
