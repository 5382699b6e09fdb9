//! Two runs compared: per level, figure and frame the value before and after, per query where it is a cost, with an
//! interval and a verdict. Pure. Invariant: replicates (windows) are what a verdict rests on, each family of rows
//! keeps the error level that is stated with it, and what cannot be judged says so.
//!
//! Families, each with its own cut, which is both the level of its intervals and the bound of its verdicts:
//! - throughput, mean latency, CPU a query and its ratio to the generator's, over all levels: one familywise error
//!   level;
//! - latency quantiles, places, demands and metrics: a false discovery rate, whatever their dependence;
//! - frames, by self cost: a false discovery rate over all frames and levels (`counts`, `frames`);
//! - functions of the program with what they call, by the owner of each sample: the same;
//! - in pictures the stacks through each node of the call tree: a false discovery rate whatever their dependence
//!   (`tree`).

#[cfg(test)]
pub(crate) mod constructed;
mod contrast;
mod counts;
pub(in crate::analyze) mod family;
mod figures;
mod frames;
mod rows;
mod stacks;
mod tree;
mod unlike;

pub use contrast::{Better, Contrast, Mean, Verdict};
pub use counts::{ASSUMED_DISPERSION, ASSUMED_SCATTER, Dispersion};
pub use figures::Subject;
pub use frames::{FrameRow, FrameTable, RARE};
pub use rows::{Basis, Row};
pub use tree::{Coloured, Ends, Subtree, TreeDifference, trees};
pub use unlike::Unlike;

use crate::analyze::cost::owners::Rules;
use crate::analyze::cost::view::{ViewOptions, window_view};
use crate::preset::Preset;
use crate::profile::{Focus, Folding, Rename};
use crate::run::{Manifest, Run, Window, WindowId};
use figures::WindowFigures;
use frames::By;
use serde::Serialize;
use stacks::Stacks;
use std::collections::{BTreeMap, BTreeSet};
use unlike::{Character, Sampling};

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Only this level.
    pub level: Option<usize>,
    /// Whose metrics to compare, and who owns CPU by its rules; `None`: neither.
    pub preset: Option<&'a Preset>,
    /// Relative difference up to which two values count as the same.
    pub margin: f64,
    /// Probability of any false difference among throughput, latency and CPU.
    pub familywise: f64,
    /// Expected share of false ones among the differences found in each other family.
    pub false_discovery: f64,
    /// Only what runs under these functions.
    pub focus: Option<&'a Focus>,
    /// Frames to fold in call trees: each function's own cost, and whose it is, is the same with them.
    pub folding: Folding,
    /// Functions that are called otherwise in the other build; applied to both runs.
    pub renames: &'a [Rename],
    /// Frames a level at most.
    pub top: usize,
    /// Keep call trees, for [`trees`].
    pub trees: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            level: None,
            preset: None,
            margin: 0.03,
            familywise: 0.01,
            false_discovery: 0.05,
            focus: None,
            folding: Folding::default(),
            renames: &[],
            top: 20,
            trees: false,
        }
    }
}

/// What a comparison keeps of a run. It is filled window by window, so that a run's profiles need not be in memory at
/// once.
#[derive(Clone, Debug)]
pub struct Side {
    run: String,
    manifest: Manifest,
    sampling: Sampling,
    levels: Levels,
    /// A window has its queries counted.
    counted: bool,
}

/// What is kept of each level.
type Levels = BTreeMap<usize, Level>;

#[derive(Clone, Debug, Default)]
struct Level {
    windows: Vec<WindowFigures>,
    stacks: Stacks,
}

impl Side {
    /// A side of the run with this manifest, without windows yet; [`Side::add`] fills it.
    pub fn new(manifest: &Manifest) -> Self {
        let (run, manifest) = (manifest.id.clone(), manifest.clone());
        Side { run, manifest, sampling: Sampling::default(), levels: Levels::new(), counted: false }
    }

    /// Whether there is anything to divide by: costs that are not per query cannot be compared.
    pub fn counted(&self) -> bool {
        self.counted
    }

