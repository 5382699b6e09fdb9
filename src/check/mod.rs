//! Checks: conditions that must hold for a window's numbers to mean what they say. Each carries its evidence; its prose
//! and remedy are made in `Display` and [`Check::remedy`]. Invariant: a status is computed from the evidence alone, so
//! a stored check read back says the same.

mod prose;
mod seen;

pub use seen::{Blind, Seen};

use serde::{Deserialize, Serialize};

/// The result of a check, ordered from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The condition holds.
    Pass,
    /// Could not be checked; the evidence says why.
    NotMeasured,
    /// The condition does not hold, and some of the window's figures say something else than they seem to.
    Warn,
    /// The condition does not hold, and the window's figures are not those that were asked for.
    Fail,
}

/// One check with its evidence. CPU times and latencies in ns unless a name says otherwise; shares are 0..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "guard")]
pub enum Check {
    /// In a closed loop N = X * R; what is left of N is time in which a client had no query under way.
    GeneratorGap {
        /// N: number of clients.
        connections: usize,
        /// X: queries per second.
        throughput: f64,
        /// R: mean latency in ns.
        mean_latency: f64,
    },
    /// CPU of the generator's busiest thread over its wall time, and the least time that answers waited for it.
    GeneratorCpu {
        /// ns of CPU of all load threads, user and system.
        cpu: u64,
        /// Load threads (a count).
        threads: usize,
        /// ns of CPU of the load thread that used most of it; `None`: not told, and the mean stands for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        busiest: Option<u64>,
        /// There was no CPU for more load threads when their number was found.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        no_room: bool,
        /// ns of wall time that `cpu` was counted over.
        nanos: u64,
        /// ns that an answer waited for the generator at least, on average; `None`: not measured.
        delay_per_query: Option<f64>,
    },
    /// Queries that failed.
    Errors {
        /// Failed queries (a count), without those whose SQLSTATE the workload accepts.
        errors: u64,
        /// Completed queries (a count); the failed ones are not among them.
        completed: u64,
        /// The most frequent error: SQLSTATE, message and how often; empty where there was none.
        first: String,
    },
    /// Queries that answered another number of rows than before the warm-up.
    WrongRows {
        /// Such queries (a count).
        wrong: u64,
        /// Completed queries (a count).
        completed: u64,
    },
    /// The places between sending and reading, by the sockets, against the client's own mean latency: parts of one
    /// whole.
    PlacesSum {
        /// ns per query in all places but the client.
        places: f64,
        /// ns per query that it waited in the generator's own memory, where no socket has it, by the generator's clock:
        /// to be sent with others, and to be handled. `None`: it waits at the sockets (epoll), or that is not told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_generator: Option<f64>,
        /// Mean latency in ns, by the client.
        latency: f64,
    },
    /// Requests of clients that are no part of the load, by the sockets: their work is in the server's figures, but
    /// not in what those are divided by.
    OtherClients {
        /// Connections of other clients on which anything happened in the window (a count).
        connections: u64,
        /// Requests that these sent (a count).
        others: u64,
        /// Requests of the load (a count).
        own: u64,
    },
    /// Reads on other connections that began after a write was acknowledged, and how many of them did not see it.
    StaleReads {
        /// Acknowledged writes (a count).
        writes: u64,
        /// Reads that began after one of them (a count); 0: not measured.
        reads: u64,
        /// Reads that did not see the write before them (a count).
        stale: u64,
        /// The isolation level permits it.
        permitted: bool,
        /// The sessions' isolation level as the server tells it; `None`: not known.
        isolation: Option<String>,
        /// The first stale read in words.
        first: Option<String>,
    },
    /// Sessions that the client lost.
    SessionsLost {
        /// Lost before the window's end (a count).
        lost: u64,
        /// Sessions that it had opened (a count).
        opened: u64,
    },
    /// A server's figure that says that sessions come and go.
    ServerChurn {
        /// What the preset calls the figure.
        name: String,
        /// Unit of `value` and `at_most`, by the preset.
        unit: String,
        /// The figure in this window.
        value: f64,
        /// The greatest value with which sessions stay.
        at_most: f64,
    },
    /// Whether the code path in focus is the one that was measured.
    Focus {
        /// What the preset calls the figure.
        name: String,
        /// The figure in this window, in the unit of the preset's expression.
        value: f64,
        /// The least value with which the path was taken.
        at_least: f64,
        /// What to do where it was not, by the preset.
        remedy: String,
    },
    /// Samples that the kernel dropped or suppressed.
    LostSamples {
        /// Dropped because a ring was full (a count), over the whole recording.
        lost: u64,
        /// How often the kernel throttled the sampling event.
        throttled: u64,
        /// Samples taken (a count), over the whole recording.
        recorded: u64,
    },
    /// Samples whose stack reaches its root.
    CompleteStacks {
        /// Samples with a complete stack (a count).
        complete: u64,
        /// All samples of the target in the window (a count).
        samples: u64,
        /// The other samples (a count) by reason.
        reasons: Vec<(String, u64)>,
    },
    /// CPU by samples against CPU by the scheduler, as shares of one CPU; steal may lie in the former only.
    SampledCpu {
        /// CPUs that the target used, by the samples (ns of CPU per ns).
        sampled: f64,
        /// CPUs that the target used, by the kernel's accounting (ns of CPU per ns).
        accounted: f64,
        /// CPUs that the hypervisor took from the whole machine (ns per ns).
        stolen: f64,
        /// Samples of the target (a count).
        samples: u64,
        /// The samples are of user space alone, for this user may not sample the kernel; the accounting has both.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        user_space_only: bool,
    },
    /// CPU of processes that are no part of the measurement, of the machine's capacity.
    OtherProcesses {
        /// ns of CPU of these processes.
        others: u64,
        /// ns that all CPUs had: their number times the interval.
        capacity: u64,
    },
    /// CPU taken by the hypervisor, of the machine's capacity.
    Steal {
        /// ns taken, summed over the CPUs.
        stolen: u64,
        /// ns that all CPUs had: their number times the interval.
        capacity: u64,
    },
    /// The machine's CPUs are all busy.
    MachineBusy {
        /// ns that CPUs were busy, or taken by the hypervisor, summed over the CPUs.
        busy: u64,
        /// ns that all CPUs had: their number times the interval.
        capacity: u64,
    },
    /// The target's busiest thread, of the window.
    BusiestThread {
        /// The thread's name.
        thread: String,
        /// The thread's number.
        tid: u32,
        /// ns that it was on a CPU.
        cpu: u64,
        /// ns of wall time that `cpu` was counted over.
        nanos: u64,
        /// The number of threads at work, where each query under way has one for itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        one_each: Option<usize>,
    },
    /// Samples whose leaf has a name, and whether the executable has symbols.
    Symbols {
        /// Share of the sampled weight whose leaf function has a name, 0..1; `None`: not known.
        symbolized: Option<f64>,
        /// Whether the executable has symbols; `None`: not known.
        executable: Option<bool>,
        /// Samples without a name (a count) by reason and module.
        misses: Vec<(String, u64)>,
    },
    /// The target is still the process that the manifest describes.
    TargetRestarted {
        /// Start of the process that the manifest describes: RFC 3339, UTC, or in words where only the metrics tell.
        started: String,
        /// Start of the process at the window's end, in the same form.
        now: String,
        /// Metrics that went back between the two scrapes (a count).
        resets: usize,
    },
    /// How far metrics and completions can be apart: the longest scrape over the window.
    Skew {
        /// Share of the window, 0..1.
        skew: f64,
    },
    /// Whether the instruments saw the server that answered.
    TargetSeen(Seen),
    /// The time in the server's hands by what carried the queries against that by the sockets, in the seconds in which
    /// carriers were followed: one time, seen twice.
    CarriedTime {
        /// Queries in hand on average, by their carriers (ns per ns).
        carried: f64,
        /// Queries in hand on average, by the sockets (ns per ns).
        at_sockets: f64,
    },
    /// Events of the carriers that found no room.
    LostEvents {
        /// Such events (a count).
        lost: u64,
        /// Events that were kept (a count).
        events: u64,
    },
    /// The clocks of the load's host and of the target's: how well the window is the same one on both.
    HostClocks {
        /// ns that their relation can be wrong by.
        bound: u64,
        /// ns that the target's is ahead.
        offset: i64,
        /// Share by which it gains.
        drift: f64,
        /// Shortest round trip over the link in ns, which the bound follows from.
        round_trip: u64,
        /// Length of the window in ns.
        nanos: u64,
    },
    /// A check of one of several hosts that drive the load.
    OfLoadHost {
        /// The host, as the user names it.
        host: String,
        /// What is checked of it.
        check: Box<Check>,
    },
    /// What could not be checked, and why.
    Unchecked {
        /// What was to be checked, in words.
        what: String,
        /// Why it could not be, in words.
        why: String,
    },
}

