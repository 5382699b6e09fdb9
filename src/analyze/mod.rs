//! Analysis of stored runs: pure functions from a run to findings. Invariant: no I/O, no file format, no server's name.

mod autocorrelation;
pub mod correlation;
pub mod demands;
pub mod diagnose;
pub mod difference;
mod distribution;
pub mod freshness;
pub mod growth;
pub mod guards;
pub mod hot;
pub mod interval;
pub mod ladder;
pub mod machine;
pub mod nodes;
pub mod observer;
mod owners;
pub mod places;
pub mod populations;
pub mod prediction;
pub mod processes;
pub mod quantities;
pub mod series;
pub mod statements;
pub mod stopping;
pub mod summary;
pub mod tails;
mod tally;
pub mod view;
pub mod waits;

pub use tally::Identity;
