//! What the slowest hundredth of the sampled queries did differently. Invariant: slow queries are set against all
//! sampled queries of the same level, and a cluster in time is told only where chance would hardly make it.

use crate::run::{Part, Run, Window};
use crate::wire::{Place, QueryTimeline};
use serde::Serialize;
use std::collections::BTreeMap;

/// Sampled queries below which nothing is said of the slowest hundredth.
const FEWEST: usize = 1_000;
/// Queries beyond a quantile for it to be told from the sample: its standard error is then a tenth of the tail.
const BEYOND: f64 = 100.0;
/// A second is looked at in so many parts.
const PARTS: usize = 20;
/// Chance of calling any part of any second a cluster where there is none.
const CHANCE: f64 = 0.001;

/// The slowest hundredth of a level's sampled queries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tail {
    /// Number of sampled queries.
    pub sampled: usize,
    /// Number of queries that were taken into the sample, but lost.
    pub lost: u64,
    /// Number of queries in the slowest hundredth of them.
    pub slowest: usize,
    /// Least latency among the slowest, in ns: the 99th percentile of the sampled ones.
    pub threshold: u64,
    /// Mean latency of all sampled queries, ns.
    pub all: f64,
    /// Mean latency of the slowest, ns.
    pub of_slowest: f64,
    /// In the order of the path, without the client's.
    pub places: Vec<TailPlace>,
    /// The part of each second in which more of the slowest were sent than chance explains; `None` where
    /// there is none.
    pub cluster: Option<Cluster>,
}

/// One place, in ns a query.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TailPlace {
    /// Which place it is.
    pub place: Place,
    /// Mean over all sampled queries.
    pub all: f64,
    /// Mean over the slowest.
    pub of_slowest: f64,
    /// 99th percentile in ns of the sampled queries' times there; `None` where fewer than a hundred lie
    /// beyond it.
    pub p99: Option<u64>,
}

/// Where within the second the slowest were sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Start of the part, in seconds into each second of `CLOCK_MONOTONIC`, 0..1.
    pub from: f64,
    /// End of the part, likewise.
    pub to: f64,
    /// Number of the slowest queries that were sent in it.
    pub found: usize,
    /// How many there would be if the slowest were sent as all are.
    pub expected: f64,
}

/// By level, for the load's hop; why there is none otherwise.
pub fn tails(run: &Run) -> BTreeMap<usize, Result<Tail, String>> {
    run.levels().into_iter().map(|(level, windows)| (level, tail(&windows))).collect()
}

fn tail(windows: &[&Window]) -> Result<Tail, String> {
    let hops = windows.iter().filter_map(|window| window.wire.as_ref()?.load());
    let samples: Vec<_> = hops.filter_map(|hop| hop.sample.as_ref()).collect();
    if samples.is_empty() {
        let why =
            |window: &&Window| window.facts.lacks(&Part::Timelines).or(window.facts.lacks(&Part::Places)).cloned();
        let why = windows.iter().find_map(why).map(|missing| missing.why);
        return Err(why.unwrap_or_else(|| "no timelines of queries were taken".into()));
    }
    let mut queries: Vec<&QueryTimeline> = samples.iter().flat_map(|sample| &sample.queries).collect();
    if queries.len() < FEWEST {
        return Err(format!("{} timelines were sampled; {FEWEST} are needed", queries.len()));
    }
    queries.sort_by_key(|query| std::cmp::Reverse(query.latency()));
    let slowest = &queries[..queries.len().div_ceil(100)];
    let latency = |query: &&QueryTimeline| query.latency() as f64;
    Ok(Tail {
        sampled: queries.len(),
        lost: samples.iter().map(|sample| sample.lost).sum(),
        slowest: slowest.len(),
        threshold: slowest.last().map_or(0, |query| query.latency()),
        all: mean(&queries, latency),
        of_slowest: mean(slowest, latency),
        places: Place::ALL.into_iter().filter_map(|place| tail_place(place, &queries, slowest)).collect(),
        cluster: cluster(&queries, slowest),
    })
}

