//! A Kinesis endpoint on loopback that any AWS SDK can put records to, and that keeps what it
//! acknowledged when the process is killed.
//!
//! `ferrokinesis` answers the requests; a gate in front of it keeps two promises that it does not:
//! a request is answered only after `journal` has it, and nobody reads while somebody
//! writes (sequence numbers are given out before records are stored, so that a reader could step
//! over a record that is about to appear).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use ferrokinesis::store::{Store, StoreOptions};
use ferrokinesis::types::StreamStatus;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{RwLock, oneshot};
use tokio::task::JoinHandle;
use weir::clock::Clock;

use super::journal::{Journal, JournalOptions};
use super::lock::FolderLock;
use super::poller::kinesis::Kinesis;

/// Account in the ARNs of the local runtime.
pub const ACCOUNT: &str = "000000000000";
/// Region in the ARNs of the local runtime.
pub const REGION: &str = "us-east-1";
/// How long a stream may take to come into being, and requests under way to be answered at the end.
const SETTLE: Duration = Duration::from_secs(10);

/// A PutRecords request may carry 10 MiB of data (Kinesis quota), in base64.
const MAX_REQUEST_BYTES: usize = 16 << 20;

/// Small enough for any disk, large enough that a stream of a few megabytes is never copied.
pub const COMPACT_FROM_BYTES: u64 = 64 << 20;

/// How to run the endpoint.
#[derive(Clone)]
pub struct EndpointConfig {
    /// Folder of the journal; one process at a time.
    pub state_dir: PathBuf,
    /// Port on 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// Throttle as Kinesis does: 1 MiB/s and 1,000 records/s a shard.
    pub enforce_limits: bool,
    /// Flush the disk before every acknowledgement, so that it survives a power cut and not only
    /// the end of the process.
    pub sync: bool,
    /// A journal smaller than this is never written anew; a larger one stays within twice what the
    /// streams hold.
    pub compact_from_bytes: u64,
    /// The clock for the retention of records.
    pub clock: Arc<dyn Clock>,
}

/// A running endpoint. Dropping it closes it.
pub struct Endpoint {
    address: SocketAddr,
    kinesis: Kinesis,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
    _lock: FolderLock,
}

impl Endpoint {
    /// Take the folder, read its journal, listen.
    pub async fn start(config: EndpointConfig) -> anyhow::Result<Self> {
        let lock = FolderLock::take(&config.state_dir)?;
        let (app, store) = ferrokinesis::create_app(StoreOptions {
            create_stream_ms: 0,
            delete_stream_ms: 0,
            update_stream_ms: 0,
            shard_limit: 500,
            retention_check_interval_secs: 60,
            enforce_limits: config.enforce_limits,
            aws_account_id: ACCOUNT.to_owned(),
            aws_region: REGION.to_owned(),
            ..StoreOptions::default()
        });
        let now_s = config.clock.now().millis() as f64 / 1_000.0;
        let options = JournalOptions { sync: config.sync, compact_from_bytes: config.compact_from_bytes };
        let journal = Journal::open(&config.state_dir.join("stream.journal"), &store, now_s, options).await?;
        let gate = Arc::new(Gate { store, journal: RwLock::new(journal) });
        let app = app.layer(from_fn_with_state(gate, pass)).layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES));
        let listener =
            TcpListener::bind(("127.0.0.1", config.port.unwrap_or(0))).await.with_context(|| {
                format!("could not listen on 127.0.0.1:{}; choose another port", config.port.unwrap_or(0))
            })?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
        let server = axum::serve(listener, app).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let server = tokio::spawn(server.into_future());
        let kinesis = Kinesis::new(&format!("http://{address}"))?;
        Ok(Self { address, kinesis, stop: Some(stop), server, _lock: lock })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of it.
    pub fn client(&self) -> &Kinesis {
        &self.kinesis
    }

    /// Make the stream unless it is there; its ARN.
    pub async fn ensure_stream(&self, name: &str, shards: u32) -> anyhow::Result<String> {
        match self.kinesis.describe(name).await {
            Ok(stream) => return Ok(stream.stream_arn),
            Err(error) if error.kind == "ResourceNotFoundException" => {}
            Err(error) => return Err(error.into()),
        }
        self.kinesis.call("CreateStream", &json!({"StreamName": name, "ShardCount": shards})).await?;
        let stream = self.kinesis.describe(name).await?;
        if stream.stream_status != "ACTIVE" {
            bail!("stream {name} did not become active within {SETTLE:?}: {}", stream.stream_status);
        }
        Ok(stream.stream_arn)
    }

    /// Answer what is under way (ten seconds at most) and close.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let _ = tokio::time::timeout(SETTLE, &mut self.server).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Gate {
    store: Store,
    journal: RwLock<Journal>,
}

/// What a request does to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Put,
    Manage,
}

