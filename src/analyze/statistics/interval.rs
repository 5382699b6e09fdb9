//! 95 % intervals of a cost per query. Invariant: an interval is never narrower than the noise of the samples it
//! was counted from, and there is none where neither slices nor replicates were measured.
//!
//! The estimate is a ratio of sums, R = sum(weight) / sum(queries). Three half-widths are computed and the widest
//! counts, on each side:
//! - *samples*: a count of k samples is Poisson; Byar's approximation (Breslow and Day 1987, vol. II, p. 69) gives its
//!   bounds, k = weight^2 / sum of the samples' squared weights (3,100 samples: standard error 1.8 %);
//! - *slices*: batch means of the ratio estimator (Cochran 1977, eq. 6.13; Law 2015, 9.5.3): each window is cut into
//!   at most 20 batches of neighbouring slices, Var R = b/(b-1) * sum((w_i - R q_i)^2) / Q^2 summed over windows,
//!   Student's t;
//! - *replicates*, where there are at least three: the same formula with a window as a batch.
//!
//! Where samples divide an accounted total (strata), how many fell into a stratum plays no part: samples scatter by
//! sum over strata of w_h^2 / n_h less, w_h the frame's weight there and n_h the stratum's samples (Cochran 1977,
//! 5A.9). Where the account is known batch by batch, a batch's weight is set right before its deviation is taken: the
//! frame's share of the stratum, times what the samples show of the stratum in the batch beyond its account, is taken
//! away (the regression estimator's residual, Cochran 1977, 7.7). Nothing of chance in the number of samples is left in
//! it, and all of how cost and CPU vary over the window is.
//!
//! Where the account is known of the whole window only, the slices' variance loses as much as is chance of w_h^2 / n_h:
//! ticks are regular, so that on CPUs which the target has for a share u of the time the number of its ticks varies by
//! 1 - u of what Poisson's law says. A quarter of that variance stays at least, for it is itself an estimate.

use super::distribution::two_sided_quantile;
use serde::Serialize;
use std::sync::Arc;

/// Batches a window is cut into at most: enough for Student's t to be near normal, long enough (250 ms of a 5 s
/// window) that neighbouring batches hardly correlate.
pub const BATCHES: usize = 20;
/// Of the slices' variance so much stays at least, whatever the account of a whole window takes away.
const LEFT: f64 = 0.25;

/// What one window contributes to an estimate; weights in the column's unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowCost {
    /// Sum of the samples' weights, in the column's unit.
    pub weight: f64,
    /// What the cost is divided by: queries completed while the profile was taken (for shares a hundredth of
    /// its whole weight).
    pub queries: f64,
    /// Samples counted; `None` where the source does not tell.
    pub samples: Option<u64>,
    /// Sum over samples of the squared weight; `None` as above.
    pub squares: Option<f64>,
    /// Mean weight of a sample of the whole window, for frames that got none.
    pub quantum: Option<f64>,
    /// (weight, queries) of consecutive batches that partition the window; `None` without times or slices.
    pub batches: Option<Vec<(f64, f64)>>,
    /// The part of the weight that lies in each stratum, in their order; empty where weights are as sampled.
    pub strata: Vec<InStratum>,
}

/// Weight of samples that divide the accounted total of a stratum.
#[derive(Clone, Debug, PartialEq)]
pub struct InStratum {
    /// Which, of the window's.
    pub stratum: usize,
    /// In the column's unit.
    pub weight: f64,
    /// All samples of the stratum, of whatever frame.
    pub samples: f64,
    /// How much of the variance of their number is chance that the slices have too: 1 less the target's share of the
    /// CPUs; 0 where `excess` has taken it out.
    pub chance: f64,
    /// For each batch of the window, what the samples show of the stratum beyond its account, as a share of the whole
    /// stratum; `None`: the account is not known by batch.
    pub excess: Option<Arc<[f64]>>,
}

