//! Sections in short, for a screen: rows that say nothing become one line, and what many rows share is said once.
//! Invariant: what is left out is counted and named; nothing is left out of the JSON.

use super::model::{Cell, Report, Section, Table};
use super::quantities::quantities_on_screen;
use super::terminal::terminal;
use crate::words::{counted, list};

/// Of the largest number of its column: a row below it in all its columns says nothing.
const SMALL: f64 = 0.01;
/// Names in a line of what is left out, at most.
const NAMED: usize = 6;
/// A name there at most.
const NAME: usize = 40;
/// Rows of a table below which nothing is left out.
const FEW: usize = 4;

/// The report as a screen shows it: without the column that only several windows of a level fill.
pub fn on_screen(mut report: Report) -> Report {
    let tables = report.sections.iter_mut().flat_map(|section| &mut section.tables);
    tables.for_each(without_range);
    report
}

fn without_range(table: &mut Table) {
    let Some(at) = table.columns.iter().position(|column| column.key == "throughput_range") else { return };
    if table.rows.iter().all(|row| matches!(row[at], Cell::Missing(_))) {
        table.columns.remove(at);
        table.rows.iter_mut().for_each(|row| drop(row.remove(at)));
    }
}

/// The section in short.
pub fn brief(mut section: Section) -> Section {
    section.tables = match section.id {
        "level" => {
            let (tables, notes) = decided(section.tables);
            section.notes.splice(0..0, notes);
            tables
        }
        "checks" => section.tables.into_iter().map(together).collect(),
        // Their rows have units of their own, so that their sizes cannot be compared.
        "metrics" => section.tables.into_iter().map(|table| folded(quantities_on_screen(table), false)).collect(),
        "levels" | "setup" => section.tables.into_iter().map(|table| folded(table, false)).collect(),
        _ => section.tables.into_iter().map(|table| folded(table, true)).collect(),
    };
    section
}

/// The sections that fit, in their order, and the names of the others.
pub fn fitting(sections: Vec<Section>, width: usize, lines: usize) -> (Vec<Section>, Vec<&'static str>) {
    let (mut shown, mut left_out, mut used) = (Vec::new(), Vec::new(), 0);
    for section in sections {
        let report = Report { sections: vec![section.clone()], ..Report::default() };
        // Without the line of the title.
        let needed = terminal(&report, width).lines().count().saturating_sub(1);
        if used + needed <= lines {
            used += needed;
            shown.push(section);
        } else if !left_out.contains(&section.id) {
            left_out.push(section.id);
        }
    }
    (shown, left_out)
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    Shown,
    Small,
    NotMeasured,
}

/// The table without rows of nothing, each kind of them in one line.
fn folded(mut table: Table, by_size: bool) -> Table {
    if table.rows.len() < FEW {
        return table;
    }
    let largest: Vec<f64> = (0..table.columns.len())
        .map(|at| table.rows.iter().filter_map(|row| size(&row[at])).fold(0.0, f64::max))
        .collect();
    let mut kinds: Vec<Row> = table.rows.iter().map(|row| kind(row, &largest, by_size)).collect();
    // A tree's row stays where one below it does.
    let depths: Vec<usize> = table.rows.iter().map(|row| depth(&row[0])).collect();
    for at in 0..kinds.len() {
        if kinds[at] == Row::Shown {
            let mut wanted = depths[at];
            for above in (0..at).rev() {
                if depths[above] < wanted {
                    wanted = depths[above];
                    kinds[above] = Row::Shown;
                }
            }
        }
    }
    let names = |wanted: Row| -> Vec<String> {
        let rows = table.rows.iter().zip(&kinds).filter(|(_, kind)| **kind == wanted);
        rows.map(|(row, _)| name(row)).collect()
    };
    let (small, unmeasured) = (names(Row::Small), names(Row::NotMeasured));
    let below = if by_size { "below 1 %" } else { "with nothing but 0" };
    let mut notes = Vec::new();
    if !small.is_empty() {
        notes.push(format!("{} {below}: {}.", counted(small.len() as u64, "more row"), shortened(&small)));
    }
    if !unmeasured.is_empty() {
        let rows = counted(unmeasured.len() as u64, "row");
        notes.push(format!("{rows} not measured: {}; --full says why.", shortened(&unmeasured)));
    }
    let mut kinds = kinds.into_iter();
    table.rows.retain(|_| kinds.next() == Some(Row::Shown));
    notes.append(&mut table.notes);
    Table { notes, ..table }
}

