//! Figures of windows set against each other. Invariant: the unit of a comparison is the window; queries are never
//! treated as independent observations of a server.

use super::contrast::{Contrast, Mean, Verdict, judge, replicates_needed};
use super::family::{false_discovery_dependent, familywise};
use super::figures::{Subject, WindowFigures};
use super::{LevelDifference, Levels, Options};
use serde::Serialize;
use std::collections::BTreeMap;

/// What an interval rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The scatter between windows, two a side at least.
    Windows,
    /// The scatter inside windows, autocorrelation heeded: what differs from start to start of a server is not in it.
    Slices,
}

/// One figure at one level, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Number of clients.
    pub level: usize,
    /// The figure; its unit is that of `before`, `after` and `difference`.
    pub subject: Subject,
    /// Mean over the first run's windows in the subject's unit: geometric where all values are positive, as
    /// the ratio is of such. `None`: not measured in any window.
    pub before: Option<f64>,
    /// The same over the second run's windows.
    pub after: Option<f64>,
    /// Number of windows that measured it (before, after).
    pub windows: (usize, usize),
    /// After minus before, in the subject's unit; `None` where one side has not measured it.
    pub difference: Option<f64>,
    /// Interval of `difference` at its family's cut; `None` where there is no interval: see `missing`.
    pub difference_interval: Option<(f64, f64)>,
    /// After over before; `None` where a window's value is 0 or less, or one side has not measured it.
    pub ratio: Option<f64>,
    /// Interval of `ratio` at its family's cut; `None` without a ratio, or as `difference_interval`.
    pub ratio_interval: Option<(f64, f64)>,
    /// Which scatter the interval comes from; `None` without an interval.
    pub basis: Option<Basis>,
    /// Probability, 0..1, of a difference as large where there is none; `None` without an interval.
    pub p: Option<f64>,
    /// What may be said of the difference; undecided where there is no interval.
    pub verdict: Verdict,
    /// Why there is no interval.
    pub missing: Option<String>,
}

/// A row before its family's cut is known.
struct Draft {
    row: Row,
    contrast: Option<Contrast>,
    scale: Scale,
}

/// On which scale the windows are compared.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    Log,
    Plain,
}

/// All rows of the levels that both sides have, put into `levels`.
pub(super) fn rows(before: &Levels, after: &Levels, options: &Options, levels: &mut [LevelDifference]) {
    let mut drafts: Vec<Draft> = Vec::new();
    for level in levels.iter() {
        drafts.extend(level_drafts(level.level, &before[&level.level].windows, &after[&level.level].windows));
    }
    let tested = |main: bool, drafts: &[Draft]| -> Vec<f64> {
        let family = drafts.iter().filter(|draft| draft.row.subject.is_main() == main);
        family.filter_map(|draft| draft.contrast.as_ref().map(Contrast::p)).collect()
    };
    let main = familywise(options.familywise, tested(true, &drafts).len());
    let others = false_discovery_dependent(options.false_discovery, &tested(false, &drafts));
    let mut by_level: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
    for draft in drafts {
        let miss = if draft.row.subject.is_main() { main } else { others };
        by_level.entry(draft.row.level).or_default().push(draft.finish(miss, options.margin));
    }
    for level in levels {
        level.rows = by_level.remove(&level.level).unwrap_or_default();
    }
}

