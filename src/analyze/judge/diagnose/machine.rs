//! The machine's CPUs as a whole: whether they are saturated, and by whom. Invariant: processes are named by the
//! kernel's accounting of their threads, in the order of their CPU, each with the function that owns most of what was
//! sampled of it.

use super::accounting::{Cpu, ForServer};
use super::cpu::{less_of, named};
use super::owners::{Owner, beside};
use super::{Candidate, Case, Evidence, Named, Removal, ResourceKind, SCHEDULER};
use crate::analyze::cost::owners::TRANSPORT;
use crate::analyze::judge::summary::per_query;
use crate::preset::Cause;
use crate::target::{Role, SchedulerDelta};
use crate::words::{average, significant, time};
use std::collections::BTreeSet;

/// Of all CPUs in use: from here on threads that wait for one say that what is idle cannot be had.
const QUEUES_TELL: f64 = 0.85;
/// The most that less than that may count as.
const UNSURE: f64 = 0.94;
/// Processes that are named at most.
const PROCESSES: usize = 4;

impl Cpu {
    /// Threads of the measurement that wait for a CPU, on average, for each CPU; but for those of the server that wait
    /// for the few that it may use.
    fn waiting(&self, throughput: f64) -> f64 {
        (self.runnable * throughput / 1e9 - self.beyond(throughput)).max(0.0) / self.cpus
    }

    /// Threads of the server that want a CPU, on average, beyond as many as it may use.
    pub(super) fn beyond(&self, throughput: f64) -> f64 {
        let wanted = |few: ForServer| (self.server + few.runnable) * throughput / 1e9 - few.cpus;
        self.for_server.map_or(0.0, wanted).max(0.0)
    }

    /// How far the CPUs are saturated, 0..1: what is in use, and of the rest as much as threads wait for. CPUs are
    /// never all in use: a thread that is woken on a busy one waits while another idles for a moment.
    pub(super) fn saturation(&self, throughput: f64) -> f64 {
        saturation(self.used, self.waiting(throughput))
    }

    /// The same of the CPUs that the server may use, where they are fewer than the machine has.
    pub(super) fn saturation_for_server(&self, throughput: f64) -> Option<f64> {
        let (used, waiting) = self.for_server(throughput)?;
        Some(saturation(used, waiting))
    }

    /// The share of the CPUs that the server may use which it uses, and its threads that wait for one, for each.
    fn for_server(&self, throughput: f64) -> Option<(f64, f64)> {
        let few = self.for_server?;
        let of_each = |nanos: f64| nanos * throughput / 1e9 / few.cpus;
        Some((of_each(self.server), of_each(few.runnable)))
    }
}

fn saturation(used: f64, waiting: f64) -> f64 {
    let taken = used + (1.0 - used).max(0.0) * waiting.min(1.0);
    if used < QUEUES_TELL { taken.min(UNSURE.max(used)) } else { taken }
}

/// All CPUs that the server may use are busy, and there are others.
pub(super) fn limited(case: &Case, all: &[Owner], lower: &[Owner]) -> Option<Candidate> {
    let (cpu, throughput) = (case.facts.cpu?, case.facts.throughput);
    let (few, (used, waiting)) = cpu.for_server.zip(cpu.for_server(throughput))?;
    let functions: Vec<Owner> = all.iter().filter(|owner| owner.name != TRANSPORT).cloned().collect();
    let sentence = format!(
        "By the affinity of its threads or a quota of its cgroup, the server may use {} of the machine's {} CPUs. It \
         uses {:.0} % of that, and {} threads wait for each.",
        significant(few.cpus),
        cpu.cpus,
        100.0 * used,
        average(waiting)
    );
    Some(Candidate {
        removal: Some(Removal { held: vec![(ResourceKind::ServersCpus, cpu.server)], ..Removal::default() }),
        measure: Some((
            saturation(used, waiting),
            "saturation of the CPUs that the server may use (in use, more where threads wait for them)",
        )),
        named: named(case, &functions, &[], lower),
        evidence: vec![
            case.share("CPU of the server", used, "the CPUs that it may use", SCHEDULER),
            case.nanos("threads of the server wait for a CPU", few.runnable, "query", SCHEDULER),
            case.share("CPU in use", cpu.used, "the machine", SCHEDULER),
        ],
        ..Candidate::new(Cause::CpuLimit, sentence)
    })
}

/// All CPUs are busy.
pub(super) fn saturated(case: &Case, all: &[Owner], lower: &[Owner]) -> Option<Candidate> {
    let cpu = case.facts.cpu?;
    let saturation = cpu.saturation(case.facts.throughput);
    // Far below its bound it is no finding: nobody is to be named.
    (saturation >= case.threshold(Cause::CpuSaturated) / 2.0).then_some(())?;
    let waiting = cpu.waiting(case.facts.throughput);
    let sentence = format!(
        "The machine's CPUs are saturated: {:.0} % of {} CPUs are in use, and {} \
         threads wait for each. A query takes {} of CPU of all that takes part: {}.",
        100.0 * cpu.used,
        cpu.cpus,
        average(waiting),
        time(cpu.demand),
        in_words(&processes(case))
    );
    let share = |what: &str, share: f64| case.share(what, share, "the machine", SCHEDULER);
    let waits = Evidence {
        what: "threads of all that takes part that wait for a CPU".into(),
        value: waiting,
        unit: "for each CPU".into(),
        level: case.facts.level,
        source: SCHEDULER.into(),
    };
    let mut evidence = vec![share("CPU in use", cpu.used), waits];
    evidence.extend(of_processes(case));
    evidence.extend(
        cpu.taken
            .filter(|taken| *taken > 0.0)
            .map(|taken| share("CPU of others, stolen time included", taken / cpu.cpus)),
    );
    Some(Candidate {
        // As many CPUs as there are clients: nobody waits for one.
        // With no more clients than CPUs only others can be in the way, and how much they are is not always known.
        removal: (cpu.taken.is_some() || case.facts.under_way > cpu.cpus)
            .then(|| Removal { cpus: case.facts.under_way.max(cpu.cpus), ..Removal::default() }),
        measure: Some((saturation, "saturation of the CPUs (in use, more where threads wait for them)")),
        named: by_process(case, all, lower),
        evidence,
        ..Candidate::new(Cause::CpuSaturated, sentence)
    })
}

