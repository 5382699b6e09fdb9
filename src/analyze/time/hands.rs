//! What carried the queries while they were in the server's hands, per query and by function. Invariant: the parts of a
//! level sum to the time in hand, and the steps of a chain to what they divide; a stack without a name keeps its time.

use crate::analyze::Identity;
use crate::analyze::cost::owners::{Ownership, Rules, owners};
use crate::carriers::{Node, State, Who};
use crate::preset::Preset;
use crate::profile::{FrameId, Profile, Space, frame_matches, short_name};
use crate::run::{Hands, HandsFacts, Manifest, Run};
use regex::Regex;
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
    /// The number of the wait event that the program tells of itself; 0: none.
    pub wait_event: u32,
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
    /// The number of the wait event that the program tells of itself; 0: none.
    pub wait_event: u32,
    /// The port behind which it waits for an answer.
    pub behind: Option<u16>,
    /// ns of a query.
    pub nanos: f64,
    /// What the one that ended it did meanwhile, the longest first.
    pub children: Vec<Step>,
}

/// The levels at which carriers were followed.
pub fn hands(run: &Run, preset: &Preset) -> BTreeMap<usize, LevelHands> {
    let level = |(level, windows): (usize, Vec<&crate::run::Window>)| {
        let followed = windows.iter().find_map(|window| window.hands.as_ref())?;
        Some((level, of_level(level, followed, preset, &run.manifest)?))
    };
    run.levels().into_iter().filter_map(level).collect()
}

fn of_level(level: usize, hands: &Hands, preset: &Preset, manifest: &Manifest) -> Option<LevelHands> {
    let carried = &hands.facts.carried;
    let queries = Some(carried.answered).filter(|answered| *answered > 0)?;
    let names = Names::of(hands, preset, manifest);
    let per_query = |nanos: u64| nanos as f64 / queries as f64;
    let sockets = hands.facts.at_sockets.filter(|sockets| sockets.queries > 0);
    Some(LevelHands {
        level,
        queries,
        nanos: per_query(carried.nanos),
        by_sockets: sockets.map(|sockets| sockets.nanos as f64 / sockets.queries as f64),
        parts: parts(hands, &names, &per_query),
        chains: steps(&carried.chains.nodes, &names, &per_query),
        facts: hands.facts.clone(),
    })
}

/// What makes two rows one part.
type PartKey = (State, Option<Identity>, u32, Option<u16>);

