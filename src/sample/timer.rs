//! Timers that interrupt every CPU at the sampler's rate, for nothing: what of a sampler's cost is the host's own. Invariant: what
//! they count nobody reads, and they are gone with their value.

use super::perf::{Options, events};
use anyhow::{Context, Result};
use perf_event::Counter;

/// One timer a CPU, not yet running.
pub struct BareTimers(Vec<Counter>);

impl BareTimers {
    /// # Errors
    /// What the host does not permit.
    pub fn open(options: &Options) -> Result<BareTimers> {
        let cpus = events::online_cpus();
        let budget = events::budget(cpus.len(), options);
        let timers = cpus.iter().map(|cpu| events::clock("cpu-clock", &budget, *cpu)).collect::<Result<_, _>>();
        Ok(BareTimers(timers.context("the kernel refuses a timer on each CPU")?))
    }

    /// # Errors
    /// What the kernel says.
    pub fn start(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Counter::enable).context("a timer cannot be started")
    }

    /// # Errors
    /// What the kernel says.
    pub fn stop(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Counter::disable).context("a timer cannot be stopped")
    }
}
