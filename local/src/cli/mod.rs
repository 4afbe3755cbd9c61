//! The commands, one module each.

mod args;
mod close;
mod demo;
mod files;
mod follow;
mod function;
mod ingest;
mod jobs;
mod lake;
mod output;
mod quarantine;
mod query;
mod status;
mod tables;
mod up;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Parse the arguments and run the command.
pub fn run() -> ExitCode {
    // `weir query … | head` ends quietly, as other tools do.
    // SAFETY: sets a signal's disposition before any thread is started.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let cli = Cli::parse();
    if let Command::Function { name } = &cli.command {
        return function::run(name);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let global = &cli.global;
    let done = match &cli.command {
        Command::Demo(args) => runtime.block_on(demo::run(global, args)),
        Command::Up(args) => runtime.block_on(up::run(global, args)),
        Command::Ingest(args) => ingest::run(global, args, &runtime),
        Command::Query(args) => runtime.block_on(query::run(global, args)),
        Command::Tables(args) => runtime.block_on(tables::run(global, args)),
        Command::Jobs(args) => runtime.block_on(jobs::run(global, args)),
        Command::Files(args) => runtime.block_on(files::run(global, args)),
        Command::Status(args) => runtime.block_on(status::run(global, args)),
        Command::Verify(args) => runtime.block_on(verify::run(global, args)),
        Command::Close(args) => runtime.block_on(close::run(global, args)),
        Command::Quarantine(args) => runtime.block_on(quarantine::run(global, args)),
        Command::Function { .. } => Ok(ExitCode::SUCCESS),
    };
    runtime.shutdown_background();
    done.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("weir: {error:#}");
    ExitCode::FAILURE
}
