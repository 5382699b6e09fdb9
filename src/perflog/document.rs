//! A log as text with its entries found. Invariant: the text outside what is spliced is never changed, so parsing and
//! writing back gives the same bytes.

use super::block::{Block, Generated, HalfMarker, blocks};
use super::markdown::{Heading, MARK, Markdown};
use std::collections::BTreeMap;
use std::ops::Range;

/// A log in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    text: String,
    markdown: Markdown,
    entries: Vec<Entry>,
    blocks: Vec<Block>,
    half: Vec<HalfMarker>,
}

/// One session's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The session's number, as its heading has it.
    pub number: u64,
    /// The heading after the number.
    pub title: String,
    /// Depth of the heading: 2 for `##`.
    pub level: usize,
    /// Where it stands in the text, its heading included.
    pub range: Range<usize>,
}

/// Why something cannot be put into the log.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unspliceable {
    /// A marker stands without its counterpart.
    #[error("the log's line {line} has `{marker}` without its counterpart: put it back, or take this one out")]
    HalfMarker {
        /// Its line in the log, from 1.
        line: usize,
        /// The marker as it stands in the log.
        marker: String,
    },
    /// No entry has this session's number.
    #[error("the log has no entry for session {0}: `wireprof log show` lists the last ones")]
    NoSuchSession(u64),
    /// The log has no entries at all.
    #[error("the log has no entry yet: `wireprof log new` makes one")]
    Empty,
    /// What is put there would be text of somebody's code block.
    #[error("the end of that entry lies in a code block that is not closed: close it in the log first")]
    Hidden,
    /// Another of wireprof's blocks would be cut in two, or be text of somebody's code block.
    #[error(
        "wireprof's block that begins in the log's line {line} would not be read any more: an entry begins within it, \
         or a code block (``` or ~~~) there is not closed; mend that in the log first"
    )]
    Disturbed {
        /// The line of its first marker, from 1.
        line: usize,
    },
}

impl Document {
    /// Finds the entries and the blocks of a text.
    pub fn parse(text: String) -> Self {
        let markdown = Markdown::of(&text);
        let entries = find_entries(&text, &markdown);
        let (blocks, half) = blocks(&text, &markdown);
        Document { text, markdown, entries, blocks, half }
    }

