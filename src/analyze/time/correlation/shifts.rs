//! Whether series are higher in marked slices of time than chance would make them, for slices that resemble their
//! neighbours. Invariant: marks are only ever moved around the window as a whole, so both sides keep their own
//! autocorrelation; slices are never treated as independent.
//!
//! The test is a permutation test by circular shifts (Chatfield, "The Analysis of Time Series", on cross-correlation
//! of autocorrelated series; Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39, for p = (1 + as extreme) /
//! (1 + draws)). In each window the difference of means is divided by its scatter over all shifts; the windows'
//! figures are added, and each draw shifts each window by its own random amount. Two things that both happen once a
//! second coincide by chance in one window of twenty; several windows, whose phases are their own, tell them apart.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// One window's slices.
pub(super) struct LabelledSlices {
    /// The slices that are set against the others.
    pub marks: Vec<bool>,
    /// Of each series its value in each slice; the same series in the same order in all windows.
    pub series: Vec<Vec<f64>>,
}

/// Of each series the probability that shifted marks give as high a figure as the real ones (one-sided).
pub(super) fn probabilities(windows: &[LabelledSlices], draws: usize, seed: u64) -> Vec<f64> {
    let tables: Vec<Vec<Vec<f64>>> = windows.iter().map(LabelledSlices::figures).collect();
    let mut random = StdRng::seed_from_u64(seed);
    let shifts: Vec<Vec<usize>> =
        (0..draws).map(|_| windows.iter().map(|window| random.random_range(0..window.marks.len())).collect()).collect();
    let series = windows.first().map_or(0, |window| window.series.len());
    (0..series).map(|at| probability(&tables, at, &shifts)).collect()
}

fn probability(tables: &[Vec<Vec<f64>>], at: usize, shifts: &[Vec<usize>]) -> f64 {
    let figure = |shift: &dyn Fn(usize) -> usize| -> f64 {
        tables.iter().enumerate().map(|(window, table)| table[at][shift(window)]).sum()
    };
    // Rounding must not make the real marks look better than their equals.
    let real = figure(&|_| 0) - 1e-9;
    let extreme = shifts.iter().filter(|shift| figure(&|window| shift[window]) >= real).count();
    (1 + extreme) as f64 / (1 + shifts.len()) as f64
}

/// The least probability that these windows could ever give: all their shifts but one less extreme.
pub(super) fn least(windows: &[LabelledSlices], draws: usize) -> f64 {
    let all: f64 = windows.iter().map(|window| window.marks.len() as f64).product();
    (1.0 / all).max(1.0 / (1 + draws) as f64)
}

impl LabelledSlices {
    /// Of each series the figure at each shift; all 0 where it does not vary.
    fn figures(&self) -> Vec<Vec<f64>> {
        self.series.iter().map(|series| self.figure(series)).collect()
    }

