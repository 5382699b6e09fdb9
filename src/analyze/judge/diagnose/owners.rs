//! What each owner of a level's CPU, or of its waits, costs a query. Invariant: each sample counts for one owner, so
//! owners' costs sum to the total.

use crate::analyze::cost::hot::By;
use crate::analyze::cost::owners::{Ownership, Rules, TRANSPORT, owners as owners_of};
use crate::analyze::cost::tally::tally;
use crate::analyze::cost::view::{Source, ViewOptions, WindowView, window_view};
use crate::analyze::statistics::interval::{Estimate, WindowCost, estimate};
use crate::analyze::time::off_cpu::{Kind, kinds_of_stacks};
use crate::preset::Preset;
use crate::profile::{Builder, Frame, Profile, Sample, frame_matches, marker};
use crate::run::Window;
use regex::Regex;
use std::borrow::Cow;
use std::collections::BTreeMap;

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
    let runtime_frames = preset.runtime.iter().map(|p| p.0.clone()).collect();
    let source = if matches!(within, Within::Waiting(..)) { Source::Blocked } else { Source::OnCpu };
    let options = ViewOptions { source, runtime_frames, ..ViewOptions::default() };
    let rules = Rules::of(preset);
    let views: Option<Vec<WindowView>> = windows.iter().map(|w| window_view(w, &options)).collect();
    let nanos = |view: &WindowView| view.profile.columns[view.column].unit == "nanoseconds";
    let Some(views) = views.filter(|views| views.iter().all(nanos)) else { return Vec::new() };
    let mut costs: BTreeMap<String, Vec<Option<WindowCost>>> = BTreeMap::new();
    let mut blanks = Vec::new();
    for (at, view) in views.iter().enumerate() {
        let owned = WindowView { profile: Cow::Owned(owned(&view.profile, &rules, within)), ..view.clone() };
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

/// The profile with each stack replaced by its owner.
fn owned(profile: &Profile, rules: &Rules, within: Within) -> Profile {
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
    let ownerships: Vec<Ownership> =
        profile.frames.iter().map(|frame| rules.ownership(&frame.name, frame.space)).collect();
    let owners = owners_of(profile, &ownerships);
    let mut builder = Builder::new(profile.columns.clone());
    for sample in profile.samples.iter().filter(|sample| counts(sample)) {
        let stack = sample.stack.map(|stack| {
            let owner =
                owners[stack.index()].map(|f| Frame { file: String::new(), ..profile.frames[f.index()].clone() });
            let frame = builder.frame(owner.unwrap_or_else(|| marker(TRANSPORT)));
            builder.push(None, frame)
        });
        let labels = builder.labels(profile.labels[sample.labels.index()].clone());
        builder.sample(stack, labels, sample.at, sample.values.clone());
    }
    builder.finish()
}
