//! Findings on the round trip behind the server: the database's own time, the way to it, its wait for a CPU, and the
//! queues in front. Invariant: what the statement itself took, what its request waited at the database and what is
//! left are parts of one measured call; what a query loses by them is that many times the call as it waits for.

use super::facts::{Facts, RoundTrip, Service};
use super::{Candidate, Case, Evidence, METRICS, Removal, SCHEDULER, STATEMENTS, WIRE, nanos_at};
use crate::preset::{Behind, Cause};
use crate::wire::Place;
use crate::words::{significant, time};

pub(super) fn findings(case: &Case) -> Vec<Candidate> {
    let (Some(behind), Some(trip)) = (&case.preset.diagnosis.behind, &case.facts.behind) else { return Vec::new() };
    let own = trip.service.as_ref().map(|statement| service(case, behind, trip, statement));
    let found =
        [own, path(case, behind, trip), starved(case, behind, trip), queue(case, behind, trip), pool(case, trip)];
    found.into_iter().flatten().collect()
}

/// The decision that the others are compared with: how the call grew, and how the statement did.
fn decision(case: &Case) -> Vec<Evidence> {
    let mut found = Vec::new();
    let mut levels = vec![case.lowest(), case.facts];
    levels.dedup_by_key(|facts| facts.level);
    for facts in levels {
        let Some(trip) = &facts.behind else { continue };
        found.push(nanos_at(facts, &trip.measured_by, trip.call, "round trip", METRICS));
        if let Some(statement) = &trip.service {
            let what = format!("the statement's {} time, {} calls", statement.spans, statement.calls);
            found.push(nanos_at(facts, &what, statement.mean, "call", STATEMENTS));
        }
    }
    found
}

/// What a query waits for the round trip.
fn wait(case: &Case, trip: &RoundTrip) -> Vec<Evidence> {
    let waited = trip.wait.as_ref().map(|(wait, by)| case.nanos(by, *wait, "query", METRICS));
    waited.into_iter().collect()
}

fn service(case: &Case, behind: &Behind, trip: &RoundTrip, statement: &Service) -> Candidate {
    let waited = statement.mean * trip.multiplicity();
    // The statement runs on a CPU of this machine as far as the database's own processes do.
    let on_cpu = trip.cpu.unwrap_or(0.0).min(statement.mean * trip.per_query);
    let sentence = format!(
        "{} takes {} for its statement, of {} a round trip.",
        capital(&behind.name),
        time(statement.mean),
        time(trip.call)
    );
    Candidate {
        removal: Some(Removal { cpu: on_cpu, delay: (waited - on_cpu).max(0.0), ..Removal::default() }),
        evidence: [decision(case), wait(case, trip)].concat(),
        ..Candidate::new(Cause::DatabaseService, sentence)
    }
}

/// The way there and back, beyond what such a trip takes on this machine anyway.
fn path(case: &Case, behind: &Behind, trip: &RoundTrip) -> Option<Candidate> {
    let here = trip.path()?;
    let pure = pure_path(case)?;
    let sentence = format!(
        "Of {} a round trip to {}, {} are spent neither on the statement nor on its wait at the database{}.",
        time(trip.call),
        behind.name,
        time(here),
        if pure.queued {
            format!("; {} of them at every level, the rest may be queues for the CPU", time(pure.nanos))
        } else {
            String::new()
        }
    );
    let mut evidence = decision(case);
    if let Some(places) = &trip.places {
        let mean = |place: Place| places.places[place.index()].mean.unwrap_or(0.0);
        let network = mean(Place::Request) + mean(Place::Response);
        evidence.push(case.nanos("on the network to the database and back", network, "round trip", WIRE));
        evidence.push(case.nanos(
            "the answer unread in the server's socket",
            mean(Place::ClientBuffer),
            "round trip",
            WIRE,
        ));
    }
    if pure.floor > 0.0 {
        let what = "between the programs on the load's own connections (what any round trip takes here)";
        evidence.push(nanos_at(case.lowest(), what, pure.floor, "query", WIRE));
    }
    evidence.extend(wait(case, trip));
    let excess = (pure.nanos - pure.floor).max(0.0);
    Some(Candidate {
        removal: Some(Removal { delay: excess * trip.multiplicity(), ..Removal::default() }),
        evidence,
        ..Candidate::new(Cause::DatabasePath, sentence)
    })
}

/// How much of the path is no queue for the CPU.
struct Pure {
    nanos: f64,
    /// What a round trip takes on this machine without any work.
    floor: f64,
    /// The CPUs are saturated at this level, so a lower level stood in.
    queued: bool,
}

