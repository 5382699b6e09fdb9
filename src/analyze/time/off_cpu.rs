//! What threads wait for, per query and by stack: on CPU, runnable, blocked. Invariant: every blocked nanosecond is
//! of exactly one kind; waits are shown next to the places and never added to them, since idle threads wait too.

use super::{WaitKinds, Waiting};
use crate::analyze::Identity;
use crate::analyze::cost::view::{Source, ViewOptions, WindowView, window_view};
use crate::profile::{ColumnKind, Frame, Profile, Space, frame_matches};
use crate::run::{Run, Window};
use regex::Regex;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

pub use crate::preset::WaitKind as Kind;

/// Waits under some frames at one level; ns a query, all threads together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Waits {
    /// CPU; `None`: no samples on CPU.
    pub on_cpu: Option<f64>,
    /// Woken or preempted, and waiting for a CPU.
    pub runnable: f64,
    /// Blocked for [`Kind::Lock`], [`Kind::LightweightLock`] or [`Kind::RowLock`].
    pub lock: f64,
    /// Blocked for [`Kind::Flush`].
    pub flush: f64,
    /// Blocked for [`Kind::Disk`].
    pub disk: f64,
    /// Blocked for [`Kind::Sleep`].
    pub sleep: f64,
    /// Blocked for [`Kind::Client`].
    pub client: f64,
    /// Blocked for [`Kind::Work`].
    pub work: f64,
    /// Blocked for [`Kind::Other`].
    pub other: f64,
    /// Waits that ended, a query.
    pub switches: f64,
}

impl Waits {
    /// Blocked for whatever reason.
    pub fn blocked(&self) -> f64 {
        self.lock + self.flush + self.disk + self.sleep + self.client + self.work + self.other
    }

    fn of(&mut self, kind: Kind) -> &mut f64 {
        match kind {
            Kind::Lock | Kind::LightweightLock | Kind::RowLock => &mut self.lock,
            Kind::Flush => &mut self.flush,
            Kind::Disk => &mut self.disk,
            Kind::Sleep => &mut self.sleep,
            Kind::Client => &mut self.client,
            Kind::Work => &mut self.work,
            Kind::Other => &mut self.other,
        }
    }
}

/// A stack at which threads were blocked, not idle; user frames, leaf first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockedStack {
    /// Why the threads were blocked.
    pub kind: Kind,
    /// What the preset calls it; the kind in words where no entry of it fits.
    pub name: String,
    /// User frames, leaf first.
    pub frames: Vec<Identity>,
    /// ns a query that threads were blocked there.
    pub blocked: f64,
    /// ns a query that they waited for a CPU afterwards.
    pub runnable: f64,
    /// Waits that ended, a query.
    pub switches: f64,
    /// Number of threads that were seen there.
    pub threads: usize,
}

/// Waits of a level whose stack has a frame that matches any of `within` (empty: all) and none that matches any of
/// `except`; `None` where waits were not followed at this level.
pub fn waits(run: &Run, level: usize, kinds: &WaitKinds, within: &[Regex], except: &[Regex]) -> Option<Waits> {
    Some(LevelWaits::of(run, level, kinds)?.under(within, except))
}

/// A level's waits, each told what it is for: to be looked at under one function after another.
pub struct LevelWaits<'a> {
    windows: Vec<&'a Window>,
    /// By node what is waited for, of each view.
    off_cpu: Vec<(WindowView<'a>, Vec<Waiting>)>,
    queries: f64,
}

impl<'a> LevelWaits<'a> {
    /// `None` where waits were not followed at this level.
    pub fn of(run: &'a Run, level: usize, kinds: &WaitKinds) -> Option<Self> {
        let windows = run.levels().remove(&level)?;
        let told = |view: WindowView<'a>| {
            let waiting = kinds.of_stacks(&view.profile);
            (view, waiting)
        };
        let off_cpu: Vec<_> = views(&windows, Source::Blocked).into_iter().map(told).collect();
        let queries: f64 = off_cpu.iter().map(|(view, _)| view.queries).sum();
        (queries > 0.0).then_some(LevelWaits { windows, off_cpu, queries })
    }

    /// Those whose stack has a frame that matches any of `within` (empty: all) and none that matches any of `except`.
    pub fn under(&self, within: &[Regex], except: &[Regex]) -> Waits {
        let mut found = Waits { on_cpu: on_cpu(&self.windows, within, except), ..Waits::default() };
        for (view, waiting) in &self.off_cpu {
            let Some(columns) = Columns::of(&view.profile) else { continue };
            let wanted = wanted(&view.profile, within, except);
            for sample in &view.profile.samples {
                let node = sample.stack.map(|stack| stack.index());
                if !node.map_or(within.is_empty(), |node| wanted[node]) {
                    continue;
                }
                let value = |column: usize| sample.values[column] as f64 / self.queries;
                *found.of(node.map_or(Kind::Work, |node| waiting[node].kind)) += value(columns.blocked);
                found.runnable += value(columns.runnable);
                found.switches += value(columns.switches);
            }
        }
        found
    }
}

