//! Reports as Markdown. Invariant: nothing in a cell can break its table: bars, line breaks and back-quotes are
//! taken out, and names are cut; and outside of code nothing that others wrote is taken for markup.

use super::figure;
use super::model::{Align, Cell, Report, Table};
use crate::profile::middle;
use crate::words::printable;

/// Longest name in a table.
const NAME: usize = 90;
/// Longest text in a table.
const TEXT: usize = 300;

/// The report; `level` is the depth of its title's heading (1 is `#`).
pub fn markdown(report: &Report, level: usize) -> String {
    let mut text = format!("{} {}\n", "#".repeat(level), inert(&report.title));
    for section in &report.sections {
        if !section.title.is_empty() {
            text += &format!("\n{} {}\n", "#".repeat(level + 1), inert(&section.title));
        }
        for part in &section.tables {
            text += "\n";
            text += &table(part);
        }
        for note in &section.notes {
            text += &format!("\n{}\n", inert(note));
        }
        if !section.pictures.is_empty() {
            text += "\n";
        }
        section.pictures.iter().for_each(|p| text += &format!("- [{}]({})\n", inert(&p.title), p.path));
    }
    text
}

/// One table with its title before and its notes after.
pub fn table(table: &Table) -> String {
    let mut text = if table.title.is_empty() { String::new() } else { format!("{}\n\n", inert(&table.title)) };
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
    table.notes.iter().chain(&table.reasons()).for_each(|note| text += &format!("\n{}\n", inert(note)));
    text
}

fn cell_text(cell: &Cell, text: &str) -> String {
    let code = |name: String| format!("`{}`", printable(&name.replace(['`', '\n', '\r'], " ")).replace('|', "\\|"));
    match cell {
        Cell::Name(_) => code(middle(text, NAME)),
        Cell::FullName(_) => code(middle(text, TEXT)),
        _ => escaped(&middle(text, TEXT)),
    }
}

fn escaped(text: &str) -> String {
    inert(text).replace('|', "\\|")
}

/// A text in one line, in which code stays code (CommonMark 0.31, "Code spans") and everything else is text.
pub fn inert(text: &str) -> String {
    let text = printable(text).replace('\n', " ");
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text.as_str());
    while let Some(at) = rest.find('`') {
        let ticks = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        let inside = &rest[at + ticks..];
        shown += &plain(&rest[..at]);
        match closing(inside, ticks) {
            Some(end) => {
                shown += &rest[at..at + ticks + end + ticks];
                rest = &inside[end + ticks..];
            }
            None => {
                shown += &"\\`".repeat(ticks);
                rest = inside;
            }
        }
    }
    shown + &plain(rest)
}

/// Where so many back-quotes and no more come.
fn closing(inside: &str, ticks: usize) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = inside[from..].find('`').map(|at| from + at) {
        let found = inside[at..].len() - inside[at..].trim_start_matches('`').len();
        if found == ticks {
            return Some(at);
        }
        from = at + found;
    }
    None
}

/// Text outside of code.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let within = |next: Option<char>| before.is_alphanumeric() && next.is_some_and(char::is_alphanumeric);
        match c {
            '<' => shown += "&lt;",
            '\\' | '[' | ']' => shown.extend(['\\', c]),
            // `pg_stat_statements` and `2 * 3` are no emphasis.
            '_' if !within(text[at + 1..].chars().next()) => shown += "\\_",
            '*' if !text[at + 1..].starts_with(' ') || before != ' ' => shown += "\\*",
            _ => shown.push(c),
        }
        before = c;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::inert;

    #[test]
    fn code_stays_and_what_others_wrote_is_no_markup() {
        for (text, shown) in [
            ("`wireprof diff a_ b` of 2 * 3 pg_stat_statements", "`wireprof diff a_ b` of 2 * 3 pg_stat_statements"),
            ("a [x](http://h) ![y](z) <img>", "a \\[x\\](http://h) !\\[y\\](z) &lt;img>"),
            ("**bold** and _it_", "\\*\\*bold\\*\\* and \\_it\\_"),
            // What ends the code that it was put into.
            ("`select '`<img>'`", "`select '`&lt;img>'\\`"),
            ("a ``b`c`` d`", "a ``b`c`` d\\`"),
            ("one\n# two\u{1b}[2J", "one # two\\\\u{1b}\\[2J"),
        ] {
            assert_eq!(inert(text), shown, "{text}");
        }
    }
}