    /// The whole log, byte for byte as it was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn markdown(&self) -> &Markdown {
        &self.markdown
    }

    /// The entries in the order in which they stand.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What wireprof wrote, in the order in which it stands.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The block that begins within a part of the text, the first of several.
    pub fn block_within(&self, part: &Range<usize>) -> Option<&Block> {
        let first = self.blocks.partition_point(|block| block.whole.start < part.start);
        self.blocks.get(first).filter(|block| part.contains(&block.whole.start))
    }

    /// Whether wireprof wrote what stands at a byte of the text.
    pub fn is_generated(&self, at: usize) -> bool {
        let behind = self.blocks.partition_point(|block| block.whole.start <= at);
        self.blocks[..behind].last().is_some_and(|block| block.whole.contains(&at))
    }

    /// Markers without their counterparts.
    pub fn half_markers(&self) -> &[HalfMarker] {
        &self.half
    }

    /// The entry that a byte of the text belongs to; `None` outside all entries.
    pub fn entry_at(&self, at: usize) -> Option<&Entry> {
        let behind = self.entries.partition_point(|entry| entry.range.start <= at);
        self.entries[..behind].last().filter(|entry| entry.range.contains(&at))
    }

    /// The line of a byte of the text, from 1.
    pub fn line_at(&self, at: usize) -> usize {
        self.markdown.line_number(at)
    }

    /// The character of its line that a byte of the text is, from 1.
    pub fn column_at(&self, at: usize) -> usize {
        self.text[self.markdown.line_start(at)..at].chars().count() + 1
    }

    /// The entry's text, heading included.
    pub fn entry_text(&self, entry: &Entry) -> &str {
        &self.text[entry.range.clone()]
    }

    /// The number for the next entry: one above the highest.
    pub fn next_number(&self) -> u64 {
        self.entries.iter().map(|e| e.number).max().map_or(1, |n| n + 1)
    }

    /// The newest entry: the highest number, the last of those that share it.
    pub fn newest(&self) -> Option<&Entry> {
        self.entries.iter().max_by_key(|e| e.number)
    }

    /// The entry of a session; the last one where the number was used twice.
    pub fn session(&self, number: u64) -> Option<&Entry> {
        self.entries.iter().rev().find(|e| e.number == number)
    }

    /// Depth of a new entry's heading: as the newest one's.
    pub fn heading_level(&self) -> usize {
        self.newest().map_or(2, |e| e.level)
    }

    /// With a new entry: where the newest stand first before them, else after the last one.
    pub fn with_entry(&self, entry: &str) -> Document {
        let newest_first =
            self.entries.len() > 1 && self.entries[0].number > self.entries[self.entries.len() - 1].number;
        let at = match (newest_first, self.entries.first(), self.entries.last()) {
            (true, Some(first), _) => first.range.start,
            (_, _, Some(last)) => last.range.end,
            _ => self.text.len(),
        };
        self.inserted(at, entry)
    }

    /// With `block` in place of the earlier one of its key, else at the end of the entry `session` (the newest for
    /// `None`). Doing it twice changes nothing.
    ///
    /// # Errors
    /// A marker of this key without its counterpart, no such entry, one whose end nobody would read as such, or another
    /// block that would be none any more.
    pub fn with_block(&self, block: &Generated, session: Option<u64>) -> Result<Document, Unspliceable> {
        let made = self.spliced(block, session)?;
        let mut there: BTreeMap<&str, usize> = BTreeMap::new();
        made.blocks.iter().for_each(|block| *there.entry(&block.key).or_default() += 1);
        for other in self.blocks.iter().filter(|other| other.key != block.key) {
            match there.get_mut(other.key.as_str()).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => return Err(Unspliceable::Disturbed { line: other.line }),
            }
        }
        Ok(made)
    }

    fn spliced(&self, block: &Generated, session: Option<u64>) -> Result<Document, Unspliceable> {
        let of_this = |marker: &str| marker.contains(&format!(" {} ", block.key));
        if let Some(HalfMarker { line, marker }) = self.half.iter().find(|half| of_this(&half.marker)) {
            return Err(Unspliceable::HalfMarker { line: *line, marker: marker.clone() });
        }
        if let Some(earlier) = self.blocks.iter().find(|earlier| earlier.key == block.key) {
            let Range { start, end } = earlier.whole;
            let whole = line_endings(&block.whole(), &self.text[start..end]);
            let made = Document::parse(format!("{}{whole}{}", &self.text[..start], &self.text[end..]));
            // Code that began in the earlier block and did not end there hid all behind it.
            return match made.half.iter().find(|half| of_this(&half.marker)) {
                None => Ok(made),
                Some(HalfMarker { line, marker }) => {
                    let breaks = |text: &str| text.matches('\n').count();
                    let line = line + breaks(&self.text[start..end]) - breaks(&whole);
                    Err(Unspliceable::HalfMarker { line, marker: marker.clone() })
                }
            };
        }
        let entry = match session {
            Some(number) => self.session(number).ok_or(Unspliceable::NoSuchSession(number))?,
            None => self.newest().ok_or(Unspliceable::Empty)?,
        };
        let end = entry.range.end;
        // A block that goes on beyond its entry, as one whose end was lost does, is not cut in two.
        let cut = self.blocks.iter().find(|other| other.whole.start < end && end < other.whole.end);
        let added = self.inserted(cut.map_or(end, |other| other.whole.start.max(entry.range.start)), &block.whole());
        // Within a person's code block that never ends nothing is a block.
        match added.blocks.iter().any(|there| there.key == block.key) {
            true => Ok(added),
            false => Err(Unspliceable::Hidden),
        }
    }

    /// With `part` at a line's start, an empty line before and after it.
    fn inserted(&self, at: usize, part: &str) -> Document {
        let (before, after) = self.text.split_at(at);
        let lines_before = before.len() - before.trim_end_matches(['\n', '\r']).len();
        let feeds = before[before.len() - lines_before..].matches('\n').count();
        let gap = if before.trim_start_matches(MARK).is_empty() { 0 } else { 2usize.saturating_sub(feeds) };
        let mut added = format!("{}{}\n", "\n".repeat(gap), part.trim_end_matches('\n'));
        if !after.is_empty() && !after.starts_with(['\n', '\r']) {
            added.push('\n');
        }
        Document::parse(format!("{before}{}{after}", line_endings(&added, &self.text)))
    }
}

/// `added` with the line endings that a text begins with.
fn line_endings(added: &str, text: &str) -> String {
    let first = text.split_inclusive('\n').next();
    if first.is_some_and(|line| line.ends_with("\r\n")) { added.replace('\n', "\r\n") } else { added.to_string() }
}

/// The lines of a text, line breaks included, with their numbers from 1.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
    let mut at = 0;
    text.split_inclusive('\n').enumerate().map(move |(index, line)| {
        at += line.len();
        (index + 1, at - line.len()..at)
    })
}

/// Entries run from their heading to the next heading of a session, or of the same or a higher rank. A line of dashes
/// below a paragraph makes a heading of it, but mostly is meant as a rule: it ends no entry.
fn find_entries(text: &str, markdown: &Markdown) -> Vec<Entry> {
    let (mut entries, mut open): (Vec<Entry>, Option<Entry>) = (Vec::new(), None);
    for Heading { rank, hashes, range, words } in markdown.headings() {
        let session = session_heading(words, *rank);
        let ends = |entry: &mut Entry| session.is_some() || *rank <= entry.level && (*hashes || *rank == 1);
        if let Some(mut entry) = open.take_if(ends) {
            entry.range.end = range.start;
            entries.push(entry);
        }
        if let Some((number, title)) = session {
            open = Some(Entry { number, title, level: *rank, range: range.start..text.len() });
        }
    }
    entries.extend(open);
    entries
}

/// Number and title of `Session 48: title`.
fn session_heading(words: &str, rank: usize) -> Option<(u64, String)> {
    (2..=3).contains(&rank).then_some(())?;
    let rest = words.strip_prefix("Session ")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let title = rest[digits..].trim_start_matches([':', ' ', '-', '.']).trim();
    Some((rest[..digits].parse().ok()?, title.to_string()))
}