    /// Adds a window of the run.
    pub fn add(&mut self, window: &Window, options: &Options) {
        self.counted |= window.counted();
        if options.level.is_some_and(|wanted| wanted != window.id().level) {
            return;
        }
        if let Some(report) = &window.sampling {
            self.sampling.events.insert(report.event.clone());
            self.sampling.unwinders.insert(report.unwinder.clone());
            self.sampling.frequencies.insert(format!("{} Hz", report.frequency));
        }
        let generator = &window.load.generator;
        if generator.threads > 0 {
            let through = generator.through.iter().map(|through| format!(" through {}", through.through));
            let told = format!("{}{}", generator.threads, through.collect::<String>());
            self.sampling.load_threads.entry(window.id().level).or_default().insert(told);
        }
        let level = self.levels.entry(window.id().level).or_default();
        level.windows.push(WindowFigures::of(window, options.preset));
        let shown = ViewOptions { focus: options.focus.cloned(), ..ViewOptions::default() };
        if let Some(view) = window_view(window, &shown) {
            let rules = options.preset.map(|preset| Rules::of(preset, &self.manifest));
            let folded = ViewOptions { folding: options.folding.clone(), ..shown };
            let tree = options.trees.then(|| window_view(window, &folded)).flatten();
            level.stacks.add(&view, tree.as_ref(), options.renames, rules.as_ref());
        }
    }

    /// Windows of each level.
    pub fn windows(&self) -> BTreeMap<usize, usize> {
        self.levels.iter().map(|(level, kept)| (*level, kept.windows.len())).collect()
    }

    /// The same side with these windows of a level only, by the order in which they were added; all of them have
    /// profiles.
    pub fn of_windows(&self, level: usize, chosen: &[usize]) -> Self {
        let mut side = Side { sampling: self.sampling.clone(), ..Side::new(&self.manifest) };
        if let Some(from) = self.levels.get(&level) {
            let windows = chosen.iter().filter_map(|at| from.windows.get(*at).cloned()).collect();
            side.levels.insert(level, Level { windows, stacks: from.stacks.of_windows(chosen) });
        }
        side
    }

    /// A run that is in memory.
    pub fn of(run: &Run, options: &Options) -> Self {
        let mut side = Side::new(&run.manifest);
        run.windows.iter().for_each(|window| side.add(window, options));
        side
    }
}

/// Two runs compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Id of the first run, the one that is compared against.
    pub before: String,
    /// Id of the second run.
    pub after: String,
    /// As in [`Options::margin`]: relative, 0.03 for 3 %.
    pub margin: f64,
    /// As in [`Options::familywise`]: a probability, 0..1.
    pub familywise: f64,
    /// As in [`Options::false_discovery`]: a share, 0..1.
    pub false_discovery: f64,
    /// In what the runs differ besides what was measured; empty where nothing recorded differs.
    pub unlike: Vec<Unlike>,
    /// What a reader must know of the comparison as a whole.
    pub notes: Vec<String>,
    /// Levels that both runs have.
    pub levels: Vec<LevelDifference>,
}

/// One level, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelDifference {
    /// Number of clients.
    pub level: usize,
    /// Number of windows of each side (before, after).
    pub windows: (usize, usize),
    /// Windows in which something was noticed; they are counted all the same.
    pub marked: Vec<Mark>,
    /// One row for each figure that either side measured, in the order in which they are shown.
    pub rows: Vec<Row>,
    /// Functions of the program with what they call, each sample counted for one; `None`: without a preset, or as
    /// with `frames`.
    pub owners: Option<FrameTable>,
    /// Functions by the cost of their own samples; `None`: not both sides have profiles with the same column.
    pub frames: Option<FrameTable>,
}

/// A window that is not like the others should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Id of the run.
    pub run: String,
    /// Name of the window's directory.
    pub window: String,
    /// The check that it did not pass, in words.
    pub why: String,
}

impl Difference {
    /// Why the runs cannot be compared, unless the user insists.
    pub fn incomparable(&self) -> impl Iterator<Item = &Unlike> {
        self.unlike.iter().filter(|unlike| unlike.incomparable)
    }

