//! The report's sections as HTML: the tables behind the pictures. Invariant: a table says what it says on a terminal,
//! with the whole name of a function where that one shows it short.

use crate::profile::middle;
use crate::render::figure;
use crate::render::model::{Align, Cell, Section, Table};
use maud::{Markup, html};

/// A function's name in a tip at most, in characters.
pub(super) const NAME: usize = 300;
/// A text in a cell at most, in characters.
const TEXT: usize = 2_000;

/// The sections of these names in this order, closed until somebody opens them.
pub(super) fn behind(sections: &[Section], ids: &[&str]) -> Markup {
    let of = |id: &&str| sections.iter().filter(|section| *section.id == **id).collect::<Vec<_>>();
    html! {
        @for (id, found) in ids.iter().map(|id| (id, of(id))).filter(|(_, found)| !found.is_empty()) {
            @for (at, section) in found.into_iter().enumerate() {
                details id=[(at == 0).then(|| format!("table-{id}"))] {
                    summary { (heading(section)) }
                    (body(section))
                }
            }
        }
    }
}

fn heading(section: &Section) -> String {
    match section.title.is_empty() {
        true => "Table".into(),
        false => format!("Table: {}", section.title),
    }
}

/// A section without its title.
pub(super) fn body(section: &Section) -> Markup {
    html! {
        @for part in &section.tables { (table(part)) }
        @for note in &section.notes { p class="note" { (middle(note, TEXT)) } }
    }
}

/// One table with its title before and its notes after.
pub(super) fn table(table: &Table) -> Markup {
    html! {
        @if !table.title.is_empty() { h4 { (table.title) } }
        @if !table.columns.is_empty() {
            (scrolled(if table.title.is_empty() { "Table" } else { &table.title }, &cells(table)))
        }
        @for note in table.notes.iter().chain(&table.reasons()) { p class="note" { (middle(note, TEXT)) } }
    }
}

fn cells(table: &Table) -> Markup {
    let side = |align: Align| if align == Align::Right { "number" } else { "words" };
    html! {
        table {
            thead { tr { @for column in &table.columns {
                th scope="col" class=(side(column.align)) {
                    (column.header)
                    @if let Some(unit) = &column.unit { " " span class="unit" { (unit) } }
                }
            } } }
            tbody { @for (row, texts) in table.rows.iter().zip(figure::cells(table)) { tr {
                @for ((column, cell), text) in table.columns.iter().zip(row).zip(&texts) {
                    td class=(side(column.align)) title=[full(cell)] { (middle(text, TEXT)) }
                }
            } } }
        }
    }
}

/// What may be wider than the screen, and is moved sideways for itself, by the keyboard too.
pub(super) fn scrolled(name: &str, body: &Markup) -> Markup {
    html! { div class="scroll" tabindex="0" role="region" aria-label=(name) { (body) } }
}

/// A table's head: columns by name, of numbers or of words.
pub(super) fn head<'c>(columns: impl IntoIterator<Item = (&'c str, &'c str)>) -> Markup {
    html! { thead { tr { @for (kind, name) in columns { th scope="col" class=(kind) { (name) } } } } }
}

/// What a cell says that its text does not: a function's whole name, or why there is no figure.
fn full(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Name(name) => Some(middle(name, NAME)),
        Cell::Missing(why) | Cell::Undefined(why) => Some(middle(why, NAME)),
        _ => None,
    }
}