impl WindowCost {
    /// Adds another cost of the same window.
    pub fn add(&mut self, other: &WindowCost) {
        self.weight += other.weight;
        self.samples = self.samples.zip(other.samples).map(|(a, b)| a + b);
        self.squares = self.squares.zip(other.squares).map(|(a, b)| a + b);
        if let (Some(own), Some(more)) = (&mut self.batches, &other.batches) {
            own.iter_mut().zip(more).for_each(|(own, more)| own.0 += more.0);
        }
        other.strata.iter().for_each(|part| self.add_to_stratum(part));
    }

    /// Says of a part of the weight in which stratum it lies.
    pub fn add_to_stratum(&mut self, part: &InStratum) {
        match self.strata.binary_search_by_key(&part.stratum, |own| own.stratum) {
            Ok(at) => self.strata[at].weight += part.weight,
            Err(at) => self.strata.insert(at, part.clone()),
        }
    }

    /// The variance of the weight that comes of how many samples fall into its strata, which the accounts take away.
    fn known(&self) -> f64 {
        self.strata.iter().map(|part| part.weight * part.weight / part.samples).sum()
    }

    /// The batches without what is chance in the number of samples in each, where that is known.
    fn set_right(&self) -> Option<Vec<(f64, f64)>> {
        let mut batches = self.batches.clone().filter(|batches| batches.len() >= 2)?;
        for part in &self.strata {
            let excess = part.excess.iter().flat_map(|excess| excess.iter());
            batches.iter_mut().zip(excess).for_each(|(batch, excess)| batch.0 -= part.weight * excess);
        }
        Some(batches)
    }

    /// The part of that which slices have too.
    fn by_chance(&self) -> f64 {
        self.strata.iter().map(|part| part.chance * part.weight * part.weight / part.samples).sum()
    }
}

/// A cost per query with what is known about its precision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Column's unit per query.
    pub value: f64,
    /// Samples it rests on; `None`: not measured.
    pub samples: Option<u64>,
    /// 95 % interval; `None`: not measured.
    pub interval: Option<(f64, f64)>,
}

/// Sum of costs over sum of queries; `None` without windows or completed queries.
pub fn estimate(windows: &[WindowCost]) -> Option<Estimate> {
    let queries: f64 = windows.iter().map(|w| w.queries).sum();
    (queries > 0.0).then_some(())?;
    let value = windows.iter().map(|w| w.weight).sum::<f64>() / queries;
    let samples = windows.iter().map(|w| w.samples).sum();
    Some(Estimate { value, samples, interval: interval(windows, value, queries) })
}

fn interval(windows: &[WindowCost], value: f64, queries: f64) -> Option<(f64, f64)> {
    let spread = [slices_half_width(windows, value, queries), replicates_half_width(windows, value, queries)];
    let half = spread.into_iter().flatten().reduce(f64::max)?;
    let (low, high) = sampling_bounds(windows, value, queries).unwrap_or((value, value));
    Some(((value - half).min(low).max(0.0), (value + half).max(high)))
}

/// Bounds from the number of samples alone.
fn sampling_bounds(windows: &[WindowCost], value: f64, queries: f64) -> Option<(f64, f64)> {
    let squares: f64 = windows.iter().map(|w| w.squares).sum::<Option<f64>>()?;
    let weight = value * queries;
    if squares > 0.0 {
        let count = weight * weight / squares;
        let (low, high) = poisson_bounds(count);
        let left = (1.0 - windows.iter().map(WindowCost::known).sum::<f64>() / squares).max(0.0).sqrt();
        return Some((value * (1.0 - (1.0 - low / count) * left), value * (1.0 + (high / count - 1.0) * left)));
    }
    let quantum = windows.iter().map(|w| w.quantum).collect::<Option<Vec<_>>>()?.into_iter().fold(0.0, f64::max);
    Some((0.0, poisson_bounds(0.0).1 * quantum / queries))
}

/// 95 % bounds of the mean of a Poisson count, by Byar's approximation (within 1 % of the exact ones).
fn poisson_bounds(count: f64) -> (f64, f64) {
    let cube = |k: f64, sign: f64| k * (1.0 - 1.0 / (9.0 * k) + sign * 1.96 / (3.0 * k.sqrt())).powi(3);
    let low = if count > 0.0 { cube(count, -1.0).max(0.0) } else { 0.0 };
    (low, cube(count + 1.0, 1.0))
}

