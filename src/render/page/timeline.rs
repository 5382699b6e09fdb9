//! Windows over time, in slices of 50 ms. Invariant: the lines of one window have one axis of time; what is not told by
//! slice has no line, and says so.

use super::bars::{hue, key};
use super::{level_switch, part as part_of, stretches, tables};
use crate::analyze::page::{Line, Slice};
use crate::analyze::time::slices::Untold;
use crate::render::answer::where_words;
use crate::render::model::Section;
use crate::wire::Place;
use crate::words::{counted, significant, thousands, time};
use maud::{Markup, html};
use std::fmt::Write;

/// Heights of a line are in thousandths of its box.
const BOX: f64 = 1_000.0;

/// The sixth part.
pub(super) fn part(lines: &[Line], sections: &[Section]) -> Markup {
    let lead = "A window in slices of 50 ms. Grey bands are scrapes of the server's metrics: a dip there is the price \
                of looking.";
    let told: Vec<&Line> = lines.iter().filter(|line| !line.slices.is_empty()).collect();
    let mut levels: Vec<usize> = told.iter().map(|line| line.window.level).collect();
    levels.sort_unstable();
    levels.dedup();
    let body = html! {
        @if told.is_empty() { p class="muted" { "Not measured: the load tells sums only, no slices." } }
        @else {
            (level_switch(&levels))
            @for level in &levels {
                div data-level-panel=(level) {
                    @for line in told.iter().filter(|line| line.window.level == *level) { (window(line)) }
                }
            }
            p class="note" {
                "p99 of a slice with fewer than a hundred queries is its slowest one. From load.json, latency.hdr and \
                 profile.pb.gz of each window; where the clients are from timelines.json.gz, by the traced queries \
                 times what each stands for."
            }
        }
        (tables::behind(sections, &["observer"]))
    };
    part_of("time", "The window over time", lead, &body)
}

fn window(line: &Line) -> Markup {
    let of = |value: &dyn Fn(&Slice) -> Option<f64>| line.slices.iter().map(value).collect::<Vec<_>>();
    html! {
        h3 { "Window " (line.window.directory()) }
        (strip(line, "queries a second", "series-main", &of(&|slice| Some(slice.throughput())), significant))
        (strip(line, "p99", "series-p99", &of(&|slice| slice.p99.map(|nanos| nanos as f64)), time))
        (strip(line, "mean latency", "series-p50", &of(&|slice| slice.mean), time))
        (strip(line, "CPUs of the server, by the samples", "series-cpu", &of(&|slice| slice.cpus), significant))
        (clients(line))
        (stretches::table(line))
    }
}

/// Areas on each other: how many clients are in each place but their own hands.
fn clients(line: &Line) -> Markup {
    let name = "clients by place";
    let every = match line.traced {
        Ok(every) => every,
        Err(why) => return html! { p class="muted" { (name) ": not measured by slice, for " (untold(why)) "." } },
    };
    let clients = line.window.level;
    let most = line.slices.iter().filter_map(|slice| Some(slice.clients?.iter().sum())).fold(clients as f64, f64::max);
    let end = end(line);
    let places = Place::ALL.into_iter().filter(|place| *place != Place::Client);
    let there = places.clone().enumerate();
    let mean = |at: usize| {
        let known: Vec<f64> = line.slices.iter().filter_map(|slice| Some(slice.clients?[at])).collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    };
    let told: Vec<String> =
        there.clone().map(|(at, place)| format!("{} {}", significant(mean(at)), where_words(place))).collect();
    let spoken = format!("{name}, on average of {}: {}", counted(clients as u64, "client"), told.join(", "));
    let traced = if every == 1 { "every query traced".into() } else { format!("one query in {every} traced") };
    html! {
        figure class="strip" {
            figcaption {
                (name) " " span class="unit" { "0 to " (thousands(&format!("{most:.0}"))) ", " (traced) }
            }
            svg width="100%" height="96" role="img" aria-label=(spoken)
                viewBox={ "0 0 " (BOX) " " (BOX) } preserveAspectRatio="none" {
                @for (at, place) in there.clone() {
                    path class={ "area " (hue(place)) } d=(area(line, at, end, most)) {
                        title { (told[at]) ", on average" }
                    }
                }
                (scrapes(line, end))
            }
            div class="ends" { span { "0 s" } span { (significant(end)) " s" } }
            (key(places.map(|place| (hue(place).to_string(), where_words(place).to_string()))))
        }
    }
}

