//! What threads that handle queries wait for, by the stacks of their waits. Invariant: a thread counts only if it was
//! seen to carry messages or to wait for work between its tasks, and what it waits for while it has a query in its
//! hands cannot be longer than queries are there.
//!
//! A server has other threads that sleep, flush and lock (a checkpointer, a watchdog). Their waits are no query's, and
//! they are told by never touching a socket; the rest by their number: what is part of handling queries happens about
//! as often as queries do.

use super::facts::Facts;
use super::owners::Owner;
use crate::analyze::cost::owners::{Rules, TRANSPORT, owners as owners_of};
use crate::analyze::cost::view::{Source, ViewOptions, WindowView, window_view};
use crate::analyze::statistics::interval::Estimate;
use crate::analyze::time::hands::BlockedFor;
use crate::analyze::time::{WaitKinds, Waiting};
use crate::preset::{Preset, WaitKind};
use crate::profile::{ColumnKind, FrameId, Labels, Profile, Space, frame_matches};
use crate::run::{Run, Window};
use crate::target::Role;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// Threads that carry no messages count where each query makes one of them wait at least so often.
const OFTEN: f64 = 0.5;
/// Of the busiest thread's time, for a thread to count as one of those that share the work.
const SHARES_WORK: f64 = 0.1;
/// A lock or a sleep that takes longer than queries are in the server's hands is no part of handling them; so much
/// longer, for the two are measured by different instruments.
const TOLERANCE: f64 = 1.1;

/// The waits of all windows of a run that were followed.
pub struct OffCpuWaits<'a> {
    kinds: WaitKinds,
    windows: Vec<WindowWaits<'a>>,
    /// Threads that were seen to carry messages.
    carrying: BTreeSet<u32>,
    /// Threads that were seen to wait for work.
    working: BTreeSet<u32>,
}

struct WindowWaits<'a> {
    view: WindowView<'a>,
    columns: [usize; 3],
    /// By node.
    waiting: Vec<Waiting>,
    owners: Vec<Option<FrameId>>,
}

/// What threads that handle queries were blocked for at one level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocked {
    /// By entry of the preset's kinds of waits.
    pub by_entry: BTreeMap<usize, Waited>,
    /// The threads.
    pub tids: BTreeSet<u32>,
    /// How many of them share the work.
    pub threads: f64,
    /// ns a query that they were on a CPU, or blocked and not idle.
    pub held: f64,
    /// ns a query that they waited for a CPU.
    pub runnable: f64,
}

/// What they were blocked for by one entry of the preset's kinds of waits, a query.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waited {
    /// ns blocked.
    pub blocked: f64,
    /// ns that they waited for a CPU there: after it, or pushed off theirs.
    pub runnable: f64,
    /// Number of waits.
    pub waits: f64,
}

impl<'a> OffCpuWaits<'a> {
    /// The waits of this run, told apart by the preset's kinds.
    pub fn of(run: &'a Run, preset: &Preset, rules: &Rules) -> Self {
        let kinds = WaitKinds::of(preset);
        let options = ViewOptions { source: Source::Blocked, ..ViewOptions::default() };
        let views = run.windows.iter().filter_map(|window| window_view(window, &options));
        let windows: Vec<_> = views.filter_map(|view| WindowWaits::of(view, &kinds, rules)).collect();
        let transport: Vec<Regex> = preset.diagnosis.transport.iter().map(|p| p.0.clone()).collect();
        let mut found = OffCpuWaits { kinds, windows, carrying: BTreeSet::new(), working: BTreeSet::new() };
        for profile in run.windows.iter().filter_map(|window| window.profile.as_ref()) {
            found.carrying.extend(carriers(profile, &transport));
        }
        for window in &found.windows {
            found.carrying.extend(carriers(&window.view.profile, &transport));
            found.carrying.extend(window.tids(WaitKind::Client));
            found.working.extend(window.tids(WaitKind::Work));
        }
        found
    }

    /// How they are told.
    pub(super) fn kinds(&self) -> &WaitKinds {
        &self.kinds
    }

    /// What the preset calls a wait that this entry tells.
    pub fn name(&self, entry: usize) -> &str {
        self.kinds.name(entry)
    }

    /// The kind of the waits that this entry tells.
    pub fn kind(&self, entry: usize) -> WaitKind {
        self.kinds.kind(entry)
    }

