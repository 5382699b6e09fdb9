//! The queries' time in hand, divided by what their carriers did. Invariant: every ns of a query within the span is in
//! exactly one row, so the rows sum to the queries' time exactly.

use super::follow::Track;
use super::hops::Hops;
use super::model::{Carried, EnderKey, Key, State, Who};
use super::queries::{self, Query};
use super::timeline::{By, Ender, Entity, Segment, Standing, Ways};
use crate::clock::{Nanos, Span};
use rustc_hash::{FxHashMap, FxHashSet};

/// A part of a query's time that its carrier's timeline divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    from: Nanos,
    to: Nanos,
}

/// A part of a carrier's segment in which it had the same queries in hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub by: Entity,
    pub segment: &'a Segment,
    pub from: Nanos,
    pub to: Nanos,
    /// In hand meanwhile.
    pub queries: u64,
    /// Of them, those for which this part of the segment is the first.
    begins: u64,
    handed_over: bool,
}

impl Piece<'_> {
    /// ns of all its queries.
    pub(super) fn nanos(&self) -> u64 {
        (self.to - self.from) * self.queries
    }
}

/// Divides queries.
pub(super) struct Divider<'a> {
    pub tracks: &'a [Track],
    pub hops: &'a Hops,
    pub loops: &'a FxHashSet<Entity>,
    pub span: Span,
    shares: FxHashMap<(Entity, bool), Vec<Share>>,
}

impl<'a> Divider<'a> {
    pub(super) fn new(tracks: &'a [Track], hops: &'a Hops, loops: &'a FxHashSet<Entity>, span: Span) -> Self {
        Divider { tracks, hops, loops, span, shares: FxHashMap::default() }
    }