/// Why no slice tells where the clients were.
fn untold(why: Untold) -> String {
    match why {
        Untold::NotFollowed => "the sockets were not followed".into(),
        Untold::NotTraced => "no query was traced".into(),
        Untold::Lost(lost) => format!("{lost} traced queries had no room"),
        Untold::TooLong(nanos) => format!("a query took {}, and the window is too short for that", time(nanos as f64)),
    }
}

/// The outline of one place's clients above those of the places before it, slice by slice.
fn area(line: &Line, place: usize, end: f64, most: f64) -> String {
    let mut path = String::new();
    let y = |clients: f64| format!("{:.0}", BOX * (1.0 - clients / most.max(f64::MIN_POSITIVE)));
    for run in line.slices.chunk_by(|a, b| a.clients.is_some() == b.clients.is_some()) {
        let Some(first) = run.first().filter(|slice| slice.clients.is_some()) else { continue };
        let _ = write!(path, "M{} ", at(first.at, end));
        let steps = |path: &mut String, slice: &Slice, upto: usize, edge: f64| {
            let clients = slice.clients.map_or(0.0, |clients| clients[..upto].iter().sum());
            let _ = write!(path, "V{}H{}", y(clients), at(edge, end));
        };
        let _ = write!(path, "{}", y(first.clients.map_or(0.0, |clients| clients[..place].iter().sum())));
        run.iter().for_each(|slice| steps(&mut path, slice, place + 1, slice.at + slice.seconds));
        run.iter().rev().for_each(|slice| steps(&mut path, slice, place, slice.at));
        path.push('Z');
    }
    path
}

/// When the metrics were scraped.
fn scrapes(line: &Line, end: f64) -> Markup {
    html! {
        @for (from, to) in &line.scrapes {
            @let (from, to) = (from.max(0.0), to.min(end));
            @if to > from {
                @let width = at((to - from).max(end / 500.0), end);
                rect class="scrape" x=(at(from, end)) y="0" width=(width) height=(BOX) {}
            }
        }
    }
}

fn end(line: &Line) -> f64 {
    line.slices.last().map_or(1.0, |slice| slice.at + slice.seconds)
}

/// One line over the window.
fn strip(line: &Line, name: &str, class: &str, values: &[Option<f64>], show: fn(f64) -> String) -> Markup {
    let known = || values.iter().flatten().copied();
    let (low, high) = known().fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let end = end(line);
    if high <= 0.0 {
        return html! { p class="muted" { (name) ": not measured by slice." } };
    }
    let spoken = format!("{name}, from {} to {} over {} s", show(low), show(high), significant(end));
    html! {
        figure class="strip" {
            figcaption { (name) " " span class="unit" { "0 to " (show(high)) } }
            svg width="100%" height="64" role="img" aria-label=(spoken)
                viewBox={ "0 0 " (BOX) " " (BOX) } preserveAspectRatio="none" {
                (scrapes(line, end))
                path class=(class) d=(path(line, values, end, high)) {}
            }
            div class="ends" { span { "0 s" } span { (significant(end)) " s" } }
        }
    }
}

fn at(seconds: f64, end: f64) -> String {
    format!("{:.1}", BOX * seconds / end)
}

/// A step a slice; a slice without a value is a gap.
fn path(line: &Line, values: &[Option<f64>], end: f64, high: f64) -> String {
    let (mut path, mut drawn) = (String::new(), false);
    for (slice, value) in line.slices.iter().zip(values) {
        let Some(value) = value else {
            drawn = false;
            continue;
        };
        let y = BOX * (1.0 - 0.96 * value / high);
        let _ = write!(
            path,
            "{}{} {y:.0}H{}",
            if drawn { "L" } else { "M" },
            at(slice.at, end),
            at(slice.at + slice.seconds, end)
        );
        drawn = true;
    }
    path
}
