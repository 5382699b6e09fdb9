//! What carried the queries, as profiles: the stacks of the carriers' waits, and all of the time in hand, with what has
//! no stack under frames of its own. Invariant: the latter's weights sum to the time in hand exactly, the former's to
//! what of it the carriers waited; both are taken from `hands.json`, never from the stacks' file.

use super::carrier_names::{Names, Naming};
use crate::carriers::{EnderKey, Key};
use crate::profile::{
    Builder, Column, ColumnKind, FrameId, Labels, LabelsId, Profile, StackId, carried_columns, marker,
};
use crate::run::{Hands, Part, Window};

/// What the column of [`in_hand`] is called.
const IN_HAND: &str = "in hand";
/// What frames that say who ended a wait begin with.
pub const ENDED_BY: &str = "ended by ";

/// The waits of the carriers by stack, a sample for each row of them; `None`: the stacks were not read.
pub(super) fn waits(hands: &Hands) -> Option<Profile> {
    let mut copy = Copy::of(hands.stacks.as_ref()?, carried_columns());
    for (key, sum) in hands.facts.carried.rows.iter().filter(|(key, _)| key.state.is_asleep()) {
        let (stack, labels) = (copy.stack(key.stack), copy.labels(key));
        copy.builder.sample(stack, labels, None, vec![sum.times as i64, sum.nanos as i64]);
    }
    Some(copy.builder.finish())
}

/// All of the time in hand: waits by stack, with a frame above the innermost that says who ended them; other states as
/// roots of their own. `None`: the stacks were not read.
pub(super) fn in_hand(hands: &Hands, naming: &Naming) -> Option<Profile> {
    let columns = vec![Column { kind: ColumnKind::from(IN_HAND), unit: "nanoseconds".into() }];
    let (names, mut copy) = (Names::of(hands, naming), Copy::of(hands.stacks.as_ref()?, columns));
    for (key, sum) in hands.facts.carried.rows.iter().filter(|(_, sum)| sum.nanos > 0) {
        let stack = match copy.stack(key.stack).filter(|_| key.state.is_asleep()) {
            Some(stack) => Some(stack),
            None => copy.marked(None, &format!("[{}]", key.state)),
        };
        let ender = |EnderKey { by, stack }: EnderKey| format!("{ENDED_BY}{}", names.ender(by, stack));
        let ended = key.ended_by.filter(|_| key.state.is_asleep()).map(ender);
        let stack = ended.map_or(stack, |ended| copy.marked(stack, &ended));
        let labels = copy.labels(key);
        copy.builder.sample(stack, labels, None, vec![sum.nanos as i64]);
    }
    Some(copy.builder.finish())
}

/// Share of the carriers' waits whose innermost function has a name, by ns; `None`: nothing waited, or no stacks.
pub(super) fn named_share(hands: &Hands) -> Option<f64> {
    let stacks = hands.stacks.as_ref()?;
    let has_name = |number: u32| {
        let leaf = stacks.samples.get(number as usize)?.stack?;
        Some(stacks.frames[stacks.nodes[leaf.index()].frame.index()].miss.is_none())
    };
    let (mut named, mut all) = (0, 0);
    for (key, sum) in hands.facts.carried.rows.iter().filter(|(key, _)| key.state.is_asleep()) {
        all += sum.nanos;
        named += if key.stack.and_then(has_name) == Some(true) { sum.nanos } else { 0 };
    }
    (all > 0).then(|| named as f64 / all as f64)
}

/// Why nothing is known of what carried the queries of these windows, or not by stack.
pub fn why_not_followed(windows: &[&Window]) -> String {
    let told = |part: &Part| windows.iter().find_map(|window| Some(window.facts.lacks(part)?.why.clone()));
    if let Some(why) = told(&Part::Carriers).or_else(|| told(&Part::CarrierStacks)) {
        return why;
    }
    match windows.iter().any(|window| window.hands.is_some()) {
        true => "no query was answered while the carriers were followed".into(),
        false => "the threads and tasks that carry the queries were not followed (sweep --follow 2s)".into(),
    }
}

/// A profile under construction from the stacks of another one.
struct Copy<'a> {
    from: &'a Profile,
    nodes: Vec<StackId>,
    builder: Builder,
}

impl<'a> Copy<'a> {
    fn of(from: &'a Profile, columns: Vec<Column>) -> Self {
        let mut builder = Builder::new(columns);
        let frames: Vec<FrameId> = from.frames.iter().map(|frame| builder.frame(frame.clone())).collect();
        let mut nodes: Vec<StackId> = Vec::with_capacity(from.nodes.len());
        for node in &from.nodes {
            let parent = node.parent.map(|parent| nodes[parent.index()]);
            nodes.push(builder.push(parent, frames[node.frame.index()]));
        }
        Copy { from, nodes, builder }
    }

    /// The stack with this number.
    fn stack(&self, number: Option<u32>) -> Option<StackId> {
        Some(self.nodes[self.from.samples.get(number? as usize)?.stack?.index()])
    }

    /// A frame that is not code, above this stack.
    fn marked(&mut self, stack: Option<StackId>, name: &str) -> Option<StackId> {
        let frame = self.builder.frame(marker(name));
        Some(self.builder.push(stack, frame))
    }

    /// Says of a wait whether its stack is complete.
    fn labels(&mut self, key: &Key) -> LabelsId {
        let sample = key.stack.and_then(|number| self.from.samples.get(number as usize));
        let known = sample.and_then(|sample| self.from.labels[sample.labels.index()].complete);
        let complete = key.state.is_asleep().then_some(known.unwrap_or(false));
        self.builder.labels(Labels { state: IN_HAND.into(), complete, ..Labels::default() })
    }
}
