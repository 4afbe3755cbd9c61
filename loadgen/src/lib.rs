#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]
//! What `loadgen` is made of. In reading order:
//!
//! ```text
//! schedule ─► generate ─► target ─► ledger        what was sent when, and what was acknowledged
//!                 │           │
//!                 │           └─► stream ─► function ─► lake ─► watch     latency per event
//!                 └──────────────────────────────────────────► truth     lost, twice, misplaced
//!
//! batch ─► host or function ─► cold, sweep          what a start, a batch and a memory size cost
//! generate ─► bench                               what the generator itself costs
//! results of all of them ─► report, compare, cost
//! ```
pub mod batch;
pub mod bench;
pub mod cli;
pub mod cold;
pub mod compare;
pub mod cost;
pub mod function;
pub mod generate;
pub mod host;
pub mod report;
pub mod run;
pub mod scratch;
pub mod sweep;
pub mod target;
pub mod truth;
pub mod watch;
