//! Lambda functions: thin shells over the library `weir`, and their handlers as library functions, so
//! that the local runtime runs the same code in a process of its own.

mod answer;
pub mod context;
mod emf;
pub mod ingest;

pub use answer::Answer;
