//! Tooltips with decimals, sample counts and full names in place of inferno's integers, and colours where they are
//! not by kind of code. Invariant: only titles, the subtitle and colours change; a frame whose box is not known is
//! left as inferno wrote it.

use super::FULL_NAME;
use super::fold::{Drawn, Folded, KEY_END};
use crate::render::middle;
use std::collections::HashMap;

/// How inferno's script takes a frame's text from its tooltip; ours has the full name below the first line.
const SCRIPT: &str = r#".textContent.replace(/\([^(]*\)$/,"")"#;
const OWN_SCRIPT: &str = r#".textContent.split("\n")[0].replace(/\([^(]*\)$/,"")"#;

const TITLE: &str = "<title>";
const TITLE_END: &str = "</title>";

/// What becomes of a frame.
pub(super) struct Dress {
    /// What stands after the name in the tooltip's first line, without parentheses.
    pub figures: String,
    /// `None`: the colour stays.
    pub fill: Option<String>,
}

/// Puts `dress` on every frame.
pub(super) fn rewrite(svg: &str, folded: &Folded, subtitle: &[String; 2], dress: impl Fn(&Drawn) -> Dress) -> String {
    let head_end = svg.find("<svg id=\"frames\"").unwrap_or(svg.len());
    let (head, frames) = svg.split_at(head_end);
    let mut text = with_subtitle(&head.replace(SCRIPT, OWN_SCRIPT), subtitle);
    let boxes: HashMap<(usize, u64), &Drawn> = folded.boxes.iter().map(|b| ((b.depth, b.start), b)).collect();
    let bottom = bottom(frames);
    let mut rest = frames;
    while let Some(at) = rest.find(TITLE) {
        let Some(length) = rest[at..].find(TITLE_END) else { break };
        let (title, after) = (&rest[at + TITLE.len()..at + length], &rest[at + length..]);
        text += &rest[..at + TITLE.len()];
        rest = after;
        let Some(drawn) = position(after, bottom).and_then(|position| boxes.get(&position)) else {
            text += title;
            continue;
        };
        let dress = dress(drawn);
        text += &escaped(&tooltip(drawn, folded, &dress.figures));
        if let Some((before, after)) = dress.fill.as_ref().and_then(|_| around_fill(rest)) {
            text += before;
            text += &dress.fill.unwrap_or_default();
            rest = after;
        }
    }
    text += rest;
    text.replace(KEY_END, "")
}

/// What stands before and after the colour of the next rectangle.
fn around_fill(after: &str) -> Option<(&str, &str)> {
    const FILL: &str = " fill=\"";
    let rect = after.find("<rect ")?;
    let start = rect + after[rect..].find(FILL)? + FILL.len();
    let end = start + after[start..].find('"')?;
    Some((&after[..start], &after[end..]))
}

fn tooltip(drawn: &Drawn, folded: &Folded, figures: &str) -> String {
    let Some(label) = drawn.label.map(|l| &folded.labels[l]) else { return format!("all ({figures})") };
    let mut text = format!("{} ({figures})", label.shown.replace('\n', " "));
    let full = middle(&label.full, FULL_NAME);
    if full != label.shown {
        text += &format!("\n{full}");
    }
    if !label.module.is_empty() {
        text += &format!("\n{}", label.module);
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

/// The subtitle's two lines in place of inferno's one, in the room it leaves for one.
fn with_subtitle(head: &str, lines: &[String; 2]) -> String {
    let Some(at) = head.find("<text id=\"subtitle\"") else { return head.to_string() };
    let Some(end) = head[at..].find("</text>") else { return head.to_string() };
    let line = |id: &str, y: usize, text: &str| {
        format!("<text id=\"{id}\" text-anchor=\"middle\" x=\"50%\" y=\"{y}\">{}</text>", escaped(text))
    };
    let after = &head[at + end + "</text>".len()..];
    format!("{}{}{}{after}", &head[..at], line("subtitle", 40, &lines[0]), line("sampling", 54, &lines[1]))
}

fn escaped(text: &str) -> String {
    let printable: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    printable.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