fn parts(hands: &Hands, names: &Names, per_query: &dyn Fn(u64) -> f64) -> Vec<Part> {
    let mut found: BTreeMap<PartKey, (Part, u64, BTreeMap<String, u64>)> = BTreeMap::new();
    for (key, sum) in &hands.facts.carried.rows {
        let function = key.stack.and_then(|stack| names.function(stack));
        let same = (key.state, function.clone(), key.wait_event, key.behind);
        let (part, most, enders) = found.entry(same).or_insert_with(|| {
            let (state, wait_event, behind) = (key.state, key.wait_event, key.behind);
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
        let (nanos, merged) = found.entry((who, (key.state, function, key.wait_event, key.behind))).or_default();
        *nanos += node.nanos;
        merged.extend(&node.children);
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

/// Names of the stacks and of the tasks.
struct Names<'a> {
    profile: Option<&'a Profile>,
    /// Of each node of the profile the innermost function of the program that is no helper.
    owners: Vec<Option<FrameId>>,
    ownerships: Vec<Ownership>,
    /// How the preset calls who ends waits, by the frames of the one that ends them.
    enders: Vec<(String, Vec<Regex>)>,
    tasks: BTreeMap<u64, String>,
}

impl<'a> Names<'a> {
    fn of(hands: &'a Hands, preset: &Preset, manifest: &Manifest) -> Self {
        let rules = Rules::of_waits(preset, manifest);
        let profile = hands.stacks.as_ref();
        let ownerships = profile.map(|profile| rules.ownerships(profile, true)).unwrap_or_default();
        let owners = profile.map(|profile| owners(profile, &ownerships, &rules, true)).unwrap_or_default();
        let patterns = |ender: &crate::preset::Ender| {
            (ender.name.clone(), ender.functions.iter().map(|pattern| pattern.0.clone()).collect())
        };
        let enders = preset.ender.iter().map(patterns).collect();
        let mut names = Names { profile, owners, ownerships, enders, tasks: BTreeMap::new() };
        names.tasks = names.tasks_of(&hands.facts);
        names
    }

    /// The names of the tasks: that of their future's type where the poll function has it, else what most of their
    /// stacks tell.
    fn tasks_of(&self, facts: &HandsFacts) -> BTreeMap<u64, String> {
        let mut seen: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
        let mut see = |by: Who, stack: Option<u32>, nanos: u64| {
            let (Who::Task { poll }, Some(stack)) = (by, stack) else { return };
            if let Some(name) = self.future_on(stack) {
                *seen.entry(poll).or_default().entry(name).or_default() += nanos;
            }
        };
        for (key, sum) in &facts.carried.rows {
            if let Some(ender) = key.ended_by {
                see(ender.by, ender.stack, sum.nanos);
            }
        }
        let mut nodes: Vec<&Node> = facts.carried.chains.nodes.iter().collect();
        while let Some(node) = nodes.pop() {
            see(node.key.by, node.key.stack, node.nanos);
            nodes.extend(&node.children);
        }
        let mut names: BTreeMap<u64, String> = BTreeMap::new();
        for (poll, symbol) in &facts.polls {
            names.extend(future_of(symbol).map(|name| (*poll, name)));
        }
        for (poll, found) in seen {
            let most = found.into_iter().max_by_key(|(_, nanos)| *nanos);
            names.entry(poll).or_insert_with(|| most.map_or_else(String::new, |(name, _)| name));
        }
        names
    }

    /// The future that the runtime polls innermost on this stack: its type where a function of the runtime has it, else
    /// the outermost function of the program within that poll.
    fn future_on(&self, stack: u32) -> Option<String> {
        let (profile, _) = (self.profile?, self.node(stack)?);
        let mut outermost = None;
        for at in profile.walk(profile.samples[stack as usize].stack) {
            let frame = &profile.frames[at.index()];
            let within = frame.name.split_once("::runtime::task::");
            if let Some((_, polls)) = within.filter(|(runtime, _)| !runtime.contains('<'))
                && ["core::", "harness::", "raw::"].iter().any(|part| polls.starts_with(part))
            {
                let future = polls.split_once("::<").and_then(|(_, arguments)| first_argument(arguments));
                return future.or(outermost);
            }
            if self.ownerships[at.index()] == Ownership::Own && frame.space == Space::User && frame.miss.is_none() {
                outermost = Some(short_name(&frame.name));
            }
        }
        None
    }

    fn node(&self, stack: u32) -> Option<usize> {
        Some(self.profile?.samples.get(stack as usize)?.stack?.index())
    }

    /// The innermost function of the program on a stack.
    fn function(&self, stack: u32) -> Option<Identity> {
        let (profile, node) = (self.profile?, self.node(stack)?);
        let owner = self.owners[node]?;
        Some(Identity::of(&profile.frames[owner.index()]))
    }

    /// The functions of the program that called it, innermost first.
    fn callers(&self, stack: u32) -> Vec<Identity> {
        let (Some(profile), Some(node)) = (self.profile, self.node(stack)) else { return Vec::new() };
        let Some(owner) = self.owners[node] else { return Vec::new() };
        let above = profile.walk(profile.samples[stack as usize].stack).skip_while(|frame| *frame != owner).skip(1);
        let module = &profile.frames[owner.index()].module;
        let own = above.filter(|frame| {
            let frame_ = &profile.frames[frame.index()];
            self.ownerships[frame.index()] == Ownership::Own && frame_.miss.is_none() && frame_.module == *module
        });
        let mut found: Vec<Identity> = Vec::new();
        for frame in own {
            let identity = Identity::of(&profile.frames[frame.index()]);
            if found.last() != Some(&identity) {
                found.push(identity);
            }
        }
        found
    }

    /// A kind of doer in words.
    fn who(&self, who: Who) -> String {
        match who {
            Who::Thread => "a thread".into(),
            Who::Foreign => "a thread of another process".into(),
            Who::Interrupt => "an interrupt (a device, a timer or a packet)".into(),
            Who::Unknown => "not seen".into(),
            Who::Task { poll } => match self.tasks.get(&poll).filter(|name| !name.is_empty()) {
                Some(name) => format!("task {name}"),
                None => "a task".into(),
            },
        }
    }

    /// Who ended a wait, in words: what the preset calls it, else where it did.
    fn ender(&self, by: Who, stack: Option<u32>) -> String {
        let at = stack.and_then(|stack| Some((stack, self.node(stack)?)));
        let Some((stack, _)) = at else { return self.who(by) };
        let Some(profile) = self.profile else { return self.who(by) };
        let frames = || profile.walk(profile.samples[stack as usize].stack).map(|frame| &profile.frames[frame.index()]);
        let named = self.enders.iter().find(|(_, patterns)| frames().any(|frame| frame_matches(frame, patterns)));
        if let Some((name, _)) = named {
            return name.clone();
        }
        match self.function(stack) {
            Some(function) => format!("{}, in {}", self.who(by), short_name(&function.name)),
            None => self.who(by),
        }
    }
}

/// The type of future in the name of a poll function: `tokio::runtime::task::raw::poll::<FUTURE, SCHEDULER>`.
fn future_of(symbol: &str) -> Option<String> {
    first_argument(symbol.split_once("raw::poll::<")?.1)
}

/// The short name of the first of these type arguments.
fn first_argument(arguments: &str) -> Option<String> {
    let mut depth = 0;
    let end = arguments.char_indices().find_map(|(at, letter)| {
        match letter {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' if arguments[..at].ends_with('-') => {}
            '>' | ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => return Some(at),
            _ => {}
        }
        (depth < 0).then_some(at)
    })?;
    Some(short_name(&arguments[..end])).filter(|name| !name.is_empty())
}
