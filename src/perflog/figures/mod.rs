//! What a session's log is kept for, per level: the latency by the server's metrics and the sockets, the preset's
//! quantities, the database's statements, the waits, the values of checks that passed. Invariant: what was not measured
//! is named with the reason; it rests on a preset, which changes without the run, so it is held against its copy only.

mod answer;
mod tables;

pub use answer::{answer, one_line_summary};

use super::block::{Generated, Made};
use super::entry::one_line;
use crate::analyze::cost::quantities::{Quantity, quantities};
use crate::analyze::cost::statements::{statement_sources, statements};
use crate::analyze::time::WaitKinds;
use crate::analyze::time::hands::{hands, not_followed};
use crate::analyze::time::nodes::nodes;
use crate::analyze::time::off_cpu::{LevelWaits, blocked_stacks};
use crate::analyze::time::places::places;
use crate::check::{Check, Status};
use crate::preset::Preset;
use crate::render::{
    Cell, Column, Section, Table, WaitsRow, hands_section, markdown_table, markdown_text, nodes_section,
    quantities_table, statements_section, waits_section,
};
use crate::run::{Run, Window};
use std::collections::BTreeMap;
use tables::{folded, with_depth, with_growth, without};

/// Kind of the block in its key.
const FIGURES: &str = "figures";
/// Statements that are not watched, at most.
const STATEMENTS: usize = 1;
/// Stacks of waits at most.
const STACKS: usize = 3;

/// The figures of a run.
pub fn figures(run: &Run, preset: &Preset) -> Generated {
    let levels: Vec<usize> = run.levels().into_keys().collect();
    let parts = [
        latency(run, preset, &levels),
        metrics(run, preset, &levels),
        database(run, preset, &levels),
        in_hand(run, preset),
        waits(run, preset, &levels),
        checks(run, &levels),
    ];
    let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
    Generated { key: format!("{} {FIGURES}", run.manifest.id), made: Made::now(), text }
}

fn titled(title: &str, tables: &[Table], notes: &[String]) -> String {
    let mut text = format!("{title}:\n");
    tables.iter().for_each(|table| text += &format!("\n{}", markdown_table(table)));
    notes.iter().for_each(|note| text += &format!("\n{}\n", one_line(&markdown_text(note))));
    text
}

/// The tree of the latency; of shares the last level's.
fn latency(run: &Run, preset: &Preset, levels: &[usize]) -> String {
    let section = nodes_section(&nodes(run, &places(run), Some(preset)));
    let other_share = |column: &Column| column.key == "share" && column.level != levels.last().copied();
    let shown = |table: Table| with_depth(folded(with_growth(without(table, other_share), levels), levels));
    let tables: Vec<Table> = section.tables.into_iter().map(shown).collect();
    // Remarks on the last level: `wireprof explain` has those on all.
    let of_another =
        |note: &String| levels.iter().rev().skip(1).any(|level| note.starts_with(&format!("Level {level}: ")));
    let notes: Vec<String> = section.notes.iter().filter(|note| !of_another(note)).cloned().collect();
    titled("Where the latency goes, by the server's metrics and the sockets", &tables, &notes)
}

/// The windows that the preset's quantities are told of: one a level, since those of several are not averaged.
fn first_windows(run: &Run) -> BTreeMap<usize, &Window> {
    run.levels().into_iter().filter_map(|(level, windows)| Some((level, *windows.first()?))).collect()
}

fn metrics(run: &Run, preset: &Preset, levels: &[usize]) -> String {
    let title = format!("Figures of the preset {}, by the server's metrics", preset.name);
    if preset.quantity.is_empty() {
        return format!("{title}: none, the preset has no quantities.\n");
    }
    let of_level: BTreeMap<usize, Vec<Quantity>> =
        first_windows(run).into_iter().map(|(level, window)| (level, quantities(preset, window))).collect();
    let table = named_by_series(without(quantities_table(&of_level), |column| column.key == "count"));
    let mut tables = vec![folded(with_growth(table, levels), levels)];
    tables.extend(observations(&of_level));
    let replicates = run.manifest.replicates;
    let notes = match replicates {
        0 | 1 => Vec::new(),
        more => vec![format!("Of replicate 1 of {more}: `wireprof metrics {}` has all.", run.manifest.id)],
    };
    titled(&title, &tables, &notes)
}

/// The series that a figure comes from, without the files' names.
fn named_by_series(mut table: Table) -> Table {
    let source = table.columns.iter().position(|column| column.key == "source");
    for row in &mut table.rows {
        let Some(cell) = source.and_then(|at| row.get_mut(at)) else { continue };
        if let Cell::Text(text) = cell {
            let series = text.split_once(".prom: ").map_or(text.as_str(), |(_, series)| series);
            *cell = Cell::FullName(series.to_string());
        }
    }
    table
}

