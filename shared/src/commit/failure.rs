//! A store's failure → whether waiting helps, and one line that says what to do.
//!
//! | what happened | retryable | way out |
//! |---|---|---|
//! | disk full, quota, file size limit | yes | free space |
//! | folder not writable | no | permissions |
//! | no connection, no such host, connection lost | yes | network, endpoint |
//! | no credentials found | no | set them |
//! | credentials or policy refused (403, 401), clock off | no | the variable, the policy, the clock |
//! | no such bucket, wrong region | no | the address, the region |
//! | throttled or broken service (429, 5xx), anything else | yes | it is tried again |

use std::error::Error as _;
use std::fmt;
use std::io;

use crate::error::Error;

/// The error of an operation on an object, in the lake (or catalog) at `address`.
pub(crate) fn failed(
    operation: &'static str,
    object: &str,
    address: &str,
    cause: object_store::Error,
) -> Error {
    let retryable = is_retryable(&cause);
    // The root of a lake has no key.
    let object = if object.is_empty() { address.to_owned() } else { object.to_owned() };
    let advice = advice(Trouble::of(&cause), address);
    let source = Box::new(Failure { reason: reason(&cause), advice, _cause: cause });
    Error::Store { operation, object, retryable, source }
}

/// Whether trying again later can help without anyone changing anything. Everything is a bad moment
/// but what only a person can change. A full disk is a bad moment.
pub(crate) fn is_retryable(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    let unsupported = matches!(
        error,
        E::InvalidPath { .. }
            | E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::UnknownConfigurationKey { .. }
    );
    let passing = matches!(Trouble::of(error), Trouble::DiskFull | Trouble::Unreachable | Trouble::Passing);
    passing && !unsupported
}

/// Whether the answer means that there is no such object: not so if there is no such bucket.
pub(crate) fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && Trouble::of(error) != Trouble::NoBucket
}

/// One line: the root of the matter, and the way out. The store's own words stay in `Debug`.
#[derive(Debug)]
struct Failure {
    reason: String,
    advice: String,
    _cause: object_store::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.advice)
    }
}

impl std::error::Error for Failure {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    DiskFull,
    NotWritable,
    Unreachable,
    NoCredentials,
    Refused,
    Clock,
    NoBucket,
    Region,
    Passing,
}

impl Trouble {
    fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let text = error.to_string();
        // Only asked for credentials when none are set.
        if ["169.254.169.254", "169.254.170.2"].iter().any(|address| text.contains(address)) {
            return Self::NoCredentials;
        }
        match code(&text) {
            Some("NoSuchBucket") => return Self::NoBucket,
            Some("RequestTimeTooSkewed") => return Self::Clock,
            Some("PermanentRedirect" | "AuthorizationHeaderMalformed") => return Self::Region,
            Some("ExpiredToken" | "InvalidToken") => return Self::Refused,
            _ if text.contains("without LOCATION") => return Self::Region,
            // A list that is refused comes without the error's own variant.
            _ if text.contains("403 Forbidden") || text.contains("401 Unauthorized") => return Self::Refused,
            _ => {}
        }
        if matches!(error, E::PermissionDenied { .. } | E::Unauthenticated { .. }) {
            return match kind(error) {
                Some(io::ErrorKind::PermissionDenied) => Self::NotWritable,
                _ => Self::Refused,
            };
        }
        use io::ErrorKind as K;
        match kind(error) {
            Some(K::StorageFull | K::QuotaExceeded | K::FileTooLarge) => Self::DiskFull,
            Some(K::PermissionDenied | K::ReadOnlyFilesystem) => Self::NotWritable,
            Some(
                K::ConnectionRefused
                | K::ConnectionReset
                | K::ConnectionAborted
                | K::HostUnreachable
                | K::NetworkUnreachable
                | K::NotConnected
                | K::TimedOut
                | K::BrokenPipe
                | K::UnexpectedEof,
            ) => Self::Unreachable,
            _ if ["error sending request", "dns error", "timed out"].iter().any(|t| text.contains(t)) => {
                Self::Unreachable
            }
            _ => Self::Passing,
        }
    }
}

fn advice(trouble: Trouble, address: &str) -> String {
    match trouble {
        Trouble::DiskFull => format!(
            "free some space for {address}, then go on: what is committed stays"
        ),
        Trouble::NotWritable => format!("let this user write to {address}, or give another lake"),
        Trouble::Unreachable => format!(
            "the store of {address} cannot be reached now: check the network and AWS_ENDPOINT_URL, then try again"
        ),
        Trouble::NoCredentials => {
            "no credentials are set: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
                .to_owned()
        }
        Trouble::Refused => format!(
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what their policy allows on {address}"
        ),
        Trouble::Clock => "set the clock of this machine right".to_owned(),
        Trouble::NoBucket => format!("create the bucket, or correct the address {address}"),
        Trouble::Region => format!("set AWS_REGION to the region of the bucket of {address}"),
        Trouble::Passing => "try again later".to_owned(),
    }
}

/// What the store itself said: S3's code and message, else the innermost cause.
fn reason(error: &object_store::Error) -> String {
    let text = error.to_string();
    if let Some(code) = code(&text) {
        return match between(&text, "<Message>", "</Message>") {
            Some(message) => format!("{code}: {}", message.trim_end_matches('.')),
            None => code.to_owned(),
        };
    }
    let mut root = error.source();
    while let Some(next) = root.and_then(|e| e.source()) {
        root = Some(next);
    }
    root.map_or(text, ToString::to_string)
}

/// The code of S3's answer.
fn code(text: &str) -> Option<&str> {
    between(text, "<Code>", "</Code>")
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    text.split_once(open)?.1.split_once(close).map(|(inner, _)| inner)
}

/// The kind of the operating system's error at the bottom.
fn kind(error: &object_store::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    let mut kind = None;
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            kind = Some(io.kind());
        }
        source = error.source();
    }
    kind
}
