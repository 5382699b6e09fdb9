//! Stacks of the target while it runs. Invariant: a sampler never symbolizes; it leaves addresses, modules and losses.

pub mod perf;
mod raw;
mod report;
pub mod unwind;

pub use raw::*;
pub use report::SamplingReport;

use anyhow::Result;

/// A source of stacks: perf events, later eBPF, or a recording that is replayed in tests.
pub trait Sampler: Send {
    /// Starts sampling these processes, with their descendants where `children`.
    fn start(&mut self, pids: &[u32], children: bool) -> Result<Box<dyn Recording>>;
}

/// Sampling under way.
pub trait Recording: Send {
    /// Threads of ours that read and unwind, for the accounting of their CPU.
    fn thread_ids(&self) -> Vec<u32>;
    /// Ends it and gives everything sampled since the start.
    fn stop(self: Box<Self>) -> Result<(RawSamples, SamplingReport)>;
}
