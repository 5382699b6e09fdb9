//! What to sample and how often: the options of both samplers, eBPF and perf events. Invariant: they say what is
//! asked for; what was taken instead stands in the sampling report.

use super::{ChosenRate, DEFAULT_FREQUENCY, Unwinding};
use serde::{Deserialize, Serialize};

/// Bytes of a stack that the kernel copies at most: below 64 KiB and a multiple of 8 (perf_copy_attr in
/// kernel/events/core.c).
pub(super) const LARGEST_COPY: u64 = 65_528;

/// What to sample and how often.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// Samples per second and CPU; bounded by [`super::perf::TOTAL_RATE`].
    pub frequency: u64,
    /// Why so many; `None`: nobody says.
    pub chosen: Option<ChosenRate>,
    /// `auto`, `cycles` or `cpu-clock`.
    pub event: EventChoice,
    /// How stacks are followed.
    pub unwinding: Unwinding,
    /// Upper bound of the stack copy in bytes.
    pub stack_bytes: u64,
    /// Follow waits too: how long threads are blocked or runnable, by stack. In the kernel only.
    pub off_cpu: bool,
    /// Have each stack found by framehop and along frame pointers too (see [`super::Findings`]).
    pub cross_checks: bool,
}

/// What makes a sample happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum EventChoice {
    /// CPU cycles where there is a PMU, else cpu-clock.
    Auto,
    /// The CPU's own counter of cycles; needs a PMU.
    Cycles,
    /// The kernel's timer on each CPU.
    CpuClock,
}

impl Options {
    /// At this rate from now on.
    pub fn set_rate(&mut self, chosen: ChosenRate) {
        self.frequency = chosen.frequency;
        self.chosen = Some(chosen);
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            frequency: DEFAULT_FREQUENCY,
            chosen: None,
            event: EventChoice::Auto,
            unwinding: Unwinding::Auto,
            stack_bytes: LARGEST_COPY,
            off_cpu: false,
            cross_checks: false,
        }
    }
}
