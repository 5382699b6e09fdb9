//! What a query costs, per resource: view B. Demands are busy time a query (D), utilisation follows from them (U = X
//! D / m), and the least of m / D bounds the throughput (operational laws: Denning and Buzen 1978, "The Operational
//! Analysis of Queueing Network Models", ACM Computing Surveys 10(3)). Invariant: demands are never added to places,
//! nor to each other where one resource is part of another.

use crate::analyze::judge::summary::{for_server, mean_latency, per_query, shares_busiest, think};
use crate::run::{Run, Window};
use crate::target::{Role, SchedulerDelta};
use crate::wire::Place;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What queries use; in JSON and tables its name in words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub enum Resource {
    /// All CPUs of the machine.
    Machine,
    /// The CPU of all that has this role.
    Cpu(Role),
    /// The thread of this role that is on a CPU most.
    BusiestThread(Role),
    /// Connections of the hop of this name, to what stands behind the server.
    Connections(String),
}

impl Resource {
    /// Its name for programs; stable.
    pub fn name(&self) -> String {
        match self {
            Resource::Machine => "machine".into(),
            Resource::Cpu(role) => format!("cpu_{role:?}").to_lowercase(),
            Resource::BusiestThread(role) => format!("busiest_thread_{role:?}").to_lowercase(),
            Resource::Connections(hop) => format!("connections_{hop}"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Machine => f.write_str("all CPUs of the machine"),
            Resource::Cpu(role) => write!(f, "CPU of {}", name(*role)),
            Resource::BusiestThread(role) => write!(f, "busiest thread of {}", name(*role)),
            Resource::Connections(hop) => write!(f, "connections to the {hop}"),
        }
    }
}

impl From<Resource> for String {
    fn from(resource: Resource) -> String {
        resource.to_string()
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Target => "the server",
        Role::Generator => "the generator",
        Role::Profiler => "wireprof",
        Role::Other => "the companions",
        Role::Unfollowed => "the server's children that are not followed",
    }
}

/// One resource over the levels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Demand {
    /// The resource that is busy.
    pub resource: Resource,
    /// A bound of throughput by itself; else a part of another resource, shown for where it goes.
    pub bounds: bool,
    /// By level: the number of clients. A level at which it was not measured, or had no busy time, is absent.
    pub levels: BTreeMap<usize, LevelDemand>,
}

/// One resource at one level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LevelDemand {
    /// D: ns of busy time a query.
    pub demand: f64,
    /// m: how many queries it can serve at once (CPUs, threads, connections).
    pub capacity: f64,
    /// U = X D / m, 0..1.
    pub utilisation: f64,
}

/// At which throughput, and from which level on, a resource must stop growth, by the demands measured at one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// The level whose demands were used: the number of clients.
    pub level: usize,
    /// The resource that sets the bound.
    pub resource: Resource,
    /// m / D: queries a second that it can serve at most.
    pub throughput: f64,
    /// Clients at which the bound and the latency without queues meet: (latency at the lowest level) / (D / m).
    pub clients: Option<f64>,
    /// U at that level, 0..1.
    pub utilisation: f64,
}

/// Demands by resource, the most used at the last level first; empty without scheduler statistics.
pub fn demands(run: &Run) -> Vec<Demand> {
    let mut found: BTreeMap<String, Demand> = BTreeMap::new();
    for (level, windows) in run.levels() {
        let seconds: f64 = windows.iter().map(|w| w.load.span.seconds()).sum();
        let throughput = windows.iter().map(|w| w.load.completed as f64).sum::<f64>() / seconds.max(f64::MIN_POSITIVE);
        for (resource, bounds, demand, capacity) in at_level(&windows) {
            let utilisation = throughput * demand / 1e9 / capacity;
            let new = || Demand { resource: resource.clone(), bounds, levels: BTreeMap::new() };
            let all = found.entry(resource.to_string()).or_insert_with(new);
            all.bounds |= bounds;
            all.levels.insert(level, LevelDemand { demand, capacity, utilisation });
        }
    }
    let mut demands: Vec<Demand> = found.into_values().collect();
    let last = |demand: &Demand| demand.levels.last_key_value().map_or(0.0, |(_, level)| level.utilisation);
    demands.sort_by(|a, b| last(b).total_cmp(&last(a)));
    demands
}

