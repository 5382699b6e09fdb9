//! Which process is measured, which threads it has, what binary it is and what the host permits.

mod scheduler;

pub use scheduler::{MachineDelta, Role, SchedulerDelta, ThreadDelta};
