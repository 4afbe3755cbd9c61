//! Compaction beside a naive model: rows as trees, sorted and deduped in a vector.

mod current;
mod model;
mod rows;
