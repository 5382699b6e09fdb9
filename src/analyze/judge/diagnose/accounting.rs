//! What the scheduler's accounting tells of a level: the machine's CPUs, the load generator's threads and the server's
//! busiest one. Invariant: each figure is a mean over the level's windows, and one that any of them lacks is `None`;
//! all times are ns.

use crate::analyze::judge::summary::{for_server, per_query};
use crate::run::Window;
use crate::target::{Role, SchedulerDelta, ThreadDelta};

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
    /// Those that the server may use, where they are fewer than the machine has.
    pub for_server: Option<ForServer>,
}

/// The CPUs that the server may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForServer {
    pub cpus: f64,
    /// ns a query that the server's threads waited for one.
    pub runnable: f64,
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
    /// Threads of the server that were about as busy in the first window, itself among them.
    pub as_busy: usize,
}

/// What the CPUs did; `None` where the machine or the server is not in the accounting.
pub(super) fn cpu(windows: &[&Window], throughput: f64) -> Option<Cpu> {
    let machine = |of: fn(&SchedulerDelta, &crate::target::MachineDelta) -> u64| {
        per_query(windows, |s| s.machine.as_ref().map(|machine| of(s, machine)))
    };
    let cpus = windows.iter().find_map(|w| Some(w.scheduler.as_ref()?.machine.as_ref()?.cpus as f64))?;
    let role = |role: Role| per_query(windows, |s| s.cpu(role));
    let (server, generator, others) = (role(Role::Target)?, role(Role::Generator), role(Role::Other));
    let unfollowed = role(Role::Unfollowed).unwrap_or(0.0);
    // A recording made by hand had no wireprof beside it.
    let own = role(Role::Profiler).unwrap_or(0.0);
    let (busy, steal, interrupts) = (machine(|_, m| m.busy)?, machine(|_, m| m.steal)?, machine(|_, m| m.interrupts)?);
    // As the check on other processes does: interrupts are charged to no thread where the kernel accounts them apart.
    let waited = |role: Role| per_query(windows, |s| s.runnable(role));
    let runnable = [Role::Target, Role::Generator, Role::Other, Role::Unfollowed].into_iter().filter_map(waited).sum();
    let (ran, watched) = ((busy - own).max(0.0), server + unfollowed + others.unwrap_or(0.0) + interrupts);
    let for_server = for_server(windows).filter(|few| *few < cpus);
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
        for_server: for_server.map(|cpus| ForServer { cpus, runnable: waited(Role::Target).unwrap_or(0.0) }),
    })
}

/// The load generator's threads; `None` where another program drove the load and its CPU is not known.
pub(super) fn generator(windows: &[&Window], throughput: f64) -> Option<Threads> {
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
pub(super) fn busiest(windows: &[&Window]) -> Option<Busiest> {
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
        as_busy: scheduled().next().map_or(1, |s| s.as_busy(Role::Target)),
        name: first.thread.clone(),
        tids: scheduled().filter_map(same).map(|t| t.tid).collect(),
        on_cpu,
        awake: (on_cpu + runnable).min(1.0),
        demand: per_query(windows, |s| same(s).map(|t| t.cpu))?,
    })
}
