//! Who the CPU is used by, as a person would name it: the innermost function of the server's own program that is no
//! helper, with everything that it calls. Invariant: each stack has one owner, so owners' costs sum to the total.

use super::tally::Identity;
use crate::preset::{Pattern, Preset};
use crate::profile::{
    Builder, Frame, FrameId, LabelsId, Profile, Sample, Space, StackId, any_of, group_frame, kernel_groups, marker,
    short_name,
};
use crate::run::Manifest;
use regex::Regex;
use std::collections::BTreeMap;

/// Owner of what the kernel does to carry messages: every query needs some, whichever function sends it.
pub const TRANSPORT: &str = "[sending and receiving]";

/// What is no owner, by the preset.
#[derive(Clone, Debug)]
pub struct Rules {
    helpers: Vec<Regex>,
    transport: Vec<Regex>,
    /// Name of the file that the target runs; `None`: not known, as of recordings made by others.
    program: Option<String>,
    /// A function that is part of its caller's code can be an owner.
    inlined: bool,
}

/// What a function is by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Does work of its own.
    #[default]
    Own,
    /// Works for whoever calls it.
    Helper,
    /// Of the kernel: carries messages.
    Carrier,
}

impl Rules {
    /// The rules of this preset for the target of a run.
    pub fn of(preset: &Preset, manifest: &Manifest) -> Self {
        let all = |patterns: &[Pattern]| patterns.iter().map(|p| p.0.clone()).collect::<Vec<Regex>>();
        // An allocator that is linked into the program is no more an owner than a library's, and a runtime is none.
        let helpers = [all(&preset.diagnosis.helpers), allocator(preset), all(&preset.runtime)].concat();
        let transport = [all(&preset.diagnosis.transport), all(&preset.diagnosis.polling)].concat();
        let file = |path: &String| path.rsplit('/').next().map(String::from).filter(|name| !name.is_empty());
        let (helpers, transport) = (any_of(helpers), any_of(transport));
        let program = manifest.target.executable.as_ref().and_then(file);
        Rules { helpers, transport, program, inlined: false }
    }

    /// As [`Rules::of`], for waits: functions through which tasks and threads wait count for their callers. Most async
    /// functions are part of their caller's code, and it is they that wait.
    pub fn of_waits(preset: &Preset, manifest: &Manifest) -> Self {
        let mut rules = Rules { inlined: true, ..Rules::of(preset, manifest) };
        rules.helpers.extend(preset.diagnosis.waiting.iter().map(|pattern| pattern.0.clone()));
        rules
    }

    /// Of each frame of a profile; in one of `waits` nobody carries.
    pub fn ownerships(&self, profile: &Profile, waits: bool) -> Vec<Ownership> {
        let of = |frame: &Frame| match self.ownership(&frame.name, frame.space) {
            Ownership::Carrier if waits => Ownership::Own,
            ownership => ownership,
        };
        profile.frames.iter().map(of).collect()
    }

    /// By the full or the short name.
    pub fn ownership(&self, name: &str, space: Space) -> Ownership {
        let (patterns, ownership) = match space {
            Space::User => (&self.helpers, Ownership::Helper),
            Space::Kernel => (&self.transport, Ownership::Carrier),
            Space::Vdso | Space::Marker => return Ownership::Own,
        };
        let matches = |pattern: &Regex| pattern.is_match(name) || pattern.is_match(&short_name(name));
        if patterns.iter().any(matches) { ownership } else { Ownership::Own }
    }
}

/// The functions of the allocator, by the preset.
pub fn allocator(preset: &Preset) -> Vec<Regex> {
    let name = preset.diagnosis.allocator.as_ref();
    let focus = preset.focus.iter().find(|focus| Some(&focus.name) == name);
    focus.iter().flat_map(|focus| focus.patterns.iter().map(|p| p.0.clone())).collect()
}

/// Shares of the nodes' stacks that must have a frame of the file that runs for it to be the program: an interpreter's
/// launcher is at the root of few.
const OF_STACKS: f64 = 0.1;

/// The owner of what ends in each node of the profile; `None`: [`TRANSPORT`]. `ownerships` are those of its frames, of
/// waits or of CPU. A thread that waits in its runtime alone is the runtime's.
pub fn owners(profile: &Profile, ownerships: &[Ownership], rules: &Rules, waits: bool) -> Vec<Option<FrameId>> {
    let program = program(profile, rules.program.as_deref());
    let of_program = |frame: &Frame| {
        frame.space == Space::User && (rules.inlined || !frame.inlined) && Some(frame.module.as_str()) == program
    };
    let of_program: Vec<bool> = profile.frames.iter().map(of_program).collect();
    // Of each node the innermost owner of the path to it. A node's parent comes before it.
    let mut paths: Vec<Path> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let mut path = node.parent.map_or_else(Path::default, |parent| paths[parent.index()]);
        let (at, ownership) = (node.frame.index(), ownerships[node.frame.index()]);
        let has_name = profile.frames[at].miss.is_none();
        match ownership {
            Ownership::Own if of_program[at] && has_name => path.named = Some(node.frame),
            Ownership::Own if of_program[at] => path.unnamed = Some(node.frame),
            Ownership::Helper if of_program[at] && has_name && waits => path.helper = Some(node.frame),
            _ => {}
        }
        path.carried |= ownership == Ownership::Carrier;
        paths.push(path);
    }
    let owner = |(path, frame): (Path, FrameId)| {
        // A function without a name says nothing where a caller of it has one.
        if path.carried { None } else { path.named.or(path.unnamed).or(path.helper).or(Some(frame)) }
    };
    paths.into_iter().zip(profile.nodes.iter().map(|node| node.frame)).map(owner).collect()
}

