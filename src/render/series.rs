//! Metrics' series x levels as a table. Seconds are shown in microseconds.

use super::model::{Cell, Column, Table};
use crate::analyze::time::series::{LevelChange, SeriesLevel};

/// One row per series and level.
pub fn series_table(series: &[SeriesLevel]) -> Table {
    let columns = vec![
        Column::text("series", "series"),
        Column::level(),
        Column::text("kind", "kind"),
        Column::number("delta", "count or delta", "as exposed"),
        Column::number("per_query", "a query", "as exposed/query"),
        Column::number("last", "last value", ""),
        Column::number("mean", "mean", ""),
        Column::number("p50", "p50 within", ""),
        Column::number("p99", "p99 within", ""),
        Column::text("unit", "unit"),
    ];
    let mut table = Table { id: "series", columns, rows: series.iter().map(row).collect(), ..Table::default() };
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

/// The table for a screen: what all series' names begin with is said once, and a name stands at its first level.
pub fn series_on_screen(mut table: Table) -> Table {
    let name = |row: &Vec<Cell>| row[0].words().unwrap_or_default().to_string();
    let names: Vec<String> = table.rows.iter().map(name).collect();
    let shared = shared_beginning(&names);
    let mut before = "";
    for (row, name) in table.rows.iter_mut().zip(&names) {
        // Never cut in the middle, where names differ.
        row[0] = if name == before { Cell::Empty } else { Cell::FullName(name[shared.len()..].to_string()) };
        before = name;
    }
    if !shared.is_empty() {
        table.notes.insert(0, format!("The name of each begins with {shared}, which is left out."));
    }
    table
}

/// What several names begin with, up to an underscore or a dot and within the metric's own name.
fn shared_beginning(names: &[String]) -> String {
    let (Some(first), true) = (names.first(), names.iter().any(|name| Some(name) != names.first())) else {
        return String::new();
    };
    let metric = |name: &str| name.find('{').unwrap_or(name.len());
    let alike = |name: &String| first.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count().min(metric(name));
    let length = names.iter().map(alike).min().unwrap_or(0);
    let end = first.as_bytes()[..length].iter().rposition(|byte| matches!(byte, b'_' | b'.')).map_or(0, |at| at + 1);
    first[..end].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_names_begin_with_is_said_once_and_what_differs_is_never_cut() {
        let names =
            ["mz_ts_oracle_batch_wait_seconds{op=\"read_ts\"}", "mz_ts_oracle_inner_read_seconds{op=\"read_ts\"}"];
        let table = |names: &[&str]| {
            let rows = names.iter().map(|name| vec![Cell::Text((*name).into())]).collect();
            series_on_screen(Table { columns: vec![Column::text("series", "series")], rows, ..Table::default() })
        };
        let both = table(&[names[0], names[0], names[1]]);
        let shown = ["batch_wait_seconds{op=\"read_ts\"}", "", "inner_read_seconds{op=\"read_ts\"}"]
            .map(|name| vec![if name.is_empty() { Cell::Empty } else { Cell::FullName(name.into()) }]);
        assert_eq!(both.rows, shown);
        assert_eq!(both.notes, ["The name of each begins with mz_ts_oracle_, which is left out."]);
        assert_eq!(table(&names[..1]).rows, [[Cell::FullName(names[0].into())]]);
        assert!(table(&["a_b", "a{x=\"1_2\"}"]).notes.is_empty());
    }
}
