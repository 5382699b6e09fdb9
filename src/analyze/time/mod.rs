//! Where a query's time goes: places at the sockets, the tree of nodes, populations, tails, off-CPU time, slices of
//! time.

pub mod correlation;
pub mod growth;
pub mod hands;
pub mod nodes;
pub mod off_cpu;
pub mod places;
pub mod populations;
pub mod scraped;
pub mod series;
pub mod slices;
pub mod tails;
pub mod uses;
mod wait_kinds;

pub use wait_kinds::{WaitKinds, Waiting};
