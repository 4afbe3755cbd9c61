#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]
//! Weir: event streams to partitioned Parquet tables, committed exactly once.
//!
//! In reading order; a module uses only those before it.
pub mod catalog;
pub mod clock;
pub mod columns;
pub mod commit;
pub mod dead_letter;
pub mod decode;
pub mod error;
pub mod limits;
pub mod metrics;
pub mod naming;
pub mod partition;
pub mod pipeline;
pub mod quarantine;
pub mod record;
pub mod schema;
pub mod unpack;
pub mod write;

pub use error::{Error, Result};
