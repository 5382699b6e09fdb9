//! How well the sum of a correlated series is known. Invariant: neighbours that are alike never make it look better
//! known than independent ones of the same scatter would.

/// What a series says of its own sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SumVariance {
    /// Variance of the sum, in the series' unit squared.
    pub variance: f64,
    /// Independent observations that the series is worth, at least 1.
    pub effective: f64,
}

/// Variance of the sum of a stationary series by Geyer's initial monotone sequence ("Practical Markov Chain Monte
/// Carlo", Statistical Science 7(4), 1992, section 3.3): autocovariances are summed in pairs as long as the pairs are
/// positive and do not rise. It is never taken as less than that of independent values, although a closed loop's
/// counts can be anticorrelated. `None` for fewer than 8 values.
pub fn sum_variance(series: &[f64]) -> Option<SumVariance> {
    let count = series.len();
    (count >= 8).then_some(())?;
    let mean = series.iter().sum::<f64>() / count as f64;
    let covariance = |lag: usize| {
        let pairs = series.iter().zip(&series[lag..]);
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / count as f64
    };
    let own = covariance(0);
    if own <= 0.0 {
        return Some(SumVariance { variance: 0.0, effective: count as f64 });
    }
    let (mut sum, mut last) = (0.0, f64::INFINITY);
    for lag in (0..count - 1).step_by(2) {
        let pair = (covariance(lag) + covariance(lag + 1)).min(last);
        if pair <= 0.0 {
            break;
        }
        sum += pair;
        last = pair;
    }
    let of_one = (2.0 * sum - own).max(own);
    let effective = (count as f64 * own / of_one).max(1.0);
    // The mean is estimated from the same values: as many degrees of freedom are lost as they are worth.
    let unbiased = effective / (effective - 1.0).max(0.5);
    Some(SumVariance { variance: count as f64 * of_one * unbiased, effective })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// An autoregressive series of first order, variance 1.
    fn series(random: &mut StdRng, count: usize, memory: f64) -> Vec<f64> {
        let mut at = 0.0;
        let uniform = |random: &mut StdRng| (random.random::<f64>() - 0.5) * 12f64.sqrt();
        (0..count + 50)
            .map(|_| {
                at = memory * at + (1.0 - memory * memory).sqrt() * uniform(random);
                at
            })
            .skip(50)
            .collect()
    }

    #[test]
    fn the_variance_of_a_correlated_sum_is_found_and_a_naive_one_would_not_be() {
        let mut random = StdRng::seed_from_u64(7);
        let (runs, count) = (400, 200);
        for memory in [0.0, 0.5, 0.8] {
            let mut sums = Vec::new();
            let mut claimed = 0.0;
            for _ in 0..runs {
                let series = series(&mut random, count, memory);
                sums.push(series.iter().sum::<f64>());
                claimed += sum_variance(&series).unwrap().variance / f64::from(runs);
            }
            let truth = sums.iter().map(|s| s * s).sum::<f64>() / f64::from(runs);
            assert!(claimed > 0.85 * truth && claimed < 1.5 * truth, "memory {memory}: {claimed} for {truth}");
        }
    }

    #[test]
    fn anticorrelated_values_do_not_narrow_and_constant_ones_have_no_variance() {
        let alternating: Vec<f64> = (0..100).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let found = sum_variance(&alternating).unwrap();
        assert!(found.variance >= 100.0 && found.effective <= 100.0, "{found:?}");
        assert_eq!(sum_variance(&[3.0; 20]).unwrap().variance, 0.0);
        assert_eq!(sum_variance(&[3.0; 7]), None);
    }
}
