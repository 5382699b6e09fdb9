//! Which queries were in hand, from when to when, and who read and who answered them. Invariant: a connection has one
//! query in hand at most; one that was in hand when the recording began is not known.

use super::follow::{Touch, Track};
use super::model::{State, Who};
use super::sockets::Sockets;
use super::timeline::Entity;
use crate::clock::{Nanos, Span};
use crate::sample::Socket;
use rustc_hash::{FxHashMap, FxHashSet};

/// From a waker to the one that answers there are so many wake-ups at most.
const STEPS: usize = 4;
/// One query in so many is taken over where a runtime moves queries among threads: the others may be too, and were
/// taken back.
const MOVED: usize = 100;
/// Wake-ups that are looked at for one query.
const LOOKED_AT: usize = 256;

/// A query in the server's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub read: Nanos,
    pub reader: Entity,
    /// When its answer begins, and who sends it; `None`: it is in hand when the recording ends.
    pub answer: Option<(Nanos, Entity)>,
}

/// The queries of a recording, in the order of their ends.
#[derive(Debug, Default)]
pub(super) struct Queries {
    pub all: Vec<Query>,
    /// Sends that went on with an answer, when.
    pub pieces: Vec<Nanos>,
    /// Left out: their connection was closed before an answer.
    pub abandoned: u64,
}

#[derive(Clone, Copy, Debug)]
enum Hand {
    Unknown,
    Full(Query),
    /// An answer has begun.
    Empty,
}

/// The queries of these reads and sends.
pub(super) fn in_hand(touches: &[Touch], sockets: &Sockets) -> Queries {
    let mut found = Queries::default();
    let mut hands = vec![Hand::Unknown; sockets.all.len()];
    let mut latest: FxHashMap<u64, Socket> = FxHashMap::default();
    for touch in touches.iter().filter(|touch| sockets.all[touch.socket as usize].is_asked) {
        let socket = sockets.all[touch.socket as usize].socket;
        let before = latest.insert(socket.id, socket).filter(|before| *before != socket);
        // Another connection has the socket's memory: the one before was closed.
        if let Some(closed) = before.and_then(|before| sockets.number(&before)) {
            let hand = std::mem::replace(&mut hands[closed as usize], Hand::Unknown);
            found.abandoned += u64::from(matches!(hand, Hand::Full(_)));
        }
        let hand = &mut hands[touch.socket as usize];
        match (*hand, touch.sends) {
            (Hand::Full(query), true) => {
                found.all.push(Query { answer: Some((touch.at, touch.by)), ..query });
                *hand = Hand::Empty;
            }
            (Hand::Empty, true) => found.pieces.push(touch.at),
            (Hand::Unknown | Hand::Empty, false) => {
                *hand = Hand::Full(Query { read: touch.at, reader: touch.by, answer: None });
            }
            (Hand::Full(_), false) | (Hand::Unknown, true) => {}
        }
    }
    found.all.extend(hands.iter().filter_map(|hand| if let Hand::Full(query) = hand { Some(*query) } else { None }));
    found
}

impl Query {
    /// The one that both read and answered it.
    fn carrier(&self) -> Option<(Entity, Nanos)> {
        self.answer.filter(|(_, sender)| *sender == self.reader).map(|(sent, sender)| (sender, sent))
    }

    /// The part of its time in hand that lies in the span; `None`: there is none.
    pub(super) fn within(&self, span: Span) -> Option<Span> {
        let end = self.answer.map_or(span.end, |(sent, _)| sent);
        Some(Span::new(self.read.max(span.start), end.min(span.end))).filter(|cut| cut.start < cut.end)
    }

    /// Another one answered than had read it.
    pub(super) fn is_handed_over(&self) -> bool {
        self.answer.is_some_and(|(_, sender)| sender != self.reader)
    }
}

/// Carriers that have several queries in hand at once, which they read and answer themselves: event loops.
pub(super) fn loops(queries: &[Query]) -> FxHashSet<Entity> {
    let mut carried: Vec<_> =
        queries.iter().filter_map(|query| query.carrier().map(|(by, sent)| (by, query.read, sent))).collect();
    carried.sort_unstable();
    let mut loops = FxHashSet::default();
    for pair in carried.windows(2) {
        let [(by, _, until), (next, from, _)] = [pair[0], pair[1]];
        if by == next && from < until {
            loops.insert(by);
        }
    }
    loops
}

/// Whether threads that read queries themselves take over queries from each other: a runtime moves its own tasks among
/// them, which are not followed. Threads to which others hand queries, and which read none, are no such.
pub(super) fn are_moved(tracks: &[Track], queries: &[Query]) -> bool {
    let is_thread = |entity: Entity| tracks[entity as usize].who == Who::Thread;
    let readers: FxHashSet<Entity> = queries.iter().map(|query| query.reader).collect();
    let is_moved = |query: &&Query| {
        let takes_over = |(_, sender)| sender != query.reader && is_thread(sender) && readers.contains(&sender);
        is_thread(query.reader) && query.answer.is_some_and(takes_over)
    };
    queries.iter().filter(is_moved).count() * MOVED > queries.len()
}

/// When the reader handed the query to the one that answers: when it last woke that one, or woke somebody who did, and
/// so on. If it was not seen to: when the answering one last began to run after it had been waiting.
pub(super) fn handed_at(tracks: &[Track], query: &Query) -> Option<Nanos> {
    let (sent, sender) = query.answer?;
    last_wake_towards(tracks, query, sender, sent).or_else(|| last_begin(&tracks[sender as usize], query.read, sent))
}

fn last_wake_towards(tracks: &[Track], query: &Query, sender: Entity, sent: Nanos) -> Option<Nanos> {
    let mut best = None;
    let mut left = LOOKED_AT;
    let mut reached: FxHashMap<Entity, Nanos> = FxHashMap::default();
    let mut frontier = vec![(sender, sent)];
    for _ in 0..STEPS {
        let mut next = Vec::new();
        for (woken, until) in frontier {
            let wakes = &tracks[woken as usize].woken;
            let end = wakes.partition_point(|(at, _)| *at <= until);
            let bound = query.read.max(best.unwrap_or(0));
            for &(at, by) in wakes[..end].iter().rev().take_while(|(at, _)| *at >= bound).take(left) {
                left -= 1;
                if by == query.reader {
                    // Whatever woke it before cannot give a later moment.
                    best = best.max(Some(at));
                    break;
                }
                if reached.get(&by).is_none_or(|known| *known < at) {
                    reached.insert(by, at);
                    next.push((by, at));
                }
            }
        }
        frontier = next;
    }
    best
}

/// The first running after the last wait between these instants; of a task that was first seen then, its first poll: it
/// was made for the query.
fn last_begin(sender: &Track, read: Nanos, sent: Nanos) -> Option<Nanos> {
    let segments = sender.timeline.segments();
    let end = segments.partition_point(|segment| segment.from <= sent);
    let mut begin = None;
    for segment in segments[..end].iter().rev().take(LOOKED_AT) {
        match segment.is.state {
            State::Running => begin = Some(segment.from),
            State::Unseen if sender.is_task() && segment.from == segments[0].from => {
                return begin.filter(|begin| *begin > read);
            }
            state if state.is_wait() => return begin.filter(|begin| *begin > read),
            _ => {}
        }
    }
    None
}
