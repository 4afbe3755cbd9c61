//! Where events are put: Kinesis, Firehose, a table of DynamoDB, or a function itself. A put is tried
//! once here; what to do about its answer is the sender's.

mod dynamodb;
mod firehose;
mod http;
mod invoke;
mod kinesis;
pub mod kpl;
mod settings;
mod signed;
mod typed;

use anyhow::Result;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use weir::schema::TableSchema;

pub use invoke::FunctionSetup;
pub use settings::AwsArgs;
pub(crate) use typed::write_item;

/// One record of a put.
#[derive(Debug, Clone)]
pub struct Record {
    /// Partition key.
    pub key: String,
    /// Payload.
    pub data: Vec<u8>,
    /// Which of the request's events are in it: a range of their positions.
    pub events: std::ops::Range<usize>,
    /// Which lane made it, and as which of its records: what a function that is invoked takes for
    /// shard and sequence number.
    pub made: (u64, u64),
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Acknowledged
    Stored,
    /// Not taken; it may be tried again
    Throttled,
    /// Not taken
    Failed(String),
}

/// A put that got no answer for its records.
#[derive(Debug)]
pub struct PutFailure {
    /// Whether the records may have been stored all the same.
    pub may_be_stored: bool,
    /// Whether it was a throttle of the whole request.
    pub throttled: bool,
    /// Whether another try is in vain.
    pub permanent: bool,
    /// What was said.
    pub text: String,
}

/// Most of everything in one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Bytes of payloads and keys.
    pub bytes: usize,
    /// Bytes of one record.
    pub record_bytes: usize,
    /// Bytes that the request needs around each record.
    pub frame: usize,
}

/// Kinds of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TargetKind {
    /// A Kinesis stream, by PutRecords
    Kinesis,
    /// A Firehose delivery stream, by PutRecordBatch; what it delivers is not followed
    Firehose,
    /// A table of DynamoDB, by BatchWriteItem: its change stream carries the load
    Dynamodb,
    /// The function itself, with events as a stream would hand them over: --program or --function
    Invoke,
    /// Nowhere: what the generator can do by itself
    None,
}

impl TargetKind {
    /// Whether what is put comes into the lake.
    pub fn reaches_lake(self) -> bool {
        matches!(self, Self::Kinesis | Self::Dynamodb | Self::Invoke)
    }
}

/// A target that is reached.
#[derive(Debug)]
pub enum Target {
    /// [`TargetKind::Kinesis`]
    Kinesis(kinesis::Kinesis),
    /// [`TargetKind::Firehose`]
    Firehose(firehose::Firehose),
    /// [`TargetKind::Dynamodb`]
    Dynamodb(dynamodb::DynamoDb),
    /// [`TargetKind::Invoke`]
    Invoke(invoke::Invoke),
    /// [`TargetKind::None`]
    None,
}

impl Target {
    /// Open a target by the name of the stream or table, for rows of a table of the lake.
    pub async fn open(
        kind: TargetKind,
        name: &str,
        of: &TableSchema,
        aws: &AwsArgs,
        function: FunctionSetup<'_>,
    ) -> Result<Self> {
        Ok(match kind {
            TargetKind::Kinesis => Self::Kinesis(kinesis::Kinesis::open(name, aws).await?),
            TargetKind::Firehose => Self::Firehose(firehose::Firehose::open(name, aws)?),
            TargetKind::Dynamodb => Self::Dynamodb(dynamodb::DynamoDb::open(name, of, aws).await?),
            TargetKind::Invoke => Self::Invoke(invoke::Invoke::open(name, aws, function).await?),
            TargetKind::None => Self::None,
        })
    }

    /// What fits one request.
    pub fn limits(&self) -> Limits {
        match self {
            Self::Kinesis(_) | Self::None => kinesis::LIMITS,
            Self::Firehose(_) => firehose::LIMITS,
            Self::Dynamodb(_) => dynamodb::LIMITS,
            Self::Invoke(_) => invoke::LIMITS,
        }
    }

    /// Requests of one lane that may be under way at once, of so many that are asked for.
    pub fn in_flight(&self, asked: usize) -> usize {
        match self {
            // A lane is a shard, and a mapping hands over one batch of a shard after another.
            Self::Invoke(_) => 1,
            _ => asked,
        }
    }

    /// Whether a record that is put again is known for the same: then it must be there once, whatever
    /// became of the first try.
    pub fn knows_repeats(&self) -> bool {
        matches!(self, Self::Invoke(_))
    }

    /// Fields that must be as the target needs them, whatever else is wrong with an event.
    pub fn keys(&self) -> &[String] {
        match self {
            Self::Dynamodb(target) => target.keys(),
            _ => &[],
        }
    }

    /// Append a single event as this target takes it.
    pub fn write(&self, event: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Dynamodb(target) => target.write_item(event, out),
            Self::Firehose(_) => {
                out.extend_from_slice(event);
                // Firehose sets nothing between the records of an object.
                out.push(b'\n');
            }
            _ => out.extend_from_slice(event),
        }
    }

    /// Put records once; an answer for each.
    pub async fn put(&self, records: &[Record]) -> Result<Vec<Answer>, PutFailure> {
        match self {
            Self::Kinesis(target) => target.put(records).await,
            Self::Firehose(target) => target.put(records).await,
            Self::Dynamodb(target) => target.put(records).await,
            Self::Invoke(target) => target.put(records).await,
            Self::None => Ok(vec![Answer::Stored; records.len()]),
        }
    }
}

impl PutFailure {
    /// From what an SDK says: without an answer nobody knows; an answer is definite.
    fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error
            + aws_smithy_types::error::metadata::ProvideErrorMetadata
            + Send
            + Sync
            + 'static,
    {
        let code = error.as_service_error().and_then(|e| e.code()).unwrap_or_default();
        let message = error.as_service_error().and_then(|e| e.message()).unwrap_or_default();
        let of_server = matches!(&error, SdkError::ServiceError(a) if a.raw().status().is_server_error());
        let refused = Self::refused(code, message, of_server);
        let may_be_stored = match &error {
            SdkError::ConstructionFailure(_) => false,
            SdkError::DispatchFailure(failure) => !is_refused(failure.as_connector_error().map(|e| e as _)),
            SdkError::ServiceError(_) => refused.may_be_stored,
            _ => true,
        };
        let text = if code.is_empty() { chain(&error) } else { refused.text };
        Self { may_be_stored, text, ..refused }
    }

    /// An answer that says no, by its code.
    fn refused(code: &str, message: &str, of_server: bool) -> Self {
        let throttles =
            ["Throttl", "LimitExceeded", "Throughput", "SlowDown", "TooManyRequests", "Unavailable"];
        let throttled = throttles.iter().any(|part| code.contains(part));
        let known = [
            "ResourceNotFound",
            "AccessDenied",
            "Validation",
            "InvalidArgument",
            "UnrecognizedClient",
            "InvalidSignature",
        ];
        let permanent = known.iter().any(|part| code.contains(part));
        let may_be_stored = of_server && !throttled && !permanent;
        Self { may_be_stored, throttled, permanent, text: format!("{code}: {message}") }
    }

    /// A request that could not be made.
    fn unmade(error: &dyn std::error::Error) -> Self {
        Self { may_be_stored: false, throttled: false, permanent: true, text: chain(error) }
    }
}

/// Whether no connection was made: nothing was sent.
fn is_refused(error: Option<&(dyn std::error::Error + 'static)>) -> bool {
    let mut cause = error;
    while let Some(error) = cause {
        if error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
