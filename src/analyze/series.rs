//! Any metric's change per level, as the server exposed it. Invariant: a series whose count did not move is absent from
//! a level, not 0; quantiles are bounds of buckets, never interpolated.

use crate::metrics::{Change, quantile_bounds};
use crate::run::{Run, Window};
use regex::Regex;
use serde::Serialize;
use std::collections::BTreeMap;

/// One series at one level, its replicates summed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesLevel {
    /// As in the exposition: `name{label="value"}`.
    pub series: String,
    pub level: usize,
    #[serde(flatten)]
    pub change: LevelChange,
    /// Observations, or the counter's or gauge's difference, per query; `None` without completed queries.
    pub per_query: Option<f64>,
    /// A replicate's counter was reset inside its window; the difference counts from the reset.
    pub reset: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum LevelChange {
    Counter {
        delta: f64,
    },
    Gauge {
        rise: Option<f64>,
        last: f64,
    },
    /// In the metric's own unit; quantiles as (lower, upper) bound of their bucket.
    Histogram {
        count: f64,
        mean: f64,
        p50: Option<(f64, f64)>,
        p99: Option<(f64, f64)>,
    },
}

/// The series whose text matches, by series, then level. Levels without a change of a counter or histogram are left out.
pub fn series(run: &Run, pattern: &Regex) -> Vec<SeriesLevel> {
    let mut found = Vec::new();
    for (level, windows) in run.levels() {
        let mut changes: BTreeMap<String, Vec<&Change>> = BTreeMap::new();
        for delta in windows.iter().filter_map(|w| w.metrics.as_ref()) {
            for (series, change) in &delta.series {
                let text = series.to_string();
                if pattern.is_match(&text) {
                    changes.entry(text).or_default().push(change);
                }
            }
        }
        let queries = queries(&windows);
        found.extend(changes.into_iter().filter_map(|(series, c)| at_level(series, level, &c, queries)));
    }
    found.sort_by(|a: &SeriesLevel, b| (&a.series, a.level).cmp(&(&b.series, b.level)));
    found
}

/// Queries of the windows that have metrics.
fn queries(windows: &[&Window]) -> f64 {
    windows.iter().filter(|w| w.metrics.is_some()).map(|w| w.load.completed as f64).sum()
}

fn at_level(series: String, level: usize, changes: &[&Change], queries: f64) -> Option<SeriesLevel> {
    let reset = changes
        .iter()
        .any(|c| matches!(c, Change::Counter { reset: true, .. } | Change::Histogram { reset: true, .. }));
    let change = match changes.last()? {
        Change::Counter { .. } => counter(changes)?,
        Change::Gauge { after, .. } => LevelChange::Gauge { rise: gauge_rise(changes), last: *after },
        Change::Histogram { .. } => histogram(changes)?,
    };
    let amount = match change {
        LevelChange::Counter { delta } => Some(delta),
        LevelChange::Gauge { rise, .. } => rise,
        LevelChange::Histogram { count, .. } => Some(count),
    };
    let per_query = amount.filter(|_| queries > 0.0).map(|a| a / queries);
    Some(SeriesLevel { series, level, change, per_query, reset })
}

fn counter(changes: &[&Change]) -> Option<LevelChange> {
    let delta = changes.iter().map(|c| if let Change::Counter { delta, .. } = c { *delta } else { 0.0 }).sum();
    (delta != 0.0).then_some(LevelChange::Counter { delta })
}

/// How much a gauge rose over the windows together; `None` where a first reading is missing.
fn gauge_rise(changes: &[&Change]) -> Option<f64> {
    changes.iter().map(|c| if let Change::Gauge { before, after } = c { Some(after - (*before)?) } else { None }).sum()
}

fn histogram(changes: &[&Change]) -> Option<LevelChange> {
    let (mut count, mut sum) = (0.0, 0.0);
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for change in changes {
        let Change::Histogram { count: c, sum: s, buckets: b, .. } = change else { continue };
        count += c;
        sum += s;
        if buckets.is_empty() {
            buckets.clone_from(b);
        } else {
            buckets.iter_mut().zip(b).for_each(|(all, more)| all.1 += more.1);
        }
    }
    let merged = Change::Histogram { count, sum, buckets, reset: false };
    (count > 0.0).then(|| LevelChange::Histogram {
        count,
        mean: sum / count,
        p50: quantile_bounds(&merged, 0.5),
        p99: quantile_bounds(&merged, 0.99),
    })
}
