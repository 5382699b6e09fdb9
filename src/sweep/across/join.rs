//! What two hosts measured of one window, as one window. Invariant: the places of the load's hop are parts of the
//! client's whole: what the client waited for beyond the server's own places was on the network, both ways together,
//! for clocks that are known to half of a round trip do not tell one way from the other.

use crate::clock::{Nanos, Span};
use crate::load::LoadTrace;
use crate::run::{ClocksOfHosts, Missing, Part, Window};
use crate::wire::{HopDelta, Place, Stay, WireDelta};
use crate::words::{counted, thousands};
use std::collections::BTreeMap;

/// Of the client's requests, by which those that the server saw may differ: some are under way at each end of the
/// window, and a connection's first ones may be seen by one end alone.
const UNLIKE: f64 = 0.1;

/// What was measured beside the load, by this host's clock.
pub struct Here {
    pub load: LoadTrace,
    /// The client's end of the load's connections; `None`: it was not followed.
    pub client: Option<WireDelta>,
    pub clocks: ClocksOfHosts,
    pub missing: Vec<Missing>,
}

/// Joins them; `there`: the window of the target's host, which has no load.
pub fn join(there: Window, here: Here) -> Window {
    let Here { load, client, clocks, missing } = here;
    let mut joined = Window { load: load_there(load, &there, &clocks), ..there };
    joined.facts.missing.extend(missing);
    joined.facts.clocks = Some(clocks);
    joined.facts.missing.extend(joined.wire.as_ref().zip(client.as_ref()).and_then(|(wire, _)| between(wire)));
    if let (Some(wire), Some(client)) = (&mut joined.wire, client) {
        joined.facts.missing.extend(add_client_end(wire, &client));
    }
    joined
}

/// That something between the two hosts opens connections of its own: none of the load's ports was seen at the server.
fn between(wire: &WireDelta) -> Option<Missing> {
    let server = wire.load().filter(|hop| hop.others.is_none() && hop.queries > 0)?;
    Some(Missing {
        what: Part::Places,
        why: format!(
            "none of the load's connections is known at the server, to which {} came: something between the two (a \
             pooler, a proxy, address translation) opens connections of its own, so that all to the server's port \
             count as the load's, and the time in what stands between counts for the network",
            counted(server.queries, "request")
        ),
        remedy: "give the server's own address with --url, or take what stands between for the server".into(),
    })
}

/// Gives the server's end of the load's hop the client's, which was followed on another host or several; with what the
/// window lacks for it.
pub fn add_client_end(wire: &mut WireDelta, client: &WireDelta) -> Option<Missing> {
    let span = wire.span;
    let (server, client_hop) = (wire.hops.first_mut()?, client.load()?);
    let (what, why, remedy) = match both_ends(server, client_hop, span, client.span) {
        Ok(both) => {
            *server = both;
            wire.sends_seen &= client.sends_seen;
            let why = "the two ends of the load's connections are on two hosts".into();
            (Part::Timelines, why, "drive the load on the server's host to have single queries traced")
        }
        // Then there are the places of the server's end, and the client's count for their neighbours.
        Err(why) => (Part::Places, why, "see what lies between the two hosts"),
    };
    Some(Missing { what, why, remedy: remedy.into() })
}

/// The load by the clock there. It was cut to the window through the relation of the clocks, so it is as long but for
/// their drift.
fn load_there(mut load: LoadTrace, there: &Window, clocks: &ClocksOfHosts) -> LoadTrace {
    let moved = |at: Nanos| clocks.relation.there(at);
    load.span = there.facts.span;
    if let Some(counted) = &mut load.at_sockets {
        let by_clock = Span::new(moved(counted.span.start), moved(counted.span.end));
        counted.span = there.wire.as_ref().map_or(by_clock, |wire| wire.span);
    }
    load
}

