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

pub use recording::{EventRoom, Followed};
pub use shapes::Following;