/// `None` for the client's, which no timeline holds.
fn tail_place(place: Place, all: &[&QueryTimeline], slowest: &[&QueryTimeline]) -> Option<TailPlace> {
    let spent = |queries: &[&QueryTimeline]| -> Option<Vec<u64>> {
        queries.iter().map(|query| query.spent_in(place).map(u64::from)).collect()
    };
    let mean = |nanos: &[u64]| nanos.iter().map(|nanos| *nanos as f64).sum::<f64>() / nanos.len() as f64;
    let (all, slowest) = (spent(all)?, spent(slowest)?);
    Some(TailPlace { place, all: mean(&all), of_slowest: mean(&slowest), p99: quantile(all, 0.99) })
}

fn mean(queries: &[&QueryTimeline], of: impl Fn(&&QueryTimeline) -> f64) -> f64 {
    queries.iter().map(of).sum::<f64>() / queries.len() as f64
}

fn quantile(mut values: Vec<u64>, q: f64) -> Option<u64> {
    let beyond = values.len() as f64 * (1.0 - q);
    if beyond < BEYOND {
        return None;
    }
    let at = values.len() - 1 - beyond as usize;
    Some(*values.select_nth_unstable(at).1)
}

/// The part of the second that holds the most of the slowest beyond what it holds of all, if chance would hardly do
/// that.
fn cluster(all: &[&QueryTimeline], slowest: &[&QueryTimeline]) -> Option<Cluster> {
    let by_part = |queries: &[&QueryTimeline]| {
        let mut parts = [0; PARTS];
        queries.iter().for_each(|query| parts[(query.sent % 1_000_000_000) as usize * PARTS / 1_000_000_000] += 1);
        parts
    };
    let (everyone, slow) = (by_part(all), by_part(slowest));
    let share = slowest.len() as f64 / all.len() as f64;
    let parts = (0..PARTS).map(|part| (part, slow[part], everyone[part] as f64 * share));
    let (part, found, expected) = parts.max_by(|a, b| (a.1 as f64 - a.2).total_cmp(&(b.1 as f64 - b.2)))?;
    let (from, to) = (part as f64 / PARTS as f64, (part + 1) as f64 / PARTS as f64);
    (at_least(found, expected) < CHANCE / PARTS as f64).then_some(Cluster { from, to, found, expected })
}

/// Chance of so many or more where `expected` are, by Poisson's law.
fn at_least(found: usize, expected: f64) -> f64 {
    let (mut term, mut below) = ((-expected).exp(), 0.0);
    for i in 0..found {
        below += term;
        term *= expected / (i + 1) as f64;
    }
    (1.0 - below).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2,000 queries of 100 us, a ms apart; each 100th takes 900 us more in the server's socket buffer.
    fn queries(slow: impl Fn(u64) -> bool) -> Vec<QueryTimeline> {
        let query = |at: u64| QueryTimeline {
            sent: at * 1_000_000,
            client: 1,
            spent: [10_000, if slow(at) { 920_000 } else { 20_000 }, 50_000, 10_000, 10_000],
            behind: None,
        };
        (0..2_000).map(query).collect()
    }

    fn found(queries: &[QueryTimeline]) -> Option<Cluster> {
        let all: Vec<&QueryTimeline> = queries.iter().collect();
        let slow: Vec<&QueryTimeline> = queries.iter().filter(|query| query.latency() > 500_000).collect();
        cluster(&all, &slow)
    }

    #[test]
    fn slow_queries_at_one_time_of_each_second_are_a_cluster_and_spread_ones_are_not() {
        let tick = found(&queries(|at| (340..350).contains(&(at % 1_000)))).unwrap();
        assert_eq!((tick.found, tick.from, tick.to), (20, 6.0 / 20.0, 7.0 / 20.0));
        assert!((tick.expected - 1.0).abs() < 1e-9);
        assert_eq!(found(&queries(|at| at % 100 == 7)), None);
    }

    #[test]
    fn poissons_law_has_its_known_values() {
        assert!((at_least(1, 2.0) - (1.0 - (-2.0_f64).exp())).abs() < 1e-12);
        assert!((at_least(3, 1.0) - 0.080_301).abs() < 1e-6);
        assert_eq!(at_least(0, 5.0), 1.0);
    }

    #[test]
    fn a_quantile_needs_a_hundred_beyond_it() {
        assert_eq!(quantile((0..9_999).collect(), 0.99), None);
        assert_eq!(quantile((1..=10_000).collect(), 0.99), Some(9_900));
    }
}
