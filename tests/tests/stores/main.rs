#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! The commit protocol against real stores: memory, a local disk, an S3 server, and that server
//! behind a network that fails.
//!
//! [`conformance`] is the suite that every kind of store has to pass.

mod chains;
mod conformance;
mod faults;
mod flushing;
mod objects;
mod place;