    fn figure(&self, series: &[f64]) -> Vec<f64> {
        let count = self.marks.len();
        let marked: Vec<usize> = (0..count).filter(|slice| self.marks[*slice]).collect();
        let (inside, all) = (marked.len() as f64, series.iter().sum::<f64>());
        let difference = |shift: usize| {
            let sum: f64 = marked.iter().map(|slice| series[(slice + shift) % count]).sum();
            sum / inside - (all - sum) / (count as f64 - inside)
        };
        let differences: Vec<f64> = (0..count).map(difference).collect();
        let scatter = (differences.iter().map(|d| d * d).sum::<f64>() / count as f64).sqrt();
        match scatter > 1e-12 * (1.0 + all.abs()) {
            true => differences.into_iter().map(|d| d / scatter).collect(),
            false => vec![0.0; count],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::compare::difference::family::false_discovery;

    /// An autoregressive series of first order.
    fn wander(random: &mut StdRng, count: usize, memory: f64) -> Vec<f64> {
        let mut at = 0.0;
        let mut next = || {
            at = memory * at + random.random::<f64>() - 0.5;
            at
        };
        for _ in 0..50 {
            next();
        }
        (0..count).map(|_| next()).collect()
    }

    fn slowest(values: &[f64]) -> Vec<bool> {
        let mut sorted = values.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        values.iter().map(|value| *value >= sorted[values.len() / 10 - 1]).collect()
    }

    /// Four windows of 200 slices whose latency and 40 series wander, each by itself.
    fn nothing(random: &mut StdRng) -> Vec<LabelledSlices> {
        let mut window = || LabelledSlices {
            marks: slowest(&wander(random, 200, 0.9)),
            series: (0..40).map(|_| wander(random, 200, 0.9)).collect(),
        };
        (0..4).map(|_| window()).collect()
    }

    fn found(p: &[f64]) -> usize {
        let cut = false_discovery(0.05, p.iter().copied());
        p.iter().filter(|p| **p <= cut).count()
    }

    #[test]
    fn where_nothing_goes_together_the_stated_rate_is_held_although_slices_resemble_their_neighbours() {
        let mut random = StdRng::seed_from_u64(11);
        let (runs, mut wrong, mut naive) = (100, 0, 0);
        for seed in 0..runs {
            let windows = nothing(&mut random);
            wrong += usize::from(found(&probabilities(&windows, 3_000, seed)) > 0);
            // As independent slices would have it: each series' figure by the normal law.
            naive += usize::from(found(&independent(&windows)) > 0);
        }
        // 5 of 100 are expected; 12 or more have a probability of 0.4 %.
        assert!(wrong < 12, "{wrong} of {runs}");
        assert!(
            naive > 50,
            "slices taken for independent would err in {naive} of {runs} only: the series are too tame"
        );
    }

    /// The same figure judged as if slices were independent.
    fn independent(windows: &[LabelledSlices]) -> Vec<f64> {
        let figure = |at: usize| {
            let z = |window: &LabelledSlices| {
                let series = &window.series[at];
                let (count, mean) = (series.len() as f64, series.iter().sum::<f64>() / series.len() as f64);
                let scatter = series.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
                let marked: Vec<f64> = series.iter().zip(&window.marks).filter(|(_, m)| **m).map(|(v, _)| *v).collect();
                (marked.iter().sum::<f64>() / marked.len() as f64 - mean) / (scatter / marked.len() as f64).sqrt()
            };
            windows.iter().map(z).sum::<f64>() / (windows.len() as f64).sqrt()
        };
        // Winitzki's form of the normal law's tail, within 1e-3 of it relative to the whole.
        let tail = |z: f64| 0.5 * (1.0 - z.signum() * (1.0 - (-z * z * (2.0 / std::f64::consts::PI)).exp()).sqrt());
        (0..windows[0].series.len()).map(|at| tail(figure(at))).collect()
    }

    #[test]
    fn what_happens_in_the_marked_slices_is_found_among_what_does_not() {
        let mut random = StdRng::seed_from_u64(5);
        for seed in 0..10 {
            let mut windows = nothing(&mut random);
            for window in &mut windows {
                let marks = window.marks.clone();
                let lift = window.series[7].iter_mut().zip(marks).filter(|(_, marked)| *marked);
                lift.for_each(|(value, _)| *value += 2.0);
            }
            let p = probabilities(&windows, 3_000, seed);
            assert_eq!(p[7], 1.0 / 3_001.0);
            assert!(found(&p) >= 1);
        }
    }

    #[test]
    fn one_window_of_what_both_happens_once_a_second_proves_nothing() {
        let tick: Vec<f64> = (0..200).map(|slice| if slice % 20 == 3 { 1.0 } else { 0.0 }).collect();
        let marks: Vec<bool> = tick.iter().map(|value| *value > 0.0).collect();
        let window = || LabelledSlices { marks: marks.clone(), series: vec![tick.clone(), vec![1.0; 200]] };
        let p = probabilities(&[window()], 4_000, 1);
        assert!((p[0] - 0.05).abs() < 0.015, "{p:?}");
        assert_eq!(p[1], 1.0, "a series that does not vary tells nothing");
        let several = probabilities(&[window(), window(), window(), window()], 4_000, 1);
        assert!(several[0] < 0.001, "{several:?}");
        assert_eq!(least(&[window()], 4_000), 1.0 / 200.0);
    }
}
