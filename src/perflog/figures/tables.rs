//! Tables for an entry: with what grew from the first level to the last, and without rows that say nothing. Invariant:
//! a row that is taken out is named in a note, with the reason.

use crate::render::{Cell, Column, Table, significant};

/// The first column of a level.
fn column(table: &Table, level: usize) -> Option<usize> {
    table.columns.iter().position(|column| column.level == Some(level))
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Count(count) => Some(*count as f64),
        Cell::Number(value) | Cell::Figure(value) | Cell::Estimate { value, .. } => Some(*value),
        _ => None,
    }
}

/// Two more columns behind the last level's: the difference, and how many times the last is the first.
pub fn with_growth(mut table: Table, levels: &[usize]) -> Table {
    let ends = levels.first().zip(levels.last()).filter(|(from, to)| from != to);
    let Some((from, to)) = ends else { return table };
    let (Some(first), Some(last)) = (column(&table, *from), column(&table, *to)) else { return table };
    let insert = last + 1;
    table.columns.insert(insert, Column::number("difference", &format!("{to} - {from}"), ""));
    table.columns.insert(insert + 1, Column::number("ratio", &format!("{to} / {from}"), ""));
    for row in &mut table.rows {
        let both = number(&row[first]).zip(number(&row[last]));
        let difference = both.map(|(a, b)| b - a).map(|grown| {
            let sign = if grown > 0.0 { "+" } else { "" };
            Cell::Text(format!("{sign}{}", significant(grown)))
        });
        let ratio = both.filter(|(a, _)| *a != 0.0).map(|(a, b)| Cell::Text(format!("{}x", significant(b / a))));
        row.insert(insert, difference.unwrap_or(Cell::Empty));
        row.insert(insert + 1, ratio.unwrap_or(Cell::Empty));
    }
    table
}

/// Without rows that have no value at any level, and those that are 0 at all of them: notes name them.
pub fn folded(mut table: Table, levels: &[usize]) -> Table {
    let columns: Vec<usize> = levels.iter().filter_map(|level| column(&table, *level)).collect();
    let (mut missing, mut zero) = (Vec::<(String, String)>::new(), Vec::new());
    table.rows.retain(|row| {
        let name = match &row[0] {
            Cell::Name(name) | Cell::FullName(name) => name.trim().to_string(),
            cell => match cell.words() {
                Some(name) => name.trim().to_string(),
                None => return true,
            },
        };
        let cells = || columns.iter().map(|column| &row[*column]);
        if cells().all(|cell| matches!(cell, Cell::Missing(_) | Cell::Undefined(_) | Cell::Empty)) {
            let why = cells().find_map(|cell| if let Cell::Missing(why) = cell { Some(why.clone()) } else { None });
            missing.push((name, why.unwrap_or_else(|| "none at these levels".into())));
            return false;
        }
        if cells().all(|cell| number(cell) == Some(0.0)) {
            zero.push(name);
            return false;
        }
        true
    });
    if !missing.is_empty() {
        let named: Vec<String> = missing.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        table.notes.push(format!("Not measured ({}): {}.", missing.len(), named.join("; ")));
    }
    if !zero.is_empty() {
        table.notes.push(format!("0 at every level ({}): {}.", zero.len(), zero.join("; ")));
    }
    table
}

/// Without the columns that are `unwanted`.
pub fn without(mut table: Table, unwanted: impl Fn(&Column) -> bool) -> Table {
    let keep: Vec<bool> = table.columns.iter().map(|column| !unwanted(column)).collect();
    let kept = |index: usize| keep[index];
    table.rows = table.rows.into_iter().map(|row| only(row, kept)).collect();
    table.columns = only(table.columns, kept);
    table
}

fn only<T>(all: Vec<T>, kept: impl Fn(usize) -> bool) -> Vec<T> {
    all.into_iter().enumerate().filter(|(index, _)| kept(*index)).map(|(_, one)| one).collect()
}

/// The depth of a row, which leading blanks say, as marks that Markdown keeps.
pub fn with_depth(mut table: Table) -> Table {
    for row in &mut table.rows {
        if let Some(Cell::Text(name) | Cell::Coded { text: name, .. }) = row.first_mut() {
            let depth = (name.len() - name.trim_start().len()) / 2;
            *name = format!("{}{}", "› ".repeat(depth), name.trim_start());
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_stands_behind_the_levels_and_rows_that_say_nothing_are_named() {
        let columns = vec![
            Column::text("name", "name"),
            Column::at(1, "time", "1", ""),
            Column::at(64, "time", "64", ""),
            Column::text("source", "source"),
        ];
        let row = |name: &str, one: Cell, other: Cell| vec![Cell::Text(name.into()), one, other, Cell::Empty];
        let why = || Cell::Missing("no metrics".into());
        let rows = vec![
            row("a", Cell::Figure(2.0), Cell::Figure(5.0)),
            row("  b", Cell::Figure(0.0), Cell::Figure(5.0)),
            row("c", why(), why()),
            row("d", Cell::Count(0), Cell::Count(0)),
            row("e", why(), Cell::Figure(1.0)),
        ];
        let table = Table { columns, rows, ..Table::default() };
        let table =
            with_depth(folded(with_growth(without(table, |column| column.key == "source"), &[1, 64]), &[1, 64]));
        let texts = |row: &[Cell]| (row[0].clone(), row[3].clone(), row[4].clone());
        let text = |text: &str| Cell::Text(text.into());
        assert_eq!(table.rows.len(), 3);
        assert_eq!(texts(&table.rows[0]), (text("a"), text("+3.00"), text("2.50x")));
        assert_eq!(texts(&table.rows[1]), (text("› b"), text("+5.00"), Cell::Empty));
        assert_eq!(texts(&table.rows[2]), (text("e"), Cell::Empty, Cell::Empty));
        assert_eq!(table.notes, ["Not measured (1): c (no metrics).", "0 at every level (1): d."]);
    }
}
