//! Reports as Markdown. Invariant: nothing in a cell can break its table: bars, line breaks and back-quotes are
//! taken out, and names are cut.

use super::figure;
use super::model::{Align, Cell, Report, Table};
use crate::profile::middle;

/// Longest name in a table.
const NAME: usize = 90;
/// Longest text in a table.
const TEXT: usize = 300;

/// The report; `level` is the depth of its title's heading (1 is `#`).
pub fn markdown(report: &Report, level: usize) -> String {
    let mut text = format!("{} {}\n", "#".repeat(level), report.title);
    for section in &report.sections {
        if !section.title.is_empty() {
            text += &format!("\n{} {}\n", "#".repeat(level + 1), section.title);
        }
        for part in &section.tables {
            text += "\n";
            text += &table(part);
        }
        for note in &section.notes {
            text += &format!("\n{note}\n");
        }
        if !section.pictures.is_empty() {
            text += "\n";
        }
        section.pictures.iter().for_each(|p| text += &format!("- [{}]({})\n", p.title, p.path));
    }
    text
}

/// One table with its title before and its notes after.
pub fn table(table: &Table) -> String {
    let mut text = if table.title.is_empty() { String::new() } else { format!("{}\n\n", table.title) };
    let headers = table.columns.iter().map(|c| match &c.unit {
        Some(unit) => escaped(format!("{} ({unit})", c.header).trim_start()),
        None => escaped(&c.header),
    });
    text += &format!("| {} |\n", headers.collect::<Vec<_>>().join(" | "));
    let rule = table.columns.iter().map(|c| if c.align == Align::Right { "---:" } else { "---" });
    text += &format!("| {} |\n", rule.collect::<Vec<_>>().join(" | "));
    for (row, texts) in table.rows.iter().zip(figure::cells(table)) {
        let cells = row.iter().zip(&texts).map(|(cell, text)| cell_text(cell, text));
        text += &format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    table.notes.iter().chain(&table.reasons()).for_each(|note| text += &format!("\n{note}\n"));
    text
}

fn cell_text(cell: &Cell, text: &str) -> String {
    let code = |name: String| format!("`{}`", name.replace(['`', '\n', '\r'], " ").replace('|', "\\|"));
    match cell {
        Cell::Name(_) => code(middle(text, NAME)),
        Cell::FullName(_) => code(middle(text, TEXT)),
        _ => escaped(&middle(text, TEXT)),
    }
}

fn escaped(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|").replace('<', "&lt;")
}
