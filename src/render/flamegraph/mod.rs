//! Flamegraphs as SVG, drawn by inferno. Invariant: widths are the stored weights, exactly, and sum to the profile's
//! total; "per query" is applied to the figures only; what is not drawn is said in the picture.
//!
//! inferno takes folded text and writes integers into its tooltips; so frames go in under short distinct keys, and the
//! tooltips are written anew with decimals, sample counts and (bounded) full names.

mod compact;
mod difference;
mod fold;
mod lines;
mod pictures;
mod tooltip;

pub(super) use compact::{Compact, Kind, compact};
pub use difference::{Direction, draw_difference};
pub(super) use pictures::{Job, jobs, view_of};
pub use pictures::{PictureFile, Pictures, Wanted, write_differences, write_picture, write_pictures};

use crate::analyze::cost::carried::ENDED_BY;
use crate::analyze::cost::view::{LevelView, Per, Source};
use crate::carriers::State;
use crate::profile::{Column, ColumnKind, Space};
use crate::render::figure::{count, significant};
use anyhow::{Context, Result};
use fold::{Folded, Label};
use inferno::flamegraph::color::{MultiPalette, Palette};
use inferno::flamegraph::{Options, TextTruncateDirection};
use tooltip::Dress;

/// Longest full name in a picture, in characters.
const FULL_NAME: usize = 300;
/// Frames drawn at most: with tooltips of up to 300 characters of full name this keeps a picture under 3 MB (a
/// server's whose names run to kilobytes takes 2.2 MB).
const MOST_FRAMES: usize = 5_500;
/// Narrowest frame drawn, as a share of the width: a pixel at twenty-fold zoom.
const NARROWEST: f64 = 0.000_05;

/// What the picture is of.
#[derive(Clone, Debug, Default)]
pub struct Caption {
    /// Id of the run, after the process's name where that is not the target.
    pub run: String,
    /// Name of the focus that the view was made with.
    pub focus: Option<String>,
    /// Runtime frames are folded into their callers. A picture of one run says how many.
    pub folded: bool,
    /// Frames are called by their full names, as far as those are bounded.
    pub full_names: bool,
}

/// A finished picture.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// The picture as SVG text.
    pub svg: String,
    /// Number of frames drawn.
    pub drawn: usize,
    /// Number of frames too narrow to be drawn.
    pub pruned: usize,
    /// Share of the weight that lies in frames not drawn, 0..1.
    pub pruned_share: f64,
}

/// Draws a level.
///
/// # Errors
/// A view without any weight.
pub fn draw(view: &LevelView, caption: &Caption) -> Result<Drawing> {
    let folded = Folded::of(&view.profile, view.column, caption.full_names);
    let unit = Unit::of(&view.profile.columns[view.column], view.per);
    let mut options = options(title(view, caption, &unit), &unit, view.queries);
    let mut drawing = plain(&folded, &mut options).with_context(|| format!("level {}", view.level))?;
    let subtitle = [lines::load_line(view), lines::sampling_line(view, &drawing)];
    drawing.svg = tooltip::rewrite(&drawing.svg, &folded, &subtitle, |drawn| {
        let share = significant(100.0 * drawn.width as f64 / folded.total as f64);
        let samples = drawn.samples.map_or(String::new(), |s| format!(", {} samples", count(s)));
        let figures = format!("{} {}, {share} %{samples}", unit.per_query(drawn.width, view.queries), unit.name);
        Dress { figures, fill: fill(view.source, drawn.label.map(|label| &folded.labels[label])) }
    });
    Ok(drawing)
}

/// Colours of frames of the time in hand that are no code: who ended a wait, states next to each other, others.
const ENDER: &str = "rgb(150,180,235)";
const RUNNING: &str = "rgb(165,215,165)";
const RUNNABLE: &str = "rgb(240,200,150)";
const QUEUED: &str = "rgb(225,220,175)";
const NO_CODE: &str = "rgb(205,205,205)";

/// `None`: as inferno colours it, by the kind of code.
fn fill(source: Source, label: Option<&Label>) -> Option<String> {
    let name = &label.filter(|label| label.space == Space::Marker && source == Source::InHand)?.full;
    let is = |state: State| *name == format!("[{state}]");
    let colour = match () {
        () if name.starts_with(ENDED_BY) => ENDER,
        () if is(State::Running) => RUNNING,
        () if is(State::Runnable) => RUNNABLE,
        () if is(State::Queued) => QUEUED,
        () => NO_CODE,
    };
    Some(colour.into())
}

