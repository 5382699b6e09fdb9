//! Analysis of stored runs: pure functions from a run to findings. Invariant: no I/O, no file format, no server's name.

pub mod guards;
pub mod quantities;
