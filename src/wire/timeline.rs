//! What the sockets told, as differences between two instants. Invariant: the places of a hop sum to the time that
//! passed times its connections, to the exactness with which the two snapshots were taken.

use super::sample::Sample;
use super::shapes::{BUCKETS, Connection, PLACES, Place, Side};
use super::uses::{Tally, UseDelta, UseSoFar};
use crate::clock::{Nanos, Span};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A pair of ends between which queries go: client and server, or server and the database behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// As tables name it: `target`, `database`.
    pub name: String,
    /// Where the hop's server listens.
    #[serde(flatten)]
    pub at: Listens,
}

/// Where the server of a hop listens, on this host; in JSON `"port": 5432` or `"socket":
/// "/run/postgresql/.s.PGSQL.5432"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listens {
    /// TCP.
    #[serde(rename = "port")]
    Port(u16),
    /// A Unix socket, by the name that the server bound it to.
    #[serde(rename = "socket")]
    Socket(PathBuf),
}

impl Default for Listens {
    fn default() -> Self {
        Listens::Port(0)
    }
}

impl Listens {
    /// There is a network between the two ends, if only within this host. What is sent into a Unix socket is readable
    /// at once.
    pub fn over_network(&self) -> bool {
        matches!(self, Listens::Port(_))
    }
}

/// All connections of a hop at an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopSnapshot {
    /// By the client's end: its port, or the inode of its Unix socket.
    pub connections: BTreeMap<u32, Connection>,
    /// Stays that have ended, by place and power of two of ns.
    pub stays: Vec<[u64; BUCKETS]>,
    /// Changes of place so far by a clock that was read before the change that came first.
    pub reversed: u64,
    /// What round trips are for, so far, by where their times are; `None` on the load's hop.
    pub uses: Option<BTreeMap<u16, UseSoFar>>,
    /// Statements' names so far for which there was no room.
    pub unnamed: u32,
}

/// All hops at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireSnapshot {
    /// When it was taken, ns of `CLOCK_MONOTONIC`.
    pub at: Nanos,
    /// In the order of [`WireSource::hops`](super::WireSource::hops).
    pub hops: Vec<HopSnapshot>,
}

/// Time and stays in one place within a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stay {
    /// The place of these stays.
    pub place: Place,
    /// ns, summed over the hop's connections.
    pub nanos: u64,
    /// Stays that ended in the window; the kernel counts them by hop, so that those of [`Others`] are among them.
    pub count: u64,
    /// Of those, how many took 2^k ns and more, and less than twice that; by k, without those that nobody took. No k is
    /// above 63, whatever a file says.
    #[serde(deserialize_with = "powers")]
    pub by_power: BTreeMap<u32, u64>,
}

/// Stays by the power of their lengths, as a file has them.
fn powers<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u32, u64>, D::Error> {
    let found = BTreeMap::<u32, u64>::deserialize(from)?;
    match found.last_key_value() {
        Some((power, _)) if *power as usize >= BUCKETS => {
            Err(D::Error::custom(format!("stays of 2^{power} ns and more: times have {BUCKETS} bits")))
        }
        _ => Ok(found),
    }
}

/// One hop within a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopDelta {
    /// Its name, and where its server listens.
    pub hop: Hop,
    /// Connections on which anything happened in the window.
    pub connections: u64,
    /// Of those, on how many the client's end was seen; an end on another host is not.
    pub client_seen: u64,
    /// Of those, on how many the server's end was seen.
    pub server_seen: u64,
    /// Requests sent in the window: round trips.
    pub queries: u64,
    /// Requests sent before the answer to the one before was read; where there are many, places mean less.
    pub pipelined: u64,
    /// Further parts of requests and answers.
    pub pieces: u64,
    /// Changes of place that came in the reverse order of their clocks, read on two CPUs at once: each counts as no
    /// time. The kernel counts them by hop, those of [`Others`] among them. `None`: recorded before they were
    /// counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversed: Option<u64>,
    /// Of the load's hop: connections of other clients to the same port on which anything happened, and their
    /// requests. They are in none of the other figures. `None`: it is not known which are the load's own, and all are
    /// in them.
    #[serde(default)]
    pub others: Option<Others>,
    /// Connections to other servers with the same port, of which the client's end alone is here: the server is on
    /// another host, or in another network namespace. They are in none of the other figures. `None`: there was none, or
    /// it was recorded before they were told apart, and they are among the hop's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Others>,
    /// The client's ends of those.
    #[serde(skip)]
    pub ends_elsewhere: BTreeSet<u32>,
    /// In the order of the path.
    pub stays: Vec<Stay>,
    /// The two ends are on two hosts, whose clocks do not tell one way from the other: [`Place::Network`] follows the
    /// other places and holds both ways, [`Place::Request`] and [`Place::Response`] nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ways_together: bool,
    /// What the round trips are for, most time first. `None`: of the load's hop, or recorded before they were told
    /// apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<Vec<UseDelta>>,
    /// Names of prepared statements for which there was no room, from the beginning of the measurement (a name is given
    /// once, and used in later windows) to the window's end: round trips for them count as prepared before. The kernel
    /// counts them for all hops behind the server together. `None`: of the load's hop, or recorded before they were
    /// stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed: Option<u64>,
    /// Whole timelines of some of the queries; kept apart, in `timelines.json.gz`. `None`: they were not taken.
    #[serde(skip)]
    pub sample: Option<Sample>,
}

