//! Where a query is: the latency by place, where the clients are, and what carries a query in the server's hands.
//! Invariant: the parts of a bar sum to its whole; what was not followed says why.

use super::bars::{Segment, bar, hue, key};
use super::{part as part_of, tables};
use crate::analyze::page::Page;
use crate::analyze::time::hands::{LevelHands, Part, in_words};
use crate::analyze::time::places::load_places;
use crate::analyze::time::populations::Population;
use crate::profile::short_name;
use crate::render::answer::where_words;
use crate::render::model::Section;
use crate::render::places::short;
use crate::render::populations::legend_of;
use crate::wire::Place;
use crate::words::{counted, significant, time};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};

/// Parts of the time in hand that have a colour of their own; the others are one.
const COLOURS: usize = 8;

/// The third part.
pub(super) fn part(page: &Page, sections: &[Section]) -> Markup {
    let lead = "Each query is in exactly one place at every instant, so the parts of a bar sum to its latency. What \
                grows with the clients is where they wait for each other.";
    let body = html! {
        (latency(page))
        (grown(page))
        (clients(page))
        (hands(page))
        (tables::behind(sections, &["places", "tree", "slowest", "hands", "growth", "waits"]))
    };
    part_of("where", "Where a query is", lead, &body)
}

/// A level's bar beside its label, and its whole.
fn row(label: &str, bar: &Markup, whole: &str) -> Markup {
    html! { div class="row" { span class="row-label" { (label) } (bar) span class="row-whole" { (whole) } } }
}

fn latency(page: &Page) -> Markup {
    let Some(hop) = load_places(&page.places) else {
        let why = "Latency by place: not measured, for the sockets were not followed in this run.";
        return html! { p class="muted" { (why) } };
    };
    let wholes: BTreeMap<usize, f64> =
        hop.levels.iter().filter_map(|(level, places)| Some((*level, places.within_latency()?))).collect();
    let longest = wholes.values().fold(f64::MIN_POSITIVE, |most, whole| most.max(*whole));
    let passed: Vec<Place> = hop.passed().into_iter().filter(|place| *place != Place::Client).collect();
    html! {
        h3 { "Latency by place, from sending to reading" }
        div class="rows" { @for (level, whole) in &wholes {
            @let segments: Vec<Segment> = hop.levels[level].places.iter().filter(|share| share.place != Place::Client)
                .filter_map(|share| Some(Segment {
                    share: share.mean? / longest,
                    class: hue(share.place).into(),
                    tip: format!("{} {}", time(share.mean?), where_words(share.place)),
                    label: time(share.mean?),
                })).collect();
            (row(&counted(*level as u64, "client"), &bar(&segments, &format!("At {level}")), &time(*whole)))
        } }
        (key(passed.iter().map(|place| (hue(*place).to_string(), where_words(*place).to_string()))))
    }
}

/// By how much each place grew, the most first.
fn grown(page: &Page) -> Markup {
    let Some(growth) = page.answer.grown.as_ref().and_then(|grown| grown.latency.as_ref()) else { return html! {} };
    let share = |nanos: f64| match growth.latency > 0.0 {
        true if (nanos / growth.latency).abs() < 0.005 => "under 1 %".into(),
        true => format!("{:.0} %", 100.0 * nanos / growth.latency),
        false => "-".into(),
    };
    html! {
        @if !growth.places.is_empty() {
            h3 { "What grew from " (growth.from) " to " (counted(growth.to as u64, "client")) }
            table class="short" id="grown-places" {
                (tables::head([("words", "place"), ("number", "grew by"), ("number", "of the growth")]))
                tbody { @for (place, nanos) in &growth.places { tr {
                    td class="words" { span class={ "swatch " (hue(*place)) } {} (short(*place)) }
                    td class="number" { (time(*nanos)) }
                    td class="number" { (share(*nanos)) }
                } } }
            }
        }
    }
}

