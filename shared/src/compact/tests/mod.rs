//! Compaction beside a naive model: rows as trees, sorted and deduped in a vector.

mod crash;
mod current;
mod evolution;
mod model;
mod refusals;
mod rows;
pub(crate) mod store;
