#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! Weir as its users meet it: built programs, real files, readers that others wrote.

mod bad_moments;
mod closing_readers;
mod current;
mod demo;
mod dynamodb;
mod environment;
mod ingest;
mod loadgen;
mod producers;
mod programs;
mod quarantine;
mod replay_s3;
mod s3;
mod soak;
mod up;
mod verify;
