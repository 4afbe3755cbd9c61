//! What the service answered → an error with the operation, the object and the way out.

use std::fmt;

use crate::error::Error;

/// Codes that ask to come again later.
const THROTTLES: [&str; 11] = [
    "ThrottlingException",
    "ThrottledException",
    "Throttling",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ProvisionedThroughputExceededException",
    "TooManyRequestsException",
    "SlowDown",
];
/// Other codes that pass. The client has repeated the request where that could help at once; a later
/// call may succeed.
const PASSING: [&str; 8] = [
    "InternalServiceException",
    "InternalFailure",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "OperationTimeoutException",
    "ConcurrentModificationException",
    "VersionMismatchException",
    "ResourceNotReadyException",
];

/// A call without an answer that says yes.
#[derive(Debug)]
pub(super) enum Failure {
    /// The service said no.
    Refused {
        code: String,
        message: String,
        /// Something went wrong there, not here.
        of_service: bool,
    },
    /// It was asked, and no readable answer came.
    Lost(String),
    /// It was not asked.
    Unsent(String),
}

impl Failure {
    /// The code of a refusal.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Lost(_) | Self::Unsent(_) => None,
        }
    }

    /// Whether the same request can succeed in a moment.
    pub(super) fn passes_soon(&self) -> bool {
        match self {
            Self::Refused { code, of_service, .. } => *of_service || THROTTLES.contains(&&**code),
            Self::Lost(_) => true,
            Self::Unsent(_) => false,
        }
    }

    /// The error of a call; `action` is what IAM calls it (`glue:GetTable`).
    pub(super) fn of(&self, operation: &'static str, object: &str, action: &str) -> Error {
        let (source, retryable) = match self {
            Self::Refused { code, message, of_service } => {
                (Cause::refused(code, message, action), *of_service || is_passing(code))
            }
            Self::Lost(reason) | Self::Unsent(reason) => (Cause::unanswered(reason), true),
        };
        Error::Store { operation, object: object.to_owned(), retryable, source: Box::new(source) }
    }
}

/// Why not, and what to do.
#[derive(Debug)]
struct Cause {
    reason: String,
    advice: String,
}

impl Cause {
    fn refused(code: &str, message: &str, action: &str) -> Self {
        Self { reason: format!("{code}: {message}"), advice: advice(code, message, action) }
    }

    fn unanswered(reason: &str) -> Self {
        let advice = "look at the credentials, AWS_REGION, AWS_ENDPOINT_URL_GLUE and the network".to_owned();
        Self { reason: reason.to_owned(), advice }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

impl std::error::Error for Cause {}

/// The error of one item of a batch.
pub(super) fn item_failed(
    operation: &'static str,
    object: &str,
    action: &str,
    (code, message): (&str, &str),
) -> Error {
    let source = Box::new(Cause::refused(code, message, action));
    Error::Store { operation, object: object.to_owned(), retryable: is_passing(code), source }
}

/// Whether trying again later can help without anyone changing anything.
pub(super) fn is_passing(code: &str) -> bool {
    PASSING.contains(&code) || THROTTLES.contains(&code)
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
