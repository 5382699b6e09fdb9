//! Runs of scripts at each level, beside the queries that they consist of. Invariant: a level has figures only where
//! all of its windows counted transactions.

use crate::load::{Transactions, empty_histogram};
use crate::run::{Run, Window};
use hdrhistogram::Histogram;

/// The transactions of a level, or one script's share of them.
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionRow {
    /// Number of clients.
    pub level: usize,
    /// The script; `None`: all of a mix.
    pub script: Option<String>,
    /// Runs to the end.
    pub completed: u64,
    /// Those per second.
    pub per_second: f64,
    /// Mean latency in ns; `None` without a run.
    pub mean: Option<f64>,
    /// Standard deviation, median and 99th percentile of the latency in ns; `None` for one script of a mix, of which
    /// no distribution is kept, and without a run.
    pub distribution: Option<[f64; 3]>,
    /// Runs that an error ended.
    pub failed: u64,
}

/// All levels' rows, ascending; those of a mix followed by its scripts. Empty where the load is no script.
pub fn transactions(run: &Run) -> Vec<TransactionRow> {
    run.levels().into_iter().flat_map(|(level, windows)| rows(level, &windows)).collect()
}

/// What `:scale` was, where the load counted it in the server's tables.
pub fn counted_scale(run: &Run) -> Option<u64> {
    run.windows.iter().find_map(|window| window.load.transactions.as_ref()?.counted_scale)
}

fn rows(level: usize, windows: &[&Window]) -> Vec<TransactionRow> {
    let counted: Option<Vec<&Transactions>> = windows.iter().map(|w| w.load.transactions.as_ref()).collect();
    let seconds: f64 = windows.iter().map(|w| w.load.span.seconds()).sum();
    let Some(counted) = counted.filter(|counted| !counted.is_empty() && seconds > 0.0) else { return Vec::new() };
    let row = |script: Option<String>, sums: [u64; 3], latency: Option<&Histogram<u64>>| TransactionRow {
        level,
        script,
        completed: sums[0],
        per_second: sums[0] as f64 / seconds,
        mean: (sums[0] > 0).then(|| sums[1] as f64 / sums[0] as f64),
        distribution: latency.filter(|latency| !latency.is_empty()).map(|latency| {
            let quantile = |q| latency.value_at_quantile(q) as f64;
            [latency.stdev(), quantile(0.5), quantile(0.99)]
        }),
        failed: sums[2],
    };
    let sum = |count: &dyn Fn(&Transactions) -> u64| counted.iter().map(|one| count(one)).sum();
    let mut latency = empty_histogram();
    // All of them have the same bounds, which they were read into.
    let whole = counted.iter().all(|one| latency.add(&one.latency).is_ok());
    let all = [sum(&|one| one.completed), sum(&|one| one.latency_sum), sum(&|one| one.failed)];
    let scripts = &counted[0].scripts;
    let single = (scripts.len() == 1).then(|| scripts[0].name.clone());
    let mut rows = vec![row(single, all, Some(&latency).filter(|_| whole))];
    for (at, script) in scripts.iter().enumerate().filter(|_| scripts.len() > 1) {
        let of = |count: fn(&crate::load::ScriptCount) -> u64| sum(&|one| one.scripts.get(at).map_or(0, count));
        let sums = [of(|s| s.completed), of(|s| s.latency_sum), of(|s| s.failed)];
        rows.push(row(Some(script.name.clone()), sums, None));
    }
    rows
}