    /// Adds all queries to the sums, and gives the parts of their carriers' segments.
    pub(super) fn divide(&mut self, queries: &[Query], carried: &mut Carried) -> Vec<Piece<'a>> {
        let are_moved = queries::are_moved(self.tracks, queries);
        for query in queries {
            let Some(within) = query.within(self.span) else { continue };
            carried.nanos += within.nanos();
            if are_moved && self.tracks[query.reader as usize].who == Who::Thread {
                carried.moved += within.nanos();
                self.add(State::Unseen, query.is_handed_over(), within.start, within.end, carried);
            } else if query.is_handed_over() {
                self.divide_handed(query, carried);
            } else if !self.divide_by_hop(query, carried) {
                self.share(query.reader, false, within.start, within.end);
            }
        }
        let pieces = self.pieces();
        for piece in &pieces {
            let sum = carried.rows.entry(self.key(piece)).or_default();
            sum.nanos += piece.nanos();
            sum.times += piece.begins;
        }
        self.count_carriers(carried, &pieces);
        let unseen = carried.rows.iter().filter(|(key, _)| key.state == State::Unseen);
        carried.unseen = unseen.map(|(_, sum)| sum.nanos).sum();
        pieces
    }

    fn share(&mut self, by: Entity, handed_over: bool, from: Nanos, to: Nanos) {
        let (from, to) = (from.max(self.span.start), to.min(self.span.end));
        if from < to {
            self.shares.entry((by, handed_over)).or_default().push(Share { from, to });
        }
    }

    /// A part that no timeline divides.
    fn add(&self, state: State, handed_over: bool, from: Nanos, to: Nanos, carried: &mut Carried) -> Span {
        let cut = Span::new(from.max(self.span.start), to.min(self.span.end));
        if cut.start < cut.end {
            let key = key_of(&Standing::of(state), None, handed_over);
            let sum = carried.rows.entry(key).or_default();
            sum.nanos += cut.nanos();
            sum.times += 1;
        }
        cut
    }

    fn divide_handed(&mut self, query: &Query, carried: &mut Carried) {
        let Some((sent, sender)) = query.answer else { return };
        match queries::handed_at(self.tracks, query) {
            Some(handed) => {
                self.share(query.reader, false, query.read, handed);
                self.share(sender, true, handed, sent);
            }
            None => {
                self.add(State::Unseen, true, query.read, sent, carried);
            }
        }
    }

    /// Of an event loop's query, what the round trip behind it divides.
    fn divide_by_hop(&mut self, query: &Query, carried: &mut Carried) -> bool {
        let Some((sent, sender)) = query.answer.filter(|(_, sender)| self.loops.contains(sender)) else { return false };
        let Some(trip) = self.hops.behind(sender, query) else { return false };
        let port = trip.way.1;
        let before = self.add(State::BeforeHop { port }, false, query.read, trip.asked, carried);
        if before.start < before.end {
            let turn = carried.turns.entry(port).or_default();
            turn.nanos += before.nanos();
            turn.all_busy += self.hops.all_busy(trip.way, before.start, before.end);
        }
        self.add(State::Behind { port }, false, trip.asked, trip.read, carried);
        self.share(sender, false, trip.read, sent);
        true
    }

    /// Every carrier's segments, cut where its queries come and go.
    fn pieces(&mut self) -> Vec<Piece<'a>> {
        let mut carriers: Vec<_> = std::mem::take(&mut self.shares).into_iter().collect();
        carriers.sort_unstable_by_key(|(carrier, _)| *carrier);
        let mut pieces = Vec::new();
        for ((by, handed_over), shares) in carriers {
            let timeline = &self.tracks[by as usize].timeline;
            for step in steps(&shares) {
                for (segment, from, to) in timeline.within(step.from, step.to) {
                    let begins = if segment.from >= step.from { step.queries } else { step.begins };
                    pieces.push(Piece { by, segment, from, to, queries: step.queries, begins, handed_over });
                }
            }
        }
        pieces
    }

    fn key(&self, piece: &Piece) -> Key {
        let ended_by = piece.segment.ended_by.map(|ender| ender_key(self.tracks, ender));
        let mut key = key_of(&piece.segment.is, ended_by, piece.handed_over);
        // What a loop has asked on one query's behalf says nothing of its other queries.
        if self.loops.contains(&piece.by) {
            key.behind = None;
        }
        key
    }

    fn count_carriers(&self, carried: &mut Carried, pieces: &[Piece]) {
        let carriers: FxHashSet<Entity> = pieces.iter().map(|piece| piece.by).collect();
        let tasks = carriers.iter().filter(|by| self.tracks[**by as usize].is_task()).count();
        carried.tasks = tasks as u64;
        carried.threads = (carriers.len() - tasks) as u64;
        carried.loops = carriers.iter().filter(|by| self.loops.contains(by)).count() as u64;
    }
}

/// A period with the same number of queries in hand.
struct Step {
    from: Nanos,
    to: Nanos,
    queries: u64,
    /// Of them, those that begin with it.
    begins: u64,
}

fn steps(shares: &[Share]) -> Vec<Step> {
    let mut borders: Vec<(Nanos, bool)> = Vec::with_capacity(shares.len() * 2);
    borders.extend(shares.iter().flat_map(|share| [(share.from, true), (share.to, false)]));
    borders.sort_unstable();
    let mut steps = Vec::new();
    let (mut queries, mut begins) = (0, 0);
    for pair in borders.windows(2) {
        let [(from, is_begin), (to, _)] = [pair[0], pair[1]];
        queries = if is_begin { queries + 1 } else { queries - 1 };
        begins += u64::from(is_begin);
        if from == to {
            continue;
        }
        if queries > 0 {
            steps.push(Step { from, to, queries, begins });
        }
        begins = 0;
    }
    steps
}

fn key_of(is: &Standing, ended_by: Option<EnderKey>, handed_over: bool) -> Key {
    let Standing { state, ways: Ways { stack, others }, wait_event, behind, .. } = is;
    let (state, stack, wait_event, behind) = (*state, *stack, *wait_event, *behind);
    Key { state, stack, others: others.to_vec(), wait_event, behind, ended_by, handed_over }
}

fn ender_key(tracks: &[Track], ender: Ender) -> EnderKey {
    let by = match ender.by {
        By::Entity(entity) => tracks[entity as usize].who,
        By::Interrupt => Who::Interrupt,
    };
    EnderKey { by, stack: ender.stack }
}