/// Connections that are no part of the hop: other clients' of its server, or those to other servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Others {
    /// Connections on which anything happened in the window.
    pub connections: u64,
    /// Requests that they sent in it.
    pub queries: u64,
}

/// A window's `wire.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireDelta {
    /// From the first snapshot to the second.
    pub span: Span,
    /// That between the load and the server first; see [`WireDelta::load`].
    pub hops: Vec<HopDelta>,
    /// Sending is seen too (kernel 6.16 and later); else a request's way counts for the client, an answer's for the
    /// server.
    pub sends_seen: bool,
}

impl Connection {
    /// No query came or changed its place since.
    fn is_as_at(&self, before: &Connection) -> bool {
        (self.since, self.place, self.queries) == (before.since, before.place, before.queries)
    }

    /// It is followed at the client's end alone. Its first request, sent just before `at`, may be on its way.
    fn goes_elsewhere(&self, at: Nanos) -> bool {
        /// ns; within a host a request takes microseconds.
        const ON_ITS_WAY: u64 = 1_000_000;
        let first = usize::from(self.place) == Place::Request.index() && self.queries <= 1;
        let on_its_way = first && at.saturating_sub(self.since) < ON_ITS_WAY;
        !Side::Server.seen_in(self) && !on_its_way
    }

    /// ns in each place until `at`.
    fn until(&self, at: Nanos) -> [u64; PLACES] {
        let mut nanos = self.nanos;
        if let Some(under_way) = nanos.get_mut(usize::from(self.place)).filter(|_| self.since > 0) {
            *under_way += at.saturating_sub(self.since);
        }
        nanos
    }
}

/// ns in each place, of which one may be negative: a stay that was under way when the window began, and that the
/// kernel's program gave to another place afterwards, as it learned only then where the query had been (in the server's
/// hands, or in the client's buffer), or since an event came late. The time before the window is taken from that place.
pub(super) fn settled(mut nanos: [i128; PLACES]) -> [u64; PLACES] {
    let places = [Place::Server, Place::ClientBuffer].into_iter().chain(Place::ALL).map(Place::index);
    for place in 0..PLACES {
        let mut lacking = (-nanos[place]).max(0);
        for from in places.clone() {
            let taken = lacking.min(nanos[from].max(0));
            nanos[from] -= taken;
            nanos[place] += taken;
            lacking -= taken;
        }
    }
    nanos.map(|nanos| u64::try_from(nanos).unwrap_or(0))
}

impl Others {
    /// A further connection, with so many requests.
    fn add(&mut self, queries: u64) {
        self.connections += 1;
        self.queries += queries;
    }
}

impl WireSnapshot {
    /// What happened between two snapshots of the same hops. `own`: the ends of the load, whose hop is the first; where
    /// none of them is there (something between the two opens connections of its own), all are taken for the load's.
    pub fn until(
        &self,
        after: &WireSnapshot,
        hops: &[Hop],
        sends_seen: bool,
        own: Option<&BTreeSet<u32>>,
    ) -> WireDelta {
        let both = self.hops.iter().zip(&after.hops).zip(hops).enumerate();
        let delta = |(at, ((before, end), hop)): (usize, ((&HopSnapshot, &HopSnapshot), &Hop))| {
            let there = |own: &&BTreeSet<u32>| own.iter().any(|client| end.connections.contains_key(client));
            let uses = Tally::new(at, before, end);
            hop_delta(hop, (before, self.at), (end, after.at), own.filter(|_| at == 0).filter(there), uses)
        };
        WireDelta { span: Span::new(self.at, after.at), hops: both.map(delta).collect(), sends_seen }
    }
}

