//! Glue `TableInput` JSON → [`TableSchema`]: parsed and checked once, at the border.

mod types;

pub use types::*;
