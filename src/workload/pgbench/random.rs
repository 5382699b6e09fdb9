//! Random integers of pgbench's four distributions, hashes and a permutation (PostgreSQL documentation, "pgbench":
//! Built-in Functions). Invariant: a result lies within the bounds that were asked for.

use rand::Rng;

/// Uniform over `low..=high`.
pub fn uniform(random: &mut impl Rng, low: i64, high: i64) -> Result<i64, String> {
    check(low, high)?;
    Ok(random.random_range(low..=high))
}

/// As `e^-parameter` falls from the lower bound to the upper one.
pub fn exponential(random: &mut impl Rng, low: i64, high: i64, parameter: f64) -> Result<i64, String> {
    check(low, high)?;
    if parameter <= 0.0 || parameter.is_nan() {
        return Err("the parameter of random_exponential must be above 0".into());
    }
    let cut = (-parameter).exp();
    // In 0 (left out) to 1, so that the logarithm exists.
    let uniform = 1.0 - random.random::<f64>();
    Ok(scaled(low, high, -(cut + (1.0 - cut) * uniform).ln() / parameter))
}

/// A bell over the middle; `parameter` standard deviations lie on either side.
pub fn gaussian(random: &mut impl Rng, low: i64, high: i64, parameter: f64) -> Result<i64, String> {
    check(low, high)?;
    if parameter < 2.0 || parameter.is_nan() {
        return Err("the parameter of random_gaussian must be at least 2".into());
    }
    loop {
        // Box and Muller.
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * random.random::<f64>()).sin();
        if (-parameter..parameter).contains(&normal) {
            return Ok(scaled(low, high, (normal + parameter) / (2.0 * parameter)));
        }
    }
}

/// The n-th value as often as `n^-parameter` says (L. Devroye, Non-Uniform Random Variate Generation, 1986, X.6.1).
pub fn zipfian(random: &mut impl Rng, low: i64, high: i64, parameter: f64) -> Result<i64, String> {
    check(low, high)?;
    if !(1.001..=1000.0).contains(&parameter) {
        return Err("the parameter of random_zipfian must lie in 1.001 .. 1000".into());
    }
    let count = high.wrapping_sub(low) as u64 as f64 + 1.0;
    let bound = 2f64.powf(parameter - 1.0);
    loop {
        let (u, v) = (1.0 - random.random::<f64>(), random.random::<f64>());
        let x = u.powf(-1.0 / (parameter - 1.0)).floor();
        let t = (1.0 + 1.0 / x).powf(parameter - 1.0);
        if x <= count && v * x * (t - 1.0) / (bound - 1.0) <= t / bound {
            return Ok(low.wrapping_add((x - 1.0) as u64 as i64).min(high));
        }
    }
}

fn check(low: i64, high: i64) -> Result<(), String> {
    if low > high { Err(format!("no number lies between {low} and {high}")) } else { Ok(()) }
}

/// The value at a share (0 up to, but without, 1) of the interval.
fn scaled(low: i64, high: i64, share: f64) -> i64 {
    let count = high.wrapping_sub(low) as u64 as f64 + 1.0;
    low.wrapping_add((count * share) as u64 as i64).clamp(low, high)
}

/// FNV-1a over the eight bytes of `value`, the lowest first.
pub fn fnv1a(value: i64, seed: i64) -> i64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    value.to_le_bytes().into_iter().fold(BASIS ^ seed as u64, hash) as i64
}

/// MurmurHash2 (64A) of the eight bytes of `value`.
pub fn murmur2(value: i64, seed: i64) -> i64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    let mix = |value: u64| value ^ (value >> 47);
    let word = mix((value as u64).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    let hash = (seed as u64 ^ 8u64.wrapping_mul(MULTIPLIER) ^ word).wrapping_mul(MULTIPLIER);
    mix(mix(hash).wrapping_mul(MULTIPLIER)) as i64
}