/// As inferno draws it, without what is too narrow.
fn plain(folded: &Folded, options: &mut Options) -> Result<Drawing> {
    let threshold = threshold(folded, folded.total, MOST_FRAMES);
    options.min_width = 100.0 * (threshold as f64 - 0.5).max(0.0) / (folded.total as f64).max(1.0);
    let mut svg = Vec::new();
    let lines = folded.lines.iter().map(|l| l.text.as_str());
    inferno::flamegraph::from_lines(options, lines, &mut svg).context("no sample with weight to draw")?;
    let svg = String::from_utf8(svg).context("inferno wrote something that is not UTF-8")?;
    Ok(Drawing { svg, ..not_drawn_yet(folded, threshold) })
}

/// How much will be drawn of it, and how much is too narrow.
fn not_drawn_yet(folded: &Folded, threshold: u64) -> Drawing {
    let pruned = folded.boxes.iter().filter(|b| b.width < threshold).count();
    let hidden: u64 = folded.lines.iter().filter(|l| folded.boxes[l.leaf].width < threshold).map(|l| l.weight).sum();
    let pruned_share = hidden as f64 / (folded.total as f64).max(1.0);
    Drawing { svg: String::new(), drawn: folded.boxes.len() - pruned, pruned, pruned_share }
}

/// The least weight that is drawn where `whole` has all of the width, of so many frames at most.
fn threshold(folded: &Folded, whole: u64, most: usize) -> u64 {
    let mut widths: Vec<u64> = folded.boxes.iter().map(|b| b.width).collect();
    widths.sort_unstable_by(|a, b| b.cmp(a));
    let narrowest = (whole as f64 * NARROWEST).ceil() as u64;
    widths.get(most).map_or(narrowest, |w| narrowest.max(w + 1))
}

/// How the column's weights are written.
pub(crate) struct Unit {
    /// Stored unit to shown unit.
    factor: f64,
    /// `µs CPU per query`
    name: String,
}

impl Unit {
    fn of(column: &Column, per: Per) -> Self {
        let kind = if column.kind == ColumnKind::Cpu { "CPU" } else { column.kind.as_str() };
        match column.unit.as_str() {
            _ if per == Per::Hundredth => Unit { factor: 1.0, name: format!("% of {kind}") },
            "nanoseconds" => Unit { factor: 1e-3, name: format!("µs {kind} per query") },
            unit => Unit { factor: 1.0, name: format!("{unit} per query") },
        }
    }

    fn per_query(&self, weight: u64, queries: f64) -> String {
        self.cost(weight as f64 / queries)
    }

    /// Of a stored cost a query.
    fn cost(&self, cost: f64) -> String {
        significant(cost * self.factor)
    }

    fn signed(&self, difference: f64) -> String {
        format!("{}{}", if difference > 0.0 { "+" } else { "" }, self.cost(difference))
    }
}

fn options<'a>(title: String, unit: &Unit, queries: f64) -> Options<'a> {
    let mut options = Options::default();
    options.title = title;
    options.subtitle = Some("subtitle".into());
    options.count_name = unit.name.clone();
    options.factor = unit.factor / queries;
    options.no_sort = true;
    options.deterministic = true;
    options.text_truncate_direction = TextTruncateDirection::Right;
    // Kernel frames orange, Rust and C++ yellow, C red, files without symbols green.
    options.colors = Palette::Multi(MultiPalette::Java);
    options
}

fn title(view: &LevelView, caption: &Caption, unit: &Unit) -> String {
    let total = view.profile.total(view.column).max(0) as u64;
    let what = match (&caption.focus, view.outside) {
        (Some(focus), Some(outside)) => {
            let outside = outside.max(0) as u64;
            let inside = unit.per_query(total - outside.min(total), view.queries);
            format!("{inside} {} in {focus}, {} outside", unit.name, unit.per_query(outside, view.queries))
        }
        _ => format!("{} {}", unit.per_query(total, view.queries), unit.name),
    };
    format!("Level {}: {what} ({})", view.level, caption.run)
}
