//! How stacks are sampled, as arguments of the verbs that measure.

use crate::sample::{Unwinding, perf};
use clap::Args;

#[derive(Args)]
pub struct Sampling {
    /// Measure without following threads off CPU (blocked and runnable time by stack)
    #[arg(long)]
    no_off_cpu: bool,
    /// Measure without sampling stacks
    #[arg(long)]
    no_sampling: bool,
    /// Samples per second and CPU
    #[arg(long, value_name = "HZ", default_value_t = 997, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    frequency: u64,
    #[arg(long, value_enum, default_value_t = perf::EventChoice::Auto)]
    event: perf::EventChoice,
    /// How stacks are followed
    #[arg(long, value_enum, default_value_t = Unwinding::Auto)]
    unwind: Unwinding,
    /// Largest stack copy in bytes, where stacks are copied
    #[arg(long, value_name = "BYTES", default_value_t = 65_528)]
    stack_bytes: u64,
}

impl Sampling {
    /// `None`: no sampling.
    pub fn options(&self) -> Option<perf::Options> {
        let options = perf::Options {
            frequency: self.frequency,
            event: self.event,
            unwinding: self.unwind,
            stack_bytes: self.stack_bytes,
            off_cpu: !self.no_off_cpu,
            ..perf::Options::default()
        };
        (!self.no_sampling).then_some(options)
    }
}
