//! Weights of one window's profile by frame, batch by batch. Invariant: each sample is counted at most once for a
//! frame, and in self costs exactly once for one frame or for what lies outside the focus.

use super::hot::By;
use super::view::WindowView;
use crate::analyze::statistics::interval::{BATCHES, InStratum, WindowCost};
use crate::profile::{ColumnKind, Frame, FrameId, Labels, OUTSIDE, Profile, Space, StackId, frame_matches, short_name};
use regex::Regex;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// What makes two frames the same in a table: inlined and outlined instances are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Identity {
    /// Full name.
    pub name: String,
    /// Base name of the file that holds the code (`libc.so.6`, `[kernel]`); empty for markers.
    pub module: String,
    /// Where the code runs.
    pub space: Space,
}

impl Identity {
    pub(in crate::analyze) fn of(frame: &Frame) -> Self {
        Identity { name: frame.name.clone(), module: frame.module.clone(), space: frame.space }
    }

    fn marker(name: &str) -> Self {
        Identity { name: name.to_string(), module: String::new(), space: Space::Marker }
    }

    /// Whether the pattern matches the full or the short name.
    pub fn matches(&self, pattern: &Regex) -> bool {
        pattern.is_match(&self.name) || pattern.is_match(&short_name(&self.name))
    }
}

/// One window's costs.
pub struct Tally {
    /// Of each frame with samples.
    pub frames: BTreeMap<Identity, WindowCost>,
    /// Of all samples.
    pub total: WindowCost,
    /// Outside the focus; `None` without one.
    pub outside: Option<WindowCost>,
    /// The cost of a frame without samples.
    pub blank: WindowCost,
}

/// Weighs a window. With `callers_of` the frames are the callers of the outermost frame that matches, each sample
/// counted for one; `[no caller]` stands for a root.
pub fn tally(view: &WindowView, by: By, callers_of: Option<&Regex>) -> Tally {
    let clock = Batches::of(view);
    let blank = clock.blank(view);
    let mut tally =
        Tally { frames: BTreeMap::new(), total: blank.clone(), outside: view.outside.map(|_| blank.clone()), blank };
    let frames = Identities::of(&view.profile);
    let attribution = Attribution { profile: &view.profile, frames: &frames, by, callers: callers(view, callers_of) };
    let mut costs: HashMap<usize, WindowCost> = HashMap::new();
    for (stack, cost) in stack_costs(view, &clock, &tally.blank) {
        tally.total.add(&cost);
        if let Some(outside) = tally.outside.as_mut().filter(|_| is_outside(&view.profile, stack)) {
            outside.add(&cost);
            continue;
        }
        for frame in attribution.of(stack) {
            costs.entry(frame).or_insert_with(|| tally.blank.clone()).add(&cost);
        }
    }
    tally.frames = costs.into_iter().map(|(frame, cost)| (frames.table[frame].clone(), cost)).collect();
    tally
}

/// Distinct identities of a profile's frames.
pub(in crate::analyze) struct Identities {
    pub table: Vec<Identity>,
    /// By frame.
    pub of: Vec<usize>,
    no_stack: usize,
    no_caller: usize,
}

impl Identities {
    pub fn of(profile: &Profile) -> Self {
        let mut table = vec![Identity::marker("[no stack]"), Identity::marker("[no caller]")];
        let mut known: HashMap<(&str, &str, Space), usize> = HashMap::new();
        let mut of = Vec::with_capacity(profile.frames.len());
        for frame in &profile.frames {
            of.push(*known.entry((&frame.name, &frame.module, frame.space)).or_insert_with(|| {
                table.push(Identity::of(frame));
                table.len() - 1
            }));
        }
        Identities { table, of, no_stack: 0, no_caller: 1 }
    }
}

/// Which frames a stack's weight counts for.
struct Attribution<'a> {
    profile: &'a Profile,
    frames: &'a Identities,
    by: By,
    /// Per frame whether it is one whose callers are asked for; `None`: callers are not asked for.
    callers: Option<Vec<bool>>,
}

