//! Which functions' cost per query and which metrics' change per query rise together from window to window.
//! Invariant: what is tested is chosen by each quantity's own spread alone, and how many pairs were tested is told
//! with what was found. That two grow together says nothing of which one causes the other: both can follow the number
//! of clients.

use super::{DRAWS, FALSE_DISCOVERY, SEED};
use crate::analyze::compare::difference::family::false_discovery;
use crate::analyze::cost::hot::By;
use crate::analyze::cost::tally::{Identity, tally};
use crate::analyze::cost::view::{ViewOptions, window_view};
use crate::metrics::Change;
use crate::run::{Run, Window};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::Serialize;
use std::collections::BTreeMap;

/// Windows below which not even a perfect agreement is improbable enough: 1 in 5! is 0.8 %.
pub const FEWEST: usize = 5;
/// Functions and metrics that are tested at most.
const FRAMES: usize = 10;
const METRICS: usize = 20;
/// A counter's change below which its relative scatter is chance.
const COUNTS: f64 = 100.0;

/// Quantities of a run's windows that rise together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Together {
    /// Number of windows that could be used.
    pub windows: usize,
    /// Number of functions tested.
    pub frames: usize,
    /// Number of metrics tested.
    pub metrics: usize,
    /// Number of pairs of a function and a metric tested.
    pub pairs: usize,
    /// Number of draws of the permutation test.
    pub draws: usize,
    /// The least probability that so many windows can give, 0..1.
    pub least: f64,
    /// Unit of the profile's column (`nanoseconds`, `cycles`).
    pub unit: String,
    /// Found at the false discovery rate, the least probable first.
    pub found: Vec<Pair>,
}

/// A function and a metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The function.
    #[serde(flatten)]
    pub frame: Identity,
    /// The series as in the exposition, with ` count` or ` sum` for that part of a histogram.
    pub metric: String,
    /// Spearman's rank correlation over the windows, 0..1.
    pub correlation: f64,
    /// Of a correlation as large by chance, by the permutation test, one-sided, 0..1.
    pub probability: f64,
    /// Self cost per query in the profile's unit, mean of the windows of the first and of the last level.
    pub cost: (f64, f64),
    /// The metric's change per query, in its own unit, likewise for the first and the last level.
    pub change: (f64, f64),
}

/// A quantity of each window, per query.
struct Quantity<N> {
    name: N,
    values: Vec<f64>,
    ranks: Vec<f64>,
}

/// The pairs.
///
/// # Errors
/// Why nothing can be said: too few windows with a profile and metrics.
pub fn together(run: &Run) -> Result<Together, String> {
    let usable = |window: &&Window| window.metrics.is_some() && window.profile.is_some() && window.load.completed > 0;
    let windows: Vec<&Window> = run.windows.iter().filter(usable).collect();
    let count = windows.len();
    if count < FEWEST {
        let windows = if count == 0 { "no".to_string() } else { count.to_string() };
        return Err(format!(
            "{windows} windows have a profile, metrics and a number of queries; {FEWEST} are needed (more levels, or \
                --replicates)"
        ));
    }
    let (frames, metrics) = (frames(&windows), metrics(&windows));
    let orders = orders(count);
    let mut pairs = Vec::new();
    for frame in &frames {
        for metric in &metrics {
            pairs.push(pair(frame, metric, &orders, &windows));
        }
    }
    let cut = false_discovery(FALSE_DISCOVERY, pairs.iter().map(|pair| pair.probability));
    let tested = pairs.len();
    pairs.retain(|pair| pair.probability <= cut);
    pairs.sort_by(|a, b| a.probability.total_cmp(&b.probability).then(b.correlation.total_cmp(&a.correlation)));
    let unit =
        window_view(windows[0], &ViewOptions::default()).map(|view| view.profile.columns[view.column].unit.clone());
    let all: f64 = (1..=count).map(|i| i as f64).product();
    Ok(Together {
        windows: count,
        frames: frames.len(),
        metrics: metrics.len(),
        pairs: tested,
        draws: DRAWS,
        least: (1.0 / all).max(1.0 / (1 + DRAWS) as f64),
        unit: unit.unwrap_or_default(),
        found: pairs,
    })
}

/// The functions whose self cost differs most between windows.
fn frames(windows: &[&Window]) -> Vec<Quantity<Identity>> {
    let mut costs: BTreeMap<Identity, Vec<f64>> = BTreeMap::new();
    for (at, window) in windows.iter().enumerate() {
        let Some(view) = window_view(window, &ViewOptions::default()) else { continue };
        for (frame, cost) in tally(&view, By::SelfCost, None).frames {
            costs.entry(frame).or_insert_with(|| vec![0.0; windows.len()])[at] = cost.weight / view.queries;
        }
    }
    let spread = |values: &[f64]| bounds(values).1 - bounds(values).0;
    most(costs, FRAMES, spread)
}

