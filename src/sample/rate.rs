//! How often to sample so that it takes no more than a budget of the busy CPU, and why so often. Invariant: a chosen
//! rate is one of [`RATES`], so that runs on one host have the same one although what they measure varies a little.

use crate::words::{counted, time};
use serde::{Deserialize, Serialize};

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

/// Samples of a warm-up that tell what following a stack takes; fewer do not.
const ENOUGH: u64 = 50;
/// A measured walk this many times as long as was assumed, or as short, has the rate chosen once more. A smaller
/// difference does not, for it depends on the level whose warm-up it is.
const FAR: f64 = 2.0;

/// What following one stack was reckoned to take of the interrupted thread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Following {
    /// ns for each sample.
    pub nanos: f64,
    /// Samples of the first warm-up that it is the mean of; `None`: assumed ([`FOLLOWING`]).
    pub samples: Option<u64>,
}

impl Following {
    /// Not measured yet.
    pub const ASSUMED: Following = Following { nanos: FOLLOWING, samples: None };
}

/// Why samples are taken as often as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChosenRate {
    /// Samples per second and CPU; where that is too many for so many CPUs, the sampler takes fewer and says so.
    pub frequency: u64,
    /// Share of the busy CPU that samples may take, in percent; `None`: the rate was asked for.
    pub budget: Option<f64>,
    /// ns that a timer's interrupt took of a loop before the load; `None`: it could not be measured.
    pub interrupt: Option<f64>,
    /// What following a stack was reckoned to take when the rate was chosen.
    pub following: Following,
}

impl ChosenRate {
    /// A rate that was asked for.
    pub fn asked(frequency: u64, interrupt: Option<f64>) -> ChosenRate {
        ChosenRate { frequency, budget: None, interrupt, following: Following::ASSUMED }
    }

    /// The highest rate within a budget in percent; the usual one where it is not known what an interrupt takes.
    pub fn within(budget: f64, interrupt: Option<f64>, following: Following) -> ChosenRate {
        let fits = |interrupt: f64| within_budget(budget, interrupt + following.nanos);
        let frequency = interrupt.map_or(DEFAULT_FREQUENCY, fits);
        ChosenRate { frequency, budget: Some(budget), interrupt, following }
    }

    /// Whether it depends on what following a stack takes, which is still only assumed.
    pub fn is_open(&self) -> bool {
        self.budget.is_some() && self.interrupt.is_some() && self.following.samples.is_none()
    }

    /// Chosen once more, where following `samples` stacks took so many ns in all and that is far from what was
    /// assumed; else as it is.
    pub fn reconsidered(self, nanos: Option<u64>, samples: u64) -> ChosenRate {
        let Some(nanos) = nanos.filter(|nanos| *nanos > 0 && samples >= ENOUGH) else { return self };
        let measured = nanos as f64 / samples as f64;
        let times = measured / self.following.nanos;
        match self.budget {
            Some(budget) if self.is_open() && !(1.0 / FAR..=FAR).contains(&times) => {
                ChosenRate::within(budget, self.interrupt, Following { nanos: measured, samples: Some(samples) })
            }
            _ => self,
        }
    }

    /// The reason, in words.
    pub fn told(&self) -> String {
        let rate = format!("{} samples per second and CPU", self.frequency);
        let Some(budget) = self.budget else { return format!("{rate}, as asked for (--frequency)") };
        let Some(interrupt) = self.interrupt else {
            return format!("{rate}: what an interrupt takes could not be measured, so no rate was chosen by a budget");
        };
        let interrupt = format!("an interrupt takes {} of a loop before the load", time(interrupt));
        let following = match self.following.samples {
            None => format!("following a stack is assumed to take {}", time(self.following.nanos)),
            Some(samples) => format!(
                "following a stack took {} in the first warm-up ({})",
                time(self.following.nanos),
                counted(samples, "sample")
            ),
        };
        format!("{rate}, for {budget} % of the busy CPU (--sampling-budget): {interrupt}, and {following}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_far_from_the_assumed_one_has_the_rate_chosen_once_more_and_a_near_one_not() {
        let chosen = ChosenRate::within(1.0, Some(4_000.0), Following::ASSUMED);
        assert_eq!(chosen.frequency, 661);
        let again = |each: u64, samples: u64| chosen.clone().reconsidered(Some(each * samples), samples);
        assert_eq!(again(2_000, 100).frequency, 997);
        assert_eq!(again(60_000, 100).frequency, 149);
        assert_eq!(again(60_000, 100).following, Following { nanos: 60_000.0, samples: Some(100) });
        for (each, samples) in [(2_000, 49), (6_000, 100), (21_000, 100)] {
            assert_eq!(again(each, samples), chosen, "{each} ns of {samples} samples");
        }
        // Once is all: the other levels have the same rate.
        assert_eq!(again(60_000, 100).reconsidered(Some(100_000), 100), again(60_000, 100));
        assert_eq!(chosen.clone().reconsidered(None, 100), chosen, "copies do not tell");
        let asked = ChosenRate::asked(249, Some(4_000.0));
        assert_eq!(asked.clone().reconsidered(Some(6_000_000), 100), asked);
    }

    #[test]
    fn each_rate_says_why() {
        let chosen = ChosenRate::within(1.0, Some(13_000.0), Following::ASSUMED);
        assert_eq!(
            chosen.told(),
            "331 samples per second and CPU, for 1 % of the busy CPU (--sampling-budget): an interrupt takes 13.0 µs \
             of a loop before the load, and following a stack is assumed to take 11.0 µs"
        );
        assert_eq!(
            chosen.reconsidered(Some(4_200_000), 1_000).told(),
            "499 samples per second and CPU, for 1 % of the busy CPU (--sampling-budget): an interrupt takes 13.0 µs \
             of a loop before the load, and following a stack took 4.20 µs in the first warm-up (1,000 samples)"
        );
        assert_eq!(ChosenRate::asked(249, None).told(), "249 samples per second and CPU, as asked for (--frequency)");
        assert!(ChosenRate::within(1.0, None, Following::ASSUMED).told().contains("could not be measured"));
    }

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
