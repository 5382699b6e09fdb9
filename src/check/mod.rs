//! Checks: checks that must hold for a window's numbers to mean what they say. Each carries its evidence; its prose
//! and remedy are made in `Display` and [`Check::remedy`]. Invariant: a status is computed from the evidence alone, so
//! a stored check read back says the same.

mod prose;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pass,
    /// Could not be checked; the evidence says why.
    NotMeasured,
    Warn,
    Fail,
}

/// One check with its evidence. CPU times and latencies in ns unless a name says otherwise; shares are 0..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "guard")]
pub enum Check {
    /// In a closed loop N = X * R; what is left of N is time in which a client had no query under way.
    GeneratorGap { connections: usize, throughput: f64, mean_latency: f64 },
    /// CPU of the generator over its threads' wall time, and the least time that answers waited for it.
    GeneratorCpu { cpu: u64, threads: usize, nanos: u64, delay_per_query: Option<f64> },
    /// Queries that failed.
    Errors { errors: u64, completed: u64, first: String },
    /// Queries that answered another number of rows than before the warm-up.
    WrongRows { wrong: u64, completed: u64 },
    /// The places between sending and reading, by the sockets, against the client's own mean latency: parts of one
    /// whole.
    PlacesSum { places: f64, latency: f64 },
    /// Requests of clients that are no part of the load, by the sockets: their work is in the server's figures, but
    /// not in what those are divided by.
    OtherClients { connections: u64, others: u64, own: u64 },
    /// Reads on other connections that began after a write was acknowledged, and how many of them did not see it.
    StaleReads {
        writes: u64,
        reads: u64,
        stale: u64,
        /// The isolation level permits it.
        permitted: bool,
        isolation: Option<String>,
        /// The first stale read in words.
        first: Option<String>,
    },
    /// Sessions that the client lost.
    SessionsLost { lost: u64, opened: u64 },
    /// A server's figure that says that sessions come and go.
    ServerChurn { name: String, unit: String, value: f64, at_most: f64 },
    /// Whether the code path in focus is the one that was measured.
    Focus { name: String, value: f64, at_least: f64, remedy: String },
    /// Samples that the kernel dropped or suppressed.
    LostSamples { lost: u64, throttled: u64, recorded: u64 },
    /// Samples whose stack reaches its root.
    CompleteStacks { complete: u64, samples: u64, reasons: Vec<(String, u64)> },
    /// CPU by samples against CPU by the scheduler, as shares of one CPU; steal may lie in the former only.
    SampledCpu { sampled: f64, accounted: f64, stolen: f64, samples: u64 },
    /// CPU of processes that are no part of the measurement, of the machine's capacity.
    OtherProcesses { others: u64, capacity: u64 },
    /// CPU taken by the hypervisor, of the machine's capacity.
    Steal { stolen: u64, capacity: u64 },
    /// The machine's CPUs are all busy.
    MachineBusy { busy: u64, capacity: u64 },
    /// The target's busiest thread, of the window.
    BusiestThread { thread: String, tid: u32, cpu: u64, nanos: u64 },
    /// Samples whose leaf has a name, and whether the executable has symbols.
    Symbols { symbolized: Option<f64>, executable: Option<bool>, misses: Vec<(String, u64)> },
    /// The target is still the process that the manifest describes.
    TargetRestarted { started: String, now: String, resets: usize },
    /// How far metrics and completions can be apart: the longest scrape over the window.
    Skew { skew: f64 },
    /// What could not be checked, and why.
    Unchecked { what: String, why: String },
}

/// Bounds. Each says why it is what it is; a window beyond a bound is not wrong, but says something else than it
/// seems to.
mod bound {
    /// Of the latency: the client's system calls are 0.1 to 1 % of it, so more is a place that was not seen.
    pub const PLACES_SUM: f64 = 0.03;
    /// Of all requests: as much as the server's costs per query are then too high.
    pub const OTHER_CLIENTS: f64 = 0.01;
    /// Of N: beyond it the per-query figures at this level are those of fewer clients.
    pub const GENERATOR_GAP: f64 = 0.03;
    /// Of a core per load thread: above it a queue in the generator doubles a wait at least (M/D/1 at 0.85: 2.8
    /// services).
    pub const GENERATOR_CPU: f64 = 0.85;
    /// Of the weight: the share whose callers are unknown must stay below the differences one looks for (1 %).
    pub const COMPLETE_STACKS: f64 = 0.99;
    /// Of the sampled weight lost: a hundredth moves a frame's cost less than the interval of 10,000 samples does.
    pub const LOST_SAMPLES: f64 = 0.01;
    /// Relative difference, beside two standard errors: /proc's accounting and the sampler's cut differ by that much.
    pub const SAMPLED_CPU: f64 = 0.02;
    /// Of the machine: as much as a small level's whole load; it moves latencies through the run queue.
    pub const OTHER_PROCESSES: f64 = 0.10;
    /// Of the machine: stolen time is charged to whoever runs, so it is an error of the same size on every cost.
    pub const STEAL: f64 = 0.02;
    /// Of the machine: beyond it the run queue's length, not the server, sets the latency.
    pub const MACHINE_BUSY: f64 = 0.95;
    /// Of the window: a thread that runs all the time is a bound on the throughput whatever the other CPUs do.
    pub const BUSIEST_THREAD: f64 = 0.95;
    /// Of the sampled weight without a name: the largest part that a table may hide.
    pub const SYMBOLIZED: f64 = 0.95;
    /// Of the window: means per query can be off by as much.
    pub const SKEW: f64 = 0.10;
}

