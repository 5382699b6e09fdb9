//! Frames before and after, by self cost or by what they own. Invariant: the rows of a level, what `top` left out and
//! what is too rare to be judged sum to the level's total; a frame's total cost is for reading and has no verdict,
//! because totals of frames overlap.

use super::contrast::{Better, Contrast, Verdict, judge, replicates_needed};
use super::counts::{Cost, Dispersion, FEWEST, Sides};
use super::family::false_discovery;
use super::stacks::{FrameCost, Stacks};
use super::{Levels, Options};
use crate::analyze::Identity;
use crate::profile::Space;
use serde::Serialize;
use std::collections::BTreeMap;

/// A frame at one level. Costs are in the column's unit per query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrameRow {
    /// The function; a marker in brackets for a row that stands for several.
    #[serde(flatten)]
    pub frame: Identity,
    /// Cost per query in the first run.
    pub before: f64,
    /// Cost per query in the second run.
    pub after: f64,
    /// Cost per query (before, after) of all stacks with the frame; `None` for owners and for rows that stand
    /// for several frames.
    pub total: Option<(f64, f64)>,
    /// Samples (before, after) that the costs rest on; `None`: not counted.
    pub samples: Option<(u64, u64)>,
    /// After minus before.
    pub difference: f64,
    /// Interval of `difference`, which misses with the probability [`FrameTable::cut`]; `None`: not judged.
    pub interval: Option<(f64, f64)>,
    /// `None` where the row is not judged: it stands for several frames, or the samples were not counted.
    pub verdict: Option<Verdict>,
}

/// The frames of one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrameTable {
    /// Kind of the column, as stored (`cpu`).
    pub column: String,
    /// Unit of the column, as stored (`nanoseconds`).
    pub unit: String,
    /// All samples.
    pub all: FrameRow,
    /// Those that differ first, by the size of the difference.
    pub rows: Vec<FrameRow>,
    /// Frames that `top` left out, in one row; `None` where there are none.
    pub rest: Option<FrameRow>,
    /// Frames with fewer than [`RARE`] samples on both sides together, in one row; `None` where there are
    /// none.
    pub rare: Option<FrameRow>,
    /// Number of frames judged at this level.
    pub judged: usize,
    /// Number of frames over which the false discovery rate is held: those judged on all levels together.
    pub family: usize,
    /// Probability below which a frame differs, and with which its interval misses, 0..1.
    pub cut: f64,
    /// `None`: no intervals can be had, since the samples were not counted.
    pub dispersion: Option<Dispersion>,
    /// Number of windows of both sides whose samples could not be counted with the others: they have another
    /// column, or no weight.
    pub left_out: usize,
}

/// What a sample's cost counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The frame in which it was taken.
    SelfCost,
    /// The owner of its stack.
    Owner,
}

impl By {
    fn cost(self, frame: &FrameCost) -> &Cost {
        match self {
            By::SelfCost => &frame.own,
            By::Owner => &frame.owned,
        }
    }

    /// Cost a query of all stacks with the frame, which an owner may be on without owning them.
    fn total(self, sides: &[FrameCost; 2], queries: [f64; 2]) -> Option<(f64, f64)> {
        (self == By::SelfCost).then(|| (sides[0].total / queries[0], sides[1].total / queries[1]))
    }

    fn both(self, sides: &[FrameCost; 2]) -> [&Cost; 2] {
        [self.cost(&sides[0]), self.cost(&sides[1])]
    }
}

/// A level before the cut over all levels is known.
struct Draft {
    by: By,
    frames: Vec<(Identity, [FrameCost; 2])>,
    /// All samples of each side.
    whole: [Cost; 2],
    sides: Option<Sides>,
    dispersion: Option<Dispersion>,
    contrasts: Vec<Option<Contrast>>,
    queries: [f64; 2],
    windows: usize,
}

