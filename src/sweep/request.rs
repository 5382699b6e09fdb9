//! What the user asks of a measurement. Invariant: nothing in it is open and nothing has been changed for it; [`check`]
//! refuses what could be followed on no server.

use super::{Across, AlsoRequest, LoadHostsAsked, ObserverSpec, QueryCounter, Timing};
use crate::load::{self, Address, LoadError};
use crate::preset::{Preset, Step};
use crate::run::{BuiltFrom, PrecisionGoal};
use crate::sample;
use crate::workload::Workload;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::time::Duration;

/// What is measured, under which load, by which instruments, in which windows.
#[derive(Clone)]
pub struct Request {
    /// All that is particular to the kind of server.
    pub preset: Preset,
    /// The server under test.
    pub target: TargetRequest,
    /// What is sent to it.
    pub load: LoadRequest,
    /// The instruments.
    pub observe: ObserveRequest,
    /// The windows.
    pub plan: Plan,
    /// Arguments as typed, without secrets.
    pub arguments: Vec<String>,
    /// What the user calls the run.
    pub name: Option<String>,
}

/// The server, and what is set on it.
#[derive(Clone, Default)]
pub struct TargetRequest {
    /// The connection under load; `None`: the preset's.
    pub url: Option<String>,
    /// The administrator's connection; `None`: the preset's.
    pub internal_url: Option<String>,
    /// `None`: the process that listens at `url`.
    pub pid: Option<u32>,
    /// `pid` is measured although another process listens at `url`.
    pub pid_anyway: bool,
    /// Which preset was taken and why, where the user named none.
    pub chosen: Option<String>,
    /// What the user says that it was built from.
    pub source: BuiltFrom,
    /// Do the preset's set-up.
    pub setup: bool,
    /// The server is on this host, whatever name `url` has for it.
    pub here: bool,
    /// The host of the server, where that is another one.
    pub across: Option<Across>,
    /// Set after the preset's set-up, through the administrator's connection; always put back.
    pub parameters: Vec<Step>,
}

/// What is sent to the server.
#[derive(Clone)]
pub struct LoadRequest {
    /// The statements, and the proportions in which they are sent.
    pub workload: Workload,
    /// How the statements are sent.
    pub protocol: load::Protocol,
    /// Who sends them.
    pub driver: DriverChoice,
    /// What counts queries where no driver of ours does; `None`: the preset's, or the sockets.
    pub counter: Option<QueryCounter>,
    /// Statements run on each of the load's connections when it is opened.
    pub session: Vec<String>,
    /// The hosts that drive it; `None`: this one.
    pub hosts: Option<LoadHostsAsked>,
}

/// The instruments.
#[derive(Clone, Default)]
pub struct ObserveRequest {
    /// `None`: the preset's.
    pub metrics_url: Option<String>,
    /// Read no metrics, even where the preset has a URL.
    pub no_metrics: bool,
    /// The database whose statement statistics are read; `None`: the server itself, where the preset reads
    /// any.
    pub statements_url: Option<String>,
    /// Read no statement statistics.
    pub no_statements: bool,
    /// Have the database forget its statement statistics before each window.
    pub reset_statements: bool,
    /// Follow the sockets, to tell where each query is.
    pub wire: bool,
    /// Further processes to sample and to account CPU to, by number or name, and `http` addresses of the CPU profiles
    /// that servers take of themselves.
    pub companions: Vec<String>,
    /// Processes of further hosts to sample.
    pub also_hosts: Vec<AlsoRequest>,
    /// Further processes to account CPU to: what was started for this run.
    pub accounted: Vec<u32>,
    /// `None`: no sampling.
    pub sampling: Option<sample::Options>,
    /// How long what carries the queries is followed after the first window of each level; `None`: not at all.
    pub follow: Option<Duration>,
    /// Ask after each window whether reads see acknowledged writes.
    pub freshness: bool,
    /// Keep idle CPUs from sleeping while the sources are open.
    pub awake: bool,
    /// Tell once a second what is seen of a window that runs.
    pub live: bool,
    /// Measure after the windows what each instrument costs the target; `None`: nobody asked.
    pub observer: Option<ObserverSpec>,
}