/// Nothing passes its bounds: what there is is named in its order.
pub(super) fn no_single_cause(case: &Case, all: &[Owner]) -> Candidate {
    let none = unexplained(case).map_or_else(
        || "No cause passes the bounds of its rule: what a query takes is spread over many".to_string(),
        |rest| {
            format!(
                "No cause passes the bounds of its rule, and {} of {} a query are not explained: they are neither CPU, \
                 nor a wait for one, nor a wait that a rule is about",
                time(rest),
                time(case.facts.latency)
            )
        },
    );
    let found = processes(case);
    let largest = case.facts.largest_in_hand().map_or(String::new(), |parts| {
        format!(" The largest parts of a query's time in the server's hands: {}.", parts.join(", "))
    });
    let sentence = match case.facts.cpu.filter(|_| !found.is_empty()) {
        Some(cpu) => format!(
            "{none}.{largest} {} of latency hold, or have beside them, {} of CPU per query: {}.",
            time(case.facts.latency),
            time(cpu.demand),
            in_words(&found)
        ),
        None => format!("{none}.{largest}"),
    };
    Candidate {
        named: by_process(case, all, &[]),
        evidence: of_processes(case),
        ..Candidate::new(Cause::NoSingleCause, sentence)
    }
}

/// Of the latency, from which on what nothing was found of is said before all else.
const MOSTLY_UNKNOWN: f64 = 0.5;

/// ns a query that are no CPU, no wait for one, and no wait that a rule is about, where they are most of the latency.
/// Where queries were followed through the server, the parts of their time there are told instead.
fn unexplained(case: &Case) -> Option<f64> {
    let facts = case.facts;
    let cpu = facts.cpu.filter(|_| facts.hands.is_none())?;
    let behind = facts.behind.as_ref().map_or(0.0, |trip| trip.wait.as_ref().map_or(trip.call, |(wait, _)| *wait));
    let known = cpu.demand + cpu.runnable + facts.waited + behind + facts.between_hosts().unwrap_or(0.0);
    let rest = facts.latency - known;
    (rest >= MOSTLY_UNKNOWN * facts.latency).then_some(rest)
}

/// A process, or several of one name, and ns of CPU a query.
struct Process {
    role: Role,
    name: String,
    cpu: f64,
}

/// Those that take part, the ones with the most CPU first.
fn processes(case: &Case) -> Vec<Process> {
    let windows = &case.facts.windows;
    let threads = || windows.iter().filter_map(|w| w.scheduler.as_ref()).flat_map(|s| &s.threads);
    let names: BTreeSet<(Role, &str)> = threads()
        .filter(|thread| thread.role != Role::Profiler)
        .map(|thread| (thread.role, thread.process.as_str()))
        .collect();
    let cpu = |(role, name): (Role, &str)| {
        let own = |s: &SchedulerDelta| {
            Some(s.threads.iter().filter(|t| t.role == role && t.process == name).map(|t| t.cpu).sum::<u64>())
        };
        let cpu = per_query(windows, own).filter(|cpu| *cpu > 0.0)?;
        Some(Process { role, name: name.to_string(), cpu })
    };
    let mut found: Vec<Process> = names.into_iter().filter_map(cpu).collect();
    found.sort_by(|a, b| b.cpu.total_cmp(&a.cpu));
    found.truncate(PROCESSES);
    found
}

impl Process {
    fn called(&self) -> String {
        let role = match self.role {
            Role::Target => " (the server)",
            Role::Generator => " (the load generator)",
            Role::Unfollowed => " (children of the server that are not followed)",
            Role::Profiler | Role::Other => "",
        };
        format!("{}{role}", self.name)
    }
}

fn in_words(processes: &[Process]) -> String {
    let each = processes.iter().map(|process| format!("{} {}", process.called(), time(process.cpu)));
    each.collect::<Vec<_>>().join(", ")
}

fn of_processes(case: &Case) -> Vec<Evidence> {
    let of = |process: &Process| case.nanos(&format!("CPU of {}", process.called()), process.cpu, "query", SCHEDULER);
    processes(case).iter().map(of).collect()
}

/// Of each process that was sampled the function that owns most of its CPU.
fn by_process(case: &Case, all: &[Owner], lower: &[Owner]) -> Vec<Named> {
    let named = |process: Process| {
        let (owners, target) = match process.role {
            Role::Target => (all.to_vec(), true),
            Role::Other => (beside(case.naming, &case.facts.windows, &process.name), false),
            Role::Generator | Role::Profiler | Role::Unfollowed => return None,
        };
        let first = owners.into_iter().find(|owner| owner.user)?;
        let nanos = first.cost.value;
        let in_thread = nanos * case.facts.on_busiest_thread();
        let less = if target {
            less_of(&first, nanos, in_thread, lower)
        } else {
            Removal { cpu: nanos, ..Removal::default() }
        };
        Some(Named {
            effect: case.effect(&less),
            name: first.name,
            process: Some(process.name),
            cost: nanos,
            interval: first.cost.interval,
        })
    };
    processes(case).into_iter().filter_map(named).collect()
}