fn slices_half_width(windows: &[WindowCost], value: f64, queries: f64) -> Option<f64> {
    let (mut variance, mut freedom) = (0.0, 0);
    for window in windows {
        let batches = window.set_right()?;
        let ratio = if window.queries > 0.0 { window.weight / window.queries } else { value };
        let scatter = scatter(&batches, ratio);
        variance += (scatter - window.by_chance()).max(LEFT * scatter);
        freedom += batches.len() - 1;
    }
    (freedom > 0).then(|| student(freedom) * variance.sqrt() / queries)
}

fn replicates_half_width(windows: &[WindowCost], value: f64, queries: f64) -> Option<f64> {
    if windows.len() < 3 {
        return None;
    }
    let parts: Vec<_> = windows.iter().map(|w| (w.weight, w.queries)).collect();
    Some(student(parts.len() - 1) * scatter(&parts, value).sqrt() / queries)
}

/// b/(b-1) * sum((w - R q)^2): the variance of the numerator's deviation from the ratio.
fn scatter(parts: &[(f64, f64)], ratio: f64) -> f64 {
    let count = parts.len() as f64;
    let squares: f64 = parts.iter().map(|(weight, queries)| (weight - ratio * queries).powi(2)).sum();
    squares * count / (count - 1.0)
}

/// Two-sided 95 % quantile of Student's t.
fn student(freedom: usize) -> f64 {
    two_sided_quantile(0.05, freedom as f64)
}

/// Mean of independent values and its 95 % interval (Student 1908), which fewer than two do not have; `None` of
/// nothing.
pub fn mean(values: &[f64]) -> Option<(f64, Option<(f64, f64)>)> {
    let count = values.len() as f64;
    (count > 0.0).then_some(())?;
    let mean = values.iter().sum::<f64>() / count;
    let half = || {
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        student(values.len() - 1) * (variance / count).sqrt()
    };
    let interval = (values.len() > 1).then(half).map(|half| (mean - half, mean + half));
    Some((mean, interval))
}