/// Bounds. Each says why it is what it is; a window beyond a bound is not wrong, but says something else than it
/// seems to.
pub(crate) mod bound {
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
    /// Relative difference, in addition to two standard errors: /proc's accounting and the sampler's cut differ by that
    /// much.
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
    /// Of the time in hand by the sockets: the two are read some tens of ms apart, and load varies; more are queries or
    /// carriers that were not seen.
    pub const CARRIED_TIME: f64 = 0.05;
    /// Of all events: a query has ten or more of them, so that as many queries in a hundred have a part that is unseen.
    pub const LOST_EVENTS: f64 = 0.001;
    /// Of the window: means per query can be off by as much.
    pub const SKEW: f64 = 0.10;
    /// Of the window: counts of the load and of the server are then of windows that differ by more than their other
    /// errors.
    pub const HOST_CLOCKS: f64 = 0.01;
}

impl Check {
    /// The result, from the evidence alone; the bounds are those of this version.
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
            // What ran in the kernel is not among the samples, however much that was.
            Check::SampledCpu { user_space_only: true, sampled, accounted, stolen, .. }
                if *sampled <= accounted + stolen =>
            {
                Status::Warn
            }
            Check::SampledCpu { sampled, accounted, stolen, samples, .. } => {
                let tolerance = accounted * (bound::SAMPLED_CPU + 2.0 / (*samples as f64).sqrt());
                fail(*sampled < accounted - tolerance || *sampled > accounted + stolen + tolerance)
            }
            Check::OtherProcesses { .. } => warn(self.share() > bound::OTHER_PROCESSES),
            Check::Steal { .. } => warn(self.share() > bound::STEAL),
            Check::MachineBusy { .. } => warn(self.share() > bound::MACHINE_BUSY),
            // Nothing queues for a thread that one query has for itself.
            Check::BusiestThread { one_each: Some(_), .. } => Status::Pass,
            Check::BusiestThread { .. } => warn(self.share() > bound::BUSIEST_THREAD),
            Check::Symbols { symbolized, executable, .. } => {
                warn(*executable == Some(false) || symbolized.is_some_and(|s| s < bound::SYMBOLIZED))
            }
            Check::TargetRestarted { started, now, .. } => fail(started != now),
            Check::Skew { skew } => warn(*skew > bound::SKEW),
            Check::TargetSeen(seen) if !seen.blind().is_empty() => Status::Fail,
            Check::TargetSeen(seen) => warn(seen.children_work()),
            Check::CarriedTime { .. } => warn(self.share().abs() > bound::CARRIED_TIME),
            Check::LostEvents { .. } => warn(self.share() > bound::LOST_EVENTS),
            Check::HostClocks { .. } => warn(self.share() > bound::HOST_CLOCKS),
            Check::OfLoadHost { check, .. } => check.status(),
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
            Check::PlacesSum { places, latency, in_generator } => {
                let rest = latency - places;
                (rest - in_generator.unwrap_or(0.0).min(rest.max(0.0))) / latency
            }
            Check::GeneratorCpu { busiest: Some(busiest), nanos, .. } => of(*busiest, *nanos),
            Check::GeneratorCpu { cpu, threads, nanos, .. } => of(*cpu, *threads as u64 * nanos),
            Check::CarriedTime { carried, at_sockets } => carried / at_sockets - 1.0,
            Check::LostEvents { lost, events } => of(*lost, lost + events),
            Check::LostSamples { lost, recorded, .. } => of(*lost, lost + recorded),
            Check::CompleteStacks { complete, samples, .. } => of(*complete, *samples),
            Check::OtherProcesses { others, capacity } => of(*others, *capacity),
            Check::Steal { stolen, capacity } => of(*stolen, *capacity),
            Check::MachineBusy { busy, capacity } => of(*busy, *capacity),
            Check::BusiestThread { cpu, nanos, .. } => of(*cpu, *nanos),
            Check::HostClocks { bound, nanos, .. } => of(*bound, *nanos),
            _ => 0.0,
        }
    }
}
