#![cfg_attr(test, allow(clippy::unwrap_used))]
//! The one-machine runtime and what the command line is made of.
pub mod runtime;