impl Check {
    pub fn status(&self) -> Status {
        let fail = |bad: bool| if bad { Status::Fail } else { Status::Pass };
        let warn = |bad: bool| if bad { Status::Warn } else { Status::Pass };
        match self {
            Check::GeneratorGap { .. } => fail(self.share().abs() > bound::GENERATOR_GAP),
            Check::GeneratorCpu { .. } => warn(self.share() > bound::GENERATOR_CPU),
            Check::PlacesSum { .. } => warn(self.share().abs() > bound::PLACES_SUM),
            Check::OtherClients { .. } => warn(self.share() > bound::OTHER_CLIENTS),
            Check::Errors { errors, .. } => fail(*errors > 0),
            Check::WrongRows { wrong, .. } => fail(*wrong > 0),
            Check::StaleReads { reads: 0, .. } => Status::NotMeasured,
            Check::StaleReads { stale, permitted, .. } => fail(*stale > 0 && !permitted),
            Check::SessionsLost { lost, .. } => fail(*lost > 0),
            Check::ServerChurn { value, at_most, .. } => fail(value > at_most),
            Check::Focus { value, at_least, .. } => fail(value < at_least),
            Check::LostSamples { throttled, .. } => warn(self.share() > bound::LOST_SAMPLES || *throttled > 0),
            Check::CompleteStacks { .. } => warn(self.share() < bound::COMPLETE_STACKS),
            Check::SampledCpu { sampled, accounted, stolen, samples } => {
                let tolerance = accounted * (bound::SAMPLED_CPU + 2.0 / (*samples as f64).sqrt());
                fail(*sampled < accounted - tolerance || *sampled > accounted + stolen + tolerance)
            }
            Check::OtherProcesses { .. } => warn(self.share() > bound::OTHER_PROCESSES),
            Check::Steal { .. } => warn(self.share() > bound::STEAL),
            Check::MachineBusy { .. } => warn(self.share() > bound::MACHINE_BUSY),
            Check::BusiestThread { .. } => warn(self.share() > bound::BUSIEST_THREAD),
            Check::Symbols { symbolized, executable, .. } => {
                warn(*executable == Some(false) || symbolized.is_some_and(|s| s < bound::SYMBOLIZED))
            }
            Check::TargetRestarted { started, now, .. } => fail(started != now),
            Check::Skew { skew } => warn(*skew > bound::SKEW),
            Check::Unchecked { .. } => Status::NotMeasured,
        }
    }

    /// The evidence as the share that is compared with the bound; 0 where the check has none.
    fn share(&self) -> f64 {
        let of = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        match self {
            Check::GeneratorGap { connections, throughput, mean_latency } => {
                1.0 - throughput * mean_latency / 1e9 / *connections as f64
            }
            Check::OtherClients { others, own, .. } => of(*others, others + own),
            Check::PlacesSum { places, latency } => 1.0 - places / latency,
            Check::GeneratorCpu { cpu, threads, nanos, .. } => of(*cpu, *threads as u64 * nanos),
            Check::LostSamples { lost, recorded, .. } => of(*lost, lost + recorded),
            Check::CompleteStacks { complete, samples, .. } => of(*complete, *samples),
            Check::OtherProcesses { others, capacity } => of(*others, *capacity),
            Check::Steal { stolen, capacity } => of(*stolen, *capacity),
            Check::MachineBusy { busy, capacity } => of(*busy, *capacity),
            Check::BusiestThread { cpu, nanos, .. } => of(*cpu, *nanos),
            _ => 0.0,
        }
    }
}
