//! Where events are put: Kinesis or Firehose. A put is tried once here; what to
//! do about its answer is the sender's.

mod firehose;
mod http;
mod kinesis;
pub mod kpl;
mod settings;

use anyhow::Result;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;

pub use settings::AwsArgs;

/// One record of a put.
#[derive(Debug, Clone)]
pub struct Record {
    /// Partition key.
    pub key: String,
    /// Payload.
    pub data: Vec<u8>,
    /// Which of the request's events are in it: a range of their positions.
    pub events: std::ops::Range<usize>,
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
}

/// Kinds of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TargetKind {
    /// A Kinesis stream, by PutRecords
    Kinesis,
    /// A Firehose delivery stream, by PutRecordBatch
    Firehose,
    /// Nowhere: what the generator can do by itself
    None,
}

/// A target that is reached.
#[derive(Debug)]
pub enum Target {
    /// [`TargetKind::Kinesis`]
    Kinesis(kinesis::Kinesis),
    /// [`TargetKind::Firehose`]
    Firehose(firehose::Firehose),
    /// [`TargetKind::None`]
    None,
}

impl Target {
    /// Open a target by the name of the stream, table or function.
    pub async fn open(kind: TargetKind, name: &str, aws: &AwsArgs) -> Result<Self> {
        Ok(match kind {
            TargetKind::Kinesis => Self::Kinesis(kinesis::Kinesis::open(name, aws).await?),
            TargetKind::Firehose => Self::Firehose(firehose::Firehose::open(name, aws)?),
            TargetKind::None => Self::None,
        })
    }

    /// What fits one request.
    pub fn limits(&self) -> Limits {
        match self {
            Self::Kinesis(_) | Self::None => kinesis::LIMITS,
            Self::Firehose(_) => firehose::LIMITS,
        }
    }

    /// Put records once; an answer for each.
    pub async fn put(&self, records: &[Record]) -> Result<Vec<Answer>, PutFailure> {
        match self {
            Self::Kinesis(target) => target.put(records).await,
            Self::Firehose(target) => target.put(records).await,
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
        let code = error.as_service_error().and_then(|e| e.code()).unwrap_or_default().to_owned();
        let message = error.as_service_error().and_then(|e| e.message()).unwrap_or_default().to_owned();
        let throttled =
            ["Throttl", "LimitExceeded", "Throughput", "SlowDown", "TooManyRequests", "Unavailable"]
                .iter()
                .any(|part| code.contains(part));
        let known = [
            "ResourceNotFound",
            "AccessDenied",
            "Validation",
            "InvalidArgument",
            "UnrecognizedClient",
            "InvalidSignature",
        ];
        let permanent = known.iter().any(|part| code.contains(part));
        let may_be_stored = match &error {
            SdkError::ConstructionFailure(_) => false,
            SdkError::DispatchFailure(failure) => !is_refused(failure.as_connector_error().map(|e| e as _)),
            SdkError::ServiceError(answer) => {
                !throttled && !permanent && answer.raw().status().is_server_error()
            }
            _ => true,
        };
        let text = match code.is_empty() {
            true => chain(&error),
            false => format!("{code}: {message}"),
        };
        Self { may_be_stored, throttled, permanent, text }
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
