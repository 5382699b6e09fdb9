//! Reports as JSON; the schema is in the documentation of [`crate::render`].

use super::model::{Cell, Report, Section, Table};
use serde_json::{Map, Value, json as value};

/// Raised when a key changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// The report, indented, ending in a line break.
pub fn json(report: &Report) -> String {
    format!("{:#}\n", json_value(report))
}

/// As [`json_value`], with the answer under a key of its own.
pub fn json_with_answer(report: &Report, answer: &Value) -> Value {
    let mut found = json_value(report);
    found["answer"] = answer.clone();
    found
}

/// The answer alone.
pub fn json_brief(answer: &Value) -> Value {
    value!({"schema": SCHEMA, "answer": answer})
}

/// Why there is no answer: the exit code, what kind of failure that is, the message, and its causes, the last one first
/// to happen.
pub fn json_error(code: u8, kind: &str, message: &str, causes: &[String]) -> Value {
    value!({"schema": SCHEMA, "error": {"code": code, "kind": kind, "message": message, "causes": causes}})
}

/// The report as a value.
pub fn json_value(report: &Report) -> Value {
    let sections: Vec<Value> = report.sections.iter().map(section).collect();
    value!({"schema": SCHEMA, "title": report.title, "sections": sections})
}

fn section(section: &Section) -> Value {
    let pictures: Vec<Value> = section.pictures.iter().map(|p| value!({"title": p.title, "path": p.path})).collect();
    value!({
        "id": section.id,
        "title": section.title,
        "tables": section.tables.iter().map(table).collect::<Vec<_>>(),
        "notes": section.notes,
        "pictures": pictures,
    })
}

fn table(table: &Table) -> Value {
    let columns: Vec<Value> =
        table.columns.iter().map(|c| value!({"key": c.key, "header": c.header, "unit": c.unit})).collect();
    let rows: Vec<Value> = table.rows.iter().map(|row| row_object(table, row)).collect();
    value!({"title": table.title, "columns": columns, "rows": rows, "notes": table.notes})
}

fn row_object(table: &Table, row: &[Cell]) -> Value {
    let (mut object, mut missing) = (Map::new(), Map::new());
    for (column, cell) in table.columns.iter().zip(row) {
        object.insert(column.key.clone(), cell_value(cell));
        if let Cell::Missing(why) | Cell::Undefined(why) = cell {
            missing.insert(column.key.clone(), Value::from(why.as_str()));
        }
    }
    if !missing.is_empty() {
        object.insert("missing".into(), Value::Object(missing));
    }
    Value::Object(object)
}

fn cell_value(cell: &Cell) -> Value {
    match cell {
        Cell::Text(text) | Cell::Name(text) | Cell::FullName(text) => Value::from(text.as_str()),
        Cell::Count(count) => Value::from(*count),
        Cell::Number(number) | Cell::Figure(number) => Value::from(*number),
        Cell::Within(lower, upper) => value!({"low": lower, "high": upper}),
        Cell::Estimate { value, interval, samples } => {
            value!({"value": value, "low": interval.map(|i| i.0), "high": interval.map(|i| i.1), "samples": samples})
        }
        Cell::Difference { value, interval } => {
            value!({"value": value, "low": interval.map(|i| i.0), "high": interval.map(|i| i.1)})
        }
        Cell::Missing(_) | Cell::Undefined(_) | Cell::Empty => Value::Null,
    }
}
