//! Windows over time, in slices of 50 ms. Invariant: the lines of one window have one axis of time; what is not told by
//! slice has no line, and says so.

use super::{level_switch, part as part_of, tables};
use crate::analyze::page::{Line, Slice};
use crate::render::model::Section;
use crate::words::{significant, time};
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
                 profile.pb.gz of each window. Where the clients are is not stored by slice."
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
    }
}

/// One line over the window.
fn strip(line: &Line, name: &str, class: &str, values: &[Option<f64>], show: fn(f64) -> String) -> Markup {
    let known = || values.iter().flatten().copied();
    let (low, high) = known().fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let end = line.slices.last().map_or(1.0, |slice| slice.at + slice.seconds);
    if high <= 0.0 {
        return html! { p class="muted" { (name) ": not measured by slice." } };
    }
    let spoken = format!("{name}, from {} to {} over {} s", show(low), show(high), significant(end));
    html! {
        figure class="strip" {
            figcaption { (name) " " span class="unit" { "0 to " (show(high)) } }
            svg width="100%" height="64" role="img" aria-label=(spoken)
                viewBox={ "0 0 " (BOX) " " (BOX) } preserveAspectRatio="none" {
                @for (from, to) in &line.scrapes {
                    @let (from, to) = (from.max(0.0), to.min(end));
                    @if to > from {
                        @let width = at((to - from).max(end / 500.0), end);
                        rect class="scrape" x=(at(from, end)) y="0" width=(width) height=(BOX) {}
                    }
                }
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
