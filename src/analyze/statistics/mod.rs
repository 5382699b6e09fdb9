//! Statistics that the other groups use: distributions, intervals, autocorrelation, when to stop. Invariant: numbers
//! in, numbers out; nothing here knows of windows or queries.

pub(in crate::analyze) mod autocorrelation;
pub(in crate::analyze) mod distribution;
pub mod interval;
pub mod signed_rank;
pub mod stopping;
