//! The finding on the network between the load and the server, where these are on two hosts. Invariant: what queries
//! spend there is what the sockets of both hosts leave of the client's waiting; the link's own round trip is told by
//! readings of a clock over it, and only says whether the link itself takes that long.

use super::facts::Facts;
use super::{Candidate, Case, Evidence, Removal, WINDOW, WIRE, nanos_at};
use crate::preset::Cause;
use crate::wire::Place;
use crate::words::{counted, significant, time};

/// A query that is on the network for so many of the link's quickest round trips is held up by more than the link; one
/// that is there for fewer of them than the inverse tells that ssh's programs, which the readings pass, took most.
const FAR: f64 = 1.5;
/// From one level to another it grew, or fell, where it changed by this factor.
const GREW: f64 = 1.25;

impl Facts<'_> {
    /// ns a query on the network between the load and the server, both ways; `None`: they are on one host, or not both
    /// ends were seen.
    pub(super) fn between_hosts(&self) -> Option<f64> {
        let places = self.places.as_ref().filter(|places| places.ways_together)?;
        places.share(Place::Network)?.mean
    }
}

/// The link as readings of the clock over it tell.
struct LinkReadings {
    /// ns of the quickest of all windows.
    round_trip: f64,
    /// How many there were in this level's windows.
    readings: u64,
}

fn link(case: &Case) -> Option<LinkReadings> {
    let of = |facts: &Facts| facts.windows.iter().filter_map(|window| window.facts.clocks).collect::<Vec<_>>();
    let all = case.levels.values().flat_map(of).map(|clocks| clocks.relation.round_trip);
    let round_trip = all.min().filter(|nanos| *nanos > 0)? as f64;
    let readings = of(case.facts).iter().map(|clocks| clocks.relation.readings as u64).sum();
    Some(LinkReadings { round_trip, readings })
}

/// Queries wait for the network between the two hosts.
pub(super) fn finding(case: &Case) -> Option<Candidate> {
    let network = case.facts.between_hosts().filter(|nanos| *nanos > 0.0)?;
    let link = link(case);
    let sentence = format!(
        "Of {} a query, {} are on the network between the load's host and the server's, both ways{}{}",
        time(case.facts.latency),
        time(network),
        growth(case, network),
        what_takes_it(case, network, link.as_ref())
    );
    Some(Candidate {
        removal: Some(Removal { delay: network, ..Removal::default() }),
        there: Some(network),
        evidence: evidence(case, link.as_ref()),
        ..Candidate::new(Cause::NetworkBetweenHosts, sentence)
    })
}

/// None of the load's connections was seen at the server, which had requests.
fn something_between(facts: &Facts) -> bool {
    let load = |window: &&crate::run::Window| window.wire.as_ref()?.load().map(|hop| hop.others.is_none());
    facts.windows.iter().filter_map(load).any(|unknown| unknown)
}

/// Whether it is another time than at the lowest level.
fn growth(case: &Case, network: f64) -> String {
    let lowest = case.lowest();
    let Some(there) = lowest.between_hosts().filter(|nanos| *nanos > 0.0 && lowest.level < case.facts.level) else {
        return String::new();
    };
    let clients = counted(lowest.level as u64, "client");
    match network / there {
        factor if factor >= GREW => format!("; it was {} at {clients}", time(there)),
        factor if factor <= 1.0 / GREW => format!("; it was {}, which is more, at {clients}", time(there)),
        _ => format!(", as much as at {clients}"),
    }
}

/// The link itself, or something on the way besides.
fn what_takes_it(case: &Case, network: f64, link: Option<&LinkReadings>) -> String {
    if something_between(case.facts) {
        return ". Something between the two hosts (a pooler, a proxy, address translation) opens connections of its \
                own: its time is in this."
            .into();
    }
    let Some(link) = link else { return ".".into() };
    let (factor, quickest) = (network / link.round_trip, time(link.round_trip));
    match factor {
        _ if factor > FAR => format!(
            ". The quickest round trip over the link took {quickest}, and this is {} times as long: packets queue or \
             are lost on the way, or messages are longer than what is sent at once.",
            significant(factor)
        ),
        _ if factor >= 1.0 / FAR => format!(". That is the link itself, whose quickest round trip took {quickest}."),
        _ => format!(
            ". The quickest round trip over ssh took {quickest}, ssh's own programs included, so it is not told how \
             much of this is the link itself."
        ),
    }
}

/// What it takes at each level, and the link's own round trip.
fn evidence(case: &Case, link: Option<&LinkReadings>) -> Vec<Evidence> {
    let what = "on the network between the hosts, both ways";
    let each = case.levels.values();
    let mut found: Vec<Evidence> =
        each.filter_map(|facts| Some(nanos_at(facts, what, facts.between_hosts()?, "query", WIRE))).collect();
    found.extend(link.map(|link| {
        let readings = counted(link.readings, "reading");
        case.nanos(&format!("the link's quickest round trip, {readings} here"), link.round_trip, "reading", WINDOW)
    }));
    found
}
