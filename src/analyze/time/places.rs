//! Where each query is, per level: view A, additive by construction. Invariant: the places of a hop are parts of one
//! whole; what the sockets do not see of the client's own latency is shown as a residual, never spread over the places.

use crate::run::{Run, Window};
use crate::wire::{HopDelta, Place};
use serde::Serialize;
use std::collections::BTreeMap;

/// One hop over all levels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HopPlaces {
    /// Name of the hop.
    pub hop: String,
    /// The first hop: its queries are the load's.
    pub of_load: bool,
    /// By level: the number of clients. A level at which the sockets were not followed is absent.
    pub levels: BTreeMap<usize, LevelPlaces>,
}

/// One hop at one level, over its windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelPlaces {
    /// Connections, on average over the windows.
    pub connections: f64,
    /// Round trips of this hop for each query that the client completed.
    pub round_trips: f64,
    /// In the order of the path, beginning with the client.
    pub places: Vec<PlaceShare>,
    /// The client's own mean latency in ns; `None` on hops that are not the load's, or where the driver does not tell
    /// it.
    pub latency: Option<f64>,
    /// The part of the client's hands that lies in the latency, ns a query: from its own clock before sending to the
    /// socket, and from the socket to its own clock after reading. By both ends' measurements: what the sockets see
    /// of its hands less the time between its queries by its own clock. `None` on hops that are not the load's, in an
    /// open loop, where sessions were lost, and where the two cannot both be.
    pub client_calls: Option<f64>,
    /// Share of requests that were sent before the answer to the one before was read.
    pub pipelined: f64,
    /// Changes of place that came in the reverse order of their clocks, each of which counts as no time; `None`: a
    /// window was recorded before they were counted.
    pub reversed: Option<u64>,
    /// Both ends of all connections were seen; else an end is on another host, and its places count for its neighbours.
    pub both_ends: bool,
    /// There is a network between the two ends; what is sent into a Unix socket is readable at once.
    pub over_network: bool,
    /// Sending was seen, or is all there is of the way; else a request's way counts for the client and an answer's
    /// for the server.
    pub sends_seen: bool,
}

/// One place at one level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlaceShare {
    /// Which place it is.
    pub place: Place,
    /// ns a round trip; `None`: there was none.
    pub mean: Option<f64>,
    /// Connections in this place on average (Little's law).
    pub population: f64,
    /// Bounds in ns between which the 99th percentile of the stays lies; `None` where there were none, or others'
    /// among them.
    pub p99: Option<(u64, u64)>,
}

impl HopPlaces {
    /// The places that a query passes on this hop, in the order of the path.
    pub fn passed(&self) -> Vec<Place> {
        let over_network = self.levels.values().any(|level| level.over_network);
        Place::ALL.into_iter().filter(|place| over_network || !place.on_network()).collect()
    }
}

impl LevelPlaces {
    /// ns between the client's sending and its reading, by the sockets.
    pub fn within_latency(&self) -> Option<f64> {
        self.places.iter().filter(|share| share.place != Place::Client).map(|share| share.mean).sum()
    }

    /// What the client's latency has beyond the places. Negative where they overlap.
    pub fn rest(&self) -> Option<f64> {
        Some(self.latency? - self.within_latency()?)
    }

    /// What is left of that beyond the client's own system calls, as far as those are known.
    pub fn residual(&self) -> Option<f64> {
        Some(self.rest()? - self.client_calls.unwrap_or(0.0))
    }
}

/// The hop between the load and the server.
pub fn load_places(hops: &[HopPlaces]) -> Option<&HopPlaces> {
    hops.iter().find(|hop| hop.of_load)
}

