//! Stacks of the target while it runs. Invariant: a sampler never symbolizes; it leaves addresses, modules and losses.

mod raw;
mod report;

pub use raw::*;
pub use report::SamplingReport;
