//! Findings on what queries wait for while they are in the server's hands, by the stacks of the threads that handle
//! them: locks, flushes, files, sleep; with the CPU that they use there. Invariant: waiting for a client or for work is
//! never a cause, and a server whose runtime tells of its workers is judged by that instead.

use super::blocked::Waited;
use super::facts::Facts;
use super::owners::{Owner, Within, owners};
use super::wait_cpu::total;
use super::{Candidate, Case, Evidence, HANDS, Known, Named, OFF_CPU, PROFILE, Removal, ResourceKind, WIRE};
use crate::analyze::Identity;
use crate::analyze::statistics::interval::Estimate;
use crate::analyze::time::Waiting;
use crate::preset::{Cause, WaitKind};
use crate::profile::{Labels, Space};
use crate::statements::LockWaits;
use crate::words::{average, significant, time};
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
    let (first, _) = *entries.first()?;
    let takers = takers(case, kind);
    let at = At::of(case, kind, waited, &takers);
    let server = case.facts.cpu.map_or(f64::INFINITY, |cpu| cpu.server);
    let called = case.waits.name(first).to_string();
    let tables = tables(case, kind);
    Some(Candidate {
        // What the rule of locks is held against.
        measure: (cause == Cause::Lock).then_some((waited / server, "ns blocked for each ns of the server's CPU")),
        named: named(case, &at, &takers),
        evidence: evidence(case, &at, &entries),
        removal: Some(removal(case, waited + at.held, at.held_on_cpu + at.cpu, at.lower_cpu)),
        there: Some(at.there(case)),
        wait: Some(called.clone()),
        tables: tables.iter().map(|(_, table)| table.clone()).collect(),
        ..Candidate::new(cause, sentence(case, &called, &at, &entries) + &on_tables(&tables))
    })
}

/// What each kind that is a cause is waited for.
fn waited_for(kind: WaitKind) -> &'static str {
    match kind {
        WaitKind::RowLock => "for locks of other transactions",
        WaitKind::Lock | WaitKind::LightweightLock => "for locks",
        WaitKind::Flush => "until data is on the disk",
        WaitKind::Disk => "for files",
        WaitKind::Sleep => "asleep",
        WaitKind::Client | WaitKind::Work | WaitKind::Other => "for something else",
    }
}

impl Known<'_> {
    /// ns a query that threads which handle queries wait at a level while they have one in their hands, by what for;
    /// without what cannot be told from idle threads there. `None`: their waits were not followed, or none of them was
    /// recognised; or workers of a runtime handle the queries, whose waits are not those of queries.
    pub fn waits_of_queries(&self, level: usize) -> Option<BTreeMap<String, f64>> {
        let facts = self.levels.get(&level).filter(|facts| facts.workers.is_none())?;
        let blocked = facts.blocked.as_ref().filter(|blocked| !blocked.tids.is_empty())?;
        let mut found = BTreeMap::from([("for a CPU".to_string(), blocked.runnable)]);
        for (kind, _) in CAUSES {
            *found.entry(waited_for(kind).to_string()).or_default() += facts.waited(&self.waits, kind).unwrap_or(0.0);
        }
        for (kind, _) in CAUSES.iter().filter(|(kind, _)| facts.is_idle_too(&self.waits, *kind)) {
            found.remove(waited_for(*kind));
        }
        Some(found)
    }
}

/// What a query spends at a kind of wait, ns.
struct At {
    blocked: f64,
    /// Waiting for a CPU there.
    runnable: f64,
    /// CPU there, and who uses it.
    cpu: f64,
    on_cpu: Vec<Owner>,
    /// That CPU at the lower level; `None`: not known.
    lower_cpu: Option<f64>,
    /// See [`held`].
    held: f64,
    held_on_cpu: f64,
}

impl At {
    fn of(case: &Case, kind: WaitKind, blocked: f64, takers: &[Owner]) -> Self {
        let (held, held_on_cpu) = held(case, kind, takers);
        let mut on_cpu = case.wait_cpu.get(&kind).cloned().unwrap_or_default();
        // What the function with the lock uses is all of its CPU.
        on_cpu.retain(|owner| held_on_cpu == 0.0 || takers.first().is_none_or(|taker| taker.name != owner.name));
        let sampled = |facts: &&Facts| facts.blocked.is_some() && facts.windows.iter().all(|w| w.profile.is_some());
        let lower = case.facts.lower(case.levels).filter(sampled).filter(|_| !on_cpu.is_empty());
        At {
            blocked,
            runnable: case.facts.entries(case.waits, kind).iter().map(|(_, waited)| waited.runnable).sum(),
            cpu: total(&on_cpu),
            on_cpu,
            lower_cpu: lower.map(|facts| held_on_cpu + total(&case.of_waits().at(facts, kind))),
            held,
            held_on_cpu,
        }
    }

    /// ns a query in all: never more than it is in the server's hands.
    fn there(&self, case: &Case) -> f64 {
        (self.blocked + self.runnable + self.cpu).min(case.facts.in_hands())
    }

    fn cpu_of(&self, name: &str) -> f64 {
        self.on_cpu.iter().find(|owner| owner.name == name).map_or(0.0, |owner| owner.cost.value)
    }
}

