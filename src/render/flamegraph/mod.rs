//! Flamegraphs as SVG, drawn by inferno. Invariant: widths are the stored weights, exactly, and sum to the profile's
//! total; "per query" is applied to the figures only; what is not drawn is said in the picture.
//!
//! inferno takes folded text and writes integers into its tooltips; so frames go in under short distinct keys, and the
//! tooltips are written anew with decimals, sample counts and (bounded) full names. Head, colours and texts are ours as
//! well (`head`, `kinds`, `tooltip`); where the boxes are, and the script that zooms and searches, are inferno's.

mod compact;
mod difference;
mod fold;
mod head;
mod kinds;
mod lines;
mod pictures;
mod tooltip;

pub(super) use compact::{Compact, Kind, compact};
pub use difference::{Direction, draw_difference};
pub use kinds::Code;
pub(super) use pictures::{Job, jobs, view_of};
pub use pictures::{PictureFile, Pictures, Wanted, write_differences, write_picture, write_pictures};

use crate::analyze::cost::view::{LevelView, Per};
use crate::profile::{Column, ColumnKind};
use crate::render::figure::{count, significant};
use anyhow::{Context, Result};
use fold::Folded;
use head::Head;
use inferno::flamegraph::color::{BackgroundColor, Color};
use inferno::flamegraph::{Options, TextTruncateDirection};
use kinds::{FrameKind, legend, tone};
use tooltip::Dress;

/// Longest full name in a picture, in characters.
const FULL_NAME: usize = 300;
/// Frames drawn at most: with tooltips of up to 300 characters of full name this keeps a picture under 3 MB (a
/// server's whose names run to kilobytes takes 2.2 MB).
const MOST_FRAMES: usize = 5_500;
/// Narrowest frame drawn, as a share of the width: a pixel at twenty-fold zoom.
const NARROWEST: f64 = 0.000_05;
const WHITE: Color = Color { r: 255, g: 255, b: 255 };

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
    /// What tells the program's code from libraries' and the runtime's.
    pub code: Code,
    /// Frames drawn at most; `None`: as many as keep a picture under 3 MB.
    pub most_frames: Option<usize>,
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
    let mut drawing = plain(&folded, caption.most_frames).with_context(|| format!("level {}", view.level))?;
    let kinds = caption.code.kinds(view.source, &folded.labels);
    let head = Head {
        title: title(view, caption, &unit),
        lines: vec![lines::load_line(view), lines::sampling_line(view, &drawing)],
        legend: legend(&folded, &kinds),
        share: 1.0,
        style: String::new(),
    };
    let all = caption.focus.as_ref().map_or("all".into(), |focus| format!("all of {focus}"));
    drawing.svg = tooltip::rewrite(&drawing.svg, &folded, &head, &all, |drawn| {
        let share = lines::share(view, caption, drawn.width, folded.total);
        let samples = drawn.samples.map_or(String::new(), |s| format!(", {} samples", count(s)));
        let kind = drawn.label.map_or(FrameKind::NoCode, |label| kinds[label]);
        Dress {
            figures: format!("{} {}{share}{samples}", unit.per_query(drawn.width, view.queries), unit.name),
            fill: tone(kind.colour(), drawn.odd),
        }
    });
    Ok(drawing)
}

/// As inferno draws it, without what is too narrow.
fn plain(folded: &Folded, most_frames: Option<usize>) -> Result<Drawing> {
    let threshold = threshold(folded, most_frames.unwrap_or(MOST_FRAMES));
    let mut options = Options::default();
    options.no_sort = true;
    options.deterministic = true;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.bgcolors = Some(BackgroundColor::Flat(WHITE));
    options.min_width = 100.0 * (threshold as f64 - 0.5).max(0.0) / (folded.total as f64).max(1.0);
    let mut svg = Vec::new();
    let lines = folded.lines.iter().map(|l| l.text.as_str());
    inferno::flamegraph::from_lines(&mut options, lines, &mut svg).context("no sample with weight to draw")?;
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

/// The least weight that is drawn, of so many frames at most.
fn threshold(folded: &Folded, most: usize) -> u64 {
    let mut widths: Vec<u64> = folded.boxes.iter().map(|b| b.width).collect();
    widths.sort_unstable_by(|a, b| b.cmp(a));
    let narrowest = (folded.total as f64 * NARROWEST).ceil() as u64;
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
