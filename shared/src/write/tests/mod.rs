//! A model of rows, shredded by the Dremel paper's rules and read back through the arrow reader;
//! `arrow-json` says what should come out.

mod footer;
pub(crate) mod model;
mod roundtrip;
