//! Quantities x levels as a table.

use super::model::{Cell, Column, Table};
use crate::analyze::cost::quantities::Quantity;
use std::collections::BTreeMap;

/// One row per quantity, in the order in which they first come; a column per level.
pub fn quantities_table(levels: &BTreeMap<usize, Vec<Quantity>>) -> Table {
    let mut columns =
        vec![Column::text("quantity", "quantity"), Column::text("unit", "unit"), Column::text("per", "per")];
    for level in levels.keys() {
        columns.push(Column::at(*level, "value", &format!("level {level}"), ""));
    }
    columns.push(match levels.keys().last() {
        Some(last) => Column::at(*last, "count", "observations", "last level"),
        None => Column::number("count", "observations", ""),
    });
    columns.push(Column::text("source", "source"));
    let mut names: Vec<&Quantity> = Vec::new();
    for quantity in levels.values().flatten() {
        if !names.iter().any(|known| known.name == quantity.name) {
            names.push(quantity);
        }
    }
    let rows = names.into_iter().map(|quantity| row(quantity, levels)).collect();
    Table { id: "quantities", columns, rows, ..Table::default() }
}

fn value(quantity: Option<Quantity>) -> Cell {
    let why = quantity.as_ref().and_then(|q| q.missing.clone()).unwrap_or_else(|| "not measured at this level".into());
    match quantity.as_ref().and_then(|q| q.bounds) {
        Some((lower, upper)) => Cell::Within(lower, upper),
        None => Cell::figure(quantity.and_then(|q| q.value), &why),
    }
}

fn row(quantity: &Quantity, levels: &BTreeMap<usize, Vec<Quantity>>) -> Vec<Cell> {
    let at = |quantities: &'_ Vec<Quantity>| quantities.iter().find(|q| q.name == quantity.name).cloned();
    let mut cells = vec![
        Cell::Text(quantity.name.clone()),
        Cell::Text(quantity.unit.clone()),
        Cell::Text(quantity.per.to_string()),
    ];
    cells.extend(levels.values().map(|quantities| value(at(quantities))));
    let count = levels.values().last().and_then(at).and_then(|q| q.count);
    cells.push(count.map_or(Cell::Missing("not counted".into()), |c| Cell::Count(c as u64)));
    cells.push(Cell::Text(quantity.source.clone()));
    cells
}

/// Where most sources begin.
const SCRAPES: &str = "metrics-before.prom.gz, metrics-after.prom.gz: ";

/// The table for a screen: one column says the unit and what it is per, and the sources stand in one note.
pub fn quantities_on_screen(mut table: Table) -> Table {
    let at = |key: &str| table.columns.iter().position(|column| column.key == key);
    let (Some(unit), Some(per), Some(source)) = (at("unit"), at("per"), at("source")) else { return table };
    let text = |cell: &Cell| cell.words().unwrap_or_default().to_string();
    let mut sources: Vec<(String, Vec<String>)> = Vec::new();
    for row in &mut table.rows {
        let (name, found) = (text(&row[0]), text(&row[source]).replace(SCRAPES, ""));
        match sources.iter_mut().find(|(known, _)| *known == found) {
            Some((_, names)) => names.push(name),
            None => sources.push((found, vec![name])),
        }
        let micros = match text(&row[unit]) {
            micros if micros == "us" => "µs".into(),
            unit => unit,
        };
        row[unit] = Cell::Text(format!("{micros} a {}", text(&row[per])));
        drop(row.remove(source));
        drop(row.remove(per));
    }
    drop(table.columns.remove(source));
    drop(table.columns.remove(per));
    let told: Vec<String> =
        sources.into_iter().map(|(source, names)| format!("{}: {source}", names.join(", "))).collect();
    if !told.is_empty() {
        table
            .notes
            .push(format!("From metrics-before.prom.gz and metrics-after.prom.gz, of each: {}.", told.join("; ")));
    }
    table
}
