//! Any metric's change per level, as the server exposed it. Invariant: a series whose count did not move is absent from
//! a level, not 0; quantiles are bounds of buckets, never interpolated.

use crate::metrics::{Change, Series, quantile_bounds};
use crate::run::{Run, Window};
use regex::Regex;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One series at one level, its replicates summed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesLevel {
    /// As in the exposition: `name{label="value"}`.
    pub series: String,
    /// The metric's name alone.
    #[serde(skip)]
    pub name: String,
    /// Number of clients.
    pub level: usize,
    /// How it changed over the level's windows.
    #[serde(flatten)]
    pub change: LevelChange,
    /// Observations, or the counter's or gauge's difference, per query; `None` without completed queries.
    pub per_query: Option<f64>,
    /// A replicate's counter was reset inside its window; the difference counts from the reset.
    pub reset: bool,
}

/// Change of a series over a level's windows, in the metric's own unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum LevelChange {
    /// Of a counter, or of a series of no declared type that never falls.
    Counter {
        /// By how much it grew, summed over the windows; never 0.
        delta: f64,
    },
    /// Of a gauge, or of a series of no declared type that falls.
    Gauge {
        /// By how much it rose, summed over the windows; `None` where a first reading is missing, or both are
        /// infinite.
        rise: Option<f64>,
        /// Its value at the end of the last window.
        last: f64,
    },
    /// Of a histogram; quantiles as (lower, upper) bound of their bucket.
    Histogram {
        /// Number of observations, summed over the windows; above 0.
        count: f64,
        /// Mean of the observations; `None` where the sum is not exposed.
        mean: Option<f64>,
        /// Bounds of the median; `None` where there are no buckets, or those of the windows differ.
        p50: Option<(f64, f64)>,
        /// Bounds of the 99th percentile; `None` as for `p50`.
        p99: Option<(f64, f64)>,
    },
}

/// The series whose text matches, by series, then level. Levels without a change of a counter or histogram are left
/// out. A series of no declared type is a counter, unless it falls in a window of the run: then it is a gauge at all
/// levels.
pub fn series(run: &Run, pattern: &Regex) -> Vec<SeriesLevel> {
    let fell = falling(run);
    let mut found = Vec::new();
    for (level, windows) in run.levels() {
        let mut changes: BTreeMap<&Series, Vec<&Change>> = BTreeMap::new();
        for delta in windows.iter().filter_map(|w| w.metrics.as_ref()) {
            for (series, change) in &delta.series {
                changes.entry(series).or_default().push(change);
            }
        }
        let queries = queries(&windows);
        for (series, changes) in changes {
            let text = series.to_string();
            if pattern.is_match(&text) {
                let row = at_level(&changes, fell.contains(series));
                found.extend(row.map(|(change, reset)| {
                    let per_query = amount(&change).filter(|_| queries > 0.0).map(|amount| amount / queries);
                    SeriesLevel { series: text, name: series.name.clone(), level, change, per_query, reset }
                }));
            }
        }
    }
    found.sort_by(|a: &SeriesLevel, b| (&a.series, a.level).cmp(&(&b.series, b.level)));
    found
}

/// Series of no declared type that are no counters, since they fell.
fn falling(run: &Run) -> BTreeSet<&Series> {
    let all = run.windows.iter().filter_map(|window| window.metrics.as_ref()).flat_map(|metrics| &metrics.series);
    let fell = |change: &Change| matches!(change, Change::Untyped { before: Some(before), after } if after < before);
    all.filter(|(_, change)| fell(change)).map(|(series, _)| series).collect()
}

/// Queries of the windows that have metrics.
fn queries(windows: &[&Window]) -> f64 {
    windows.iter().filter(|w| w.metrics.is_some()).map(|w| w.load.completed as f64).sum()
}

/// The windows' changes together, and whether a counter was reset in one of them.
fn at_level(changes: &[&Change], falls: bool) -> Option<(LevelChange, bool)> {
    let reset = changes.iter().any(|change| change.reset());
    let change = match changes.last()? {
        Change::Untyped { after, .. } if falls => LevelChange::Gauge { rise: gauge_rise(changes), last: *after },
        Change::Counter { .. } | Change::Untyped { .. } => counter(changes)?,
        Change::Gauge { after, .. } => LevelChange::Gauge { rise: gauge_rise(changes), last: *after },
        Change::Histogram { .. } => histogram(changes)?,
    };
    Some((change, reset))
}

fn amount(change: &LevelChange) -> Option<f64> {
    match change {
        LevelChange::Counter { delta } => Some(*delta),
        LevelChange::Gauge { rise, .. } => *rise,
        LevelChange::Histogram { count, .. } => Some(*count),
    }
}

fn counter(changes: &[&Change]) -> Option<LevelChange> {
    let delta = |change: &&Change| match change {
        Change::Counter { delta, .. } => *delta,
        Change::Untyped { before, after } => after - before.unwrap_or(0.0),
        Change::Gauge { .. } | Change::Histogram { .. } => 0.0,
    };
    let delta: f64 = changes.iter().map(delta).filter(|delta| !delta.is_nan()).sum();
    (delta != 0.0).then_some(LevelChange::Counter { delta })
}

/// How much a gauge rose over the windows together; `None` where a first reading is missing, or both are infinite.
fn gauge_rise(changes: &[&Change]) -> Option<f64> {
    let rise = |change: &&Change| match change {
        Change::Gauge { before, after } | Change::Untyped { before, after } => Some(after - (*before)?),
        Change::Counter { .. } | Change::Histogram { .. } => None,
    };
    changes.iter().map(rise).sum::<Option<f64>>().filter(|rise| !rise.is_nan())
}

/// Replicates whose buckets differ have no quantiles together, those without a sum no mean.
fn histogram(changes: &[&Change]) -> Option<LevelChange> {
    /// Count, sum, and (bound, count) of each bucket.
    type Merged = (f64, Option<f64>, Vec<(f64, f64)>);
    let mut merged: Option<Merged> = None;
    for change in changes {
        let Change::Histogram { count: c, sum: s, buckets: b, .. } = change else { continue };
        let Some((count, sum, buckets)) = &mut merged else {
            merged = Some((*c, *s, b.clone()));
            continue;
        };
        *count += c;
        *sum = sum.zip(*s).map(|(a, b)| a + b);
        if buckets.iter().map(|bucket| bucket.0).eq(b.iter().map(|bucket| bucket.0)) {
            buckets.iter_mut().zip(b).for_each(|(all, more)| all.1 += more.1);
        } else {
            buckets.clear();
        }
    }
    let (count, sum, buckets) = merged.filter(|merged| merged.0 > 0.0)?;
    let merged = Change::Histogram { count, sum, buckets, reset: false };
    let (p50, p99) = (quantile_bounds(&merged, 0.5), quantile_bounds(&merged, 0.99));
    Some(LevelChange::Histogram { count, mean: merged.mean(), p50, p99 })
}
