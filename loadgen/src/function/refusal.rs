//! What a call of Lambda's API was refused with, and whether to make it again.

use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::target::chain;

/// Whether another try may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It did not happen, and may later: a throttle, a change under way, a fault of the service.
    Later,
    /// It may have happened: no answer came.
    Unknown,
    /// It never will.
    Never,
}

/// A refused call.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) again: Again,
    code: String,
    text: String,
}

impl Refusal {
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let service = error.as_service_error();
        let code = service.and_then(|e| e.code()).unwrap_or_default().to_owned();
        let message = service.and_then(|e| e.message()).unwrap_or_default();
        let text = match code.is_empty() {
            true => chain(&error),
            false => format!("{code}: {message}"),
        };
        let again = match &error {
            // 409: a change is under way. 412: the configuration is not the one that was read.
            SdkError::ServiceError(answer) => match answer.raw().status().as_u16() {
                409 | 412 | 429 | 500.. => Again::Later,
                _ => Again::Never,
            },
            SdkError::ConstructionFailure(_) => Again::Never,
            _ => Again::Unknown,
        };
        Self { again, code, text }
    }

    /// Whether a value is not one that the function can have.
    pub(super) fn is_about_a_value(&self) -> bool {
        ["InvalidParameterValueException", "ValidationException"].contains(&self.code.as_str())
    }

    /// What to do about it, as the end of a sentence.
    pub(super) fn way_out(&self) -> &'static str {
        match self.code.as_str() {
            "ResourceNotFoundException" => {
                "; give the function's name with --function and its region with --region"
            }
            code if code.contains("AccessDenied") => {
                "; the keys need lambda:GetFunctionConfiguration, UpdateFunctionConfiguration, InvokeFunction and, \
                 for a sweep, ListEventSourceMappings"
            }
            "UnrecognizedClientException" | "InvalidSignatureException" | "ExpiredTokenException" => {
                "; set the keys with `eval $(aws configure export-credentials --format env)`"
            }
            _ => "",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
