//! The head of the page: the answer in the words of the first screen. Invariant: it says what the first screen says,
//! and where on the page the evidence is.

use super::bars::{Segment, bar, hue, key};
use super::tables::{head, scrolled};
use crate::analyze::judge::answer::{Answer, AnswerLevel, Grown, Most};
use crate::analyze::page::Page;
use crate::check::Status;
use crate::render::answer::{condition, ended, left_out, missing, where_words};
use crate::render::because::{grew, why};
use crate::wire::Place;
use crate::words::{counted, significant, thousands, time};
use maud::{Markup, html};

/// The first part.
pub(super) fn part(page: &Page) -> Markup {
    let answer = &page.answer;
    let (because, effect) = why(answer);
    html! {
        section id="answer" aria-labelledby="answer-title" {
            p class="eyebrow" { "Run " (answer.run) " (" (ended(answer)) ")" }
            h1 id="answer-title" { (because) (effect) }
            @if answer.first.is_some() {
                p { a class="more" href="#verdict-1" { "The evidence for it" } }
            }
            (levels(answer))
            (told(answer))
        }
    }
}

/// What grew, what not to believe, what is missing.
fn told(answer: &Answer) -> Markup {
    html! {
        dl class="told" {
            @if let Some(grown) = &answer.grown {
                dt { "Grew" }
                dd { (grew(grown)) " " (leads(grown)) }
            }
            dt { "Beware" }
            dd { (beware(answer)) }
            @if let Some(missing) = missing(answer) {
                dt { "Missing" }
                dd { (missing) }
            }
            @if !answer.changes.is_empty() {
                dt { "Set up" }
                dd {
                    (counted(answer.changes.len() as u64, "change")) " on the server: "
                    a href="#measured" { "which" }
                }
            }
        }
    }
}

/// Where what grew is shown.
fn leads(grown: &Grown) -> Markup {
    html! {
        a href="#where" { "By place" }
        @if let Most::Grew { name, .. } = &grown.function {
            ", " a href="#functions" data-filter=(name) { "the function" }
        }
    }
}

fn beware(answer: &Answer) -> Markup {
    html! {
        @if let Some(text) = left_out(answer) { p { (text) } }
        @if answer.doubts.is_empty() && answer.left_out.is_empty() { "Nothing: no check failed or warned." }
        @if !answer.doubts.is_empty() {
            ul class="plain" {
                @for doubt in &answer.doubts {
                    @let (text, at) = condition(doubt, answer.windows);
                    li {
                        // Of a failure the sentence says so itself.
                        @if doubt.status != Status::Fail {
                            span class={ "status " (status(doubt.status)) } { (word(doubt.status)) } " "
                        }
                        (text) (at) " " a href="#checks" { "the check" }
                    }
                }
            }
        }
    }
}

/// A status as a class of the style sheet.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::NotMeasured => "unmeasured",
        Status::Warn => "warn",
        Status::Fail => "fail",
    }
}

/// A status as a word.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::NotMeasured => "not measured",
        Status::Warn => "warn",
        Status::Fail => "fail",
    }
}

/// A row a level, with a bar of where its clients are.
fn levels(answer: &Answer) -> Markup {
    let by_sockets = answer.levels.iter().any(|level| level.by_sockets);
    let mean = if by_sockets { "mean*" } else { "mean" };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    html! {
        (scrolled("Levels", &html! {
            table class="levels" {
                (head([
                    ("number", "clients"), ("number", "queries/s"), ("number", mean), ("number", "p50"),
                    ("number", "p99"), ("number", "p99.9"), ("wide", "where the clients are"),
                ]))
                tbody { @for level in &answer.levels { tr {
                    th scope="row" class="number" { (level.level) }
                    td class="number" { (or_none(level.throughput.map(|rate| thousands(&format!("{rate:.0}"))))) }
                    td class="number" { (or_none(level.mean.map(time))) }
                    td class="number" { (or_none(level.p50.map(|nanos| time(nanos as f64)))) }
                    td class="number" { (or_none(level.p99.map(|nanos| time(nanos as f64)))) }
                    td class="number" { (or_none(level.p999.map(|nanos| time(nanos as f64)))) }
                    td class="wide" { (clients(level)) }
                } } }
            }
        }))
        (legend(answer))
        @if by_sockets { p class="note" { "* by the sockets: the load does not tell its own." } }
    }
}

fn clients(level: &AnswerLevel) -> Markup {
    let Some(places) = &level.places else { return html! { span class="muted" { "not measured" } } };
    let all: f64 = places.iter().map(|(_, there)| there).sum();
    let segment = |(place, there): &(Place, f64)| Segment {
        share: there / all.max(f64::MIN_POSITIVE),
        class: hue(*place).into(),
        tip: format!("{} {}", significant(*there), where_words(*place)),
        label: significant(*there),
    };
    let segments: Vec<Segment> = places.iter().map(segment).collect();
    bar(&segments, &format!("Of {}", counted(level.level as u64, "client")))
}

/// What the colours mean, of places that have a hundredth of the clients at some level.
fn legend(answer: &Answer) -> Markup {
    let seen = |place: Place| {
        answer.levels.iter().any(|level| {
            let there = level.places.iter().flatten().find(|(other, _)| *other == place);
            there.is_some_and(|(_, there)| *there >= 0.01 * level.level as f64)
        })
    };
    let shown = Place::EVERY.into_iter().filter(|place| seen(*place));
    key(shown.map(|place| (hue(place).to_string(), where_words(place).to_string())))
}
