//! The commands, one module each.

mod args;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Parse the arguments and run the command.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let done = match &cli.command {
        Command::Run(args) => runtime.block_on(crate::run::run(args)),
        Command::Check(args) => runtime.block_on(crate::run::check(args)),
        Command::Cold(args) => runtime.block_on(crate::cold::run(args)),
        Command::Sweep(args) => runtime.block_on(crate::sweep::run(args)),
        Command::Cost(args) => crate::cost::run(args),
        Command::Report(args) => crate::report::run(args),
        Command::Bench(args) => crate::bench::run(args),
        Command::Compare(args) => Ok(crate::compare::run(args)),
    };
    runtime.shutdown_background();
    done.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("loadgen: {error:#}");
    ExitCode::FAILURE
}
