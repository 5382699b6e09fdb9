//! What can be said of a histogram's distribution: means exactly, quantiles only as the bounds of a bucket.
//! Invariant: nothing is interpolated inside a bucket.

use super::Change;

/// The bounds `(lower, upper]` of the bucket that holds the `q`-quantile (0..=1) of the window's observations, in the
/// metric's unit. `None` without observations, without buckets, or where `change` is no histogram. The lower bound of
/// the first bucket is 0, the upper bound of the last one infinite.
pub fn quantile_bounds(change: &Change, q: f64) -> Option<(f64, f64)> {
    let Change::Histogram { count, buckets, .. } = change else { return None };
    if *count <= 0.0 || !(0.0..=1.0).contains(&q) {
        return None;
    }
    // The rank of an observation is a whole number: the median of three is the second.
    let rank = (q * count).ceil().max(1.0);
    let mut lower = 0.0;
    for &(bound, below) in buckets {
        if below >= rank {
            return Some((lower, bound));
        }
        lower = bound;
    }
    None
}

impl Change {
    /// delta(sum) / delta(count) of a histogram; `None` where nothing was observed or `self` is no histogram.
    pub fn mean(&self) -> Option<f64> {
        match self {
            Change::Histogram { count, sum, .. } if *count > 0.0 => Some(sum / count),
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
        Change::Histogram { count, sum: 10.0, buckets: buckets.to_vec(), reset: false }
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
    fn nothing_observed_has_neither_mean_nor_quantile() {
        let change = histogram(&[(0.001, 0.0), (f64::INFINITY, 0.0)], 0.0);
        assert_eq!(quantile_bounds(&change, 0.5), None);
        assert_eq!(change.mean(), None);
        assert_eq!(quantile_bounds(&Change::Gauge { before: None, after: 1.0 }, 0.5), None);
        assert_eq!(quantile_bounds(&histogram(&[], 4.0), 0.5), None, "a summary has no buckets");
    }
}