/// The tables of the levels at which both sides have profiles of one column, by level.
pub(super) fn tables(before: &Levels, after: &Levels, options: &Options, by: By) -> BTreeMap<usize, FrameTable> {
    let mut drafts: BTreeMap<usize, Draft> = BTreeMap::new();
    for (level, first) in before {
        let second = after.get(level).filter(|second| comparable(&first.stacks, &second.stacks));
        drafts.extend(second.map(|second| (*level, Draft::of(by, &first.stacks, &second.stacks))));
    }
    let p = drafts.values().flat_map(|draft| draft.contrasts.iter().flatten().map(Contrast::p)).collect::<Vec<_>>();
    let cut = false_discovery(options.false_discovery, p.iter().copied());
    let table = |(level, draft): (usize, Draft)| {
        let stacks = [&before[&level].stacks, &after[&level].stacks];
        (level, draft.finish(stacks, options, cut, p.len()))
    };
    drafts.into_iter().map(table).collect()
}

pub(super) fn comparable(before: &Stacks, after: &Stacks) -> bool {
    before.column.is_some() && before.column == after.column
}

impl Draft {
    fn of(by: By, before: &Stacks, after: &Stacks) -> Self {
        let [(first, first_costs), (second, second_costs)] = [before.sum(), after.sum()];
        let mut frames: BTreeMap<(&str, Space), (Identity, [FrameCost; 2])> = BTreeMap::new();
        for (side, (stacks, costs)) in [(before, first_costs), (after, second_costs)].into_iter().enumerate() {
            for (frame, cost) in stacks.frames().iter().zip(costs) {
                let entry = frames.entry((&frame.name, frame.space));
                entry.or_insert_with(|| (frame.clone(), Default::default())).1[side] = cost;
            }
        }
        let frames: Vec<_> =
            frames.into_values().filter(|(_, costs)| by.both(costs).iter().any(|c| c.weight > 0.0)).collect();
        let sides = Sides::of(&first, &second);
        let dispersion = sides.as_ref().map(|sides| sides.fit(frames.iter().map(|(_, costs)| by.both(costs))));
        let contrast = |costs: &[FrameCost; 2]| sides.as_ref()?.contrast(by.both(costs), dispersion.as_ref()?);
        let contrasts = frames.iter().map(|(_, costs)| contrast(costs)).collect();
        let queries = [first.queries, second.queries];
        let windows = first.windows.len().min(second.windows.len());
        Draft { by, frames, whole: [first.cost, second.cost], sides, dispersion, contrasts, queries, windows }
    }

    fn finish(self, stacks: [&Stacks; 2], options: &Options, cut: f64, family: usize) -> FrameTable {
        let judging = Judging { queries: self.queries, margin: options.margin, cut, windows: self.windows };
        let counted = self.sides.is_some();
        let mut rows = Vec::new();
        let mut rare = Sum::default();
        for ((frame, costs), contrast) in self.frames.into_iter().zip(&self.contrasts) {
            match contrast {
                None if counted => rare.add(self.by.both(&costs)),
                contrast => {
                    let row = judging.row(frame, self.by.both(&costs), contrast.as_ref(), counted);
                    rows.push(FrameRow { total: self.by.total(&costs, self.queries), ..row });
                }
            }
        }
        let size = |row: &FrameRow| (row.verdict.is_some_and(Verdict::differs), row.difference.abs());
        rows.sort_by(|a, b| {
            let (a, b) = (size(a), size(b));
            b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
        });
        let judged = if counted { rows.len() } else { 0 };
        let mut rest = Sum::default();
        for row in rows.split_off(options.top.min(rows.len())) {
            rest.rows += 1;
            rest.costs = [rest.costs[0] + row.before, rest.costs[1] + row.after];
            rest.samples = rest.samples.zip(row.samples).map(|(a, b)| (a.0 + b.0 as f64, a.1 + b.1 as f64));
        }
        let [first, second] = stacks;
        let (column, unit) =
            first.column.clone().map_or_else(Default::default, |column| (column.kind.to_string(), column.unit));
        let total = self.sides.as_ref().map(Sides::total);
        let all = judging.row(named("[all sampled]"), [&self.whole[0], &self.whole[1]], total.as_ref(), counted);
        FrameTable {
            column,
            unit,
            all: FrameRow { total: Some((all.before, all.after)), ..all },
            rows,
            rest: rest.row(["more ", ""], [1.0, 1.0], counted),
            rare: rare.row(["", " too rare to judge"], self.queries, counted),
            judged,
            family,
            cut,
            dispersion: self.dispersion,
            left_out: first.left_out + second.left_out,
        }
    }
}

fn named(name: &str) -> Identity {
    Identity { name: name.into(), module: String::new(), space: Space::Marker }
}

