//! Column buffers in, the bytes of a Parquet file out; no arrow arrays between, no input or output.
//!
//! ```text
//! ColumnSet ── encode (one leaf → pages) ── pack (zstd, snappy, or as it is) ──► bytes of the file
//!                └─ hybrid, dictionary, extent                └─ facts ── footer ──► the end of it
//! ```
//!
//! The file profile is the one every reader of the lake takes (Athena, Hive, Redshift Spectrum,
//! Spark, DuckDB): format version 1, data pages v1, PLAIN and PLAIN_DICTIONARY with RLE levels,
//! page checksums, statistics in the column chunks and a page index. PLAIN_DICTIONARY stands for
//! both the dictionary page and the pages that use it, as parquet-mr writes version 1: readers
//! older than RLE_DICTIONARY know nothing else, and newer ones take both.

mod dictionary;
mod encode;
mod extent;
mod facts;
mod file;
mod footer;
mod hybrid;
mod origin;
mod pack;
mod page;
mod schema;
mod source;

#[cfg(test)]
pub(crate) mod tests;

pub use encode::Encoder;
pub use file::{FileFormat, FileWriter};
pub use origin::FileOrigin;

use crate::error::Error;

/// An error of the parquet library while it writes to memory: only a defect can cause it.
fn defect(error: parquet::errors::ParquetError) -> Error {
    Error::Internal(format!("could not write the file's metadata: {error}"))
}
