//! How a window was sampled: the provenance that travels with every profile. Stored as `sampling.json`. Invariant: each
//! field has one author. The sampler (or an import) makes the report of its recording; what depends on the window is
//! filled by the methods here.

use super::{ChosenRate, Findings, Incomplete, RawSamples};
use crate::clock::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How that fall-back begins.
pub const PER_THREAD: &str = "one event per thread instead of one per CPU";

/// How the fall-back to samples of user space alone begins.
pub const NO_KERNEL: &str = "no kernel frames: perf_event_paranoid forbids them";

/// Provenance and losses of one window's samples: of the recording, until [`SamplingReport::within`] cuts it to the
/// window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SamplingReport {
    /// `cycles`, `cpu-clock`, `itimer-prof (HTTP)`, `perf (recorded)`: what made a sample happen.
    pub event: String,
    /// Why not the better source, where a fall-back was taken; empty otherwise.
    pub fallbacks: Vec<String>,
    /// Samples per second and CPU asked for.
    pub frequency: u64,
    /// Why so many; `None`: imported, or by a version that told it among the fall-backs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<ChosenRate>,
    /// ns of CPU time that one sample stands for (cpu-clock), on the first CPU: on each other one up to 6 % more, so
    /// that no two tick in step; the profile's ns are exact. `None` where the event has another unit.
    pub period: Option<u64>,
    /// How user stacks were unwound: `call-frame tables in the kernel (eBPF)`, `call-frame information over stack
    /// copies of up to 65528 bytes`, `as recorded`.
    pub unwinder: String,
    /// Kernel frames are in the stacks.
    pub kernel_stacks: bool,
    /// Samples of the target inside the window.
    pub samples: u64,
    /// Samples that belonged to other processes and were left out (whole recording).
    pub foreign: u64,
    /// Records the kernel dropped because a ring was full (all processes, whole recording).
    pub lost: u64,
    /// Times the kernel throttled the event (whole recording).
    pub throttled: u64,
    /// Samples inside the window whose interrupt came after their thread had lost the CPU: they are counted for the
    /// thread that ran when they were due, with a stack at which it was switched out.
    #[serde(default)]
    pub late: u64,
    /// Mean delay of the sampling timer's interrupt in ns, where it was still in time; `None`: not known.
    #[serde(default)]
    pub timer_delay: Option<u64>,
    /// How other walks of the same stacks compare, where that was asked for.
    #[serde(skip)]
    pub cross_checks: Option<Findings>,
    /// Samples inside the window whose user stack is complete (call-frame information says that there is no caller);
    /// `None`: it is not known of them, as of imported ones.
    pub complete: Option<u64>,
    /// Samples whose user stack is not complete, by reason and module.
    pub incomplete: Vec<(String, u64)>,
    /// Share of the CPU weight whose leaf frame has a name, 0..1; `None` where nothing was sampled.
    pub symbolized: Option<f64>,
    /// Samples whose leaf frame has no name, by reason and module.
    pub misses: Vec<(String, u64)>,
    /// CPU of the sampler thread in ns, reading and unwinding, over the recording's whole span.
    pub sampler_cpu: Option<u64>,
    /// CPU in ns that the kernel took to follow the stacks of `recorded`, while the threads that it charges waited.
    /// `None`: not measured.
    #[serde(default)]
    pub kernel_cpu: Option<u64>,
    /// The whole span in which samples were taken, which is not exactly the window's; `None`: not known, as of imported
    /// stacks without times.
    pub recording: Option<Span>,
    /// The interval that the profile covers where it could not be cut to the window (stacks recorded without times);
    /// `None`: the window's span.
    #[serde(default)]
    pub covers: Option<Span>,
    /// Samples taken over the recording's whole span (the divisor of `sampler_cpu`).
    pub recorded: u64,
}

impl SamplingReport {
    /// Of samples that another program has taken, unwound and counted, each for `period` ns of CPU where that is known.
    pub fn imported(event: String, period: Option<u64>, samples: u64) -> SamplingReport {
        SamplingReport {
            event,
            period,
            frequency: period.map_or(0, |nanos| 1_000_000_000 / nanos.max(1)),
            unwinder: "as recorded".into(),
            samples,
            recorded: samples,
            ..SamplingReport::default()
        }
    }

    /// Cut to a window: its samples, and how many of their stacks are complete.
    pub fn within(self, raw: &RawSamples, window: Span) -> SamplingReport {
        let mut reasons: BTreeMap<(Incomplete, String), u64> = BTreeMap::new();
        let (mut samples, mut complete, mut late) = (0, 0, 0);
        for sample in raw.samples.iter().filter(|sample| window.contains(sample.at)) {
            samples += 1;
            late += u64::from(sample.late);
            match raw.stacks[sample.stack as usize].incomplete {
                None => complete += 1,
                Some(reason) => *reasons.entry((reason, raw.ended_in(sample.stack))).or_default() += 1,
            }
        }
        let said = |((reason, module), count): ((Incomplete, String), u64)| (format!("{reason} in {module}"), count);
        let incomplete = reasons.into_iter().map(said).collect();
        SamplingReport { samples, late, complete: Some(complete), incomplete, ..self }
    }

    /// With how much of it has names: the share of the CPU weight, and the misses by reason and module.
    pub fn named(self, symbolized: Option<f64>, misses: Vec<(String, u64)>) -> SamplingReport {
        SamplingReport { symbolized, misses, ..self }
    }

    /// The fall-back to events of single threads, which miss processes that nobody has opened one on.
    pub fn per_thread(&self) -> Option<&String> {
        self.fallbacks.iter().find(|fallback| fallback.starts_with(PER_THREAD))
    }

    /// The kernel's part of the CPU was not sampled, by permission.
    pub fn user_space_only(&self) -> bool {
        self.fallbacks.iter().any(|fallback| fallback.starts_with(NO_KERNEL))
    }

    /// With one more thing that is not as it should be.
    pub fn fell_back(mut self, why: String) -> SamplingReport {
        self.fallbacks.push(why);
        self
    }
}
