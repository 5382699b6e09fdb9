//! A report's tables as tidy CSV, one line for each figure or fact (RFC 4180): the rows of its JSON. Invariant: a
//! figure has its unit; what was not measured has no value and its reason.

use crate::render::{Report, json_value};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Where a row is from; the columns that say what it is about stand behind.
const FIRST: [&str; 4] = ["level", "section", "table", "row"];
/// What a row tells. `low` and `high` are the 95 % interval, or the bounds of a quantile.
const LAST: [&str; 9] = ["measure", "value", "low", "high", "samples", "unit", "text", "missing", "not_told"];

/// Whether text begins as these files do.
pub fn begins(text: &[u8]) -> bool {
    text.starts_with((FIRST.join(",") + ",").as_bytes())
}

/// All tables of the report.
pub fn rows(report: &Report) -> Vec<u8> {
    let found = json_value("", report);
    let rows: Vec<&Map<String, Value>> =
        found["rows"].as_array().into_iter().flatten().filter_map(Value::as_object).collect();
    let known = |key: &&str| FIRST.contains(key) || LAST.contains(key);
    let about: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.keys().map(String::as_str)).filter(|key| !known(key)).collect();
    let columns: Vec<&str> = FIRST.into_iter().chain(about).chain(LAST).collect();
    let mut text = line(columns.iter().map(ToString::to_string));
    for row in rows {
        text += &line(columns.iter().map(|column| row.get(*column).map_or_else(String::new, field)));
    }
    text.into_bytes()
}

/// A value as a field; nothing for null.
fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn line(fields: impl Iterator<Item = String>) -> String {
    let quoted = |field: String| match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    };
    fields.map(quoted).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{Cell, Column, Section, Table};

    #[test]
    fn each_cell_is_a_line_with_its_unit_and_what_was_not_measured_has_its_reason() {
        let columns =
            vec![Column::text("place", "place"), Column::at(4, "time", "4", "µs"), Column::number("n", "n", "")];
        let estimate = Cell::Estimate { value: 2.0, interval: Some((1.0, 4.0)), samples: None };
        let first = vec![Cell::Text("a, \"b\"".into()), estimate, Cell::Count(7)];
        let second = vec![Cell::Text("c".into()), Cell::Missing("no socket".into()), Cell::Within(1.0, 2.0)];
        let table = Table { id: "t", columns, rows: vec![first, second], ..Table::default() };
        let section = Section { id: "places", tables: vec![table], ..Section::default() };
        let text = String::from_utf8(rows(&Report { sections: vec![section], ..Report::default() })).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], "level,section,table,row,place,measure,value,low,high,samples,unit,text,missing,not_told");
        assert_eq!(lines[1], "4,places,t,0,\"a, \"\"b\"\"\",time,2e-6,1e-6,4e-6,,s,,,");
        assert_eq!(lines[2], ",places,t,0,\"a, \"\"b\"\"\",n,7,,,,1,,,");
        assert_eq!(lines[3], "4,places,t,1,c,time,,,,,s,,no socket,");
        assert_eq!((lines[4], lines.len()), (",places,t,1,c,n,,1.0,2.0,,1,,,", 6));
        assert!(begins(text.as_bytes()) && !begins(b"level;section"));
    }
}