fn hop_delta(
    hop: &Hop,
    (before, from): (&HopSnapshot, Nanos),
    (after, to): (&HopSnapshot, Nanos),
    own: Option<&BTreeSet<u32>>,
    mut uses: Tally,
) -> HopDelta {
    let mut delta = HopDelta {
        hop: hop.clone(),
        connections: 0,
        client_seen: 0,
        server_seen: 0,
        queries: 0,
        pipelined: 0,
        pieces: 0,
        reversed: Some(after.reversed.saturating_sub(before.reversed)),
        others: own.map(|_| Others::default()),
        elsewhere: None,
        ends_elsewhere: BTreeSet::new(),
        stays: Place::ALL.map(|place| stay(place, before, after)).to_vec(),
        uses: None,
        unnamed: after.uses.as_ref().map(|_| u64::from(after.unnamed)),
        ways_together: false,
        sample: None,
    };
    let nothing = Connection::default();
    // Else the server of all of them is on another host.
    let server_is_here = after.connections.values().any(|connection| Side::Server.seen_in(connection));
    for (client, end) in &after.connections {
        let start = before.connections.get(client).unwrap_or(&nothing);
        // Nothing happened: not a connection of this load, or one that has ended.
        if end.is_as_at(start) {
            continue;
        }
        let of_load = own.map(|own| own.contains(client));
        let queries = end.queries.saturating_sub(start.queries);
        if server_is_here && of_load != Some(true) && end.goes_elsewhere(to) {
            delta.elsewhere.get_or_insert_default().add(queries);
            delta.ends_elsewhere.insert(*client);
            continue;
        }
        if let Some(others) = delta.others.as_mut().filter(|_| of_load == Some(false)) {
            others.add(queries);
            continue;
        }
        delta.connections += 1;
        delta.client_seen += u64::from(Side::Client.seen_in(end));
        delta.server_seen += u64::from(Side::Server.seen_in(end));
        delta.queries += queries;
        delta.pipelined += end.pipelined.saturating_sub(start.pipelined);
        delta.pieces += end.pieces.saturating_sub(start.pieces);
        let (until, since) = (end.until(to), start.until(from));
        let spent = std::array::from_fn(|place| i128::from(until[place]) - i128::from(since[place]));
        delta.stays.iter_mut().zip(settled(spent)).for_each(|(stay, nanos)| stay.nanos += nanos);
        uses.add((start, from), (end, to));
        uses.take_from_server(start, spent[Place::Client.index()].min(0));
    }
    // The kernel adds up the uses of a hop, whosever connections they are of.
    delta.uses = uses.uses().filter(|_| delta.elsewhere.is_none());
    delta
}

fn stay(place: Place, before: &HopSnapshot, after: &HopSnapshot) -> Stay {
    let counts = |snapshot: &HopSnapshot| snapshot.stays.get(place.index()).copied().unwrap_or([0; BUCKETS]);
    let (start, end) = (counts(before), counts(after));
    let new = (0..BUCKETS).map(|power| (power as u32, end[power].saturating_sub(start[power])));
    let by_power: BTreeMap<u32, u64> = new.filter(|(_, count)| *count > 0).collect();
    Stay { place, nanos: 0, count: by_power.values().sum(), by_power }
}

impl WireDelta {
    /// The hop between the load and the server; `None` where it was not followed.
    pub fn load(&self) -> Option<&HopDelta> {
        self.hops.first()
    }

    /// The hops between the server and what stands behind it.
    pub fn behind(&self) -> impl Iterator<Item = &HopDelta> {
        self.hops.iter().skip(1)
    }

    /// Whether the hop of this name is the load's.
    pub fn is_load(&self, name: &str) -> bool {
        self.load().is_some_and(|hop| hop.hop.name == name)
    }

