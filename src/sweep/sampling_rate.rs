//! How often stacks are sampled: chosen before the load, and once more in the first warm-up where following a stack
//! takes far more or less than was assumed. Invariant: all windows of a measurement, of all arms, have one rate.

use super::window::{Asked, pause};
use super::{Event, Sources};
use crate::clock;
use crate::load::Load;
use crate::sample::{ChosenRate, SamplingReport};
use anyhow::Result;

/// Length of the recording that tells what following a stack takes, in ns.
const TRIAL: u64 = 300_000_000;

/// The rate that was settled, for all arms that are measured by turns.
#[derive(Debug, Default)]
pub struct RateBook(Option<ChosenRate>);

impl RateBook {
    /// The settled rate; `None`: the first warm-up is still to come, or stacks are not sampled.
    pub fn settled(&self) -> Option<&ChosenRate> {
        self.0.as_ref()
    }

    /// Has the sampler take the rate that an earlier turn settled.
    pub fn begin(&self, sources: &mut Sources) {
        if let (Some(sampler), Some(chosen)) = (&mut sources.sampler, &self.0) {
            sampler.set_rate(chosen.clone());
        }
    }
}

/// Settles the rate at the end of the first warm-up, which a short recording makes longer.
///
/// # Errors
/// What ends the window; see [`pause`].
pub async fn settle(sources: &mut Sources, load: &dyn Load, asked: &mut Asked<'_>) -> Result<()> {
    let Some(chosen) = asked.chosen.filter(|_| asked.rate.0.is_none()) else { return Ok(()) };
    let report = if chosen.is_open() { trial(sources, load, asked).await? } else { None };
    let settled = match report {
        Some(report) => chosen.clone().reconsidered(report.kernel_cpu, report.recorded),
        None => chosen.clone(),
    };
    if settled != *chosen {
        (asked.tell)(Event::Noted(&format!("sampling: {}", settled.told())));
        if let Some(sampler) = &mut sources.sampler {
            sampler.set_rate(settled.clone());
        }
    }
    asked.rate.0 = Some(settled);
    Ok(())
}

/// What a recording of the target says of itself; `None`: there is none. What cannot be sampled here cannot be in the
/// window either, and is told there.
async fn trial(sources: &mut Sources, load: &dyn Load, asked: &Asked<'_>) -> Result<Option<SamplingReport>> {
    let sampled = sources.processes.sampled();
    let Some(Ok(recording)) = sources.sampler.as_mut().map(|sampler| sampler.start(&sampled)) else { return Ok(None) };
    pause(load, sources, clock::now() + TRIAL, asked.stop).await?;
    Ok(tokio::task::block_in_place(|| recording.stop()).ok().map(|(_, report)| report))
}
