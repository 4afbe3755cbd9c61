//! One request to a service of AWS that speaks JSON, signed with the store's credentials and sent by
//! its client. Three calls in all, so no SDK of their own; close repeats what meets a bad moment.

use object_store::HeaderValue;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use serde_json::Value;

use crate::catalog::glue::AwsAccess;
use crate::error::{Error, Result};

/// A service and the one call of it.
pub(super) struct Service {
    /// As the setting of its address has it: `AWS_ENDPOINT_URL_SFN`.
    setting: &'static str,
    /// As host names and signatures have it.
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
    operation: &'static str,
}

impl Service {
    pub(super) const STEP_FUNCTIONS: Service = Service {
        setting: "sfn",
        name: "states",
        headers: &[
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", "AWSStepFunctions.StartExecution"),
        ],
        operation: "start an execution at",
    };
    pub(super) const EVENTS: Service = Service {
        setting: "eventbridge",
        name: "events",
        headers: &[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AWSEvents.PutEvents")],
        operation: "put an event to",
    };
    pub(super) const LAMBDA: Service = Service {
        setting: "lambda",
        name: "lambda",
        headers: &[("content-type", "application/json"), ("x-amz-invocation-type", "Event")],
        operation: "invoke a function at",
    };

    fn address(&self, access: &AwsAccess, region: &str) -> String {
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        access.endpoint(self.setting).map(str::to_owned).unwrap_or_else(|| {
            let name = self.name;
            format!("https://{name}.{region}.amazonaws.com{suffix}")
        })
    }
}

/// An answer that says yes.
pub(super) struct Answer {
    /// Null if it has no body.
    pub(super) content: Value,
    /// The service's id of the request.
    pub(super) request: Option<String>,
}

/// An answer that says no.
pub(super) struct Refusal {
    /// Without the namespace before `#`.
    pub(super) code: String,
    pub(super) message: String,
}

/// Asks once, at a path below the service's address.
///
/// # Errors
/// A bad moment: no answer, a throttle, a failure of the service.
pub(super) async fn call(
    access: &AwsAccess,
    service: &Service,
    (region, path): (&str, &str),
    body: &Value,
) -> Result<std::result::Result<Answer, Refusal>> {
    let address = service.address(access, region);
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Store {
        operation: service.operation,
        object: address.clone(),
        retryable: true,
        source,
    };
    let credential = access.credential().await.map_err(|e| failed(e.into()))?;
    let mut request = HttpRequest::new(HttpRequestBody::from(body.to_string()));
    *request.method_mut() = "POST".parse().map_err(|_| Error::Internal("no method".to_owned()))?;
    *request.uri_mut() = format!("{address}/{path}").parse().map_err(|e| failed(format!("{e}").into()))?;
    let headers = request.headers_mut();
    for (name, value) in service.headers {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    AwsAuthorizer::new(&credential, service.name, region).authorize(&mut request, None);
    let response = access.http().execute(request).await.map_err(|e| failed(e.into()))?;
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let (request, kind) = (header("x-amzn-requestid"), header("x-amzn-errortype"));
    let (request, kind) = (request.map(str::to_owned), kind.map(str::to_owned));
    let body = response.into_body().bytes().await.map_err(|e| failed(e.into()))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(Ok(Answer { content: answer, request }));
    }
    let text =
        |names: [&str; 2]| names.iter().find_map(|name| answer.get(*name)?.as_str()).map(str::to_owned);
    // `com.amazonaws.states#Name` in a body, `Name:http://…` in a header.
    let code = kind.or_else(|| text(["__type", "code"])).unwrap_or_else(|| status.to_string());
    let code = code.rsplit('#').next().and_then(|code| code.split(':').next()).unwrap_or_default().to_owned();
    let message = text(["message", "Message"]).unwrap_or_else(|| "no message".to_owned());
    // As many run as may is not too many requests: it is waited for, and nothing is repeated meanwhile.
    let as_many_as_may = text(["Reason", "reason"]).is_some_and(|reason| reason.contains("Concurrent"));
    if status.is_server_error() || is_passing(&code) && !as_many_as_may {
        return Err(passing(service.operation, &address, &code, &message));
    }
    Ok(Err(Refusal { code, message }))
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
