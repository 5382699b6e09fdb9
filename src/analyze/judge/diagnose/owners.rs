//! What each owner of a level's CPU costs a query. Invariant: each sample counts for one owner, so
//! owners' costs sum to the total.

use crate::analyze::cost::accounted::{Accounted, Strata, accounted_companion};
use crate::analyze::cost::hot::By;
use crate::analyze::cost::owners::{Rules, owners as owners_of, replaced};
use crate::analyze::cost::tally::tally;
use crate::analyze::cost::view::{Source, ViewOptions, WindowView, window_view};
use crate::analyze::statistics::interval::{Estimate, WindowCost, estimate};
use crate::analyze::time::{WaitKinds, Waiting};
use crate::preset::{Preset, WaitKind};
use crate::profile::{ColumnKind, Folding, FrameId, Profile, Sample, Space, frame_matches};
use crate::run::{Manifest, Window, WindowId};
use parking_lot::Mutex;
use regex::Regex;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// By what functions are named, and the profiles that were named by it: each is asked for by several causes, and the
/// lowest level's by each level.
pub struct Naming {
    pub rules: Rules,
    folding: Folding,
    known: Mutex<BTreeMap<Key, Arc<Prepared>>>,
}

/// Window, companion (`None`: the target), and whether its functions are named as waits are.
type Key = (WindowId, Option<String>, bool);

/// A window's profile without runtime frames, the owners of its nodes, and its column of CPU.
struct Prepared {
    /// `None`: it is the stored one as it is.
    folded: Option<Profile>,
    owners: Vec<Option<FrameId>>,
    /// As in [`WindowView::strata`].
    strata: Option<Strata>,
    column: usize,
    queries: f64,
}

impl Naming {
    pub fn of(preset: &Preset, manifest: &Manifest) -> Self {
        let folding = preset.folding();
        Naming { rules: Rules::of(preset, manifest), folding, known: Mutex::default() }
    }

    /// The target's profile of a window, or a companion's; `None`: there is none.
    fn prepared(&self, window: &Window, companion: Option<&str>, as_waits: bool) -> Option<Arc<Prepared>> {
        let key = (window.id(), companion.map(String::from), as_waits);
        if let Some(known) = self.known.lock().get(&key) {
            return Some(known.clone());
        }
        let options = ViewOptions { folding: self.folding.clone(), ..ViewOptions::default() };
        let view = match companion {
            None => window_view(window, &options)?,
            Some(process) => of_companion(window, process)?,
        };
        let owners = owners_of(&view.profile, &self.rules.ownerships(&view.profile, as_waits), &self.rules, as_waits);
        let (column, queries, strata) = (view.column, view.queries, view.strata);
        let folded = match view.profile {
            Cow::Owned(profile) => Some(profile),
            Cow::Borrowed(_) => None,
        };
        let prepared = Arc::new(Prepared { folded, owners, strata, column, queries });
        self.known.lock().insert(key, prepared.clone());
        Some(prepared)
    }
}

/// ns a query of one function with what it calls: of CPU, or blocked ([`super::blocked`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    pub name: String,
    /// A function of a program or library; else the kernel's, or a marker, where a stack has none.
    pub user: bool,
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
    /// By the wait that a sample's stack is spent on.
    Waits(&'a ByWait<'a>),
}

/// Samples by the waits that they are spent on.
pub struct ByWait<'a> {
    /// How waits are told.
    pub kinds: &'a WaitKinds,
    /// Whether a sample with such a stack, of a thread of this number, counts.
    pub counts: &'a dyn Fn(Waiting, u32) -> bool,
    /// They are named as waits are, by the function that waits whatever it waits with.
    pub named_as_waits: bool,
}

/// Owners of a level's CPU, those with the most first; empty where a window has no profile of that.
pub fn owners(naming: &Naming, windows: &[&Window], within: Within) -> Vec<Owner> {
    of_windows(naming, windows, None, within)
}

/// Owners of the CPU of a companion, likewise.
pub fn beside(naming: &Naming, windows: &[&Window], process: &str) -> Vec<Owner> {
    of_windows(naming, windows, Some(process), Within::Everything)
}

