//! Close on one machine: the lake's closer, the embedded endpoint as its stream, a folder's file as
//! the event bus.

mod services;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir::catalog::Catalog;
use weir::clock::{Clock, EpochMicros, SystemClock};
use weir::close::{ClosedRevision, Closer, CurrentView, Report, Run, Settings, Stream, StreamingCompact};
use weir::commit::LakeStore;
use weir::naming::stream_key;
use weir::partition::PartitionPath;
use weir_functions::close::{Failures, open_stream, stream_name};
use weir_functions::context::{AwsSettings, process_env, store_options};

use crate::runtime::poller::dynamodb::is_dynamodb_stream;
use crate::runtime::read_status;

pub use services::LocalServices;

/// How long one run may take.
const BUDGET: Duration = Duration::from_secs(14 * 60);
/// Streams and store of one machine go by one clock.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a run under way may take to end when everything stops.
const PATIENCE: Duration = Duration::from_secs(20);

/// The stream of an embedded endpoint.
#[derive(Debug, Clone)]
pub struct LocalStream {
    /// URL of the endpoint.
    pub endpoint: String,
    /// ARN.
    pub arn: String,
    /// What tells it from one made again under its name.
    pub identity: String,
    /// Folder or address of given-up batches.
    pub failures: Option<String>,
    /// With lanes: how long the mapping may hold a record back.
    pub held_back: Option<Duration>,
}

impl LocalStream {
    /// The stream of `weir up`, if it runs with this state folder now.
    pub fn running(state: &Path) -> Result<Option<Self>> {
        let Some(status) = read_status(state)?.filter(|status| status.is_running(SystemClock.now())) else {
            return Ok(None);
        };
        let failures = Some(state.join("failed").to_string_lossy().into_owned());
        if is_dynamodb_stream(&status.stream) {
            return Ok(Some(Self::dynamodb(&status.endpoint, &status.stream, (failures, None))));
        }
        let file = state.join("stream-identity");
        let identity =
            std::fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
        let (account, region) = (crate::runtime::endpoint::ACCOUNT, crate::runtime::endpoint::REGION);
        let arn = format!("arn:aws:kinesis:{region}:{account}:stream/{}", status.stream);
        Ok(Some(Self { endpoint: status.endpoint, arn, identity, failures, held_back: None }))
    }

    /// A DynamoDB stream, whose ARN says when it was made, served elsewhere on this machine.
    pub fn dynamodb(
        endpoint: &str,
        arn: &str,
        (failures, held_back): (Option<String>, Option<Duration>),
    ) -> Self {
        let (endpoint, arn) = (endpoint.to_owned(), arn.to_owned());
        Self { endpoint, arn, identity: String::new(), failures, held_back }
    }

    fn open(&self) -> Result<Arc<dyn Stream>> {
        let aws = AwsSettings(vec![
            ("AWS_ENDPOINT_URL_KINESIS", self.endpoint.clone()),
            ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ]);
        let key = stream_key(stream_name(&self.arn), &format!("{}{}", self.arn, self.identity));
        let failures = match self.failures.as_deref() {
            Some(address) if address.contains("://") => {
                Some(LakeStore::open(address, &store_options(process_env))?)
            }
            Some(folder) if Path::new(folder).is_dir() => {
                let url = url::Url::from_directory_path(Path::new(folder).canonicalize()?);
                let url = url.map_err(|()| anyhow::anyhow!("{folder} is no folder"))?;
                Some(LakeStore::open(url.as_str(), &[])?)
            }
            _ => None,
        };
        let failures = failures.map(|store| Arc::new(Failures::new(store)));
        Ok(open_stream(aws, &self.arn, key, (self.held_back, failures))?)
    }
}

/// What is closed, and how.
pub struct Closing {
    closer: Closer,
    runs: AtomicU64,
}

impl Closing {
    /// Of a lake and the streams that feed it.
    pub fn new(
        (lake, catalog): (LakeStore, Arc<dyn Catalog>),
        streams: &[LocalStream],
        tables: &[String],
        services: LocalServices,
        (scratch, grace): (PathBuf, Duration),
    ) -> Result<Self> {
        let streams = streams.iter().map(LocalStream::open).collect::<Result<Vec<_>>>()?;
        let mut settings = Settings::new(scratch);
        settings.tables = (!tables.is_empty()).then(|| tables.iter().cloned().collect());
        (settings.margin, settings.grace) = (MARGIN, grace);
        let closer = Closer::new(
            (lake, catalog),
            streams,
            (Arc::new(StreamingCompact), Arc::new(services)),
            Arc::new(SystemClock),
            settings,
        );
        Ok(Self { closer, runs: AtomicU64::new(0) })
    }

    /// One run.
    pub async fn run(&self, only: Option<(String, Option<PartitionPath>)>) -> Result<Report> {
        Ok(self.closer.run(&self.next(only)).await?)
    }

    /// What a run would find.
    pub async fn look(&self) -> Result<Report> {
        Ok(self.closer.look(&self.next(None)).await?)
    }

    fn next(&self, only: Option<(String, Option<PartitionPath>)>) -> Run {
        let now = SystemClock.now();
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:x}-{:x}-{run:x}", std::process::id(), now.0);
        Run { id, until: EpochMicros(now.0 + BUDGET.as_micros() as i64), only }
    }
}

/// Runs again and again, until stopped.
pub struct Scheduler {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// A run each `every`, the first after that time; a line goes to `say` for each revision and for
    /// each reason that a run failed.
    pub fn start(closing: Closing, every: Duration, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let handle = tokio::runtime::Handle::current();
        // A thread of its own: compaction computes for seconds on end.
        let task = tokio::task::spawn_blocking(move || {
            handle.block_on(async move {
                let mut last_error = String::new();
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(every) => {}
                        _ = stopped.changed() => return,
                    }
                    match closing.run(None).await {
                        Ok(report) => {
                            report.closed.iter().for_each(|closed| say(&sentence(closed)));
                            let made = report.views.iter().filter(|view| view.made > 0);
                            made.for_each(|view| say(&view_sentence(view)));
                            last_error.clear();
                        }
                        Err(error) => {
                            let error = format!("could not close partitions: {error:#}");
                            // Said once, not with each run.
                            if error != last_error {
                                say(&error);
                                last_error = error;
                            }
                        }
                    }
                }
            });
        });
        Self { stop, task }
    }

    /// Let a run under way end, within bounds.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = tokio::time::timeout(PATIENCE, self.task).await;
    }
}

/// A current state in a line.
pub fn view_sentence(view: &CurrentView) -> String {
    let waiting = match view.waiting {
        0 => String::new(),
        waiting => format!(", {waiting} closed partitions are not in it"),
    };
    let trouble = view.trouble.as_ref().map_or(String::new(), |trouble| format!(": {}", trouble.reason));
    format!(
        "current state of {} in {}: state {}, {} items{waiting}{trouble}",
        view.table, view.view, view.state, view.items
    )
}

/// A revision in a line.
pub fn sentence(closed: &ClosedRevision) -> String {
    let late = match closed.late_rows {
        0 => String::new(),
        late => format!(", {late} of them late"),
    };
    format!(
        "closed {}/{}: revision {} ({}), {} rows{late}, {} duplicates removed, {} files",
        closed.table,
        closed.partition,
        closed.revision,
        closed.why,
        closed.rows,
        closed.removed,
        closed.files
    )
}
