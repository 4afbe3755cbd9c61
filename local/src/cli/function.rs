//! The role that the local runtime starts: the deployed function's handler in a process of its own.

use std::process::ExitCode;
use std::sync::Arc;

pub(super) fn run(name: &str) -> ExitCode {
    match name {
        "ingest" => weir_functions::ingest::run_ingest(weir_functions::lake::connect),
        "close" => weir_functions::close::run_close(async |_| {
            Ok(Arc::new(weir_functions::close::NoServices) as Arc<dyn weir::close::Actions>)
        }),
        _ => {
            eprintln!("weir: there is no function {name}; functions: ingest, close");
            ExitCode::from(2)
        }
    }
}