/// On saturated CPUs every path holds queues for them, so there the least of all levels counts.
fn pure_path(case: &Case) -> Option<Pure> {
    let here = case.facts.behind.as_ref()?.path()?;
    let bound = case.threshold(Cause::CpuSaturated);
    let saturated = |facts: &Facts| facts.cpu.is_none_or(|cpu| cpu.used >= bound);
    let paths = case.levels.values().filter_map(|facts| facts.behind.as_ref()?.path());
    let least = paths.fold(here, f64::min);
    let queued = saturated(case.facts) && least < here;
    Some(Pure { nanos: if queued { least } else { here }, floor: case.lowest().transit().unwrap_or(0.0), queued })
}

/// A database that is late to begin, not slow.
fn starved(case: &Case, behind: &Behind, trip: &RoundTrip) -> Option<Candidate> {
    let (waits, statement) = (trip.waits_at_database()?, trip.service.as_ref()?);
    let floor =
        case.lowest().behind.as_ref().and_then(RoundTrip::waits_at_database).map_or(0.0, |least| least.min(waits));
    let sentence = format!(
        "A request waits {} until {} begins with it; its statement itself takes {}.",
        time(waits),
        behind.name,
        time(statement.mean)
    );
    let cpu = case.facts.cpu.map(|cpu| case.share("CPU in use", cpu.used, "the machine", SCHEDULER));
    let mut evidence = decision(case);
    evidence.push(case.nanos("requests wait at the database", waits, "round trip", WIRE));
    evidence.push(nanos_at(case.lowest(), "of it at the lowest level", floor, "round trip", WIRE));
    evidence.extend(cpu);
    Some(Candidate {
        removal: Some(Removal { delay: (waits - floor) * trip.multiplicity(), ..Removal::default() }),
        measure: Some((waits / statement.mean, "ns waiting at the database for each ns of the statement")),
        evidence,
        ..Candidate::new(Cause::DatabaseStarved, sentence)
    })
}

/// Queries that wait for the next shared call, because it is the way of batches or because no more calls may be under
/// way.
fn queue(case: &Case, behind: &Behind, trip: &RoundTrip) -> Option<Candidate> {
    let (waited, by) = trip.wait.as_ref()?;
    // What a call waits for a connection is another cause's.
    let queued = (waited - trip.call - trip.pool.unwrap_or(0.0)).max(0.0);
    let slots = trip.slots.zip(behind.slots_limit);
    let full = slots.map(|(used, limit)| used / limit);
    let cause =
        if full.is_some_and(|full| full >= case.threshold(Cause::Slots)) { Cause::Slots } else { Cause::BatchQueue };
    // A query waits for the next call to begin, and calls begin the more often the more are under way.
    let gone = match slots {
        Some((used, limit)) if cause == Cause::BatchQueue => queued * (1.0 - used / limit).max(0.0),
        _ => queued,
    };
    let in_use = slots.map_or(String::new(), |(used, limit)| {
        format!("; on average {} of {limit:.0} possible calls are under way", significant(used))
    });
    let with_all =
        if gone < queued { format!("; if all were, it would be {}", time(queued - gone)) } else { String::new() };
    let sentence = format!("Queries wait {} for the next shared call{in_use}{with_all}.", time(queued));
    let mut evidence = vec![
        case.nanos(by, *waited, "query", METRICS),
        case.nanos(&trip.measured_by, trip.call, "round trip", METRICS),
        Evidence {
            what: "queries that share a call".into(),
            value: 1.0 / trip.per_query,
            unit: "queries a call".into(),
            level: case.facts.level,
            source: METRICS.into(),
        },
    ];
    evidence.extend(slots.map(|(used, limit)| Evidence {
        what: format!("calls under way, of {limit:.0} at most"),
        value: used,
        unit: "calls".into(),
        level: case.facts.level,
        source: METRICS.into(),
    }));
    Some(Candidate {
        removal: Some(Removal { delay: gone, ..Removal::default() }),
        measure: full.filter(|_| cause == Cause::Slots).map(|full| (full, "of the calls that may be under way")),
        evidence,
        ..Candidate::new(cause, sentence)
    })
}

fn pool(case: &Case, trip: &RoundTrip) -> Option<Candidate> {
    let waited = trip.pool?;
    let sentence = format!("Round trips wait {} for a connection of the pool.", time(waited));
    let mut evidence = vec![case.nanos("waiting for a connection", waited, "round trip", METRICS)];
    evidence.extend(wait(case, trip));
    Some(Candidate {
        removal: Some(Removal { delay: waited * trip.multiplicity(), ..Removal::default() }),
        evidence,
        ..Candidate::new(Cause::Pool, sentence)
    })
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
