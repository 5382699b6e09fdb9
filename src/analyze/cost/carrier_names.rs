//! Names of what carried the queries: functions of the program on the stacks of waits, tasks by the type of their
//! future, and who ended a wait. Invariant: what has no name is told apart by nothing, and its time stays.

use super::owners::{Ownership, Rules, owners};
use super::tally::Identity;
use crate::carriers::{Node, Who};
use crate::preset::{Ender, Preset, WaitEventName, WaitEvents};
use crate::profile::{Folding, FrameId, Profile, Space, frame_matches, short_name};
use crate::run::{Hands, HandsFacts, Manifest};
use regex::Regex;
use std::collections::BTreeMap;

/// What names are given by: the preset's rules for the target of a run.
#[derive(Clone, Debug)]
pub struct Naming {
    rules: Rules,
    /// How the preset calls who ends waits, by the frames of the one that ends them.
    enders: Vec<(String, Vec<Regex>)>,
    /// Frames of the async runtime, which say nothing of what a task waits for.
    pub runtime: Folding,
    /// Functions of an async runtime that poll a task.
    polls: Vec<Regex>,
    /// `None`: the server tells no wait events, or its version is not known.
    events: Option<WaitEvents>,
}

impl Naming {
    /// By this preset.
    pub fn of(preset: &Preset, manifest: &Manifest) -> Naming {
        let patterns =
            |ender: &Ender| (ender.name.clone(), ender.functions.iter().map(|pattern| pattern.0.clone()).collect());
        let version = manifest.target.version.as_deref().and_then(major_version);
        Naming {
            events: preset.wait_events.as_ref().zip(version).map(|(table, major)| table.for_version(major)),
            polls: preset.diagnosis.polls.iter().map(|pattern| pattern.0.clone()).collect(),
            rules: Rules::of_waits(preset, manifest),
            enders: preset.ender.iter().map(patterns).collect(),
            runtime: preset.folding(),
        }
    }
}

/// Names of the stacks and of the tasks of a recording.
pub(in crate::analyze) struct Names<'a> {
    profile: Option<&'a Profile>,
    /// Of each node of the profile the innermost function of the program that is no helper.
    owners: Vec<Option<FrameId>>,
    ownerships: Vec<Ownership>,
    naming: &'a Naming,
    tasks: BTreeMap<u64, String>,
}

impl<'a> Names<'a> {
    pub fn of(hands: &'a Hands, naming: &'a Naming) -> Self {
        let (profile, rules) = (hands.stacks.as_ref(), &naming.rules);
        let ownerships = profile.map(|profile| rules.ownerships(profile, true)).unwrap_or_default();
        let owners = profile.map(|profile| owners(profile, &ownerships, rules, true)).unwrap_or_default();
        let mut names = Names { profile, owners, ownerships, naming, tasks: BTreeMap::new() };
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
        let briefs: BTreeMap<u64, String> = names.iter().map(|(poll, name)| (*poll, brief(name))).collect();
        // Two tasks that would look alike keep their whole paths.
        let alike = |poll: &u64| {
            let others = briefs.iter().filter(|(other, brief)| *other != poll && **brief == briefs[poll]);
            others.into_iter().any(|(other, _)| names[other] != names[poll])
        };
        let clear =
            |(poll, name): (&u64, &String)| (*poll, if alike(poll) { name.clone() } else { briefs[poll].clone() });
        names.iter().map(clear).collect()
    }

    /// A wait event by its number; `None`: none, or its number is of no version that is known.
    pub fn wait_event(&self, number: u32) -> Option<WaitEventName> {
        self.naming.events.as_ref().and_then(|events| events.name(number))
    }

    /// A wait event's name by its number.
    pub fn event(&self, number: u32) -> Option<String> {
        let named = self.wait_event(number);
        named.map(|name| name.to_string()).or_else(|| (number != 0).then(|| format!("wait event {number:#010x}")))
    }

    /// The future that the runtime polls innermost on this stack: its type where a function of the runtime has it, else
    /// the outermost function of the program within that poll.
    fn future_on(&self, stack: u32) -> Option<String> {
        let (profile, _) = (self.profile?, self.node(stack)?);
        let mut outermost = None;
        for at in profile.walk(profile.samples[stack as usize].stack) {
            let frame = &profile.frames[at.index()];
            if frame_matches(frame, &self.naming.polls) {
                let future = frame.name.split_once("::<").and_then(|(_, arguments)| first_argument(arguments));
                return future.or(outermost);
            }
            if self.ownerships[at.index()] == Ownership::Own && frame.space == Space::User && frame.miss.is_none() {
                outermost = Some(short_name(&frame.name));
            }
        }
        None
    }

    pub fn node(&self, stack: u32) -> Option<usize> {
        Some(self.profile?.samples.get(stack as usize)?.stack?.index())
    }

    /// The innermost function of the program on a stack.
    pub fn function(&self, stack: u32) -> Option<Identity> {
        let (profile, node) = (self.profile?, self.node(stack)?);
        let owner = self.owners[node]?;
        Some(Identity::of(&profile.frames[owner.index()]))
    }

    /// The functions of the program that called it, innermost first.
    pub fn callers(&self, stack: u32) -> Vec<Identity> {
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
    pub fn who(&self, who: Who) -> String {
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
    pub fn ender(&self, by: Who, stack: Option<u32>) -> String {
        let at = stack.and_then(|stack| Some((stack, self.node(stack)?)));
        let Some((stack, _)) = at else { return self.who(by) };
        let Some(profile) = self.profile else { return self.who(by) };
        let frames = || profile.walk(profile.samples[stack as usize].stack).map(|frame| &profile.frames[frame.index()]);
        let named =
            self.naming.enders.iter().find(|(_, patterns)| frames().any(|frame| frame_matches(frame, patterns)));
        if let Some((name, _)) = named {
            return name.clone();
        }
        // A task that never rests began its poll before anybody looked: its frames tell what thread and events do not.
        let polled = self.future_on(stack).filter(|_| by == Who::Thread);
        let who = polled.map_or_else(|| self.who(by), |name| format!("task {}", brief(&name)));
        match self.function(stack) {
            Some(function) => format!("{who}, in {}", brief(&short_name(&function.name))),
            None => who,
        }
    }
}

/// The last two parts of a short name's path, closures left out: `Worker::run`.
fn brief(short: &str) -> String {
    let parts: Vec<&str> = short.split("::").filter(|part| !part.starts_with('{')).collect();
    match parts.len() {
        0 => short.to_string(),
        many => parts[many.saturating_sub(2)..].join("::"),
    }
}

/// The first number in what a server says of its version.
fn major_version(told: &str) -> Option<u32> {
    let digits = told.split(|letter: char| !letter.is_ascii_digit()).find(|digits| !digits.is_empty())?;
    digits.parse().ok()
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
