//! One difference with its standard error, and what may be said of it. Invariant: a verdict and the interval next to
//! it come from the same numbers, so that "faster" or "slower" stands exactly where the interval leaves 0 out.

use crate::analyze::statistics::distribution::{two_sided_quantile, two_sided_tail};
use serde::Serialize;

/// After minus before on one scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// After minus before: in the unit of what is compared, or of its logarithm.
    pub estimate: f64,
    /// Standard error, on the same scale; 0 where nothing scattered.
    pub error: f64,
    /// Degrees of freedom of Student's t (not always a whole number; infinite: the normal distribution).
    pub freedom: f64,
}

impl Contrast {
    /// Welch's difference of means (Biometrika 34, 1947) from each side's mean and its variance with degrees of
    /// freedom, those of the difference by Satterthwaite.
    pub fn welch(before: Mean, after: Mean) -> Self {
        let variance = before.variance + after.variance;
        let part = |mean: Mean| mean.variance * mean.variance / mean.freedom.max(1e-9);
        let parts = part(before) + part(after);
        let freedom = if parts > 0.0 { variance * variance / parts } else { before.freedom + after.freedom };
        Contrast { estimate: after.value - before.value, error: variance.sqrt(), freedom: freedom.max(1.0) }
    }

    /// Probability of a difference as large as this where there is none.
    pub fn p(&self) -> f64 {
        if self.error == 0.0 {
            return if self.estimate == 0.0 { 1.0 } else { 0.0 };
        }
        two_sided_tail(self.estimate / self.error, self.freedom)
    }

    /// Interval that misses the truth with probability `miss`.
    pub fn interval(&self, miss: f64) -> (f64, f64) {
        let half = if self.error == 0.0 { 0.0 } else { self.error * two_sided_quantile(miss, self.freedom) };
        (self.estimate - half, self.estimate + half)
    }
}

/// A mean and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean, in the unit of the values or of their logarithm.
    pub value: f64,
    /// Variance of the mean, in the square of that unit.
    pub variance: f64,
    /// Degrees of freedom of the variance.
    pub freedom: f64,
}

impl Mean {
    /// Of independent values, two at least.
    pub fn of(values: &[f64]) -> Option<Mean> {
        let count = values.len() as f64;
        (values.len() >= 2).then_some(())?;
        let value = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (v - value).powi(2)).sum();
        Some(Mean { value, variance: squares / (count - 1.0) / count, freedom: count - 1.0 })
    }
}

/// What is better of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// A higher value is better, as of throughput.
    More,
    /// A lower value is better, as of latencies and costs.
    Less,
    /// Neither by itself: queries a batch, busy CPUs.
    Neither,
}

/// What may be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Verdict {
    /// Better than before: more where more is better, less where less is; the interval leaves 0 out.
    Faster,
    /// Worse than before; the interval leaves 0 out.
    Slower,
    /// More of a figure of which neither more nor less is better.
    More,
    /// Less of a figure of which neither more nor less is better.
    Less,
    /// No difference shown, and the whole interval lies within the margin.
    Same,
    /// Neither a difference nor its absence was shown.
    Undecided {
        /// Windows that each side would need besides those it has, if what was seen stays so; `None` where
        /// that cannot be said, or not even a thousand would do.
        more: Option<usize>,
    },
}

impl Verdict {
    /// A difference was found, in whichever direction.
    pub fn differs(self) -> bool {
        !matches!(self, Verdict::Same | Verdict::Undecided { .. })
    }
}

/// The verdict: `interval` of the difference, and the margin on the same scale (`None`: no margin can be given, as of
/// a value that was 0 before).
pub fn judge(interval: (f64, f64), margin: Option<f64>, better: Better) -> Verdict {
    let (low, high) = interval;
    match better {
        _ if low <= 0.0 && high >= 0.0 => match margin {
            Some(margin) if low >= -margin && high <= margin => Verdict::Same,
            _ => Verdict::Undecided { more: None },
        },
        Better::More if low > 0.0 => Verdict::Faster,
        Better::Less if high < 0.0 => Verdict::Faster,
        Better::Neither if low > 0.0 => Verdict::More,
        Better::Neither => Verdict::Less,
        _ => Verdict::Slower,
    }
}

