#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]
//! Weir: event streams to partitioned Parquet tables, committed exactly once.
//!
//! In reading order; a module uses only those before it.
pub mod error;
pub mod clock;
pub mod limits;
pub mod metrics;
pub mod record;
mod scan;
mod number;
pub mod schema;
pub mod dead_letter;
pub mod unpack;
pub mod event;
pub mod columns;
pub mod decode;
pub mod partition;
pub mod naming;
pub mod write;
pub mod quarantine;
pub mod commit;
pub mod catalog;
pub mod compact;
pub mod close;
pub mod pipeline;
pub mod replay;
pub mod verify;

pub use error::{Error, Result};
