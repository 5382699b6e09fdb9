//! A report's tables as tidy CSV, one line for each cell (RFC 4180). Invariant: what was not measured has no value and
//! its reason; a figure has its unit.

use crate::render::{Cell, Column, Report, Table};

/// What each line holds. `low` and `high` are the 95 % interval, or the bounds of a quantile.
const HEAD: [&str; 11] =
    ["level", "section", "table", "row_number", "row", "column", "value", "low", "high", "unit", "missing"];

/// Whether text begins as these files do.
pub fn begins(text: &[u8]) -> bool {
    text.starts_with(HEAD.join(",").as_bytes())
}

/// All tables of the report.
pub fn rows(report: &Report) -> Vec<u8> {
    let mut text = line(HEAD.iter().map(ToString::to_string));
    for section in &report.sections {
        let name = if section.id.is_empty() { &section.title } else { section.id };
        section.tables.iter().for_each(|table| write(name, table, &mut text));
    }
    text.into_bytes()
}

fn write(section: &str, table: &Table, text: &mut String) {
    for (number, cells) in table.rows.iter().enumerate() {
        let row = cells.iter().find_map(words).unwrap_or_default();
        let of_row = table.columns.iter().zip(cells).find(|(column, _)| column.key == "level");
        let of_row = of_row.map_or_else(String::new, |(column, cell)| figures(column, cell)[0].clone());
        for (column, cell) in table.columns.iter().zip(cells) {
            let level = level_of(&column.key).unwrap_or(&of_row);
            let number = (number + 1).to_string();
            let known = [level, section, &table.title, &number, row, &column.key].map(str::to_string);
            *text += &line(known.into_iter().chain(figures(column, cell)));
        }
    }
}

/// The level that a column is of: 16 of `L16` and `L16_population`.
fn level_of(key: &str) -> Option<&str> {
    let level = key.strip_prefix('L')?.split('_').next()?;
    (!level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit())).then_some(level)
}

/// The text of a cell that names something.
fn words(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) | Cell::Name(text) | Cell::FullName(text) => Some(text),
        _ => None,
    }
}

/// Value, low, high, unit, and why there is none.
fn figures(column: &Column, cell: &Cell) -> [String; 5] {
    let (low, high) = match cell {
        Cell::Within(low, high) => (Some(*low), Some(*high)),
        Cell::Estimate { interval, .. } | Cell::Difference { interval, .. } => interval.unzip(),
        _ => (None, None),
    };
    let value = match cell {
        Cell::Text(text) | Cell::Name(text) | Cell::FullName(text) => text.clone(),
        Cell::Count(count) => count.to_string(),
        Cell::Number(value) | Cell::Figure(value) | Cell::Estimate { value, .. } | Cell::Difference { value, .. } => {
            value.to_string()
        }
        Cell::Within(..) | Cell::Missing(_) | Cell::Undefined(_) | Cell::Empty => String::new(),
    };
    let why = match cell {
        Cell::Missing(why) | Cell::Undefined(why) => why.clone(),
        _ => String::new(),
    };
    let number = |bound: Option<f64>| bound.map_or_else(String::new, |bound| bound.to_string());
    [value, number(low), number(high), column.unit.clone().unwrap_or_default(), why]
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
    use crate::render::Section;

    #[test]
    fn each_cell_is_a_line_with_its_unit_and_what_was_not_measured_has_its_reason() {
        let columns =
            vec![Column::text("place", "place"), Column::number("L4", "4", "µs"), Column::number("n", "n", "")];
        let estimate = Cell::Estimate { value: 2.5, interval: Some((2.0, 3.0)), samples: None };
        let first = vec![Cell::Text("a, \"b\"".into()), estimate, Cell::Count(7)];
        let second = vec![Cell::Text("c".into()), Cell::Missing("no socket".into()), Cell::Within(1.0, 2.0)];
        let table = Table { title: "T".into(), columns, rows: vec![first, second], notes: Vec::new() };
        let section = Section { id: "places", tables: vec![table], ..Section::default() };
        let text = String::from_utf8(rows(&Report { title: String::new(), sections: vec![section] })).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], "level,section,table,row_number,row,column,value,low,high,unit,missing");
        assert_eq!(lines[2], "4,places,T,1,\"a, \"\"b\"\"\",L4,2.5,2,3,µs,");
        assert_eq!(lines[5], "4,places,T,2,c,L4,,,,µs,no socket");
        assert_eq!((lines[6], lines.len()), (",places,T,2,c,n,,1,2,,", 8));
        assert!(begins(text.as_bytes()) && !begins(b"section;table"));
    }
}
