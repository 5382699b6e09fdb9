//! Statements of the database: a table each, figures x levels, every figure beside the calls that it was measured in.

use super::model::{Cell, Column, Section, Table};
use crate::analyze::cost::statements::{LevelStatement, StatementCost, StatementSources};
use std::collections::BTreeSet;

/// A figure of a statement: its name, its unit, its value at a level and the calls behind it.
type Figure = (&'static str, &'static str, fn(&LevelStatement) -> Option<f64>, fn(&LevelStatement) -> u64);

const FIGURES: [Figure; 7] = [
    ("calls", "calls/query", |level| Some(level.calls_per_query), all),
    ("rows", "rows/call", |level| Some(level.total.rows as f64 / level.total.calls.max(1) as f64), all),
    ("service time", "µs/call", |level| level.total.mean_service().map(micros), all),
    ("execution time", "µs/call", |level| level.total.mean_exec().map(micros), all),
    ("planning time", "µs/call", |level| level.total.mean_plan().map(micros), all),
    ("CPU", "µs/sampled call", |level| level.total.mean_cpu().map(micros), sampled),
    ("contention", "µs/sampled call", |level| level.total.mean_contention().map(micros), sampled),
];

/// The first `top` statements; `None` where the run has no statement statistics and none were wanted.
pub fn statements_section(costs: &[StatementCost], sources: &StatementSources, top: usize) -> Option<Section> {
    if costs.is_empty() && sources.sources.is_empty() && sources.missing.is_empty() {
        return None;
    }
    let levels: BTreeSet<usize> = costs.iter().flat_map(|cost| cost.levels.keys().copied()).collect();
    let tables = costs.iter().take(top).map(|cost| statement_table(cost, &levels)).collect();
    let mut notes = notes(sources);
    if costs.len() > top {
        notes.push(format!("{} more statements: `wireprof statements --top N` shows them.", costs.len() - top));
    }
    let title = "Statements of the database".into();
    Some(Section { id: "statements", title, tables, notes, ..Section::default() })
}

fn statement_table(cost: &StatementCost, levels: &BTreeSet<usize>) -> Table {
    let mut columns = vec![Column::text("figure", "figure"), Column::text("unit", "unit")];
    for level in levels {
        columns.push(Column::at(*level, "value", &format!("level {level}"), ""));
        columns.push(Column::at(*level, "calls", &format!("measured {level}"), "calls"));
    }
    let measured = |(_, _, value, _): &&Figure| cost.levels.values().any(|level| value(level).is_some());
    let (rows, absent): (Vec<&Figure>, Vec<&Figure>) = FIGURES.iter().partition(measured);
    let mut notes = Vec::new();
    if !absent.is_empty() {
        let absent: Vec<&str> = absent.iter().map(|(name, ..)| *name).collect();
        notes.push(format!("Not measured: the source has no {} of it.", absent.join(", no ")));
    }
    let rows = rows.into_iter().map(|figure| row(figure, cost, levels)).collect();
    let application = cost.application.as_ref().filter(|name| !name.is_empty());
    let application = application.map_or(String::new(), |name| format!(" (application {name})"));
    let query = cost.query.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut about = vec![("statement", Cell::Text(query.clone()))];
    about
        .extend(cost.application.clone().filter(|name| !name.is_empty()).map(|name| ("application", Cell::Text(name))));
    Table { id: "statement", about, title: format!("{query}{application}"), columns, rows, notes }
}

fn row((name, unit, value, calls): &Figure, cost: &StatementCost, levels: &BTreeSet<usize>) -> Vec<Cell> {
    let mut cells = vec![Cell::Text((*name).into()), Cell::Text((*unit).into())];
    for level in levels {
        let Some(level) = cost.levels.get(level) else {
            cells.extend([Cell::Missing("not called at this level".into()), Cell::Count(0)]);
            continue;
        };
        cells.push(Cell::figure(value(level), "no call of this level was sampled"));
        cells.push(Cell::Count(calls(level)));
    }
    cells
}

fn notes(sources: &StatementSources) -> Vec<String> {
    let (with, windows) = sources.windows;
    let mut notes: Vec<String> = sources
        .sources
        .iter()
        .map(|source| format!("From statements.json of {with} of {windows} windows: differences of {source}."))
        .collect();
    notes.extend(sources.missing.iter().map(|why| format!("Not measured in some windows: {why}.")));
    if sources.vanished > 0 {
        notes.push(format!(
            "{} statements were evicted or reset within a window, and are not in these figures.",
            sources.vanished
        ));
    }
    if sources.hidden > 0 {
        notes.push(format!(
            "{} statements of other roles (<insufficient privilege>) are left out: the role that read them may not see \
             them, so nothing tells them apart; as a superuser run: GRANT pg_read_all_stats TO ROLE",
            sources.hidden
        ));
    }
    if with > 0 {
        notes.extend(sources.not_called.iter().map(|query| format!("Watched and not called in any window: {query}")));
    }
    notes
}

fn all(level: &LevelStatement) -> u64 {
    level.total.calls
}

fn sampled(level: &LevelStatement) -> u64 {
    level.total.sampled.map_or(0, |sampled| sampled.calls)
}

fn micros(nanos: f64) -> f64 {
    nanos / 1e3
}