impl Attribution<'_> {
    fn of(&self, stack: Option<StackId>) -> Vec<usize> {
        let path: Vec<FrameId> = self.profile.walk(stack).collect();
        if let Some(wanted) = &self.callers {
            return self.caller(&path, wanted).into_iter().collect();
        }
        let mut frames: Vec<usize> = path.iter().map(|f| self.frames.of[f.index()]).collect();
        if frames.is_empty() {
            frames.push(self.frames.no_stack);
        }
        match self.by {
            By::SelfCost | By::Owner => frames.truncate(1),
            By::Total => {
                frames.sort_unstable();
                frames.dedup();
            }
        }
        frames
    }

    /// The caller of the outermost wanted frame on a path given leaf first.
    fn caller(&self, path: &[FrameId], wanted: &[bool]) -> Option<usize> {
        let counts = self.by == By::Total || path.first().is_some_and(|leaf| wanted[leaf.index()]);
        let outermost = path.iter().rposition(|f| wanted[f.index()]).filter(|_| counts)?;
        Some(path.get(outermost + 1).map_or(self.frames.no_caller, |f| self.frames.of[f.index()]))
    }
}

fn callers(view: &WindowView, pattern: Option<&Regex>) -> Option<Vec<bool>> {
    let pattern = std::slice::from_ref(pattern?);
    Some(view.profile.frames.iter().map(|f| frame_matches(f, pattern)).collect())
}

fn is_outside(profile: &Profile, stack: Option<StackId>) -> bool {
    stack.is_some_and(|s| {
        let node = &profile.nodes[s.index()];
        let frame = &profile.frames[node.frame.index()];
        node.parent.is_none() && frame.space == Space::Marker && frame.name == OUTSIDE
    })
}

/// Which batch a time falls into, and how many queries each batch completed.
struct Batches {
    /// (end in ns after the window's start, queries); empty where slices or times are not measured.
    batches: Vec<(u64, f64)>,
}

impl Batches {
    fn of(view: &WindowView) -> Self {
        let window = view.window;
        let timed = view.profile.samples.iter().all(|s| s.at.is_some()) && window.profile_span() == window.facts.span;
        Batches { batches: if timed { window.load.batches(BATCHES) } else { Vec::new() } }
    }

    fn at(&self, at: Option<u64>) -> Option<usize> {
        batch_at(&self.batches, at.unwrap_or(0))
    }

    fn blank(&self, view: &WindowView) -> WindowCost {
        let counted = view.profile.column(&ColumnKind::Samples);
        let samples = counted.map(|c| view.profile.total(c));
        WindowCost {
            weight: 0.0,
            queries: view.queries,
            samples: counted.map(|_| 0),
            squares: counted.map(|_| 0.0),
            quantum: samples.filter(|s| *s > 0).map(|s| view.profile.total(view.column) as f64 / s as f64),
            batches: (!self.batches.is_empty()).then(|| self.batches.iter().map(|b| (0.0, b.1)).collect()),
            strata: Vec::new(),
        }
    }
}

/// The batch of a time, of those of [`crate::load::LoadTrace::batches`]; the last one takes what comes after the last
/// slice.
pub(super) fn batch_at(batches: &[(u64, f64)], at: u64) -> Option<usize> {
    Some(batches.partition_point(|(end, _)| *end <= at).min(batches.len().checked_sub(1)?))
}

/// Cost by distinct stack.
fn stack_costs(view: &WindowView, clock: &Batches, blank: &WindowCost) -> HashMap<Option<StackId>, WindowCost> {
    let counted = view.profile.column(&ColumnKind::Samples);
    let mut costs: HashMap<Option<StackId>, WindowCost> = HashMap::new();
    let stratum = |labels: &Labels| view.strata.as_ref()?.part(labels.tid, 0.0);
    let strata: Vec<Option<InStratum>> = view.profile.labels.iter().map(stratum).collect();
    for sample in &view.profile.samples {
        let cost = costs.entry(sample.stack).or_insert_with(|| blank.clone());
        let weight = sample.values[view.column] as f64;
        cost.weight += weight;
        if let Some(count) = counted.map(|c| sample.values[c]).filter(|c| *c > 0) {
            cost.samples = cost.samples.map(|s| s + count as u64);
            cost.squares = cost.squares.map(|s| s + weight * weight / count as f64);
        }
        if let Some(part) = &strata[sample.labels.index()] {
            cost.add_to_stratum(&InStratum { weight, ..part.clone() });
        }
        if let (Some(batches), Some(batch)) = (&mut cost.batches, clock.at(sample.at)) {
            batches[batch].0 += weight;
        }
    }
    costs
}
