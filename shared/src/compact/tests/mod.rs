//! Compaction beside a naive model: rows as trees, sorted and deduped in a vector.

mod model;
mod rows;