/// What a row is judged by.
pub(super) struct Judging {
    pub queries: [f64; 2],
    pub margin: f64,
    pub cut: f64,
    /// Of the side that has fewer.
    pub windows: usize,
}

impl Judging {
    /// Interval and verdict of a cost that was `before`.
    pub fn judge(&self, contrast: &Contrast, before: f64) -> ((f64, f64), Verdict) {
        let interval = contrast.interval(self.cut);
        let margin = Some(self.margin * before).filter(|margin| *margin > 0.0);
        let verdict = match judge(interval, margin, Better::Less) {
            Verdict::Undecided { .. } => {
                Verdict::Undecided { more: replicates_needed(contrast, margin, self.cut, self.windows) }
            }
            verdict => verdict,
        };
        (interval, verdict)
    }

    fn row(&self, frame: Identity, costs: [&Cost; 2], contrast: Option<&Contrast>, counted: bool) -> FrameRow {
        let (before, after) = (costs[0].weight / self.queries[0], costs[1].weight / self.queries[1]);
        let judged = contrast.map(|contrast| self.judge(contrast, before));
        FrameRow {
            frame,
            before,
            after,
            total: None,
            samples: counted.then(|| (costs[0].samples().round() as u64, costs[1].samples().round() as u64)),
            difference: after - before,
            interval: judged.map(|(interval, _)| interval),
            verdict: judged.map(|(_, verdict)| verdict),
        }
    }
}

/// Several frames in one row.
struct Sum {
    rows: usize,
    costs: [f64; 2],
    samples: Option<(f64, f64)>,
}

impl Default for Sum {
    fn default() -> Self {
        Sum { rows: 0, costs: [0.0; 2], samples: Some((0.0, 0.0)) }
    }
}

impl Sum {
    fn add(&mut self, costs: [&Cost; 2]) {
        self.rows += 1;
        self.costs = [self.costs[0] + costs[0].weight, self.costs[1] + costs[1].weight];
        self.samples = self.samples.map(|(a, b)| (a + costs[0].samples(), b + costs[1].samples()));
    }

    /// Words before and after "frames"; `divisors` turn the sums into costs a query.
    fn row(self, [before_it, after_it]: [&str; 2], divisors: [f64; 2], counted: bool) -> Option<FrameRow> {
        let [before, after] = [self.costs[0] / divisors[0], self.costs[1] / divisors[1]];
        let frames = if self.rows == 1 { "frame" } else { "frames" };
        (self.rows > 0).then(|| FrameRow {
            frame: named(&format!("[{} {before_it}{frames}{after_it}]", self.rows)),
            before,
            after,
            total: None,
            samples: self.samples.filter(|_| counted).map(|(a, b)| (a.round() as u64, b.round() as u64)),
            difference: after - before,
            interval: None,
            verdict: None,
        })
    }
}

/// How rare "too rare" is, for the reader.
pub const RARE: f64 = FEWEST;

#[cfg(test)]
mod tests {
    use super::super::constructed::{profiled, run};
    use super::super::difference;
    use super::*;
    use crate::preset::Preset;
    use crate::profile::Rename;
    use crate::run::Run;
    use regex::Regex;

    /// Six windows of `main;worker` and others, with samples of 1 ms for each of the stacks.
    fn sampled(stacks: &[(&str, i64)]) -> Run {
        let mut made = run("r", 16, &[(10_000, 100, 50); 6]);
        for (i, window) in made.windows.iter_mut().enumerate() {
            // A scatter of three samples a row, so that nothing is known too well.
            let counts: Vec<(&str, i64)> =
                stacks.iter().map(|(stack, n)| (*stack, n + if *n > 10 { (i % 3) as i64 } else { 0 })).collect();
            profiled(window, &counts);
        }
        made
    }

    fn table(before: &Run, after: &Run, options: &Options) -> FrameTable {
        difference(before, after, options).levels[0].frames.clone().unwrap()
    }

