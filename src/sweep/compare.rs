//! Two sides measured by turns until it is decided which is faster, or time is up. Invariant: the looks, and how sure
//! each must be, are planned before the first of them; a comparison that is cut short says what its last look found.

use super::{Event, SweepEnd, Turns, interrupted};
use crate::analyze::compare::difference::{Difference, Options, Subject, Verdict, difference};
use crate::analyze::statistics::stopping::Stopping;
use crate::preset::Preset;
use crate::run::{Look, Parts, Store};
use anyhow::Result;
use std::time::{Duration, Instant};

/// How far a comparison goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Replicates of each side at most.
    pub replicates: usize,
    /// Time that it may take; `None`: as long as the replicates last.
    pub budget: Option<Duration>,
    /// Probability of any false difference in throughput, latency and CPU, over all levels and looks.
    pub alpha: f64,
    /// Relative difference up to which two values count as the same.
    pub margin: f64,
}

/// Why a comparison ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Throughput and latency of every level are faster, slower or the same.
    Decided,
    /// All replicates that were asked for.
    Replicates,
    /// As many as the budget allows.
    Budget,
    /// By an error or the user.
    Cut,
}

/// A comparison that has ended.
pub struct Compared {
    /// The runs of both sides, and what cut them short.
    pub outcome: SweepEnd,
    /// What the last look found; `None`: there was none.
    pub found: Option<(Look, Difference)>,
    /// Why it ended.
    pub end: End,
    /// From before the first turn until the runs were ended.
    pub took: Duration,
}

/// Takes turns and looks until a look decides.
pub async fn compare(
    mut turns: Turns<'_>,
    store: &Store,
    preset: &Preset,
    limits: Limits,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Compared {
    let begun = Instant::now();
    let mut found = None;
    let (end, cut) = match take_and_look(&mut turns, store, preset, limits, &mut found, tell).await {
        Ok(end) => (end, None),
        Err(error) => (End::Cut, Some(error)),
    };
    let outcome = turns.end(cut, tell).await;
    Compared { outcome, found, end, took: begun.elapsed() }
}

/// Pairs of turns, up to a look that decides, the last replicate or the end of the budget.
async fn take_and_look(
    turns: &mut Turns<'_>,
    store: &Store,
    preset: &Preset,
    limits: Limits,
    found: &mut Option<(Look, Difference)>,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<End> {
    let begun = Instant::now();
    let mut stopping = Stopping::new(limits.replicates, limits.alpha);
    let (mut planned, mut end) = (limits.replicates, End::Replicates);
    let mut replicate = 0;
    while replicate < planned {
        replicate += 1;
        pair(turns, replicate, tell).await?;
        if replicate == 1
            && let Some(budget) = limits.budget
        {
            planned = affordable(begun.elapsed(), budget, limits.replicates);
            if planned < limits.replicates {
                end = End::Budget;
                turns.truncate(2 * planned);
                stopping = Stopping::new(planned, limits.alpha);
            }
        }
        let Some(look) = stopping.look(replicate) else { continue };
        tell(Event::Preparing(&format!("look {} of {}", look.number, look.of)));
        let difference = tokio::task::block_in_place(|| look_at(turns, store, preset, limits.margin, look))?;
        turns.looked(look)?;
        tell(Event::Noted(&seen(look, &difference)));
        let done = decided(&difference);
        *found = Some((look, difference));
        if done {
            return Ok(End::Decided);
        }
    }
    Ok(end)
}

/// Both sides' turns of one replicate.
async fn pair(turns: &mut Turns<'_>, replicate: usize, tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
    let pair: Vec<_> = turns.planned().iter().filter(|turn| turn.replicate == Some(replicate)).copied().collect();
    for turn in pair {
        turns.take(turn, tell).await?;
    }
    Ok(())
}

/// Pairs that fit into the budget, by the first one. What the results are has no part in it, so the looks may be
/// planned by it.
fn affordable(pair: Duration, budget: Duration, most: usize) -> usize {
    let fit = (budget.as_secs_f64() / pair.as_secs_f64().max(1e-3)).floor();
    (fit as usize).clamp(1, most)
}

fn look_at(turns: &Turns, store: &Store, preset: &Preset, margin: f64, look: Look) -> Result<Difference> {
    let parts = Parts { metrics: true, timelines: true, ..Parts::NONE };
    let load = |arm: usize| store.load_parts(&turns.directory(arm).unwrap_or_default(), parts);
    let (before, after) = (load(0)?, load(1)?);
    let options = Options { preset: Some(preset), margin, familywise: look.alpha, ..Options::default() };
    Ok(difference(&before, &after, &options))
}

/// What a look saw, a level after the other.
fn seen(look: Look, difference: &Difference) -> String {
    let of = |level: usize, subject: &Subject, word: &str| {
        let row = difference.row(level, subject)?;
        let percent = 100.0 * (row.ratio? - 1.0);
        Some(format!("{word} {percent:+.1} %{}", sureness(row.verdict)))
    };
    let level = |level: usize| {
        let figures = [of(level, &Subject::Throughput, "throughput"), of(level, &Subject::MeanLatency, "mean latency")];
        let figures: Vec<String> = figures.into_iter().flatten().collect();
        let figures = if figures.is_empty() { "not measured".into() } else { figures.join(", ") };
        format!("level {level}: {figures}")
    };
    let levels: Vec<String> = difference.levels.iter().map(|found| level(found.level)).collect();
    let Look { number, of, replicates, .. } = look;
    format!("look {number} of at most {of}, after {replicates} replicates of each side: {}", levels.join("; "))
}

fn sureness(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Faster => " (faster)",
        Verdict::Slower => " (slower)",
        Verdict::Same => " (the same)",
        Verdict::More | Verdict::Less => "",
        Verdict::Undecided { .. } => " (undecided)",
    }
}

/// Whether every level's throughput and latency have a verdict other than undecided.
fn decided(difference: &Difference) -> bool {
    let verdict = |level: usize, subject: &Subject| difference.row(level, subject).map(|row| row.verdict);
    let settled = |verdict: Option<Verdict>| !matches!(verdict, None | Some(Verdict::Undecided { .. }));
    let levels = &difference.levels;
    !levels.is_empty()
        && levels
            .iter()
            .all(|found| [Subject::Throughput, Subject::MeanLatency].iter().all(|of| settled(verdict(found.level, of))))
}

impl Compared {
    /// Whether the user ended it.
    pub fn interrupted(&self) -> bool {
        self.outcome.cut.as_ref().is_some_and(interrupted)
    }

    /// Rows of throughput, latency and CPU that are not the same.
    pub fn differences(&self) -> usize {
        let rows = self.found.iter().flat_map(|(_, found)| found.levels.iter().flat_map(|level| &level.rows));
        rows.filter(|row| row.subject.is_main() && row.verdict.differs()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_bounds_the_replicates_and_one_pair_there_always_is() {
        let seconds = Duration::from_secs;
        assert_eq!(affordable(seconds(20), seconds(600), 40), 30);
        assert_eq!(affordable(seconds(20), seconds(600), 6), 6);
        assert_eq!(affordable(seconds(20), seconds(5), 6), 1);
    }
}
