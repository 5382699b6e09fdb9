//! Tables and texts of a log that people wrote, without markup. Invariant: code blocks, comments and generated parts
//! are left out; each piece knows its bytes in the log.

use crate::perflog::document::Document;
use crate::perflog::markdown::MARK;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// What stands in a log, in its order.
#[derive(Debug)]
pub enum Part {
    Text(Piece),
    Table(Rows),
}

/// Plain text and where its parts stand.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    pub text: String,
    /// Byte of the text, byte of the log.
    map: Vec<(usize, usize)>,
    pub heading: bool,
}

/// A table's cells, its header first.
#[derive(Debug, Default)]
pub struct Rows {
    pub rows: Vec<Vec<Piece>>,
}

impl Rows {
    /// With as many cells in each row as the first has: further ones are none of the table, and missing ones are empty
    /// (GitHub Flavored Markdown 0.29, 4.10).
    fn whole(mut self) -> Rows {
        let width = self.rows.first().map_or(0, Vec::len);
        for row in &mut self.rows {
            row.resize_with(width, Piece::default);
        }
        self
    }
}

impl Piece {
    fn push(&mut self, text: &str, at: usize) {
        self.map.push((self.text.len(), at));
        self.text += text;
    }

    /// The log's byte of a byte of the text.
    pub fn place(&self, at: usize) -> usize {
        let index = self.map.partition_point(|(text, _)| *text <= at);
        let (text, log) = self.map.get(index.saturating_sub(1)).copied().unwrap_or_default();
        log + (at - text.min(at))
    }
}

/// The parts outside of code, comments and generated parts.
pub fn parts(log: &Document) -> Vec<Part> {
    let first = if log.text().starts_with(MARK) { MARK.len_utf8() } else { 0 };
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
    let mut reader = Reader::default();
    for (event, range) in Parser::new_ext(&log.text()[first..], options).into_offset_iter() {
        let at = first + range.start;
        if !log.is_generated(at) {
            reader.take(event, at);
        }
    }
    reader.parts
}

#[derive(Default)]
struct Reader {
    parts: Vec<Part>,
    piece: Option<Piece>,
    table: Option<Rows>,
    /// Inside of something that is not read: code, struck out.
    unread: usize,
}

impl Reader {
    fn take(&mut self, event: Event, at: usize) {
        match event {
            Event::Start(Tag::CodeBlock(_) | Tag::Strikethrough | Tag::HtmlBlock) => self.unread += 1,
            Event::End(TagEnd::CodeBlock | TagEnd::Strikethrough | TagEnd::HtmlBlock) => {
                self.unread = self.unread.saturating_sub(1);
            }
            Event::Start(Tag::Table(_)) => self.table = Some(Rows::default()),
            Event::End(TagEnd::Table) => self.parts.extend(self.table.take().map(|table| Part::Table(table.whole()))),
            Event::Start(Tag::TableHead | Tag::TableRow) => {
                self.table.iter_mut().for_each(|table| table.rows.push(Vec::new()));
            }
            Event::Start(Tag::TableCell) => {
                let mut cell = Piece::default();
                cell.push("", at);
                self.piece = Some(cell);
            }
            Event::End(TagEnd::TableCell) => {
                let row = self.table.as_mut().and_then(|table| table.rows.last_mut());
                if let (Some(row), Some(cell)) = (row, self.piece.take()) {
                    row.push(cell);
                }
            }
            Event::Start(Tag::Heading { .. }) => self.piece = Some(Piece { heading: true, ..Piece::default() }),
            Event::Start(Tag::Paragraph | Tag::Item) => self.begin(),
            // A list inside an item ends the item's own words.
            Event::Start(Tag::List(_)) | Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::Heading(_)) => {
                self.end();
            }
            Event::Text(text) if self.unread == 0 => self.push(&text, at),
            Event::Code(text) if self.unread == 0 => self.code(&text, at),
            Event::SoftBreak | Event::HardBreak => self.push(" ", at),
            _ => {}
        }
    }

    fn begin(&mut self) {
        self.end();
        self.piece = Some(Piece::default());
    }

    fn end(&mut self) {
        self.parts.extend(self.piece.take().filter(|piece| !piece.text.trim().is_empty()).map(Part::Text));
    }

    fn push(&mut self, text: &str, at: usize) {
        // A list's item without a paragraph of its own: text after a list inside it.
        self.piece.get_or_insert_default().push(text, at);
    }

    /// A name, unless it is a whole cell.
    fn code(&mut self, text: &str, at: usize) {
        let cell = self.table.is_some() && self.piece.as_ref().is_some_and(|piece| piece.text.is_empty());
        let name: String = text.chars().map(|c| if c.is_ascii_digit() && !cell { '_' } else { c }).collect();
        self.push(&name, at + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_as_many_cells_as_the_head() {
        for row in ["| 1\r2 | 3 |", "| 1 |", "| 1 | 2 | 3 |", "|"] {
            let log = Document::parse(format!("| a | b |\n|---|---|\n{row}\n"));
            let Some(Part::Table(table)) = parts(&log).into_iter().next() else { panic!("{row:?}") };
            assert!(table.rows.iter().all(|cells| cells.len() == 2), "{row:?}");
        }
    }

    #[test]
    fn code_comments_and_generated_parts_are_left_out_and_markup_is_taken_off() {
        let lines = [
            "# T 1",
            "",
            "One **2 us** of `3 us` ~~4~~[^1].",
            "",
            "```",
            "| 5 | 6 |",
            "|---|---|",
            "```",
            "<!--",
            "| 7 |",
            "|--|",
            "| 8 |",
            "-->",
            "",
            "- item 9",
            "  - inner 10",
            "",
            "| a | **b** |",
            "|---|---|",
            "| 11 | **12** |",
            "",
            "<!-- wireprof:begin R results -->",
            "| 13 |",
            "| --- |",
            "| 14 |",
            "<!-- wireprof:end R results -->",
            "",
            "[^1]: 15",
        ];
        let text = lines.map(|line| format!("{line}\n")).concat();
        let log = Document::parse(text);
        let mut told = Vec::new();
        for part in parts(&log) {
            match part {
                Part::Text(piece) => told.push((piece.text.clone(), log.line_at(piece.place(0)))),
                Part::Table(table) => told.extend(
                    table.rows.iter().flatten().map(|cell| (format!("|{}", cell.text), log.line_at(cell.place(0)))),
                ),
            }
        }
        let expected = [
            ("T 1", 1),
            ("One 2 us of _ us .", 3),
            ("item 9", 15),
            ("inner 10", 16),
            ("|a", 18),
            ("|b", 18),
            ("|11", 20),
            ("|12", 20),
            ("15", 28),
        ];
        assert_eq!(told, expected.map(|(text, line)| (text.to_string(), line)));
    }
}
