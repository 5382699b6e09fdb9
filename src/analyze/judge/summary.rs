//! The level table: throughput, latency, CPU and waits of each level. Invariant: rates of different sources are
//! divided by their own spans before they are set against each other, and what was not measured is `None`.

use crate::analyze::cost::view::{ViewOptions, Weights, window_view};
use crate::analyze::time::places::level_places;
use crate::check::{Check, Status, bound};
use crate::load::{LoadTrace, Reported, empty_histogram};
use crate::profile::ColumnKind;
use crate::run::{Part, Run, Window};
use crate::target::{Role, SchedulerDelta};
use serde::Serialize;

/// One level, its replicates taken together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelSummary {
    /// Number of clients.
    pub level: usize,
    /// Number of windows.
    pub replicates: usize,
    /// Queries a second: sum of completions over sum of spans; `None` for an empty span.
    pub throughput: Option<f64>,
    /// Lowest and highest of the replicates, queries a second; `None` with fewer than two.
    pub throughput_range: Option<(f64, f64)>,
    /// Mean latency in ns, all replicates' queries taken together; `None` where the driver does not tell it,
    /// or no query was completed.
    pub mean_latency: Option<f64>,
    /// Median of the latency in ns; `None` where the driver keeps no histogram, or it is empty.
    pub p50: Option<u64>,
    /// 99th percentile of the latency in ns; `None` as for `p50`.
    pub p99: Option<u64>,
    /// 99.9th percentile of the latency in ns; `None` as for `p50`, and where fewer queries are known than have one
    /// beyond it.
    pub p999: Option<u64>,
    /// ns of CPU a query on the target's threads, by the kernel's accounting.
    pub target_cpu: Option<f64>,
    /// ns of CPU a query by the samples; `None` where the samples count something else.
    pub sampled_cpu: Option<f64>,
    /// ns a query that the target's threads were runnable and waited for a CPU.
    pub runnable: Option<f64>,
    /// The target's busiest thread in any replicate; `None` without scheduler statistics.
    pub busiest: Option<Busiest>,
    /// ns of CPU a query on the generator's threads.
    pub generator_cpu: Option<f64>,
    /// Number of load threads, of several windows the greatest; `None` where the driver does not tell.
    pub load_threads: Option<usize>,
    /// Busy share of all CPUs, 0..1.
    pub machine_busy: Option<f64>,
    /// Number of failed queries; `None` where the driver does not tell.
    pub errors: Option<u64>,
    /// Number of answers with another number of rows; `None` where the driver does not tell.
    pub wrong_rows: Option<u64>,
    /// Length of the windows together, in seconds.
    pub seconds: f64,
    /// ns a query from sending to reading, by the sockets; `None`: they were not followed.
    pub sockets_latency: Option<f64>,
    /// What the program that drove the load says of its own runs, one for each replicate; empty where none did.
    pub reported: Vec<Reported>,
    /// Number of checks that failed, over the replicates.
    pub checks_failing: usize,
    /// Number of checks that warn, over the replicates.
    pub guards_warning: usize,
    /// Number of checks that were made, over the replicates; 0: none is stored.
    pub checks: usize,
    /// Why figures of this level were not measured.
    pub why: Why,
}

/// Why a level lacks what an instrument tells, as far as its windows say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Why {
    /// CPU and run-queue time of the target.
    pub target_cpu: Option<String>,
    /// Stacks on CPU.
    pub profile: Option<String>,
    /// The mean latency.
    pub latency: Option<String>,
    /// Percentiles of the latency.
    pub distribution: Option<String>,
    /// The number of queries.
    pub queries: Option<String>,
}

impl Why {
    fn of(windows: &[&Window]) -> Why {
        let told = |parts: &[Part]| {
            let lacking = windows.iter().filter_map(|window| parts.iter().find_map(|part| window.facts.lacks(part)));
            lacking.map(|missing| missing.why.clone()).next()
        };
        Why {
            target_cpu: told(&[Part::TargetCpu, Part::Scheduler]),
            profile: told(&[Part::Profile]),
            latency: told(&[Part::Latency, Part::Queries]),
            distribution: told(&[Part::LatencyDistribution, Part::Latency]),
            queries: told(&[Part::Queries]),
        }
    }
}

/// The thread that was on CPU most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Busiest {
    /// Name of the thread.
    pub thread: String,
    /// Its number in the kernel.
    pub tid: u32,
    /// Share of the time on CPU, 0..1.
    pub share: f64,
}

