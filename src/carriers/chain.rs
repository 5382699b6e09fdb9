//! The chain behind a wait: what the one that ended it did meanwhile, and what those did that ended its own waits.
//! Invariant: the parts of a wait sum to it exactly, and so do theirs. Nobody stands twice on one path: who sleeps ends
//! no wait, and every part lies within the waits above it.

use super::follow::Track;
use super::model::{Chains, Node, NodeKey, State, Who};
use super::rows::Piece;
use super::timeline::{By, Ender, Entity, Segment};
use crate::clock::Nanos;
use rustc_hash::{FxHashMap, FxHashSet};

/// So deep an ender's waits are followed.
const DEEP: usize = 5;
/// Waits whose chain is followed: each can have as many parts as there are events meanwhile.
const WAITS: usize = 20_000;
/// Parts of the chain of one wait.
const PARTS: u32 = 4_096;

/// A node whose children are not all known yet.
#[derive(Debug)]
struct Growing {
    key: NodeKey,
    nanos: u64,
    times: u64,
    children: FxHashMap<NodeKey, usize>,
}

/// Follows chains.
struct Follower<'a> {
    tracks: &'a [Track],
    loops: &'a FxHashSet<Entity>,
    /// The first one holds the roots.
    nodes: Vec<Growing>,
    /// Who waits for whom, from the carrier on.
    path: Vec<Entity>,
    /// Queries that the present wait delays.
    queries: u64,
    /// Parts that the present chain may still have.
    left: u32,
}

/// The chains behind the waits among these parts of the carriers' segments.
pub(super) fn chains(tracks: &[Track], loops: &FxHashSet<Entity>, pieces: &[Piece]) -> Chains {
    let waits: Vec<&Piece> = pieces.iter().filter(|piece| piece.segment.is.state.is_wait()).collect();
    let mut found = Chains { waits: waits.len() as u64, ..Chains::default() };
    let mut follower = Follower { tracks, loops, nodes: Vec::new(), path: Vec::new(), queries: 0, left: 0 };
    let root = NodeKey { by: Who::Unknown, state: State::Unseen, stack: None, wait_event: 0, behind: None };
    follower.nodes.push(Growing { key: root, nanos: 0, times: 0, children: FxHashMap::default() });
    for (number, wait) in waits.iter().enumerate() {
        found.nanos += wait.nanos();
        if is_taken(number, waits.len()) {
            found.chained += 1;
            found.chained_nanos += wait.nanos();
            follower.begin(wait);
        }
    }
    found.nodes = follower.grown(0);
    found
}

/// Whether the wait with this number is one of [`WAITS`], taken evenly.
fn is_taken(number: usize, of: usize) -> bool {
    let taken = |before: usize| before as u128 * WAITS.min(of) as u128 / of as u128;
    taken(number + 1) > taken(number)
}

impl Follower<'_> {
    fn begin(&mut self, wait: &Piece) {
        (self.queries, self.left) = (wait.queries, PARTS);
        let node = self.add(0, self.key(wait.by, wait.segment), wait.to - wait.from);
        if wait.segment.is.state.is_asleep() {
            self.path.push(wait.by);
            self.explain(node, wait.segment.ended_by, wait.from, wait.to);
            self.path.pop();
        }
    }

    fn who(&self, entity: Entity) -> Who {
        self.tracks[entity as usize].who
    }

    fn key(&self, by: Entity, segment: &Segment) -> NodeKey {
        let is = &segment.is;
        let behind = is.behind.filter(|_| !self.loops.contains(&by));
        NodeKey { by: self.who(by), state: is.state, stack: is.ways.stack, wait_event: is.wait_event, behind }
    }

    /// Adds time to a node's child.
    fn add(&mut self, parent: usize, key: NodeKey, nanos: u64) -> usize {
        let next = self.nodes.len();
        let child = *self.nodes[parent].children.entry(key).or_insert(next);
        if child == next {
            self.nodes.push(Growing { key, nanos: 0, times: 0, children: FxHashMap::default() });
        }
        self.nodes[child].nanos += nanos * self.queries;
        self.nodes[child].times += 1;
        child
    }

    fn leaf(&mut self, parent: usize, by: Who, state: State, nanos: u64) {
        self.add(parent, NodeKey { by, state, stack: None, wait_event: 0, behind: None }, nanos);
    }

    /// Divides a wait, of which the node is told, by what the one that ended it did in this interval.
    fn explain(&mut self, node: usize, ended_by: Option<Ender>, from: Nanos, to: Nanos) {
        let nanos = to - from;
        let Some(ender) = ended_by else { return self.leaf(node, Who::Unknown, State::Unseen, nanos) };
        let By::Entity(by) = ender.by else { return self.leaf(node, Who::Interrupt, State::Outside, nanos) };
        debug_assert!(!self.path.contains(&by), "who sleeps ends no wait");
        let track = &self.tracks[by as usize];
        if !track.timeline.is_seen() {
            return self.leaf(node, track.who, State::Unseen, nanos);
        }
        self.path.push(by);
        let parked = parked(track, from, to);
        let mut begin = from;
        if let Some((segment, until)) = parked {
            self.part(node, by, segment, true, from, until);
            begin = until;
        }
        for (segment, start, end) in track.timeline.within(begin, to) {
            if self.left == 0 {
                self.leaf(node, track.who, State::NotTold, to - start);
                break;
            }
            self.left -= 1;
            let already = start == from && segment.is.state.is_asleep();
            self.part(node, by, segment, already, start, end);
        }
        self.path.pop();
    }

    /// A part of an ender's segment; if it waits, with what is behind that.
    fn part(&mut self, node: usize, by: Entity, segment: &Segment, already: bool, from: Nanos, to: Nanos) {
        let mut key = self.key(by, segment);
        if already {
            key.state = State::WaitsAlready;
        }
        let child = self.add(node, key, to - from);
        if key.state.is_asleep() && self.path.len() <= DEEP {
            self.explain(child, segment.ended_by, from, to);
        }
    }

    /// A node's children with all that is below them; as deep as chains are followed.
    fn grown(&self, node: usize) -> Vec<Node> {
        let children = self.nodes[node].children.values().map(|child| {
            let Growing { key, nanos, times, .. } = self.nodes[*child];
            Node { key, nanos, times, children: self.grown(*child) }
        });
        let mut children: Vec<Node> = children.collect();
        children.sort_unstable_by_key(|node| (std::cmp::Reverse(node.nanos), node.key));
        children
    }
}

/// The last time in the interval that a runtime's worker was parked, if an interrupt ended it, and when that was. Such
/// a thread wakes tasks outside of any task since something has come from outside. When it was parked last, nothing
/// was there yet, so all of the interval until then passed outside, whatever other tasks it polled meanwhile.
fn parked(track: &Track, from: Nanos, to: Nanos) -> Option<(&Segment, Nanos)> {
    let segments = track.timeline.segments();
    let end = segments.partition_point(|segment| segment.to <= to);
    let recent = segments[..end].iter().rev().take(PARTS as usize).take_while(|segment| segment.to > from);
    let is_parked = |segment: &&Segment| segment.is.state == State::Blocked && !segment.is.in_poll;
    let parked = recent.filter(|_| track.is_worker).find(is_parked)?;
    let is_outside = parked.ended_by.is_some_and(|ender| ender.by == By::Interrupt);
    is_outside.then_some((parked, parked.to))
}
