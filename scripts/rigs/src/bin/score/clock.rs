//! The plant's own clock beside a verdict. Invariant: the clock is read over the same window as the latency; what the
//! plant did in other seconds is not known here.

use anyhow::{Context, Result, anyhow};
use wireprof::analyze::cost::quantities::evaluate;
use wireprof::analyze::judge::diagnose::{Finding, diagnose};
use wireprof::preset::{Cause, Expression, Preset};
use wireprof::run::Run;

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
        let found = runs.iter().filter_map(|run| {
            let own = diagnose(run, &preset, level)?;
            let same = own.verdicts.into_iter().filter(|verdict| verdict.cause == first.cause);
            let functions = same.flat_map(|verdict| verdict.named.into_iter().take(1));
            Some(functions.filter(|function| function.name == named.name).map(|function| function.cost / 1e3).sum())
        });
        let found: Vec<f64> = found.collect();
        let what = if first.cause == Cause::CpuFunction { "cpu" } else { "wait" };
        let plant = waited.plant;
        let plant = if named.name.contains("_hold") { format!("{plant}:hold") } else { plant.to_string() };
        let text = format!("delta(wireprof_plant_{what}_seconds_total{{plant=\"{plant}\"}})");
        let expression = Expression::parse(&text)?;
        let windows = runs.iter().flat_map(|run| run.levels().remove(&level).unwrap_or_default());
        let planted = windows.map(|window| {
            let seconds = evaluate(&expression, window).map_err(|why| anyhow!(why))?;
            Ok(seconds * 1e6 / window.load.completed as f64)
        });
        let planted = planted.collect::<Result<Vec<f64>>>()?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(Clock { found: mean(&found), planted: mean(&planted) })
    }

    pub fn ratio(&self) -> f64 {
        self.found / self.planted
    }
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
