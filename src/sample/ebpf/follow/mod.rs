//! Follows what carries the queries, by events of the kernel and probes at the functions of async tasks. Invariant:
//! nothing of the target is changed, and when this ends, by whatever way, nothing stays attached.
//!
//! Tasks need two steps: first wakers alone are probed, which tells what tasks there are and where in a task's header
//! its functions are named; then the poll functions of just those tasks are probed too.

mod hit;
mod interrupts;
mod probes;
mod recording;
mod shapes;
mod tasks;

pub use recording::Followed;
pub use shapes::Following;
pub use tasks::NoTasks;

use super::program::KernelProgram;
use tasks::TaskFunctions;

/// Tries all that following takes, and lets it go again: ns that a hit of a probe takes on this host.
///
/// # Errors
/// What the kernel refuses.
pub fn try_following(kernel: &mut KernelProgram) -> anyhow::Result<u64> {
    let _attached = kernel.attach_following()?;
    hit::cost(kernel)
}

/// How many types of tasks a running program has, by its symbols.
///
/// # Errors
/// Why that is not known.
pub fn types_of_tasks(pid: u32) -> Result<usize, NoTasks> {
    TaskFunctions::of(pid).map(|functions| functions.polls.len())
}
