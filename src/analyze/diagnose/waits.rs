//! Findings on threads that wait: for a lock, or in calls that block the runtime's workers. Invariant: what is blocked is measured
//! as time that a task holds its worker without the thread being on a CPU or waiting for one.

use super::owners::{Within, owners};
use super::{Case, Finding, Holding, METRICS, Named, PROFILE, Removal, SCHEDULER};
use crate::preset::Cause;
use regex::Regex;

pub(super) fn findings(case: &Case) -> Vec<Finding> {
    let Some(workers) = case.facts.workers else { return Vec::new() };
    let blocked = workers.blocked();
    let evidence = vec![
        case.nanos("inside a task", workers.busy, "query", METRICS),
        case.nanos("of it, the worker threads on a CPU", workers.on_cpu, "query", SCHEDULER),
        case.nanos("of it, waiting for a CPU", workers.runnable, "query", SCHEDULER),
        case.nanos("of it, blocked", blocked, "query", "the difference of these"),
    ];
    let held = vec![(Holding::Workers, blocked)];
    let plain = Removal { delay: blocked, held, ..Removal::default() };
    match lock(case) {
        Some((name, whole, waiting)) => vec![locked(case, name, whole, waiting, plain, evidence)],
        None => {
            let measure = (
                blocked / (workers.on_cpu + workers.runnable).max(1.0),
                "ns blocked for each ns on a CPU or waiting for one",
            );
            let sentence = format!(
                "Calls that block hold the runtime's {} workers for {:.1} us a query without using a CPU.",
                workers.count,
                blocked / 1e3
            );
            vec![Finding {
                removal: Some(plain),
                measure: Some(measure),
                evidence,
                ..Finding::new(Cause::BlockedRuntime, sentence)
            }]
        }
    }
}

/// The function that waits most for a lock; ns of CPU a query under it as a whole, and in waiting alone (spinning and the system
/// calls that block and wake).
fn lock(case: &Case) -> Option<(String, f64, f64)> {
    let patterns: Vec<Regex> = case.preset.diagnosis.locks.iter().map(|p| p.0.clone()).collect();
    let windows = &case.facts.windows;
    let waiting = (!patterns.is_empty()).then(|| owners(case.preset, windows, Within::Frames(&patterns)))?;
    let first = waiting.first()?;
    let server = case.facts.cpu?.server;
    // A hundredth of the CPU: below it nobody waits for locks so often that it would matter.
    (first.cost.value >= 0.01 * server).then_some(())?;
    let own = Regex::new(&format!("^{}$", regex::escape(&first.name))).ok()?;
    let whole = owners(case.preset, windows, Within::Frames(&[own])).iter().map(|owner| owner.cost.value).sum();
    Some((first.name.clone(), whole, first.cost.value))
}

fn locked(
    case: &Case,
    name: String,
    whole: f64,
    waiting: f64,
    plain: Removal,
    mut evidence: Vec<super::Evidence>,
) -> Finding {
    let blocked = plain.delay;
    let mut held = plain.held;
    held.iter_mut().for_each(|(_, nanos)| *nanos += whole);
    let removal = Removal { cpu: whole, delay: blocked, held, ..Removal::default() };
    evidence.push(case.nanos("CPU of the function that locks, with what it calls", whole, "query", PROFILE));
    evidence.push(case.nanos("of it, in waiting for the lock", waiting, "query", PROFILE));
    let server = case.facts.cpu.map_or(f64::INFINITY, |cpu| cpu.server);
    Finding {
        measure: Some((blocked / server, "ns blocked for each ns of the server's CPU")),
        named: vec![Named { name, cost: whole + blocked, interval: None, effect: case.effect(&removal) }],
        removal: Some(removal),
        evidence,
        ..Finding::new(
            Cause::Lock,
            format!("Threads wait for a lock: workers are blocked {:.1} us a query.", blocked / 1e3),
        )
    }
}
