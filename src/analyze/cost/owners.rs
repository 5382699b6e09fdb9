//! Who the CPU is used by, as a person would name it: the innermost function of the server's own program that is no
//! helper, with everything that it calls. Invariant: each stack has one owner, so owners' costs sum to the total.

use super::tally::Identity;
use crate::preset::{Pattern, Preset};
use crate::profile::{Frame, FrameId, Profile, Space, short_name};
use regex::Regex;
use std::collections::BTreeMap;

/// Owner of what the kernel does to carry messages: every query needs some, whichever function sends it.
pub const TRANSPORT: &str = "[sending and receiving]";

/// What is no owner, by the preset.
#[derive(Clone, Debug)]
pub struct Rules {
    helpers: Vec<Regex>,
    transport: Vec<Regex>,
}

/// What a function is by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    #[default]
    Own,
    /// Works for whoever calls it.
    Helper,
    /// Of the kernel: carries messages.
    Carrier,
}

impl Rules {
    pub fn of(preset: &Preset) -> Self {
        let all = |patterns: &[Pattern]| patterns.iter().map(|p| p.0.clone()).collect::<Vec<Regex>>();
        // An allocator that is linked into the program is no more an owner than a library's, and a runtime is none.
        let helpers = [all(&preset.diagnosis.helpers), allocator(preset), all(&preset.runtime)].concat();
        Rules { helpers, transport: all(&preset.diagnosis.transport) }
    }

    /// By the full or the short name.
    pub fn ownership(&self, name: &str, space: Space) -> Ownership {
        let (patterns, ownership) = match space {
            Space::User => (&self.helpers, Ownership::Helper),
            Space::Kernel => (&self.transport, Ownership::Carrier),
            Space::Vdso | Space::Marker => return Ownership::Own,
        };
        let short = short_name(name);
        let matches = patterns.iter().any(|pattern| pattern.is_match(name) || pattern.is_match(&short));
        if matches { ownership } else { Ownership::Own }
    }
}

/// The functions of the allocator, by the preset.
pub fn allocator(preset: &Preset) -> Vec<Regex> {
    let name = preset.diagnosis.allocator.as_ref();
    let focus = preset.focus.iter().find(|focus| Some(&focus.name) == name);
    focus.iter().flat_map(|focus| focus.patterns.iter().map(|p| p.0.clone())).collect()
}

/// The owner of what ends in each node of the profile; `None`: [`TRANSPORT`]. `ownerships` are those of its frames.
pub fn owners(profile: &Profile, ownerships: &[Ownership]) -> Vec<Option<FrameId>> {
    let program = program(profile);
    let owns = |frame: &Frame, ownership: Ownership| {
        frame.space == Space::User
            && !frame.inlined
            && ownership == Ownership::Own
            && Some(frame.module.as_str()) == program
    };
    let owns: Vec<bool> =
        profile.frames.iter().zip(ownerships).map(|(frame, ownership)| owns(frame, *ownership)).collect();
    // Of each node the innermost owner of the path to it, and whether the path carries. A node's parent comes before
    // it.
    let mut paths: Vec<(Option<FrameId>, bool)> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let (owner, carried) = node.parent.map_or((None, false), |parent| paths[parent.index()]);
        let owner = if owns[node.frame.index()] { Some(node.frame) } else { owner };
        paths.push((owner, carried || ownerships[node.frame.index()] == Ownership::Carrier));
    }
    let owner = |((owner, carried), frame): ((Option<FrameId>, bool), FrameId)| {
        if carried { None } else { owner.or(Some(frame)) }
    };
    paths.into_iter().zip(profile.nodes.iter().map(|node| node.frame)).map(owner).collect()
}

/// The module of most user frames of the call tree: the server's program, not a library.
fn program(profile: &Profile) -> Option<&str> {
    let mut nodes = vec![0usize; profile.frames.len()];
    profile.nodes.iter().for_each(|node| nodes[node.frame.index()] += 1);
    let mut modules: BTreeMap<&str, usize> = BTreeMap::new();
    for (frame, nodes) in profile.frames.iter().zip(nodes).filter(|(frame, _)| frame.space == Space::User) {
        *modules.entry(&frame.module).or_default() += nodes;
    }
    modules.into_iter().max_by_key(|(_, nodes)| *nodes).map(|(module, _)| module)
}

/// [`TRANSPORT`] as a row of a table.
pub fn transport() -> Identity {
    Identity { name: TRANSPORT.into(), module: String::new(), space: Space::Marker }
}
