//! Each frame's tooltip, text and colour in place of inferno's: decimals, sample counts and full names, colours that
//! mean something, texts that fit. Invariant: boxes stay as inferno laid them out; a frame whose box is not known is
//! left as inferno wrote it.

use super::FULL_NAME;
use super::fold::{Drawn, Folded, KEY_END};
use super::head::{CHARACTER, Head, ROW, frames_opening, with_head};
use crate::render::middle;
use std::collections::HashMap;

const TITLE: &str = "<title>";
const TITLE_END: &str = "</title>";
/// Pixels before a frame's text.
const TEXT_START: f64 = 3.0;
/// Characters from which a text that is cut says anything.
const SHORTEST: usize = 5;

/// What becomes of a frame.
pub(super) struct Dress {
    /// What stands after the name in the tooltip's first line, without parentheses.
    pub figures: String,
    /// Its colour as SVG writes it.
    pub fill: String,
}

/// Puts `head` above the frames, and `dress` on every frame; `all` is what the lowest one is called.
pub(super) fn rewrite(svg: &str, folded: &Folded, head: &Head, all: &str, dress: impl Fn(&Drawn) -> Dress) -> String {
    let head_end = svg.find("<svg id=\"frames\"").unwrap_or(svg.len());
    let (above, frames) = svg.split_at(head_end);
    let opening = frames.find('>').map_or(0, |at| at + 1);
    let mut text = with_head(above, head) + &frames_opening(&frames[..opening], head);
    let boxes: HashMap<(usize, u64), &Drawn> = folded.boxes.iter().map(|b| ((b.depth, b.start), b)).collect();
    let bottom = bottom(frames);
    let mut rest = &frames[opening..];
    while let Some(at) = rest.find(TITLE) {
        let Some(length) = rest[at..].find(TITLE_END) else { break };
        let after = &rest[at + length..];
        let Some((drawn, frame)) = position(after, bottom).and_then(|at| boxes.get(&at)).zip(Frame::of(after)) else {
            text += &rest[..at + length];
            rest = after;
            continue;
        };
        let dress = dress(drawn);
        let name = drawn.label.map_or(all, |label| &folded.labels[label].shown).replace('\n', " ");
        text += &rest[..at + TITLE.len()];
        text += &escaped(&tooltip(drawn, folded, &name, &dress.figures));
        text += frame.before_fill;
        text += &dress.fill;
        text += frame.to_text;
        text += &escaped(&fitting(&name, drawn.width as f64 / folded.total as f64 * ROW * head.share));
        rest = frame.after;
    }
    text += rest;
    text.replace(KEY_END, "")
}

/// A frame's rectangle and text as inferno wrote them, from the tooltip's end on.
struct Frame<'a> {
    before_fill: &'a str,
    /// From behind the colour to the beginning of the text.
    to_text: &'a str,
    /// From the text's end on.
    after: &'a str,
}

impl<'a> Frame<'a> {
    fn of(from: &'a str) -> Option<Self> {
        const FILL: &str = " fill=\"";
        let rect = from.find("<rect ")?;
        let fill = rect + from[rect..].find(FILL)? + FILL.len();
        let fill_end = fill + from[fill..].find('"')?;
        let text = fill_end + from[fill_end..].find("<text ")?;
        let start = text + from[text..].find('>')? + 1;
        let end = start + from[start..].find("</text>")?;
        Some(Frame { before_fill: &from[..fill], to_text: &from[fill_end..start], after: &from[end..] })
    }
}

/// As much of a name as there is room for, as inferno's script writes it.
fn fitting(name: &str, pixels: f64) -> String {
    let room = ((pixels - TEXT_START) / CHARACTER).max(0.0) as usize;
    match name.chars().count() {
        length if length <= room => name.into(),
        _ if room < SHORTEST => String::new(),
        _ => name.chars().take(room - 2).chain("..".chars()).collect(),
    }
}

fn tooltip(drawn: &Drawn, folded: &Folded, name: &str, figures: &str) -> String {
    let mut text = format!("{name} ({figures})");
    let Some(label) = drawn.label.map(|l| &folded.labels[l]) else { return text };
    let full = middle(&label.frame.name, FULL_NAME);
    if full != label.shown {
        text += &format!("\n{full}");
    }
    if !label.frame.module.is_empty() {
        text += &format!("\n{}", label.frame.module);
    }
    text
}

/// y of the lowest row: that of `all`, the widest frame, whichever frame inferno writes first.
fn bottom(frames: &str) -> f64 {
    frames.match_indices("<rect ").filter_map(|(at, _)| attribute(&frames[at..], "y")?.parse().ok()).fold(0.0, f64::max)
}

/// Depth and start of the rectangle that comes next.
fn position(after: &str, bottom: f64) -> Option<(usize, u64)> {
    let rect = &after[after.find("<rect ")?..];
    let y: f64 = attribute(rect, "y")?.parse().ok()?;
    let row_height = inferno::flamegraph::defaults::FRAME_HEIGHT as f64;
    Some((((bottom - y) / row_height).round() as usize, attribute(rect, "fg:x")?.parse().ok()?))
}

fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let element = &element[..element.find('>')?];
    let value = &element[element.find(&format!(" {name}=\""))? + name.len() + 3..];
    Some(&value[..value.find('"')?])
}

/// A text as SVG writes it.
pub(super) fn escaped(text: &str) -> String {
    let printable: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    printable.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_is_whole_and_another_is_cut_to_its_box() {
        assert_eq!(fitting("work", TEXT_START + 4.0 * CHARACTER), "work");
        assert_eq!(fitting("work", TEXT_START + 3.9 * CHARACTER), "");
        assert_eq!(fitting("planted_peek", TEXT_START + 12.0 * CHARACTER), "planted_peek");
        assert_eq!(fitting("planted_peek", TEXT_START + 11.9 * CHARACTER), "planted_p..");
        assert_eq!(fitting("planted_peek", 0.0), "");
    }
}