/// What is known of the way to a node.
#[derive(Clone, Copy, Default)]
struct Path {
    named: Option<FrameId>,
    /// A function of the program whose name is not known.
    unnamed: Option<FrameId>,
    /// A helper of the program, where that counts.
    helper: Option<FrameId>,
    carried: bool,
}

/// The server's program, not a library: the file that the target runs, if it is on the stacks; else the module of most
/// user frames of the call tree.
fn program<'p>(profile: &'p Profile, executable: Option<&'p str>) -> Option<&'p str> {
    if let Some(executable) = executable.filter(|executable| on_stacks(profile, executable) >= OF_STACKS) {
        return Some(executable);
    }
    let mut nodes = vec![0usize; profile.frames.len()];
    profile.nodes.iter().for_each(|node| nodes[node.frame.index()] += 1);
    let mut modules: BTreeMap<&str, usize> = BTreeMap::new();
    for (frame, nodes) in profile.frames.iter().zip(nodes).filter(|(frame, _)| frame.space == Space::User) {
        *modules.entry(&frame.module).or_default() += nodes;
    }
    modules.into_iter().max_by_key(|(_, nodes)| *nodes).map(|(module, _)| module)
}

/// Share of the user nodes that are of this module or called by it.
fn on_stacks(profile: &Profile, module: &str) -> f64 {
    let (mut user, mut under) = (0, 0);
    let mut below: Vec<bool> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let frame = &profile.frames[node.frame.index()];
        let own = frame.space == Space::User && frame.module == module;
        below.push(own || node.parent.is_some_and(|parent| below[parent.index()]));
        if frame.space == Space::User {
            user += 1;
            under += usize::from(below[below.len() - 1]);
        }
    }
    f64::from(under as u32) / f64::from((user as u32).max(1))
}

/// The profile with each stack replaced by its owner. `waits`: it is one of waits, in which who waits for a message
/// waits all the same. `grouped`: the kernel's frames that own something are one by what the kernel was entered for.
pub fn owned(profile: &Profile, rules: &Rules, waits: bool, grouped: bool) -> Profile {
    let owners = owners(profile, &rules.ownerships(profile, waits), rules, waits);
    let groups = if grouped { kernel_groups(profile) } else { Vec::new() };
    replaced_in_groups(profile, &owners, &groups, |_| true)
}

/// The profile with each stack replaced by its owner as [`owners`] found it, of the samples that count.
pub fn replaced(profile: &Profile, owners: &[Option<FrameId>], counts: impl Fn(&Sample) -> bool) -> Profile {
    replaced_in_groups(profile, owners, &[], counts)
}

/// `groups`: those of the nodes' kernel frames; empty: each frame is its own.
fn replaced_in_groups(
    profile: &Profile,
    owners: &[Option<FrameId>],
    groups: &[Option<String>],
    counts: impl Fn(&Sample) -> bool,
) -> Profile {
    let space = |owner: FrameId| profile.frames[owner.index()].space;
    let of_kernel = |owner: &FrameId| matches!(space(*owner), Space::Kernel | Space::Vdso);
    let mut builder = Builder::new(profile.columns.clone());
    let mut stacks: BTreeMap<(Option<FrameId>, Option<&str>), StackId> = BTreeMap::new();
    let mut labels: Vec<Option<LabelsId>> = vec![None; profile.labels.len()];
    for sample in profile.samples.iter().filter(|sample| counts(sample)) {
        let stack = sample.stack.map(|stack| {
            let owner = owners[stack.index()];
            let grouped = owner.filter(of_kernel).zip(groups.get(stack.index()).and_then(Option::as_deref));
            let key = (owner.filter(|_| grouped.is_none()), grouped.map(|(_, group)| group));
            *stacks.entry(key).or_insert_with(|| {
                let of = |f: FrameId| Frame { file: String::new(), ..profile.frames[f.index()].clone() };
                let frame = match grouped {
                    Some((owner, group)) => group_frame(group, space(owner)),
                    None => owner.map_or_else(|| marker(TRANSPORT), of),
                };
                let frame = builder.frame(frame);
                builder.push(None, frame)
            })
        });
        let at = sample.labels.index();
        let labels = *labels[at].get_or_insert_with(|| builder.labels(profile.labels[at].clone()));
        builder.sample(stack, labels, sample.at, sample.values.clone());
    }
    builder.finish()
}

/// [`TRANSPORT`] as a row of a table.
pub fn transport() -> Identity {
    Identity { name: TRANSPORT.into(), module: String::new(), space: Space::Marker }
}
