//! What event loops wait for: they hold several queries at once, so their own waits say little of each, and their
//! connections to a hop behind divide the time instead. Invariant: a query is divided by a round trip that began after
//! the query was read and was answered before the query was, or not at all.

use super::follow::Touch;
use super::queries::Query;
use super::sockets::Sockets;
use super::timeline::Entity;
use crate::clock::{Nanos, Span};
use rustc_hash::FxHashMap;

/// Where the connections go: from a process to a port.
pub(super) type Way = (u32, u16);

/// The answer to a round trip, or a part of it, was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub asked: Nanos,
    pub read: Nanos,
    pub way: Way,
}

/// The round trips on the server's own connections.
#[derive(Debug, Default)]
pub(super) struct Hops {
    /// By who read them, in order of time.
    answers: FxHashMap<Entity, Vec<Answered>>,
    /// When all connections that a process has to a port had a round trip under way: disjoint, in order of time, each
    /// with the ns of those before.
    all_busy: FxHashMap<Way, Vec<(Span, u64)>>,
}

/// A round trip of a connection: from the first send to the last read before the next send.
#[derive(Clone, Copy, Debug)]
struct Trip {
    asked: Nanos,
    read: Option<Nanos>,
}

/// When the number of connections or of busy ones changes, and by how much.
type Changes = FxHashMap<Way, Vec<(Nanos, i64, i64)>>;

impl Hops {
    /// Of reads and sends in order of time, until the recording's end.
    pub(super) fn of(touches: &[Touch], sockets: &Sockets, end: Nanos) -> Hops {
        let mut hops = Hops::default();
        let mut trips: Vec<Option<Trip>> = vec![None; sockets.all.len()];
        let mut seen: Vec<Option<Span>> = vec![None; sockets.all.len()];
        let mut changes = Changes::default();
        for touch in touches {
            let number = touch.socket as usize;
            let Some(way) = way(sockets, number) else { continue };
            seen[number].get_or_insert(Span::new(touch.at, touch.at)).end = touch.at;
            let trip = &mut trips[number];
            match (touch.sends, trip.as_mut()) {
                (true, Some(Trip { read: None, .. })) | (false, None) => {}
                (true, _) => {
                    let over = trip.replace(Trip { asked: touch.at, read: None });
                    busy(changes.entry(way).or_default(), over, end);
                }
                (false, Some(trip)) => {
                    trip.read = Some(touch.at);
                    let answered = Answered { asked: trip.asked, read: touch.at, way };
                    hops.answers.entry(touch.by).or_default().push(answered);
                }
            }
        }
        for (number, (trip, seen)) in trips.into_iter().zip(seen).enumerate() {
            let Some((way, seen)) = way(sockets, number).zip(seen) else { continue };
            let changes = changes.entry(way).or_default();
            busy(changes, trip, end);
            // Nobody knows when an idle connection is closed: it counts until its last use.
            let until = if trip.is_some_and(|trip| trip.read.is_none()) { end } else { seen.end };
            changes.extend([(seen.start, 1, 0), (until, -1, 0)]);
        }
        hops.all_busy = changes.into_iter().map(|(way, changes)| (way, full(changes))).collect();
        hops
    }

    /// The round trip that the loop's answer to this query rests on: the last one that it read the answer of.
    pub(super) fn behind(&self, by: Entity, query: &Query) -> Option<Answered> {
        let (sent, _) = query.answer?;
        let answers = self.answers.get(&by)?;
        let end = answers.partition_point(|answer| answer.read <= sent);
        answers[..end].last().filter(|answer| answer.asked >= query.read).copied()
    }

    /// How many ns of the interval no connection was free.
    pub(super) fn all_busy(&self, way: Way, from: Nanos, to: Nanos) -> u64 {
        let Some(spans) = self.all_busy.get(&way) else { return 0 };
        let until = |at: Nanos| {
            let end = spans.partition_point(|(span, _)| span.start <= at);
            spans[..end].last().map_or(0, |(span, before)| before + at.min(span.end) - span.start)
        };
        until(to.max(from)) - until(from)
    }
}

/// Where an outgoing connection goes.
fn way(sockets: &Sockets, number: usize) -> Option<Way> {
    let known = &sockets.all[number];
    known.is_outgoing.then_some((known.process, known.socket.other))
}

/// A connection was busy for this round trip.
fn busy(changes: &mut Vec<(Nanos, i64, i64)>, trip: Option<Trip>, end: Nanos) {
    if let Some(trip) = trip {
        changes.extend([(trip.asked, 0, 1), (trip.read.unwrap_or(end), 0, -1)]);
    }
}

/// When there are connections and all of them are busy.
fn full(mut changes: Vec<(Nanos, i64, i64)>) -> Vec<(Span, u64)> {
    changes.sort_unstable_by_key(|(at, ..)| *at);
    let (mut exist, mut busy, mut nanos) = (0, 0, 0);
    let mut since = None;
    let mut found = Vec::new();
    for (number, (at, connections, round_trips)) in changes.iter().enumerate() {
        exist += connections;
        busy += round_trips;
        if changes.get(number + 1).is_some_and(|(next, ..)| next == at) {
            continue;
        }
        match (exist > 0 && busy >= exist, since) {
            (true, None) => since = Some(*at),
            (false, Some(start)) => {
                found.push((Span::new(start, *at), nanos));
                nanos += at - start;
                since = None;
            }
            _ => {}
        }
    }
    found
}