/// 95 % interval of `last - first` from the two intervals (MOVER: Zou and Donner 2008, Stat. Med. 27:1693).
pub fn difference(first: &Estimate, last: &Estimate) -> Option<(f64, f64)> {
    let ((first_low, first_high), (last_low, last_high)) = (first.interval?, last.interval?);
    let difference = last.value - first.value;
    let below = (last.value - last_low).hypot(first_high - first.value);
    let above = (last_high - last.value).hypot(first.value - first_low);
    Some((difference - below, difference + above))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(weight: f64, samples: u64, batches: Option<Vec<(f64, f64)>>) -> WindowCost {
        let each = if samples > 0 { weight / samples as f64 } else { 0.0 };
        WindowCost {
            weight,
            queries: 1000.0,
            samples: Some(samples),
            squares: Some(each * each * samples as f64),
            quantum: Some(1e6),
            batches,
            strata: Vec::new(),
        }
    }

    #[test]
    fn an_interval_of_3100_samples_is_at_least_1_96_times_1_8_percent_wide() {
        let even: Vec<_> = (0..20).map(|_| (3100.0 * 1e6 / 20.0, 50.0)).collect();
        let found = estimate(&[window(3100.0 * 1e6, 3100, Some(even))]).unwrap();
        let (low, high) = found.interval.unwrap();
        assert!(((high - low) / 2.0 / found.value - 1.96 * 0.01796).abs() < 2e-4, "{low} {high} {}", found.value);
    }

    #[test]
    fn slices_that_scatter_more_than_samples_widen_the_interval_by_students_t() {
        let batches: Vec<_> = (0..20).map(|i| (if i % 2 == 0 { 60e6 } else { 40e6 }, 50.0)).collect();
        let found = estimate(&[window(1000e6, 1_000_000, Some(batches))]).unwrap();
        let half = 2.093_024_054_408_263 * (20.0 / 19.0 * 20.0 * 1e7f64.powi(2)).sqrt() / 1000.0;
        assert_eq!(found.value, 1e6);
        let (low, high) = found.interval.unwrap();
        assert!((low - (1e6 - half)).abs() < 1e-3 && (high - (1e6 + half)).abs() < 1e-3, "{low} {high} {half}");
    }

    #[test]
    fn three_replicates_that_differ_widen_the_interval_and_two_do_not() {
        let steady = |w: f64| window(w, 1_000_000, Some(vec![(w / 2.0, 500.0), (w / 2.0, 500.0)]));
        let two = estimate(&[steady(1e9), steady(1.4e9)]).unwrap().interval.unwrap();
        assert!(two.1 - two.0 < 0.01e6);
        let three = estimate(&[steady(1e9), steady(1.2e9), steady(1.4e9)]).unwrap().interval.unwrap();
        let half = 4.302_652_73 * (1.5 * 2.0 * 0.2e9f64.powi(2)).sqrt() / 3000.0;
        assert!((three.1 - (1.2e6 + half)).abs() < 1.0, "{three:?} {half}");
    }

    #[test]
    fn a_frame_without_samples_has_an_upper_bound_of_about_3_7_samples() {
        let found = estimate(&[window(0.0, 0, Some(vec![(0.0, 500.0), (0.0, 500.0)]))]).unwrap();
        let (low, high) = found.interval.unwrap();
        assert_eq!((found.value, low), (0.0, 0.0));
        assert!((high / 1000.0 - 3.69).abs() < 0.04, "{high}");
    }

    fn part(stratum: usize, weight: f64, samples: f64) -> InStratum {
        InStratum { stratum, weight, samples, chance: 0.5, excess: None }
    }

    #[test]
    fn batches_lose_what_samples_show_of_a_stratum_beyond_its_account() {
        // Samples fall 60 : 40 where the CPU was 50 : 50; half of them are the frame's, evenly.
        let with = |excess: Option<Arc<[f64]>>| {
            let strata = vec![InStratum { chance: 0.0, excess, ..part(0, 500e6, 1e6) }];
            let cost = WindowCost { strata, ..window(500e6, 500_000, Some(vec![(300e6, 500.0), (200e6, 500.0)])) };
            let (low, high) = estimate(&[cost]).unwrap().interval.unwrap();
            high - low
        };
        let (without, taken) = (with(None), with(Some([0.1, -0.1].into())));
        assert!(taken < 0.01 * without, "{taken} {without}");
    }

    #[test]
    fn a_whole_stratum_has_no_interval_and_half_of_one_the_binomial_one() {
        let of = |samples: u64| WindowCost {
            strata: vec![part(0, samples as f64 * 1e6, 10_000.0)],
            ..window(samples as f64 * 1e6, samples, Some(vec![(samples as f64 * 5e5, 500.0); 2]))
        };
        let (low, high) = estimate(&[of(10_000)]).unwrap().interval.unwrap();
        assert!((low - 1e7).abs() < 1.0 && (high - 1e7).abs() < 1.0, "{low} {high}");
        let found = estimate(&[of(5_000)]).unwrap();
        let (low, high) = found.interval.unwrap();
        // sqrt(n p (1 - p)) of 5,000.
        let half = 1.96 * (10_000.0f64 * 0.25).sqrt() / 5_000.0;
        assert!(((high - low) / 2.0 / found.value / half - 1.0).abs() < 0.01, "{low} {high} {half}");
    }

    #[test]
    fn strata_are_added_in_their_order() {
        let part = |stratum, weight| part(stratum, weight, 100.0);
        let mut cost = WindowCost { strata: vec![part(2, 20.0)], ..WindowCost::default() };
        cost.add(&WindowCost { strata: vec![part(0, 10.0), part(2, 30.0)], ..WindowCost::default() });
        assert_eq!(cost.strata, [part(0, 10.0), part(2, 50.0)]);
        assert_eq!(cost.known(), 26.0);
    }

    #[test]
    fn without_times_there_is_no_interval_and_without_queries_no_estimate() {
        assert_eq!(estimate(&[window(1e9, 1000, None)]).unwrap().interval, None);
        assert_eq!(estimate(&[WindowCost { queries: 0.0, ..window(1e9, 1000, None) }]), None);
        assert_eq!(estimate(&[]), None);
    }
}
