//! Reports as JSON. Invariant: a row tells one figure or one fact and names all that it is about; every figure has its
//! unit, in SI units, and is not rounded; what was not measured says why. `docs/json.md` documents the form for
//! readers, `docs/json-schema.json` for programs.

mod answer;
mod si;

pub use answer::{answer_value, diagnosis_value, headline_value};

use super::model::{Align, Cell, Column, Report, Section, Table};
use serde::Serialize;
use serde_json::{Map, Value, json as value};

/// Raised when a key changes its meaning or goes away.
pub const SCHEMA: u32 = 2;

/// A report as an object; `verb` is what was asked.
pub fn json_value(verb: &str, report: &Report) -> Value {
    let mut found = envelope(verb, &report.runs);
    found["rows"] = report.sections.iter().flat_map(section_rows).collect();
    found["notes"] = report.sections.iter().flat_map(section_notes).collect();
    let picture = |section: &'_ Section| {
        let id = section.id;
        let told = section.pictures.iter().map(move |p| value!({"section": id, "title": p.title, "path": p.path}));
        told.collect::<Vec<_>>()
    };
    found["pictures"] = report.sections.iter().flat_map(picture).collect();
    found
}

/// What every object has: the version of the form, the verb, and the ids of the runs that it is about.
pub fn envelope(verb: &str, runs: &[String]) -> Value {
    value!({"schema": SCHEMA, "verb": verb, "runs": runs})
}

/// Why there is no answer: the exit code, what kind of failure that is, the message, and its causes, the last one first
/// to happen.
pub fn json_error(verb: Option<&str>, code: u8, kind: &str, message: &str, causes: &[String]) -> Value {
    let error = value!({"code": code, "kind": kind, "message": message, "causes": causes});
    value!({"schema": SCHEMA, "verb": verb, "error": error})
}

/// The stable name of an enum's value, as stored runs have it.
pub(super) fn code(of: &impl Serialize) -> String {
    let of = serde_json::to_value(of).unwrap_or_default();
    let tag = ["is", "guard"].iter().find_map(|tag| of.get(tag)?.as_str());
    let variant = || of.as_object()?.keys().next().map(String::as_str);
    tag.or(of.as_str()).or_else(variant).unwrap_or_default().to_string()
}

fn section_notes(section: &Section) -> Vec<Value> {
    let of_tables = section.tables.iter().flat_map(|table| {
        let of_table = table.notes.iter().map(|note| (Some(id_of(section, table)), note));
        of_table.collect::<Vec<_>>()
    });
    let notes = section.notes.iter().map(|note| (None, note)).chain(of_tables);
    let one = |(table, note): (Option<&str>, &String)| {
        let mut one = value!({"section": section.id, "text": note});
        if let Some(table) = table {
            one["table"] = table.into();
        }
        one
    };
    notes.map(one).collect()
}

fn id_of(section: &Section, table: &Table) -> &'static str {
    if table.id.is_empty() { section.id } else { table.id }
}

fn section_rows(section: &Section) -> Vec<Value> {
    let of_table = |table: &Table| {
        let id = id_of(section, table);
        let rows = table.rows.iter().enumerate().flat_map(|(at, row)| table_row(section.id, id, table, at, row));
        rows.collect::<Vec<_>>()
    };
    section.tables.iter().flat_map(of_table).collect()
}

