//! What carried the queries while they were in the server's hands, per query and by function. Invariant: the parts of a
//! level sum to the time in hand, and the steps of a chain to what they divide; a stack without a name keeps its time.

mod kinds;

pub use kinds::BlockedFor;

use crate::analyze::Identity;
use crate::analyze::cost::carried::why_not_followed;
use crate::analyze::cost::carrier_names::{Names, Naming};
use crate::carriers::{Node, State};
use crate::preset::Preset;
use crate::run::{Hands, HandsFacts, Run};
use serde::Serialize;
use std::collections::BTreeMap;

/// What carried the queries at a level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelHands {
    /// Number of clients.
    pub level: usize,
    /// Queries that were answered while it was followed.
    pub queries: u64,
    /// ns that a query was in the server's hands.
    pub nanos: f64,
    /// The same by the sockets; `None`: they were not followed.
    pub by_sockets: Option<f64>,
    /// What that time was spent on, the longest first.
    pub parts: Vec<Part>,
    /// What the waits were for: the carriers' waits, and behind each what ended it.
    pub chains: Vec<Step>,
    /// The stacks were read, so that functions have names.
    pub named: bool,
    /// For what kinds of waits the carriers' threads were blocked, the longest first.
    pub blocked: Vec<BlockedFor>,
    /// How it was followed.
    pub facts: HandsFacts,
}

/// A part of the time in hand.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// The carrier's state.
    pub state: State,
    /// The innermost function of the program where it waits; `None`: it does not wait, or its stack is not known.
    pub function: Option<Identity>,
    /// Who called that function, of the program, innermost first.
    pub callers: Vec<Identity>,
    /// The wait event that the program tells of itself, by its name; `None`: none.
    pub wait_event: Option<String>,
    /// The port behind which it waits for an answer.
    pub behind: Option<u16>,
    /// ns a query.
    pub nanos: f64,
    /// Occurrences a query.
    pub times: f64,
    /// Who ended it, in words, with ns a query; the longest first.
    pub ended_by: Vec<(String, f64)>,
}

/// A step of the chain behind a wait.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Whose time it is, in words.
    pub who: String,
    /// Its state.
    pub state: State,
    /// The innermost function of the program where it waits.
    pub function: Option<Identity>,
    /// The wait event that the program tells of itself, by its name; `None`: none.
    pub wait_event: Option<String>,
    /// The port behind which it waits for an answer.
    pub behind: Option<u16>,
    /// ns of a query.
    pub nanos: f64,
    /// What the one that ended it did meanwhile, the longest first.
    pub children: Vec<Step>,
}

/// The levels at which carriers were followed.
pub fn hands(run: &Run, preset: &Preset) -> BTreeMap<usize, LevelHands> {
    let naming = Naming::of(preset, &run.manifest);
    let level = |(level, windows): (usize, Vec<&crate::run::Window>)| {
        let followed = windows.iter().find_map(|window| window.hands.as_ref())?;
        Some((level, of_level(level, followed, preset, &naming)?))
    };
    run.levels().into_iter().filter_map(level).collect()
}

/// The levels at which they were not, and why.
pub fn not_followed(run: &Run, followed: &BTreeMap<usize, LevelHands>) -> BTreeMap<usize, String> {
    let others = run.levels().into_iter().filter(|(level, _)| !followed.contains_key(level));
    others.map(|(level, windows)| (level, why_not_followed(&windows))).collect()
}

