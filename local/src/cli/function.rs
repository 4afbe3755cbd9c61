//! The role that the local runtime starts: the deployed function's handler in a process of its own.

use std::process::ExitCode;

pub(super) fn run(name: &str) -> ExitCode {
    match name {
        "ingest" => weir_functions::ingest::run_ingest(weir_functions::lake::connect),
        "close" => weir_functions::close::run_close(weir_functions::close::services),
        _ => {
            eprintln!("weir: there is no function {name}; functions: ingest, close");
            ExitCode::from(2)
        }
    }
}
