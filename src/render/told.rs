//! What others than wireprof's own load generator say of the load, as a table: the program that drove it, and the
//! sockets. Invariant: each figure stands with the span that it was counted over.

use super::model::{Cell, Column, Table};
use crate::analyze::judge::summary::LevelSummary;
use crate::load::Reported;

/// One row per level and teller; `None` where the load generator tells all by itself.
pub fn told_table(levels: &[LevelSummary]) -> Option<Table> {
    let others = |level: &LevelSummary| !level.reported.is_empty() || level.mean_latency.is_none();
    let rows: Vec<Vec<Cell>> = levels.iter().filter(|level| others(level)).flat_map(rows).collect();
    if rows.is_empty() {
        return None;
    }
    let columns = vec![
        Column::level(),
        Column::text("who", "told by"),
        Column::number("throughput", "throughput", "q/s"),
        Column::number("latency", "mean latency", "µs"),
        Column::number("deviation", "± (99 %)", "µs"),
        Column::number("seconds", "counted over", "s"),
        Column::number("ran", "ran for", "s"),
    ];
    let notes = vec![
        "A program tells of its whole run, which begins before the window and ends after it; the sockets tell of the \
         window, from sending to reading."
            .to_string(),
    ];
    Some(Table {
        id: "told",
        title: "What the load's own program and the sockets say".into(),
        columns,
        rows,
        notes,
        ..Table::default()
    })
}

fn rows(level: &LevelSummary) -> Vec<Vec<Cell>> {
    let mut rows: Vec<Vec<Cell>> = level.reported.iter().flat_map(|reported| reported_rows(level, reported)).collect();
    let sockets = level.sockets_latency.map(|nanos| nanos / 1e3);
    rows.push(vec![
        Cell::Count(level.level as u64),
        Cell::Text("the sockets".into()),
        Cell::or_missing(level.throughput, "queries were not counted"),
        Cell::or_missing(sockets, "the sockets were not followed"),
        Cell::Empty,
        Cell::Number(level.seconds),
        Cell::Empty,
    ]);
    rows
}

fn reported_rows(level: &LevelSummary, reported: &Reported) -> Vec<Vec<Cell>> {
    let row = |job: &crate::load::ReportedJob| {
        vec![
            Cell::Count(level.level as u64),
            Cell::Text(format!("the program's job {}", job.name)),
            Cell::Number(job.rate),
            Cell::Number(job.latency as f64 / 1e3),
            Cell::Number(job.latency_deviation as f64 / 1e3),
            Cell::or_missing((job.rate > 0.0).then(|| job.transactions as f64 / job.rate), "it tells no rate"),
            Cell::Number(reported.ran.seconds()),
        ]
    };
    reported.jobs.iter().map(row).collect()
}
