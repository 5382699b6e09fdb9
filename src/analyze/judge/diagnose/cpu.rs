//! Findings on the CPU: a function, the allocator, one thread; the machine as a whole is in `machine.rs`. Invariant:
//! a function is named with what it calls, and what a function's CPU costs the latency is the network's answer, not its
//! share of a profile.

use super::accounting::Busiest;
use super::facts::Facts;
use super::owners::{Owner, Within, owners};
use super::wait_cpu::WaitCpu;
use super::{Candidate, Case, Evidence, Named, PROFILE, Removal, ResourceKind, SCHEDULER, machine};
use crate::analyze::cost::owners::{TRANSPORT, allocator as allocator_functions};
use crate::preset::Cause;

/// Share of a function's CPU from which on it is one thread's.
const MOSTLY: f64 = 0.8;
/// Functions that a finding names at most.
const NAMED: usize = 3;

pub(super) fn findings(case: &Case) -> Vec<Candidate> {
    let all = owners(case.naming, &case.facts.windows, Within::Everything);
    let allocated = allocated(case);
    let in_thread = match &case.facts.thread {
        Some(thread) => owners(case.naming, &case.facts.windows, Within::Threads(&thread.tids)),
        None => Vec::new(),
    };
    // A function that is called once for many queries costs each of them more where fewer share the call.
    let at_lower = case.facts.lower(case.levels);
    let lower = at_lower.map_or(Vec::new(), |facts| owners(case.naming, &facts.windows, Within::Everything));
    let mut found: Vec<Candidate> = Vec::new();
    // What is spent on a wait that is a cause of its own is that one's.
    if case.wait_cpu.is_empty() {
        found.extend(function(case, &all, &allocated, &in_thread, &lower));
    } else {
        let outside = |facts: &Facts| WaitCpu::outside(case.of_waits(), facts, &case.wait_cpu);
        let there = at_lower.map_or(Vec::new(), outside);
        found.extend(function(case, &outside(case.facts), &allocated, &in_thread, &there));
    }
    found.extend(allocator(case, &allocated));
    found.extend(thread(case, &in_thread, &lower));
    found.extend(machine::saturated(case, &all, &lower));
    found.extend(machine::limited(case, &all, &lower));
    found
}

/// Taking away this much of the server's CPU.
pub(super) fn removal(nanos: f64, in_thread: f64) -> Removal {
    let held = [(ResourceKind::Workers, nanos), (ResourceKind::Thread, in_thread), (ResourceKind::ServersCpus, nanos)];
    let held = held.to_vec();
    Removal { cpu: nanos, held, ..Removal::default() }
}

/// Taking away this much of a function, `in_thread` of it on the busiest thread. At the lower level as large a part
/// of it goes; one that was not sampled there costs nothing there, and where nothing was sampled it is taken to cost
/// as much a query.
pub(super) fn less_of(owner: &Owner, nanos: f64, in_thread: f64, lower: &[Owner]) -> Removal {
    let there = (!lower.is_empty()).then(|| cost_of(lower, &owner.name) * nanos / owner.cost.value);
    Removal { lower_cpu: there, ..removal(nanos, in_thread) }
}

fn cost_of(owners: &[Owner], name: &str) -> f64 {
    owners.iter().find(|owner| owner.name == name).map_or(0.0, |owner| owner.cost.value)
}

pub(super) fn named(case: &Case, owners: &[Owner], in_thread: &[Owner], lower: &[Owner]) -> Vec<Named> {
    let name = |owner: &Owner| Named {
        name: owner.name.clone(),
        process: None,
        cost: owner.cost.value,
        interval: owner.cost.interval,
        effect: case.effect(&less_of(owner, owner.cost.value, cost_of(in_thread, &owner.name), lower)),
    };
    owners.iter().take(NAMED).map(name).collect()
}

fn sampled(case: &Case, owner: &Owner, what: &str) -> Evidence {
    let samples = owner.cost.samples.map_or(String::new(), |samples| format!(", {samples} samples"));
    case.nanos(&format!("{what}{samples}"), owner.cost.value, "query", PROFILE)
}