    /// What those that handle queries were blocked for in these windows; `None` where their waits were not followed.
    pub fn blocked(&self, windows: &[&Window]) -> Option<Blocked> {
        let here = self.at(windows);
        let queries: f64 = here.iter().map(|window| window.view.queries).sum();
        (queries > 0.0).then_some(())?;
        let mut blocked = Blocked { tids: self.handling(&here, queries), ..Blocked::default() };
        let mut busy: BTreeMap<u32, f64> = BTreeMap::new();
        for window in &here {
            for (waiting, labels, values) in window.waits() {
                let Some(entry) = waiting.entry.filter(|_| blocked.tids.contains(&labels.tid)) else { continue };
                let sum = blocked.by_entry.entry(entry).or_default();
                sum.waits += values[0] / queries;
                sum.blocked += values[1] / queries;
                sum.runnable += values[2] / queries;
                if !waiting.kind.idle() {
                    *busy.entry(labels.tid).or_default() += values[1];
                }
            }
        }
        let scheduled = here.iter().filter_map(|window| window.view.window.scheduler.as_ref());
        for thread in scheduled.flat_map(|scheduler| &scheduler.threads).filter(|t| t.role == Role::Target) {
            if blocked.tids.contains(&thread.tid) {
                *busy.entry(thread.tid).or_default() += thread.cpu as f64;
                blocked.runnable += thread.runnable as f64 / queries;
            }
        }
        let most = busy.values().copied().fold(0.0, f64::max);
        blocked.threads = busy.values().filter(|nanos| **nanos >= SHARES_WORK * most).count() as f64;
        blocked.held = busy.values().sum::<f64>() / queries;
        Some(blocked)
    }

    /// Owners of what threads were blocked for, as far as it `counts`; those with the most first.
    pub fn owners(&self, windows: &[&Window], counts: impl Fn(Waiting, &Labels) -> bool) -> Vec<Owner> {
        let here = self.at(windows);
        let queries: f64 = here.iter().map(|window| window.view.queries).sum();
        let mut nanos: BTreeMap<(&str, bool), f64> = BTreeMap::new();
        for window in &here {
            let profile = &window.view.profile;
            for sample in &profile.samples {
                let Some(node) = sample.stack.map(|stack| stack.index()) else { continue };
                if counts(window.waiting[node], &profile.labels[sample.labels.index()]) {
                    let owner = window.owners[node].map(|frame| &profile.frames[frame.index()]);
                    let name = owner.map_or(TRANSPORT, |frame| &frame.name);
                    let user = owner.is_some_and(|frame| frame.space == Space::User);
                    *nanos.entry((name, user)).or_default() += sample.values[window.columns[1]] as f64;
                }
            }
        }
        let found = nanos.into_iter().filter(|(_, nanos)| *nanos > 0.0 && queries > 0.0);
        let owner = |((name, user), nanos): ((&str, bool), f64)| Owner {
            name: name.to_string(),
            user,
            cost: Estimate { value: nanos / queries, samples: None, interval: None },
        };
        let mut owners: Vec<Owner> = found.map(owner).collect();
        owners.sort_by(|a, b| b.cost.value.total_cmp(&a.cost.value));
        owners
    }

    fn at(&self, windows: &[&Window]) -> Vec<&WindowWaits<'a>> {
        let among = |found: &&WindowWaits| windows.iter().any(|window| window.id() == found.view.window.id());
        self.windows.iter().filter(among).collect()
    }

    /// The threads that handle queries.
    fn handling(&self, windows: &[&WindowWaits], queries: f64) -> BTreeSet<u32> {
        let mut others: BTreeMap<(&str, String), (f64, BTreeSet<u32>)> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for window in windows {
            for (_, labels, values) in window.waits() {
                if self.carrying.contains(&labels.tid) {
                    found.insert(labels.tid);
                } else if self.working.contains(&labels.tid) {
                    let name = labels.thread.trim_end_matches(|c: char| c.is_ascii_digit()).to_string();
                    let (waits, tids) = others.entry((&labels.process, name)).or_default();
                    *waits += values[0];
                    tids.insert(labels.tid);
                }
            }
        }
        // Where nobody was seen to carry messages, those that wait for work are all there is to go by.
        let often = |waits: f64| found.is_empty() || waits >= OFTEN * queries;
        let more: Vec<u32> =
            others.into_values().filter(|(waits, _)| often(*waits)).flat_map(|(_, tids)| tids).collect();
        found.extend(more);
        found
    }
}

impl<'a> WindowWaits<'a> {
    fn of(view: WindowView<'a>, kinds: &WaitKinds, rules: &Rules) -> Option<Self> {
        let profile = &view.profile;
        let columns = [ColumnKind::Switches, ColumnKind::Blocked, ColumnKind::Runnable];
        let [switches, blocked, runnable] = columns.map(|kind| profile.column(&kind));
        let ownerships = rules.ownerships(profile, true);
        let (waiting, owners) = (kinds.of_stacks(profile), owners_of(profile, &ownerships, rules, true));
        Some(WindowWaits { columns: [switches?, blocked?, runnable?], waiting, owners, view })
    }

