//! A simulated server: clients that ask it, and its connections to a database, of which every client's queries use one.
//! Invariant: each connection is in one place at every instant from its first event on, and stays follow each other.

use super::host::Line;
use super::{Nanos, PLACES, Place, Span};
use rand::Rng;
use rand::rngs::StdRng;

/// What requests to the database are: three statements of the simple protocol, and one that is prepared.
const REQUESTS: [&str; 4] = [
    "510000000d73656c656374203100",
    "510000000d73656c656374206100",
    "510000000d73656c656374206200",
    "420000000e00733100000000000000450000000900000000005300000004",
];
/// ReadyForQuery, and a row before it.
const END: &str = "5a0000000549";
const ROW: &str = "44000000060000";

/// A stay of a connection, as long as it really was.
#[derive(Clone, Copy, Debug)]
pub struct Stayed {
    pub hop: usize,
    pub port: u32,
    pub place: Place,
    pub from: Nanos,
    pub to: Nanos,
}

/// A query or round trip as it really was.
#[derive(Clone, Debug)]
pub struct Trip {
    pub hop: usize,
    pub port: u32,
    /// The how many-th of its connection, from 1.
    pub nth: u64,
    pub sent: Nanos,
    pub spent: [u64; PLACES - 1],
    /// ns before each request to the database, from reading the query, and after its answer.
    pub asks: Vec<(u64, u64)>,
}

#[derive(Debug, Default)]
pub struct Simulated {
    /// Events, in order of time.
    pub events: Vec<Line>,
    pub stays: Vec<Stayed>,
    pub trips: Vec<Trip>,
    /// Further parts: of which hop and port, and when.
    pub pieces: Vec<(usize, u32, Nanos)>,
    pub clients: u32,
    pub span: Span,
}

/// Some clients that send some queries each; how long anything takes depends on the seed: from ns to seconds.
pub fn simulate(random: &mut StdRng) -> Simulated {
    let clients = random.random_range(1..5);
    let scale = [3, 50, 4_000, 1_000_000, 9_000_000_000][random.random_range(0..5)];
    let mut all = Simulated { clients, ..Simulated::default() };
    for port in 1..=clients {
        let mut at = 1_000_000 + random.random_range(0..scale);
        for nth in 1..=random.random_range(2..9) {
            at = query(&mut all, random, (port, nth, scale), at) + random.random_range(0..scale);
        }
    }
    all.close();
    all.events.sort_by_key(Line::now);
    let (first, last) = (all.events[0].now(), all.events.last().map_or(0, Line::now));
    all.span = Span::new(first, last);
    all
}

/// One query of a client; when its answer is read.
fn query(all: &mut Simulated, random: &mut StdRng, (port, nth, scale): (u32, u64, u64), sent: Nanos) -> Nanos {
    let mut takes = || random.random_range(0..scale);
    let [to_server, in_buffer, first] = [takes(), takes(), takes()];
    let read = sent + to_server + in_buffer;
    all.sends(random, 0, port, (sent, read - in_buffer), "-");
    all.event('r', sent + to_server, 0, port, "-", 2);
    all.event('g', read, 0, port, "-", 2);
    let (mut at, mut asks) = (read + first, Vec::new());
    for _ in 0..random.random_range(0..3) {
        let asked = at;
        at = round_trip(all, random, (port, scale), at);
        asks.push((asked - read, at));
        at += random.random_range(0..scale);
    }
    let answered = at;
    asks.iter_mut().for_each(|(_, after)| *after = answered - *after);
    let [to_client, until_read] = [random.random_range(0..scale), random.random_range(0..scale)];
    all.answers(random, 0, port, (answered, answered + to_client));
    all.event('r', answered + to_client, 0, port, "-", 1);
    all.event('g', answered + to_client + until_read, 0, port, "-", 1);
    let spent = [to_server, in_buffer, answered - read, to_client, until_read];
    all.trip(Trip { hop: 0, port, nth, sent, spent, asks });
    sent + spent.iter().sum::<u64>()
}

