//! The role that the local runtime starts: the deployed function's handler in a process of its own.

use std::process::ExitCode;

pub(super) fn run(name: &str) -> ExitCode {
    if name != "ingest" {
        eprintln!("weir: there is no function {name}; functions: ingest");
        return ExitCode::from(2);
    }
    weir_functions::ingest::run_ingest(weir_functions::lake::connect)
}
