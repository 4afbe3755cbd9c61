//! The function `close`: a scheduled event → one run over the lake → one line that is a log event and
//! a CloudWatch metric record at once. Partitions that fail are in the line with their reason, and
//! never fail the invocation.

mod caller;
mod dynamodb;
mod failures;
mod line;
#[cfg(test)]
mod scripted;
mod stream;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use weir::catalog::Catalog;
use weir::catalog::glue::Patience;
use weir::clock::{Clock, EpochMicros, SystemClock};
use weir::close::{
    ActionCall, ActionState, Actions, AwsActions, Closer, Report, Run, Settings, Stream, StreamingCompact,
};
use weir::commit::LakeStore;
use weir::naming::stream_key;
use weir::partition::PartitionPath;
use weir::schema::CloseAction;
use weir::{Error, Result};

use crate::context::{self, AwsSettings, CloseConfig};
use crate::identity::StreamIdentities;
use crate::ingest::{Invocation, chain};
use crate::kinesis::is_dynamodb_stream;
use crate::memory::return_freed_memory;
use crate::runtime::{self, Served};
use crate::{kinesis, lake};

pub use crate::kinesis::name as stream_name;
pub use dynamodb::DynamoDbStream;
pub use failures::Failures;
pub use stream::KinesisStream;

/// Time kept to end a run in order.
const RESERVE: Duration = Duration::from_secs(20);

/// The process: it finds its streams with the first event, since a stream has to be asked who it is.
pub struct CloseProcess {
    config: CloseConfig,
    lake: LakeStore,
    catalog: Arc<dyn Catalog>,
    actions: Arc<dyn Actions>,
    failures: Option<Arc<Failures>>,
    identities: StreamIdentities,
    closer: Option<(BTreeMap<String, String>, Closer)>,
    nonce: u64,
    runs: u64,
    cold: bool,
}

/// What the event may say; a scheduled one says nothing of it.
#[derive(Debug, Default, serde::Deserialize)]
struct Asked {
    table: Option<String>,
    partition: Option<String>,
}

/// The answer, for those who invoke it by hand.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    closed: usize,
    open: usize,
    failures: u64,
}

/// Open the lake and its catalog.
///
/// # Errors
/// A lake or catalog that cannot be opened.
pub async fn connect(config: CloseConfig, actions: Arc<dyn Actions>) -> Result<CloseProcess> {
    let (lake, catalog) = lake::open(&config.lake, &config.catalog, &config.aws, Patience::LONG)?;
    let options: Vec<_> = config.aws.0.iter().map(|(k, v)| (k.to_lowercase(), v.clone())).collect();
    let failures = match &config.failures {
        Some(address) => Some(Arc::new(Failures::new(LakeStore::open(address, &options)?))),
        None => None,
    };
    let identities = StreamIdentities::set(&config.stream_identity, config.aws.clone());
    // The hasher's keys are random in each process.
    let nonce = std::hash::RandomState::new().build_hasher().finish();
    Ok(CloseProcess {
        config,
        lake,
        catalog,
        actions,
        failures,
        identities,
        closer: None,
        nonce,
        runs: 0,
        cold: true,
    })
}

/// A Kinesis or DynamoDB stream, by its ARN.
///
/// # Errors
/// The ARN names no region.
pub fn open_stream(
    aws: AwsSettings,
    arn: &str,
    key: String,
    (held_back, failures): (Option<Duration>, Option<Arc<Failures>>),
) -> Result<Arc<dyn Stream>> {
    if is_dynamodb_stream(arn) {
        let stream = DynamoDbStream::new(aws, arn, key)?;
        return Ok(Arc::new(stream.held_back(held_back).failures(failures)));
    }
    Ok(Arc::new(KinesisStream::new(aws, arn, key)?.held_back(held_back).failures(failures)))
}

impl CloseProcess {
    async fn run(&mut self, body: &[u8], deadline: EpochMicros) -> Result<Report> {
        let asked: Asked = serde_json::from_slice(body).unwrap_or_default();
        let now = SystemClock.now();
        let partition = asked.partition.as_deref().map(PartitionPath::parse).transpose();
        let partition = partition.map_err(|e| Error::Event(e.to_string()))?;
        if partition.is_some() && asked.table.is_none() {
            return Err(Error::Event("a partition without its table; give both".into()));
        }
        self.runs += 1;
        let id = format!("{:016x}-{:x}", self.nonce, self.runs);
        let reserve = (RESERVE.as_micros() as i64).min((deadline.0 - now.0) / 4);
        let until = EpochMicros(deadline.0 - reserve);
        let run = Run { id, until, only: asked.table.map(|table| (table, partition)) };
        self.closer(now).await?.run(&run).await
    }

