//! The plant's own clock beside a verdict. Invariant: both are of the same seconds: of a wait those in which carriers
//! were followed, of CPU those of the windows.

use anyhow::{Context, Result, anyhow};
use wireprof::analyze::cost::quantities::evaluate;
use wireprof::analyze::judge::diagnose::{Finding, diagnose};
use wireprof::analyze::time::hands::hands;
use wireprof::carriers::State;
use wireprof::preset::{Cause, Expression, Preset};
use wireprof::run::{Run, Window};

/// How far the first function's time may be from the plant's own.
const WITHIN: f64 = 0.10;

/// What is known of a plant that queries wait for.
#[derive(Clone, Copy)]
pub struct Waited {
    /// As the plant is called in the metrics.
    pub plant: &'static str,
    /// Part of what the verdict says of the end of the chain, in its sentence or its functions.
    pub end: &'static str,
}

/// The first function's time, us a query: by the verdict and by the plant, in the mean over runs.
pub struct Clock {
    pub found: f64,
    pub planted: f64,
}

impl Clock {
    /// A function on a CPU is held against the plant's CPU, a wait against its wait; where a plant is held, what holds
    /// it has a clock of its own.
    /// Each run is diagnosed by itself: what its carriers did is a share of its own window.
    pub fn of(waited: Waited, first: &Finding, runs: &[Run], level: usize) -> Result<Clock> {
        let named = first.named.first().context("no function is named")?;
        let preset = Preset::built_in("testbed")?;
        let on_cpu = first.cause == Cause::CpuFunction;
        let found: Vec<f64> = match on_cpu {
            true => runs.iter().filter_map(|run| of_verdict(run, &preset, level, first)).collect(),
            false => runs.iter().filter_map(|run| in_followed_seconds(run, &preset, level, first)).collect(),
        };
        let what = if on_cpu { "cpu" } else { "wait" };
        let plant = waited.plant;
        let plant = if named.name.contains("_hold") { format!("{plant}:hold") } else { plant.to_string() };
        let of = |what: &str| format!("delta(wireprof_plant_{what}_total{{plant=\"{plant}\"}})");
        let seconds = of(&format!("{what}_seconds"));
        let windows = runs.iter().flat_map(|run| run.levels().remove(&level).unwrap_or_default());
        let planted = windows.filter_map(|window| match on_cpu {
            true => Some(of_window(&seconds, window, window.load.completed as f64)),
            // Between its scrapes more queries are answered than in the seconds that count, so a call is what compares.
            false => window.followed().map(|window| of_window(&format!("{seconds} / {}", of("calls")), &window, 1.0)),
        });
        let planted = planted.collect::<Result<Vec<f64>>>()?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(Clock { found: mean(&found), planted: mean(&planted) })
    }

    /// How far the verdict's time is from the plant's.
    pub fn ratio(&self) -> f64 {
        self.found / self.planted
    }
}

/// us by an expression that gives seconds.
fn of_window(text: &str, window: &Window, divisor: f64) -> Result<f64> {
    let seconds = evaluate(&Expression::parse(text)?, window).map_err(|why| anyhow!(why))?;
    Ok(seconds * 1e6 / divisor)
}

/// What the same verdict says of one run's first function.
fn of_verdict(run: &Run, preset: &Preset, level: usize, first: &Finding) -> Option<f64> {
    let own = diagnose(run, preset, level)?;
    let same = own.verdicts.into_iter().filter(|verdict| verdict.cause == first.cause);
    let functions = same.flat_map(|verdict| verdict.named.into_iter().take(1));
    let same = functions.filter(|function| first.named.iter().take(1).any(|named| named.name == function.name));
    Some(same.map(|function| function.cost / 1e3).sum())
}

/// What carriers waited there, of the events themselves; for a worker of the runtime they wait at no function.
fn in_followed_seconds(run: &Run, preset: &Preset, level: usize, first: &Finding) -> Option<f64> {
    let followed = hands(run, preset).remove(&level)?;
    let named = first.named.first()?;
    let here = followed.parts.iter().filter(|part| match first.cause {
        Cause::Queued => part.state == State::Queued,
        _ => part.function.as_ref().is_some_and(|at| at.name == named.name),
    });
    Some(here.map(|part| part.nanos / 1e3).sum())
}

/// What of the verdict is not the plant.
pub fn failures(waited: Waited, first: &Finding, clock: &Clock) -> Vec<&'static str> {
    let named = || first.named.iter().map(|named| named.name.as_str());
    let end = first.sentence.contains(waited.end) || named().any(|name| name.contains(waited.end));
    let right = [
        (named().next().is_some_and(|name| name.contains("planted_")), "another function"),
        ((clock.ratio() - 1.0).abs() <= WITHIN, "another time"),
        (end, "another end of the chain"),
    ];
    right.into_iter().filter(|(right, _)| !right).map(|(_, what)| what).collect()
}
