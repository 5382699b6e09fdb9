//! Stacks of the target while it runs. Invariant: a sampler never symbolizes; it leaves addresses, modules and losses.

mod choose;
mod collect;
mod cross_check;
pub mod ebpf;
mod fields;
mod followed;
mod off_cpu;
mod options;
pub mod perf;
mod processes;
mod rate;
mod raw;
mod report;
mod start;
mod thread;
mod timer;
pub mod unwind;

pub use choose::{Chosen, Unwinding, choose, permitted};
pub use cross_check::{Agreement, Findings};
pub use followed::{FollowOptions, FollowedEvent, FollowingReport, Happened, RawFollowed, Socket, Task};
pub use off_cpu::{OffCpuReport, RawOffCpu, RawWait};
use options::LARGEST_COPY;
pub use options::{EventChoice, Options};
pub use rate::{
    ChosenRate, DEFAULT_BUDGET, DEFAULT_FREQUENCY, FOLLOWING, Following, LOWEST_RATE, OnTarget, within_budget,
};
pub use raw::*;
pub use report::{NO_KERNEL, PER_THREAD, SamplingReport};
pub use timer::{BareTimers, interrupt_cost};

use anyhow::{Result, bail};

/// A process to sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// The process.
    pub pid: u32,
    /// Its descendants are sampled with it.
    pub children: bool,
}

impl Sampled {
    /// The process without its descendants.
    pub fn alone(pid: u32) -> Sampled {
        Sampled { pid, children: false }
    }

    /// The process with its descendants.
    pub fn family(pid: u32) -> Sampled {
        Sampled { pid, children: true }
    }
}

/// A source of stacks: eBPF, perf events, or a recording that is replayed in tests.
pub trait Sampler: Send {
    /// Does beforehand what takes time (reading the files that the processes have mapped), so that no window has to
    /// wait for it; `progress` is told what.
    fn prepare(&mut self, sampled: &[Sampled], progress: &dyn Fn(&str)) -> Result<()> {
        let _ = (sampled, progress);
        Ok(())
    }
    /// Samples at this rate from the next start on.
    fn set_rate(&mut self, chosen: ChosenRate);
    /// Starts sampling these processes.
    fn start(&mut self, sampled: &[Sampled]) -> Result<Box<dyn Recording>>;
    /// Follows what carries the queries in these processes, the first of which is the server itself; returns when it is
    /// being followed, which takes a moment where its tasks have to be found.
    ///
    /// # Errors
    /// What the host or this way of sampling does not permit.
    fn follow(&mut self, sampled: &[Sampled], options: &FollowOptions) -> Result<Box<dyn Carrying>> {
        let _ = (sampled, options);
        bail!("stacks are followed over copies here, not in the kernel")
    }
}

/// Following what carries the queries, under way.
pub trait Carrying: Send {
    /// Threads of ours that read, for the accounting of their CPU.
    fn thread_ids(&self) -> Vec<u32>;
    /// Ends it and gives the events since the start, with the stacks that they name.
    fn stop(self: Box<Self>) -> Result<(RawSamples, RawFollowed)>;
}

/// Sampling under way.
pub trait Recording: Send {
    /// Threads of ours that read and unwind, for the accounting of their CPU.
    fn thread_ids(&self) -> Vec<u32>;
    /// From now on waits count, where they are followed: samples have their times and are cut later, waits are sums.
    fn begin_window(&self) {}
    /// From now on they count no more.
    fn end_window(&self) {}
    /// Ends it and gives everything sampled since the start.
    fn stop(self: Box<Self>) -> Result<(RawSamples, SamplingReport)>;
}
