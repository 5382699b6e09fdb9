//! How well the large functions of a level are known, and how long its windows would have to be for more. Invariant:
//! the functions and their intervals are those that `hot` shows; the widest interval speaks for all of them.

use super::owners::{Rules, owned};
use super::tally::{Identity, Tally, tally};
use super::view::{Per, ViewOptions, window_view};
use crate::analyze::cost::hot::By;
use crate::analyze::statistics::interval::{WindowCost, estimate};
use crate::preset::Preset;
use crate::profile::short_name;
use crate::run::{PrecisionGoal, Run, Window};
use crate::words::significant;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Functions with at least this share of their level's CPU are large.
pub const LARGE: f64 = 0.05;

/// Windows before which no precision counts as reached: fewer do not show how windows differ, which slices within one
/// cannot tell.
pub const FEWEST: usize = 3;

/// How well the large functions of one level are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Precision {
    /// Number of clients.
    pub level: usize,
    /// Number of windows with a profile; 0: stacks were not sampled.
    pub windows: usize,
    /// Length of these windows together, in seconds.
    pub seconds: f64,
    /// How many functions are large.
    pub functions: usize,
    /// The one whose interval is widest; `None`: no function is large, or the interval of one was not measured.
    pub widest: Option<Widest>,
}

/// The function that is known worst.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Widest {
    /// Full name of the function, as `hot` has it.
    pub frame: String,
    /// Half of the 95 % interval of its cost over the cost, 0..1.
    pub half_width: f64,
    /// Samples that the cost rests on; `None`: not counted.
    pub samples: Option<u64>,
}

impl Precision {
    /// Whether every large function is known so well (half of the interval over the value), by enough windows.
    pub fn reaches(&self, half_width: f64) -> bool {
        let narrow = match &self.widest {
            Some(widest) => widest.half_width <= half_width,
            None => self.functions == 0,
        };
        narrow && self.windows >= FEWEST
    }

    /// Seconds of windows, those that are there included, that so narrow an interval would take: it narrows with the
    /// square root of the time. `None`: not measured.
    pub fn seconds_for(&self, half_width: f64) -> Option<f64> {
        let widest = self.widest.as_ref()?;
        Some(self.seconds * (widest.half_width / half_width).powi(2))
    }

    /// The same as a number of windows as long as these.
    pub fn windows_for(&self, half_width: f64) -> Option<usize> {
        let seconds = self.seconds_for(half_width)?;
        Some(((seconds * self.windows as f64 / self.seconds).ceil() as usize).max(FEWEST))
    }

    /// `±7.20 % at level 64 (widest: exec)`; `None`: not measured.
    pub fn told(&self) -> Option<String> {
        let Widest { frame, half_width, .. } = self.widest.as_ref()?;
        let percent = significant(100.0 * half_width);
        Some(format!("±{percent} % at level {} (widest: {})", self.level, short_name(frame)))
    }
}

/// Costs of a run's windows by level, for as long as it is under way.
pub struct Costs {
    options: ViewOptions,
    /// Who owns what; `None`: functions are those that samples were taken in.
    rules: Option<Rules>,
    levels: BTreeMap<usize, Level>,
}

#[derive(Default)]
struct Level {
    tallies: Vec<Tally>,
    seconds: f64,
}

impl Costs {
    /// Of no window yet.
    pub fn new(per: Per, rules: Option<Rules>) -> Costs {
        Costs { options: ViewOptions { per, ..ViewOptions::default() }, rules, levels: BTreeMap::new() }
    }

    /// Adds a window.
    pub fn add(&mut self, window: &Window) {
        let level = self.levels.entry(window.id().level).or_default();
        let Some(mut view) = window_view(window, &self.options) else { return };
        let by = match &self.rules {
            Some(rules) => {
                view.profile = Cow::Owned(owned(&view.profile, rules, false, true));
                By::Owner
            }
            None => By::SelfCost,
        };
        level.tallies.push(tally(&view, by, None));
        level.seconds += window.load.span.seconds();
    }

    /// How well the level is known.
    pub fn precision(&self, level: usize) -> Precision {
        let nothing = Precision { level, windows: 0, seconds: 0.0, functions: 0, widest: None };
        let Some(Level { tallies, seconds }) = self.levels.get(&level) else { return nothing };
        let (windows, seconds) = (tallies.len(), *seconds);
        let large = large(tallies);
        let known = large.iter().map(|frame| widest_of(frame, tallies)).collect::<Option<Vec<Widest>>>();
        let widest = known.and_then(|all| all.into_iter().reduce(wider));
        Precision { windows, seconds, functions: large.len(), widest, ..nothing }
    }

    /// The levels of the windows, ascending.
    pub fn levels(&self) -> Vec<Precision> {
        self.levels.keys().map(|level| self.precision(*level)).collect()
    }
}

/// The functions with a large share of the CPU of these windows.
fn large(tallies: &[Tally]) -> Vec<&Identity> {
    let total: f64 = tallies.iter().map(|tally| tally.total.weight).sum();
    let frames: BTreeSet<&Identity> = tallies.iter().flat_map(|tally| tally.frames.keys()).collect();
    let weight = |frame: &Identity| -> f64 {
        tallies.iter().filter_map(|tally| tally.frames.get(frame)).map(|cost| cost.weight).sum()
    };
    frames.into_iter().filter(|frame| weight(frame) > 0.0 && weight(frame) >= LARGE * total).collect()
}

