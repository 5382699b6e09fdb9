//! What two hosts measured of one window, as one window. Invariant: the places of the load's hop are parts of the
//! client's whole: what the client waited for beyond the server's own places was on the network, both ways together,
//! for clocks that are known to half of a round trip do not tell one way from the other.

use crate::clock::{Nanos, Span};
use crate::load::LoadTrace;
use crate::run::{ClocksOfHosts, Missing, Part, Window};
use crate::wire::{HopDelta, Place, Stay, WireDelta};
use std::collections::BTreeMap;

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
    if let (Some(wire), Some(client)) = (&mut joined.wire, client) {
        let span = wire.span;
        if let (Some(server), Some(client_hop)) = (wire.hops.first_mut(), client.load()) {
            *server = both_ends(server, client_hop, span, client.span);
            wire.sends_seen &= client.sends_seen;
            joined.facts.missing.push(Missing {
                what: Part::Timelines,
                why: "the two ends of the load's connections are on two hosts".into(),
                remedy: "drive the load on the server's host to have single queries traced".into(),
            });
        }
    }
    joined
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
fn both_ends(server: &HopDelta, client: &HopDelta, span: Span, client_span: Span) -> HopDelta {
    let scale = span.nanos() as f64 / client_span.nanos().max(1) as f64;
    let scaled = |nanos: u64| (nanos as f64 * scale).round() as u64;
    let of_client = |place: Place| scaled(client.stay(place).nanos);
    // A round trip of the server's is one of the client's, and neither counts exactly those that the other does.
    let of_server = |place: Place| (server.mean(place).unwrap_or(0.0) * client.queries as f64).round() as u64;
    let away: u64 = Place::ALL.into_iter().filter(|place| !in_clients_hands(*place)).map(of_client).sum();
    let at_server = [Place::ServerBuffer, Place::Server].map(of_server);
    let network = away.saturating_sub(at_server.iter().sum());
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
    HopDelta {
        hop: server.hop.clone(),
        connections: client.connections,
        client_seen: client.client_seen,
        server_seen: server.server_seen.min(client.connections),
        queries: client.queries,
        pipelined: client.pipelined,
        pieces: client.pieces + server.pieces,
        reversed: client.reversed.zip(server.reversed).map(|(client, server)| client + server),
        others: server.others,
        stays: Place::EVERY.map(stay).to_vec(),
        uses: None,
        unnamed: None,
        ways_together: true,
        sample: None,
    }
}

fn in_clients_hands(place: Place) -> bool {
    matches!(place, Place::Client | Place::ClientBuffer)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let joined = both_ends(&server, &client, Span::new(7, 1_000_007), Span::new(0, 1_000_000));
        let nanos: Vec<u64> = joined.stays.iter().map(|stay| stay.nanos).collect();
        assert_eq!(nanos, [300_000, 0, 100_000, 500_000, 0, 100_000, 1_000_000]);
        assert_eq!(nanos.iter().sum::<u64>(), 2 * 1_000_000, "the connections' whole time");
        assert!(joined.ways_together && joined.queries == 1_000);
        assert_eq!(joined.stay(Place::Network).quantile(0.99), None, "no stay of the network was seen by itself");
        assert!(joined.stay(Place::Server).quantile(0.99).is_some());
    }

    #[test]
    fn intervals_of_unlike_length_are_brought_to_that_of_the_window() {
        let client = hop(1_000, [300_000, 1_600_000, 0, 0, 0, 100_000]);
        let server = hop(1_000, [0, 0, 100_000, 500_000, 1_400_000, 0]);
        let joined = both_ends(&server, &client, Span::new(0, 1_010_000), Span::new(0, 1_000_000));
        assert_eq!(joined.stays.iter().map(|stay| stay.nanos).sum::<u64>(), 2_020_000);
    }
}
