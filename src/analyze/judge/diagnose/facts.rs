//! What is known at a level, as the causes need it; its queueing network is made in `network.rs`. Invariant: each
//! figure is a mean over the level's windows, and one that any of them lacks is `None`; all times are ns.

use super::blocked::{Blocked, OffCpuWaits};
use super::queries_wait::CAUSES;
use crate::analyze::cost::quantities::{evaluate, microseconds};
use crate::analyze::judge::summary::{mean_latency, per_query};
use crate::analyze::time::hands::LevelHands;
use crate::analyze::time::places::{HopPlaces, LevelPlaces, load_places};
use crate::analyze::time::uses::Undivided;
use crate::preset::Preset;
use crate::run::{Run, Window};
use crate::target::{Role, SchedulerDelta, ThreadDelta};
use crate::wire::Place;
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

/// The machine's CPUs. Demands in ns a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpu {
    pub cpus: f64,
    /// Busy or stolen share of all CPUs, 0..1.
    pub used: f64,
    /// CPUs that the hypervisor takes, on average.
    pub stolen: f64,
    /// CPUs that processes take which are no part of the measurement, and the hypervisor, on average; `None`: the
    /// generator is not in the accounting, so that it cannot be told from them.
    pub taken: Option<f64>,
    /// That threads of all that takes part waited for a CPU.
    pub runnable: f64,
    /// Of all that takes part: the server, the generator, what stands behind, interrupts. Where the generator is not
    /// in the accounting, of all that ran but wireprof.
    pub demand: f64,
    pub server: f64,
    /// `None`: it is not in the accounting.
    pub generator: Option<f64>,
    /// Of what is watched besides the server; `None`: nothing is.
    pub others: Option<f64>,
}

/// Threads of a role: shares of their time, 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threads {
    pub threads: f64,
    pub on_cpu: f64,
    pub runnable: f64,
    /// ns a query on a CPU or waiting for one.
    pub demand: f64,
    /// There was no CPU for more of them.
    pub no_room: bool,
}

/// The server's busiest thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Busiest {
    pub name: String,
    /// Its number in each window; another one after a restart.
    pub tids: Vec<u32>,
    /// Shares of the time on a CPU, and on one or waiting for one, 0..1.
    pub on_cpu: f64,
    pub awake: f64,
    /// ns a query on a CPU.
    pub demand: f64,
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
        let connections = windows.iter().map(|w| w.load.connections).max().filter(|n| *n > 0);
        let places = |of_load: bool| {
            let hop = hops.iter().find(|hop| hop.of_load == of_load && hop.levels.contains_key(&level));
            hop.and_then(|hop| hop.levels.get(&level)).filter(|places| places.both_ends).cloned()
        };
        let facts = Facts {
            level,
            // Somebody else's load: as many as there are under way (Little's law).
            clients: connections.map_or(throughput * latency / 1e9, |n| n as f64),
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

fn cpu(windows: &[&Window], throughput: f64) -> Option<Cpu> {
    let machine = |of: fn(&SchedulerDelta, &crate::target::MachineDelta) -> u64| {
        per_query(windows, |s| s.machine.as_ref().map(|machine| of(s, machine)))
    };
    let cpus = windows.iter().find_map(|w| Some(w.scheduler.as_ref()?.machine.as_ref()?.cpus as f64))?;
    let role = |role: Role| per_query(windows, |s| s.cpu(role));
    let (server, generator, others) = (role(Role::Target)?, role(Role::Generator), role(Role::Other));
    // A recording made by hand had no wireprof beside it.
    let own = role(Role::Profiler).unwrap_or(0.0);
    let (busy, steal, interrupts) = (machine(|_, m| m.busy)?, machine(|_, m| m.steal)?, machine(|_, m| m.interrupts)?);
    // As the check on other processes does: interrupts are charged to no thread where the kernel accounts them apart.
    let waited = |role: Role| per_query(windows, |s| s.runnable(role));
    let runnable = [Role::Target, Role::Generator, Role::Other].into_iter().filter_map(waited).sum();
    let (ran, watched) = ((busy - own).max(0.0), server + others.unwrap_or(0.0) + interrupts);
    let part = generator.map_or(ran, |generator| (watched + generator).min(ran));
    Some(Cpu {
        cpus,
        used: (busy + steal) * throughput / 1e9 / cpus,
        stolen: steal * throughput / 1e9,
        taken: generator.map(|_| (busy + steal - part).max(0.0) * throughput / 1e9),
        runnable,
        demand: part,
        server,
        generator,
        others,
    })
}

fn generator(windows: &[&Window], throughput: f64) -> Option<Threads> {
    let threads = windows.iter().map(|w| w.load.generator.threads).max().filter(|n| *n > 0)? as f64;
    let on_cpu = per_query(windows, |s| s.cpu(Role::Generator)).filter(|cpu| *cpu > 0.0)?;
    let runnable = per_query(windows, |s| s.runnable(Role::Generator))?;
    let share = |nanos: f64| nanos * throughput / 1e9 / threads;
    let choices = windows.iter().filter_map(|w| w.load.generator.choice);
    let no_room = choices.into_iter().any(|choice| choice.no_room());
    let demand = on_cpu + runnable;
    Some(Threads { threads, on_cpu: share(on_cpu), runnable: share(runnable), demand, no_room })
}

/// The thread that was on a CPU most, by the level's first window; its figures over all of them, after a restart
/// those of the busiest thread of its name.
fn busiest(windows: &[&Window]) -> Option<Busiest> {
    let first = windows.first()?.scheduler.as_ref()?.busiest(Role::Target)?;
    let same = |s: &SchedulerDelta| {
        let named = || s.threads.iter().filter(|t| t.role == Role::Target && t.thread == first.thread);
        named().find(|t| t.tid == first.tid).or_else(|| named().max_by_key(|t| t.cpu)).cloned()
    };
    let scheduled = || windows.iter().filter_map(|w| w.scheduler.as_ref());
    let span: u64 = scheduled().map(|s| s.span.nanos()).sum();
    let share = |what: fn(&ThreadDelta) -> u64| {
        scheduled().filter_map(same).map(|t| what(&t)).sum::<u64>() as f64 / span.max(1) as f64
    };
    let (on_cpu, runnable) = (share(|t| t.cpu), share(|t| t.runnable));
    Some(Busiest {
        name: first.thread.clone(),
        tids: scheduled().filter_map(same).map(|t| t.tid).collect(),
        on_cpu,
        awake: (on_cpu + runnable).min(1.0),
        demand: per_query(windows, |s| same(s).map(|t| t.cpu))?,
    })
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
    })
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
