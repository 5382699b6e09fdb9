//! How often to sample so that it takes no more than a budget of the busy CPU. Invariant: a rate is one of
//! [`RATES`], so that runs on one host have the same one although what they measure varies a little.

/// Samples per second and CPU to choose from: odd and without common divisors, so as not to run in step with work that
/// timers wake.
pub const RATES: [u64; 8] = [49, 97, 149, 199, 331, 499, 661, 997];
/// Samples per second and CPU where what they take is not known.
pub const DEFAULT_FREQUENCY: u64 = 997;
/// Share of the busy CPU that sampling may take where nobody says otherwise, in percent.
pub const DEFAULT_BUDGET: f64 = 1.0;
/// ns of the interrupted thread that following its stack takes, where it has not been measured yet: of a real server
/// with stacks of 60 frames (docs/decisions/timer-cost.md).
pub const FOLLOWING: f64 = 11_000.0;

/// The highest rate at which samples, each of which takes so many ns of its CPU, stay within a budget in percent; the
/// lowest where none does.
pub fn within_budget(percent: f64, nanos: f64) -> u64 {
    let fits = |rate: &&u64| **rate as f64 * nanos <= percent / 100.0 * 1e9;
    *RATES.iter().rev().find(fits).unwrap_or(&RATES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_highest_whose_samples_fit() {
        for (percent, nanos, rate) in [
            (1.0, 2_000.0, 997),
            (1.0, 10_000.0, 997),
            (1.0, 10_100.0, 661),
            (1.0, 24_000.0, 331),
            (2.0, 24_000.0, 661),
            (1.0, 130_000.0, 49),
            (0.1, 130_000.0, 49),
        ] {
            assert_eq!(within_budget(percent, nanos), rate, "{percent} % at {nanos} ns");
        }
    }
}
