//! How stacks are sampled, as arguments of the verbs that measure.

use crate::sample::{self, COSTLY_INTERRUPT, DEFAULT_FREQUENCY, EventChoice, LOW_FREQUENCY, Unwinding, interrupt_cost};
use crate::target::has_pmu;
use clap::Args;

#[derive(Args)]
pub struct Sampling {
    /// Measure without following threads off CPU (blocked and runnable time by stack)
    #[arg(long)]
    no_off_cpu: bool,
    /// Measure without sampling stacks
    #[arg(long)]
    no_sampling: bool,
    /// Samples per second and CPU [default: 997; fewer distort less where a timer's interrupt is dear]
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
        Some(sample::Options {
            frequency: self.frequency.unwrap_or(DEFAULT_FREQUENCY),
            costly_interrupts: self.costly_interrupts(),
            event: self.event,
            unwinding: self.unwind,
            stack_bytes: self.stack_bytes,
            off_cpu: !self.no_off_cpu,
            ..sample::Options::default()
        })
    }

    /// What to say where a timer's interrupt is costly_interrupts; `None` where it is not, or the number of samples
    /// was asked for.
    fn costly_interrupts(&self) -> Option<String> {
        let timers = self.event == EventChoice::CpuClock || self.event == EventChoice::Auto && !has_pmu();
        if self.frequency.is_some() || !timers {
            return None;
        }
        // Where timers are refused, so is sampling, and that is said where it is tried.
        let cost = interrupt_cost().ok().filter(|nanos| *nanos > COSTLY_INTERRUPT)?;
        Some(format!(
            "a timer's interrupt takes {:.0} us of a CPU here, {:.1} % of it at {DEFAULT_FREQUENCY} Hz, and more of a \
                busy server: \
             --frequency {LOW_FREQUENCY} takes a quarter, --observer-cost measures it",
            cost / 1_000.0,
            cost * DEFAULT_FREQUENCY as f64 / 1e7
        ))
    }
}