/// The windows.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Numbers of clients; empty where the load is somebody else's.
    pub levels: Vec<usize>,
    /// Windows of each level (a count).
    pub replicates: usize,
    /// Seed of the random order of levels.
    pub seed: u64,
    /// Lengths of the warm-up and of the window.
    pub timing: Timing,
    /// Further windows of a level are taken until its large functions are known so well; `None`: those planned are all.
    pub precision: Option<PrecisionGoal>,
}

impl Request {
    /// The server under load.
    pub fn address(&self) -> Result<Address> {
        let url = self.target.url.clone().or(self.preset.connect.url.clone());
        let which = "which server? give --url, or a preset that knows its address (--preset materialize)";
        let url = url.ok_or_else(|| LoadError::Usage(which.into()))?;
        let address = Address::parse(&url)?;
        Ok(if self.target.here { address.on_this_host() } else { address })
    }
}

impl Request {
    /// Whether the workload has the query that is the preset's own, however it is written.
    pub fn has_own_query(&self) -> bool {
        let plain = |sql: &str| {
            let words: Vec<&str> = sql.trim().trim_end_matches(';').split_whitespace().collect();
            words.join(" ").to_lowercase()
        };
        let own = self.preset.workload.query.as_deref().map(plain);
        own.is_some_and(|own| self.load.workload.distinct_statements().into_iter().any(|sql| plain(sql) == own))
    }
}

#[cfg(test)]
impl Request {
    /// Of one server, with nothing sent, set or observed.
    pub fn example(preset: Preset) -> Request {
        Request {
            preset,
            target: TargetRequest::default(),
            load: LoadRequest {
                workload: Workload::none(),
                protocol: load::Protocol::default(),
                driver: DriverChoice::Own { threads: LoadThreads::Auto, client_work: Duration::ZERO },
                counter: None,
                session: Vec::new(),
                hosts: None,
            },
            observe: ObserveRequest::default(),
            plan: Plan {
                levels: vec![1],
                replicates: 1,
                seed: 0,
                timing: Timing { warmup: Duration::ZERO, window: Duration::from_secs(1) },
                precision: None,
            },
            arguments: Vec::new(),
            name: None,
        }
    }
}

/// Who drives the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverChoice {
    /// The load generator of this library.
    Own {
        /// How many threads drive the load.
        threads: LoadThreads,
        /// CPU that each answer costs a load thread.
        client_work: Duration,
    },
    /// dbbench: the path of its executable.
    Dbbench(PathBuf),
    /// wireprof on another host, which asked this one to observe.
    Elsewhere,
    /// Somebody else, with so many clients; `None`: as many as are connected to the server's port.
    Foreign {
        /// Number of clients.
        clients: Option<usize>,
    },
}

/// How many threads drive the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadThreads {
    /// As many as each level needs, found in the warm-up of its first window.
    #[default]
    Auto,
    /// So many, at most one for each client.
    Given(usize),
}

impl DriverChoice {
    /// Whether nothing is to be sent to the server.
    pub fn is_foreign(&self) -> bool {
        matches!(self, DriverChoice::Foreign { .. })
    }
}

/// Refuses what cannot be followed whatever the server is.
pub fn check(request: &Request) -> Result<()> {
    let (levels, planned) =
        (&request.plan.levels, !request.load.driver.is_foreign() && request.load.driver != DriverChoice::Elsewhere);
    if planned && levels.is_empty() || levels.contains(&0) {
        bail!(LoadError::Usage("levels are numbers of clients from 1 up, such as --levels 1,4,16,64".into()));
    }
    if request.plan.timing.window < Duration::from_millis(500) {
        bail!(LoadError::Usage("a window under 500 ms holds too few samples: give --window 1s or more".into()));
    }
    if matches!(request.load.driver, DriverChoice::Dbbench(_)) && !request.load.session.is_empty() {
        let why = "dbbench opens its own sessions, and SQL cannot be run on them first: put the settings into the URL \
                   (options=-c%20name%3Dvalue), or let wireprof drive the load";
        bail!(LoadError::Usage(why.into()));
    }
    let urls = [&request.target.url, &request.target.internal_url, &request.observe.statements_url];
    for url in urls.into_iter().flatten() {
        Address::parse(url)?;
    }
    for level in levels {
        request.load.workload.connections(*level)?;
    }
    Ok(())
}
