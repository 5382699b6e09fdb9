//! What is known at a level, as the causes need it; its queueing network is made in `network.rs`. Invariant: each
//! figure is a mean over the level's windows, and one that any of them lacks is `None`; all times are ns.

use super::accounting::{Busiest, Cpu, Threads, busiest, cpu, generator};
use super::blocked::{Blocked, OffCpuWaits};
use super::queries_wait::CAUSES;
use crate::analyze::cost::quantities::{evaluate, microseconds};
use crate::analyze::judge::summary::{mean_latency, per_query, shares_busiest, think};
use crate::analyze::time::hands::LevelHands;
use crate::analyze::time::places::{HopPlaces, LevelPlaces, load_places};
use crate::analyze::time::uses::Undivided;
use crate::preset::Preset;
use crate::run::{Run, Window};
use crate::target::{Role, SchedulerDelta, ThreadDelta};
use crate::wire::Place;
use regex::Regex;
use serde::Serialize;
use std::collections::BTreeMap;

/// One level.
pub struct Facts<'a> {
    /// Number of clients.
    pub level: usize,
    /// Its windows.
    pub windows: Vec<&'a Window>,
    /// N: connections of the load; where they are not known, queries under way on average (Little's law).
    pub clients: f64,
    /// Queries that can be under way at once: the clients of a closed loop, else as many as were on average.
    pub under_way: f64,
    /// ns between an answer and the next query of a closed loop's client; `None`: the load is no closed loop, so that
    /// faster answers bring no further queries.
    pub think: Option<f64>,
    /// R: mean latency, ns.
    pub latency: f64,
    /// By whose account that is.
    pub latency_by: LatencyBy,
    /// X: queries a second.
    pub throughput: f64,
    /// The machine's CPUs; `None` without scheduler statistics of the machine.
    pub cpu: Option<Cpu>,
    /// The load generator's threads; `None` where they were not measured.
    pub generator: Option<Threads>,
    /// The server's busiest thread; `None` without scheduler statistics.
    pub thread: Option<Busiest>,
    /// The runtime's workers; `None` where the preset names none, or they were not measured.
    pub workers: Option<WorkersFacts>,
    /// What carried the queries in the server's hands; `None` where that was not followed.
    pub hands: Option<LevelHands>,
    /// What threads that handle queries wait for; `None` where that was not followed.
    pub blocked: Option<Blocked>,
    /// ns a query of it that are waits for locks, flushes, files and sleep.
    pub waited: f64,
    /// The round trip behind the server; `None` where the preset names none, or it was not measured.
    pub behind: Option<RoundTrip>,
    /// The load's own hop; `None` where not both of its ends were seen.
    pub places: Option<LevelPlaces>,
}

/// Who tells how long queries take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyBy {
    /// The load generator, by its own clock.
    Client,
    /// The sockets, from sending to reading: the load generator does not tell.
    Sockets,
    /// The server's sockets alone, from the arrival of a query to the sending of its answer: the clients are on other
    /// hosts.
    ServerSockets,
}

/// The runtime's workers, ns a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkersFacts {
    pub count: f64,
    /// Inside a task.
    pub busy: f64,
    pub on_cpu: f64,
    pub runnable: f64,
}

impl WorkersFacts {
    /// ns a query that a task held a worker while the thread was neither on a CPU nor waiting for one.
    pub fn blocked(&self) -> f64 {
        (self.busy - self.on_cpu - self.runnable).max(0.0)
    }
}

/// The round trip behind the server.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundTrip {
    /// ns of one round trip, by the server's own metric.
    pub call: f64,
    /// Name of the quantity of the preset that `call` comes from.
    pub measured_by: String,
    /// ns that one query waits for it, and the name of the quantity that tells; `None`: not measured.
    pub wait: Option<(f64, String)>,
    /// Round trips a query.
    pub per_query: f64,
    /// The statement's own time; `None` without statement statistics of it.
    pub service: Option<Service>,
    /// The second hop, where both of its ends were seen.
    pub places: Option<LevelPlaces>,
    /// Shared calls under way at once, on average; `None`: not measured.
    pub slots: Option<f64>,
    /// ns that a round trip waits for a connection of the pool; `None`: not measured.
    pub pool: Option<f64>,
    /// ns of CPU a query of the database's processes; `None`: they are not on this machine, or not watched.
    pub cpu: Option<f64>,
}

/// The statement's own time in the database.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub query: String,
    pub calls: u64,
    /// ns a call.
    pub mean: f64,
    /// What `mean` spans, as sentences name it.
    pub spans: &'static str,
}

impl RoundTrip {
    /// ns a round trip that a request waits at the database in addition to its statement: unread in its socket, or
    /// read and not executed. `None` where the sockets or the statement were not measured.
    pub fn waits_at_database(&self) -> Option<f64> {
        let (places, service) = (self.places.as_ref()?, self.service.as_ref()?);
        let mean = |place: Place| places.places[place.index()].mean;
        Some(mean(Place::ServerBuffer)? + (mean(Place::Server)? - service.mean).max(0.0))
    }

