//! What a timer's interrupt takes of the target itself: slices of the first warm-up with bare timers and without, by
//! turns. Invariant: both slices of a pair follow each other, so that what drifts is no cost; the timers are gone
//! however it ends; and what is too short, too slow or not counted is not tried, with the reason.

use super::window::{Asked, pause};
use super::{Sources, pairs};
use crate::analyze::statistics::signed_rank::middle;
use crate::clock;
use crate::load::Load;
use crate::sample::{BareTimers, DEFAULT_FREQUENCY, OnTarget, Options};
use crate::target::{Role, difference, virtual_machine};
use crate::words::{significant, time};
use anyhow::Result;
use std::time::Duration;

/// Length of a slice in ns: ten of the kernel's ticks, at which it accounts a thread that does not switch.
const SLICE: u64 = 40_000_000;
/// Pairs of slices: the fewest that have an interval, and those of a second.
const FEWEST: usize = 6;
const MOST: usize = 12;
/// Of the time that a run's windows and warm-ups take by its plan, the slices may take this share.
const OF_RUN: f64 = 0.1;
/// Queries in a slice: with fewer, those that its ends cut are most of the difference.
const QUERIES: f64 = 20.0;
/// A warm-up so many times as long as the slices has them at its own end.
const ROOM: u32 = 3;

/// What a slice counted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slice {
    /// ns of the target's CPU.
    cpu: u64,
    /// Completed queries.
    queries: u64,
}

/// The pairs that a run of so many windows has the time for; `None`: not even the fewest.
fn pairs_for(asked: &Asked<'_>) -> Option<usize> {
    let run = (asked.timing.warmup + asked.timing.window).as_secs_f64() * asked.windows as f64;
    let pairs = (run * OF_RUN * 1e9 / (2 * SLICE) as f64) as usize;
    (pairs >= FEWEST).then_some(pairs.min(MOST))
}

/// How long before the warm-up's end the slices begin, where it is long enough to have them within it.
pub fn within_warm_up(asked: &Asked<'_>) -> Duration {
    let slices = Duration::from_nanos(2 * SLICE * pairs_for(asked).unwrap_or(0) as u64);
    if asked.timing.warmup >= ROOM * slices { slices } else { Duration::ZERO }
}