    /// A figure's row at a level.
    pub fn row(&self, level: usize, subject: &Subject) -> Option<&Row> {
        self.levels.iter().find(|l| l.level == level)?.rows.iter().find(|row| row.subject == *subject)
    }
}

/// Compares two runs in memory.
pub fn difference(before: &Run, after: &Run, options: &Options) -> Difference {
    compare(&Side::of(before, options), &Side::of(after, options), options)
}

/// Compares two sides that were filled with the same options.
pub fn compare(before: &Side, after: &Side, options: &Options) -> Difference {
    let common: Vec<usize> = before.levels.keys().filter(|level| after.levels.contains_key(level)).copied().collect();
    let mut levels: Vec<LevelDifference> = common.iter().map(|level| level_difference(*level, before, after)).collect();
    rows::rows(&before.levels, &after.levels, options, &mut levels);
    let tables = |by| frames::tables(&before.levels, &after.levels, options, by);
    let mut frames = tables(By::SelfCost);
    let mut owners = if options.preset.is_some() { tables(By::Owner) } else { BTreeMap::new() };
    for level in &mut levels {
        level.owners = owners.remove(&level.level);
        level.frames = frames.remove(&level.level);
    }
    let character = |side: &Side| Character::of(&side.manifest, &side.sampling);
    let (first, second) = (character(before), character(after));
    Difference {
        before: before.run.clone(),
        after: after.run.clone(),
        margin: options.margin,
        familywise: options.familywise,
        false_discovery: options.false_discovery,
        unlike: first.unlike(&second),
        notes: notes(before, after, first.same_build(&second)),
        levels,
    }
}

fn level_difference(level: usize, before: &Side, after: &Side) -> LevelDifference {
    let windows = |side: &Side| side.levels[&level].windows.len();
    let marked = [before, after].into_iter().flat_map(|side| {
        let marks =
            |w: &WindowFigures| -> Vec<(WindowId, String)> { w.marks.iter().map(|m| (w.id, m.clone())).collect() };
        let of_window = |(id, why): (WindowId, String)| Mark { run: side.run.clone(), window: id.directory(), why };
        side.levels[&level].windows.iter().flat_map(marks).map(of_window).collect::<Vec<_>>()
    });
    LevelDifference {
        level,
        windows: (windows(before), windows(after)),
        marked: marked.collect(),
        rows: Vec::new(),
        owners: None,
        frames: None,
    }
}

/// What limits the comparison.
fn notes(before: &Side, after: &Side, same_build: Option<String>) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(same_build.map(|id| format!("Both runs are of the same build ({id}).")));
    for (own, other) in [(before, after), (after, before)] {
        let only: Vec<String> =
            own.levels.keys().filter(|level| !other.levels.contains_key(level)).map(ToString::to_string).collect();
        if !only.is_empty() {
            notes.push(format!("Only {} has level {}: not compared.", own.run, only.join(", ")));
        }
        notes.extend(processes(own));
    }
    notes
}

/// Windows of one process share what differs from start to start: addresses, caches, how tasks fell on threads.
fn processes(side: &Side) -> Option<String> {
    let windows: Vec<&WindowFigures> = side.levels.values().flat_map(|level| &level.windows).collect();
    let most = side.levels.values().map(|level| level.windows.len()).max()?;
    let starts: Option<BTreeSet<&String>> = windows.iter().map(|window| window.started.as_ref()).collect();
    let run = &side.run;
    match (most, starts.map(|starts| starts.len())) {
        _ if side.manifest.restarted => None,
        (1, _) => Some(format!(
            "{run} has one window a level: its intervals come from that window's slices and do not hold what differs \
                from start to \
             start of a server. More windows, each of a server started anew, would."
        )),
        (_, Some(1)) => Some(format!(
            "All windows of {run} are of one process, so they are not independent: what differs from start to start \
                is not in the intervals."
        )),
        (_, None) => Some(format!("Whether the windows of {run} are of one process was not recorded.")),
        _ => None,
    }
}
