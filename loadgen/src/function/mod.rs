//! A function in the cloud that is measured: its configuration is changed for a while and put back,
//! and it is invoked for the line that Lambda reports of each invocation.
//!
//! ```text
//! connect ─► borrow: what is changed is written down, in the function itself
//!               │ renew: another mark, so that the next invocation meets a new environment
//!               │ invoke ─► report
//!               └ give back: after the last one, an error, Ctrl-C or SIGTERM
//! ```

mod borrow;
mod refusal;
mod report_line;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::{BehaviorVersion, Region};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, LastUpdateStatus, LogType, State};
use tokio::sync::watch;

use crate::target::AwsArgs;

pub(crate) use borrow::{Borrowed, with_borrowed};
pub use report_line::ReportLine;

use refusal::{Again, Refusal};

/// Lambda's longest time-out and some more
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
pub(crate) const LONGEST_INVOCATION: Duration = Duration::from_secs(930);
const LONGEST_CALL: Duration = Duration::from_secs(20);
/// A function that cannot be read at all is no reason to wait for long.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at a change that is under way, and before a refused call is made again.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// `--endpoint` of commands that reach Lambda alone.
pub(crate) fn endpoint(arg: clap::Arg) -> clap::Arg {
    arg.env("AWS_ENDPOINT_URL_LAMBDA").help("Endpoint of Lambda instead of the region's (a stand-in)")
}

/// A function by its name.
#[derive(Debug, Clone)]
pub(crate) struct CloudFunction {
    client: Client,
    /// The same with the time that an invocation may take.
    invoker: Client,
    pub(crate) name: String,
    patience: Duration,
}

/// What of its configuration is changed here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) memory_mb: i32,
    revision: Option<String>,
}

/// Why an invocation gave nothing to measure.
#[derive(Debug)]
pub(crate) enum InvokeFailure {
    /// The function itself failed: out of memory, out of time, or by what it said.
    Function(String),
    /// It was not invoked, or nothing is known of it.
    Other(anyhow::Error),
}

/// What became of an update.
enum Updated {
    Done,
    /// Refused for good, nothing is changed: more memory than the account has, for instance.
    Refused(String),
}