/// Measures it under the load as it runs; the inner error is why it was not.
///
/// # Errors
/// What ends the window; see [`pause`].
pub async fn measure(sources: &Sources, load: &dyn Load, asked: &Asked<'_>) -> Result<Result<OnTarget, String>> {
    let pairs = match worthwhile(sources, load, asked) {
        Ok(pairs) => pairs,
        Err(why) => return Ok(Err(why)),
    };
    // As often as stacks may be sampled at all: a third of the cost would be a third of the difference.
    let options = Options { frequency: DEFAULT_FREQUENCY, ..Options::default() };
    let mut timers = match tokio::task::block_in_place(|| BareTimers::open(&options)) {
        Ok(timers) => timers,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    let mut taken = Vec::new();
    for turns in self::pairs(pairs, 0).chunks(2) {
        let mut both = [None, None];
        for turn in turns {
            let switched = if turn.arm == 1 { timers.start() } else { timers.stop() };
            if let Err(error) = switched {
                return Ok(Err(format!("{error:#}")));
            }
            both[turn.arm] = slice(sources, load, asked).await?;
        }
        taken.extend(both[0].zip(both[1]));
    }
    Ok(cost(&taken, timers.frequency(), asked.id.level))
}

/// The number of pairs, or why none is taken.
fn worthwhile(sources: &Sources, load: &dyn Load, asked: &Asked<'_>) -> Result<usize, String> {
    if virtual_machine() == Some(false) {
        return Err("this is no virtual machine, where alone it takes far more than of a loop".into());
    }
    if sources.processes.target.is_none() {
        return Err("the target is not on this host".into());
    }
    let Some(pairs) = pairs_for(asked) else {
        let least = (2 * SLICE * FEWEST as u64) as f64 / OF_RUN;
        return Err(format!("the run is planned for less than {}", time(least)));
    };
    if sources.load_hosts.is_some() {
        return Err("the queries of other hosts are told only some times a second while they run".into());
    }
    if load.progress().0 == 0 {
        return Err("the queries of this load are not counted while it runs".into());
    }
    Ok(pairs)
}

/// Counts one slice; `None`: the scheduler or the load told nothing of it.
async fn slice(sources: &Sources, load: &dyn Load, asked: &Asked<'_>) -> Result<Option<Slice>> {
    let read = || (sources.processes.watched.read(), load.progress().0);
    let (before, started) = tokio::task::block_in_place(read);
    pause(load, sources, clock::now() + SLICE, asked.stop).await?;
    let (after, ended) = tokio::task::block_in_place(read);
    let cpu = difference(&[before, after]).and_then(|scheduler| scheduler.cpu(Role::Target));
    Ok(cpu.map(|cpu| Slice { cpu, queries: ended.saturating_sub(started) }))
}

/// What an interrupt took, from pairs of a slice without timers and one with. The target had `f` interrupts for each
/// second of its CPU, so that an interrupt took (1 - without/with) / `f` of it, by CPU a query.
fn cost(pairs: &[(Slice, Slice)], frequency: f64, level: usize) -> Result<OnTarget, String> {
    let queries: u64 = pairs.iter().map(|(without, with)| without.queries + with.queries).sum();
    let each = queries as f64 / (2 * pairs.len()).max(1) as f64;
    if each < QUERIES {
        let (each, slice) = (significant(each), time(SLICE as f64));
        return Err(format!("only {each} queries were completed in a slice of {slice}, and {QUERIES} are needed"));
    }
    let of = |slice: &Slice| (slice.cpu > 0 && slice.queries > 0).then(|| slice.cpu as f64 / slice.queries as f64);
    let logarithms: Vec<f64> =
        pairs.iter().filter_map(|(without, with)| Some((of(with)? / of(without)?).ln())).collect();
    let (found, (low, high)) = middle(&logarithms).ok_or("too few slices had queries and CPU of the target")?;
    let nanos = |logarithm: f64| -(-logarithm).exp_m1() / frequency * 1e9;
    Ok(OnTarget {
        nanos: nanos(found),
        low: nanos(low),
        high: nanos(high),
        pairs: logarithms.len(),
        slice_seconds: SLICE as f64 / 1e9,
        frequency,
        level,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{ChosenRate, Following};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    const LOOP: f64 = 13_000.0;
    const FREQUENCY: f64 = 970.0;

    /// Normal with mean 0, by the sum of twelve uniform ones.
    fn noise(random: &mut StdRng, deviation: f64) -> f64 {
        ((0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0) * deviation
    }

    /// A second of slices on a host that drifts by a third, on which an interrupt takes so many ns; one slice in so
    /// many is half as dear again.
    fn trial(random: &mut StdRng, nanos: f64, deviation: f64, outliers: f64) -> OnTarget {
        let mut slice = |on: bool, at: usize| {
            let share = if on { nanos * FREQUENCY / 1e9 } else { 0.0 };
            let dear = if random.random::<f64>() < outliers { 1.5 } else { 1.0 };
            let drift = 1.0 + at as f64 / 72.0;
            let each = 25_000.0 * dear * drift / (1.0 - share) * noise(random, deviation).exp();
            Slice { cpu: (1_000.0 * each) as u64, queries: 1_000 }
        };
        let mut taken = Vec::new();
        for (at, turns) in super::pairs(MOST, 0).chunks(2).enumerate() {
            let mut both = [None, None];
            turns.iter().enumerate().for_each(|(of, turn)| both[turn.arm] = Some(slice(turn.arm == 1, 2 * at + of)));
            taken.extend(both[0].zip(both[1]));
        }
        cost(&taken, FREQUENCY, 64).expect("enough queries")
    }

    /// Of 400 such trials: how often the interval holds the truth, how often it is shown to be more than the loop's,
    /// and the rates that were chosen for a budget of 1 %.
    fn simulate(nanos: f64, deviation: f64, outliers: f64) -> (f64, f64, Vec<u64>) {
        let mut random = StdRng::seed_from_u64(7);
        let found: Vec<OnTarget> = (0..400).map(|_| trial(&mut random, nanos, deviation, outliers)).collect();
        let share = |is: &dyn Fn(&OnTarget) -> bool| found.iter().filter(|one| is(one)).count() as f64 / 400.0;
        let chosen = ChosenRate::within(1.0, Some(LOOP), Following::ASSUMED);
        let rates = found.iter().map(|one| chosen.clone().measured(*one).frequency).collect();
        (share(&|one| one.low <= nanos && nanos <= one.high), share(&|one| one.low > LOOP), rates)
    }

    #[test]
    fn an_interrupt_that_is_many_times_as_dear_is_found_through_noise_of_five_percent_a_slice() {
        for (nanos, deviation, outliers) in [(317e3, 0.03, 0.05), (317e3, 0.05, 0.05), (125e3, 0.03, 0.02)] {
            let (holds, shown, rates) = simulate(nanos, deviation, outliers);
            assert!(holds >= 0.93, "{nanos} ns: the interval holds in {holds}");
            assert!(shown >= 0.97, "{nanos} ns: shown in {shown}");
            let lowest = rates.iter().filter(|rate| **rate == 49).count();
            assert!(lowest >= 360, "{nanos} ns: 49 Hz in {lowest} of 400");
        }
    }

    /// The negative control: where an interrupt takes what it takes of the loop, noise changes no rate, however large.
    #[test]
    fn where_the_loop_tells_the_truth_noise_does_not_lower_the_rate() {
        for (deviation, outliers) in [(0.02, 0.0), (0.05, 0.05), (0.3, 0.1)] {
            let (holds, shown, rates) = simulate(LOOP, deviation, outliers);
            assert!(holds >= 0.93 && shown <= 0.04, "{deviation}: holds {holds}, shown {shown}");
            assert!(rates.iter().filter(|rate| **rate == 331).count() >= 384, "{deviation}");
        }
    }

    #[test]
    fn too_few_queries_tell_nothing() {
        let slice = |queries| Slice { cpu: 1_000_000, queries };
        let why = cost(&[(slice(12), slice(14)); 12], FREQUENCY, 4).unwrap_err();
        assert_eq!(why, "only 13.0 queries were completed in a slice of 40.0 ms, and 20 are needed");
        assert!(cost(&[(slice(100), slice(100)); 5], FREQUENCY, 4).is_err());
        assert!(cost(&[], FREQUENCY, 4).is_err());
        assert_eq!(cost(&[(slice(100), slice(100)); 6], FREQUENCY, 4).unwrap().nanos, 0.0);
    }
}
