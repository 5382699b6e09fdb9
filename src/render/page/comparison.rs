//! Two runs compared, at the head of the page: what is decided first. Invariant: the words are those of `diff`.

use super::tables::scrolled;
use super::{Compared, part as part_of, tables};
use crate::render::difference::decided_table;
use crate::render::headline::{cells, changed, decided_by, doubts};
use maud::{Markup, html};

/// The comparison; the rest of the page is of the run after.
pub(super) fn part(compared: &Compared) -> Markup {
    let Compared { difference, headline, sections } = compared;
    let decided = decided_table(difference);
    let rows = cells(headline, true);
    let (head, rows) = rows.split_at(1);
    let differing = headline.levels.iter().filter(|level| level.most.is_some() || level.function.is_some());
    let body = html! {
        p class="eyebrow" { (headline.before) " (before) against " (headline.after) " (after)" }
        @if headline.levels.is_empty() { p { "The runs have no level in common: nothing was compared." } }
        @else { (scrolled("Comparison", &html! { table {
            (tables::head(head[0].iter().map(|name| ("words", name.as_str()))))
            tbody { @for row in rows { tr { @for cell in row { td class="words" { (cell) } } } } }
        } })) }
        dl class="told" {
            @for level in differing { dt { "Changed" } dd { (changed(level)) } }
            dt { "By" } dd { (decided_by(headline)) }
            @if let Some(doubts) = doubts(headline, "the levels below name them") { dt { "Beware" } dd { (doubts) } }
        }
        h3 { "What is decided" }
        @if decided.rows.is_empty() { p { "Nothing: no figure was found to differ." } }
        @else { (tables::table(&decided)) }
        @for section in *sections { details {
            summary { (if section.title.is_empty() { "What is unlike" } else { &section.title }) }
            (tables::body(section))
        } }
        p class="note" { "All that follows is of the run after." }
    };
    part_of("comparison", "What changed", "", &body)
}