fn of_level(level: usize, hands: &Hands, preset: &Preset, naming: &Naming) -> Option<LevelHands> {
    let carried = &hands.facts.carried;
    let queries = Some(carried.answered).filter(|answered| *answered > 0)?;
    let names = Names::of(hands, naming);
    let per_query = |nanos: u64| nanos as f64 / queries as f64;
    let sockets = hands.facts.at_sockets.filter(|sockets| sockets.queries > 0);
    Some(LevelHands {
        level,
        queries,
        nanos: per_query(carried.nanos),
        by_sockets: sockets.map(|sockets| sockets.nanos as f64 / sockets.queries as f64),
        parts: parts(hands, &names, &per_query),
        chains: steps(&carried.chains.nodes, &names, &per_query),
        named: hands.stacks.is_some(),
        blocked: kinds::blocked_for(hands, &names, preset, &per_query),
        facts: hands.facts.clone(),
    })
}

/// What makes two rows one part.
type PartKey = (State, Option<Identity>, Option<String>, Option<u16>);

fn parts(hands: &Hands, names: &Names, per_query: &dyn Fn(u64) -> f64) -> Vec<Part> {
    let mut found: BTreeMap<PartKey, (Part, u64, BTreeMap<String, u64>)> = BTreeMap::new();
    for (key, sum) in &hands.facts.carried.rows {
        let function = key.stack.and_then(|stack| names.function(stack));
        let event = names.event(key.wait_event);
        let same = (key.state, function.clone(), event.clone(), key.behind);
        let (part, most, enders) = found.entry(same).or_insert_with(|| {
            let (state, wait_event, behind) = (key.state, event, key.behind);
            let (callers, ended_by) = (Vec::new(), Vec::new());
            let part = Part { state, function, callers, wait_event, behind, nanos: 0.0, times: 0.0, ended_by };
            (part, 0, BTreeMap::new())
        });
        part.nanos += per_query(sum.nanos);
        part.times += per_query(sum.times);
        if let Some(stack) = key.stack.filter(|_| sum.nanos > *most) {
            *most = sum.nanos;
            part.callers = names.callers(stack);
        }
        if let Some(ender) = key.ended_by {
            *enders.entry(names.ender(ender.by, ender.stack)).or_default() += sum.nanos;
        }
    }
    let mut parts: Vec<Part> = found
        .into_values()
        .map(|(mut part, _, enders)| {
            part.ended_by = enders.into_iter().map(|(who, nanos)| (who, per_query(nanos))).collect();
            part.ended_by.sort_by(|a, b| b.1.total_cmp(&a.1));
            part
        })
        .collect();
    parts.sort_by(|a, b| b.nanos.total_cmp(&a.nanos));
    parts
}

/// Nodes of a chain with the same names become one step.
fn steps(nodes: &[Node], names: &Names, per_query: &dyn Fn(u64) -> f64) -> Vec<Step> {
    type Found<'n> = (u64, Vec<&'n Node>);
    let mut found: BTreeMap<(String, PartKey), Found> = BTreeMap::new();
    for node in nodes {
        let key = &node.key;
        let function = key.stack.and_then(|stack| names.function(stack));
        let who = names.who(key.by);
        let (nanos, merged) =
            found.entry((who, (key.state, function, names.event(key.wait_event), key.behind))).or_default();
        *nanos += node.nanos;
        // It waits for the answer of a hop: what the thread did that polled the socket says nothing.
        if key.behind.is_none() {
            merged.extend(&node.children);
        }
    }
    let step = |((who, (state, function, wait_event, behind)), (nanos, children)): ((String, PartKey), Found)| {
        let children: Vec<Node> = children.into_iter().cloned().collect();
        let children = steps(&children, names, per_query);
        Step { who, state, function, wait_event, behind, nanos: per_query(nanos), children }
    };
    let mut steps: Vec<Step> = found.into_iter().map(step).collect();
    steps.sort_by(|a, b| b.nanos.total_cmp(&a.nanos));
    steps
}

/// A state in words, with what it waits behind and for.
pub fn in_words(state: State, behind: Option<u16>, event: Option<&str>) -> String {
    let mut words = state.to_string();
    if let Some(port) = behind {
        words += &format!(" for port {port}");
    }
    if let Some(event) = event {
        words += &format!(" ({event})");
    }
    words
}
