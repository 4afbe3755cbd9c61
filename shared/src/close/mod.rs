//! Partitions that are complete: compacted, switched in the catalog in one step, and what waits for
//! them started. Steps, ownership and what is deleted when: docs/COMMIT_PROTOCOL.md.

mod action;

pub use action::{ActionCall, ActionState, Actions};
