//! Who the CPU is used by, as a person would name it: the innermost function of the server's own program that is no
//! helper, with everything that it calls. Invariant: each stack has one owner, so owners' costs sum to the total.

use super::tally::Identity;
use crate::preset::{Pattern, Preset};
use crate::profile::{
    Builder, Frame, FrameId, GENERATED, LabelsId, Profile, Sample, Space, StackId, any_of, group_frame, kernel_groups,
    marker, short_name,
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

/// Libraries that programs of any language start and wait with, without versions: glibc's, musl's, GCC's and LLVM's.
const OF_THE_SYSTEM: [&str; 11] = [
    "libc",
    "libm",
    "libpthread",
    "librt",
    "libdl",
    "libgcc_s",
    "libstdc++",
    "libc++",
    "libc++abi",
    "ld-linux-x86-64",
    "ld-musl-x86_64",
];

/// The owner of what ends in each node of the profile; `None`: [`TRANSPORT`]. `ownerships` are those of its frames, of
/// waits or of CPU. A thread that waits in its runtime alone is the runtime's, and one whose stack has nothing of the
/// program is its library's.
pub fn owners(profile: &Profile, ownerships: &[Ownership], rules: &Rules, waits: bool) -> Vec<Option<FrameId>> {
    let program = program(profile, rules.program.as_deref());
    // What can own something: of the program, and of libraries.
    let owns = |frame: &Frame| {
        let counts = frame.space == Space::User && (rules.inlined || !frame.inlined);
        let has_name = frame.miss.is_none();
        let own = Some(frame.module.as_str()) == program || (frame.module == GENERATED && has_name);
        (counts && own, counts && has_name && !is_of_the_system(&frame.module))
    };
    let owns: Vec<(bool, bool)> = profile.frames.iter().map(owns).collect();
    // Of each node the innermost owner of the path to it. A node's parent comes before it.
    let mut paths: Vec<Path> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let mut path = node.parent.map_or_else(Path::default, |parent| paths[parent.index()]);
        let (at, ownership) = (node.frame.index(), ownerships[node.frame.index()]);
        let has_name = profile.frames[at].miss.is_none();
        let (of_program, of_library) = owns[at];
        match ownership {
            Ownership::Own if of_program && has_name => path.named = Some(node.frame),
            Ownership::Own if of_program => path.unnamed = Some(node.frame),
            Ownership::Helper if of_program && has_name && waits => path.helper = Some(node.frame),
            Ownership::Own if of_library => path.linked = Some(node.frame),
            _ => {}
        }
        path.carried |= ownership == Ownership::Carrier;
        paths.push(path);
    }
    let owner = |(path, frame): (Path, FrameId)| {
        // A function without a name says nothing where a caller of it has one.
        if path.carried { None } else { path.named.or(path.unnamed).or(path.helper).or(path.linked).or(Some(frame)) }
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
    /// A function of a library that is no part of the system.
    linked: Option<FrameId>,
    carried: bool,
}

/// The server's program, not a library: the file that the target runs, if it is on the stacks with more than its entry
/// (that of an interpreter or a virtual machine may be a launcher alone); else the module of most user frames of the
/// call tree, libraries of the system only where there is no other.
fn program<'p>(profile: &'p Profile, executable: Option<&'p str>) -> Option<&'p str> {
    let mut nodes = vec![0usize; profile.frames.len()];
    profile.nodes.iter().for_each(|node| nodes[node.frame.index()] += 1);
    let mut modules: BTreeMap<&str, usize> = BTreeMap::new();
    for (frame, nodes) in profile.frames.iter().zip(nodes).filter(|(frame, _)| frame.space == Space::User) {
        *modules.entry(&frame.module).or_default() += nodes;
    }
    let most = |among: &dyn Fn(&str) -> bool| {
        let found = modules.iter().filter(|(module, _)| among(module));
        found.max_by_key(|(_, nodes)| **nodes).map(|(module, _)| *module)
    };
    let runs = executable.filter(|executable| on_stacks(profile, executable) >= OF_STACKS);
    let rival =
        most(&|module| !is_of_the_system(module) && !["", GENERATED].contains(&module) && Some(module) != executable);
    match runs {
        Some(executable) if rival.is_none() || !is_launcher(profile, executable) => Some(executable),
        _ => rival.or_else(|| most(&|_| true)),
    }
}

/// By the name of the file: `libc.so.6`, `libc-2.31.so`.
fn is_of_the_system(module: &str) -> bool {
    let name = module.split(".so").next().unwrap_or(module);
    OF_THE_SYSTEM.contains(&name.split_once("-2.").map_or(name, |(name, _)| name))
}

/// Whether the stacks have nothing of this file but where programs begin.
fn is_launcher(profile: &Profile, executable: &str) -> bool {
    let mut own = profile.frames.iter().filter(|frame| frame.space == Space::User && frame.module == executable);
    own.all(|frame| matches!(frame.name.as_str(), "_start" | "main"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::on_cpu_columns;

    /// The owner of each of these stacks, each of frames `module:function` from the root.
    fn owners_of(executable: &str, stacks: &[&str]) -> Vec<String> {
        let mut builder = Builder::new(on_cpu_columns());
        let ends: Vec<StackId> = stacks
            .iter()
            .map(|stack| {
                let frames: Vec<FrameId> = stack
                    .split(' ')
                    .map(|frame| {
                        let (module, name) = frame.split_once(':').unwrap();
                        let space = if module == "[kernel]" { Space::Kernel } else { Space::User };
                        builder.frame(Frame { name: name.into(), module: module.into(), space, ..marker("") })
                    })
                    .collect();
                builder.stack(frames).unwrap()
            })
            .collect();
        let profile = builder.finish();
        let program = Some(executable.to_string());
        let rules = Rules { helpers: Vec::new(), transport: Vec::new(), program, inlined: true };
        let owners = owners(&profile, &rules.ownerships(&profile, true), &rules, true);
        ends.iter().map(|end| profile.frames[owners[end.index()].unwrap().index()].name.clone()).collect()
    }

    #[test]
    fn the_library_that_an_interpreters_launcher_starts_is_the_program() {
        let owners = owners_of(
            "python3",
            &[
                "python3:_start libc.so.6:__libc_start_main libpython3.so:Py_BytesMain libpython3.so:poll_impl",
                "libc.so.6:clone3 libpython3.so:thread_run libpython3.so:take_gil libc.so.6:futex_wait",
            ],
        );
        assert_eq!(owners, ["poll_impl", "take_gil"]);
    }

    #[test]
    fn a_program_with_work_of_its_own_owns_what_it_calls_and_a_librarys_own_thread_is_the_librarys() {
        let owners = owners_of(
            "bookshop",
            &[
                "bookshop:_start libc.so.6:__libc_start_main bookshop:main bookshop:serve libssl.so.3:SSL_read",
                "libc.so.6:clone3 libc.so.6:start_thread libjobs.so.1:run_jobs libc.so.6:poll [kernel]:schedule",
                "libc.so.6:clone3 libc.so.6:start_thread libc.so.6:poll [kernel]:schedule",
            ],
        );
        assert_eq!(owners, ["serve", "run_jobs", "schedule"]);
    }

    #[test]
    fn libraries_of_the_system_are_told_from_those_whose_names_begin_alike() {
        let of_the_system =
            ["libc.so.6", "libc-2.31.so", "ld-linux-x86-64.so.2", "libstdc++.so.6.0.30", "librt-2.31.so"];
        assert!(of_the_system.iter().all(|module| is_of_the_system(module)));
        let others = ["libc-client.so.2007", "librtmp.so.1", "libmysqld.so", "libpython3.11.so.1.0", "server"];
        assert!(others.iter().all(|module| !is_of_the_system(module)));
    }

    #[test]
    fn a_program_of_one_function_over_the_system_alone_is_the_program() {
        assert_eq!(owners_of("bookshop", &["bookshop:_start libc.so.6:start bookshop:main libc.so.6:clock"]), ["main"]);
    }
}