    /// Gives each hop its timelines, cut to the window; of the first those of the load's `own`, as in
    /// [`WireSnapshot::until`].
    pub fn add_timelines(&mut self, samples: Vec<Sample>, own: Option<&BTreeSet<u32>>) {
        for sample in samples {
            if let Some(hop) = self.hops.iter_mut().find(|hop| hop.hop.name == sample.hop) {
                let mut sample = sample.cut(self.span);
                sample.queries.retain(|query| !hop.ends_elsewhere.contains(&query.client));
                if let Some(own) = own.filter(|_| hop.others.is_some()) {
                    sample.queries.retain(|query| own.contains(&query.client));
                }
                hop.sample = Some(sample);
            }
        }
    }
}

impl Stay {
    /// The stays of both.
    pub fn plus(mut self, other: Stay) -> Stay {
        self.nanos += other.nanos;
        self.count += other.count;
        for (power, count) in other.by_power {
            *self.by_power.entry(power).or_default() += count;
        }
        self
    }

    /// Bounds in ns between which a quantile of the stays lies; `None` where there were none.
    pub fn quantile(&self, q: f64) -> Option<(u64, u64)> {
        let mut below = 0;
        for (power, count) in &self.by_power {
            below += count;
            if below as f64 >= q * self.count as f64 {
                return Some((1 << power, (1_u64 << power).saturating_mul(2)));
            }
        }
        None
    }
}

impl HopDelta {
    /// Time and stays in one place.
    pub fn stay(&self, place: Place) -> &Stay {
        static NOTHING: Stay = Stay { place: Place::Network, nanos: 0, count: 0, by_power: BTreeMap::new() };
        self.stays.get(place.index()).unwrap_or(&NOTHING)
    }

    /// Mean ns a round trip in a place; `None` where there was none.
    pub fn mean(&self, place: Place) -> Option<f64> {
        (self.queries > 0).then(|| self.stay(place).nanos as f64 / self.queries as f64)
    }

