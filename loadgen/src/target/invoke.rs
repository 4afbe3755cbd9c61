//! A function, handed events as the mapping of a Kinesis stream would: no stream in between.
//!
//! Each lane is a shard of its own. Its batches go one after another, with sequence numbers that grow
//! also from run to run; what the function reports as not committed is handed over again, under the
//! same numbers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use serde::Deserialize;
use weir::clock::{Clock, EpochMicros, SystemClock};

use super::{Answer, AwsArgs, Limits, PutFailure, Record};
use crate::batch::StreamRecord;
use crate::function::LONGEST_INVOCATION;
use crate::host::{self, Answered};

/// A batch of a mapping: 10,000 records and 6 MB with their payloads in base64, here before it, as is
/// what the event has around each.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const LIMITS: Limits =
    Limits { records: 10_000, bytes: 4_400_000, record_bytes: 1_000_000, frame: 480 };

/// What the memory of a function started here is said to be.
const MEMORY_MB: u32 = 1_769;

/// Which function, and where it writes.
#[derive(Debug, Clone, Copy)]
pub struct FunctionSetup<'a> {
    /// Program to start here.
    pub program: Option<&'a Path>,
    /// Name of a function in an account or at an endpoint.
    pub function: Option<&'a str>,
    /// Names and values of the program's environment.
    pub settings: &'a [(String, String)],
    /// Lanes that invoke it.
    pub lanes: u16,
    /// Start of the run.
    pub started: EpochMicros,
}

/// A function that can be invoked.
#[derive(Debug)]
pub struct Invoke {
    function: Function,
    stream_arn: String,
    started: EpochMicros,
}

#[derive(Debug)]
enum Function {
    /// A process for each lane.
    Here {
        program: PathBuf,
        settings: Arc<[(String, String)]>,
        lanes: Vec<Lane>,
    },
    There {
        client: Client,
        name: String,
    },
}

/// None until the first batch, and after a process was lost.
type Lane = Arc<Mutex<Option<host::Hosted>>>;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    #[serde(default)]
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

