//! Records of one shard → committed files.
mod keys;
mod rows;

pub use rows::{PartitionFile, RowBuffers};
