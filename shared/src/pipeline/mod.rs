//! Records of one shard → committed files.
mod build;
mod ingest;
mod keys;
mod rows;
#[cfg(test)]
mod tests;

pub use build::{BuildCounts, Delivery, Tables, data_file, dead_files};
pub use ingest::{Attempt, Ingest, Processed, check_targets};
pub use rows::{PartitionFile, RowBuffers};
