//! Views: a window's or a level's profile with folding and focus applied, with the queries it is divided by.
//! Invariant: a profile and its divisor come from the same windows.

use super::accounted::{Accounted, Strata, accounted};
use super::carried::{in_hand, named_share, waits};
use super::carrier_names::Naming;
use crate::profile::{
    Away, Callers, ColumnKind, Focus, Folding, Labels, Profile, fold_runtime, group_kernel, merge, split,
};
use crate::run::{Part, Run, Window};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Which of a window's profiles, by what it weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Samples taken on CPU.
    #[default]
    OnCpu,
    /// Time from leaving the CPU to the wake-up.
    Blocked,
    /// Time from there, or from being preempted, to getting a CPU.
    Runnable,
    /// Time that the carriers of queries waited, of the seconds in which they were followed.
    Waits,
    /// All of the time in the server's hands, of the same seconds: waits by stack, and the carriers' other states.
    InHand,
}

impl Source {
    /// Of the seconds of their own in which carriers are followed.
    pub fn is_of_hands(self) -> bool {
        matches!(self, Source::Waits | Source::InHand)
    }
}

/// What costs are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// The queries completed while the profile was taken.
    #[default]
    Query,
    /// A hundredth of the profile's weight: costs are shares of it in percent.
    Hundredth,
}

impl Per {
    /// Shares where no window of the run has its queries counted; a window that is the exception is left out instead.
    pub fn of(run: &Run) -> Per {
        if run.windows.iter().any(Window::counted) { Per::Query } else { Per::Hundredth }
    }
}

/// What the samples of CPU weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// They divide the CPU that the kernel accounts to their threads, where it does
    /// (`docs/decisions/accounted-cpu.md`).
    #[default]
    Accounted,
    /// As they were taken.
    Sampled,
}

/// How to look at a profile.
#[derive(Clone, Debug)]
pub struct ViewOptions {
    /// Which profile: samples on CPU, or waits.
    pub source: Source,
    /// What the samples of CPU weigh.
    pub weights: Weights,
    /// What costs are divided by.
    pub per: Per,
    /// Only what runs under these functions; `None`: everything.
    pub focus: Option<Focus>,
    /// What becomes of the frames above the focus; without effect where there is none.
    pub callers: Callers,
    /// Frames to fold into their callers.
    pub folding: Folding,
    /// The kernel's frames as one, by what the kernel was entered for.
    pub kernel_grouped: bool,
    /// Kind of the column to show; `None`: that of the waits; of samples `cpu`, else `cycles`, else the first that is
    /// not a count, else `samples`.
    pub column: Option<ColumnKind>,
    /// What names the carriers; without it there is no view of [`Source::InHand`].
    pub naming: Option<Naming>,
}

impl Default for ViewOptions {
    fn default() -> Self {
        ViewOptions {
            source: Source::OnCpu,
            weights: Weights::Accounted,
            per: Per::Query,
            focus: None,
            callers: Callers::Cut,
            folding: Folding::default(),
            kernel_grouped: false,
            column: None,
            naming: None,
        }
    }
}

/// One window's profile as wished, with its divisor.
#[derive(Clone, Debug)]
pub struct WindowView<'a> {
    /// The window that it is a view of.
    pub window: &'a Window,
    /// Which of its profiles.
    pub source: Source,
    /// That profile with focus and folding applied.
    pub profile: Cow<'a, Profile>,
    /// Within what the samples are divided; `None`: they have the weights that they were taken with.
    pub strata: Option<Strata>,
    /// Index of the column that holds the cost, among the profile's columns.
    pub column: usize,
    /// Queries completed while the profile was taken; for shares a hundredth of the column's total.
    pub queries: f64,
    /// Weight outside the focus, in the column's unit; `None` without a focus.
    pub outside: Option<i64>,
    /// What was folded; `None`: nothing was to be.
    pub folded: Option<Away>,
}

