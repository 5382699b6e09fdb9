//! Findings on what carries the queries while they are in the server's hands: a wait at a function of the program with
//! the chain behind it, and ready tasks that wait for a worker of the runtime. Invariant: of a wait only what would go
//! with it counts, as a delay: timers, sleep, answers from behind, and the work of those that are waited for, whose CPU
//! is another finding's. What is ready without a CPU or a worker is contention, and no delay of the wait's own.

use super::carried::WaitInHand;
use super::chain::{Link, brief, heaviest, in_a_sentence};
use super::owners::{Within, owners};
use super::{Candidate, Case, Evidence, HANDS, Named, PROFILE, Removal, ResourceKind, WIRE, nanos_at};
use crate::analyze::cost::owners::TRANSPORT;
use crate::analyze::time::hands::in_words;
use crate::carriers::State;
use crate::preset::Cause;
use crate::profile::short_name;
use crate::words::{counted, significant, thousands, time};

pub(super) fn findings(case: &Case) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = case.facts.waits_in_hand().iter().map(|wait| waiting(case, wait)).collect();
    found.extend(queued(case));
    found
}

/// Taking this wait away, and no work: on saturated CPUs that gains nothing, for then the CPUs are what is waited for.
fn removal(wait: &WaitInHand) -> Removal {
    let held = vec![(ResourceKind::Workers, wait.of_threads)];
    Removal { delay: wait.ends.counted(), held, ..Removal::default() }
}

fn waiting(case: &Case, wait: &WaitInHand) -> Candidate {
    let removal = removal(wait);
    let path = path(case, wait);
    let name =
        |name: String, cost: f64, effect: Option<f64>| Named { name, process: None, cost, interval: None, effect };
    let mut named: Vec<Named> = Vec::new();
    named.extend(wait.function.as_ref().map(|at| name(at.name.clone(), wait.nanos, case.effect(&removal))));
    let leaf = path.iter().rev().find_map(|link| Some((whose(link)?, link.nanos)));
    let leaf = leaf.filter(|(leaf, _)| named.iter().all(|named| named.name != *leaf));
    named.extend(leaf.map(|(leaf, nanos)| name(leaf, nanos, None)));
    Candidate {
        removal: Some(removal),
        ends: Some(wait.ends),
        divided: is_divided(case, wait),
        named,
        evidence: evidence(case, wait),
        ..Candidate::new(Cause::Wait, sentence(case, wait, &path))
    }
}

/// It lies in a function that waits for what the server's own figures are of.
fn is_divided(case: &Case, wait: &WaitInHand) -> bool {
    let patterns = case.preset.diagnosis.behind.iter().flat_map(|behind| &behind.functions);
    let name = wait.function.as_ref().map(|at| short_name(&at.name));
    patterns.into_iter().any(|pattern| name.as_ref().is_some_and(|name| pattern.0.is_match(name)))
}

/// What the preset calls the one that ended most of it.
fn called<'w>(case: &Case, wait: &'w WaitInHand) -> Option<&'w str> {
    wait.ended_by.as_deref().filter(|who| case.preset.ender.iter().any(|ender| ender.name == *who))
}

/// The heaviest path behind it; none where the preset has a name for what ended it, which says more.
fn path<'w>(case: &Case, wait: &'w WaitInHand) -> Vec<&'w Link> {
    if called(case, wait).is_some() { Vec::new() } else { heaviest(&wait.chain) }
}

/// The function at a link, or the task that ran.
fn whose(link: &Link) -> Option<String> {
    let task = || link.who.strip_prefix("task ").filter(|_| link.state == State::Running).map(String::from);
    link.function.as_ref().map(|function| function.name.clone()).or_else(task)
}

fn sentence(case: &Case, wait: &WaitInHand, path: &[&Link]) -> String {
    let of = format!(", of {} in the server's hands", time(case.facts.in_hands()));
    let port = wait.behind.map_or(String::new(), |port| format!(" for port {port}"));
    let nanos = time(wait.nanos);
    let at = match &wait.function {
        Some(function) => format!("waits {nanos}{port} in {}{of}", brief(&function.name)),
        None => format!("{} {nanos}{of}", in_words(wait.state, wait.behind, None)),
    };
    let behind = match called(case, wait) {
        Some(who) => format!(", until {who} ends it"),
        None => in_a_sentence(path),
    };
    let lowest = case.lowest();
    let grown = lowest.hands.as_ref().filter(|_| lowest.level < case.facts.level).map_or(String::new(), |_| {
        let there = lowest.same_wait(wait).map_or(0.0, |wait| wait.nanos);
        format!(". At {} the wait is {} of {}", clients(lowest.level), time(there), time(lowest.in_hands()))
    });
    format!("At {} a query {at}{behind}{grown}.", clients(case.facts.level))
}

