//! Waits of the target's threads in one window, by stack. Invariant: a wait that the window's ends cut counts for its
//! part within; what could not be kept is counted as lost, never spread over the others.

use crate::clock::Span;
use serde::{Deserialize, Serialize};

/// Waits of one thread at one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawWait {
    /// Index into [`super::RawSamples::threads`].
    pub thread: u32,
    /// Index into [`super::RawSamples::stacks`].
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
    /// One entry a thread and stack.
    pub waits: Vec<RawWait>,
    /// Their totals and losses; of names and complete stacks it says nothing yet.
    pub report: OffCpuReport,
}

/// Provenance and losses of one window's waits. Stored as `offcpu.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OffCpuReport {
    /// The interval in which waits counted: within the window's own, between its two scrapes.
    pub span: Span,
    /// Waits that ended in it, of all threads.
    pub waits: u64,
    /// ns blocked within it, of all threads; those of waits that began before it or end after it too.
    pub blocked: u64,
    /// ns runnable without a CPU within it, of all threads.
    pub runnable: u64,
    /// Distinct stacks.
    pub stacks: u64,
    /// Waits whose own stack was followed; the others were at a place (system call, instruction and stack pointer of
    /// the same thread) that had given one stack eight times running, and are divided as those picked there at random
    /// were.
    pub followed: u64,
    /// ns of the waits that were divided.
    pub divided: u64,
    /// The part of `divided` at places where those picked had several stacks, in ns.
    pub divided_among_several: u64,
    /// ns of threads that did not run in the window up to then, so that nobody knows at which stack they waited.
    #[serde(default, rename = "unseen")]
    pub not_followed: u64,
    /// Share of the other ns whose stack is complete, 0..1; `None` where there are no other ns.
    pub complete: Option<f64>,
    /// ns of the stacks that are not complete, by reason and module.
    pub incomplete: Vec<(String, u64)>,
    /// Share of the ns whose leaf frame has a name, 0..1; `None` where nothing waited.
    pub symbolized: Option<f64>,
    /// Waits whose leaf frame has no name, by reason and module.
    pub misses: Vec<(String, u64)>,
    /// Waits that found no room.
    pub lost_waits: u64,
    /// Their ns within the window.
    pub lost_nanos: u64,
    /// Stacks that found no room; their waits are divided.
    pub lost_stacks: u64,
    /// Stacks that were told apart though their ids were the same (whole recording).
    pub collisions: u64,
    /// Stacks followed (whole recording).
    pub walks: u64,
    /// ns that the kernel took for it, while the threads that were leaving waited (whole recording). What counting a
    /// wait takes beyond (some 0.3 us) is not measured.
    pub kernel_cpu: u64,
}