/// Resource, whether it bounds, ns a query, capacity.
pub(in crate::analyze) fn at_level(windows: &[&Window]) -> Vec<(Resource, bool, f64, f64)> {
    let mut found = Vec::new();
    let cpus = windows.iter().find_map(|w| Some(w.scheduler.as_ref()?.machine.as_ref()?.cpus as f64));
    if let Some(cpus) = cpus {
        let machine = |s: &SchedulerDelta| s.machine.as_ref().map(|machine| machine.busy);
        found.extend(per_query(windows, machine).map(|demand| (Resource::Machine, true, demand, cpus)));
        for role in [Role::Target, Role::Generator, Role::Profiler, Role::Other, Role::Unfollowed] {
            let demand = per_query(windows, |s| s.cpu(role)).filter(|demand| *demand > 0.0);
            // Where the server may use fewer CPUs than there are, those bound it.
            let few = for_server(windows).filter(|few| role == Role::Target && *few < cpus);
            found.extend(demand.map(|demand| (Resource::Cpu(role), few.is_some(), demand, few.unwrap_or(cpus))));
        }
    }
    for role in [Role::Target, Role::Generator] {
        let demand = per_query(windows, |s| s.busiest(role).map(|thread| thread.cpu));
        let demand = demand.filter(|demand| *demand > 0.0);
        let bounds = shares_busiest(windows, role, mean_latency(windows));
        found.extend(demand.map(|demand| (Resource::BusiestThread(role), bounds, demand, 1.0)));
    }
    found.extend(connections_behind(windows));
    found
}

/// Connections to what stands behind the server: in use from sending to reading.
fn connections_behind(windows: &[&Window]) -> Vec<(Resource, bool, f64, f64)> {
    let mut sums: BTreeMap<String, (f64, f64, f64)> = BTreeMap::new();
    for window in windows {
        let hops = window.wire.iter().flat_map(|wire| wire.behind());
        for hop in hops.filter(|hop| hop.queries > 0) {
            let busy: u64 = hop.stays.iter().filter(|stay| stay.place != Place::Client).map(|stay| stay.nanos).sum();
            let sum = sums.entry(hop.hop.name.clone()).or_default();
            *sum = (sum.0 + busy as f64, sum.1 + window.load.completed as f64, sum.2.max(hop.connections as f64));
        }
    }
    let found = sums.into_iter().filter(|(_, (_, queries, _))| *queries > 0.0);
    found.map(|(name, (busy, queries, most))| (Resource::Connections(name), true, busy / queries, most)).collect()
}

/// The time between two queries of a client, ns, where none queues: the lowest level's latency and think time. `None`:
/// not known, as where there is no lower level than one with several clients; or the load is no closed loop, so that no
/// number of clients is enough for anything.
pub fn unqueued(run: &Run) -> Option<f64> {
    let levels = run.levels();
    let (_, windows) = levels.first_key_value().filter(|(level, _)| levels.len() > 1 || **level == 1)?;
    let latency = mean_latency(windows).filter(|latency| *latency > 0.0)?;
    let open = windows.iter().any(|w| w.load.connections > 0 && !w.load.is_closed());
    (!open).then(|| latency + think(windows, latency).unwrap_or(0.0))
}

/// What stops growth at each level: the resource of the least m / D.
pub fn bounds(run: &Run, demands: &[Demand]) -> Vec<Bound> {
    let levels = run.levels();
    let unloaded = unqueued(run);
    let at = |level: usize| {
        let candidates = demands.iter().filter(|demand| demand.bounds);
        let each =
            candidates.filter_map(|demand| Some((demand, demand.levels.get(&level).filter(|d| d.demand > 0.0)?)));
        let (demand, found) =
            each.min_by(|a, b| (a.1.capacity / a.1.demand).total_cmp(&(b.1.capacity / b.1.demand)))?;
        Some(Bound {
            level,
            resource: demand.resource.clone(),
            throughput: found.capacity / found.demand * 1e9,
            clients: unloaded.map(|latency| latency / (found.demand / found.capacity)),
            utilisation: found.utilisation,
        })
    };
    levels.keys().filter_map(|level| at(*level)).collect()
}
