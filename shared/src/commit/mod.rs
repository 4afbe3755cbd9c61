//! The commit log.
pub mod encoding;
pub mod positions;
