//! Waits of the target's threads in one window, by stack. Invariant: a wait that the window's ends cut counts for its
//! part within; what could not be kept is counted as lost, never spread over the rest.

use crate::clock::Span;
use serde::{Deserialize, Serialize};

/// Waits of one thread at one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawWait {
    /// Indices into [`super::RawSamples::threads`] and [`super::RawSamples::stacks`].
    pub thread: u32,
    pub stack: u32,
    /// Waits that ended within the window.
    pub waits: u64,
    /// ns from leaving the CPU to the wake-up.
    pub blocked: u64,
    /// ns from there, or from being preempted, to getting a CPU.
    pub runnable: u64,
}

/// All waits of one window.
#[derive(Clone, Debug, Default)]
pub struct RawOffCpu {
    pub waits: Vec<RawWait>,
    pub report: OffCpuReport,
}

/// Provenance and losses of one window's waits. Stored as `offcpu.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OffCpuReport {
    /// The interval in which waits counted: within the window's own, between its two scrapes.
    pub span: Span,
    /// Waits that ended in it, of all threads, and their ns.
    pub waits: u64,
    pub blocked: u64,
    pub runnable: u64,
    /// Distinct stacks.
    pub stacks: u64,
    /// Waits whose own stack was followed; the others were at a place (system call, instruction and stack pointer of
    /// the same thread) that had given one stack eight times running, and are divided as those picked there at random
    /// were.
    pub followed: u64,
    /// ns of the waits that were divided, and the part of it at places where those picked had several stacks.
    pub divided: u64,
    pub divided_among_several: u64,
    /// ns of threads that did not run in the window up to then, so that nobody knows at which stack they waited.
    #[serde(default)]
    pub not_followed: u64,
    /// Share of the other ns whose stack is complete, 0..1, and the ns of the rest by reason and module.
    pub complete: Option<f64>,
    pub incomplete: Vec<(String, u64)>,
    /// Share of the ns whose leaf frame has a name, 0..1, and the rest's waits by reason and module.
    pub symbolized: Option<f64>,
    pub misses: Vec<(String, u64)>,
    /// Waits that found no room, and their ns within the window; stacks that found none (their waits are divided).
    pub lost_waits: u64,
    pub lost_nanos: u64,
    pub lost_stacks: u64,
    /// Stacks that were told apart though their ids were the same (whole recording).
    pub collisions: u64,
    /// Stacks followed and ns that the kernel took for it, while the threads that were leaving waited (whole
    /// recording). What counting a wait takes beyond (some 0.3 us) is not measured.
    pub walks: u64,
    pub kernel_cpu: u64,
}