    #[test]
    fn rows_rest_and_rare_ones_sum_to_the_total() {
        let stacks = [("main;work", 500), ("main;work;wait", 300), ("main;other", 200), ("main;rare", 1)];
        let made = sampled(&stacks);
        let found = table(&made, &made, &Options { top: 1, ..Options::default() });
        assert_eq!((found.rows.len(), found.judged), (1, 3));
        let parts = found.rows.iter().chain(&found.rest).chain(&found.rare);
        let sum: f64 = parts.map(|row| row.before).sum();
        assert!((sum - found.all.before).abs() < 1e-9 * sum, "{sum} {found:?}");
        assert_eq!(found.rare.as_ref().unwrap().frame.name, "[1 frame too rare to judge]");
        assert!(found.rows.iter().all(|row| !row.verdict.unwrap().differs()));
        let work = table(&made, &made, &Options::default());
        let work = work.rows.iter().find(|row| row.frame.name == "work").unwrap().total.unwrap();
        assert!((work.0 - 802.0 * 1e6 / 10_000.0).abs() < 0.01 * work.0, "{work:?}");
    }

    #[test]
    fn a_new_function_comes_first_and_what_stayed_does_not_differ() {
        let before = sampled(&[("main;work", 2000), ("main;other", 1000)]);
        let after = sampled(&[("main;work", 2000), ("main;other", 1000), ("main;work;new", 300)]);
        let found = table(&before, &after, &Options::default());
        assert_eq!((found.rows[0].frame.name.as_str(), found.rows[0].verdict), ("new", Some(Verdict::Slower)));
        let (low, high) = found.rows[0].interval.unwrap();
        assert!(low < 301.0 * 1e6 / 10_000.0 && high > 301.0 * 1e6 / 10_000.0, "{low} {high}");
        let back = table(&after, &before, &Options::default());
        assert_eq!((back.rows[0].frame.name.as_str(), back.rows[0].verdict), ("new", Some(Verdict::Faster)));
    }

    #[test]
    fn what_a_new_function_calls_counts_for_it_and_the_rest_stays() {
        let preset = Preset::load("testbed").unwrap();
        let before = sampled(&[("main;app::peek", 900), ("main;app::other;core::fmt::write", 600)]);
        let after = sampled(&[
            ("main;app::peek", 900),
            ("main;app::other;core::fmt::write", 600),
            ("main;app::peek;app::planted", 20),
            ("main;app::peek;app::planted;core::hint::black_box", 400),
        ]);
        let found = difference(&before, &after, &Options { preset: Some(&preset), ..Options::default() });
        let level = &found.levels[0];
        let (owners, frames) = (level.owners.as_ref().unwrap(), level.frames.as_ref().unwrap());
        assert_eq!(frames.rows[0].frame.name, "core::hint::black_box");
        assert_eq!(
            (owners.rows[0].frame.name.as_str(), owners.rows[0].verdict),
            ("app::planted", Some(Verdict::Slower))
        );
        let differing = owners.rows.iter().filter(|row| row.verdict.unwrap().differs()).count();
        assert_eq!((differing, owners.rows.len(), owners.rows[0].total), (1, 3, None));
        let sum: f64 = owners.rows.iter().map(|row| row.after).sum();
        assert!((sum - owners.all.after).abs() < 1e-9 * sum && owners.all.after == frames.all.after, "{owners:?}");
        assert!(difference(&before, &after, &Options::default()).levels[0].owners.is_none());
    }

    #[test]
    fn a_renamed_function_is_one_row() {
        let (before, after) = (sampled(&[("main;old_name", 900)]), sampled(&[("main;new_name", 900)]));
        let apart = table(&before, &after, &Options::default());
        assert_eq!(apart.rows.iter().filter(|row| row.verdict.unwrap().differs()).count(), 2);
        let renames = [Rename { old: Regex::new("^old_").unwrap(), new: "new_".into() }];
        let one = table(&before, &after, &Options { renames: &renames, ..Options::default() });
        assert_eq!(one.rows.len(), 1);
        assert_eq!(one.rows[0].difference, 0.0);
    }

    #[test]
    fn weights_without_counts_have_no_intervals() {
        let mut before = sampled(&[("main;work", 500)]);
        for window in &mut before.windows {
            let profile = window.profile.as_mut().unwrap();
            profile.columns.remove(0);
            profile.samples.iter_mut().for_each(|sample| {
                sample.values.remove(0);
            });
        }
        let found = table(&before, &sampled(&[("main;work", 700)]), &Options::default());
        assert_eq!((found.rows[0].interval, found.rows[0].verdict, found.dispersion), (None, None, None));
        assert!(found.rows[0].difference > 0.0 && found.rare.is_none());
    }
}
