#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]
//! What `loadgen` is made of. In reading order:
//!
//! ```text
//! schedule ─► generate ─► target ─► ledger        what was sent when, and what was acknowledged
//!                 │           │
//!                 │           └─► stream ─► function ─► lake ─► watch     latency per event
//!                 └──────────────────────────────────────────► truth     lost, twice, misplaced
//! ```
pub mod cli;
pub mod generate;
pub mod run;
pub mod target;
pub mod truth;
pub mod watch;
