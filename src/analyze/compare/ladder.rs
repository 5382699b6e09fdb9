//! Rungs of a ladder of workloads side by side: what each costs, and what it costs more than the one below.
//! Invariant: a step is the mean of the differences within replicates, whose windows followed each other; its
//! interval is Student's over the replicates, and there is none for fewer than two.

use crate::analyze::statistics::interval::mean;
use crate::run::{Run, Window};
use crate::target::Role;
use std::collections::{BTreeMap, BTreeSet};

/// A mean over replicates, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean, in the unit of the field that holds it.
    pub value: f64,
    /// 95 % interval of the mean, in the same unit; `None` for fewer than two replicates.
    pub interval: Option<(f64, f64)>,
}

/// One rung at one level.
#[derive(Clone, Debug, PartialEq)]
pub struct RungCost {
    /// Number of clients.
    pub level: usize,
    /// Place in the ladder, from 0 at the bottom.
    pub rung: usize,
    /// Number of windows of the rung at this level.
    pub windows: usize,
    /// Queries a second; `None`: the queries were not counted in any window.
    pub throughput: Option<Mean>,
    /// The clients' mean latency, ns a query; `None`: not measured.
    pub latency: Option<Mean>,
    /// ns of the target's CPU a query; `None`: not measured.
    pub cpu: Option<Mean>,
    /// ns of latency a query more than on the rung below, in the same replicates; `None` at the bottom, or
    /// not measured.
    pub latency_step: Option<Mean>,
    /// ns of the target's CPU a query more than on the rung below; `None` as for `latency_step`.
    pub cpu_step: Option<Mean>,
}

/// Every level's rungs, from the bottom; `runs` in the ladder's order.
pub fn ladder(runs: &[Run]) -> Vec<RungCost> {
    let levels: BTreeSet<usize> = runs.iter().flat_map(|run| run.levels().into_keys()).collect();
    let all = levels.into_iter().flat_map(|level| (0..runs.len()).map(move |rung| (level, rung)));
    all.filter_map(|(level, rung)| cost(runs, level, rung)).collect()
}

fn cost(runs: &[Run], level: usize, rung: usize) -> Option<RungCost> {
    let of = |rung: usize, value: fn(&Window) -> Option<f64>| replicates(&runs[rung], level, value);
    let own = |value| averaged(of(rung, value).into_values().collect());
    let step = |value| {
        let (below, own) = (of(rung.checked_sub(1)?, value), of(rung, value));
        averaged(own.iter().filter_map(|(replicate, value)| Some(value - below.get(replicate)?)).collect())
    };
    let windows = runs[rung].levels().get(&level)?.len();
    Some(RungCost {
        level,
        rung,
        windows,
        throughput: own(|window| window.counted().then(|| window.load.throughput())),
        latency: own(latency),
        cpu: own(cpu),
        latency_step: step(latency),
        cpu_step: step(cpu),
    })
}

fn latency(window: &Window) -> Option<f64> {
    window.load.mean_latency()
}

fn cpu(window: &Window) -> Option<f64> {
    let scheduler = window.scheduler.as_ref()?;
    (window.load.completed > 0)
        .then(|| scheduler.cpu(Role::Target))
        .flatten()
        .map(|cpu| cpu as f64 / window.load.completed as f64)
}

fn replicates(run: &Run, level: usize, value: fn(&Window) -> Option<f64>) -> BTreeMap<usize, f64> {
    let own = run.windows.iter().filter(|window| window.id().level == level);
    own.filter_map(|window| Some((window.id().replicate, value(window)?))).collect()
}

fn averaged(values: Vec<f64>) -> Option<Mean> {
    mean(&values).map(|(value, interval)| Mean { value, interval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::compare::difference::constructed;

    #[test]
    fn a_step_is_taken_within_replicates_so_that_what_both_rungs_share_is_in_no_interval() {
        // Replicates get slower and slower; the second rung costs 100, 110 and 120 ns more.
        let below = constructed::run("a", 4, &[(1000, 1_000, 10), (1000, 2_000, 20), (1000, 3_000, 30)]);
        let above = constructed::run("b", 4, &[(1000, 1_100, 15), (1000, 2_110, 25), (1000, 3_120, 35)]);
        let found = ladder(&[below, above]);
        assert_eq!(
            found.iter().map(|cost| (cost.level, cost.rung, cost.windows)).collect::<Vec<_>>(),
            [(4, 0, 3), (4, 1, 3)]
        );
        assert_eq!((found[0].latency.unwrap().value, found[0].latency_step), (2_000.0, None));
        let step = found[1].latency_step.unwrap();
        let half = 4.302_652_73 * 10.0 / 3f64.sqrt();
        let (low, high) = step.interval.unwrap();
        assert!((step.value - 110.0).abs() < 1e-9 && (low - (110.0 - half)).abs() < 1e-5, "{step:?}");
        assert!((high - (110.0 + half)).abs() < 1e-5);
        assert_eq!(found[1].cpu_step.unwrap().value, 5.0);
        assert!(found[1].latency.unwrap().interval.unwrap().0 < 0.0, "the rungs themselves scatter");
    }

    #[test]
    fn one_replicate_has_steps_without_intervals() {
        let run = |latency| constructed::run("a", 4, &[(1000, latency, 10)]);
        let found = ladder(&[run(1_000), run(1_500)]);
        assert_eq!(found[1].latency_step, Some(Mean { value: 500.0, interval: None }));
    }
}
