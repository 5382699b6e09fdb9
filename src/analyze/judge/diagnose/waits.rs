//! Findings on threads that wait: for a lock, or in calls that block the runtime's workers. Invariant: what is
//! blocked is measured as time that a task holds its worker without the thread being on a CPU or waiting for one;
//! stacks only say of which kind, and where.

use super::owners::{Owner, Within, owners};
use super::{Candidate, Case, Evidence, METRICS, Named, OFF_CPU, PROFILE, Removal, ResourceKind, SCHEDULER};
use crate::preset::{Cause, WaitKind};
use crate::words::time;
use regex::Regex;

/// Functions that a finding names at most.
const NAMED: usize = 3;

pub(super) fn findings(case: &Case) -> Vec<Candidate> {
    let Some(workers) = case.facts.workers else { return Vec::new() };
    let blocked = workers.blocked();
    let evidence = vec![
        case.nanos("inside a task", workers.busy, "query", METRICS),
        case.nanos("of it, the worker threads on a CPU", workers.on_cpu, "query", SCHEDULER),
        case.nanos("of it, waiting for a CPU", workers.runnable, "query", SCHEDULER),
        case.nanos("of it, blocked", blocked, "query", "the difference of these"),
    ];
    let in_calls = blocked_by(case, |kind| !kind.idle() && !kind.lock());
    let waits = lock(case);
    let sum = |owners: &[Owner]| owners.iter().map(|owner| owner.cost.value).sum::<f64>();
    let in_locks = waits.as_ref().map_or(0.0, |waits| waits.blocked);
    // Without stacks of waits all of it is the lock's, if there is one.
    let share = match (in_locks + sum(&in_calls) > 0.0, &waits) {
        (true, _) => in_locks / (in_locks + sum(&in_calls)),
        (false, Some(_)) => 1.0,
        (false, None) => 0.0,
    };
    let mut found = Vec::new();
    if let Some(waits) = waits {
        found.push(locked(case, waits, blocked * share, evidence.clone()));
    }
    if share < 1.0 {
        found.push(blocking(case, &in_calls, blocked * (1.0 - share), evidence));
    }
    found
}

/// Where the runtime's workers were blocked, by the stacks of their waits; empty where none were taken.
fn blocked_by(case: &Case, wanted: fn(WaitKind) -> bool) -> Vec<Owner> {
    let Some(workers) = &case.preset.diagnosis.workers else { return Vec::new() };
    let threads = &workers.threads.0;
    case.waits.owners(&case.facts.windows, |waiting, labels| wanted(waiting.kind) && threads.is_match(&labels.thread))
}

/// Taking away so much of what holds the workers; `cpu` ns of it are on a CPU.
fn removal(blocked: f64, cpu: f64) -> Removal {
    let held = vec![(ResourceKind::Workers, blocked + cpu), (ResourceKind::ServersCpus, cpu)];
    Removal { cpu, delay: blocked, held, ..Removal::default() }
}

/// Calls that block a worker without a lock.
fn blocking(case: &Case, calls: &[Owner], blocked: f64, mut evidence: Vec<Evidence>) -> Candidate {
    let workers = case.facts.workers.as_ref();
    let (count, busy) = workers.map_or((0.0, 1.0), |w| (w.count, (w.on_cpu + w.runnable).max(1.0)));
    let name = |owner: &Owner| Named {
        name: owner.name.clone(),
        process: None,
        cost: owner.cost.value,
        interval: owner.cost.interval,
        effect: case.effect(&removal(owner.cost.value, 0.0)),
    };
    evidence.extend(calls.first().map(|first| {
        case.nanos("workers blocked in the first function named, by their stacks", first.cost.value, "query", OFF_CPU)
    }));
    let sentence = format!(
        "Calls that block hold the runtime's {count} workers for {} a query without using a CPU.",
        time(blocked)
    );
    Candidate {
        removal: Some(removal(blocked, 0.0)),
        measure: Some((blocked / busy, "ns blocked for each ns on a CPU or waiting for one")),
        named: calls.iter().take(NAMED).map(name).collect(),
        evidence,
        ..Candidate::new(Cause::BlockedRuntime, sentence)
    }
}

/// The function that waits most for a lock. ns a query.
struct LockWaits {
    name: String,
    /// CPU under it as a whole, and in waiting alone (spinning and the system calls that block and wake).
    cpu: f64,
    waiting: f64,
    /// Workers blocked in all locks, by the stacks of their waits; 0: no stacks of waits.
    blocked: f64,
}

fn lock(case: &Case) -> Option<LockWaits> {
    let patterns: Vec<Regex> = case.preset.diagnosis.locks.iter().map(|p| p.0.clone()).collect();
    let windows = &case.facts.windows;
    let on_cpu = match patterns.is_empty() {
        true => Vec::new(),
        false => owners(case.naming, windows, Within::Frames(&patterns)),
    };
    let blocked = blocked_by(case, WaitKind::lock);
    let server = case.facts.cpu?.server;
    // A hundredth of the CPU: below it nobody waits for locks so often that it would matter.
    let often = on_cpu.first().filter(|first| first.cost.value >= 0.01 * server);
    let name = blocked.first().or(often)?.name.clone();
    let own = Regex::new(&format!("^{}$", regex::escape(&name))).ok()?;
    let cpu = owners(case.naming, windows, Within::Frames(&[own])).iter().map(|owner| owner.cost.value).sum();
    Some(LockWaits {
        cpu,
        waiting: on_cpu.iter().find(|owner| owner.name == name).map_or(0.0, |owner| owner.cost.value),
        blocked: blocked.iter().map(|owner| owner.cost.value).sum(),
        name,
    })
}

fn locked(case: &Case, waits: LockWaits, blocked: f64, mut evidence: Vec<Evidence>) -> Candidate {
    let mut removal = removal(blocked, waits.cpu);
    removal.held.push((ResourceKind::Thread, waits.cpu * case.facts.on_busiest_thread()));
    if waits.blocked > 0.0 {
        evidence.push(case.nanos("workers blocked in locks, by their stacks", waits.blocked, "query", OFF_CPU));
    }
    evidence.push(case.nanos("CPU of the function that locks, with what it calls", waits.cpu, "query", PROFILE));
    evidence.push(case.nanos("of it, in waiting for the lock", waits.waiting, "query", PROFILE));
    let server = case.facts.cpu.map_or(f64::INFINITY, |cpu| cpu.server);
    let cost = waits.cpu + blocked;
    Candidate {
        measure: Some((blocked / server, "ns blocked for each ns of the server's CPU")),
        named: vec![Named { name: waits.name, process: None, cost, interval: None, effect: case.effect(&removal) }],
        removal: Some(removal),
        evidence,
        ..Candidate::new(
            Cause::Lock,
            format!("Threads wait for a lock: workers are blocked {} a query.", time(blocked)),
        )
    }
}