/// What was folded of several windows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FoldedFrames {
    /// How many functions.
    pub functions: usize,
    /// Share of the cost that was their own, 0..1: it counts for their callers.
    pub own: f64,
}

/// How a level's samples came to be, over all its windows with a profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Provenance {
    /// What made samples happen (`cycles`, `cpu-clock`); for waits `context switches`.
    pub events: BTreeSet<String>,
    /// How user stacks were unwound, as the sampler names it.
    pub unwinders: BTreeSet<String>,
    /// Number of samples; `None`: the source does not count them.
    pub samples: Option<u64>,
    /// Number of waits that ended; `None`: they are not counted.
    pub switches: Option<u64>,
    /// Number of samples, or waits, that found no room; `None`: not known.
    pub lost: Option<u64>,
    /// How often the kernel throttled the event; `None`: not known, as of waits.
    pub throttled: Option<u64>,
    /// Share of the weight whose stacks are complete, 0..1.
    pub complete: Option<f64>,
    /// Share of the CPU that is the kernel's account of its threads, which samples divide, 0..1; `None`: another
    /// source, or weights as sampled.
    pub accounted: Option<f64>,
    /// Share of the weight whose leaf has a name, 0..1.
    pub symbolized: Option<f64>,
    /// Share of the carriers' waits of which it is known who ended them, 0..1; `None`: another source.
    pub ended: Option<f64>,
}

/// All replicates of a level in one profile.
#[derive(Clone, Debug)]
pub struct LevelView {
    /// Number of clients.
    pub level: usize,
    /// Which of the windows' profiles.
    pub source: Source,
    /// What costs are divided by.
    pub per: Per,
    /// Number of windows in it: those that have a profile.
    pub windows: usize,
    /// The windows' profiles merged, with focus and folding applied.
    pub profile: Profile,
    /// Index of the column that holds the cost, among the profile's columns.
    pub column: usize,
    /// Sum of the windows' divisors, as in [`WindowView::queries`].
    pub queries: f64,
    /// Length of the windows together, in seconds.
    pub seconds: f64,
    /// Queries a second over the windows, by the load's own count.
    pub throughput: f64,
    /// Weight outside the focus, in the column's unit; `None` without a focus.
    pub outside: Option<i64>,
    /// What was folded; `None`: nothing was to be.
    pub folded: Option<FoldedFrames>,
    /// How the samples came to be.
    pub provenance: Provenance,
}

impl WindowView<'_> {
    /// Seconds of load, and the queries completed in them.
    fn load(&self) -> (f64, f64) {
        let load = &self.window.load;
        match self.window.hands.as_ref().filter(|_| self.source.is_of_hands()) {
            Some(hands) => (hands.facts.carried.span.seconds(), hands.facts.carried.answered as f64),
            None => (load.span.seconds(), load.completed as f64),
        }
    }
}

/// The window's view; `None` where it has no profile or the profile lacks the column.
pub fn window_view<'a>(window: &'a Window, options: &ViewOptions) -> Option<WindowView<'a>> {
    let hands = window.hands.as_ref();
    let answered = hands.map_or(0.0, |hands| hands.facts.carried.answered as f64);
    let mut strata = None;
    let (mut profile, queries) = match options.source {
        Source::OnCpu => {
            let by_account = (options.weights == Weights::Accounted).then(|| accounted(window)).flatten();
            let profile = match by_account {
                Some(Accounted { profile, strata: of }) => {
                    strata = Some(of);
                    Cow::Owned(profile)
                }
                None => Cow::Borrowed(window.profile.as_ref()?),
            };
            (profile, window.queries_under_profile())
        }
        Source::Waits => (Cow::Owned(waits(hands?)?), answered),
        Source::InHand => (Cow::Owned(in_hand(hands?, options.naming.as_ref()?)?), answered),
        Source::Blocked | Source::Runnable => {
            (Cow::Borrowed(window.off_cpu.as_ref()?.profile.as_ref()?), window.queries_under_off_cpu()?)
        }
    };
    let column = cost_column(&profile, options.source, options.column.as_ref())?;
    // Another column than that of CPU is a count, or cycles: they stay as sampled.
    let strata = strata.filter(|_| profile.columns[column].kind == ColumnKind::Cpu);
    let queries = match options.per {
        Per::Query => queries,
        Per::Hundredth => profile.total(column) as f64 / 100.0,
    };
    (queries > 0.0).then_some(())?;
    let mut outside = None;
    if let Some(focus) = &options.focus {
        let split = split(&profile, focus, options.callers);
        outside = Some(split.outside[column]);
        profile = Cow::Owned(split.view);
    }
    let mut away = None;
    if !options.folding.is_off() {
        let folded = fold_runtime(&profile, &options.folding);
        (profile, away) = (Cow::Owned(folded.profile), Some(folded.away));
    }
    if options.kernel_grouped {
        profile = Cow::Owned(group_kernel(&profile));
    }
    Some(WindowView { window, source: options.source, profile, strata, column, queries, outside, folded: away })
}

