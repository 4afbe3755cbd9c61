//! The Lambda function `close`: complete partitions → one revision each, and what waits for them.

#[path = "../mathematics.rs"]
mod mathematics;

use std::process::ExitCode;

use weir_functions::close::{run_close, services};

fn main() -> ExitCode {
    run_close(services)
}