fn clients(page: &Page) -> Markup {
    let levels: BTreeSet<usize> = page.populations.iter().flat_map(|found| found.levels.keys().copied()).collect();
    let classes = shades(&page.populations);
    html! {
        @if !levels.is_empty() {
            h3 { "Where the clients are, on average" }
            div class="rows" { @for level in &levels {
                @let all: f64 = page.populations.iter().filter_map(|found| found.levels.get(level)).sum();
                @let segments: Vec<Segment> = page.populations.iter().zip(&classes).filter_map(|(found, class)| {
                    let there = *found.levels.get(level)?;
                    Some(Segment {
                        share: there / all.max(f64::MIN_POSITIVE),
                        class: class.clone(),
                        tip: format!("{} {}", significant(there), legend_of(found)),
                        label: significant(there),
                    })
                }).collect();
                (row(&counted(*level as u64, "client"), &bar(&segments, &format!("Of {level}")), ""))
            } }
            (key(page.populations.iter().zip(&classes).map(|(found, class)| (class.clone(), legend_of(found)))))
        }
    }
}

/// Each place has a colour, and the parts of one are shades of it.
fn shades(populations: &[Population]) -> Vec<String> {
    let mut before: Vec<Place> = Vec::new();
    let mut class = |population: &Population| {
        let nth = before.iter().filter(|place| **place == population.place).count();
        before.push(population.place);
        format!("{} shade-{}", hue(population.place), nth % 4)
    };
    populations.iter().map(&mut class).collect()
}

/// What a part of the time in hand is called.
fn called(part: &Part) -> String {
    let words = in_words(part.state, part.behind, part.wait_event.as_deref());
    match &part.function {
        Some(function) => format!("{words} at {}", short_name(&function.name)),
        None => words,
    }
}

fn hands(page: &Page) -> Markup {
    let title = html! { h3 id="hands" { "In the server's hands: what carries the query does" } };
    let Some((last, _)) = page.hands.last_key_value() else {
        let why = page.not_followed.values().next().map_or("the run has no window", String::as_str);
        return html! { (title) p class="muted" { "Not measured: " (why) "." } };
    };
    let named = coloured(&page.hands);
    let longest = page.hands.values().fold(f64::MIN_POSITIVE, |most, level| most.max(level.nanos));
    html! {
        (title)
        div class="rows" { @for (level, hands) in &page.hands {
            (row(&counted(*level as u64, "client"), &bar(&carried(hands, &named, longest), &format!("At {level}")),
                &time(hands.nanos)))
        } }
        (key(named.iter().enumerate().map(|(at, name)| (format!("part-{at}"), name.clone()))
            .chain([("part-others".to_string(), "everything else".to_string())])))
        p class="note" {
            "Of seconds of their own after the window, under the same load; at " (counted(*last as u64, "client"))
            " the table below says what ended the waits, and the flamegraph \u{201c}in hand\u{201d} shows their stacks."
        }
    }
}

/// The parts that have most of the time at any level.
fn coloured(levels: &BTreeMap<usize, LevelHands>) -> Vec<String> {
    let mut most: BTreeMap<String, f64> = BTreeMap::new();
    for level in levels.values() {
        for (name, nanos) in by_name(level) {
            let share = most.entry(name).or_default();
            *share = share.max(nanos / level.nanos.max(f64::MIN_POSITIVE));
        }
    }
    let mut found: Vec<(String, f64)> = most.into_iter().collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found.into_iter().take(COLOURS).map(|(name, _)| name).collect()
}

fn by_name(level: &LevelHands) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    level.parts.iter().for_each(|part| *found.entry(called(part)).or_default() += part.nanos);
    found
}

fn carried(level: &LevelHands, named: &[String], longest: f64) -> Vec<Segment> {
    let parts = by_name(level);
    let segment = |class: String, name: &str, nanos: f64| Segment {
        share: nanos / longest,
        class,
        tip: format!("{} {name}", time(nanos)),
        label: time(nanos),
    };
    let own =
        |(at, name): (usize, &String)| segment(format!("part-{at}"), name, parts.get(name).copied().unwrap_or(0.0));
    let mut segments: Vec<Segment> = named.iter().enumerate().map(own).collect();
    let others: f64 = parts.iter().filter(|(name, _)| !named.contains(name)).map(|(_, nanos)| nanos).sum();
    segments.push(segment("part-others".into(), "everything else", others));
    segments
}
