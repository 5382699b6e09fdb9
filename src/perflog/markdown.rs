//! Which lines of a text are headings and which are code, as CommonMark 0.31 has it. Invariant: places are bytes of the
//! text as it was given, a byte-order mark included.

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use std::ops::Range;

/// The first character of a file that begins with a byte-order mark.
pub(super) const MARK: char = '\u{feff}';

/// Headings and code of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Markdown {
    headings: Vec<Heading>,
    /// In order, as code does not lie within code.
    fenced: Vec<Range<usize>>,
    indented: Vec<Range<usize>>,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// A heading outside of lists and quotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heading {
    /// 2 for `##`, and for a line with `---` below it.
    pub rank: usize,
    /// It is written with `#`.
    pub hashes: bool,
    /// From its first line's start.
    pub range: Range<usize>,
    /// As written, without `#`.
    pub words: String,
}

impl Markdown {
    pub(crate) fn of(text: &str) -> Markdown {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut markdown = Markdown { lines, ..Markdown::default() };
        let first = if text.starts_with(MARK) { MARK.len_utf8() } else { 0 };
        let mut containers = 0usize;
        for (event, path_of) in Parser::new(&text[first..]).into_offset_iter() {
            let start = markdown.line_start(first + path_of.start).max(first);
            let range = start..first + path_of.end;
            match event {
                Event::Start(Tag::BlockQuote(_) | Tag::List(_)) => containers += 1,
                Event::End(TagEnd::BlockQuote(_) | TagEnd::List(_)) => containers = containers.saturating_sub(1),
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) => markdown.fenced.push(range),
                Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => markdown.indented.push(range),
                // One that begins behind a CR alone begins no line here, and belongs to the heading that does.
                Event::Start(Tag::Heading { level, .. })
                    if containers == 0 && markdown.headings.last().is_none_or(|last| last.range.start < start) =>
                {
                    let source = &text[range.clone()];
                    let (hashes, words) = words(source);
                    markdown.headings.push(Heading { rank: level as usize, hashes, words, range });
                }
                _ => {}
            }
        }
        markdown
    }

    pub(crate) fn headings(&self) -> &[Heading] {
        &self.headings
    }

    /// Whether the line that begins at `line` belongs to a heading.
    pub(crate) fn is_heading(&self, line: usize) -> bool {
        let at = self.headings.partition_point(|heading| heading.range.start <= line);
        at > 0 && self.headings[at - 1].range.contains(&line)
    }

    /// The line that a byte of the text belongs to, from 1.
    pub(crate) fn line_number(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    /// Where the line begins that a byte of the text belongs to.
    pub(crate) fn line_start(&self, at: usize) -> usize {
        self.lines[self.line_number(at) - 1]
    }

    /// Whether the line that begins at `line` belongs to code, a fence included.
    pub(crate) fn is_code(&self, line: usize) -> bool {
        self.is_fenced(line) || holds(&self.indented, line)
    }

    /// As [`is_code`](Self::is_code), without code that is only indented.
    pub(crate) fn is_fenced(&self, line: usize) -> bool {
        holds(&self.fenced, line)
    }
}

/// Whether one of these ranges, which are in order and apart, holds a place.
fn holds(ranges: &[Range<usize>], at: usize) -> bool {
    let behind = ranges.partition_point(|range| range.start <= at);
    behind > 0 && ranges[behind - 1].contains(&at)
}

/// Whether a heading is written with `#`, and its words.
fn words(source: &str) -> (bool, String) {
    let source = source.trim();
    let hashes = source.bytes().take_while(|byte| *byte == b'#').count();
    if hashes == 0 {
        let above = source.rsplit_once('\n').map_or("", |(above, _)| above);
        return (false, above.lines().map(str::trim).collect::<Vec<_>>().join(" "));
    }
    let inside = source[hashes..].trim();
    let closed = inside.trim_end_matches('#');
    let closes = closed.is_empty() || closed.ends_with([' ', '\t']);
    (true, if closes { closed.trim() } else { inside }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headings(text: &str) -> Vec<(usize, String)> {
        Markdown::of(text).headings().iter().map(|heading| (heading.rank, heading.words.clone())).collect()
    }

    fn found(headings: &[(usize, &str)]) -> Vec<(usize, String)> {
        headings.iter().map(|(rank, words)| (*rank, words.to_string())).collect()
    }

    #[test]
    fn headings_are_those_of_commonmark() {
        let text = "# a\n   ## b ##\n    ## code\n####### no\n#no\n##\t C# \nd\ne\n---\nf\n==\n- ## in a list\n\n\
                    > ## quoted\n\n<!--\n## comment\n-->\n\\## no\n";
        assert_eq!(headings(text), found(&[(1, "a"), (2, "b"), (2, "C#"), (2, "d e"), (1, "f")]));
        assert_eq!(headings(&text.replace('\n', "\r\n")), headings(text));
        let old = Markdown::of("## a\r# b\r\n# c");
        assert_eq!(old.headings().iter().map(|heading| heading.range.start).collect::<Vec<_>>(), [0, 10]);
        let marked = Markdown::of("\u{feff}## a\n");
        assert_eq!(marked.headings()[0].range, 3..8);
    }

    #[test]
    fn fences_open_and_close_as_in_commonmark() {
        for code in [
            "```\n# x\n```",
            "````text\n```\n# x\n```\n````",
            "~~~ a`b\n```\n# x\n~~~~",
            "   ```\n# x\n  ```  ",
            "```\n# x\n``` not closed\n# x\n    ```\n```",
            "- item\n\n  ```\n  # x\n  ```",
            "1. item\n\n     ```\n     # x\n     ```",
        ] {
            let text = format!("{code}\n# y\n");
            assert_eq!(headings(&text), found(&[(1, "y")]), "{code}");
            let at = text.find("# x").unwrap();
            assert!(Markdown::of(&text).is_fenced(text[..at].rfind('\n').unwrap() + 1), "{code}");
        }
        assert_eq!(headings("```a``` is code in a line\n# y\n"), found(&[(1, "y")]));
        assert_eq!(headings("    ```\n# y\n"), found(&[(1, "y")]), "indented code");
        assert_eq!(headings("```\n# never closed\n"), []);
    }
}
