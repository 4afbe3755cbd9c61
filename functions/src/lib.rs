#![cfg_attr(test, allow(clippy::unwrap_used))]
//! Lambda functions: thin shells over [`weir`], each also callable in the process of the local runtime.
//!
//! A function reads its environment once ([`context`]), hands each event to the library and prints one
//! line an invocation ([`emf`], [`close`]). No payload is ever printed.

pub mod close;
pub mod context;
pub mod emf;
pub mod identity;
pub mod ingest;
mod kinesis;
pub mod lake;
pub mod memory;
mod runtime;