fn kind(row: &[Cell], largest: &[f64], by_size: bool) -> Row {
    let told = row.iter().skip(1).any(|cell| size(cell).is_some());
    let lacking = row.iter().any(|cell| matches!(cell, Cell::Missing(_)));
    if !told {
        return if lacking { Row::NotMeasured } else { Row::Shown };
    }
    let bound = if by_size { SMALL } else { 0.0 };
    // Where there are figures, counts beside them say nothing of their size.
    let figures = row.iter().any(|cell| !matches!(cell, Cell::Count(_)) && size(cell).is_some());
    let size = |cell: &Cell| if figures && matches!(cell, Cell::Count(_)) { None } else { size(cell) };
    let small = |(cell, largest): (&Cell, &f64)| size(cell).is_none_or(|size| size == 0.0 || size < bound * largest);
    if row.iter().zip(largest).skip(1).all(small) { Row::Small } else { Row::Shown }
}

/// How large a cell's number is; `None`: it is none.
fn size(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Count(count) => Some(*count as f64),
        Cell::Number(value) | Cell::Figure(value) | Cell::Difference { value, .. } => Some(value.abs()),
        // One that was not seen is as large as it may be.
        Cell::Estimate { value, interval, .. } => Some(interval.map_or(value.abs(), |(_, high)| high.abs())),
        Cell::Within(_, upper) => Some(upper.abs()),
        _ => None,
    }
}

fn depth(cell: &Cell) -> usize {
    cell.words().map_or(0, |text| text.len() - text.trim_start().len())
}

/// What a row is called: its first text, where that is no number. Functions' names are cut, words never.
fn name(row: &[Cell]) -> String {
    match row.first() {
        Some(Cell::Name(name) | Cell::FullName(name)) => {
            crate::profile::middle(&crate::profile::short_name(name), NAME)
        }
        cell => cell.and_then(Cell::words).map_or_else(String::new, |text| text.trim().to_string()),
    }
}

fn shortened(names: &[String]) -> String {
    let mut names = names.to_vec();
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    list(&names)
}

/// The rows of a comparison that are decided, and a line a table on the others; a table of none goes.
fn decided(tables: Vec<Table>) -> (Vec<Table>, Vec<String>) {
    let (mut kept, mut notes) = (Vec::new(), Vec::new());
    for mut table in tables {
        let Some(at) = table.columns.iter().position(|column| column.key == "verdict") else {
            kept.push(table);
            continue;
        };
        let open = |row: &Vec<Cell>| {
            let verdict = text(&row[at]);
            ["undecided", "same", "not judged"].iter().any(|word| verdict.starts_with(word))
        };
        let (others, shown): (Vec<_>, Vec<_>) = table.rows.into_iter().partition(open);
        if !others.is_empty() {
            let names: Vec<String> = others.iter().map(|row| name(row)).collect();
            let of = if table.title.is_empty() { String::new() } else { format!("{}: ", table.title) };
            let rows = counted(names.len() as u64, "row");
            notes.push(format!("{of}{rows} undecided or the same: {}.", shortened(&names)));
        }
        table.rows = shown;
        kept.extend(Some(table).filter(|table| !table.rows.is_empty()));
    }
    (kept, notes)
}

/// Checks of several windows that say the same: one row.
fn together(mut table: Table) -> Table {
    let mut rows: Vec<(Vec<Cell>, Vec<String>)> = Vec::new();
    for row in table.rows {
        let window = text(&row[0]);
        let same = |other: &Vec<Cell>| {
            let remedies = [text(&row[3]), text(&other[3])];
            other[1] == row[1] && remedies[0] == remedies[1] && (!remedies[0].is_empty() || other[2] == row[2])
        };
        match rows.iter_mut().find(|(other, _)| same(other)) {
            Some((_, windows)) => windows.push(window),
            None => rows.push((row, vec![window])),
        }
    }
    let row = |(mut row, windows): (Vec<Cell>, Vec<String>)| {
        if windows.len() > 1 {
            row[0] = Cell::Text(format!("{} windows, first {}", windows.len(), windows[0]));
        }
        row
    };
    table.rows = rows.into_iter().map(row).collect();
    table
}

fn text(cell: &Cell) -> String {
    cell.words().unwrap_or_default().to_string()
}
