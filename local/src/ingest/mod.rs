//! Backfill: NDJSON files → the lake, at full speed and resumable.

mod load;
mod source;
mod worker;

pub use load::{Load, Progress};
pub use source::{Packing, Source};