    /// With the streams as they are now: one may have been made again.
    async fn closer(&mut self, now: EpochMicros) -> Result<&Closer> {
        let mut keys = BTreeMap::new();
        for arn in &self.config.streams {
            // The ARN of a DynamoDB stream says when it was made.
            let made = match is_dynamodb_stream(arn) {
                true => String::new(),
                false => self.identities.of(arn, now).await?,
            };
            let mut identity = format!("{arn}{made}");
            if let Some(consumer) = &self.config.consumer {
                identity = format!("{identity}\nconsumer {consumer}");
            }
            keys.insert(arn.clone(), stream_key(kinesis::name(arn), &identity));
        }
        if self.closer.as_ref().is_none_or(|(known, _)| *known != keys) {
            let mut streams: Vec<Arc<dyn Stream>> = Vec::new();
            for (arn, key) in &keys {
                let (held_back, failures) = (self.config.held_back, self.failures.clone());
                streams.push(open_stream(self.config.aws.clone(), arn, key.clone(), (held_back, failures))?);
            }
            let settings = Settings {
                tables: self.config.tables.clone(),
                margin: self.config.margin,
                grace: self.config.grace,
                ended_streams: self.config.ended_streams.clone(),
                ..Settings::new("/tmp/weir-close".into())
            };
            let closer = Closer::new(
                (self.lake.clone(), self.catalog.clone()),
                streams,
                (Arc::new(StreamingCompact), self.actions.clone()),
                Arc::new(SystemClock),
                settings,
            );
            self.closer = Some((keys, closer));
        }
        match &self.closer {
            Some((_, closer)) => Ok(closer),
            None => Err(Error::Internal("no closer".into())),
        }
    }
}

impl runtime::Serve for CloseProcess {
    type Answer = Answer;

    async fn serve(&mut self, body: &[u8], invocation: &Invocation) -> Served<Answer> {
        let began_at = SystemClock.now();
        let cold_start = std::mem::take(&mut self.cold);
        let before = self.lake.requests();
        let ran = self.run(body, invocation.deadline).await;
        let line = line::CloseLine {
            began_at,
            duration_us: SystemClock.now().0.saturating_sub(began_at.0),
            function: &self.config.function_name,
            invocation,
            cold_start,
            report: ran.as_ref().ok(),
            error: ran.as_ref().err().map(chain),
            requests: self.lake.requests().since(&before),
        }
        .to_json();
        let answer = ran.map(|report| Answer {
            closed: report.closed.len(),
            open: report.open.len(),
            failures: report.failures,
        });
        Served { answer, line }
    }
}

/// Run the function in this process until the service stops it.
pub fn run_close(actions: impl AsyncFnOnce(&CloseConfig) -> Result<Arc<dyn Actions>>) -> ExitCode {
    return_freed_memory();
    runtime::run(async || {
        let config = CloseConfig::from_env(context::process_env)?;
        let actions = actions(&config).await?;
        connect(config, actions).await
    })
}

/// The services of AWS, with the credentials of the function's role.
///
/// # Errors
/// Settings that make no client.
pub async fn services(config: &CloseConfig) -> Result<Arc<dyn Actions>> {
    match lake::glue_client(&config.aws, Patience::LONG) {
        Ok(glue) => {
            let actions = AwsActions::new(glue, &config.lake.url());
            Ok(Arc::new(actions.with_aggregates(config.aggregates.clone())))
        }
        // A lake in a folder has no region, and may have no actions either.
        Err(Error::Setting { setting, .. }) if setting == "AWS_REGION" => Ok(Arc::new(NoServices)),
        Err(error) => Err(error),
    }
}

/// Starts nothing, and says so with each partition.
struct NoServices;

#[async_trait]
impl Actions for NoServices {
    async fn start(&self, _: &CloseAction, _: &ActionCall) -> Result<ActionState> {
        let reason =
            "AWS_REGION is not set, so nothing is started; set it, or take the action out of weir.on_close";
        Ok(ActionState::Refused { reason: reason.to_owned() })
    }
}
