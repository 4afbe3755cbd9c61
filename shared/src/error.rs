//! The one error type. A bad record is never an error (it is a [`crate::dead_letter::DeadLetter`]);
//! an error is a bad moment (retryable) or a bad deployment (not).

use std::borrow::Cow;

/// Result of everything that can meet a bad moment or a bad deployment.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, with the operation, the object and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot be read: names the setting and gives an example value.
    #[error("{setting}: {problem}; example: {setting}={example}")]
    Setting {
        /// Name of the setting as the user wrote it (`WEIR_LAKE`, `--table`).
        setting: Cow<'static, str>,
        /// What is wrong with it.
        problem: String,
        /// A value that works.
        example: Cow<'static, str>,
    },
    /// A table definition that Weir or Athena cannot work with.
    #[error("table {table}: {problem}")]
    Schema {
        /// Table name.
        table: String,
        /// What is wrong, where, and the way out.
        problem: String,
    },
    /// The catalog has no such table.
    #[error("table {table} is not in the catalog {catalog}; create it with `weir tables apply`")]
    NoSuchTable {
        /// Table name.
        table: String,
        /// The catalog's address.
        catalog: String,
    },
    /// A store operation failed.
    #[error("could not {operation} {object}")]
    Store {
        /// What was attempted (`put`, `get`, `list`, `delete`).
        operation: &'static str,
        /// Key of the object.
        object: String,
        /// Whether trying again later can help.
        retryable: bool,
        /// The cause.
        #[source]
        source: Source,
    },
    /// Bytes that were stored do not mean what they should (unknown format, hole in the chain).
    #[error("could not read {object}: {problem}")]
    Format {
        /// Key of the object.
        object: String,
        /// What was expected and found.
        problem: String,
        /// Whether a newer program or a later moment can read it.
        retryable: bool,
    },
    /// The event handed to the function is not one.
    #[error("unreadable event: {0}")]
    Event(String),
    /// Anything that is a defect of this program.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Whether the same call can succeed later without anyone changing anything.
    pub fn retryable(&self) -> bool {
        match self {
            Error::Store { retryable, .. } | Error::Format { retryable, .. } => *retryable,
            _ => false,
        }
    }
}