/// The metrics that change per query by the largest factor between windows, in counts that are not a matter of chance.
fn metrics(windows: &[&Window]) -> Vec<Quantity<String>> {
    let mut changes: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for window in windows {
        for (series, change) in window.metrics.iter().flat_map(|metrics| &metrics.series) {
            let mut add = |part: &str, amount: f64| {
                changes.entry(format!("{series}{part}")).or_default().push(amount / window.load.completed as f64);
            };
            match change {
                Change::Counter { delta, reset: false } if *delta >= COUNTS => add("", *delta),
                Change::Untyped { before, after } if after - before.unwrap_or(0.0) >= COUNTS => {
                    add("", after - before.unwrap_or(0.0));
                }
                Change::Histogram { count, sum, reset: false, .. } if *count >= COUNTS => {
                    add(" count", *count);
                    sum.iter().for_each(|sum| add(" sum", *sum));
                }
                _ => {}
            }
        }
    }
    changes.retain(|_, values| values.len() == windows.len() && bounds(values).0 > 0.0);
    most(changes, METRICS, |values| bounds(values).1 / bounds(values).0)
}

fn bounds(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

/// The `count` quantities of the largest spread; of those that rank the windows alike the first.
fn most<N>(all: BTreeMap<N, Vec<f64>>, count: usize, spread: impl Fn(&[f64]) -> f64) -> Vec<Quantity<N>> {
    let mut all: Vec<(N, Vec<f64>)> =
        all.into_iter().filter(|(_, values)| bounds(values).1 > bounds(values).0).collect();
    all.sort_by(|a, b| spread(&b.1).total_cmp(&spread(&a.1)));
    let mut kept: Vec<Quantity<N>> = Vec::new();
    for (name, values) in all {
        if kept.len() < count && kept.iter().all(|known| known.values != values) {
            kept.push(Quantity { name, ranks: ranks(&values), values });
        }
    }
    kept
}

/// Centred ranks, equals sharing their mean, of unit length: their product is Spearman's correlation.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let equal = values.iter().filter(|other| *other == value).count() as f64;
        below + (equal - 1.0) / 2.0 - (values.len() as f64 - 1.0) / 2.0
    };
    let ranks: Vec<f64> = values.iter().map(rank).collect();
    let length = ranks.iter().map(|rank| rank * rank).sum::<f64>().sqrt();
    ranks.into_iter().map(|rank| rank / length.max(f64::MIN_POSITIVE)).collect()
}

/// Random orders of the windows, the same for all pairs.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut random = StdRng::seed_from_u64(SEED);
    let order = |_| {
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut random);
        order
    };
    (0..DRAWS).map(order).collect()
}

fn pair(frame: &Quantity<Identity>, metric: &Quantity<String>, orders: &[Vec<usize>], windows: &[&Window]) -> Pair {
    let product = |order: &dyn Fn(usize) -> usize| -> f64 {
        frame.ranks.iter().enumerate().map(|(at, rank)| rank * metric.ranks[order(at)]).sum()
    };
    let correlation = product(&|at| at);
    let extreme = orders.iter().filter(|order| product(&|at| order[at]) >= correlation - 1e-9).count();
    Pair {
        frame: frame.name.clone(),
        metric: metric.name.clone(),
        correlation,
        probability: (1 + extreme) as f64 / (1 + orders.len()) as f64,
        cost: ends(&frame.values, windows),
        change: ends(&metric.values, windows),
    }
}

/// Means over the windows of the first and of the last level.
fn ends(values: &[f64], windows: &[&Window]) -> (f64, f64) {
    let levels = || windows.iter().map(|window| window.id().level);
    let mean = |level: Option<usize>| {
        let of: Vec<f64> = levels().zip(values).filter(|(of, _)| Some(*of) == level).map(|(_, value)| *value).collect();
        of.iter().sum::<f64>() / of.len().max(1) as f64
    };
    (mean(levels().min()), mean(levels().max()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn spearmans_correlation_has_its_known_value_with_ties() {
        let product = |a: &[f64], b: &[f64]| ranks(a).iter().zip(ranks(b)).map(|(a, b)| a * b).sum::<f64>();
        assert!((product(&[1.0, 2.0, 3.0, 4.0], &[10.0, 20.0, 30.0, 900.0]) - 1.0).abs() < 1e-12);
        // 1 - 6 * 4 / (5 * 24) without ties.
        assert!((product(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 1.0, 4.0, 3.0, 5.0]) - 0.8).abs() < 1e-12);
        assert!((product(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0]) - 0.866_025_403_784).abs() < 1e-9);
    }

    #[test]
    fn unrelated_quantities_are_found_together_no_oftener_than_stated() {
        let mut random = StdRng::seed_from_u64(3);
        let orders = &orders(8)[..2_000];
        let mut quantity = || ranks(&(0..8).map(|_| random.random::<f64>()).collect::<Vec<_>>());
        let mut wrong = 0;
        for _ in 0..200 {
            let (frames, metrics): (Vec<_>, Vec<_>) =
                ((0..4).map(|_| quantity()).collect(), (0..5).map(|_| quantity()).collect());
            let p = frames.iter().flat_map(|frame: &Vec<f64>| {
                metrics.iter().map(move |metric: &Vec<f64>| {
                    let product =
                        |order: &[usize]| frame.iter().zip(order).map(|(rank, at)| rank * metric[*at]).sum::<f64>();
                    let real = product(&[0, 1, 2, 3, 4, 5, 6, 7]) - 1e-9;
                    (1 + orders.iter().filter(|order| product(order) >= real).count()) as f64 / 2_001.0
                })
            });
            let p: Vec<f64> = p.collect();
            let cut = false_discovery(FALSE_DISCOVERY, p.iter().copied());
            wrong += usize::from(p.iter().any(|p| *p <= cut));
        }
        // 10 of 200 are expected; 20 or more have a probability of 0.3 %.
        assert!(wrong < 20, "{wrong} of 200");
    }
}