/// The level's windows as one profile; `None` where no window has one.
pub fn level_view(level: usize, windows: &[&Window], options: &ViewOptions) -> Option<LevelView> {
    let views: Vec<WindowView> = windows.iter().filter_map(|w| window_view(w, options)).collect();
    let profile = merge(&views.iter().map(|v| v.profile.as_ref()).collect::<Vec<_>>());
    let kind = views.first().map(|v| v.profile.columns[v.column].kind.clone())?;
    let seconds: f64 = views.iter().map(|v| v.load().0).sum();
    Some(LevelView {
        level,
        source: options.source,
        per: options.per,
        windows: views.len(),
        column: profile.column(&kind)?,
        queries: views.iter().map(|v| v.queries).sum(),
        seconds,
        throughput: views.iter().map(|v| v.load().1).sum::<f64>() / seconds,
        outside: views.iter().map(|v| v.outside).sum(),
        folded: folded(&views),
        provenance: provenance(&views),
        profile,
    })
}

/// What was folded of these views together; `None` where nothing was to be, or they have no weight.
pub fn folded(views: &[WindowView]) -> Option<FoldedFrames> {
    let away = || views.iter().filter_map(|view| view.folded.as_ref().zip(Some(view)));
    let own: i64 = away().map(|(away, view)| away.own[view.column]).sum();
    let total: i64 = away().map(|(_, view)| view.profile.total(view.column)).sum();
    let functions = Away::functions(away().map(|(away, _)| away));
    (total > 0).then(|| FoldedFrames { functions, own: own as f64 / total as f64 })
}

/// Where the samples of these views came from.
pub fn provenance(views: &[WindowView]) -> Provenance {
    let counted = |kind: &ColumnKind| views.iter().map(|view| counted(view, kind)).sum::<Option<u64>>();
    // Of no window at all there is no count.
    let samples = counted(&ColumnKind::Samples).filter(|_| !views.is_empty());
    let mut found = Provenance { samples, ..Provenance::default() };
    let (mut lost, mut throttled) = (Vec::new(), Vec::new());
    for view in views {
        if let Some(report) = &view.window.sampling {
            found.unwinders.insert(report.unwinder.clone());
        }
        let hands = view.window.hands.as_ref().map(|hands| &hands.facts.report);
        match (view.source, &view.window.sampling, &view.window.off_cpu) {
            (Source::OnCpu, Some(report), _) => {
                found.events.insert(report.event.clone());
                lost.push(Some(report.lost).filter(|_| view.window.facts.lacks(&Part::LostSamples).is_none()));
                throttled.push(lost[lost.len() - 1].map(|_| report.throttled));
            }
            (Source::Blocked | Source::Runnable, _, Some(off_cpu)) => {
                found.events.insert("context switches".into());
                found.switches = counted(&ColumnKind::Switches);
                lost.push(Some(off_cpu.report.lost_waits));
                throttled.push(None);
            }
            (Source::Waits | Source::InHand, ..) => {
                found.events.insert("switches and wakers".into());
                found.switches = counted(&ColumnKind::Switches);
                lost.push(hands.map(|report| report.lost));
                throttled.push(None);
            }
            _ => {
                lost.push(None);
                throttled.push(None);
            }
        }
    }
    let sum = |counts: Vec<Option<u64>>| counts.into_iter().sum::<Option<u64>>().filter(|_| !views.is_empty());
    (found.lost, found.throttled) = (sum(lost), sum(throttled));
    found.complete = weighted(views, complete_share);
    found.accounted = weighted(views, accounted_share).filter(|share| *share > 0.0);
    found.ended = weighted(views, |view| view.window.hands.as_ref().filter(|_| view.source.is_of_hands())?.facts.ended);
    found.symbolized = weighted(views, |view| match view.source {
        Source::OnCpu => view.window.sampling.as_ref()?.symbolized,
        Source::Waits | Source::InHand => named_share(view.window.hands.as_ref()?),
        Source::Blocked | Source::Runnable => view.window.off_cpu.as_ref()?.report.symbolized,
    });
    found
}