impl Invoke {
    pub(super) async fn open(stream: &str, aws: &AwsArgs, setup: FunctionSetup<'_>) -> Result<Self> {
        let function = match (setup.program, setup.function) {
            (Some(program), None) => Self::here(program, setup)?,
            (None, Some(name)) => Function::There { client: client(aws)?, name: name.to_owned() },
            _ => bail!(
                "--target invoke: say which function: --program target/lambda/ingest to start one here, or \
                 --function NAME"
            ),
        };
        let stream_arn = match stream.starts_with("arn:") {
            true => stream.to_owned(),
            false => format!("arn:aws:kinesis:{}:123456789012:stream/{stream}", aws.region()),
        };
        let opened = Self { function, stream_arn, started: setup.started };
        // An event without records writes nothing; it shows at once what is wrong with a deployment.
        let lanes = if setup.program.is_some() { u64::from(setup.lanes) } else { 1 };
        for lane in 0..lanes {
            let tried = opened.hand(lane, r#"{"Records":[]}"#.to_owned()).await;
            tried
                .map_err(|failure| anyhow::anyhow!(failure.text))
                .context("could not invoke the function")?;
        }
        Ok(opened)
    }

    fn here(program: &Path, setup: FunctionSetup<'_>) -> Result<Function> {
        let program = program.canonicalize().with_context(|| {
            format!(
                "there is no program {}; build the function with `cargo build --profile lambda -p weir-functions \
                 --bin ingest` and give target/lambda/ingest",
                program.display()
            )
        })?;
        let lanes = (0..setup.lanes).map(|_| Lane::default()).collect();
        Ok(Function::Here { program, settings: setup.settings.into(), lanes })
    }

    pub(super) async fn put(&self, records: &[Record]) -> Result<Vec<Answer>, PutFailure> {
        let Some(first) = records.first() else { return Ok(Vec::new()) };
        let answer = self.hand(first.made.0, self.event(records)).await?;
        // No answer and null are success, as they are for a mapping.
        let said: Option<Said> = match answer.trim() {
            "" => None,
            text => serde_json::from_str(text)
                .map_err(|e| failed(format!("could not read the function's answer {text:.200}: {e}")))?,
        };
        Ok(self.answers(records, &said.unwrap_or_default()))
    }

    fn event(&self, records: &[Record]) -> String {
        let mut out = String::from(r#"{"Records":["#);
        let arrived_ms = SystemClock.now().millis();
        for (at, record) in records.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            let record = StreamRecord {
                key: &record.key,
                sequence: &self.sequence(record),
                payload: &record.data,
                arrived_ms,
                shard: record.made.0,
                stream_arn: &self.stream_arn,
            };
            record.write(&mut out);
        }
        out.push_str("]}");
        out
    }

    /// 56 digits, as real ones have.
    fn sequence(&self, record: &Record) -> String {
        format!("4965461154{:016}{:030}", self.started.0, record.made.1)
    }

    /// Committed is what stands before the first failure; an identifier that is none of the batch's
    /// fails all of it, as it does for a mapping.
    fn answers(&self, records: &[Record], said: &Said) -> Vec<Answer> {
        let place = |failure: &ItemFailure| {
            records.iter().position(|record| self.sequence(record) == failure.item_identifier).unwrap_or(0)
        };
        let committed = said.batch_item_failures.iter().map(place).min().unwrap_or(records.len());
        let failed = || Answer::Failed("the function reported a record as not committed".to_owned());
        (0..records.len()).map(|at| if at < committed { Answer::Stored } else { failed() }).collect()
    }

    async fn hand(&self, lane: u64, event: String) -> Result<String, PutFailure> {
        match &self.function {
            Function::There { client, name } => invoke(client, name, event).await,
            Function::Here { program, settings, lanes } => {
                let Some(lane) = lanes.get(lane as usize).map(Arc::clone) else {
                    return Err(failed(format!("there is no lane {lane}")));
                };
                let (program, settings) = (program.clone(), Arc::clone(settings));
                let handed =
                    tokio::task::spawn_blocking(move || hand_over(&lane, &program, &settings, &event));
                handed.await.unwrap_or_else(|e| Err(failed(e.to_string())))
            }
        }
    }
}

/// What went wrong may have come after the commit.
fn failed(text: String) -> PutFailure {
    PutFailure { may_be_stored: true, throttled: false, permanent: false, text }
}

/// To the lane's process; one that is lost is started anew with the next batch.
fn hand_over(
    lane: &Lane,
    program: &Path,
    settings: &[(String, String)],
    event: &str,
) -> Result<String, PutFailure> {
    let mut process = lane.lock().unwrap_or_else(PoisonError::into_inner);
    let hosted = match process.take() {
        Some(hosted) => Ok(hosted),
        None => host::Hosted::start(
            Command::new(program).envs(settings.iter().map(|(name, value)| (name, value))),
            MEMORY_MB,
        ),
    };
    let mut hosted = hosted.map_err(|e| failed(format!("could not start {}: {e}", program.display())))?;
    let answered = hosted.invoke(event).map_err(|e| failed(format!("{}: {e}", program.display())))?;
    *process = Some(hosted);
    match answered {
        Answered::Response(text) => Ok(text),
        Answered::Failed(text) => Err(failed(format!("the function failed: {text:.300}"))),
    }
}

async fn invoke(client: &Client, name: &str, event: String) -> Result<String, PutFailure> {
    let invoke = client.invoke().function_name(name).payload(Blob::new(event));
    let answer = invoke.send().await.map_err(PutFailure::of)?;
    let text = answer.payload().map(|p| String::from_utf8_lossy(p.as_ref()).into_owned()).unwrap_or_default();
    match answer.function_error() {
        None => Ok(text),
        Some(error) => Err(failed(format!("{name} failed ({error}): {text:.300}"))),
    }
}

fn client(aws: &AwsArgs) -> Result<Client> {
    let mut config = aws_sdk_lambda::Config::builder()
        .behavior_version(aws_sdk_lambda::config::BehaviorVersion::latest())
        .http_client(aws.http_client(LONGEST_INVOCATION)?)
        .region(aws_sdk_lambda::config::Region::new(aws.region().to_owned()))
        .credentials_provider(aws.credentials()?)
        .retry_config(aws_sdk_lambda::config::retry::RetryConfig::disabled())
        .timeout_config(aws_sdk_lambda::config::timeout::TimeoutConfig::disabled())
        // A target that is slow is what is measured: the HTTP client alone decides when it is too slow.
        .stalled_stream_protection(aws_sdk_lambda::config::StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(aws.endpoint().map(str::to_owned));
    Ok(Client::from_conf(config.build()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Invoke {
        let function = Function::Here { program: PathBuf::new(), settings: Arc::new([]), lanes: Vec::new() };
        Invoke { function, stream_arn: "arn:aws:kinesis:r:1:stream/s".to_owned(), started: EpochMicros(17) }
    }

    fn records(count: u64) -> Vec<Record> {
        let record = |number| Record {
            key: "k".to_owned(),
            data: format!("{{\"n\":{number}}}").into_bytes(),
            events: 0..1,
            made: (3, number),
        };
        (8..8 + count).map(record).collect()
    }

    #[test]
    fn numbers_grow_and_have_the_digits_of_real_ones() {
        let (target, records) = (target(), records(5));
        let event: serde_json::Value = serde_json::from_str(&target.event(&records)).unwrap();
        let numbers = event["Records"].as_array().unwrap().iter().map(|record| {
            assert_eq!(record["awsRegion"], "r");
            assert!(record["eventID"].as_str().unwrap().starts_with("shardId-000000000003:"));
            record["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned()
        });
        let numbers: Vec<_> = numbers.collect();
        assert!(numbers.is_sorted() && numbers.iter().all(|number| number.len() == 56), "{numbers:?}");
        let later = Invoke { started: EpochMicros(18), ..target };
        assert!(later.sequence(&records[0]) > numbers[4], "a later run begins above");
    }

    #[test]
    fn what_stands_before_the_first_failure_is_committed() {
        let (target, records) = (target(), records(4));
        let of = |n: usize| target.sequence(&records[n]);
        let failures = |all: &[String]| {
            let all: Vec<_> = all.iter().map(|id| serde_json::json!({"itemIdentifier": id})).collect();
            serde_json::json!({"batchItemFailures": all}).to_string()
        };
        for (answer, committed) in [
            ("{}".to_owned(), 4),
            (failures(&[]), 4),
            (failures(&[of(2)]), 2),
            (failures(&[of(3), of(1)]), 1),
            (failures(&["unknown".to_owned()]), 0),
        ] {
            let said: Said = serde_json::from_str(&answer).unwrap();
            let answers = target.answers(&records, &said);
            let stored = answers.iter().filter(|a| **a == Answer::Stored).count();
            assert_eq!(stored, committed, "{answer}");
            assert!(answers[..committed].iter().all(|a| *a == Answer::Stored), "{answer}");
        }
    }
}
