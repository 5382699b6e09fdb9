//! For what kinds of waits carriers were blocked while they had queries in hand, told by the server's own wait events,
//! else by the preset's patterns for stacks. Invariant: of a blocked carrier's time each ns is of one kind at most, and
//! time without a known kind is left out here, not in the parts.

use crate::analyze::Identity;
use crate::analyze::cost::carrier_names::Names;
use crate::analyze::time::WaitKinds;
use crate::carriers::State;
use crate::preset::Preset;
use crate::run::Hands;
use serde::Serialize;
use std::collections::BTreeMap;

/// Time for which carriers were blocked, of one kind and at one function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockedFor {
    /// Index of the preset's entry that tells the kind.
    pub entry: usize,
    /// The innermost function of the program on the stack.
    pub function: Option<Identity>,
    /// ns a query.
    pub nanos: f64,
    /// Occurrences a query.
    pub times: f64,
}

/// The kinds of this level's waits, the longest first.
pub(super) fn blocked_for(
    hands: &Hands,
    names: &Names,
    preset: &Preset,
    per_query: &dyn Fn(u64) -> f64,
) -> Vec<BlockedFor> {
    let Some(profile) = &hands.stacks else { return Vec::new() };
    let waiting = WaitKinds::of(preset).of_stacks(profile);
    let mut found: BTreeMap<(usize, Option<Identity>), (f64, f64)> = BTreeMap::new();
    for (key, sum) in hands.facts.carried.rows.iter().filter(|(key, _)| key.state == State::Blocked) {
        let by_event = names.wait_event(key.wait_event).and_then(|event| {
            let shown = event.to_string();
            preset.wait.iter().position(|wait| wait.events.iter().any(|pattern| pattern.0.is_match(&shown)))
        });
        let by_stack = || key.stack.and_then(|stack| waiting[names.node(stack)?].entry);
        let Some(entry) = by_event.or_else(by_stack) else { continue };
        let function = key.stack.and_then(|stack| names.function(stack));
        let (nanos, times) = found.entry((entry, function)).or_default();
        *nanos += per_query(sum.nanos);
        *times += per_query(sum.times);
    }
    let blocked = |((entry, function), (nanos, times))| BlockedFor { entry, function, nanos, times };
    let mut kinds: Vec<BlockedFor> = found.into_iter().map(blocked).collect();
    kinds.sort_by(|a, b| b.nanos.total_cmp(&a.nanos));
    kinds
}