/// The levels, ascending.
pub fn summary(run: &Run) -> Vec<LevelSummary> {
    run.levels().into_iter().map(|(level, windows)| level_summary(level, &windows)).collect()
}

/// One window by itself.
pub fn of_window(window: &Window) -> LevelSummary {
    level_summary(window.id().level, &[window])
}

/// Queries of which one lies beyond the 99.9th percentile.
const FEWEST: u64 = 1_000;

fn level_summary(level: usize, windows: &[&Window]) -> LevelSummary {
    let latency = latency(windows);
    let quantile = |q: f64| (!latency.is_empty()).then(|| latency.value_at_quantile(q));
    let rates: Vec<f64> =
        windows.iter().filter(|w| w.counted() && w.load.span.nanos() > 0).map(|w| w.load.throughput()).collect();
    let verdicts =
        |wanted: Status| windows.iter().flat_map(|w| &w.checks).filter(|g: &&Check| g.status() == wanted).count();
    LevelSummary {
        level,
        replicates: windows.len(),
        throughput: throughput(windows),
        throughput_range: (rates.len() > 1)
            .then(|| rates.iter().fold((f64::MAX, f64::MIN), |(low, high), r| (low.min(*r), high.max(*r)))),
        mean_latency: mean_latency(windows),
        p50: quantile(0.5),
        p99: quantile(0.99),
        p999: quantile(0.999).filter(|_| latency.len() >= FEWEST),
        target_cpu: per_query(windows, |s| s.cpu(Role::Target)),
        sampled_cpu: sampled_cpu(windows),
        runnable: per_query(windows, |s| s.runnable(Role::Target)),
        busiest: busiest(windows),
        generator_cpu: generator_cpu(windows),
        load_threads: windows.iter().map(|w| w.load.generator.threads).max().filter(|threads| *threads > 0),
        machine_busy: machine_busy(windows),
        errors: told(windows, &Part::Errors, |w| w.load.error_count()),
        wrong_rows: told(windows, &Part::RowCounts, |w| w.load.wrong_rows),
        seconds: windows.iter().map(|window| window.load.span.seconds()).sum(),
        sockets_latency: sockets_latency(windows),
        reported: windows.iter().filter_map(|window| window.load.reported.clone()).collect(),
        checks_failing: verdicts(Status::Fail),
        guards_warning: verdicts(Status::Warn),
        checks: windows.iter().map(|window| window.checks.len()).sum(),
        why: Why::of(windows),
    }
}

/// By the hop between the load and the server.
fn sockets_latency(windows: &[&Window]) -> Option<f64> {
    let wire = windows.iter().find_map(|window| window.wire.as_ref())?;
    level_places(windows, &wire.load()?.hop.name)?.within_latency()
}

/// A sum over the windows; `None` where one of them says that the part was not measured.
fn told(windows: &[&Window], part: &Part, count: impl Fn(&Window) -> u64) -> Option<u64> {
    windows
        .iter()
        .all(|window| window.facts.lacks(part).is_none())
        .then(|| windows.iter().map(|window| count(window)).sum())
}

fn throughput(windows: &[&Window]) -> Option<f64> {
    windows.iter().all(|window| window.counted()).then_some(())?;
    let seconds: f64 = windows.iter().map(|w| w.load.span.seconds()).sum();
    (seconds > 0.0).then(|| windows.iter().map(|w| w.load.completed as f64).sum::<f64>() / seconds)
}

fn latency(windows: &[&Window]) -> hdrhistogram::Histogram<u64> {
    let mut all = empty_histogram();
    for window in windows {
        // Only a histogram with wider bounds could be refused; the driver makes them all with `empty_histogram`.
        if all.add(&window.load.latency).is_err() {
            return empty_histogram();
        }
    }
    all
}

/// Mean latency in ns over the windows.
pub(in crate::analyze) fn mean_latency(windows: &[&Window]) -> Option<f64> {
    let sum: u64 = windows.iter().map(|w| w.load.latency_sum).sum::<Option<u64>>()?;
    let completed: u64 = windows.iter().map(|w| w.load.completed).sum();
    (completed > 0).then(|| sum as f64 / completed as f64)
}