/// How many observations the histograms' figures rest on: those that rest on the same in one row.
fn observations(of_level: &BTreeMap<usize, Vec<Quantity>>) -> Option<Table> {
    let mut rows: Vec<(Vec<Option<f64>>, Vec<&str>)> = Vec::new();
    let names = of_level.values().next()?.iter().map(|quantity| quantity.name.as_str());
    for name in names {
        let of = |all: &Vec<Quantity>| all.iter().find(|quantity| quantity.name == name).and_then(|q| q.count);
        let counts: Vec<Option<f64>> = of_level.values().map(of).collect();
        if counts.iter().all(Option::is_none) {
            continue;
        }
        match rows.iter_mut().find(|(known, _)| *known == counts) {
            Some((_, names)) => names.push(name),
            None => rows.push((counts, vec![name])),
        }
    }
    let mut columns = vec![Column::text("quantity", "observations behind")];
    columns.extend(of_level.keys().map(|level| Column::at(*level, "value", &format!("level {level}"), "")));
    let cell = |count: Option<f64>| count.map_or(Cell::Missing("nothing observed".into()), |c| Cell::Count(c as u64));
    let row = |(counts, names): (Vec<Option<f64>>, Vec<&str>)| {
        std::iter::once(Cell::Text(names.join(", "))).chain(counts.into_iter().map(cell)).collect()
    };
    (!rows.is_empty()).then(|| Table { columns, rows: rows.into_iter().map(row).collect(), ..Table::default() })
}

/// The watched statements, and the dearest of the others.
fn database(run: &Run, preset: &Preset, levels: &[usize]) -> String {
    let title = "Statements of the database";
    let watched = &preset.statements.watched;
    let costs = statements(run, watched);
    let top = costs.iter().filter(|cost| cost.watched).count() + STATEMENTS;
    let Some(section) = statements_section(&costs, &statement_sources(run, watched, &costs), top) else {
        return format!("{title}: not measured: none were read in this run (--statements-url names a database).\n");
    };
    let other_calls = |column: &Column| column.key == "calls" && column.level != levels.last().copied();
    let shown = |table: Table| folded(with_growth(without(table, other_calls), levels), levels);
    let tables: Vec<Table> = section.tables.into_iter().map(shown).collect();
    titled(title, &tables, &section.notes)
}

fn in_hand(run: &Run, preset: &Preset) -> String {
    let divided = hands(run, preset);
    let Section { title, tables, notes, .. } = hands_section(&divided, &not_followed(run, &divided));
    let levels: Vec<usize> = divided.keys().copied().collect();
    let mut tables: Vec<Table> = tables.into_iter().map(|table| with_depth(with_growth(table, &levels))).collect();
    tables.retain(|table| !table.rows.is_empty());
    titled(&title, &tables, &notes)
}

/// Threads' waits: all of them at each level, and under each focus at the last.
fn waits(run: &Run, preset: &Preset, levels: &[usize]) -> String {
    let kinds = WaitKinds::of(preset);
    let mut rows: Vec<WaitsRow> = Vec::new();
    for level in levels {
        let Some(waits) = LevelWaits::of(run, *level, &kinds) else { continue };
        rows.push((*level, "everything".into(), waits.under(&[], &[])));
        if Some(level) == levels.last() {
            rows.extend(preset.focus.iter().map(|focus| {
                let patterns: Vec<_> = focus.patterns.iter().map(|pattern| pattern.0.clone()).collect();
                (*level, focus.name.clone(), waits.under(&patterns, &[]))
            }));
        }
    }
    let Some(highest) = rows.last().map(|(level, ..)| *level) else {
        return "What threads wait for: not measured: threads were not followed off CPU in this run.\n".into();
    };
    let windows: Vec<_> = run.windows.iter().filter_map(|window| window.off_cpu.as_ref()).collect();
    let stacks = blocked_stacks(run, highest, &kinds, &[], STACKS);
    let section = waits_section(&rows, &stacks, highest, &windows);
    titled(&section.title, &section.tables, &section.notes)
}

/// Values of checks on sessions that come and go, whether they passed or not; of the others the number that passed.
fn checks(run: &Run, levels: &[usize]) -> String {
    let mut rows: Vec<(String, String, BTreeMap<usize, String>)> = Vec::new();
    for (level, window) in first_windows(run) {
        for check in &window.checks {
            let (name, bound, value) = match check {
                Check::ServerChurn { name, unit, value, at_most } => {
                    (format!("{name} ({unit})"), format!("at most {at_most:.1}"), format!("{value:.2}"))
                }
                Check::SessionsLost { lost, opened } => (
                    "sessions lost by the client, of those opened".into(),
                    "none".into(),
                    format!("{lost} of {opened}"),
                ),
                Check::Focus { name, value, at_least, .. } => {
                    (name.clone(), format!("at least {at_least}"), format!("{value:.4}"))
                }
                _ => continue,
            };
            match rows.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, bounds, values)) => {
                    *bounds = bound;
                    values.insert(level, value);
                }
                None => rows.push((name, bound, BTreeMap::from([(level, value)]))),
            }
        }
    }
    let all: Vec<&Check> = run.windows.iter().flat_map(|window| &window.checks).collect();
    let passed = all.iter().filter(|check| check.status() == Status::Pass).count();
    let count = format!("{passed} of {} checks of all windows passed.", all.len());
    if rows.is_empty() {
        return format!("Whether sessions came and went: not checked. {count}\n");
    }
    let mut columns = vec![Column::text("check", "check"), Column::text("bound", "bound at the last level")];
    columns.extend(levels.iter().map(|level| Column::at(*level, "value", &format!("level {level}"), "")));
    let row = |(name, bound, values): &(String, String, BTreeMap<usize, String>)| {
        let value = |level: &usize| match values.get(level) {
            Some(value) => Cell::Text(value.clone()),
            None => Cell::Missing("not checked at this level".into()),
        };
        [Cell::Text(name.clone()), Cell::Text(bound.clone())].into_iter().chain(levels.iter().map(value)).collect()
    };
    let table = Table { columns, rows: rows.iter().map(row).collect(), ..Table::default() };
    titled("Whether sessions came and went, and the path in focus was taken", &[table], &[count])
}