    /// ns a round trip that is spent on neither: on the network, and in the server's own call path.
    pub fn path(&self) -> Option<f64> {
        let service = self.service.as_ref()?.mean;
        Some((self.call - service - self.waits_at_database().unwrap_or(0.0)).max(0.0))
    }

    /// Waits of a query for each ns of the round trip: 1 without sharing and queues. Bounded by 2, for a query that
    /// just missed a call and the next.
    pub fn multiplicity(&self) -> f64 {
        // A connection is waited for within the shared call.
        let whole = self.call + self.pool.unwrap_or(0.0);
        let wait = self.wait.as_ref().map_or(whole, |(wait, _)| *wait);
        (wait / whole).clamp(1.0, 2.0)
    }
}

impl<'a> Facts<'a> {
    /// `None` where the level has no latency: an empty window, or a load whose latency nobody knows, not the sockets
    /// either.
    pub fn of(
        run: &'a Run,
        preset: &Preset,
        hops: &[HopPlaces],
        waits: &OffCpuWaits,
        hands: Option<LevelHands>,
        level: usize,
    ) -> Option<Facts<'a>> {
        let windows: Vec<&Window> = run.levels().remove(&level)?;
        let seconds: f64 = windows.iter().map(|w| w.load.span.seconds()).sum();
        let completed: f64 = windows.iter().map(|w| w.load.completed as f64).sum();
        let throughput = (completed > 0.0 && seconds > 0.0).then(|| completed / seconds)?;
        let by_sockets = || {
            let hop = load_places(hops)?.levels.get(&level)?;
            let by = if hop.both_ends { LatencyBy::Sockets } else { LatencyBy::ServerSockets };
            Some((hop.within_latency().filter(|latency| *latency > 0.0)?, by))
        };
        let told = mean_latency(&windows).map(|latency| (latency, LatencyBy::Client));
        let (latency, latency_by) = told.or_else(by_sockets)?;
        let connections = windows.iter().map(|w| w.load.connections).max().filter(|n| *n > 0).map(|n| n as f64);
        let under_way: f64 = windows.iter().map(|w| w.load.under_way(Some(latency))).sum();
        let places = |of_load: bool| {
            let hop = hops.iter().find(|hop| hop.of_load == of_load && hop.levels.contains_key(&level));
            hop.and_then(|hop| hop.levels.get(&level)).filter(|places| places.both_ends).cloned()
        };
        let facts = Facts {
            level,
            // Somebody else's load: as many as there are under way (Little's law).
            clients: connections.unwrap_or(throughput * latency / 1e9),
            under_way: under_way / windows.len() as f64,
            think: think(&windows, latency),
            latency,
            latency_by,
            throughput,
            cpu: cpu(&windows, throughput),
            generator: generator(&windows, throughput),
            thread: busiest(&windows),
            workers: workers_facts(preset, &windows),
            hands,
            blocked: waits.blocked(&windows),
            waited: 0.0,
            behind: round_trip(preset, &windows, places(false).and_then(|places| own_use(preset, places))),
            places: places(true),
            windows,
        };
        let waited = CAUSES.iter().filter_map(|(kind, _)| facts.waited(waits, *kind)).sum();
        Some(Facts { waited, ..facts })
    }

    /// The run's lowest level, where its throughput is so much less that the costs' difference tells something. Not
    /// the next lower one: queries share more with more clients too, and between two high levels that is most of the
    /// difference, which nothing that is taken away at one level brings about.
    pub fn lower<'l>(&self, levels: &'l BTreeMap<usize, Facts<'a>>) -> Option<&'l Facts<'a>> {
        let lowest = levels.values().next().filter(|facts| facts.level < self.level);
        lowest.filter(|facts| facts.throughput < 0.8 * self.throughput)
    }

    /// The busiest thread, where queries queue for it.
    pub fn queued_for(&self) -> Option<&Busiest> {
        self.thread.as_ref().filter(|_| shares_busiest(&self.windows, Role::Target, Some(self.latency)))
    }

    /// Share of the server's CPU that its busiest thread has: of what is not told apart by thread, as much is taken
    /// to be there.
    pub fn on_busiest_thread(&self) -> f64 {
        self.thread.as_ref().zip(self.cpu).map_or(0.0, |(thread, cpu)| thread.demand / cpu.server)
    }

    /// ns that a round trip of the load's own connections is under way between the two programs: what such a trip
    /// takes on this machine without any work. `None` where they are on two, whose network tells nothing of it.
    pub fn transit(&self) -> Option<f64> {
        let places = self.places.as_ref().filter(|places| !places.ways_together)?;
        let between = [Place::Request, Place::ServerBuffer, Place::Response, Place::ClientBuffer];
        between.iter().map(|place| places.places[place.index()].mean).sum()
    }
}