fn of_companion<'w>(window: &'w Window, process: &str) -> Option<WindowView<'w>> {
    let own = window.companions.iter().find(|companion| companion.process == process)?;
    let (profile, strata) = match accounted_companion(window, own) {
        Some(Accounted { profile, strata }) => (Cow::Owned(profile), Some(strata)),
        None => (Cow::Borrowed(own.profile.as_ref()?), None),
    };
    let column = profile.column(&ColumnKind::Cpu)?;
    // Its samples come from the same seconds as the target's.
    let queries = window.queries_under_profile();
    let (source, outside) = (Source::OnCpu, None);
    Some(WindowView { window, source, profile, strata, column, queries, outside, folded: None })
}

fn of_windows(naming: &Naming, windows: &[&Window], companion: Option<&str>, within: Within) -> Vec<Owner> {
    let as_waits = matches!(within, Within::Waits(by) if by.named_as_waits);
    let prepared = |window: &&Window| naming.prepared(window, companion, as_waits);
    let Some(all) = windows.iter().map(prepared).collect::<Option<Vec<_>>>() else { return Vec::new() };
    let each = windows.iter().copied().zip(all.iter().map(Arc::as_ref));
    let found: Option<Vec<(&Window, &Prepared, &Profile)>> =
        each.map(|(window, of)| Some((window, of, profile_of(of, window, companion)?))).collect();
    let nanos = |of: &Prepared, profile: &Profile| profile.columns[of.column].unit == "nanoseconds" && of.queries > 0.0;
    let Some(found) = found.filter(|found| found.iter().all(|(_, of, profile)| nanos(of, profile))) else {
        return Vec::new();
    };
    let mut costs: BTreeMap<(String, bool), Vec<Option<WindowCost>>> = BTreeMap::new();
    let mut blanks = Vec::new();
    for (at, (window, of, profile)) in found.into_iter().enumerate() {
        let (profile, source, outside) = (Cow::Owned(owned(profile, &of.owners, within)), Source::OnCpu, None);
        let (column, queries) = (of.column, of.queries);
        let strata = of.strata.clone();
        let owned = WindowView { window, source, profile, strata, column, queries, outside, folded: None };
        let tally = tally(&owned, By::SelfCost, None);
        for (frame, cost) in tally.frames {
            costs.entry((frame.name, frame.space == Space::User)).or_insert_with(|| vec![None; all.len()])[at] =
                Some(cost);
        }
        blanks.push(tally.blank);
    }
    let of = |((name, user), costs): ((String, bool), Vec<Option<WindowCost>>)| {
        let filled: Vec<WindowCost> =
            costs.into_iter().zip(&blanks).map(|(cost, blank)| cost.unwrap_or_else(|| blank.clone())).collect();
        Some(Owner { name, user, cost: estimate(&filled)? })
    };
    let mut owners: Vec<Owner> = costs.into_iter().filter_map(of).collect();
    owners.sort_by(|a, b| b.cost.value.total_cmp(&a.cost.value).then_with(|| a.name.cmp(&b.name)));
    owners
}

/// The profile that was prepared.
fn profile_of<'p>(of: &'p Prepared, window: &'p Window, companion: Option<&str>) -> Option<&'p Profile> {
    match (&of.folded, companion) {
        (Some(folded), _) => Some(folded),
        (None, None) => window.profile.as_ref(),
        (None, Some(process)) => window.companions.iter().find(|own| own.process == process)?.profile.as_ref(),
    }
}

/// The profile of owners, of the samples that count.
fn owned(profile: &Profile, owners: &[Option<FrameId>], within: Within) -> Profile {
    let wanted: Vec<bool> = match within {
        Within::Frames(patterns) => profile.frames.iter().map(|f| frame_matches(f, patterns)).collect(),
        _ => Vec::new(),
    };
    let waits = match within {
        Within::Waits(by) => by.kinds.of_cpu(profile),
        _ => Vec::new(),
    };
    let no_stack = Waiting { kind: WaitKind::Other, entry: None };
    let tid = |sample: &Sample| profile.labels[sample.labels.index()].tid;
    replaced(profile, owners, |sample: &Sample| match within {
        Within::Everything => true,
        Within::Threads(tids) => tids.contains(&tid(sample)),
        Within::Frames(_) => profile.walk(sample.stack).any(|f| wanted[f.index()]),
        Within::Waits(by) => (by.counts)(sample.stack.map_or(no_stack, |at| waits[at.index()]), tid(sample)),
    })
}
