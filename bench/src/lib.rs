//! What the benches work on: clickstream records of about 540 bytes, and Kinesis events of them.
//! The same rows for the same seed, on every machine.

pub mod clickstream;
pub mod kinesis;
