//! What can be said of a histogram's distribution: means exactly, quantiles only as the bounds of a bucket.
//! Invariant: nothing is interpolated inside a bucket.

use super::Change;

/// The bounds `(lower, upper]` of the bucket that holds the `q`-quantile (0..=1) of the window's observations, in the
/// metric's unit. `None` without observations, without buckets, or where `change` is no histogram. The upper bound of
/// the last bucket is infinite. The lower bound of the first one is 0 where its upper bound is above 0 and the sum is
/// not below, as Prometheus' `histogram_quantile` has it; else there is none (minus infinity).
pub fn quantile_bounds(change: &Change, q: f64) -> Option<(f64, f64)> {
    let Change::Histogram { count, sum, buckets, .. } = change else { return None };
    if *count <= 0.0 || !(0.0..=1.0).contains(&q) {
        return None;
    }
    // The rank of an observation is a whole number: the median of three is the second.
    let rank = (q * count).ceil().max(1.0);
    let positive = buckets.first().is_some_and(|first| first.0 > 0.0) && sum.is_none_or(|sum| sum >= 0.0);
    let mut lower = if positive { 0.0 } else { f64::NEG_INFINITY };
    for &(bound, below) in buckets {
        if below >= rank {
            return Some((lower, bound));
        }
        lower = bound;
    }
    None
}

impl Change {
    /// delta(sum) / delta(count) of a histogram; `None` where nothing was observed, the sum is not exposed or `self` is
    /// no histogram.
    pub fn mean(&self) -> Option<f64> {
        match self {
            Change::Histogram { count, sum: Some(sum), .. } if *count > 0.0 => Some(sum / count),
            _ => None,
        }
    }

    /// Whether the series went down between the two scrapes.
    pub fn reset(&self) -> bool {
        matches!(self, Change::Counter { reset: true, .. } | Change::Histogram { reset: true, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(f64, f64)], count: f64) -> Change {
        Change::Histogram { count, sum: Some(10.0), buckets: buckets.to_vec(), reset: false }
    }

    #[test]
    fn a_quantile_is_the_bounds_of_its_bucket() {
        let change = histogram(&[(0.001, 0.0), (0.002, 5.0), (0.004, 9.0), (f64::INFINITY, 10.0)], 10.0);
        assert_eq!(quantile_bounds(&change, 0.5), Some((0.001, 0.002)));
        assert_eq!(quantile_bounds(&change, 0.51), Some((0.002, 0.004)));
        assert_eq!(quantile_bounds(&change, 0.9), Some((0.002, 0.004)));
        assert_eq!(quantile_bounds(&change, 0.99), Some((0.004, f64::INFINITY)));
        assert_eq!(quantile_bounds(&change, 0.0), Some((0.001, 0.002)));
        assert_eq!(change.mean(), Some(1.0));
    }

    #[test]
    fn the_first_bucket_starts_at_zero() {
        let change = histogram(&[(0.000128, 3.0), (f64::INFINITY, 3.0)], 3.0);
        assert_eq!(quantile_bounds(&change, 0.5), Some((0.0, 0.000128)));
    }

    #[test]
    fn a_first_bucket_that_is_not_above_zero_has_no_lower_bound() {
        for first in [-1.0, 0.0] {
            let change = histogram(&[(first, 3.0), (2.0, 4.0), (f64::INFINITY, 4.0)], 4.0);
            assert_eq!(quantile_bounds(&change, 0.5), Some((f64::NEG_INFINITY, first)));
            assert_eq!(quantile_bounds(&change, 0.99), Some((first, 2.0)));
        }
        let buckets = vec![(1.0, 3.0), (f64::INFINITY, 3.0)];
        let change = Change::Histogram { count: 3.0, sum: Some(-9.0), buckets, reset: false };
        assert_eq!(quantile_bounds(&change, 0.5), Some((f64::NEG_INFINITY, 1.0)), "something below 0 was observed");
    }

    #[test]
    fn nothing_observed_has_neither_mean_nor_quantile() {
        let change = histogram(&[(0.001, 0.0), (f64::INFINITY, 0.0)], 0.0);
        assert_eq!(quantile_bounds(&change, 0.5), None);
        assert_eq!(change.mean(), None);
        assert_eq!(quantile_bounds(&Change::Gauge { before: None, after: 1.0 }, 0.5), None);
        assert_eq!(quantile_bounds(&histogram(&[], 4.0), 0.5), None, "a summary has no buckets");
    }
}
