//! Everything outside that a window listens to, open. Invariant: what is not there (`None`) has been named in the run's
//! notes, or nobody asked for it.

use super::across::{AlsoHost, TargetHost};
use super::follow::FollowPlan;
use super::load_hosts::LoadHosts;
use super::server_profiles::ServerProfiler;
use super::{Event, FreshnessProbe, QueryCounter};
use crate::load::Driver;
use crate::metrics::{Scraper, Selector};
use crate::run::{Missing, ScrapeCost};
use crate::sample::{Sampled, Sampler};
use crate::statements::StatementSource;
use crate::target::{CpuLatencyLock, Watched, start_ticks};
use crate::wire::WireSource;
use std::sync::{Arc, Mutex};

/// The load, the processes and the instruments of the windows of one turn; an instrument that is `None` is not used in
/// this run.
pub struct Sources {
    /// The code that makes the load, or reports on somebody else's.
    pub driver: Box<dyn Driver>,
    /// What counts queries on the server, where the driver cannot count inside the window.
    pub counter: Option<QueryCounter>,
    /// The processes to sample and to account CPU to.
    pub processes: Processes,
    /// The sampler of stacks.
    pub sampler: Option<Box<dyn Sampler>>,
    /// Servers that take a CPU profile of themselves in each window.
    pub profilers: Vec<ServerProfiler>,
    /// The reader of the server's metrics.
    pub scraper: Option<Arc<dyn Scraper>>,
    /// What one of its scrapes takes; `None`: not measured.
    pub scrape_cost: Option<ScrapeCost>,
    /// Series to keep of each scrape.
    pub series: Vec<Selector>,
    /// The reader of the database's statement statistics.
    pub statements: Option<Box<dyn StatementSource>>,
    /// Have the database forget its statistics before each window.
    pub reset_statements: bool,
    /// The program at the sockets, which tells where each query is.
    pub wire: Option<Box<dyn WireSource>>,
    /// What carries the queries is followed after the first window of a level; `None`: it is not.
    pub follow: Option<FollowPlan>,
    /// Whether reads see acknowledged writes; asked after each window.
    pub freshness: Option<FreshnessProbe>,
    /// Held while they are open; `None`: idle CPUs sleep as they are set to.
    pub awake: Option<CpuLatencyLock>,
    /// Somebody looks on while windows run.
    pub live: bool,
    /// What no window of this run has, and why.
    pub absent: Vec<Missing>,
    /// The target's host, where that is another one: then the instruments above are those beside the load.
    pub there: Option<TargetHost>,
    /// Further hosts, of each of which a process is sampled in the same windows.
    pub also: Vec<AlsoHost>,
    /// The hosts that drive the load, where these are others.
    pub load_hosts: Option<LoadHosts>,
}

/// The processes on this host that are measured.
pub struct Processes {
    /// All that CPU is accounted to.
    pub watched: Watched,
    /// `None`: it is not on this host, or not known.
    pub target: Option<TargetProcess>,
    /// Sampled in the same windows, by name; their samples are kept apart from the target's.
    pub companions: Vec<(String, Sampled)>,
}

/// The process under load.
#[derive(Clone, Copy)]
pub struct TargetProcess {
    /// What the sampler gets: its process number, and whether its children count.
    pub sampled: Sampled,
    /// Its start, in clock ticks after boot.
    pub started: Option<u64>,
}

impl Processes {
    /// All processes to sample, the target first.
    pub fn sampled(&self) -> Vec<Sampled> {
        let target = self.target.map(|target| target.sampled);
        target.into_iter().chain(self.companions.iter().map(|(_, sampled)| *sampled)).collect()
    }

    /// The target's number, if that process has ended (another one may have its number by now).
    pub fn target_gone(&self) -> Option<u32> {
        let target = self.target?;
        let pid = target.sampled.pid;
        (start_ticks(pid) != target.started).then_some(pid)
    }
}

impl Sources {
    /// A load, and nothing that is listened to.
    pub fn of_load(driver: Box<dyn Driver>) -> Sources {
        Sources {
            driver,
            counter: None,
            processes: Processes { watched: Watched::default(), target: None, companions: Vec::new() },
            sampler: None,
            profilers: Vec::new(),
            scraper: None,
            scrape_cost: None,
            series: Vec::new(),
            statements: None,
            reset_statements: false,
            wire: None,
            follow: None,
            freshness: None,
            awake: None,
            live: false,
            absent: Vec::new(),
            there: None,
            load_hosts: None,
            also: Vec::new(),
        }
    }

    /// What takes the sampler long is done before the first window.
    pub fn warm(&mut self, tell: &mut (dyn FnMut(Event) + Send)) {
        let sampled = self.processes.sampled();
        if let Some(sampler) = &mut self.sampler {
            let tell = Mutex::new(tell);
            let progress = |text: &str| (tell.lock().unwrap_or_else(|e| e.into_inner()))(Event::Preparing(text));
            // What fails here fails again, and is told, when the first window begins to sample.
            let _ = tokio::task::block_in_place(|| sampler.prepare(&sampled, &progress));
        }
    }
}
