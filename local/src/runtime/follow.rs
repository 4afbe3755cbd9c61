//! A mapping of a stream that lives elsewhere to a hosted function: the runtime without an endpoint
//! of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::function::{FunctionConfig, FunctionHost};
use super::lock::FolderLock;
use super::poller::{Destination, Poller, PollerConfig, Status};
use super::{ACCOUNT, HostedFunction, REGION, UpConfig, status_file};

/// It runs until it is stopped; dropped, all of it ends at once.
pub struct Following {
    // In the order in which they must end.
    poller: Poller,
    _function: Arc<FunctionHost>,
    grace: Duration,
    _lock: FolderLock,
}

/// Host the function and deliver to it what the stream at `endpoint` holds.
///
/// # Errors
/// A stream that is not there, a function that does not start, a state folder that another process
/// uses.
pub async fn follow(config: UpConfig, endpoint: &str, function: HostedFunction) -> anyhow::Result<Following> {
    config.mapping.check()?;
    let lock = FolderLock::take(&config.state_dir)?;
    let host = FunctionHost::new(FunctionConfig {
        name: config.mapping.function.clone(),
        arn: format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", config.mapping.function),
        program: function.program,
        memory_mb: function.memory_mb,
        timeout: function.timeout,
        init_timeout: Duration::from_secs(10),
        concurrency: function.concurrency.unwrap_or(config.shards as usize),
        log_file: Some(config.state_dir.join("function.log")),
        verbose: function.verbose,
        clock: config.clock.clone(),
    })?;
    host.warm().await?;
    let host = Arc::new(host);
    let destination = match config.destination {
        Some(destination) => destination,
        None => Destination::folder(config.state_dir.join("failed"))
            .context("could not make the folder for batches that are given up")?,
    };
    let poller = PollerConfig {
        endpoint: endpoint.to_owned(),
        mapping: config.mapping,
        state_dir: config.state_dir.join("poller"),
        status_file: status_file(&config.state_dir),
        destination,
        clock: config.clock,
        report: config.report,
    };
    let poller = Poller::start(poller, host.clone()).await?;
    Ok(Following { poller, _function: host, grace: function.timeout + Duration::from_secs(1), _lock: lock })
}

impl Following {
    /// How it stands, shard by shard.
    pub fn status(&self) -> Status {
        self.poller.status()
    }

    /// Let invocations under way end, then stop everything.
    pub async fn stop(self) {
        self.poller.stop(self.grace).await;
    }
}
