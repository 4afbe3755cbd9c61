#![cfg_attr(test, allow(clippy::unwrap_used))]
//! The one-machine runtime and the command line of Weir.

pub mod cli;
pub mod closing;
pub mod generate;
pub mod ingest;
pub mod jobs;
pub mod runtime;