/// Of one function; `None`: its interval was not measured.
fn widest_of(frame: &Identity, tallies: &[Tally]) -> Option<Widest> {
    let costs: Vec<WindowCost> =
        tallies.iter().map(|tally| tally.frames.get(frame).unwrap_or(&tally.blank).clone()).collect();
    let found = estimate(&costs)?;
    let (low, high) = found.interval?;
    Some(Widest { frame: frame.name.clone(), half_width: (high - low) / 2.0 / found.value, samples: found.samples })
}

fn wider(one: Widest, other: Widest) -> Widest {
    if other.half_width > one.half_width { other } else { one }
}

/// How well a stored run's large functions are known, by level: the functions of the program that own samples, or those
/// that samples were taken in where no preset says who owns what.
pub fn precision(run: &Run, preset: Option<&Preset>) -> Vec<Precision> {
    let mut costs = Costs::new(Per::of(run), preset.map(|preset| Rules::of(preset, &run.manifest)));
    run.windows.iter().for_each(|window| costs.add(window));
    costs.levels()
}

/// Windows that a level still needs by the width of its intervals now: at least one, and at most as many as the goal
/// leaves; 0 where it is reached, has as many as it may, or has no profile.
pub fn windows_left(known: &Precision, goal: &PrecisionGoal) -> usize {
    if known.windows == 0 || known.reaches(goal.half_width) {
        return 0;
    }
    let needed = known.windows_for(goal.half_width).unwrap_or(FEWEST);
    needed.saturating_sub(known.windows).max(1).min(goal.windows.saturating_sub(known.windows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    const GOAL: PrecisionGoal = PrecisionGoal { half_width: 0.05, windows: 20 };

    fn known(windows: usize, half_width: f64) -> Precision {
        let widest = Widest { frame: "exec".into(), half_width, samples: Some(100) };
        Precision { level: 1, windows, seconds: 10.0 * windows as f64, functions: 1, widest: Some(widest) }
    }

    #[test]
    fn an_interval_narrows_with_the_square_root_of_the_time() {
        let wide = known(4, 0.10);
        assert_eq!((wide.seconds_for(0.05), wide.windows_for(0.05)), (Some(160.0), Some(16)));
        assert_eq!(windows_left(&wide, &GOAL), 12);
        assert_eq!(windows_left(&known(4, 0.50), &GOAL), 16, "no more than there may be");
        assert_eq!(windows_left(&known(4, 0.0501), &GOAL), 1);
        assert_eq!(windows_left(&known(4, 0.05), &GOAL), 0);
        assert_eq!(windows_left(&known(20, 0.06), &GOAL), 0, "all are taken");
    }

    #[test]
    fn what_fewer_than_three_windows_say_reaches_nothing() {
        assert!(!known(2, 0.01).reaches(0.05) && known(3, 0.01).reaches(0.05));
        assert_eq!((windows_left(&known(1, 0.01), &GOAL), windows_left(&known(2, 0.01), &GOAL)), (2, 1));
        let unmeasured = Precision { widest: None, ..known(1, 0.0) };
        assert_eq!((unmeasured.seconds_for(0.05), windows_left(&unmeasured, &GOAL)), (None, 2));
        let nothing_large = Precision { functions: 0, widest: None, ..known(3, 0.0) };
        assert!(nothing_large.reaches(0.05) && windows_left(&nothing_large, &GOAL) == 0);
        assert_eq!(windows_left(&Precision { windows: 0, ..nothing_large }, &GOAL), 0, "no profile, no goal");
    }

    /// A window of a function that truly costs 1 a query; windows differ by 6 %, slices within one by 3 %.
    fn window(random: &mut StdRng) -> WindowCost {
        let mut normal = || (0..12).map(|_| random.random::<f64>() - 0.5).sum::<f64>();
        let mean = 1.0 + 0.06 * normal();
        let batches: Vec<(f64, f64)> = (0..20).map(|_| (50.0 * (mean + 0.03 * normal()), 50.0)).collect();
        WindowCost {
            weight: batches.iter().map(|batch| batch.0).sum(),
            queries: 1_000.0,
            batches: Some(batches),
            ..WindowCost::default()
        }
    }

    /// Share of measurements whose interval holds the true cost when windows are taken until it is narrow enough.
    fn held(fewest: usize) -> f64 {
        let (mut random, rounds) = (StdRng::seed_from_u64(11), 600);
        let holds = |_| {
            let mut windows = vec![window(&mut random)];
            loop {
                let found = estimate(&windows).unwrap();
                let (low, high) = found.interval.unwrap();
                let narrow = (high - low) / 2.0 / found.value <= GOAL.half_width;
                if windows.len() >= GOAL.windows || narrow && windows.len() >= fewest {
                    return low <= 1.0 && 1.0 <= high;
                }
                windows.push(window(&mut random));
            }
        };
        (0..rounds).map(holds).filter(|holds| *holds).count() as f64 / f64::from(rounds)
    }

    #[test]
    fn an_interval_that_windows_were_added_to_holds_the_truth_and_one_that_a_window_ends_does_not() {
        let (with_three, with_one) = (held(FEWEST), held(1));
        assert!(with_three > 0.85, "{with_three}");
        assert!(with_one < 0.5, "{with_one}");
    }
}
