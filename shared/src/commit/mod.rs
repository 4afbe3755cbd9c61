//! Append-only logs of what is in the lake, one chain of commits a shard (`docs/COMMIT_PROTOCOL.md`).
//!
//! ```text
//! batch ──► trim ──► build files ──► put at slot names ──► put version n+1 ──► delete what is dead
//!            ▲                            │ taken               │ taken
//!            └────────────────────────────┴──────── walk ◄──────┘
//! ```
//!
//! [`attempt`] writes, [`reader`] reads; they share the format and nothing else.
pub mod attempt;
pub(crate) mod checkpoint;
pub mod encoding;
pub(crate) mod failure;
mod folder;
pub mod format;
mod known;
pub(crate) mod left;
pub mod log;
pub mod positions;
pub mod reader;
pub mod store;

pub use attempt::{Built, BuiltFile, Outcome, ShardWriter};
pub use known::Folding;
pub use positions::PositionSet;
pub use store::{LakeStore, Requests};

#[cfg(test)]
mod tests;
