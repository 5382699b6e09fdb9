//! The level table as a table: what a user sees first.

use super::figure::significant;
use super::model::{Cell, Column, Table};
use super::told::told_table;
use crate::analyze::judge::summary::LevelSummary;

/// The levels, and what others say of their load where the load generator does not tell all.
pub fn level_tables(levels: &[LevelSummary]) -> Vec<Table> {
    [summary_table(levels)].into_iter().chain(told_table(levels)).collect()
}

/// One row per level.
pub fn summary_table(levels: &[LevelSummary]) -> Table {
    let columns = vec![
        Column::level(),
        Column::number("replicates", "windows", ""),
        Column::number("throughput", "throughput", "q/s"),
        Column::fact("throughput_range", "of windows"),
        Column::number("mean_latency", "mean", "µs"),
        Column::number("p50", "p50", "µs"),
        Column::number("p99", "p99", "µs"),
        Column::number("target_cpu", "target CPU", "µs/query"),
        Column::number("sampled_cpu", "sampled", "µs/query"),
        Column::number("runnable", "runnable", "µs/query"),
        Column::fact("busiest_thread", "busiest thread"),
        Column::number("busiest_share", "on CPU", "%"),
        Column::number("generator_cpu", "generator", "µs/query"),
        Column::number("load_threads", "its threads", ""),
        Column::number("machine_busy", "machine", "% busy"),
        Column::number("errors", "errors", ""),
        Column::number("wrong_rows", "wrong rows", ""),
        Column::fact("checks", "checks"),
    ];
    Table { id: "levels", columns, rows: levels.iter().map(row).collect(), ..Table::default() }
}

fn row(level: &LevelSummary) -> Vec<Cell> {
    let micros = |nanos: Option<f64>, why: &str| Cell::or_missing(nanos.map(|n| n / 1e3), why);
    let why = |told: &Option<String>, otherwise: &str| told.clone().unwrap_or_else(|| otherwise.to_string());
    let no_histogram = why(&level.why.distribution, "the driver keeps no histogram");
    let quantile = |nanos: Option<u64>| micros(nanos.map(|n| n as f64), &no_histogram);
    let counted = |count: Option<u64>| count.map_or(Cell::Missing("the driver does not tell".into()), Cell::Count);
    let scheduler = "no scheduler statistics";
    let target = why(&level.why.target_cpu, "no thread of the server is in the scheduler's statistics");
    let profile = why(&level.why.profile, "no profile of CPU time");
    let spread = match level.throughput_range {
        Some((low, high)) => Cell::Text(format!("{}-{}", significant(low), significant(high))),
        None => Cell::Missing("a single window".into()),
    };
    vec![
        Cell::Count(level.level as u64),
        Cell::Count(level.replicates as u64),
        Cell::or_missing(level.throughput, &why(&level.why.queries, "queries were not counted")),
        spread,
        micros(level.mean_latency, &why(&level.why.latency, "the driver does not tell it exactly")),
        quantile(level.p50),
        quantile(level.p99),
        micros(level.target_cpu, &target),
        micros(level.sampled_cpu, &profile),
        micros(level.runnable, &target),
        level.busiest.as_ref().map_or(Cell::Missing(target.clone()), |b| Cell::Text(b.thread.clone())),
        Cell::or_missing(level.busiest.as_ref().map(|b| b.share * 100.0), &target),
        micros(level.generator_cpu, "the generator's CPU was not read"),
        counted(level.load_threads.map(|threads| threads as u64)),
        Cell::or_missing(level.machine_busy.map(|b| b * 100.0), scheduler),
        counted(level.errors),
        counted(level.wrong_rows),
        checks(level),
    ]
}

fn checks(level: &LevelSummary) -> Cell {
    if level.checks == 0 {
        return Cell::Missing("no check is stored with the run".into());
    }
    Cell::Text(match (level.checks_failing, level.guards_warning) {
        (0, 0) => "pass".into(),
        (0, warn) => format!("{warn} warn"),
        (fail, 0) => format!("{fail} FAIL"),
        (fail, warn) => format!("{fail} FAIL, {warn} warn"),
    })
}
