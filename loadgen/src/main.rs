//! `loadgen`: load, latency and truth, cold starts, memory and cost.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_loadgen::cli::run()
}