/// The function with the most CPU. One that is mostly in the allocator is the allocator's.
fn function(
    case: &Case,
    all: &[Owner],
    allocated: &[Owner],
    in_thread: &[Owner],
    lower: &[Owner],
) -> Option<Candidate> {
    let allocates = |owner: &&Owner| cost_of(allocated, &owner.name) > owner.cost.value / 2.0;
    let candidate = |owner: &&Owner| owner.name != TRANSPORT && !allocates(owner);
    let own: Vec<Owner> = all.iter().filter(candidate).cloned().collect();
    let first = own.first()?;
    let in_thread_share = (cost_of(in_thread, &first.name) / first.cost.value).min(1.0);
    // Then it is not the CPUs that the function is too much for, but that thread, whose finding names it.
    (!limits(case) || in_thread_share < MOSTLY).then_some(())?;
    let less = |nanos: f64| less_of(first, nanos, nanos * in_thread_share, lower);
    let server = case.facts.cpu.map(|cpu| case.nanos("CPU of the server", cpu.server, "query", SCHEDULER));
    Some(Candidate {
        removal: Some(less(first.cost.value)),
        at_least: first.cost.interval.map(|(low, _)| less(low)),
        named: named(case, &own, in_thread, lower),
        evidence: [sampled(case, first, "CPU of the function with what it calls")].into_iter().chain(server).collect(),
        ..Candidate::new(Cause::CpuFunction, "One function of the server takes much of the CPU.".into())
    })
}

/// Whether the busiest thread is a limit of its own: it never rests, and dividing its work would gain.
fn limits(case: &Case) -> bool {
    let Some(thread) = case.facts.queued_for() else { return false };
    let divided = case.effect(&divided(thread)).map_or(0.0, |effect| effect / case.facts.latency);
    thread.awake >= case.threshold(Cause::SaturatedThread) && divided >= case.least_share(Cause::SaturatedThread)
}

/// Dividing the work of a thread among several.
fn divided(thread: &Busiest) -> Removal {
    Removal { held: vec![(ResourceKind::Thread, thread.demand)], ..Removal::default() }
}

/// Owners of what lies in the allocator.
fn allocated(case: &Case) -> Vec<Owner> {
    let patterns = allocator_functions(case.preset);
    match patterns.is_empty() {
        true => Vec::new(),
        false => owners(case.naming, &case.facts.windows, Within::Frames(&patterns)),
    }
}

fn allocator(case: &Case, allocated: &[Owner]) -> Option<Candidate> {
    let total: f64 = allocated.iter().map(|owner| owner.cost.value).sum();
    let first = allocated.first()?;
    Some(Candidate {
        removal: Some(removal(total, total * case.facts.on_busiest_thread())),
        named: named(case, allocated, &[], &[]),
        evidence: vec![
            case.nanos("CPU in the allocator", total, "query", PROFILE),
            sampled(case, first, "of it, called by the first function named"),
        ],
        ..Candidate::new(Cause::Allocator, "Much of the CPU goes into allocating and freeing memory.".into())
    })
}

/// One thread that never rests: always on a CPU, or waiting for one that others take from it.
fn thread(case: &Case, in_thread: &[Owner], lower: &[Owner]) -> Option<Candidate> {
    let thread = case.facts.queued_for()?;
    let (who, own) = match thread.as_busy {
        ..=1 => (format!("One thread of the server, {}, is", thread.name), "a CPU of its own it"),
        more => (format!("{more} threads of the server, such as {}, are", thread.name), "CPUs of their own they"),
    };
    let sentence = format!(
        "{who} on a CPU {:.0} % of the time and waiting for one {:.0} %: with {own} can serve {:.0} queries/s at most.",
        100.0 * thread.on_cpu,
        100.0 * (thread.awake - thread.on_cpu),
        1e9 / thread.demand
    );
    let own = divided(thread);
    let first = in_thread.first().map(|owner| less_of(owner, owner.cost.value, owner.cost.value, lower));
    // Dividing the thread's work among several, or doing less of it: whichever gains more.
    let best = first.filter(|first| case.effect(first) > case.effect(&own)).unwrap_or_else(|| own.clone());
    Some(Candidate {
        removal: Some(best),
        // On saturated CPUs all threads are awake: this one is the limit only where dividing its own work gains.
        at_least: Some(own),
        measure: Some((thread.awake, "time that the thread is on a CPU or waits for one")),
        named: named(case, in_thread, in_thread, lower),
        evidence: vec![
            case.nanos(&format!("CPU of thread {}", thread.name), thread.demand, "query", SCHEDULER),
            case.share("that thread on a CPU", thread.on_cpu, "its time", SCHEDULER),
            case.share("that thread waiting for a CPU", thread.awake - thread.on_cpu, "its time", SCHEDULER),
        ],
        ..Candidate::new(Cause::SaturatedThread, sentence)
    })
}
