//! Lakes made by real attempts, a fault in each, and what is said of it.
mod closed;
mod faults;
mod planted;
mod races;
mod scale;
mod world;
