#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! Weir as its users meet it: built programs, real files, readers that others wrote.

mod environment;
mod ingest;
mod programs;
mod up;
mod verify;
