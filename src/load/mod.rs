//! The load: N pre-authenticated connections that repeat a workload, and what they saw.

mod driver;
mod trace;

pub use driver::{Driver, Load};
pub use trace::*;
