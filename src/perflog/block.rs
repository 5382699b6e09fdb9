//! What wireprof writes into a log stands between two markers, each a line of its own: `<!-- wireprof:begin RUN
//! results {"wireprof":"0.1.0",...} -->` and `<!-- wireprof:end RUN results -->`. Invariant: a block has both its
//! markers; half of a pair is an error with its line, never the start of a block.

use super::document::lines;
use super::markdown::{MARK, Markdown};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Raised whenever the same run gives another text: entries of other forms are compared by value, not byte by byte.
pub const FORM: u32 = 8;

/// How a block was made, so that it can be made again. It stands in the block's first marker as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Version of wireprof.
    pub wireprof: String,
    /// [`FORM`] of that version.
    pub form: u32,
    /// Hot frames at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
    /// The focus of the block's figures; `None`: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub focus: Option<MadeFocus>,
}

/// A focus with its patterns as they were: those of a preset change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeFocus {
    /// The focus's name.
    pub name: String,
    /// Regular expressions on functions' names.
    pub patterns: Vec<String>,
}

impl Made {
    /// By this wireprof.
    pub fn now() -> Made {
        Made { wireprof: env!("CARGO_PKG_VERSION").into(), form: FORM, top: None, focus: None }
    }

    /// Whether this wireprof would write the same bytes.
    pub fn is_current(&self) -> bool {
        self.form == FORM && self.wireprof == env!("CARGO_PKG_VERSION")
    }
}

/// A block to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// `RUN results`, `RUN attachments`: run ids, then the kind.
    pub key: String,
    /// How it was made.
    pub made: Made,
    /// What stands between the markers, as Markdown.
    pub text: String,
}

impl Generated {
    /// With its markers, without a last line break.
    pub fn whole(&self) -> String {
        format!("{}\n{}{}", begin(&self.key, &self.made), self.inside(), end(&self.key))
    }

    /// What stands between the markers' lines.
    pub fn inside(&self) -> String {
        format!("{}\n", self.text.trim_end_matches('\n'))
    }
}

/// A block that stands in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// `RUN results`, `RUN attachments`: run ids, then the kind.
    pub key: String,
    /// `None`: written before markers said it, or not readable.
    pub made: Option<Made>,
    /// Line of its first marker, from 1.
    pub line: usize,
    /// With both markers, without the last line break.
    pub whole: Range<usize>,
    /// What stands between the markers' lines.
    pub inside: Range<usize>,
}

impl Block {
    /// The ids of its runs.
    pub fn runs(&self) -> Vec<&str> {
        let words: Vec<&str> = self.key.split(' ').collect();
        words[..words.len() - 1].to_vec()
    }

    /// `results`, `attachments`.
    pub fn kind(&self) -> &str {
        self.key.rsplit(' ').next().unwrap_or("")
    }
}

/// A marker without its counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfMarker {
    /// From 1.
    pub line: usize,
    /// The marker as it stands in the log.
    pub marker: String,
}

/// `>` is written as JSON's `\u003e`, so that no pattern can end the comment.
fn begin(key: &str, made: &Made) -> String {
    let made = serde_json::to_string(made).unwrap_or_default().replace('>', "\\u003e");
    format!("<!-- wireprof:begin {key} {made} -->")
}

pub fn end(key: &str) -> String {
    format!("<!-- wireprof:end {key} -->")
}

enum Marker<'a> {
    Begin(&'a str, Option<Made>),
    End(&'a str),
}

fn marker(line: &str) -> Option<Marker<'_>> {
    let inside = line.trim_start_matches(MARK).trim().strip_prefix("<!-- wireprof:")?.strip_suffix(" -->")?;
    if let Some(key) = inside.strip_prefix("end ") {
        return Some(Marker::End(key.trim()));
    }
    let rest = inside.strip_prefix("begin ")?;
    let (key, made) = rest.split_once(" {").map_or((rest, None), |(key, _)| (key, Some(&rest[key.len() + 1..])));
    Some(Marker::Begin(key.trim(), made.and_then(|made| serde_json::from_str(made).ok())))
}

