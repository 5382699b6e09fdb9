//! How often stacks are sampled: chosen before the load, and once more in the first warm-up where an interrupt takes
//! more of the target than of a loop, or following a stack far more or less than was assumed. Invariant: all windows of
//! a measurement, of all arms, have one rate.

use super::window::{Asked, pause};
use super::{Event, Sources, interrupts};
use crate::clock::{self, Nanos};
use crate::load::Load;
use crate::sample::{ChosenRate, SamplingReport};
use anyhow::Result;
use std::time::Duration;

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

/// Whether the rate is still to be settled, and depends on what is measured for it.
fn is_open(asked: &Asked<'_>) -> bool {
    asked.rate.0.is_none() && asked.chosen.is_some_and(ChosenRate::is_open)
}

/// How much of the warm-up, its end, belongs to what [`settle`] measures.
pub fn within_warm_up(asked: &Asked<'_>) -> Duration {
    if is_open(asked) { interrupts::within_warm_up(asked) } else { Duration::ZERO }
}

/// Settles the rate at the end of the first warm-up, which short recordings make longer where it is short; it lasts
/// until `end` in any case.
///
/// # Errors
/// What ends the window; see [`pause`].
pub async fn settle(sources: &mut Sources, load: &dyn Load, asked: &mut Asked<'_>, end: Nanos) -> Result<()> {
    let Some(chosen) = asked.chosen.filter(|_| asked.rate.0.is_none()) else { return Ok(()) };
    let mut settled = chosen.clone();
    if is_open(asked) && sources.sampler.is_some() {
        settled = match interrupts::measure(sources, load, asked).await? {
            Ok(target) => settled.measured(target),
            Err(why) => settled.not_measured(why),
        };
        if let Some(report) = trial(sources, load, asked).await? {
            settled = settled.reconsidered(report.kernel_cpu, report.recorded);
        }
    }
    if settled.frequency != chosen.frequency || settled.following != chosen.following {
        (asked.tell)(Event::Noted(&format!("sampling: {}", settled.told())));
    }
    if let Some(sampler) = sources.sampler.as_mut().filter(|_| settled != *chosen) {
        sampler.set_rate(settled.clone());
    }
    asked.rate.0 = Some(settled);
    pause(load, sources, end, asked.stop).await
}

/// What a recording of the target says of itself; `None`: there is none. What cannot be sampled here cannot be in the
/// window either, and is told there.
async fn trial(sources: &mut Sources, load: &dyn Load, asked: &Asked<'_>) -> Result<Option<SamplingReport>> {
    let sampled = sources.processes.sampled();
    let Some(Ok(recording)) = sources.sampler.as_mut().map(|sampler| sampler.start(&sampled)) else { return Ok(None) };
    pause(load, sources, clock::now() + TRIAL, asked.stop).await?;
    Ok(tokio::task::block_in_place(|| recording.stop()).ok().map(|(_, report)| report))
}
