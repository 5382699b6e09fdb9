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

use super::distribution::two_sided_quantile;
use serde::Serialize;

/// Batches a window is cut into at most: enough for Student's t to be near normal, long enough (250 ms of a 5 s
/// window) that neighbouring batches hardly correlate.
pub const BATCHES: usize = 20;

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
        return Some((value * low / count, value * high / count));
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
        let batches = window.batches.as_ref().filter(|b| b.len() >= 2)?;
        let ratio = if window.queries > 0.0 { window.weight / window.queries } else { value };
        variance += scatter(batches, ratio);
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

    #[test]
    fn without_times_there_is_no_interval_and_without_queries_no_estimate() {
        assert_eq!(estimate(&[window(1e9, 1000, None)]).unwrap().interval, None);
        assert_eq!(estimate(&[WindowCost { queries: 0.0, ..window(1e9, 1000, None) }]), None);
        assert_eq!(estimate(&[]), None);
    }
}