/// The blocks of a text in their order, and the markers that stand alone. Markers in code are somebody's quotation.
pub(super) fn blocks(text: &str, markdown: &Markdown) -> (Vec<Block>, Vec<HalfMarker>) {
    let (mut found, mut half) = (Vec::new(), Vec::new());
    let mut open: Option<Block> = None;
    let alone = |block: Block| HalfMarker { line: block.line, marker: text[block.whole].trim().to_string() };
    for (number, range) in lines(text) {
        let line = &text[range.clone()];
        if open.is_none() && markdown.is_code(range.start) {
            continue;
        }
        // What stands before and behind a marker in its line is somebody's own.
        let begins = line.len() - line.trim_start_matches(MARK).trim_start().len();
        let trimmed = range.start + begins..range.start + line.trim_end().len().max(begins);
        match marker(line) {
            Some(Marker::Begin(key, made)) => {
                let block = Block { key: key.into(), made, line: number, whole: trimmed, inside: range.end..range.end };
                half.extend(open.replace(block).map(alone));
            }
            Some(Marker::End(key)) => match open.take() {
                Some(mut block) if block.key == key => {
                    (block.inside.end, block.whole.end) = (range.start, trimmed.end);
                    found.push(block);
                }
                other => {
                    half.extend(other.map(alone));
                    half.push(HalfMarker { line: number, marker: line.trim().to_string() });
                }
            },
            None => {}
        }
    }
    half.extend(open.map(alone));
    (found, half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_with_how_it_was_made_and_nothing_in_it_ends_its_marker() {
        let focus = MadeFocus { name: "a -->".into(), patterns: vec!["Vec<.*>".into()] };
        let made = Made { top: Some(12), focus: Some(focus), ..Made::now() };
        let generated = Generated { key: "A B difference".into(), made: made.clone(), text: "x\n".into() };
        let text = format!("before\n{}\nafter\n", generated.whole());
        let (found, half) = blocks(&text, &Markdown::of(&text));
        assert_eq!((found.len(), half.len(), text.matches("-->").count()), (1, 0, 2));
        assert_eq!((found[0].made.as_ref(), found[0].line, &text[found[0].inside.clone()]), (Some(&made), 2, "x\n"));
        assert_eq!((found[0].runs(), found[0].kind()), (vec!["A", "B"], "difference"));
        assert_eq!(&text[found[0].whole.clone()], generated.whole());
    }

    #[test]
    fn what_stands_around_the_markers_in_their_lines_is_no_part_of_a_block() {
        for (before, behind) in [("\u{feff}", ""), ("a\n\n\r", "\r\n"), ("  ", "  \nb")] {
            let whole = format!("<!-- wireprof:begin A x -->\nc\n{}", end("A x"));
            let text = format!("{before}{whole}{behind}");
            let (found, half) = blocks(&text, &Markdown::of(&text));
            assert!(half.is_empty());
            assert_eq!(&text[found[0].whole.clone()], whole, "{text:?}");
        }
    }

    #[test]
    fn half_a_pair_is_told_with_its_line_and_a_quotation_is_no_marker() {
        let text = "```\n<!-- wireprof:begin A x -->\n```\n<!-- wireprof:begin B x -->\n<!-- wireprof:begin C x \
                    -->\nc\n<!-- wireprof:end C x -->\n<!-- wireprof:end D x -->";
        let (found, half) = blocks(text, &Markdown::of(text));
        assert_eq!(found.iter().map(|b| b.key.as_str()).collect::<Vec<_>>(), ["C x"]);
        assert!(found[0].made.is_none());
        assert_eq!(half.iter().map(|h| h.line).collect::<Vec<_>>(), [4, 8]);
    }
}
