//! Who the CPU is used by, as a person would name it: the innermost function of the server's own program that is no helper, with
//! everything that it calls. Invariant: each sample counts for one owner, so owners' costs sum to the total.

use super::super::hot::By;
use super::super::interval::{Estimate, WindowCost, estimate};
use super::super::tally::tally;
use super::super::view::{Source, ViewOptions, WindowView, window_view};
use super::super::waits::{Kind, kinds_of_stacks};
use crate::preset::{Pattern, Preset};
use crate::profile::{Builder, Frame, Profile, Sample, Space, frame_matches, marker};
use crate::run::Window;
use regex::Regex;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Owner of what the kernel does to carry messages: every query needs some, whichever function sends it.
pub const TRANSPORT: &str = "[sending and receiving]";

/// ns a query of one function with what it calls: of CPU, or blocked.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    pub name: String,
    pub cost: Estimate,
}

/// Which samples count.
#[derive(Clone, Copy)]
pub enum Within<'a> {
    Everything,
    /// Samples of threads of these numbers.
    Threads(&'a [u32]),
    /// Samples with a frame that matches one of these.
    Frames(&'a [Regex]),
    /// Not CPU but waits of this kind, of threads with such a name.
    Waiting(Kind, &'a Regex),
}

/// Owners of a level's CPU, or of its waits, those with the most first; empty where a window has no profile of that.
pub fn owners(preset: &Preset, windows: &[&Window], within: Within) -> Vec<Owner> {
    let plumbing = preset.plumbing.iter().map(|p| p.0.clone()).collect();
    let source = if matches!(within, Within::Waiting(..)) { Source::Blocked } else { Source::OnCpu };
    let options = ViewOptions { source, plumbing, ..ViewOptions::default() };
    let all = |patterns: &[Pattern]| patterns.iter().map(|p| p.0.clone()).collect::<Vec<Regex>>();
    let transport = all(&preset.diagnosis.transport);
    // An allocator that is linked into the program is no more an owner than a library's.
    let helpers = [all(&preset.diagnosis.helpers), allocator(preset)].concat();
    let views: Option<Vec<WindowView>> = windows.iter().map(|w| window_view(w, &options)).collect();
    let nanos = |view: &WindowView| view.profile.columns[view.column].unit == "nanoseconds";
    let Some(views) = views.filter(|views| views.iter().all(nanos)) else { return Vec::new() };
    let mut costs: BTreeMap<String, Vec<Option<WindowCost>>> = BTreeMap::new();
    let mut blanks = Vec::new();
    for (at, view) in views.iter().enumerate() {
        let owned =
            WindowView { profile: Cow::Owned(owned(&view.profile, &helpers, &transport, within)), ..view.clone() };
        let tally = tally(&owned, By::SelfCost, None);
        for (frame, cost) in tally.frames {
            costs.entry(frame.name).or_insert_with(|| vec![None; views.len()])[at] = Some(cost);
        }
        blanks.push(tally.blank);
    }
    let of = |(name, costs): (String, Vec<Option<WindowCost>>)| {
        let filled: Vec<WindowCost> =
            costs.into_iter().zip(&blanks).map(|(cost, blank)| cost.unwrap_or_else(|| blank.clone())).collect();
        Some(Owner { name, cost: estimate(&filled)? })
    };
    let mut owners: Vec<Owner> = costs.into_iter().filter_map(of).collect();
    owners.sort_by(|a, b| b.cost.value.total_cmp(&a.cost.value).then_with(|| a.name.cmp(&b.name)));
    owners
}

/// The functions of the allocator, by the preset.
pub fn allocator(preset: &Preset) -> Vec<Regex> {
    let name = preset.diagnosis.allocator.as_ref();
    let focus = preset.focus.iter().find(|focus| Some(&focus.name) == name);
    focus.iter().flat_map(|focus| focus.patterns.iter().map(|p| p.0.clone())).collect()
}

/// The profile with each stack replaced by its owner.
fn owned(profile: &Profile, helpers: &[Regex], transport: &[Regex], within: Within) -> Profile {
    let program = program(profile);
    let own: Vec<bool> = profile
        .frames
        .iter()
        .map(|f| f.space == Space::User && !f.inlined && f.module == program && !frame_matches(f, helpers))
        .collect();
    let carries: Vec<bool> =
        profile.frames.iter().map(|f| f.space == Space::Kernel && frame_matches(f, transport)).collect();
    let wanted: Vec<bool> = match within {
        Within::Frames(patterns) => profile.frames.iter().map(|f| frame_matches(f, patterns)).collect(),
        _ => Vec::new(),
    };
    let kinds = matches!(within, Within::Waiting(..)).then(|| kinds_of_stacks(profile)).unwrap_or_default();
    let counts = |sample: &Sample| match within {
        Within::Everything => true,
        Within::Waiting(kind, threads) => {
            let named = threads.is_match(&profile.labels[sample.labels.index()].thread);
            named && sample.stack.is_some_and(|stack| kinds[stack.index()] == kind)
        }
        Within::Threads(tids) => tids.contains(&profile.labels[sample.labels.index()].tid),
        Within::Frames(_) => profile.walk(sample.stack).any(|f| wanted[f.index()]),
    };
    let mut builder = Builder::new(profile.columns.clone());
    for sample in profile.samples.iter().filter(|sample| counts(sample)) {
        let leaf = profile.walk(sample.stack).next();
        let owner = profile.walk(sample.stack).find(|f| own[f.index()]).or(leaf);
        let carried = profile.walk(sample.stack).any(|f| carries[f.index()]);
        let frame = owner.map(|f| match (carried, &profile.frames[f.index()]) {
            (true, _) => marker(TRANSPORT),
            (false, frame) => Frame { file: String::new(), ..frame.clone() },
        });
        let stack = frame.map(|frame| {
            let frame = builder.frame(frame);
            builder.push(None, frame)
        });
        let labels = builder.labels(profile.labels[sample.labels.index()].clone());
        builder.sample(stack, labels, sample.at, sample.values.clone());
    }
    builder.finish()
}

/// The module of most user stacks' roots' weight: the server's program, not a library.
fn program(profile: &Profile) -> String {
    let mut frames: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &profile.nodes {
        let frame = &profile.frames[node.frame.index()];
        if frame.space == Space::User {
            *frames.entry(&frame.module).or_default() += 1;
        }
    }
    frames.into_iter().max_by_key(|(_, count)| *count).map_or_else(String::new, |(module, _)| module.into())
}
