//! What goes together: from window to window (a function's cost and a metric's change per query), and within windows
//! (the slowest slices and what ran in them). Pure. Invariant: one false discovery rate is stated for each of the
//! two, and what was tested and not found is counted along with what was.

mod shifts;
mod slices;
mod together;

pub(in crate::analyze) use slices::by_slice;
pub use slices::{SlowFrame, SlowSlices, slow_slices};
pub use together::{Pair, Together, together};

/// Expected share of chance among what is found, of each of the two (Benjamini and Hochberg 1995).
pub const FALSE_DISCOVERY: f64 = 0.05;
/// Draws of the permutation tests: a probability of 1 in 20,001 is the least that they can give.
const DRAWS: usize = 20_000;
/// The same run gives the same answer.
const SEED: u64 = 0x5eed;