/// The column that holds the cost.
fn cost_column(profile: &Profile, source: Source, wanted: Option<&ColumnKind>) -> Option<usize> {
    match (wanted, source) {
        (Some(kind), _) => profile.column(kind),
        (None, Source::Blocked) => profile.column(&ColumnKind::Blocked),
        (None, Source::Runnable) => profile.column(&ColumnKind::Runnable),
        (None, Source::Waits) => profile.column(&ColumnKind::Waited),
        (None, Source::InHand) => profile.columns.len().checked_sub(1),
        (None, Source::OnCpu) => profile
            .column(&ColumnKind::Cpu)
            .or_else(|| profile.column(&ColumnKind::Cycles))
            .or_else(|| profile.columns.iter().position(|c| c.unit != "count"))
            .or_else(|| profile.column(&ColumnKind::Samples))
            // An imported profile of another count (`alloc_objects`) has that alone.
            .or_else(|| profile.columns.len().checked_sub(1)),
    }
}

/// Sum of a column that counts; `None` where the profile has none.
fn counted(view: &WindowView, kind: &ColumnKind) -> Option<u64> {
    let column = view.profile.column(kind)?;
    Some(view.profile.total(column) as u64)
}

/// Share of the weight on complete stacks: from the samples' labels, else from the sampler's report.
fn complete_share(view: &WindowView) -> Option<f64> {
    let (mut complete, mut known) = (0, 0);
    for sample in &view.profile.samples {
        if let Some(is) = view.profile.labels[sample.labels.index()].complete {
            known += sample.values[view.column];
            complete += if is { sample.values[view.column] } else { 0 };
        }
    }
    if known > 0 {
        return Some(complete as f64 / known as f64);
    }
    let report = view.window.sampling.as_ref().filter(|r| r.samples > 0 && !view.source.is_of_hands())?;
    Some(report.complete? as f64 / report.samples as f64)
}

/// Share of the weight that divides an account.
fn accounted_share(view: &WindowView) -> Option<f64> {
    let strata = view.strata.as_ref();
    let total = view.profile.total(view.column);
    let held = |labels: &Labels| strata.is_some_and(|strata| strata.part(labels.tid, 0.0).is_some());
    let known: Vec<bool> = view.profile.labels.iter().map(held).collect();
    let of = view.profile.samples.iter().filter(|sample| known[sample.labels.index()]);
    (total > 0).then(|| of.map(|sample| sample.values[view.column]).sum::<i64>() as f64 / total as f64)
}

/// Mean of a share over windows, by their weight; `None` where a window does not know it.
fn weighted(views: &[WindowView], share: impl Fn(&WindowView) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for view in views {
        let total = view.profile.total(view.column) as f64;
        sum += share(view)? * total;
        weight += total;
    }
    (weight > 0.0).then(|| sum / weight)
}
