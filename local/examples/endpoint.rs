//! The embedded Kinesis endpoint by itself, with no function behind it: what `bench/load.sh endpoint`
//! sends to, as fast as it takes records. `endpoint PORT STATE_FOLDER STREAM SHARDS`

use std::sync::Arc;

use anyhow::Context;
use weir::clock::SystemClock;
use weir_local::runtime::endpoint::{COMPACT_FROM_BYTES, Endpoint, EndpointConfig};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, folder, stream, shards] = arguments.as_slice() else {
        anyhow::bail!("endpoint PORT STATE_FOLDER STREAM SHARDS");
    };
    let endpoint = Endpoint::start(EndpointConfig {
        state_dir: folder.into(),
        port: Some(port.parse().context("PORT")?),
        enforce_limits: false,
        sync: false,
        compact_from_bytes: COMPACT_FROM_BYTES,
        clock: Arc::new(SystemClock),
    })
    .await?;
    endpoint.ensure_stream(stream, shards.parse().context("SHARDS")?).await?;
    println!("{}; Ctrl-C stops it", endpoint.url());
    tokio::signal::ctrl_c().await?;
    endpoint.stop().await;
    Ok(())
}
