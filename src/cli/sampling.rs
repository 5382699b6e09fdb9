//! How stacks are sampled, as arguments of the verbs that measure.

use crate::sample::{self, ChosenRate, DEFAULT_BUDGET, EventChoice, Following, Unwinding, interrupt_cost};
use anyhow::{Result, ensure};
use clap::Args;

#[derive(Args)]
pub struct Sampling {
    /// Measure without following threads off CPU (blocked and runnable time by stack)
    #[arg(long)]
    no_off_cpu: bool,
    /// Measure without sampling stacks
    #[arg(long)]
    no_sampling: bool,
    /// Share of the busy CPU that samples may take: their rate, of 49 to 997 per second and CPU, is chosen by it
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with = "frequency")]
    #[arg(default_value_t = DEFAULT_BUDGET)]
    sampling_budget: f64,
    /// Samples per second and CPU, whatever they take
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u64).range(1..=20_000))]
    frequency: Option<u64>,
    /// What a sample is taken by
    #[arg(long, value_enum, default_value_t = EventChoice::Auto)]
    event: EventChoice,
    /// How stacks are followed
    #[arg(long, value_enum, default_value_t = Unwinding::Auto)]
    unwind: Unwinding,
    /// Largest stack copy in bytes, where stacks are copied
    #[arg(long, value_name = "BYTES", default_value_t = 65_528)]
    stack_bytes: u64,
}

impl Sampling {
    /// `None`: no sampling.
    pub fn options(&self) -> Option<sample::Options> {
        if self.no_sampling {
            return None;
        }
        let mut options = sample::Options {
            event: self.event,
            unwinding: self.unwind,
            stack_bytes: self.stack_bytes,
            off_cpu: !self.no_off_cpu,
            ..sample::Options::default()
        };
        options.set_rate(self.rate());
        Some(options)
    }

    /// How often, and why.
    fn rate(&self) -> ChosenRate {
        // Where timers are refused, so is sampling, and that is said where it is tried.
        let interrupt = interrupt_cost().ok();
        match self.frequency {
            Some(asked) => ChosenRate::asked(asked, interrupt),
            None => ChosenRate::within(self.sampling_budget, interrupt, Following::ASSUMED),
        }
    }
}

/// A share of a CPU as people write it: `1`, `0.5%`.
fn percent(text: &str) -> Result<f64> {
    let number: f64 = text.trim().trim_end_matches('%').trim_end().parse()?;
    ensure!(number > 0.0 && number <= 100.0, "a share of a CPU is above 0 and at most 100 %");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_share_is_a_number_of_percent() {
        for (text, share) in [("1", Some(1.0)), ("0.5%", Some(0.5)), ("2 %", Some(2.0))] {
            assert_eq!(percent(text).ok(), share, "{text}");
        }
        for wrong in ["0", "-1", "101", "NaN", "much"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