/// The hops of a run; empty where no window was followed at the sockets.
pub fn places(run: &Run) -> Vec<HopPlaces> {
    let Some(wire) = run.windows.iter().find_map(|window| window.wire.as_ref()) else { return Vec::new() };
    let hop = |name: &str| {
        let levels = run.levels().into_iter();
        HopPlaces {
            hop: name.to_string(),
            of_load: wire.is_load(name),
            levels: levels.filter_map(|(level, windows)| Some((level, level_places(&windows, name)?))).collect(),
        }
    };
    wire.hops.iter().map(|found| hop(&found.hop.name)).filter(|hop| !hop.levels.is_empty()).collect()
}

/// The hop of this name at one level; `None` where no window was followed there.
pub(in crate::analyze) fn level_places(windows: &[&Window], name: &str) -> Option<LevelPlaces> {
    let (mut seconds, mut of_load) = (0.0, false);
    let mut found: Vec<(&Window, &HopDelta)> = Vec::new();
    for window in windows {
        let Some(wire) = &window.wire else { continue };
        let Some(hop) = wire.hops.iter().find(|hop| hop.hop.name == name) else { continue };
        seconds += wire.span.seconds();
        of_load = wire.is_load(name);
        found.push((window, hop));
    }
    let count = |of: fn(&HopDelta) -> u64| found.iter().map(|(_, hop)| of(hop)).sum::<u64>() as f64;
    let (windows, queries) = (found.len() as f64, count(|hop| hop.queries));
    (seconds > 0.0).then_some(())?;
    // Then whose stays are whose is not known.
    let others = found.iter().any(|(_, hop)| hop.others.is_some_and(|others| others.connections > 0));
    let share = |place: Place| {
        let nanos: u64 = found.iter().map(|(_, hop)| hop.stay(place).nanos).sum();
        let stays = found.iter().map(|(_, hop)| hop.stay(place).clone()).reduce(crate::wire::Stay::plus);
        PlaceShare {
            place,
            mean: (queries > 0.0).then(|| nanos as f64 / queries),
            population: nanos as f64 / 1e9 / seconds,
            p99: stays.filter(|_| !others).and_then(|stays| stays.quantile(0.99)),
        }
    };
    let completed: f64 = found.iter().map(|(window, _)| window.load.completed as f64).sum();
    let over_network = found.iter().any(|(_, hop)| hop.hop.at.over_network());
    let seen = |window: &Window| window.wire.as_ref().is_some_and(|wire| wire.sends_seen);
    let sends_seen = found.iter().all(|(window, hop)| seen(window) || !hop.hop.at.over_network());
    let hands = share(Place::Client).mean.filter(|_| of_load && sends_seen);
    let between: Option<f64> = found.iter().map(|(window, _)| between_queries(window)).sum();
    let calls =
        hands.zip(between).filter(|_| completed > 0.0).map(|(hands, between)| (hands, hands - between / completed));
    // Outside these bounds the two clocks do not tell of the same queries.
    let client_calls = calls.filter(|(hands, calls)| (0.0..=*hands).contains(calls)).map(|(_, calls)| calls);
    let latency: Option<f64> = found.iter().map(|(window, _)| window.load.latency_sum.map(|sum| sum as f64)).sum();
    Some(LevelPlaces {
        connections: count(|hop| hop.connections) / windows,
        round_trips: queries / completed.max(1.0),
        places: Place::ALL.into_iter().map(share).collect(),
        latency: latency.filter(|_| of_load && completed > 0.0).map(|sum| sum / completed),
        client_calls,
        pipelined: count(|hop| hop.pipelined) / queries.max(1.0),
        reversed: found.iter().map(|(_, hop)| hop.reversed).sum(),
        both_ends: count(|hop| hop.client_seen.min(hop.server_seen)) >= count(|hop| hop.connections),
        over_network,
        sends_seen,
    })
}

/// ns that all connections together had no query under way, by the client's own clock: in a closed loop the time that
/// is not latency.
fn between_queries(window: &Window) -> Option<f64> {
    let load = &window.load;
    let closed = load.rate.is_none() && load.counted_by == "client" && load.sessions.lost == 0;
    Some(load.connections as f64 * load.span.nanos() as f64 - load.latency_sum.filter(|_| closed)? as f64)
}
