#![allow(clippy::unwrap_used, reason = "every function here is called by tests only")]
//! What end-to-end tests stand on: the built programs, scratch lakes, processes that are started
//! and killed, and readers and producers that others wrote. Nothing here knows how Weir works
//! inside; tests meet it as users do.

pub mod aws;
pub mod binaries;
pub mod fault_proxy;
pub mod lake;
pub mod lambda_api;
pub mod ministack;
pub mod place;
pub mod process;
pub mod python;
pub mod random;
pub mod readers;
pub mod runtime_api;
pub mod seaweed;
pub mod small_disk;
