//! How often to sample so that it takes no more than a budget of the busy CPU, and why so often. Invariant: a chosen
//! rate is one of [`RATES`], so that runs on one host have the same one although what they measure varies a little.

use crate::words::{counted, significant, time};
use serde::{Deserialize, Serialize};

/// Samples per second and CPU to choose from: odd and without common divisors, so as not to run in step with work that
/// timers wake.
pub const RATES: [u64; 8] = [49, 97, 149, 199, 331, 499, 661, 997];
/// The lowest of them.
pub const LOWEST_RATE: u64 = RATES[0];
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
    *RATES.iter().rev().find(fits).unwrap_or(&LOWEST_RATE)
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

/// What a timer's interrupt was measured to take of the target under load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnTarget {
    /// ns of the target's CPU for each interrupt of it: the most likely value.
    pub nanos: f64,
    /// Lower end of its 95 % interval in ns; below 0 where noise is larger than the cost.
    pub low: f64,
    /// Upper end of the interval in ns.
    pub high: f64,
    /// Pairs of slices of the first warm-up, one with timers and one without (a count).
    pub pairs: usize,
    /// Length of a slice in s.
    pub slice_seconds: f64,
    /// Interrupts per second and CPU in a slice with timers.
    pub frequency: f64,
    /// Clients of the load.
    pub level: usize,
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
    /// What an interrupt took of the target in the first warm-up; `None`: not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<OnTarget>,
    /// Why that was not measured; `None`: it was, or nobody asked for a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmeasured: Option<String>,
}

impl ChosenRate {
    /// A rate that was asked for.
    pub fn asked(frequency: u64, interrupt: Option<f64>) -> ChosenRate {
        let following = Following::ASSUMED;
        ChosenRate { frequency, budget: None, interrupt, following, target: None, unmeasured: None }
    }

    /// The highest rate within a budget in percent; the usual one where it is not known what an interrupt takes.
    pub fn within(budget: f64, interrupt: Option<f64>, following: Following) -> ChosenRate {
        let mut chosen = ChosenRate { budget: Some(budget), ..ChosenRate::asked(DEFAULT_FREQUENCY, interrupt) };
        chosen.following = following;
        chosen.again()
    }

    /// With the rate that follows from what else it holds.
    fn again(mut self) -> ChosenRate {
        if let Some((budget, sample)) = self.budget.zip(self.sample()) {
            self.frequency = within_budget(budget, sample);
        }
        self
    }

    /// ns that an interrupt is reckoned to take. The loop before the load tells the least, for it has nothing to fill
    /// again afterwards: what the target lost counts only where the whole of its interval is above that. Else noise
    /// would choose the rate, and runs on one host would have unlike ones.
    pub fn interrupt_taken(&self) -> Option<f64> {
        let of_loop = self.interrupt?;
        Some(self.target.map_or(of_loop, |target| if target.low > of_loop { target.nanos } else { of_loop }))
    }

    /// What the target lost to interrupts, where that chose the rate: the loop's figure is too low here.
    pub fn by_target(&self) -> Option<&OnTarget> {
        let of_loop = self.interrupt?;
        self.target.as_ref().filter(|target| target.low > of_loop)
    }

    /// ns that a sample is reckoned to take.
    fn sample(&self) -> Option<f64> {
        Some(self.interrupt_taken()? + self.following.nanos)
    }

    /// Whether it depends on what following a stack takes, which is still only assumed.
    pub fn is_open(&self) -> bool {
        self.budget.is_some() && self.interrupt.is_some() && self.following.samples.is_none()
    }

    /// Chosen once more by what interrupts took of the target.
    pub fn measured(self, target: OnTarget) -> ChosenRate {
        ChosenRate { target: Some(target), unmeasured: None, ..self }.again()
    }

    /// As it is, with why the target was not asked.
    pub fn not_measured(self, why: String) -> ChosenRate {
        ChosenRate { unmeasured: Some(why), ..self }
    }

    /// Chosen once more, where following `samples` stacks took so many ns in all and that is far from what was
    /// assumed; else as it is.
    pub fn reconsidered(self, nanos: Option<u64>, samples: u64) -> ChosenRate {
        let Some(nanos) = nanos.filter(|nanos| *nanos > 0 && samples >= ENOUGH) else { return self };
        let measured = nanos as f64 / samples as f64;
        let times = measured / self.following.nanos;
        if !self.is_open() || (1.0 / FAR..=FAR).contains(&times) {
            return self;
        }
        ChosenRate { following: Following { nanos: measured, samples: Some(samples) }, ..self }.again()
    }

    /// Percent of the busy CPU that samples are reckoned to take, where that is more than the budget although there is
    /// no lower rate.
    pub fn beyond_budget(&self) -> Option<f64> {
        let share = self.frequency as f64 * self.sample()? / 1e7;
        self.budget.filter(|budget| self.frequency == LOWEST_RATE && share > *budget).map(|_| share)
    }