impl CloudFunction {
    /// A client for the function; nothing is asked yet.
    ///
    /// # Errors
    /// A name with a version, no credentials.
    pub(crate) fn connect(name: &str, aws: &AwsArgs, patience: Duration) -> Result<Self> {
        let unqualified = name.split(":function:").last().unwrap_or(name);
        if unqualified.contains(':') {
            bail!(
                "{name} names a version or an alias, whose settings cannot be changed; give --function without it"
            );
        }
        let mut config = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(aws.region().to_owned()))
            .credentials_provider(aws.credentials()?)
            // An invocation that is sent twice is another invocation: what is tried again is decided here.
            .retry_config(RetryConfig::disabled());
        config.set_endpoint_url(aws.endpoint().map(str::to_owned));
        let invoker = config.clone().http_client(aws.http_client(LONGEST_INVOCATION)?).build();
        let client = config.http_client(aws.http_client(LONGEST_CALL)?).build();
        let (client, invoker) = (Client::from_conf(client), Client::from_conf(invoker));
        Ok(Self { client, invoker, name: name.to_owned(), patience })
    }

    /// Its settings, once no change is under way: another one would be refused.
    ///
    /// # Errors
    /// It cannot be asked for so long, its environment cannot be read, a change does not end.
    async fn settled(&self, refused: Duration) -> Result<Settings> {
        let begun = Instant::now();
        let mut pause = Pause::new();
        loop {
            let asked = self.client.get_function_configuration().function_name(&self.name).send().await;
            let found = match asked.map_err(Refusal::of) {
                Ok(found) => found,
                Err(refusal) if refusal.again != Again::Never && begun.elapsed() < refused => {
                    pause.wait().await;
                    continue;
                }
                Err(refusal) => {
                    bail!("could not read function {}: {refusal}{}", self.name, refusal.way_out())
                }
            };
            let under_way = found.last_update_status() == Some(&LastUpdateStatus::InProgress)
                || found.state() == Some(&State::Pending);
            if under_way && begun.elapsed() < self.patience {
                pause.wait().await;
                continue;
            }
            if under_way {
                let patience = self.patience.as_secs();
                bail!(
                    "a change of {} is still under way after {patience} s; see --update-patience",
                    self.name
                );
            }
            if let Some(error) = found.environment().and_then(|e| e.error()) {
                bail!(
                    "the environment of {} cannot be read ({}), so it could not be put back; give the role the key \
                     that encrypts it",
                    self.name,
                    error.message().unwrap_or("no reason")
                );
            }
            let environment = found.environment().and_then(|e| e.variables()).cloned().unwrap_or_default();
            return Ok(Settings {
                environment: environment.into_iter().collect(),
                memory_mb: found.memory_size().unwrap_or(128),
                revision: found.revision_id().map(str::to_owned),
            });
        }
    }

    /// Its environment.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) async fn environment(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.settled(FIRST_PATIENCE).await?.environment)
    }

    /// Settings made from those that it has now, until they hold. What others change meanwhile stays:
    /// an update that meets it is refused, and made again from what stands then.
    async fn update(&self, change: impl Fn(&mut Settings)) -> Result<Updated> {
        let begun = Instant::now();
        let mut pause = Pause::new();
        loop {
            let now = self.settled(self.patience).await?;
            let mut wanted = now.clone();
            change(&mut wanted);
            if wanted == now {
                return Ok(Updated::Done);
            }
            let environment =
                Environment::builder().set_variables(Some(wanted.environment.into_iter().collect()));
            let update = self.client.update_function_configuration().function_name(&self.name);
            let update = update.environment(environment.build()).memory_size(wanted.memory_mb);
            match update.set_revision_id(now.revision).send().await.map_err(Refusal::of) {
                Ok(_) => return self.settled(self.patience).await.map(|_| Updated::Done),
                Err(refusal) if refusal.again == Again::Never => {
                    if refusal.is_about_a_value() {
                        return Ok(Updated::Refused(refusal.to_string()));
                    }
                    bail!("could not change function {}: {refusal}{}", self.name, refusal.way_out());
                }
                Err(_) if begun.elapsed() < self.patience => pause.wait().await,
                Err(refusal) => bail!("could not change function {}: {refusal}", self.name),
            }
        }
    }

    /// What feeds it by itself: streams whose records it would get meanwhile.
    ///
    /// # Errors
    /// They cannot be listed.
    pub(crate) async fn mapped_streams(&self) -> Result<Vec<String>> {
        let mut pages = self
            .client
            .list_event_source_mappings()
            .function_name(&self.name)
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(mapping) = pages.next().await {
            let mapping = mapping.map_err(Refusal::of).map_err(|refusal| {
                let way_out = refusal.way_out();
                anyhow!("could not list the event source mappings of {}: {refusal}{way_out}", self.name)
            })?;
            let idle = matches!(mapping.state(), Some("Disabled" | "Disabling" | "Deleting"));
            if !idle {
                found.push(mapping.event_source_arn().unwrap_or("a stream").to_owned());
            }
        }
        Ok(found)
    }

    /// Invoke once and read the report of its log tail. A throttle is waited out: nothing ran.
    pub(crate) async fn invoke(&self, payload: &[u8], stop: &Stop) -> Result<ReportLine, InvokeFailure> {
        let begun = Instant::now();
        let mut pause = Pause::new();
        let answer = loop {
            let invoke = self.invoker.invoke().function_name(&self.name).log_type(LogType::Tail);
            let sent = invoke.payload(Blob::new(payload)).send();
            let answered = tokio::select! {
                answered = sent => answered,
                () = stop.wait() => return Err(InvokeFailure::Other(anyhow!("stopped"))),
            };
            match answered.map_err(Refusal::of) {
                Ok(answer) => break answer,
                Err(refusal) if refusal.again == Again::Later && begun.elapsed() < self.patience => {
                    pause.wait().await;
                }
                Err(refusal) => {
                    let way_out = refusal.way_out();
                    return Err(InvokeFailure::Other(anyhow!(
                        "could not invoke {}: {refusal}{way_out}",
                        self.name
                    )));
                }
            }
        };
        let said =
            answer.payload().map(|p| String::from_utf8_lossy(p.as_ref()).into_owned()).unwrap_or_default();
        if let Some(error) = answer.function_error() {
            return Err(InvokeFailure::Function(format!("{error}: {said:.300}")));
        }
        if has_failed_items(&said) {
            return Err(InvokeFailure::Function(format!("the batch was answered as failed: {said:.300}")));
        }
        self.report(answer.log_result().unwrap_or_default()).map_err(InvokeFailure::Other)
    }

    fn report(&self, log_tail: &str) -> Result<ReportLine> {
        let tail = base64_simd::STANDARD.decode_to_vec(log_tail).context("the log tail is no base64")?;
        ReportLine::find(&String::from_utf8_lossy(&tail)).with_context(|| {
            format!(
                "the log tail of {} holds no REPORT line; with JSON logs, set the system log level to INFO",
                self.name
            )
        })
    }
}

/// Whether the answer to a batch lists records that are not done.
fn has_failed_items(answer: &str) -> bool {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    answer["batchItemFailures"].as_array().is_some_and(|items| !items.is_empty())
}

impl From<InvokeFailure> for anyhow::Error {
    fn from(failure: InvokeFailure) -> Self {
        match failure {
            InvokeFailure::Function(said) => anyhow!("the function failed: {said}"),
            InvokeFailure::Other(error) => error,
        }
    }
}

/// Whether the measurement is to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    async fn wait(&self) {
        // The sender outlives the measurement.
        let _ = self.0.clone().wait_for(|stop| *stop).await;
    }
}

/// Waits that grow.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(PAUSE)
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}