/// Where `value` (modulo `size`) goes in a permutation of `0..size` that `seed` names: a Feistel network over the
/// next even number of bits, applied until the result is below `size`. pgbench's own permutation is another one.
pub fn permute(value: i64, size: i64, seed: i64) -> Result<i64, String> {
    if size <= 0 {
        return Err("the size of permute must be above 0".into());
    }
    let half = (64 - (size as u64 - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut at = value.rem_euclid(size) as u64;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..4 {
            (left, right) = (right, left ^ (murmur2(right as i64, seed.wrapping_add(round)) as u64 & mask));
        }
        at = left << half | right;
        if at < size as u64 {
            return Ok(at as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const DRAWS: usize = 200_000;

    fn shares(low: i64, high: i64, draw: impl Fn(&mut StdRng) -> i64) -> Vec<f64> {
        let mut random = StdRng::seed_from_u64(7);
        let mut counts = vec![0u32; (high - low + 1) as usize];
        (0..DRAWS).for_each(|_| counts[(draw(&mut random) - low) as usize] += 1);
        counts.into_iter().map(|count| f64::from(count) / DRAWS as f64).collect()
    }

    fn assert_near(found: &[f64], expected: impl Fn(usize) -> f64) {
        for (at, share) in found.iter().enumerate() {
            let right = expected(at);
            // Five standard errors.
            let error = 5.0 * (right * (1.0 - right) / DRAWS as f64).sqrt();
            assert!((share - right).abs() <= error, "{at}: {share} for {right}");
        }
    }

    /// The normal distribution's integral from `from` to `to` by the trapezoidal rule.
    fn normal(from: f64, to: f64) -> f64 {
        let step = (to - from) / 2000.0;
        (0..2000).map(|i| (-(from + (f64::from(i) + 0.5) * step).powi(2) / 2.0).exp() * step).sum()
    }

    #[test]
    fn each_value_is_drawn_as_often_as_the_documented_formula_says() {
        assert_near(&shares(-3, 6, |r| uniform(r, -3, 6).unwrap()), |_| 0.1);
        let exponential = shares(1, 10, |r| exponential(r, 1, 10, 3.0).unwrap());
        let tail = |at: f64| (-3.0 * at / 10.0).exp();
        assert_near(&exponential, |at| (tail(at as f64) - tail(at as f64 + 1.0)) / (1.0 - (-3.0f64).exp()));
        let gaussian = shares(1, 10, |r| gaussian(r, 1, 10, 2.5).unwrap());
        let edge = |at: usize| -2.5 + at as f64 / 2.0;
        assert_near(&gaussian, |at| normal(edge(at), edge(at + 1)) / normal(-2.5, 2.5));
        let zipfian = shares(1, 20, |r| zipfian(r, 1, 20, 1.5).unwrap());
        let all: f64 = (1..=20).map(|n| f64::from(n).powf(-1.5)).sum();
        assert_near(&zipfian, |at| (at as f64 + 1.0).powf(-1.5) / all);
    }

    #[test]
    fn extreme_bounds_are_kept_and_wrong_ones_are_refused() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..1000 {
            for draw in [
                uniform(&mut random, i64::MIN, i64::MAX),
                exponential(&mut random, 5, 5, 0.5),
                gaussian(&mut random, i64::MIN, i64::MAX, 2.0),
                zipfian(&mut random, i64::MAX, i64::MAX, 1.001),
            ] {
                draw.unwrap();
            }
        }
        assert!(uniform(&mut random, 2, 1).is_err());
        assert!(exponential(&mut random, 1, 2, 0.0).is_err());
        assert!(gaussian(&mut random, 1, 2, 1.9).is_err());
        assert!(zipfian(&mut random, 1, 2, 1.0).is_err());
    }

    #[test]
    fn hashes_are_those_of_the_documentation() {
        assert_eq!(murmur2(10, 5432), -5_817_877_081_768_721_676);
        assert_eq!(fnv1a(10, 5432), -7_793_829_335_365_542_153);
    }

    #[test]
    fn a_permutation_reaches_each_number_once() {
        for size in [1, 2, 3, 10, 1000, 1025] {
            let mut seen: Vec<i64> = (0..size).map(|i| permute(i, size, 42).unwrap()).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..size), "{size}");
        }
        assert_eq!(permute(-1, 10, 1), permute(9, 10, 1));
        assert_ne!(
            (0..100).map(|i| permute(i, 100, 1)).collect::<Vec<_>>(),
            (0..100).map(|i| permute(i, 100, 2)).collect::<Vec<_>>()
        );
        assert!(permute(1, i64::MAX, 3).unwrap() >= 0 && permute(1, 0, 1).is_err());
    }
}