fn clients(level: usize) -> String {
    counted(level as u64, "client")
}

fn evidence(case: &Case, wait: &WaitInHand) -> Vec<Evidence> {
    let facts = case.facts;
    let mut found = vec![case.nanos("a query is in the server's hands", facts.in_hands(), "query", WIRE)];
    if let Some(hands) = &facts.hands {
        let what = format!(
            "the wait, {} times a query, by {} queries in {} of their own that probes made slower, where {} a query \
             were in hand",
            significant(wait.times),
            thousands(&hands.queries.to_string()),
            time(hands.facts.carried.span.nanos() as f64),
            time(hands.nanos)
        );
        found.push(case.share(&what, wait.nanos / facts.in_hands(), "the time in hand", HANDS));
    }
    let lowest = case.lowest();
    if let Some(there) = lowest.same_wait(wait).filter(|_| lowest.level < facts.level) {
        found.push(nanos_at(lowest, "the same wait at the lowest level", there.nanos, "query", HANDS));
    }
    let ends = wait.ends;
    for (what, nanos) in [
        ("of it, until a timer, a device or a packet came", ends.outside),
        ("of it, until an answer from behind the server came", ends.behind),
        ("of it, those that were waited for on a CPU", ends.cpu),
        ("of it, those that were waited for ready, without a CPU or a worker, which is not counted", ends.ready),
    ] {
        if nanos >= 0.01 * wait.nanos {
            found.push(case.nanos(what, nanos, "query", HANDS));
        }
    }
    found
}

/// Tasks that were woken and are not polled.
fn queued(case: &Case) -> Option<Candidate> {
    let (nanos, times) = case.facts.queued_in_hand()?;
    let cpu = owners(case.naming, &case.facts.windows, Within::Everything);
    let on_cpu = cpu.into_iter().find(|owner| owner.user && owner.name != TRANSPORT);
    let on_cpu = on_cpu.map(|owner| (owner.name, owner.cost.value, "on a CPU", PROFILE));
    let waits = case.facts.waits_in_hand().into_iter().filter(|wait| wait.of_threads > 0.0);
    let blocked = waits.max_by(|a, b| a.of_threads.total_cmp(&b.of_threads));
    let blocked = blocked.and_then(|wait| Some((wait.function?.name, wait.of_threads, "blocked", HANDS)));
    let holder = on_cpu.into_iter().chain(blocked).max_by(|a, b| a.1.total_cmp(&b.1));
    let said = holder.as_ref().map_or(String::new(), |(name, held, how, _)| {
        format!("; {} holds workers most, {} a query {how}", brief(name), time(*held))
    });
    let sentence = format!(
        "At {} a query waits {} of {} for a worker of the runtime, ready and not polled yet, {} \
         times{said}.",
        clients(case.facts.level),
        time(nanos),
        time(case.facts.in_hands()),
        significant(times)
    );
    let mut evidence = vec![
        case.nanos("a query is in the server's hands", case.facts.in_hands(), "query", WIRE),
        case.nanos("of it, its task ready and not polled yet", nanos, "query", HANDS),
    ];
    let lowest = case.lowest();
    let there = lowest.queued_in_hand().filter(|_| lowest.level < case.facts.level);
    evidence.extend(there.map(|(there, _)| nanos_at(lowest, "the same at the lowest level", there, "query", HANDS)));
    let name = |(name, cost, how, source): (String, f64, &str, &str)| {
        evidence.push(case.nanos(&format!("the function that holds workers most, {how}"), cost, "query", source));
        Named { name, process: None, cost, interval: None, effect: None }
    };
    Some(Candidate {
        removal: Some(Removal { delay: nanos, ..Removal::default() }),
        named: holder.into_iter().map(name).collect(),
        evidence,
        ..Candidate::new(Cause::Queued, sentence)
    })
}
