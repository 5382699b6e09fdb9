//! Metrics' series x levels as a table. Seconds are shown in microseconds.

use super::model::{Cell, Column, Table};
use crate::analyze::time::series::{LevelChange, SeriesLevel};

/// One row per series and level.
pub fn series_table(series: &[SeriesLevel]) -> Table {
    let columns = vec![
        Column::text("series", "series"),
        Column::number("level", "level", ""),
        Column::text("kind", "kind"),
        Column::number("delta", "count or delta", ""),
        Column::number("per_query", "a query", ""),
        Column::number("last", "last value", ""),
        Column::number("mean", "mean", ""),
        Column::number("p50", "p50 within", ""),
        Column::number("p99", "p99 within", ""),
        Column::text("unit", "unit"),
    ];
    let mut table = Table { columns, rows: series.iter().map(row).collect(), ..Table::default() };
    if series.iter().any(|s| s.reset) {
        table.notes.push("A series marked `reset` went back to 0 in its window; it counts from there.".into());
    }
    table.notes.push("Series whose count did not move in a level's windows are not listed for it.".into());
    table
}

fn row(series: &SeriesLevel) -> Vec<Cell> {
    let seconds = series.name.ends_with("_seconds") || series.name.ends_with(".seconds");
    let (factor, unit) = if seconds { (1e6, "µs") } else { (1.0, "as exposed") };
    let bounds = |quantile: Option<(f64, f64)>| {
        quantile.map_or(Cell::Missing("has no buckets".into()), |(low, high)| Cell::Within(low * factor, high * factor))
    };
    let (kind, delta, mean, p50, p99) = match series.change {
        LevelChange::Counter { delta } => ("counter", Cell::Figure(delta), Cell::Empty, Cell::Empty, Cell::Empty),
        LevelChange::Gauge { rise, .. } => {
            let rise = Cell::figure(rise, "absent from a first scrape");
            ("gauge", rise, Cell::Empty, Cell::Empty, Cell::Empty)
        }
        LevelChange::Histogram { count, mean, p50, p99 } => {
            let mean = Cell::figure(mean.map(|mean| mean * factor), "its sum is not exposed");
            ("histogram", Cell::Figure(count), mean, bounds(p50), bounds(p99))
        }
    };
    let kind = if series.reset { format!("{kind}, reset") } else { kind.to_string() };
    vec![
        Cell::Text(series.series.clone()),
        Cell::Count(series.level as u64),
        Cell::Text(kind),
        delta,
        Cell::figure(series.per_query, "no query completed"),
        if let LevelChange::Gauge { last, .. } = series.change { Cell::Figure(last) } else { Cell::Empty },
        mean,
        p50,
        p99,
        Cell::Text(unit.into()),
    ]
}
