//! Where each query is, per level: view A, additive by construction. Invariant: the places of a hop are parts of one
//! whole; what the sockets do not see of the client's own latency is shown as a residual, never spread over the places.

use super::uses::{UsePlaces, uses};
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
    /// In the order of the path, beginning with the client; see [`LevelPlaces::share`].
    pub places: Vec<PlaceShare>,
    /// The client's own mean latency in ns, while the sockets were followed; `None` on hops that are not the load's, or
    /// where the driver does not tell it.
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
    /// Connections to other servers with the same port, which are in none of these figures; the most of any window.
    /// `None`: none was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<u64>,
    /// Both ends of all connections were seen; else an end is on another host, and its places count for its neighbours.
    pub both_ends: bool,
    /// The two ends are on two hosts: the network is one place, of both ways.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ways_together: bool,
    /// There is a network between the two ends; what is sent into a Unix socket is readable at once.
    pub over_network: bool,
    /// What the round trips are for, most time first; `None` on the load's hop, and where it was not told apart.
    pub uses: Option<Vec<UsePlaces>>,
    /// Names of prepared statements for which there was no room by the end of the level's last window, on all hops
    /// behind the server: round trips for them count as prepared before. `None`: not stored.
    pub unnamed: Option<u64>,
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
        let together = self.levels.values().any(|level| level.ways_together);
        let network = |place: Place| over_network && (place == Place::Network) == together;
        Place::EVERY.into_iter().filter(|place| !place.on_network() || network(*place)).collect()
    }
}

impl LevelPlaces {
    /// One place; `None`: the network both ways, where the ways are told apart.
    pub fn share(&self, place: Place) -> Option<&PlaceShare> {
        self.places.get(place.index())
    }

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
    let elsewhere = found.iter().filter_map(|(_, hop)| hop.elsewhere).map(|elsewhere| elsewhere.connections).max();
    // Then whose stays are whose is not known.
    let others =
        elsewhere.is_some() || found.iter().any(|(_, hop)| hop.others.is_some_and(|others| others.connections > 0));
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
    let ways_together = found.iter().any(|(_, hop)| hop.ways_together);
    let completed: f64 = found.iter().map(|(window, _)| window.load.completed as f64).sum();
    let aligned: Option<Vec<Aligned>> = found.iter().map(|(window, _)| aligned(window)).collect();
    let over_network = found.iter().any(|(_, hop)| hop.hop.at.over_network());
    let seen = |window: &Window| window.wire.as_ref().is_some_and(|wire| wire.sends_seen);
    let sends_seen = found.iter().all(|(window, hop)| seen(window) || !hop.hop.at.over_network());
    let hands = share(Place::Client).mean.filter(|_| of_load && sends_seen);
    let sum = |of: fn(&Aligned) -> f64| aligned.as_ref().map(|all| all.iter().map(of).sum::<f64>());
    let told = sum(|found| found.completed).filter(|completed| *completed > 0.0);
    let between: Option<f64> =
        found.iter().zip(aligned.iter().flatten()).map(|((window, _), found)| between_queries(window, found)).sum();
    let calls = hands.zip(between.zip(told)).map(|(hands, (between, told))| (hands, hands - between / told));
    // Outside these bounds the two clocks do not tell of the same queries.
    let client_calls = calls.filter(|(hands, calls)| (0.0..=*hands).contains(calls)).map(|(_, calls)| calls);
    let latency = sum(|found| found.latency_sum).zip(told).map(|(sum, told)| sum / told);
    Some(LevelPlaces {
        connections: count(|hop| hop.connections) / windows,
        round_trips: queries / completed.max(1.0),
        places: Place::EVERY.into_iter().filter(|place| ways_together || *place != Place::Network).map(share).collect(),
        latency: latency.filter(|_| of_load),
        client_calls,
        pipelined: count(|hop| hop.pipelined) / queries.max(1.0),
        reversed: found.iter().map(|(_, hop)| hop.reversed).sum(),
        elsewhere,
        both_ends: count(|hop| hop.client_seen.min(hop.server_seen)) >= count(|hop| hop.connections),
        ways_together,
        over_network,
        uses: uses(&found),
        unnamed: found.iter().filter_map(|(_, hop)| hop.unnamed).max(),
        sends_seen,
    })
}

/// The client's own mean latency in ns while the sockets were followed.
pub(in crate::analyze) fn latency_at_sockets(window: &Window) -> Option<f64> {
    let found = aligned(window)?;
    (found.completed > 0.0).then(|| found.latency_sum / found.completed)
}

/// What the client counted while the sockets were followed.
struct Aligned {
    nanos: f64,
    completed: f64,
    latency_sum: f64,
}

/// Of the interval in which the sockets were followed, exactly where the driver counted it; else by the slices that lie
/// in it, those at its ends by the part that does. The window is longer by both of its scrapes, in which queries are
/// slower than others; so its mean is no whole for places that were not seen then. Where no slices are told it has to
/// do.
fn aligned(window: &Window) -> Option<Aligned> {
    let (load, within) = (&window.load, window.wire.as_ref()?.span);
    let latency_sum = load.latency_sum? as f64;
    if let Some(counted) = load.at_sockets.filter(|counted| counted.span == within) {
        return Some(Aligned {
            nanos: within.nanos() as f64,
            completed: counted.completed as f64,
            latency_sum: counted.latency_sum as f64,
        });
    }
    // The slices are all of the window, unless somebody else counted its queries.
    let of_slices: u64 = load.slices.iter().map(|slice| slice.latency_sum).sum();
    if of_slices as f64 != latency_sum || !load.span.contains(within.start) {
        let (nanos, completed) = (load.span.nanos() as f64, load.completed as f64);
        return Some(Aligned { nanos, completed, latency_sum });
    }
    let mut sums = Aligned { nanos: 0.0, completed: 0.0, latency_sum: 0.0 };
    for slice in &load.slices {
        let start = load.span.start + slice.at;
        let (from, to) = (start.max(within.start), (start + slice.nanos).min(within.end));
        let part = to.saturating_sub(from) as f64 / slice.nanos.max(1) as f64;
        sums.nanos += part * slice.nanos as f64;
        sums.completed += part * slice.completed as f64;
        sums.latency_sum += part * slice.latency_sum as f64;
    }
    Some(sums)
}

/// ns that all connections together had no query under way, by the client's own clock: in a closed loop the time that
/// is not latency.
fn between_queries(window: &Window, found: &Aligned) -> Option<f64> {
    let load = &window.load;
    let closed = load.rate.is_none() && load.counted_by == "client" && load.sessions.lost == 0;
    closed.then_some(load.connections as f64 * found.nanos - found.latency_sum)
}
