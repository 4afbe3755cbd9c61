//! Dead letters → rows, after the table's schema was mended: each letter once, whatever crashes and
//! however many replays run side by side (`docs/COMMIT_PROTOCOL.md`, Replay).
//!
//! ```text
//! open letter files ──► judge each letter again ──► rows, letters that stay ──► one commit that
//!   (lineage)             by today's schema                                      replaces the files
//! ```
//!
//! A shard's replays have a chain of their own. Its positions are not records but **letter files**:
//! a commit that lists a position replaces that file, which it says by name, and holds every letter
//! of it again, as a row or as a letter. C2 on this chain is C8: no letter file is replaced twice.
//! Rows keep the provenance of the record they come from.
//!
//! [`failures`] reads what an event source mapping gave up on; those records go through the ordinary
//! attempt of their own shard.

pub mod failures;
mod judge;
mod letters;
mod lineage;
mod run;
#[cfg(test)]
mod tests;

pub use letters::{Columns, Letters};
pub use lineage::{Fate, LetterFileRef, Resolution, fates, open_files, resolutions};
pub use run::{Counts, Mode, Replay, ReplayReport, Selection};
