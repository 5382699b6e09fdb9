//! The load: N pre-authenticated connections that repeat a workload, and what they saw.

mod trace;

pub use trace::*;