/// The load's hop with both of its ends. The client's end was read when word came that the server's was, which is half
/// a round trip later, at the beginning as at the end: so the two intervals are as long, and what is left of a
/// difference is scaled away.
///
/// # Errors
/// The two ends did not see the same round trips, in words.
fn both_ends(server: &HopDelta, client: &HopDelta, span: Span, client_span: Span) -> Result<HopDelta, String> {
    let apart = server.queries.abs_diff(client.queries) as f64;
    if client.queries == 0 || apart > UNLIKE * client.queries as f64 {
        let (sent, came) = (counted(client.queries, "request"), thousands(&server.queries.to_string()));
        return Err(format!("the load sent {sent}, and {came} came to the server's port: the ends do not go together"));
    }
    let scale = span.nanos() as f64 / client_span.nanos().max(1) as f64;
    let scaled = |nanos: u64| (nanos as f64 * scale).round() as u64;
    let of_client = |place: Place| scaled(client.stay(place).nanos);
    // A round trip of the server's is one of the client's, and neither counts exactly those that the other does.
    let of_server = |place: Place| (server.mean(place).unwrap_or(0.0) * client.queries as f64).round() as u64;
    let away: u64 = Place::ALL.into_iter().filter(|place| !in_clients_hands(*place)).map(of_client).sum();
    let at_server = [Place::ServerBuffer, Place::Server].map(of_server);
    let at_server_in_all: u64 = at_server.iter().sum();
    let Some(network) = away.checked_sub(at_server_in_all) else {
        let why = "queries were longer at the server than the client waited for them: the ends do not go together";
        return Err(why.into());
    };
    let stay = |place: Place| {
        let (nanos, seen) = match place {
            Place::Client | Place::ClientBuffer => (of_client(place), Some(client.stay(place))),
            Place::ServerBuffer => (at_server[0], Some(server.stay(place))),
            Place::Server => (at_server[1], Some(server.stay(place))),
            Place::Request | Place::Response => (0, None),
            Place::Network => (network, None),
        };
        let (count, by_power) = seen.map_or((0, BTreeMap::new()), |seen| (seen.count, seen.by_power.clone()));
        Stay { place, nanos, count, by_power }
    };
    Ok(HopDelta {
        hop: server.hop.clone(),
        connections: client.connections,
        client_seen: client.client_seen,
        server_seen: server.server_seen.min(client.connections),
        queries: client.queries,
        pipelined: client.pipelined,
        pieces: client.pieces + server.pieces,
        reversed: client.reversed.zip(server.reversed).map(|(client, server)| client + server),
        others: server.others,
        elsewhere: server.elsewhere,
        ends_elsewhere: server.ends_elsewhere.clone(),
        stays: Place::EVERY.map(stay).to_vec(),
        uses: None,
        unnamed: None,
        ways_together: true,
        sample: None,
    })
}

fn in_clients_hands(place: Place) -> bool {
    matches!(place, Place::Client | Place::ClientBuffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Others;

    fn hop(queries: u64, nanos: [u64; 6]) -> HopDelta {
        let stay =
            |place: Place| Stay { place, nanos: nanos[place.index()], count: 1, by_power: BTreeMap::from([(3, 1)]) };
        let stays = Place::ALL.map(stay).to_vec();
        HopDelta { connections: 2, client_seen: 2, server_seen: 2, queries, stays, ..HopDelta::default() }
    }

    #[test]
    fn what_the_client_waits_for_beyond_the_servers_places_is_on_the_network_both_ways() {
        // The client sees one place between sending and reading, the server one from its answer to the next request.
        let client = hop(1_000, [300_000, 1_600_000, 0, 0, 0, 100_000]);
        let server = hop(990, [0, 0, 99_000, 495_000, 1_400_000, 0]);
        let joined = both_ends(&server, &client, Span::new(7, 1_000_007), Span::new(0, 1_000_000)).unwrap();
        let nanos: Vec<u64> = joined.stays.iter().map(|stay| stay.nanos).collect();
        assert_eq!(nanos, [300_000, 0, 100_000, 500_000, 0, 100_000, 1_000_000]);
        assert_eq!(nanos.iter().sum::<u64>(), 2 * 1_000_000, "the connections' whole time");
        assert!(joined.ways_together && joined.queries == 1_000);
        assert_eq!(joined.stay(Place::Network).quantile(0.99), None, "no stay of the network was seen by itself");
        assert!(joined.stay(Place::Server).quantile(0.99).is_some());
    }

    #[test]
    fn where_none_of_the_loads_connections_is_seen_something_stands_between() {
        let wire = |others| WireDelta {
            span: Span::new(0, 1_000_000),
            hops: vec![HopDelta { others, ..hop(1_000, [0, 0, 99_000, 495_000, 1_400_000, 0]) }],
            sends_seen: true,
        };
        assert!(between(&wire(Some(Others::default()))).is_none());
        let missing = between(&wire(None)).unwrap();
        assert!(missing.why.contains("1,000 requests came") && missing.why.contains("a pooler"), "{missing:?}");
    }

    #[test]
    fn ends_that_saw_unlike_round_trips_are_not_joined() {
        let span = Span::new(0, 1_000_000);
        let client = hop(1_000, [300_000, 1_600_000, 0, 0, 0, 100_000]);
        for (queries, server) in [(0, 0), (800, 500_000), (1_000, 1_700_000)] {
            let server = hop(queries, [0, 0, 0, server, 0, 0]);
            let why = both_ends(&server, &client, span, span).unwrap_err();
            assert!(why.contains("do not go together"), "{why}");
        }
    }

    #[test]
    fn intervals_of_unlike_length_are_brought_to_that_of_the_window() {
        let client = hop(1_000, [300_000, 1_600_000, 0, 0, 0, 100_000]);
        let server = hop(1_000, [0, 0, 100_000, 500_000, 1_400_000, 0]);
        let joined = both_ends(&server, &client, Span::new(0, 1_010_000), Span::new(0, 1_000_000)).unwrap();
        assert_eq!(joined.stays.iter().map(|stay| stay.nanos).sum::<u64>(), 2_020_000);
    }
}