/// Z: ns that a client of a closed loop has no query under way between two of them, by its mean latency in ns. `None`:
/// the load is none. 0 where that cannot be told from what failed queries take, or from those at the windows' ends.
pub(in crate::analyze) fn think(windows: &[&Window], latency: f64) -> Option<f64> {
    let clients = windows.iter().map(|w| w.load.connections).max().filter(|n| *n > 0)? as f64;
    windows.iter().all(|w| w.load.is_closed()).then_some(())?;
    let seconds: f64 = windows.iter().map(|w| w.load.span.seconds()).sum();
    let completed: f64 = windows.iter().map(|w| w.load.completed as f64).sum();
    let failed: f64 = windows.iter().flat_map(|w| &w.load.errors).map(|error| error.count as f64).sum();
    let between = clients * 1e9 * seconds / completed.max(f64::MIN_POSITIVE);
    // Each client may have one query more, or less, than lies within a window.
    let ends = latency * windows.len() as f64 / (1e9 * seconds).max(f64::MIN_POSITIVE);
    let told = failed < FEW * (failed + completed) && 1.0 - latency / between > bound::GENERATOR_GAP + ends;
    Some(if told { between - latency } else { 0.0 })
}

/// Of all queries: fewer that failed hardly matter.
pub(in crate::analyze) const FEW: f64 = 0.01;

/// Whether queries of a mean latency in ns queue for the busiest thread of a role: in most of these windows.
pub(in crate::analyze) fn shares_busiest(windows: &[&Window], role: Role, latency: Option<f64>) -> bool {
    let scheduled = || windows.iter().filter_map(|w| Some((w.scheduler.as_ref()?, &w.load)));
    let shares = |(scheduler, load): &(&SchedulerDelta, &LoadTrace)| {
        scheduler.one_each(role, load.under_way(latency), load.connections).is_none()
    };
    2 * scheduled().filter(shares).count() > scheduled().count()
}

/// The CPUs that the server may use, the fewest in any of these windows; `None`: not known.
pub(in crate::analyze) fn for_server(windows: &[&Window]) -> Option<f64> {
    let known = windows.iter().filter_map(|w| w.scheduler.as_ref()?.machine.as_ref()?.for_server);
    known.reduce(f64::min)
}

/// Mean over windows of (ns a second by the scheduler) / (queries a second), weighted by queries. `None` where any
/// window lacks its scheduler statistics, or they do not tell these `nanos`.
pub(in crate::analyze) fn per_query(
    windows: &[&Window],
    nanos: impl Fn(&SchedulerDelta) -> Option<u64>,
) -> Option<f64> {
    let (mut sum, mut queries) = (0.0, 0.0);
    for window in windows {
        let scheduler = window.scheduler.as_ref().filter(|s| s.span.nanos() > 0)?;
        sum += nanos(scheduler)? as f64 * window.load.span.seconds() / scheduler.span.seconds();
        queries += window.load.completed as f64;
    }
    (queries > 0.0).then(|| sum / queries)
}

fn sampled_cpu(windows: &[&Window]) -> Option<f64> {
    let (mut sum, mut queries) = (0.0, 0.0);
    for window in windows {
        // What was sampled stands beside what is accounted, so that one tells of the other.
        let view = window_view(window, &ViewOptions { weights: Weights::Sampled, ..ViewOptions::default() })?;
        let column = &view.profile.columns[view.column];
        (column.kind == ColumnKind::Cpu && column.unit == "nanoseconds").then_some(())?;
        sum += view.profile.total(view.column) as f64;
        queries += view.queries;
    }
    (queries > 0.0).then(|| sum / queries)
}

fn busiest(windows: &[&Window]) -> Option<Busiest> {
    let threads = windows.iter().filter_map(|w| {
        let scheduler = w.scheduler.as_ref().filter(|s| s.span.nanos() > 0)?;
        let thread = scheduler.busiest(Role::Target)?;
        let share = thread.cpu as f64 / scheduler.span.nanos() as f64;
        Some(Busiest { thread: thread.thread.clone(), tid: thread.tid, share })
    });
    threads.max_by(|a, b| a.share.total_cmp(&b.share))
}

/// The generator's own reading, which is cut to the window; the scheduler's where the driver has none.
fn generator_cpu(windows: &[&Window]) -> Option<f64> {
    let own: Option<u64> = windows.iter().map(|w| w.load.generator.cpu).sum();
    let completed: u64 = windows.iter().map(|w| w.load.completed).sum();
    match own.filter(|_| completed > 0) {
        Some(cpu) => Some(cpu as f64 / completed as f64),
        None => per_query(windows, |s| s.cpu(Role::Generator)),
    }
}

fn machine_busy(windows: &[&Window]) -> Option<f64> {
    let (mut busy, mut all) = (0, 0);
    for window in windows {
        let machine = window.scheduler.as_ref()?.machine.as_ref()?;
        busy += machine.busy;
        all += machine.busy + machine.idle + machine.steal;
    }
    (all > 0).then(|| busy as f64 / all as f64)
}
