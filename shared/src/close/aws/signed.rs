//! The three calls of services beside Glue; close repeats what meets a bad moment.

use serde_json::Value;

use crate::catalog::glue::AwsAccess;
use crate::catalog::glue::request;
use crate::error::{Error, Result};

/// A service and the one call of it.
pub(super) struct Service {
    service: request::Service,
    headers: &'static [(&'static str, &'static str)],
    operation: &'static str,
}

impl Service {
    pub(super) const STEP_FUNCTIONS: Service = Service {
        service: request::Service { setting: "sfn", name: "states" },
        headers: &[
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", "AWSStepFunctions.StartExecution"),
        ],
        operation: "start an execution at",
    };
    pub(super) const EVENTS: Service = Service {
        service: request::Service { setting: "eventbridge", name: "events" },
        headers: &[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AWSEvents.PutEvents")],
        operation: "put an event to",
    };
    pub(super) const LAMBDA: Service = Service {
        service: request::Service { setting: "lambda", name: "lambda" },
        headers: &[("content-type", "application/json"), ("x-amz-invocation-type", "Event")],
        operation: "invoke a function at",
    };
}

/// An answer that says yes.
pub(super) struct Answer {
    /// Null if there is none, or no JSON.
    pub(super) content: Value,
    /// The service's id of the request.
    pub(super) request_id: Option<String>,
}

/// An answer that says no.
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
}

/// Asks once, at a path below the service's address.
///
/// # Errors
/// A bad moment: no answer, a throttle, a failure of the service.
pub(super) async fn call(
    access: &AwsAccess,
    Service { service, headers, operation }: &Service,
    (region, path): (&str, &str),
    body: &Value,
) -> Result<std::result::Result<Answer, Refusal>> {
    let address = service.address(access, region);
    let to = format!("{address}/{path}");
    let answer = request::send(access, (*service, region), &to, headers, body.to_string()).await;
    let answer = answer.map_err(|source| Error::Store {
        operation,
        object: address.clone(),
        retryable: true,
        source: source.into(),
    })?;
    let Some(refusal) = answer.refusal() else {
        let content = answer.content.unwrap_or_default();
        return Ok(Ok(Answer { content, request_id: answer.request_id }));
    };
    let code = refusal.code.unwrap_or_else(|| "no code".to_owned());
    // As many run as may is not too many requests: it is waited for, and nothing is repeated meanwhile.
    let as_many_as_may =
        answer.text(["Reason", "reason"]).is_some_and(|reason| reason.contains("Concurrent"));
    if answer.is_failure_of_service() || is_passing(&code) && !as_many_as_may {
        return Err(passing(operation, &address, &code, &refusal.message));
    }
    Ok(Err(Refusal { code, message: refusal.message }))
}

/// Whether trying again later can help without anyone changing anything.
pub(super) fn is_passing(code: &str) -> bool {
    code.contains("Throttl")
        || code.starts_with("TooManyRequests")
        || code.starts_with("InternalFailure")
        || code.starts_with("InternalException")
        || code.starts_with("ServiceUnavailable")
}

pub(super) fn passing(operation: &'static str, object: &str, code: &str, message: &str) -> Error {
    let source = format!("{code}: {message}").into();
    Error::Store { operation, object: object.to_owned(), retryable: true, source }
}
