//! Analysis of stored runs: pure functions from a run to findings. Invariant: no I/O, no file format, no server's name.

pub mod compare;
pub mod cost;
pub mod judge;
pub mod page;
pub mod statistics;
pub mod time;

pub use cost::tally::Identity;
