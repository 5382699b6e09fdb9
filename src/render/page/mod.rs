//! A run as one page for a browser. Invariant: the page asks nothing of any other place, and its policy forbids it to;
//! every word that comes from a run goes through `maud`, which escapes it, or through `data`, which scripts read as
//! data.

mod answer;
mod bars;
mod chart;
mod comparison;
mod data;
mod flames;
mod functions;
mod measured;
mod speed;
mod stretches;
mod tables;
mod timeline;
mod verdicts;
mod whereabouts;

use super::model::Section;
use crate::analyze::compare::difference::Difference;
use crate::analyze::compare::headline::Headline;
use crate::analyze::page::Page;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flames::Flames;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::json;
use sha2::{Digest, Sha256};

pub use flames::flames;

/// The page's look, and what it does.
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str =
    concat!(include_str!("page.js"), include_str!("functions.js"), include_str!("flames.js"), include_str!("print.js"));

/// What a page is made of.
pub struct Material<'a> {
    /// The figures.
    pub page: &'a Page,
    /// All sections of the run's report: the tables behind the pictures.
    pub sections: &'a [Section],
    /// The stacks.
    pub flames: Flames,
    /// The comparison with an earlier run; `None`: there is only one run.
    pub compared: Option<Compared<'a>>,
}

/// A comparison with an earlier run.
pub struct Compared<'a> {
    /// Every figure of both.
    pub difference: &'a Difference,
    /// The same in short.
    pub headline: &'a Headline,
    /// The sections of its report.
    pub sections: &'a [Section],
}

/// The page as a file.
pub fn page(material: &Material) -> String {
    let id = &material.page.answer.run;
    let data = json!({
        "functions": functions::data(&material.page.functions),
        "flames": material.flames.data(),
    });
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "Run " (id) " - wireprof" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#answer" { "To the answer" }
                (contents(material))
                main { (sections(material)) }
                (data::block(&data))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    // Those of the data are escapes of JSON.
    let mut text = markup.into_string();
    text.retain(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    text
}

/// Nothing is fetched, framed or sent; only this style and this script count.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// The parts of the page in their order: anchor, and name in the contents.
const PARTS: [(&str, &str); 8] = [
    ("answer", "Answer"),
    ("speed", "Speed"),
    ("where", "Where"),
    ("functions", "Functions"),
    ("flames", "Flamegraphs"),
    ("time", "Time line"),
    ("verdicts", "Findings"),
    ("measured", "How measured"),
];

fn contents(material: &Material) -> Markup {
    html! {
        nav aria-label="Parts of the page" {
            @if material.compared.is_some() { a href="#comparison" { "Comparison" } }
            @for (anchor, name) in PARTS { a href={ "#" (anchor) } { (name) } }
        }
    }
}

fn sections(material: &Material) -> Markup {
    let Material { page, sections, flames, compared } = material;
    html! {
        @if let Some(compared) = compared { (comparison::part(compared)) }
        (answer::part(page))
        (speed::part(page, sections))
        (whereabouts::part(page, sections))
        (functions::part(&page.functions, sections))
        (flames.part())
        (timeline::part(&page.lines, sections))
        (verdicts::part(page, flames, sections))
        (measured::part(page, sections))
    }
}

/// One part of the page.
fn part(anchor: &str, title: &str, lead: &str, body: &Markup) -> Markup {
    html! {
        section id=(anchor) aria-labelledby={ (anchor) "-title" } {
            h2 id={ (anchor) "-title" } { (title) }
            @if !lead.is_empty() { p class="lead" { (lead) } }
            (body)
        }
    }
}

/// Buttons of which one is chosen: those of a level show what belongs to it and hide the others'.
fn level_switch(levels: &[usize]) -> Markup {
    html! {
        div class="switch" role="group" aria-label="Level: number of clients" {
            span class="switch-label" { "Clients" }
            @for level in levels {
                button type="button" data-level=(level) aria-pressed="false" { (level) }
            }
        }
    }
}
