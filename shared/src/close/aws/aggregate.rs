//! `aggregate:NAME` → an invocation of the function that runs jobs, or a run of a Glue job that does,
//! by the bytes of the partition.
//!
//! The function is invoked as an event: close does not wait for a job that may take minutes. An event
//! has no token, and needs none: who finds the revision in the catalog does nothing.

use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::signed::{self, Refusal, Service};
use super::{AwsActions, job_run, state};
use crate::close::{ActionCall, ActionState, Engine, EngineSetting, choose_engine};
use crate::error::Result;

/// What runs aggregation jobs in AWS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aggregates {
    /// Name or ARN of the function `aggregate`.
    pub function: Option<String>,
    /// Name of the Glue job that runs `jobs/run_sql.py`.
    pub glue_job: Option<String>,
    /// Folder of the SQL files for the Glue job; none if the job has it among its own arguments.
    pub sql: Option<String>,
    /// `glue://DATABASE`; none if the catalog is a folder, which a Glue job does not switch.
    pub catalog: Option<String>,
    /// Which of the two.
    pub engine: EngineSetting,
}

impl AwsActions {
    pub(super) async fn start_aggregate(&self, name: &str, call: &ActionCall) -> Result<ActionState> {
        let (engine, why) = choose_engine(call.bytes, self.aggregates.engine);
        let started = match engine {
            Engine::Function => self.invoke(name, call).await?,
            Engine::Glue => self.run_on_glue(name, call).await?,
        };
        Ok(match started {
            ActionState::Started { run } => ActionState::Started { run: format!("{run}: {why}") },
            ActionState::Waiting { reason } => ActionState::Waiting { reason: format!("{reason} ({why})") },
            ActionState::Refused { reason } => ActionState::Refused { reason: format!("{reason} ({why})") },
        })
    }

    async fn invoke(&self, name: &str, call: &ActionCall) -> Result<ActionState> {
        let refused = |reason: String| Ok(ActionState::Refused { reason });
        let Some(function) = &self.aggregates.function else {
            return refused(
                "no function runs aggregates; deploy `aggregate` and set WEIR_AGGREGATE_FUNCTION, or \
                 WEIR_AGGREGATE_ENGINE=glue"
                    .to_owned(),
            );
        };
        let arn = function.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
        let region = arn.unwrap_or_else(|| self.access().region());
        let named: String = byte_serialize(function.as_bytes()).collect();
        let path = format!("2015-03-31/functions/{named}/invocations");
        let mut event = serde_json::to_value(call)
            .map_err(|e| crate::Error::Internal(format!("an action that is no JSON: {e}")))?;
        event["job"] = Value::from(name);
        match signed::call(self.access(), &Service::LAMBDA, (region, &path), &event).await? {
            Ok(answer) => {
                let request = answer.request_id.unwrap_or_else(|| "without an id".to_owned());
                Ok(ActionState::Started { run: format!("function {function}, request {request}") })
            }
            Err(Refusal { code, message }) => match code.as_str() {
                "TooManyRequestsException" | "ResourceConflictException" => Ok(ActionState::Waiting {
                    reason: format!("function {function} cannot be invoked now: {code}: {message}"),
                }),
                "ResourceNotFoundException" => refused(format!(
                    "there is no function {function}; deploy it, or correct WEIR_AGGREGATE_FUNCTION"
                )),
                "AccessDeniedException" => refused(format!(
                    "{code}: {message}; allow lambda:InvokeFunction to the role of the function close"
                )),
                _ => refused(format!("could not invoke {function}: {code}: {message}")),
            },
        }
    }

    async fn run_on_glue(&self, name: &str, call: &ActionCall) -> Result<ActionState> {
        let refused = |reason: &str| Ok(ActionState::Refused { reason: reason.to_owned() });
        let Some(job) = &self.aggregates.glue_job else {
            return refused(
                "no Glue job runs aggregates; make one of jobs/run_sql.py and set \
                 WEIR_AGGREGATE_GLUE_JOB, or WEIR_AGGREGATE_ENGINE=function",
            );
        };
        let Some(catalog) = &self.aggregates.catalog else {
            return refused(
                "a Glue job switches partitions in Glue alone, and the catalog is a folder; set \
                 WEIR_CATALOG=glue://DATABASE, or WEIR_AGGREGATE_ENGINE=function",
            );
        };
        let mut run = job_run(job, call);
        run.otherwise = "correct WEIR_AGGREGATE_GLUE_JOB".to_owned();
        let mut tell = |argument: &str, value: &str| run.arguments.insert(argument.into(), value.to_owned());
        tell("--weir_job", name);
        tell("--weir_lake", &self.lake);
        tell("--weir_catalog", catalog);
        if let Some(sql) = &self.aggregates.sql {
            tell("--weir_jobs", sql);
        }
        Ok(match state(self.glue.start_job(&run).await?) {
            ActionState::Started { run } => ActionState::Started { run: format!("job {job}, run {run}") },
            other => other,
        })
    }
}