fn kind(request: &Request) -> Kind {
    let target = request.headers().get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    match target.rsplit('.').next().unwrap_or_default() {
        "PutRecord" | "PutRecords" => Kind::Put,
        operation if operation.starts_with("Get") || operation.starts_with("List") => Kind::Read,
        operation if operation.starts_with("Describe") || operation.starts_with("Subscribe") => Kind::Read,
        "" => Kind::Read,
        _ => Kind::Manage,
    }
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let kind = kind(&request);
    if kind == Kind::Read {
        let _nobody_writes = gate.journal.read().await;
        return next.run(request).await;
    }
    // On its own task: a producer that hangs up must not part the store from the journal.
    let written = tokio::spawn(async move {
        let mut journal = gate.journal.write().await;
        let response = next.run(request).await;
        if kind == Kind::Manage {
            settle(&gate.store).await;
        }
        match journal.append_changes(&gate.store).await {
            Ok(()) => response,
            Err(error) => not_written(&error),
        }
    });
    written.await.unwrap_or_else(|error| not_written(&error.into()))
}

/// Wait until no stream is between two states, so that what was asked for is done, and written
/// down, when it is acknowledged.
async fn settle(store: &Store) {
    let settled = async {
        loop {
            let mut moving = false;
            for name in store.list_stream_names().await {
                let stream = store.get_stream(&name).await;
                moving |= stream.is_ok_and(|s| s.stream_status != StreamStatus::Active);
            }
            if !moving {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(SETTLE, settled).await;
}

fn not_written(error: &anyhow::Error) -> Response {
    let body = json!({"__type": "InternalFailure", "message": format!("{error:#}")});
    let headers = [("content-type", "application/x-amz-json-1.1")];
    (StatusCode::INTERNAL_SERVER_ERROR, headers, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::poller::kinesis::From;
    use std::io::Write;
    use weir::clock::SystemClock;

    fn config(folder: &std::path::Path) -> EndpointConfig {
        EndpointConfig {
            state_dir: folder.to_owned(),
            port: None,
            enforce_limits: false,
            sync: false,
            compact_from_bytes: COMPACT_FROM_BYTES,
            clock: Arc::new(SystemClock),
        }
    }

    async fn put(kinesis: &Kinesis, from: usize, count: usize) {
        let records: Vec<_> = (from..from + count)
            .map(|n| json!({"PartitionKey": format!("k{n}"), "Data": base64_simd::STANDARD.encode_to_string(n.to_string())}))
            .collect();
        let answer =
            kinesis.call("PutRecords", &json!({"StreamName": "clicks", "Records": records})).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["FailedRecordCount"], 0);
    }

    async fn read_all(kinesis: &Kinesis) -> Vec<(String, String, String)> {
        let mut all = Vec::new();
        for shard in kinesis.list_shards("clicks").await.unwrap() {
            let iterator = kinesis.iterator("clicks", &shard.shard_id, &From::TrimHorizon).await.unwrap();
            let got = kinesis.get_records(&iterator, 10_000).await.unwrap();
            let records = got.records.into_iter();
            all.extend(records.map(|r| (shard.shard_id.clone(), r.sequence_number, r.data)));
        }
        all
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_acknowledged_is_there_after_a_restart_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start(config(folder.path())).await.unwrap();
        let arn = endpoint.ensure_stream("clicks", 2).await.unwrap();
        assert_eq!(arn, "arn:aws:kinesis:us-east-1:000000000000:stream/clicks");
        put(endpoint.client(), 0, 300).await;
        let split = json!({"StreamName": "clicks", "ShardToSplit": "shardId-000000000000",
            "NewStartingHashKey": "85070591730234615865843651857942052864"});
        endpoint.client().call("SplitShard", &split).await.unwrap();
        put(endpoint.client(), 300, 300).await;
        let before = read_all(endpoint.client()).await;
        assert_eq!(before.len(), 600);
        let created = endpoint.client().describe("clicks").await.unwrap().stream_creation_timestamp;
        // Dropped without a word, as by a kill; the journal is cut off in its last line.
        drop(endpoint);
        let journal = folder.path().join("stream.journal");
        std::fs::File::options()
            .append(true)
            .open(&journal)
            .unwrap()
            .write_all(b"0123abcd {\"put\"")
            .unwrap();

        tokio::time::sleep(Duration::from_millis(50)).await;
        let endpoint = Endpoint::start(config(folder.path())).await.unwrap();
        endpoint.ensure_stream("clicks", 2).await.unwrap();
        assert_eq!(endpoint.client().describe("clicks").await.unwrap().stream_creation_timestamp, created);
        assert_eq!(read_all(endpoint.client()).await, before);
        assert_eq!(endpoint.client().list_shards("clicks").await.unwrap().len(), 4);
        put(endpoint.client(), 600, 300).await;
        let after = read_all(endpoint.client()).await;
        assert_eq!(after.len(), 900);
        let newest = |all: &[(String, String, String)], shard: &str| {
            all.iter().filter(|r| r.0 == shard).map(|r| r.1.clone()).collect::<Vec<_>>()
        };
        for shard in ["shardId-000000000001", "shardId-000000000002", "shardId-000000000003"] {
            let (old, new) = (newest(&before, shard), newest(&after, shard));
            assert_eq!(new[..old.len()], old, "{shard}");
            assert!(new.len() > old.len() && new.is_sorted(), "{shard}");
        }
        endpoint.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_journal_forgets_what_the_stream_has_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let config = EndpointConfig { compact_from_bytes: 40_000, ..config(folder.path()) };
        let endpoint = Endpoint::start(config.clone()).await.unwrap();
        endpoint.ensure_stream("clicks", 2).await.unwrap();
        put(endpoint.client(), 0, 50).await;
        let journal = folder.path().join("stream.journal");
        let data = base64_simd::STANDARD.encode_to_string("x".repeat(3_000));
        let mut largest = 0;
        for round in 0..40 {
            endpoint.ensure_stream("short", 1).await.unwrap();
            let record = json!({"PartitionKey": "k", "Data": data});
            let body = json!({"StreamName": "short", "Records": [record, record, record]});
            endpoint.client().call("PutRecords", &body).await.unwrap();
            put(endpoint.client(), 50 + round, 1).await;
            largest = largest.max(std::fs::metadata(&journal).unwrap().len());
            endpoint.client().call("DeleteStream", &json!({"StreamName": "short"})).await.unwrap();
        }
        // 40 rounds wrote 500 KB.
        assert!(largest < 100_000, "{largest}");
        let before = read_all(endpoint.client()).await;
        assert_eq!(before.len(), 90);
        drop(endpoint);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let endpoint = Endpoint::start(config).await.unwrap();
        assert_eq!(read_all(endpoint.client()).await, before);
        put(endpoint.client(), 90, 10).await;
        let after = read_all(endpoint.client()).await;
        let sequences: std::collections::HashSet<_> = after.iter().map(|r| (&r.0, &r.1)).collect();
        assert_eq!((after.len(), sequences.len()), (100, 100));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_function_hears_of_a_stream_made_again_within_a_minute() {
        use weir::clock::EpochMicros;
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start(config(folder.path())).await.unwrap();
        let arn = endpoint.ensure_stream("clicks", 1).await.unwrap();
        let aws = weir_functions::context::AwsSettings(vec![
            ("AWS_ENDPOINT_URL_KINESIS", endpoint.url()),
            ("AWS_ACCESS_KEY_ID", "x".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "x".to_owned()),
        ]);
        let mut identities = weir_functions::identity::StreamIdentities::of_the_stream(aws);
        let at = |seconds: i64| EpochMicros(seconds * 1_000_000);
        let first = identities.of(&arn, at(0)).await.unwrap();
        let created = endpoint.client().describe("clicks").await.unwrap().stream_creation_timestamp;
        assert_eq!(first, format!("{:.0}", created * 1_000.0));
        endpoint.client().call("DeleteStream", &json!({"StreamName": "clicks"})).await.unwrap();
        // Nobody to ask: what is known serves for ten minutes.
        assert_eq!(identities.of(&arn, at(61)).await.unwrap(), first);
        assert!(identities.of(&arn, at(700)).await.unwrap_err().retryable());
        // The endpoint's times are whole seconds.
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        endpoint.ensure_stream("clicks", 1).await.unwrap();
        assert_eq!(identities.of(&arn, at(59)).await.unwrap(), first);
        let second = identities.of(&arn, at(61)).await.unwrap();
        assert_ne!(second, first);
        endpoint.stop().await;
        // Not asked again within the minute.
        assert_eq!(identities.of(&arn, at(120)).await.unwrap(), second);
    }

    #[tokio::test]
    async fn a_full_request_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::start(config(folder.path())).await.unwrap();
        endpoint.ensure_stream("clicks", 1).await.unwrap();
        let data = base64_simd::STANDARD.encode_to_string("x".repeat(10_000));
        let records: Vec<_> =
            (0..500).map(|n| json!({"PartitionKey": format!("k{n}"), "Data": data})).collect();
        let body = json!({"StreamName": "clicks", "Records": records});
        endpoint.client().call("PutRecords", &body).await.unwrap();
        assert_eq!(read_all(endpoint.client()).await.len(), 500);
    }

    #[tokio::test]
    async fn a_damaged_journal_is_not_read_past_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("stream.journal"), "00000000 {}\n00000000 {}\n").unwrap();
        let error = Endpoint::start(config(folder.path())).await.err().unwrap().to_string();
        assert!(error.contains("damaged at byte 0") && error.contains("move it away"), "{error}");
    }

    #[tokio::test]
    async fn two_endpoints_on_one_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Endpoint::start(config(folder.path())).await.unwrap();
        let error = Endpoint::start(config(folder.path())).await.err().unwrap().to_string();
        assert!(error.contains("in use by process"), "{error}");
    }
}
