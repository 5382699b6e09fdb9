//! Where the clients are, as a stacked picture over the levels (SVG) and as sentences. Invariant: a bar's height is
//! its share of the level's clients, and every bar is labelled with clients where there is room.

use super::colour::Colour;
use super::figure::significant;
use super::nodes::described;
use super::places::short;
use crate::analyze::time::populations::{OTHERS, Population};
use crate::wire::Place;
use crate::words::counted;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The bars' height, and where they begin.
const HEIGHT: f64 = 400.0;
const TOP: f64 = 70.0;
const LEFT: f64 = 70.0;
/// From one level to the next, and a bar's width.
const STEP: f64 = 90.0;
const BAR: f64 = 64.0;
/// Least height of a bar that has room for its number.
const LABELLED: f64 = 13.0;
const LINE: f64 = 19.0;
/// A letter of the legend, on average; a little more than a sans-serif font of 12 takes.
const LETTER: f64 = 7.0;

/// The picture; `None` where there is nobody in it.
pub fn populations_svg(run: &str, populations: &[Population]) -> Option<String> {
    let levels: BTreeSet<usize> = populations.iter().flat_map(|p| p.levels.keys().copied()).collect();
    (!levels.is_empty()).then_some(())?;
    let legend = LEFT + STEP * levels.len() as f64 + 20.0;
    let longest = populations.iter().map(|p| legend_of(p).chars().count()).max().unwrap_or(0);
    let width = (legend + 30.0 + LETTER * longest as f64).max(720.0);
    let lines = TOP + LINE * populations.len() as f64;
    let height = (TOP + HEIGHT).max(lines) + 60.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 \
            {width:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let title = format!("Where the clients are, run {run}");
    text(&mut svg, LEFT, 26.0, "start\" font-size=\"17", &title);
    let what =
        "share of each level's clients; in the bars: clients on average (time in a place x throughput, Little's law)";
    text(&mut svg, LEFT, 46.0, "start\" fill=\"#555", what);
    axis(&mut svg, legend - 20.0);
    let colours = colours(populations);
    for (at, level) in levels.iter().enumerate() {
        bars(&mut svg, LEFT + 14.0 + STEP * at as f64, *level, populations, &colours);
    }
    text(&mut svg, LEFT + STEP * levels.len() as f64 / 2.0, TOP + HEIGHT + 42.0, "middle", "N: clients of the load");
    // In the order of the bars, the last on top.
    for (line, at) in (0..populations.len()).rev().enumerate() {
        let y = TOP + LINE * line as f64;
        let _ =
            writeln!(svg, "<rect x=\"{legend:.1}\" y=\"{y:.1}\" width=\"13\" height=\"13\" fill=\"{}\"/>", colours[at]);
        text(&mut svg, legend + 20.0, y + 11.0, "start", &legend_of(&populations[at]));
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// Of N clients, how many are where, a sentence a level; under one in a hundred is left out.
pub fn populations_sentences(populations: &[Population]) -> Vec<String> {
    let levels: BTreeSet<usize> = populations.iter().flat_map(|p| p.levels.keys().copied()).collect();
    let sentence = |level: usize| {
        let there = |p: &Population| p.levels.get(&level).copied().unwrap_or(0.0);
        let mut found: Vec<&Population> = populations.iter().filter(|p| there(p) >= 0.01 * level as f64).collect();
        found.sort_by(|a, b| there(b).total_cmp(&there(a)));
        let parts: Vec<String> = found.iter().map(|p| format!("{} {}", significant(there(p)), legend_of(p))).collect();
        format!("Of {}: {}.", counted(level as u64, "client"), parts.join("; "))
    };
    levels.into_iter().map(sentence).collect()
}

pub(super) fn legend_of(population: &Population) -> String {
    let place = short(population.place);
    match &population.what {
        crate::analyze::time::nodes::What::Place { .. } => place.into(),
        _ if population.key.starts_with(OTHERS) => format!("{place}: in its smaller parts"),
        what => format!("{place}: {}", described(what, &population.key)),
    }
}

/// Each place has a hue; the parts of one are shades of it.
fn colours(populations: &[Population]) -> Vec<Colour> {
    let hue = |place: Place| match place {
        Place::Client => (0, 0, 70),
        Place::Request => (200, 70, 55),
        Place::ServerBuffer => (38, 90, 55),
        Place::Server => (0, 68, 48),
        Place::Response => (215, 55, 42),
        Place::Network => (205, 65, 48),
        Place::ClientBuffer => (275, 42, 62),
    };
    let mut before: Vec<Place> = Vec::new();
    let mut next = |population: &Population| {
        let nth = before.iter().filter(|place| **place == population.place).count() as u32;
        before.push(population.place);
        let (hue, saturation, light) = hue(population.place);
        Colour { hue: (hue + 360 - nth * 14) % 360, saturation, lightness: light + (nth % 4) * 9 }
    };
    populations.iter().map(&mut next).collect()
}

fn bars(svg: &mut String, x: f64, level: usize, populations: &[Population], colours: &[Colour]) {
    let all: f64 = populations.iter().filter_map(|p| p.levels.get(&level)).sum();
    let mut y = TOP + HEIGHT;
    for (population, colour) in populations.iter().zip(colours) {
        let Some(there) = population.levels.get(&level) else { continue };
        let height = HEIGHT * there / all.max(f64::MIN_POSITIVE);
        y -= height;
        let tip = escaped(&format!("{}: {} of {level} clients", legend_of(population), significant(*there)));
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.2}\" width=\"{BAR}\" height=\"{height:.2}\" fill=\"{colour}\" stroke=\"#fff\" \
                stroke-width=\"0.5\"><title>{tip}</title></rect>"
        );
        if height >= LABELLED {
            text(
                svg,
                x + BAR / 2.0,
                y + height / 2.0 + 4.0,
                &format!("middle\" fill=\"{}", colour.text()),
                &significant(*there),
            );
        }
    }
    text(svg, x + BAR / 2.0, TOP + HEIGHT + 20.0, "middle\" font-weight=\"bold", &level.to_string());
}

fn axis(svg: &mut String, right: f64) {
    for percent in [0, 25, 50, 75, 100] {
        let y = TOP + HEIGHT * (1.0 - f64::from(percent) / 100.0);
        let _ = writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>");
        text(svg, LEFT - 8.0, y + 4.0, "end", &format!("{percent} %"));
    }
}

/// `anchor` may go on with further attributes.
fn text(svg: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(content));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
