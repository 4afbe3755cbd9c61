//! The role that the local runtime starts: the deployed function's handler in a process of its own.

use std::process::ExitCode;

pub(super) fn run(name: &str) -> ExitCode {
    if name != "ingest" {
        eprintln!("weir: there is no function {name}; functions: ingest");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error.into()),
    };
    match runtime.block_on(weir_functions::ingest::run()) {
        Ok(()) => ExitCode::SUCCESS,
        // Already printed, as one line.
        Err(_) => ExitCode::FAILURE,
    }
}
