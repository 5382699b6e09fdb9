//! Windows taken in pairs with an instrument and without it, within one load session: what observing costs.
//! Invariant: a pair is whole or absent, and an instrument that could not be started has its reason and no pairs.

use super::Missing;
use serde::{Deserialize, Serialize};

/// `observer.json`: all pairs of a run, of one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObserverWindows {
    /// Clients of the load.
    pub level: usize,
    /// Length of each window as asked for.
    pub window_seconds: f64,
    /// Samples per second and CPU as asked for; `None`: stacks are not sampled in this run.
    pub frequency: Option<u64>,
    /// From one scrape to the next, as in the run's own windows; `None`: metrics are not read in this run.
    pub scrape_seconds: Option<f64>,
    /// All instruments; one that could not be used has its reason and no pairs.
    pub instruments: Vec<InstrumentPairs>,
}

/// The pairs of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstrumentPairs {
    /// What runs in the second window of each pair only.
    pub instrument: Instrument,
    /// In the order that they were taken.
    pub pairs: Vec<ObservedPair>,
    /// Why there are none, or no more.
    pub missing: Option<Missing>,
}

/// What is switched on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instrument {
    /// A timer at the sampler's rate on each CPU, and nothing that it does: what any sampler by a timer costs on this
    /// host.
    Timer,
    /// On-CPU stacks.
    Sampling,
    /// Off-CPU stacks, in addition to on-CPU stacks, which are sampled in both windows.
    OffCpu,
    /// The program at the sockets.
    Wire,
    /// Scrapes of the metrics, as often as in the run's own windows.
    Metrics,
    /// All that the run's own windows have, against nothing.
    All,
}

/// A window without the instrument and one with it, whichever came first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedPair {
    /// The window without the instrument.
    pub without: ObservedWindow,
    /// The window with it.
    pub with: ObservedWindow,
}

/// What one short window counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedWindow {
    /// Completed; never 0.
    pub queries: u64,
    /// ns of CPU of the target, by the scheduler's accounting.
    pub target_cpu: u64,
    /// ns of CPU of all processes that CPU is accounted to: the target, what stands behind it, the load generator and
    /// wireprof itself.
    pub watched_cpu: u64,
    /// Scrapes within the window.
    pub scrapes: u64,
}
