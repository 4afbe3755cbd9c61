//! Glue `TableInput` JSON → [`TableSchema`]: parsed and checked once, at the border.
//!
//! ```text
//! TableInput (serde) ──► names ──► hive_type ──► column rules ──► table settings ──► TableSchema
//!        ▲                                                                              │
//!        └────────────── complete(): provenance columns, SerDe, weir.schema_hash ◄──────┘
//! ```
//!
//! What is bare in `schemas/` and what stands completed in a catalog parse to the same schema.
//! Nothing here reads a file or a catalog.

mod arrow;
mod column;
mod constraint;
mod fits;
mod hive_type;
mod names;
mod parameters;
mod parse;
mod pattern;
mod table_input;
mod types;

#[cfg(test)]
mod tests;

pub use arrow::arrow_type;
pub use hive_type::HiveTypeError;
pub use parameters::parse_duration;
pub use pattern::Pattern;
pub use table_input::{ColumnInput, StorageDescriptor, TableInput};
pub use types::*;

/// Columns that say where a row came from, in order; they come last in file and catalog.
pub const PROVENANCE_COLUMNS: [(&str, HiveType); 5] = [
    ("_stream", HiveType::String),
    ("_shard", HiveType::String),
    ("_sequence", HiveType::String),
    ("_subsequence", HiveType::Int),
    ("_arrived_at", HiveType::Timestamp),
];

/// Columns of `weir.unknown_fields=rescue`, before the provenance columns: the unknown fields as
/// JSON text, and whether that text was cut at [`crate::limits::MAX_RESCUED_BYTES`].
pub const RESCUED_COLUMNS: [(&str, HiveType); 2] =
    [("_rescued", HiveType::String), ("_rescued_truncated", HiveType::Boolean)];