fn sentence(case: &Case, called: &str, at: &At, entries: &[(usize, Waited)]) -> String {
    let number: f64 = entries.iter().map(|(_, waited)| waited.waits).sum();
    let beside = match (at.runnable, at.cpu) {
        (runnable, cpu) if runnable + cpu < 50.0 => String::new(),
        (runnable, cpu) => format!(" There they also wait {} for a CPU, and use {} of one.", time(runnable), time(cpu)),
    };
    format!(
        "Queries wait {} for {called} while they are in the server's hands: {} waits a query, {} \
         clients at it on average.{beside}",
        time(at.blocked),
        significant(number),
        average(at.blocked * case.facts.throughput / 1e9)
    )
}

/// The tables whose locks are waited for, each with the sessions that wait on average, as the server told.
fn tables(case: &Case, kind: WaitKind) -> Vec<(f64, String)> {
    let hands = case.facts.hands.as_ref().filter(|_| kind == WaitKind::RowLock);
    let mut tables = hands.and_then(|hands| hands.facts.locks.as_ref()).map_or_else(Vec::new, LockWaits::tables);
    let most = tables.first().map_or(0.0, |(mean, _)| *mean);
    // A tenth of it: what is locked now and then beside says nothing of the cause.
    tables.retain(|(mean, _)| *mean >= 0.1 * most);
    tables.truncate(NAMED);
    tables
}

fn on_tables(tables: &[(f64, String)]) -> String {
    let shown: Vec<String> =
        tables.iter().map(|(mean, table)| format!("of {table} ({} sessions wait)", average(*mean))).collect();
    match shown.is_empty() {
        true => String::new(),
        false => format!(" The locks are {}, as the server tells.", shown.join(" and ")),
    }
}

/// Who waits, and uses CPU there: those with the most first.
fn named(case: &Case, at: &At, takers: &[Owner]) -> Vec<Named> {
    let blocked_of = |name: &str| takers.iter().find(|owner| owner.name == name).map_or(0.0, |owner| owner.cost.value);
    let only_cpu = at.on_cpu.iter().filter(|owner| blocked_of(&owner.name) == 0.0);
    let mut names: Vec<&String> = takers.iter().chain(only_cpu).map(|owner| &owner.name).collect();
    names.sort_by(|a, b| (blocked_of(b) + at.cpu_of(b)).total_cmp(&(blocked_of(a) + at.cpu_of(a))));
    let name = |name: &String| {
        // What is done with the lock goes with the function that takes it most.
        let takes = takers.first().is_some_and(|taker| taker.name == *name);
        let (held, held_on_cpu) = if takes { (at.held, at.held_on_cpu) } else { (0.0, 0.0) };
        let (blocked, cpu) = (blocked_of(name), at.cpu_of(name));
        let less = removal(case, blocked.min(at.blocked) + held, held_on_cpu + cpu, None);
        Named { name: name.clone(), process: None, cost: blocked + cpu, interval: None, effect: case.effect(&less) }
    };
    names.into_iter().take(NAMED).map(name).collect()
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

/// Taking away so much waiting, and `cpu` ns of CPU with it; of that `lower_cpu` at the lower level, where it is known.
fn removal(case: &Case, blocked: f64, cpu: f64, lower_cpu: Option<f64>) -> Removal {
    let on_thread = if case.facts.on_one_thread() > 0.0 { blocked + cpu } else { cpu * case.facts.on_busiest_thread() };
    let held = vec![
        (ResourceKind::Workers, blocked + cpu),
        (ResourceKind::Thread, on_thread),
        (ResourceKind::ServersCpus, cpu),
    ];
    Removal { cpu, lower_cpu, delay: blocked, held, ..Removal::default() }
}

fn evidence(case: &Case, at: &At, entries: &[(usize, Waited)]) -> Vec<Evidence> {
    let mut found = vec![case.nanos("a query is in the server's hands", case.facts.in_hands(), "query", WIRE)];
    let source = if case.facts.blocked_in_hand().is_some() { HANDS } else { OFF_CPU };
    for (entry, waited) in entries.iter().filter(|(_, waited)| waited.blocked > 0.0).take(3) {
        let name = case.waits.name(*entry);
        let what = format!("threads that handle queries blocked for {name}, {:.2} waits", waited.waits);
        found.push(case.nanos(&what, waited.blocked, "query", source));
    }
    let share = case.share("of the latency", at.blocked / case.facts.latency, "the latency", source);
    found.push(Evidence { what: "that wait".into(), ..share });
    let further = [
        ("of these threads, waiting for a CPU there", at.runnable, OFF_CPU),
        ("of these threads, on a CPU there", at.cpu, PROFILE),
        ("the function named first blocked while it has the lock", at.held, OFF_CPU),
        ("CPU of the function named first, with what it calls", at.held_on_cpu, PROFILE),
    ];
    let further = further.into_iter().filter(|(_, nanos, _)| *nanos > 0.0);
    found.extend(further.map(|(what, nanos, source)| case.nanos(what, nanos, "query", source)));
    found
}