/// What a thread waits for, by kind and entry of the preset, and its user frames, leaf first.
type Key = (Kind, Option<usize>, Vec<Identity>);
/// ns blocked, ns runnable and switches; the threads that waited there.
type Sums = ([i64; 3], BTreeSet<u32>);

/// The stacks at which threads were blocked longest at a level, idle ones left out; `within` as for [`waits`].
pub fn blocked_stacks(run: &Run, level: usize, kinds: &WaitKinds, within: &[Regex], top: usize) -> Vec<BlockedStack> {
    let windows = run.levels().remove(&level).unwrap_or_default();
    let off_cpu = views(&windows, Source::Blocked);
    let queries: f64 = off_cpu.iter().map(|view| view.queries).sum();
    let mut found: BTreeMap<Key, Sums> = BTreeMap::new();
    for view in &off_cpu {
        let (profile, Some(columns)) = (&view.profile, Columns::of(&view.profile)) else { continue };
        let (wanted, waiting) = (wanted(profile, within, &[]), kinds.of_stacks(profile));
        for sample in &profile.samples {
            let Some(node) = sample.stack.map(|stack| stack.index()).filter(|node| wanted[*node]) else { continue };
            let found_there = waiting[node];
            if found_there.kind.idle() || sample.values[columns.blocked] == 0 {
                continue;
            }
            let frames = profile.walk(sample.stack).map(|frame| &profile.frames[frame.index()]);
            let frames = frames.filter(|frame| frame.space == Space::User).map(Identity::of).collect();
            let (sums, threads) = found.entry((found_there.kind, found_there.entry, frames)).or_default();
            for (sum, column) in sums.iter_mut().zip([columns.blocked, columns.runnable, columns.switches]) {
                *sum += sample.values[column];
            }
            threads.insert(profile.labels[sample.labels.index()].tid);
        }
    }
    let stack = |((kind, entry, frames), (sums, threads)): (Key, Sums)| {
        let [blocked, runnable, switches] = sums.map(|sum| sum as f64 / queries);
        let name = entry.map_or_else(|| "other".into(), |entry| kinds.name(entry).to_string());
        BlockedStack { kind, name, frames, blocked, runnable, switches, threads: threads.len() }
    };
    let mut stacks: Vec<BlockedStack> = found.into_iter().map(stack).collect();
    stacks.sort_by(|a, b| b.blocked.total_cmp(&a.blocked));
    stacks.truncate(top);
    stacks
}

/// CPU a query under the same frames.
fn on_cpu(windows: &[&Window], within: &[Regex], except: &[Regex]) -> Option<f64> {
    let views = views(windows, Source::OnCpu);
    let queries: f64 = views.iter().map(|view| view.queries).sum();
    let mut sum = 0;
    for view in &views {
        let cpu = view.profile.column(&ColumnKind::Cpu)?;
        let wanted = wanted(&view.profile, within, except);
        let inside = |sample: &&crate::profile::Sample| match sample.stack {
            Some(stack) => wanted[stack.index()],
            None => within.is_empty(),
        };
        sum += view.profile.samples.iter().filter(inside).map(|sample| sample.values[cpu]).sum::<i64>();
    }
    (queries > 0.0).then(|| sum as f64 / queries)
}

fn views<'w>(windows: &[&'w Window], source: Source) -> Vec<WindowView<'w>> {
    let options = ViewOptions { source, ..ViewOptions::default() };
    windows.iter().filter_map(|window| window_view(window, &options)).collect()
}

struct Columns {
    switches: usize,
    blocked: usize,
    runnable: usize,
}

impl Columns {
    fn of(profile: &Profile) -> Option<Self> {
        let column = |kind| profile.column(&kind);
        Some(Columns {
            switches: column(ColumnKind::Switches)?,
            blocked: column(ColumnKind::Blocked)?,
            runnable: column(ColumnKind::Runnable)?,
        })
    }
}

/// Of each node whether its stack is asked for. A parent comes before its children.
fn wanted(profile: &Profile, within: &[Regex], except: &[Regex]) -> Vec<bool> {
    let any = |patterns: &[Regex]| along(profile, |frame| frame_matches(frame, patterns), |parent, own| parent || own);
    let (inside, excepted) = (any(within), any(except));
    inside.iter().zip(excepted).map(|(inside, excepted)| (within.is_empty() || *inside) && !excepted).collect()
}

/// Something of each frame, joined along each node's stack.
fn along<T: Copy>(profile: &Profile, of: impl Fn(&Frame) -> T, join: impl Fn(T, T) -> T) -> Vec<T> {
    let frames: Vec<T> = profile.frames.iter().map(of).collect();
    let mut found: Vec<T> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let own = frames[node.frame.index()];
        found.push(node.parent.map_or(own, |parent| join(found[parent.index()], own)));
    }
    found
}
