//! The one-machine runtime: a Kinesis endpoint, an event source mapping and a Lambda host.
pub mod endpoint;
pub mod function;
mod journal;
pub mod lock;
pub mod poller;