/// Windows a side beyond the `windows` there are until the interval would leave 0 out or fit into the margin, if
/// estimate and scatter stay what they are: the standard error falls with the root of the windows.
pub fn replicates_needed(contrast: &Contrast, margin: Option<f64>, miss: f64, windows: usize) -> Option<usize> {
    const MOST: usize = 1_000;
    let windows = windows.max(1);
    let distance = contrast.estimate.abs().max(margin.map_or(0.0, |margin| margin - contrast.estimate.abs()));
    let enough = |count: usize| {
        let error = contrast.error * (windows as f64 / count as f64).sqrt();
        error * two_sided_quantile(miss, 2.0 * (count as f64 - 1.0)) <= distance
    };
    let (mut low, mut high) = (windows.max(2), windows + MOST);
    enough(high).then_some(())?;
    while low < high {
        let middle = usize::midpoint(low, high);
        if enough(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some((high - windows).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welchs_example_of_two_unlike_variances_is_as_in_the_tables() {
        // A textbook's two samples of means 20.82 and 22.99 and variances 7.87 and 3.81: t = 2.46, 24.99 degrees of
        // freedom, p = 0.021.
        let a = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4];
        let b = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4];
        let found = Contrast::welch(Mean::of(&a).unwrap(), Mean::of(&b).unwrap());
        assert!(
            (found.estimate / found.error - 2.4554).abs() < 1e-3 && (found.freedom - 24.989).abs() < 1e-2,
            "{found:?}"
        );
        assert!((found.p() - 0.0214).abs() < 3e-4, "{}", found.p());
    }

    #[test]
    fn the_verdict_follows_the_interval() {
        let margin = Some(0.03);
        assert_eq!(judge((0.01, 0.02), margin, Better::More), Verdict::Faster);
        assert_eq!(judge((0.01, 0.02), margin, Better::Less), Verdict::Slower);
        assert_eq!(judge((-0.2, -0.1), margin, Better::Less), Verdict::Faster);
        assert_eq!(judge((-0.2, -0.1), margin, Better::More), Verdict::Slower);
        assert_eq!(judge((-0.2, -0.1), margin, Better::Neither), Verdict::Less);
        assert_eq!(judge((-0.02, 0.03), margin, Better::Less), Verdict::Same);
        assert_eq!(judge((-0.02, 0.031), margin, Better::Less), Verdict::Undecided { more: None });
        assert_eq!(judge((-0.02, 0.02), None, Better::Less), Verdict::Undecided { more: None });
    }

    #[test]
    fn as_many_replicates_as_are_said_to_be_needed_would_decide() {
        let contrast = Contrast { estimate: 0.01, error: 0.01, freedom: 4.0 };
        let more = replicates_needed(&contrast, Some(0.03), 0.01, 3).unwrap();
        let with = |count: usize| {
            let error = 0.01 * (3.0 / count as f64).sqrt();
            let (low, high) = Contrast { estimate: 0.01, error, freedom: 2.0 * (count as f64 - 1.0) }.interval(0.01);
            low > 0.0 || high <= 0.03
        };
        assert!(with(3 + more) && !with(3 + more - 1), "{more}");
        let hopeless = Contrast { estimate: 0.0, error: 1.0, freedom: 4.0 };
        assert_eq!(replicates_needed(&hopeless, Some(0.001), 0.01, 3), None);
    }

    #[test]
    fn what_does_not_scatter_differs_only_where_it_differs() {
        let still = |estimate| Contrast { estimate, error: 0.0, freedom: 2.0 };
        assert_eq!((still(0.0).p(), still(1.0).p()), (1.0, 0.0));
        assert_eq!(still(0.0).interval(0.01), (0.0, 0.0));
    }
}
