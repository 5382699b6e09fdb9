//! Follows what carries the queries, by events of the kernel and probes at the functions of async tasks. Invariant:
//! of the target nothing is changed but that the kernel puts breakpoints where probes are, and when this ends, by
//! whatever way, nothing stays attached.
//!
//! Tasks need two steps: first wakers alone are probed, which tells what tasks there are and where in a task's header
//! its functions are named; then the poll functions of just those tasks are probed too.

mod hit;
mod interrupts;
mod probes;
mod recording;
mod shapes;
mod tasks;

pub use recording::{EventRoom, Followed};
pub use shapes::Following;
pub use tasks::NoTasks;

use super::program::KernelProgram;
use tasks::TaskFunctions;

/// Tries a probe at a function of wireprof's own, and lets it go again: ns that a hit takes on this host.
///
/// # Errors
/// What the kernel refuses.
pub fn try_probe(kernel: &mut KernelProgram) -> anyhow::Result<u64> {
    hit::cost(kernel)
}

/// How many types of tasks a running program has, by its symbols.
///
/// # Errors
/// Why that is not known.
pub fn types_of_tasks(pid: u32) -> Result<usize, NoTasks> {
    TaskFunctions::of(pid).map(|functions| functions.polls.len())
}
