//! A picture as numbers, for a script that draws it when it is looked at. Invariant: the boxes are those that inferno
//! would draw, in its order; what lies outside a focus is said and not drawn, so that a focus has all of the width.

use super::fold::Folded;
use super::{Caption, Drawing, Unit, lines, not_drawn_yet, threshold, title};
use crate::analyze::cost::carried::ENDED_BY;
use crate::analyze::cost::view::{LevelView, Source};
use crate::profile::{Space, middle};
use std::collections::HashMap;

/// Frames at most: dozens of such pictures stand on one page of a few megabytes, and a browser shows one of them at
/// once.
const MOST_FRAMES: usize = 2_500;

/// A picture that a script draws.
pub(in crate::render) struct Compact {
    /// What it is of, and how much that is.
    pub title: String,
    /// How much load there was, how the stacks came to be, what is not drawn.
    pub notes: [String; 2],
    /// Unit of the costs, such as `µs CPU per query`.
    pub unit: String,
    /// From a width to a cost in that unit.
    pub factor: f64,
    /// Of each box its depth, its start after that of the box before, its width, its label (an index, from 1; 0: all)
    /// and its samples (-1: not counted).
    pub boxes: Vec<i64>,
}

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::render) enum Kind {
    /// Code of a program.
    User = 0,
    /// Code of the kernel.
    Kernel = 1,
    /// No code.
    Marker = 2,
    /// Who ended a wait.
    Ender = 3,
}

/// A view as numbers; `intern` answers the index of a label: its short name, its full name as far as it is kept, its
/// module and its kind.
pub(in crate::render) fn compact(
    view: &LevelView,
    caption: &Caption,
    mut intern: impl FnMut(&str, &str, &str, Kind) -> usize,
) -> Compact {
    let folded = Folded::of(&view.profile, view.column, caption.full_names);
    let unit = Unit::of(&view.profile.columns[view.column], view.per);
    let threshold = threshold(&folded, MOST_FRAMES);
    let drawing: Drawing = not_drawn_yet(&folded, threshold);
    let mut known: HashMap<usize, usize> = HashMap::new();
    let mut label = |at: usize| {
        *known.entry(at).or_insert_with(|| {
            let label = &folded.labels[at];
            let frame = &label.frame;
            let kind = kind(view.source, frame.space, &frame.name);
            intern(&label.shown, &middle(&frame.name, super::FULL_NAME), &frame.module, kind)
        })
    };
    let (mut boxes, mut before) = (Vec::new(), 0);
    for drawn in folded.boxes.iter().filter(|drawn| drawn.width >= threshold) {
        let samples = drawn.samples.map_or(-1, |samples| samples as i64);
        let label = drawn.label.map_or(0, |at| label(at) + 1) as i64;
        boxes.extend([drawn.depth as i64, drawn.start as i64 - before, drawn.width as i64, label, samples]);
        before = drawn.start as i64;
    }
    Compact {
        title: title(view, caption, &unit),
        notes: [lines::load_line(view), lines::sampling_line(view, &drawing)],
        factor: unit.factor / view.queries,
        unit: unit.name,
        boxes,
    }
}

fn kind(source: Source, space: Space, name: &str) -> Kind {
    match space {
        Space::Kernel => Kind::Kernel,
        Space::Marker if source == Source::InHand && name.starts_with(ENDED_BY) => Kind::Ender,
        Space::Marker => Kind::Marker,
        _ => Kind::User,
    }
}