    /// Each sample's wait, whose it is, and its waits, ns blocked and ns runnable.
    fn waits(&self) -> impl Iterator<Item = (Waiting, &Labels, [f64; 3])> {
        let profile = &self.view.profile;
        profile.samples.iter().filter_map(|sample| {
            let waiting = self.waiting[sample.stack?.index()];
            let values = self.columns.map(|column| sample.values[column] as f64);
            Some((waiting, &profile.labels[sample.labels.index()], values))
        })
    }

    /// Threads that were seen to wait for this.
    fn tids(&self, kind: WaitKind) -> Vec<u32> {
        let found = self
            .waits()
            .filter(|(waiting, _, values)| waiting.kind == kind && waiting.entry.is_some() && values[1] > 0.0);
        found.map(|(_, labels, _)| labels.tid).collect()
    }
}

/// Entry, ns a query and times a query of the kinds that are wanted; those with the most first.
fn by_entry(blocked: &[BlockedFor], wanted: impl Fn(usize) -> bool) -> Vec<(usize, f64, f64)> {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for one in blocked.iter().filter(|one| wanted(one.entry)) {
        let (nanos, times) = sums.entry(one.entry).or_default();
        *nanos += one.nanos;
        *times += one.times;
    }
    let mut found: Vec<_> = sums.into_iter().map(|(entry, (nanos, times))| (entry, nanos, times)).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found
}

/// Threads with a stack in which the kernel carries a message.
fn carriers(profile: &Profile, transport: &[Regex]) -> BTreeSet<u32> {
    let carries: Vec<bool> =
        profile.frames.iter().map(|frame| frame.space == Space::Kernel && frame_matches(frame, transport)).collect();
    let mut paths: Vec<bool> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        // A parent comes before its children.
        paths.push(carries[node.frame.index()] || node.parent.is_some_and(|parent| paths[parent.index()]));
    }
    let carrying = profile.samples.iter().filter(|sample| sample.stack.is_some_and(|stack| paths[stack.index()]));
    carrying.map(|sample| profile.labels[sample.labels.index()].tid).collect()
}

/// What queries wait for at a level, by kind and by entry of the preset.
impl Facts<'_> {
    /// ns a query that threads that handle queries were blocked at waits of this kind: never more than queries are in
    /// the server's hands. `None`: not measured, or no part of handling queries.
    pub(super) fn waited(&self, waits: &OffCpuWaits, kind: WaitKind) -> Option<f64> {
        let sum = self.blocked_at(waits, kind);
        (sum > 0.0 && !self.is_idle_too(waits, kind)).then_some(sum.min(self.in_hands()))
    }

    /// Whether waits of this kind are also those of idle threads: they last longer than queries are in the server's
    /// hands.
    pub(super) fn is_idle_too(&self, waits: &OffCpuWaits, kind: WaitKind) -> bool {
        // These two are what idle threads may do.
        matches!(kind, WaitKind::Lock | WaitKind::Sleep) && self.blocked_at(waits, kind) > TOLERANCE * self.in_hands()
    }

    fn blocked_at(&self, waits: &OffCpuWaits, kind: WaitKind) -> f64 {
        self.entries(waits, kind).iter().map(|(_, waited)| waited.blocked).sum()
    }

    /// Entries as the carriers tell them; how long threads were ready there is told by their switches alone.
    fn with_runnable(&self, found: Vec<(usize, f64, f64)>) -> Vec<(usize, Waited)> {
        let known = self.blocked.as_ref().map(|blocked| &blocked.by_entry);
        let with = |(entry, blocked, waits): (usize, f64, f64)| {
            let runnable = known.and_then(|known| known.get(&entry)).map_or(0.0, |waited| waited.runnable);
            (entry, Waited { blocked, runnable, waits })
        };
        found.into_iter().map(with).collect()
    }

    /// The entries of a kind, those with the most blocked time first.
    pub(super) fn entries(&self, waits: &OffCpuWaits, kind: WaitKind) -> Vec<(usize, Waited)> {
        if let Some(blocked) = self.blocked_in_hand() {
            return self.with_runnable(by_entry(&blocked, |entry| waits.kind(entry) == kind));
        }
        let all = self.blocked.iter().flat_map(|blocked| &blocked.by_entry);
        let of = all.filter(|(entry, _)| waits.kind(**entry) == kind);
        let mut found: Vec<_> = of.map(|(entry, waited)| (*entry, *waited)).collect();
        found.sort_by(|a, b| b.1.blocked.total_cmp(&a.1.blocked));
        found
    }

    /// ns a query that it is in the server's hands; the latency where the sockets were not followed at both ends.
    pub(super) fn in_hands(&self) -> f64 {
        let of = |places: &crate::analyze::time::places::LevelPlaces| {
            Some(places.places[crate::wire::Place::Server.index()].mean? * places.round_trips)
        };
        self.places.as_ref().and_then(of).map_or(self.latency, |nanos| nanos.min(self.latency))
    }
}
