//! The Lambda function `ingest`: Kinesis events → partitioned Parquet.

use std::process::ExitCode;

use weir_functions::ingest;

fn main() -> ExitCode {
    ingest::run_ingest(ingest::connect)
}