    /// Connections that are in a place on average, by Little's law: time spent there over the window.
    pub fn population(&self, place: Place, window: Span) -> f64 {
        self.stay(place).nanos as f64 / window.nanos().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop() -> Hop {
        Hop { name: "target".into(), at: Listens::Port(5432) }
    }

    fn snapshot(at: Nanos, connections: &[(u32, Connection)]) -> WireSnapshot {
        let connections = connections.iter().copied().collect();
        let hop = HopSnapshot { connections, ..HopSnapshot::default() };
        WireSnapshot { at, hops: vec![hop] }
    }

    #[test]
    fn a_file_with_a_stay_longer_than_there_can_be_is_damaged() {
        let stay = |power: u32| {
            serde_json::from_str::<Stay>(&format!(
                r#"{{"place":"server","nanos":1,"count":2,"by_power":{{"3":1,"{power}":1}}}}"#
            ))
        };
        assert_eq!(stay(63).unwrap().quantile(1.0), Some((1 << 63, u64::MAX)));
        assert!(stay(64).unwrap_err().to_string().contains("stays of 2^64 ns and more: times have 64 bits"));
    }

    #[test]
    fn places_sum_to_the_time_that_passed_times_the_connections_whatever_was_under_way() {
        let connection = |since, place: Place, nanos: [u64; PLACES], queries| Connection {
            since,
            place: place as u8,
            sides: 3,
            nanos,
            queries,
            ..Connection::default()
        };
        // The first was in the server's hands since 900 when the window began at 1,000; at its end, 2,000, it is in
        // the client's since 1,950. The second was with the client all the while, but for one query. The third is of
        // another time.
        let before = snapshot(
            1_000,
            &[
                (1, connection(900, Place::Server, [500, 0, 0, 400, 0, 0], 3)),
                (2, connection(800, Place::Client, [800, 0, 0, 0, 0, 0], 1)),
                (3, connection(50, Place::Client, [50, 0, 0, 0, 0, 0], 1)),
            ],
        );
        let after = snapshot(
            2_000,
            &[
                (1, connection(1_950, Place::Client, [700, 100, 50, 1_000, 60, 40], 5)),
                (2, connection(1_900, Place::Client, [1_700, 10, 20, 150, 10, 10], 2)),
                (3, connection(50, Place::Client, [50, 0, 0, 0, 0, 0], 1)),
            ],
        );
        let delta = before.until(&after, &[hop()], true, None);
        let found = &delta.hops[0];
        assert_eq!((found.connections, found.queries), (2, 3));
        assert_eq!(found.stays.iter().map(|stay| stay.nanos).sum::<u64>(), 2 * 1_000);
        assert_eq!(
            found.stay(Place::Server).nanos,
            1_000 - 400 - 100 + 150,
            "what was under way before is not counted"
        );
        assert_eq!(found.stay(Place::Client).nanos, (700 - 500) + 50 + (1_700 - 800 - 200) + 100);
        let populations: f64 = Place::ALL.iter().map(|place| found.population(*place, delta.span)).sum();
        assert!((populations - 2.0).abs() < 1e-9);
    }

    #[test]
    fn other_clients_of_the_server_are_counted_apart() {
        let connection = |since, nanos: [u64; PLACES], queries| Connection {
            since,
            sides: 3,
            nanos,
            queries,
            ..Connection::default()
        };
        let before =
            snapshot(1_000, &[(1, connection(900, [900, 0, 0, 0, 0, 0], 3)), (2, connection(800, [800; PLACES], 1))]);
        let after = snapshot(
            2_000,
            &[(1, connection(2_000, [1_500, 100, 100, 200, 50, 50], 5)), (2, connection(1_900, [900; PLACES], 2))],
        );
        let own = BTreeSet::from([1]);
        let found = &before.until(&after, &[hop()], true, Some(&own)).hops[0];
        assert_eq!((found.connections, found.queries), (1, 2));
        assert_eq!(found.others, Some(Others { connections: 1, queries: 1 }));
        assert_eq!(found.stays.iter().map(|stay| stay.nanos).sum::<u64>(), 1_000, "the load's own connection");
        let strangers = BTreeSet::from([77]);
        let found = &before.until(&after, &[hop()], true, Some(&strangers)).hops[0];
        assert_eq!((found.connections, found.others), (2, None), "something lies between the load and the server");
    }

    #[test]
    fn connections_to_other_servers_with_the_same_port_are_none_of_the_hops() {
        let seen_at = |sides, place: Place, since, nanos, queries| Connection {
            since,
            sides,
            place: place as u8,
            nanos,
            queries,
            ..Connection::default()
        };
        let idle = |sides| seen_at(sides, Place::Client, 900, [900, 0, 0, 0, 0, 0], 3);
        let before = snapshot(1_000, &[(1, idle(3)), (2, idle(1)), (3, idle(1))]);
        let now = 2_000_000;
        let busy = |sides| seen_at(sides, Place::Client, now, [now - 100, 0, 0, 100, 0, 0], 5);
        // The third waits for an answer; requests of the fourth and fifth were sent just now, of which one is a second.
        let waits = seen_at(1, Place::Request, 1_500, [1_500, 0, 0, 0, 0, 0], 4);
        let sent = |queries| seen_at(1, Place::Request, now - 500, [now - 500, 0, 0, 0, 0, 0], queries);
        let after = snapshot(now, &[(1, busy(3)), (2, busy(1)), (3, waits), (4, sent(1)), (5, sent(2))]);
        let found = &before.until(&after, &[hop()], true, None).hops[0];
        assert_eq!((found.connections, found.queries), (2, 3));
        assert_eq!(found.elsewhere, Some(Others { connections: 3, queries: 5 }));
        assert_eq!(found.ends_elsewhere, BTreeSet::from([2, 3, 5]));
        // The load's own stay the load's, whatever stands in between.
        let own = BTreeSet::from([2]);
        let found = &before.until(&after, &[hop()], true, Some(&own)).hops[0];
        assert_eq!((found.connections, found.queries), (1, 2));
        assert_eq!(found.others, Some(Others { connections: 2, queries: 3 }), "the first and the fourth");
        assert_eq!(found.elsewhere, Some(Others { connections: 2, queries: 3 }));
        // The server is on another host.
        let after = snapshot(now, &[(2, busy(1))]);
        let found = &before.until(&after, &[hop()], true, None).hops[0];
        assert_eq!((found.connections, found.elsewhere), (1, None));
    }

    #[test]
    fn a_quantile_of_the_stays_lies_between_powers_of_two() {
        let by_power = BTreeMap::from([(10, 90), (12, 9), (20, 1)]);
        let stay = Stay { place: Place::Server, nanos: 0, count: 100, by_power };
        assert_eq!(stay.quantile(0.5), Some((1_024, 2_048)));
        assert_eq!(stay.quantile(0.99), Some((4_096, 8_192)));
        assert_eq!(stay.quantile(1.0), Some((1 << 20, 1 << 21)));
        let none = Stay { place: Place::Server, nanos: 0, count: 0, by_power: BTreeMap::new() };
        assert_eq!(none.quantile(0.5), None);
    }
}