/// The places of the round trips that the preset means, where others go the same way: of all of them where the sockets
/// did not tell them apart, `None` where none was told to be one.
fn own_use(preset: &Preset, places: LevelPlaces) -> Option<LevelPlaces> {
    let Some((_, pattern)) = preset.use_behind() else { return Some(places) };
    match places.of_use(&pattern.0) {
        Err(Undivided::Together) => Some(places),
        found => found.ok(),
    }
}

fn workers_facts(preset: &Preset, windows: &[&Window]) -> Option<WorkersFacts> {
    let workers = preset.diagnosis.workers.as_ref()?;
    let is_worker = |t: &&ThreadDelta| t.role == Role::Target && workers.threads.0.is_match(&t.thread);
    let sum = |of: fn(&ThreadDelta) -> u64| {
        per_query(windows, |s| {
            s.threads.iter().any(|t| is_worker(&t)).then(|| s.threads.iter().filter(is_worker).map(of).sum())
        })
    };
    Some(WorkersFacts {
        count: mean(windows, |window| evaluate(&workers.count, window)).filter(|count| *count >= 1.0)?,
        busy: time(preset, &workers.busy, windows)?,
        on_cpu: sum(|t| t.cpu).filter(|cpu| *cpu > 0.0)?,
        runnable: sum(|t| t.runnable)?,
    })
}

fn round_trip(preset: &Preset, windows: &[&Window], places: Option<LevelPlaces>) -> Option<RoundTrip> {
    let behind = preset.diagnosis.behind.as_ref()?;
    let first = |names: &[String]| names.iter().find_map(|name| Some((time(preset, name, windows)?, name.clone())));
    let (call, measured_by) = first(&behind.call).filter(|(call, _)| *call > 0.0)?;
    let queries = windows.iter().map(|w| w.load.completed as f64).sum::<f64>() / windows.len() as f64;
    Some(RoundTrip {
        call,
        measured_by,
        wait: first(&behind.wait),
        per_query: count(preset, &behind.calls, windows)? / queries,
        service: service(preset, windows),
        places,
        slots: behind.slots.as_ref().and_then(|slots| count(preset, slots, windows)),
        pool: behind.pool.as_ref().and_then(|pool| time(preset, pool, windows)),
        cpu: behind.processes.as_ref().and_then(|named| cpu_of(&named.0, windows)),
    })
}

/// ns of CPU a query of the watched processes with such a name; `None`: there are none.
fn cpu_of(named: &Regex, windows: &[&Window]) -> Option<f64> {
    let of = |s: &SchedulerDelta| {
        let own: Vec<u64> =
            s.threads.iter().filter(|t| t.role == Role::Other && named.is_match(&t.process)).map(|t| t.cpu).collect();
        (!own.is_empty()).then(|| own.iter().sum())
    };
    per_query(windows, of)
}

/// The first of the preset's statements that was called in every window.
fn service(preset: &Preset, windows: &[&Window]) -> Option<Service> {
    preset.statements.watched.iter().find_map(|query| {
        let found = windows.iter().map(|w| w.statements.as_ref()?.statement(query)).collect::<Option<Vec<_>>>()?;
        let calls: u64 = found.iter().map(|statement| statement.calls).sum();
        // The whole service where the database tells it; execution leaves out parsing and planning.
        let service: Option<u64> = found.iter().map(|statement| statement.service).sum();
        let exec = || found.iter().map(|statement| statement.exec).sum();
        let (total, spans) = service.map_or_else(|| (exec(), "execution"), |service| (service, "service"));
        let mean = total as f64 / calls as f64;
        (calls > 0).then(|| Service { query: query.clone(), calls, mean, spans })
    })
}

/// Mean over windows of the preset's quantity of this name, a count.
fn count(preset: &Preset, name: &str, windows: &[&Window]) -> Option<f64> {
    let quantity = preset.quantity.iter().find(|quantity| quantity.name == name)?;
    mean(windows, |window| evaluate(&quantity.expression, window))
}

/// Mean over windows of the preset's quantity of this name, a time, in ns.
fn time(preset: &Preset, name: &str, windows: &[&Window]) -> Option<f64> {
    let timed = preset.quantity.iter().find(|quantity| quantity.name == name)?.timed()?;
    Some(mean(windows, |window| microseconds(&timed, window))? * 1e3)
}

/// Mean of a value over windows; `None` where one has none.
fn mean(windows: &[&Window], value: impl Fn(&Window) -> Result<f64, String>) -> Option<f64> {
    let sum: f64 = windows.iter().map(|window| value(window).ok()).sum::<Option<f64>>()?;
    (!windows.is_empty()).then(|| sum / windows.len() as f64)
}
