//! Runs of scripts as a table, under that of the queries.

use super::model::{Cell, Column, Table};
use crate::analyze::judge::transactions::TransactionRow;

/// One row per level, and one per script of a mix.
pub fn transactions_table(rows: &[TransactionRow], counted_scale: Option<u64>) -> Table {
    let columns = vec![
        Column::level(),
        Column::text("script", "script"),
        Column::number("per_second", "transactions", "a second"),
        Column::number("mean", "mean", "ms"),
        Column::number("stddev", "stddev", "ms"),
        Column::number("p50", "p50", "ms"),
        Column::number("p99", "p99", "ms"),
        Column::number("failed", "failed", ""),
    ];
    let mut notes = vec![
        "A transaction is one run of a script, from its beginning to its last answer, its sleeps included. All other \
         tables divide by queries: the statements of which it consists."
            .to_string(),
    ];
    notes.extend(
        counted_scale.map(|scale| format!(":scale is {scale}, counted in pgbench_branches (-D scale=N sets it).")),
    );
    Table {
        id: "transactions",
        title: "Transactions".into(),
        columns,
        rows: rows.iter().map(row).collect(),
        notes,
        ..Table::default()
    }
}

fn row(row: &TransactionRow) -> Vec<Cell> {
    let millis = |nanos: Option<f64>, why: &str| Cell::or_missing(nanos.map(|n| n / 1e6), why);
    let why = match &row.script {
        _ if row.completed == 0 => "no transaction was completed",
        Some(_) => "no distribution is kept of one script of a mix",
        None => "the latencies cannot be added",
    };
    let part = |at: usize| millis(row.distribution.map(|parts| parts[at]), why);
    vec![
        Cell::Count(row.level as u64),
        Cell::Text(row.script.clone().unwrap_or_else(|| "all".into())),
        Cell::or_missing(Some(row.per_second), ""),
        millis(row.mean, "no transaction was completed"),
        part(0),
        part(1),
        part(2),
        Cell::Count(row.failed),
    ]
}