/// A request to the database; when its answer is read.
fn round_trip(all: &mut Simulated, random: &mut StdRng, (port, scale): (u32, u64), sent: Nanos) -> Nanos {
    let spent: [u64; PLACES - 1] = std::array::from_fn(|_| random.random_range(0..scale));
    let mut at = sent;
    let mut next = |nth: usize| {
        at += spent[nth];
        at
    };
    let [readable, read, answered, there, end] = [next(0), next(1), next(2), next(3), next(4)];
    let request = REQUESTS[random.random_range(0..REQUESTS.len())];
    all.sends(random, 1, port, (sent, readable), request);
    all.event('r', readable, 1, port, "-", 2);
    all.event('g', read, 1, port, "-", 2);
    all.answers(random, 1, port, (answered, there));
    all.event('r', there, 1, port, "-", 1);
    all.event('g', end, 1, port, "-", 1);
    let before = all.trips.iter().filter(|trip| (trip.hop, trip.port) == (1, port)).count() as u64;
    all.trip(Trip { hop: 1, port, nth: before + 1, sent, spent, asks: Vec::new() });
    end
}

impl Simulated {
    fn event(&mut self, what: char, now: Nanos, hop: u32, port: u32, bytes: &'static str, end: u32) {
        self.events.push(Line::Event { end, what, now, hop, port, bytes });
    }

    /// A request, now and then with a further part before it is readable.
    fn sends(&mut self, random: &mut StdRng, hop: u32, port: u32, (at, there): (Nanos, Nanos), bytes: &'static str) {
        self.event('s', at, hop, port, bytes, 1);
        if random.random_bool(0.2) {
            self.goes_on(hop, port, at + (there - at) / 2, "-", 1);
        }
    }

    /// An answer, now and then in two parts.
    fn answers(&mut self, random: &mut StdRng, hop: u32, port: u32, (at, there): (Nanos, Nanos)) {
        let parts = random.random_bool(0.2);
        self.event('s', at, hop, port, if parts { ROW } else { END }, 2);
        if parts {
            self.goes_on(hop, port, at + (there - at) / 2, END, 2);
        }
    }

    fn goes_on(&mut self, hop: u32, port: u32, at: Nanos, bytes: &'static str, end: u32) {
        self.event('s', at, hop, port, bytes, end);
        self.pieces.push((hop as usize, port, at));
    }

    fn trip(&mut self, trip: Trip) {
        let mut from = trip.sent;
        for (place, nanos) in Place::ALL[1..].iter().zip(trip.spent) {
            let to = from + nanos;
            self.stays.push(Stayed { hop: trip.hop, port: trip.port, place: *place, from, to });
            from = to;
        }
        self.trips.push(trip);
    }

    /// Between its round trips a connection is with its client.
    fn close(&mut self) {
        let mut ends: Vec<(usize, u32, Nanos, Nanos)> = Vec::new();
        for trip in &self.trips {
            ends.push((trip.hop, trip.port, trip.sent, trip.sent + trip.spent.iter().sum::<u64>()));
        }
        ends.sort_unstable();
        for (nth, (hop, port, _, from)) in ends.iter().enumerate() {
            let next = ends.get(nth + 1).filter(|next| (next.0, next.1) == (*hop, *port));
            let to = next.map_or(Nanos::MAX, |next| next.2);
            self.stays.push(Stayed { hop: *hop, port: *port, place: Place::Client, from: *from, to });
        }
    }

    /// Its events, with snapshots of both hops after those at these instants and at the end.
    pub fn recorded(&self, events: Vec<Line>, at: Span) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut due = vec![at.end, at.start];
        for event in events {
            while due.last().is_some_and(|at| event.now() > *at) {
                due.pop();
                lines.extend([0, 1].map(|hop| Line::Snapshot { hop }));
            }
            lines.push(event);
        }
        for _ in 0..=due.len() {
            lines.extend([0, 1].map(|hop| Line::Snapshot { hop }));
        }
        lines
    }
}

impl Line {
    /// When; 0 for what is no event.
    pub fn now(&self) -> Nanos {
        match self {
            Line::Event { now, .. } => *now,
            _ => 0,
        }
    }
}
