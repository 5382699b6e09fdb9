//! How it was measured: the server, the machine, the instruments, and what they did not see. Invariant: what was not
//! measured stands here with its reason.

use super::tables::{head, scrolled};
use super::{part as part_of, tables};
use crate::analyze::page::Page;
use crate::render::model::Section;
use crate::words::counted;
use maud::{Markup, html};

/// The eighth part.
pub(super) fn part(page: &Page, sections: &[Section]) -> Markup {
    let missing = &page.answer.missing;
    let windows = counted(page.answer.windows as u64, "window");
    let body = html! {
        @for section in sections.iter().filter(|section| section.id == "setup") {
            dl class="told facts" { @for note in &section.notes { (fact(note)) } }
            @for table in &section.tables { (tables::table(table)) }
        }
        h3 { "Not measured" }
        @if missing.is_empty() && page.answer.left_out.is_empty() { p { "Nothing that the page would need." } }
        @else {
            dl class="told facts" {
                @for lacking in missing {
                    dt { (lacking.what.to_string()) }
                    dd { (lacking.why) " (" (lacking.windows) " of " (windows) ")" }
                }
                @for why in &page.answer.left_out { dt { "left out" } dd { (why) } }
            }
        }
        (provenance(page))
        (tables::behind(sections, &["metrics", "statements"]))
    };
    part_of("measured", "How it was measured", "", &body)
}

/// A line that begins with what it is about.
fn fact(note: &str) -> Markup {
    let (what, told) = note.split_once(": ").unwrap_or(("", note));
    html! { dt { (what) } dd { (told) } }
}

/// How the stacks of each level came to be.
fn provenance(page: &Page) -> Markup {
    let joined = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
    let share = |share: Option<f64>| share.map_or("not known".into(), |share| format!("{:.1} %", 100.0 * share));
    let number = |count: Option<u64>| count.map_or("not known".into(), |count| count.to_string());
    html! {
        @if !page.functions.rows.is_empty() {
            h3 { "How stacks were sampled" }
            (scrolled("Sampling", &html! { table {
                (head([
                    ("number", "clients"), ("words", "event"), ("words", "unwinder"), ("number", "samples"),
                    ("number", "lost"), ("number", "complete, by weight"), ("number", "with a name, by weight"),
                    ("number", "accounted by the kernel, by weight"),
                ]))
                tbody { @for level in &page.functions.levels { tr {
                    @let from = &level.provenance;
                    th scope="row" class="number" { (level.level) }
                    td class="words" { (joined(&from.events)) }
                    td class="words" { (joined(&from.unwinders)) }
                    td class="number" { (number(from.samples)) }
                    td class="number" { (number(from.lost)) }
                    td class="number" { (share(from.complete)) }
                    td class="number" { (share(from.symbolized)) }
                    td class="number" { (from.accounted.map_or("as sampled".into(), |part| share(Some(part)))) }
                } } }
            } }))
        }
    }
}