/// A table's row: one object for each figure, or one alone where it has none.
fn table_row(section: &str, id: &str, table: &Table, at: usize, row: &[Cell]) -> Vec<Value> {
    let mut told = Map::new();
    told.insert("section".into(), section.into());
    told.insert("table".into(), id.into());
    told.insert("row".into(), at.into());
    let about = table.about.iter().map(|(key, cell)| (*key, cell));
    let (telling, figures): (Vec<_>, Vec<_>) = table.columns.iter().zip(row).partition(|(column, _)| column.tells_row);
    for (key, cell) in about.chain(telling.iter().map(|(column, cell)| (column.key.as_str(), *cell))) {
        tell(&mut told, key, cell);
    }
    let unit = told.remove("unit").and_then(|unit| Some(unit.as_str()?.to_string()));
    let per = told.remove("per").and_then(|per| Some(per.as_str()?.to_string()));
    let figure = |(column, cell): &(&Column, &Cell)| figure(&told, column, cell, unit.as_deref(), per.as_deref());
    let rows: Vec<Value> = figures.iter().filter_map(figure).collect();
    if rows.is_empty() { vec![Value::Object(told)] } else { rows }
}

/// What a row is about.
fn tell(told: &mut Map<String, Value>, key: &str, cell: &Cell) {
    let found: Value = match cell {
        Cell::Text(text) => text.trim().into(),
        Cell::Name(text) | Cell::FullName(text) => text.as_str().into(),
        Cell::Count(count) => (*count).into(),
        Cell::Coded { code, text, number } => {
            if text.trim() != code {
                told.insert(format!("{key}_text"), text.trim().into());
            }
            if let Some((name, number)) = number {
                told.insert((*name).into(), (*number).into());
            }
            code.as_str().into()
        }
        Cell::Missing(why) | Cell::Undefined(why) => {
            let missing = told.entry("not_told").or_insert_with(|| value!({}));
            missing[key] = why.as_str().into();
            return;
        }
        _ => return,
    };
    told.insert(key.into(), found);
}

/// One figure or fact of a row; `None` where nothing belongs. `unit` and `per` are those of the row.
fn figure(
    told: &Map<String, Value>,
    column: &Column,
    cell: &Cell,
    unit: Option<&str>,
    per: Option<&str>,
) -> Option<Value> {
    let si::Unit { name, factor } = si::unit(column.unit.as_deref().or(unit), per);
    let found = values(cell, factor)?;
    let is_fact = found.iter().any(|(key, _)| *key == "text") || column.align == Align::Left;
    let mut row = told.clone();
    row.extend(found.into_iter().map(|(key, value)| (key.to_string(), value)));
    row.insert("measure".into(), column.key.as_str().into());
    if !is_fact {
        row.insert("unit".into(), name.into());
    }
    row.extend(column.level.map(|level| ("level".to_string(), level.into())));
    Some(Value::Object(row))
}

/// What a cell says, numbers times the factor.
fn values(cell: &Cell, factor: f64) -> Option<Vec<(&'static str, Value)>> {
    let scaled = |value: f64| Value::from(value * factor);
    let ends = |interval: &Option<(f64, f64)>| {
        let end = |end: fn(&(f64, f64)) -> f64| interval.as_ref().map(|interval| end(interval) * factor);
        [("low", end(|i| i.0).into()), ("high", end(|i| i.1).into())]
    };
    Some(match cell {
        Cell::Empty => return None,
        Cell::Count(count) if factor == 1.0 => vec![("value", (*count).into())],
        Cell::Count(count) => vec![("value", scaled(*count as f64))],
        Cell::Number(number) | Cell::Figure(number) => vec![("value", scaled(*number))],
        Cell::Within(lower, upper) => {
            vec![("value", Value::Null), ("low", scaled(*lower)), ("high", scaled(*upper))]
        }
        Cell::Estimate { value, interval, samples } => {
            let counted = [("value", scaled(*value)), ("samples", (*samples).into())];
            counted.into_iter().chain(ends(interval)).collect()
        }
        Cell::Difference { value, interval } => {
            std::iter::once(("value", scaled(*value))).chain(ends(interval)).collect()
        }
        Cell::Missing(why) | Cell::Undefined(why) => vec![("value", Value::Null), ("missing", why.as_str().into())],
        Cell::Text(text) | Cell::Coded { text, .. } | Cell::Name(text) | Cell::FullName(text) => {
            vec![("text", text.as_str().into())]
        }
    })
}
