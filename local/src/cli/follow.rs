//! `weir up --dynamodb-stream ARN --endpoint URL`: the function and its mapping of a stream that is
//! served elsewhere on this machine, until stopped.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::closing::{LocalStream, Scheduler};
use crate::runtime::poller::dynamodb::is_dynamodb_stream;
use crate::runtime::{HostedFunction, follow};

use super::args::{Global, UpArgs};
use super::close::{Here, closing};
use super::lake::Lake;
use super::up::{StopSignals, held_back, program, settings};

/// Functions at a time: a DynamoDB stream has few open shards on one machine.
const CONCURRENCY: usize = 4;
/// Only in a tumbling window does an event name its shard (docs/OPERATIONS.md).
const WINDOW: Duration = Duration::from_secs(60);

pub(super) async fn run(global: &Global, args: &UpArgs, stream: &str, endpoint: &str) -> Result<ExitCode> {
    if !is_dynamodb_stream(stream) {
        bail!(
            "{stream} is no ARN of a DynamoDB stream; `aws dynamodb describe-table` names it as LatestStreamArn, \
             arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL"
        );
    }
    let lake = Lake::open(global)?;
    lake.ensure_tables(global, &args.tables).await?;
    let mut config = settings(args, stream)?;
    let table = stream.split('/').nth(1).unwrap_or_default();
    config.mapping.name = format!("{table}-ingest");
    if args.parallelization_factor == 1 {
        config.mapping.policy.tumbling_window.get_or_insert(WINDOW);
    }
    let mut function = HostedFunction::new(program(&lake, &args.tables, &args.state)?);
    function.verbose = global.verbose;
    function.concurrency = Some(CONCURRENCY);
    let held_back = held_back(args, &config);
    let following = follow(config, endpoint, function).await?;
    let scheduler = match args.close_every.is_zero() {
        true => None,
        false => {
            let failed = || args.state.join("failed").to_string_lossy().into_owned();
            let failures = Some(args.on_failure.clone().unwrap_or_else(failed));
            let streams = [LocalStream::dynamodb(endpoint, stream, (failures, held_back))];
            let here = Here { state: &args.state, grace: args.grace, say: |line| eprintln!("{line}") };
            let closing = closing((global, &lake), &streams, &args.tables, &here).await?;
            Some(Scheduler::start(closing, args.close_every, |line| eprintln!("{line}")))
        }
    };
    let mut signals = StopSignals::listen()?;
    println!("stream  {stream} -> table {}", args.tables.join(", "));
    println!("lake    {}", lake.url);
    println!("Ctrl-C stops; nothing is lost.");
    signals.next().await;
    eprintln!("stopping: batches under way end first; press Ctrl-C again to stop at once");
    let stop = async {
        if let Some(scheduler) = scheduler {
            scheduler.stop().await;
        }
        following.stop().await;
    };
    tokio::select! {
        () = stop => Ok(ExitCode::SUCCESS),
        () = signals.next() => Ok(ExitCode::from(130)),
    }
}
