//! What carries the load's queries while they are in the server's hands: a thread or an async task, which at every
//! instant is in exactly one state. Replays the kernel's events of one recording; no I/O. Invariant: a query's states
//! sum to its time in hand, and the chain behind a wait sums to the wait; what was not seen is [`State::Unseen`].

mod chain;
mod follow;
mod hops;
mod model;
mod numbers;
mod queries;
mod rows;
mod sockets;
mod tasks;
#[cfg(test)]
mod tests;
mod threads;
mod timeline;

pub use model::{Carried, Chains, EnderKey, Key, Node, NodeKey, State, Sum, Turn, Who};

use crate::clock::{Nanos, Span};
use crate::sample::{FollowedEvent, RawFollowed};
use hops::Hops;
use queries::Query;
use rows::Divider;
use sockets::Sockets;

/// What carried the queries that came to `query_port` within `span`. A query is in hand from the first read of its
/// connection since the last answer until the first send on it. One that is in hand when the recording begins is not
/// known; one that is in hand when it ends counts until the end of the span.
pub fn replay(raw: &RawFollowed, query_port: u16, span: Span) -> Carried {
    let mut carried = Carried { span, ..Carried::default() };
    let events = in_order(&raw.events, &mut carried.disordered);
    let origin = events.first().map_or(span.start, |first| first.at.min(span.start));
    let end = events.last().map_or(span.end, |last| last.at.max(span.end));
    let sockets = Sockets::of(events.iter().copied(), &raw.listening, query_port);
    let followed = follow::follow(events.iter().copied(), &sockets, origin, end);
    let found = queries::in_hand(&followed.touches, &sockets);
    carried.contradictions = followed.contradictions;
    carried.abandoned = found.abandoned;
    carried.pieces = found.pieces.iter().filter(|at| span.contains(**at)).count() as u64;
    let answered = |query: &&Query| query.answer.is_some_and(|(sent, _)| span.contains(sent));
    carried.answered = found.all.iter().filter(answered).count() as u64;
    carried.handed_over = found.all.iter().filter(answered).filter(|query| query.is_handed_over()).count() as u64;
    let loops = queries::loops(&found.all);
    let hops = Hops::of(&followed.touches, &sockets, end);
    let pieces = Divider::new(&followed.tracks, &hops, &loops, span).divide(&found.all, &mut carried);
    carried.chains = chain::chains(&followed.tracks, &loops, &pieces);
    carried
}

/// The events in order of time; those of one instant stay as they came. Counts those that came after later ones.
fn in_order<'a>(events: &'a [FollowedEvent], disordered: &mut u64) -> Vec<&'a FollowedEvent> {
    let mut latest: Nanos = 0;
    for event in events {
        *disordered += u64::from(event.at < latest);
        latest = latest.max(event.at);
    }
    let mut ordered: Vec<&FollowedEvent> = events.iter().collect();
    ordered.sort_by_key(|event| event.at);
    ordered
}
