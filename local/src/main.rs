//! `weir`: the one-machine runtime and the command line. Data on stdout, talk on stderr; exit codes
//! 0 (done), 1 (failed), 2 (wrong usage).

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_local::cli::run()
}