fn level_drafts(level: usize, before: &[WindowFigures], after: &[WindowFigures]) -> Vec<Draft> {
    let mut subjects: Vec<&Subject> = Vec::new();
    for (subject, _) in before.iter().chain(after).flat_map(|window| &window.values) {
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    subjects.into_iter().map(|subject| draft(level, subject, before, after)).collect()
}

fn draft(level: usize, subject: &Subject, before: &[WindowFigures], after: &[WindowFigures]) -> Draft {
    let values = |windows: &[WindowFigures]| -> Vec<f64> { windows.iter().filter_map(|w| w.value(subject)).collect() };
    let (first, second) = (values(before), values(after));
    let positive = first.iter().chain(&second).all(|value| *value > 0.0);
    let scale = if positive { Scale::Log } else { Scale::Plain };
    let contrast = scale.by_windows(&first, &second).map(|c| (c, Basis::Windows));
    let contrast = contrast.or_else(|| Some((by_slices(subject, before, after)?, Basis::Slices)));
    let missing = match (first.len(), second.len()) {
        (0, _) | (_, 0) => Some("one side has not measured it"),
        _ if contrast.is_none() => Some("it takes two windows a side: its scatter is not known from one"),
        _ => None,
    };
    let (before, after) = (scale.mean(&first), scale.mean(&second));
    let row = Row {
        level,
        subject: subject.clone(),
        before,
        after,
        windows: (first.len(), second.len()),
        difference: before.zip(after).map(|(before, after)| after - before),
        difference_interval: None,
        ratio: before.zip(after).filter(|_| positive).map(|(before, after)| after / before),
        ratio_interval: None,
        basis: contrast.map(|(_, basis)| basis),
        p: contrast.map(|(contrast, _)| contrast.p()),
        verdict: Verdict::Undecided { more: None },
        missing: missing.map(Into::into),
    };
    Draft { row, contrast: contrast.map(|(contrast, _)| contrast), scale }
}

impl Scale {
    fn mean(self, values: &[f64]) -> Option<f64> {
        let count = values.len() as f64;
        (!values.is_empty()).then(|| match self {
            Scale::Log => (values.iter().map(|v| v.ln()).sum::<f64>() / count).exp(),
            Scale::Plain => values.iter().sum::<f64>() / count,
        })
    }

    fn by_windows(self, before: &[f64], after: &[f64]) -> Option<Contrast> {
        let mean = |values: &[f64]| match self {
            Scale::Log => Mean::of(&values.iter().map(|v| v.ln()).collect::<Vec<_>>()),
            Scale::Plain => Mean::of(values),
        };
        Some(Contrast::welch(mean(before)?, mean(after)?))
    }
}

/// Where a side has a single window: the scatter inside the windows, and never less than that between those of the
/// other side.
fn by_slices(subject: &Subject, before: &[WindowFigures], after: &[WindowFigures]) -> Option<Contrast> {
    let side = |windows: &[WindowFigures]| -> Option<Mean> {
        let of = |w: &WindowFigures| w.within.iter().find(|(of, _)| of == subject).map(|(_, mean)| *mean);
        let means: Vec<Mean> = windows.iter().map(of).collect::<Option<_>>()?;
        let count = means.len() as f64;
        (!means.is_empty()).then_some(())?;
        let within = Mean {
            value: means.iter().map(|mean| mean.value).sum::<f64>() / count,
            variance: means.iter().map(|mean| mean.variance).sum::<f64>() / (count * count),
            freedom: means.iter().map(|mean| mean.freedom).sum(),
        };
        let between = Mean::of(&means.iter().map(|mean| mean.value).collect::<Vec<_>>());
        Some(between.filter(|between| between.variance > within.variance).unwrap_or(within))
    };
    Some(Contrast::welch(side(before)?, side(after)?))
}

impl Draft {
    /// The row with its interval, which misses with probability `miss`, and its verdict.
    fn finish(self, miss: f64, margin: f64) -> Row {
        let Draft { mut row, contrast, scale } = self;
        let (Some(contrast), Some(before)) = (contrast, row.before) else { return row };
        let interval = contrast.interval(miss);
        // On the logarithmic scale the smaller of the two bounds that the margin has there.
        let margin = match scale {
            Scale::Log => Some(margin.ln_1p()),
            Scale::Plain => Some(margin * before.abs()).filter(|margin| *margin > 0.0),
        };
        match scale {
            Scale::Log => {
                row.ratio_interval = Some((interval.0.exp(), interval.1.exp()));
                row.difference_interval = Some((before * interval.0.exp_m1(), before * interval.1.exp_m1()));
            }
            Scale::Plain => row.difference_interval = Some(interval),
        }
        row.verdict = match judge(interval, margin, row.subject.better()) {
            Verdict::Undecided { .. } => {
                let windows = row.windows.0.min(row.windows.1);
                Verdict::Undecided { more: replicates_needed(&contrast, margin, miss, windows) }
            }
            verdict => verdict,
        };
        row
    }
}

#[cfg(test)]
mod tests {
    use super::super::constructed::{manifest, run, window};
    use super::super::{Difference, difference};
    use super::*;
    use crate::run::{Run, WindowId};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// A run of one level whose windows scatter by some 2 % of throughput, latency and CPU.
    fn scattered(random: &mut StdRng, windows: usize, cpu: f64) -> Run {
        let mut draw = |mean: f64| {
            let sum: f64 = (0..12).map(|_| random.random::<f64>() - 0.5).sum();
            (mean * (1.0 + 0.02 * sum)).round() as u64
        };
        let windows: Vec<(u64, u64, u64)> =
            (0..windows).map(|_| (draw(50_000.0), draw(1_600_000.0), draw(150_000.0 * cpu))).collect();
        run("r", 16, &windows)
    }

    fn main_rows(difference: &Difference) -> impl Iterator<Item = &Row> {
        difference.levels.iter().flat_map(|level| &level.rows).filter(|row| row.subject.is_main())
    }

    #[test]
    fn equal_runs_seldom_differ_in_anything_and_five_percent_more_cpu_is_found() {
        let mut random = StdRng::seed_from_u64(11);
        let (mut wrong, mut found, mut covered, rounds) = (0, 0, 0, 600);
        for _ in 0..rounds {
            let before = scattered(&mut random, 6, 1.0);
            let options = Options { familywise: 0.05, ..Options::default() };
            let same = difference(&before, &scattered(&mut random, 6, 1.0), &options);
            wrong += usize::from(main_rows(&same).any(|row| row.verdict.differs()));
            let more = difference(&before, &scattered(&mut random, 6, 1.08), &options);
            let cpu = more.row(16, &Subject::Cpu).unwrap();
            found += usize::from(cpu.verdict == Verdict::Slower);
            covered += usize::from(cpu.ratio_interval.is_some_and(|(low, high)| low < 1.08 && high > 1.08));
        }
        // 5 % of 600 are 30; four standard errors more are 51.
        assert!(wrong <= 51, "{wrong} of {rounds}");
        assert!(found > rounds * 8 / 10, "{found} of {rounds}");
        assert!(covered > rounds * 95 / 100, "{covered} of {rounds}");
    }

    #[test]
    fn values_ratio_and_intervals_belong_together() {
        let before = run("b", 16, &[(1000, 100, 50), (1020, 100, 51), (1010, 100, 52)]);
        let after = run("a", 16, &[(2000, 100, 50), (2040, 100, 51), (2020, 100, 52)]);
        let found = difference(&before, &after, &Options::default());
        let row = found.row(16, &Subject::Throughput).unwrap();
        assert!((row.ratio.unwrap() - 2.0).abs() < 1e-12, "{row:?}");
        assert!((row.before.unwrap() - 202.0).abs() < 0.1 && row.windows == (3, 3));
        let ((low, high), (below, above)) = (row.ratio_interval.unwrap(), row.difference_interval.unwrap());
        assert!(low < 2.0 && high > 2.0);
        assert!(
            (below - row.before.unwrap() * (low - 1.0)).abs() < 1e-9
                && (above - row.before.unwrap() * (high - 1.0)).abs() < 1e-9
        );
        assert_eq!((row.verdict, row.basis), (Verdict::Faster, Some(Basis::Windows)));
        // Nothing scattered and nothing changed: the same, whatever the margin.
        assert_eq!(found.row(16, &Subject::MeanLatency).unwrap().verdict, Verdict::Same);
    }

    #[test]
    fn one_window_a_side_is_judged_by_its_slices_and_correlated_slices_judge_less() {
        let mut random = StdRng::seed_from_u64(3);
        let mut one = |mean: f64, memory: f64| {
            let mut at = 0.0;
            let counts: Vec<u64> = (0..100)
                .map(|_| {
                    at = memory * at + 20.0 * (1.0 - memory * memory).sqrt() * 3.5 * (random.random::<f64>() - 0.5);
                    (mean + at).round() as u64
                })
                .collect();
            Run {
                manifest: manifest("r", &[16]),
                windows: vec![window(WindowId { level: 16, replicate: 1 }, &counts, 1000, 10)],
                observer: None,
                damaged: Vec::new(),
            }
        };
        let width = |before: &Run, after: &Run| {
            let found = difference(before, after, &Options::default());
            let row = found.row(16, &Subject::Throughput).unwrap();
            assert_eq!(row.basis, Some(Basis::Slices));
            let (low, high) = row.ratio_interval.unwrap();
            (high - low, row.verdict)
        };
        let (independent, verdict) = width(&one(500.0, 0.0), &one(550.0, 0.0));
        assert_eq!(verdict, Verdict::Faster);
        let (correlated, _) = width(&one(500.0, 0.9), &one(550.0, 0.9));
        assert!(correlated > 2.0 * independent, "{correlated} {independent}");
        // The kernel's accounting has no slices.
        let found = difference(&one(500.0, 0.0), &one(500.0, 0.0), &Options::default());
        let cpu = found.row(16, &Subject::Cpu).unwrap();
        assert!(
            cpu.ratio_interval.is_none() && cpu.missing.is_some() && cpu.verdict == Verdict::Undecided { more: None }
        );
        assert!(found.notes.iter().any(|note| note.contains("one window a level")), "{:?}", found.notes);
    }

    #[test]
    fn a_figure_that_goes_to_zero_is_compared_on_its_own_scale() {
        let before = run("b", 1, &[(1000, 100, 50), (1000, 110, 52), (1000, 105, 51)]);
        let after = run("a", 1, &[(1000, 100, 0), (1000, 110, 0), (1000, 105, 0)]);
        let found = difference(&before, &after, &Options::default());
        let row = found.row(1, &Subject::Cpu).unwrap();
        assert_eq!((row.ratio, row.verdict), (None, Verdict::Faster));
        assert!((row.difference.unwrap() + 51.0).abs() < 1e-9 && row.difference_interval.unwrap().1 < 0.0);
    }

    #[test]
    fn what_one_side_has_not_measured_says_so() {
        let mut before = run("b", 1, &[(1000, 100, 50), (1000, 110, 52)]);
        before.windows.iter_mut().for_each(|window| window.scheduler = None);
        let after = run("a", 1, &[(1000, 100, 50), (1000, 110, 52)]);
        let found = difference(&before, &after, &Options::default());
        let row = found.row(1, &Subject::Cpu).unwrap();
        assert_eq!((row.before, row.difference, row.windows), (None, None, (0, 2)));
        assert_eq!(row.missing.as_deref(), Some("one side has not measured it"));
    }
}
