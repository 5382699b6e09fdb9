//! Stacks of the target while it runs. Invariant: a sampler never symbolizes; it leaves addresses, modules and losses.

mod report;

pub use report::SamplingReport;
