//! A mapping of a stream that lives elsewhere to a hosted function: the runtime without an endpoint
//! of its own.

use std::sync::Arc;
use std::time::Duration;

use super::function::FunctionHost;
use super::lock::FolderLock;
use super::poller::{Poller, Status};
use super::{HostedFunction, UpConfig};

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
    let host = config.host(&function, config.shards as usize)?;
    host.warm().await?;
    let host = Arc::new(host);
    let poller = config.poller(endpoint.to_owned())?;
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
