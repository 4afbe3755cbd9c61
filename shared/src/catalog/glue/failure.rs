//! What the service answered → an error with the operation, the object and the way out.

use std::fmt;

use aws_sdk_glue::error::{ProvideErrorMetadata, SdkError};

use crate::error::Error;

/// Codes of answers that pass, beside time-outs and broken connections. The SDK has repeated the
/// request already; a later call may succeed.
const PASSING: [&str; 13] = [
    "ThrottlingException",
    "ThrottledException",
    "Throttling",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "InternalServiceException",
    "InternalFailure",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "OperationTimeoutException",
    "ConcurrentModificationException",
    "VersionMismatchException",
    "ResourceNotReadyException",
];

/// A refusal of Glue: its code and words, and what to do.
#[derive(Debug)]
struct Failure {
    reason: String,
    advice: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

impl std::error::Error for Failure {}

/// The error of a call; `action` is what IAM calls it (`glue:GetTable`).
pub(super) fn failed<E, R>(
    operation: &'static str,
    object: &str,
    action: &str,
    error: &SdkError<E, R>,
) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug,
{
    let (reason, advice, retryable) = match code(error) {
        Some(code) => {
            let message = error.as_service_error().and_then(|e| e.message()).unwrap_or("no message");
            (format!("{code}: {message}"), advice(code, message, action), is_passing(code))
        }
        None => (causes(error), "look at AWS_REGION, AWS_ENDPOINT_URL_GLUE and the network".to_owned(), true),
    };
    Error::Store {
        operation,
        object: object.to_owned(),
        retryable,
        source: Box::new(Failure { reason, advice }),
    }
}

/// The error of one item of a batch.
pub(super) fn item_failed(
    operation: &'static str,
    object: &str,
    action: &str,
    (code, message): (&str, &str),
) -> Error {
    let source = Failure { reason: format!("{code}: {message}"), advice: advice(code, message, action) };
    let (object, retryable) = (object.to_owned(), is_passing(code));
    Error::Store { operation, object, retryable, source: Box::new(source) }
}

/// The code of a refusal; none if there was no readable answer.
pub(super) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error()?.code()
}

/// Whether trying again later can help without anyone changing anything.
pub(super) fn is_passing(code: &str) -> bool {
    PASSING.contains(&code)
}

fn advice(code: &str, message: &str, action: &str) -> String {
    match code {
        "AccessDeniedException" | "AccessDenied" => {
            format!("allow {action} to the role that asks (docs/OPERATIONS.md, \"Glue\")")
        }
        "EntityNotFoundException" if message.starts_with("Database ") => {
            "make the database with `aws glue create-database`, or name another".to_owned()
        }
        "ConcurrentModificationException" | "VersionMismatchException" => {
            "somebody changed it in between; run it again".to_owned()
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" | "ExpiredTokenException" => {
            "look at the credentials: AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN, or the role".to_owned()
        }
        _ => String::new(),
    }
}

/// The causes of an error without an answer, innermost last.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}