    /// The reason, in words.
    pub fn told(&self) -> String {
        let rate = format!("{} samples per second and CPU", self.frequency);
        let Some(budget) = self.budget else { return format!("{rate}, as asked for (--frequency)") };
        let Some(interrupt) = self.interrupt else {
            return format!("{rate}: what an interrupt takes could not be measured, so no rate was chosen by a budget");
        };
        let following = match self.following.samples {
            None => format!("following a stack is assumed to take {}", time(self.following.nanos)),
            Some(samples) => format!(
                "following a stack took {} in the first warm-up ({})",
                time(self.following.nanos),
                counted(samples, "sample")
            ),
        };
        format!(
            "{rate}, for {budget} % of the busy CPU (--sampling-budget): {}, and {following}{}",
            self.told_of_interrupts(interrupt),
            self.told_beyond(budget)
        )
    }

    /// What an interrupt takes, by the loop and by the target.
    fn told_of_interrupts(&self, of_loop: f64) -> String {
        let of_loop = format!("an interrupt takes {} of a loop before the load", time(of_loop));
        match (&self.target, &self.unmeasured) {
            (Some(target), _) if self.by_target().is_some() => format!("{of_loop}, but took {}", target.told()),
            (Some(target), _) => {
                format!("{of_loop}, which is taken, for it was not shown to be more on the target ({})", target.told())
            }
            (None, Some(why)) => format!("{of_loop} (what it takes of the target was not measured: {why})"),
            (None, None) => of_loop,
        }
    }

    fn told_beyond(&self, budget: f64) -> String {
        self.beyond_budget().map_or(String::new(), |share| {
            format!(
                "; at {} Hz, the lowest rate, that is about {} %: the budget of {budget} % cannot be kept here",
                self.frequency,
                significant(share)
            )
        })
    }
}

impl OnTarget {
    /// The value with its interval, and what it is of.
    fn told(&self) -> String {
        format!(
            "{} of the target in the first warm-up (95 % interval {} to {}; {} of slices of {} with a timer of {} Hz \
             and without, at {})",
            time(self.nanos),
            time(self.low),
            time(self.high),
            counted(self.pairs as u64, "pair"),
            time(self.slice_seconds * 1e9),
            significant(self.frequency),
            counted(self.level as u64, "client")
        )
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

    /// An interrupt of the target that takes so many us, known to so many.
    fn on_target(micros: f64, error: f64) -> OnTarget {
        let nanos = micros * 1e3;
        let (low, high) = (nanos - error * 1e3, nanos + error * 1e3);
        OnTarget { nanos, low, high, pairs: 12, slice_seconds: 0.04, frequency: 968.0, level: 64 }
    }

    #[test]
    fn what_interrupts_take_of_the_target_chooses_the_rate_where_it_is_shown_to_be_more_than_of_the_loop() {
        let chosen = ChosenRate::within(1.0, Some(13_000.0), Following::ASSUMED);
        let rate = |micros, error| chosen.clone().measured(on_target(micros, error)).frequency;
        assert_eq!((chosen.frequency, rate(60.0, 20.0), rate(125.0, 20.0)), (331, 97, 49));
        // Noise lowers no rate, nor does it raise one.
        assert_eq!((rate(60.0, 50.0), rate(400.0, 900.0), rate(-50.0, 20.0), rate(2.0, 1.0)), (331, 331, 331, 331));
        let again = chosen.measured(on_target(60.0, 20.0)).reconsidered(Some(4_000_000), 1_000);
        assert_eq!((again.frequency, again.interrupt_taken()), (149, Some(60_000.0)));
        assert_eq!(again.beyond_budget(), None);
    }

    #[test]
    fn a_budget_that_no_rate_keeps_is_told_with_what_the_lowest_takes() {
        let chosen = ChosenRate::within(1.0, Some(13_000.0), Following::ASSUMED).measured(on_target(317.0, 40.0));
        assert_eq!(
            chosen.told(),
            "49 samples per second and CPU, for 1 % of the busy CPU (--sampling-budget): an interrupt takes 13.0 µs of \
             a loop before the load, but took 317 µs of the target in the first warm-up (95 % interval 277 µs to \
             357 µs; 12 pairs of slices of 40.0 ms with a timer of 968 Hz and without, at 64 clients), and following a \
             stack is assumed to take 11.0 µs; at 49 Hz, the lowest rate, that is about 1.61 %: the budget of 1 % \
             cannot be kept here"
        );
        let chosen = ChosenRate::within(1.0, Some(13_000.0), Following::ASSUMED);
        assert!(
            chosen.clone().measured(on_target(20.0, 30.0)).told().contains("µs of a loop before the load, which is")
        );
        assert!(
            chosen.not_measured("no query".into()).told().contains("(what it takes of the target was not measured: no")
        );
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
