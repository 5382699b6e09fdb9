//! Findings on what queries wait for while they are in the server's hands, by the stacks of the threads that handle
//! them: locks, flushes, files, sleep. Invariant: waiting for a client or for work is never a cause, and a server
//! whose runtime tells of its workers is judged by that instead.

use super::owners::{Owner, Within, owners};
use super::{Candidate, Case, Evidence, HANDS, Named, OFF_CPU, PROFILE, Removal, ResourceKind, WIRE};
use crate::analyze::Identity;
use crate::analyze::statistics::interval::Estimate;
use crate::analyze::time::Waiting;
use crate::preset::{Cause, WaitKind};
use crate::profile::{Labels, Space};
use regex::Regex;
use std::collections::BTreeMap;

/// Functions that a finding names at most.
const NAMED: usize = 3;

/// The kinds that are causes.
pub(super) const CAUSES: [(WaitKind, Cause); 6] = [
    (WaitKind::RowLock, Cause::RowLock),
    (WaitKind::Lock, Cause::Lock),
    (WaitKind::LightweightLock, Cause::LightweightLock),
    (WaitKind::Flush, Cause::Flush),
    (WaitKind::Disk, Cause::Disk),
    (WaitKind::Sleep, Cause::Sleep),
];

pub(super) fn findings(case: &Case) -> Vec<Candidate> {
    if case.facts.workers.is_some() {
        return Vec::new();
    }
    CAUSES.into_iter().filter_map(|(kind, cause)| finding(case, kind, cause)).collect()
}

fn finding(case: &Case, kind: WaitKind, cause: Cause) -> Option<Candidate> {
    let waited = case.facts.waited(case.waits, kind)?;
    let entries = case.facts.entries(case.waits, kind);
    let (first, ..) = *entries.first()?;
    let number: f64 = entries.iter().map(|(_, _, number)| number).sum();
    let found = takers(case, kind);
    let (held, held_on_cpu) = held(case, kind, &found);
    let removal = removal(case, waited + held, held_on_cpu);
    let name = |(at, owner): (usize, &Owner)| {
        // What is done with the lock goes with the function that takes it most.
        let (held, held_on_cpu) = if at == 0 { (held, held_on_cpu) } else { (0.0, 0.0) };
        let less = self::removal(case, owner.cost.value.min(waited) + held, held_on_cpu);
        let (name, cost) = (owner.name.clone(), owner.cost.value);
        Named { name, process: None, cost, interval: None, effect: case.effect(&less) }
    };
    let called = case.waits.name(first).to_string();
    let sentence = format!(
        "Queries wait {:.1} us for {called} while they are in the server's hands: {number:.2} waits a query, {:.1} \
         clients at it at a time.",
        waited / 1e3,
        waited * case.facts.throughput / 1e9
    );
    let server = case.facts.cpu.map_or(f64::INFINITY, |cpu| cpu.server);
    Some(Candidate {
        // What the rule of locks is held against.
        measure: (cause == Cause::Lock).then_some((waited / server, "ns blocked for each ns of the server's CPU")),
        named: found.iter().take(NAMED).enumerate().map(name).collect(),
        evidence: evidence(case, waited, &entries, (held, held_on_cpu)),
        removal: Some(removal),
        wait: Some(called),
        ..Candidate::new(cause, sentence)
    })
}

/// Functions at which queries wait so, those with the most first.
fn takers(case: &Case, kind: WaitKind) -> Vec<Owner> {
    let Some(blocked) = case.facts.blocked_in_hand() else { return owners_of(case, |waiting| waiting.kind == kind) };
    let mut sums: BTreeMap<&Identity, f64> = BTreeMap::new();
    for one in blocked.iter().filter(|one| case.waits.kind(one.entry) == kind) {
        let Some(function) = &one.function else { continue };
        *sums.entry(function).or_default() += one.nanos;
    }
    let owner = |(function, value): (&Identity, f64)| Owner {
        name: function.name.clone(),
        user: function.space == Space::User,
        cost: Estimate { value, samples: None, interval: None },
    };
    let mut takers: Vec<Owner> = sums.into_iter().map(owner).collect();
    takers.sort_by(|a, b| b.cost.value.total_cmp(&a.cost.value));
    takers
}

/// Who waits, of the threads that handle queries.
fn owners_of(case: &Case, counts: impl Fn(Waiting) -> bool) -> Vec<Owner> {
    let Some(blocked) = &case.facts.blocked else { return Vec::new() };
    let handles = |labels: &Labels| blocked.tids.contains(&labels.tid);
    case.waits.owners(&case.facts.windows, |waiting, labels| counts(waiting) && handles(labels))
}

/// How long the function that takes a lock most has it, blocked and on a CPU, as far as that is under it: ns a query.
/// Without the lock that would not be waited for either.
fn held(case: &Case, kind: WaitKind, takers: &[Owner]) -> (f64, f64) {
    let Some(taker) = takers.first().filter(|_| kind == WaitKind::Lock) else { return (0.0, 0.0) };
    let busy = |waiting: Waiting| !waiting.kind.idle() && !waiting.kind.lock();
    let blocked = owners_of(case, busy).iter().find(|owner| owner.name == taker.name).map_or(0.0, |o| o.cost.value);
    let Ok(own) = Regex::new(&format!("^{}$", regex::escape(&taker.name))) else { return (blocked, 0.0) };
    let under = owners(case.naming, &case.facts.windows, Within::Frames(&[own]));
    (blocked, under.iter().map(|owner| owner.cost.value).sum())
}

/// Taking away so much waiting; `cpu` ns of CPU with it.
fn removal(case: &Case, blocked: f64, cpu: f64) -> Removal {
    let on_thread = if case.facts.on_one_thread() > 0.0 { blocked + cpu } else { cpu * case.facts.on_busiest_thread() };
    let held = vec![(ResourceKind::Workers, blocked + cpu), (ResourceKind::Thread, on_thread)];
    Removal { cpu, delay: blocked, held, ..Removal::default() }
}

fn evidence(case: &Case, waited: f64, entries: &[(usize, f64, f64)], held: (f64, f64)) -> Vec<Evidence> {
    let mut found = vec![case.nanos("a query is in the server's hands", case.facts.in_hands(), "query", WIRE)];
    let source = if case.facts.blocked_in_hand().is_some() { HANDS } else { OFF_CPU };
    for (entry, nanos, number) in entries.iter().take(3) {
        let what = format!("threads that handle queries blocked for {}, {number:.2} waits", case.waits.name(*entry));
        found.push(case.nanos(&what, *nanos, "query", source));
    }
    let share = case.share("of the latency", waited / case.facts.latency, "the latency", source);
    found.push(Evidence { what: "that wait".into(), ..share });
    if held.0 > 0.0 {
        found.push(case.nanos("the function named first blocked while it has the lock", held.0, "query", OFF_CPU));
    }
    if held.1 > 0.0 {
        found.push(case.nanos("CPU of the function named first, with what it calls", held.1, "query", PROFILE));
    }
    found
}
