//! Actions in the cloud: Glue crawlers and jobs, Step Functions, EventBridge, aggregation jobs.
//!
//! | action | once for an id by |
//! |---|---|
//! | `crawler:NAME` | nothing the service has: crawling twice changes nothing; one that runs is waited for |
//! | `job:NAME` | `--weir_action`, searched for among the job's runs before a repeated start |
//! | `state-machine:ARN` | the execution's name (Standard; Express may run twice) |
//! | `event` | `id` in the event, for who receives it: EventBridge has no token |
//! | `aggregate:NAME` | the revision in the catalog: a second run finds it and does nothing |

mod aggregate;
mod signed;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{ActionCall, ActionState, Actions};
use crate::catalog::glue::{AwsAccess, GlueClient, JobRun, Start};
use crate::error::{Error, Result};
use crate::schema::CloseAction;
use signed::{Refusal, Service};

pub use aggregate::Aggregates;

/// The argument of a job's run that tells it from any other.
const JOB_ID: &str = "--weir_action";

/// Starts actions in AWS.
pub struct AwsActions {
    glue: Arc<GlueClient>,
    /// The lake's URL, which no crawler may look at.
    lake: String,
    aggregates: Aggregates,
}

impl AwsActions {
    /// For the lake at URL `lake`, with the credentials of the Glue client.
    pub fn new(glue: Arc<GlueClient>, lake: &str) -> Self {
        Self { glue, lake: lake.trim_end_matches('/').to_owned(), aggregates: Aggregates::default() }
    }

    /// The same, with what runs `aggregate:NAME`.
    pub fn with_aggregates(mut self, aggregates: Aggregates) -> Self {
        self.aggregates = aggregates;
        self
    }

    fn access(&self) -> &AwsAccess {
        self.glue.access()
    }

    async fn start_execution(&self, arn: &str, call: &ActionCall) -> Result<ActionState> {
        let refused = |reason: String| Ok(ActionState::Refused { reason });
        let Some(region) = arn.split(':').nth(3).filter(|region| !region.is_empty()) else {
            return refused(format!(
                "{arn} names no region; write `state-machine:` and the machine's whole ARN"
            ));
        };
        // The same text at each try: the service compares it.
        let body = json!({"stateMachineArn": arn, "name": call.id, "input": detail(call).to_string()});
        match signed::call(self.access(), &Service::STEP_FUNCTIONS, (region, ""), &body).await? {
            Ok(answer) => {
                let run = answer.content.get("executionArn").and_then(Value::as_str).unwrap_or(&call.id);
                Ok(ActionState::Started { run: run.to_owned() })
            }
            Err(Refusal { code, message }) => match code.as_str() {
                "ExecutionAlreadyExists" => {
                    Ok(ActionState::Started { run: format!("execution {}", call.id) })
                }
                "ExecutionLimitExceeded" => Ok(ActionState::Waiting { reason: format!("{code}: {message}") }),
                "StateMachineDoesNotExist" | "StateMachineDeleting" => refused(format!(
                    "{code}: {message}; make the state machine, or take `state-machine:{arn}` out of `weir.on_close`"
                )),
                "AccessDeniedException" => refused(format!(
                    "{code}: {message}; allow states:StartExecution to the role of the function close"
                )),
                _ => refused(format!("could not start {arn}: {code}: {message}")),
            },
        }
    }

    async fn put_event(&self, call: &ActionCall) -> Result<ActionState> {
        let region = self.access().region();
        let body = json!({"Entries": [{
            "Source": "weir", "DetailType": "partition closed", "Detail": detail(call).to_string(),
        }]});
        let refused = |code: &str, message: &str| {
            Ok(ActionState::Refused {
                reason: format!(
                    "could not put the event: {code}: {message}; the role of the function close needs \
                     events:PutEvents on the default bus"
                ),
            })
        };
        let answer = match signed::call(self.access(), &Service::EVENTS, (region, ""), &body).await? {
            Ok(answer) => answer.content,
            Err(Refusal { code, message }) => return refused(&code, &message),
        };
        // One entry: the call can succeed and the entry fail.
        let entry = answer.pointer("/Entries/0").cloned().unwrap_or_default();
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        match (text("ErrorCode"), text("EventId")) {
            (Some(code), _) => {
                let message = text("ErrorMessage").unwrap_or("no message");
                if signed::is_passing(code) {
                    return Err(signed::passing("put an event to", "the default bus", code, message));
                }
                refused(code, message)
            }
            (None, Some(id)) => Ok(ActionState::Started { run: id.to_owned() }),
            (None, None) => Err(Error::Format {
                object: "the answer of PutEvents".to_owned(),
                problem: "neither EventId nor ErrorCode".to_owned(),
                retryable: true,
            }),
        }
    }
}

#[async_trait]
impl Actions for AwsActions {
    async fn start(&self, action: &CloseAction, call: &ActionCall) -> Result<ActionState> {
        match action {
            CloseAction::Crawler(name) => Ok(state(self.glue.start_crawler(name, &self.lake).await?)),
            CloseAction::Job(name) => Ok(state(self.glue.start_job(&job_run(name, call)).await?)),
            CloseAction::StateMachine(arn) => self.start_execution(arn, call).await,
            CloseAction::Event => self.put_event(call).await,
            CloseAction::Aggregate(name) => self.start_aggregate(name, call).await,
        }
    }
}

fn state(start: Start) -> ActionState {
    match start {
        Start::Started { run } => ActionState::Started { run },
        Start::Busy { reason } => ActionState::Waiting { reason },
        Start::Refused { reason } => ActionState::Refused { reason },
    }
}

/// What a job is told: which partition it is for, and where.
fn job_run(job: &str, call: &ActionCall) -> JobRun {
    let arguments = [
        (JOB_ID, call.id.clone()),
        ("--weir_table", call.table.clone()),
        ("--weir_partition", call.partition.clone()),
        ("--weir_location", call.location.clone()),
        ("--weir_revision", call.revision.to_string()),
        ("--weir_rows", call.rows.to_string()),
        ("--weir_late_rows", call.late_rows.to_string()),
        ("--weir_given_up_records", call.given_up.to_string()),
    ];
    let arguments: HashMap<_, _> = arguments.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    JobRun {
        job: job.to_owned(),
        otherwise: format!("take `job:{job}` out of `weir.on_close`"),
        id_argument: JOB_ID.to_owned(),
        id: call.id.clone(),
        arguments,
        repeated: call.repeated,
    }
}

/// What an event and an execution are told.
fn detail(call: &ActionCall) -> Value {
    json!({
        "id": call.id, "table": call.table, "partition": call.partition, "values": call.values,
        "location": call.location, "revision": call.revision, "rows": call.rows, "late_rows": call.late_rows,
        "given_up_records": call.given_up, "bytes": call.bytes,
    })
}

#[cfg(test)]
mod tests;
