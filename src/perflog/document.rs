//! A log as text with its entries found. Invariant: the text outside what is spliced is never changed, so parsing and
//! writing back gives the same bytes.

use std::ops::Range;

/// A log in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    text: String,
    entries: Vec<Entry>,
}

/// One session's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
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
    #[error("the log's line {line} has `{marker}` without its counterpart: put it back, or take this one out")]
    HalfMarker { line: usize, marker: String },
    #[error("the log has no entry for session {0}: `wireprof log show` lists the last ones")]
    NoSuchSession(u64),
    #[error("the log has no entry yet: `wireprof log new` makes one")]
    Empty,
}

impl Document {
    pub fn parse(text: String) -> Self {
        let entries = find_entries(&text);
        Document { text, entries }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The entries in the order in which they stand.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
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

    /// With `block` between the markers of `key`, replacing what stood there, else at the end of the entry `session` (the newest
    /// for `None`). Doing it twice changes nothing.
    ///
    /// # Errors
    /// A marker without its counterpart, or no such entry.
    pub fn with_block(&self, key: &str, block: &str, session: Option<u64>) -> Result<Document, Unspliceable> {
        let (begin, end) = (begin_marker(key), end_marker(key));
        let whole = format!("{begin}\n{}\n{end}", block.trim_end_matches('\n'));
        match (self.text.find(&begin), self.text.find(&end)) {
            (Some(from), Some(to)) if from < to => {
                let whole = self.line_endings(&whole);
                let text = format!("{}{whole}{}", &self.text[..from], &self.text[to + end.len()..]);
                Ok(Document::parse(text))
            }
            (Some(at), _) => Err(self.half_marker(at, begin)),
            (None, Some(at)) => Err(self.half_marker(at, end)),
            (None, None) => {
                let entry = match session {
                    Some(number) => self.session(number).ok_or(Unspliceable::NoSuchSession(number))?,
                    None => self.newest().ok_or(Unspliceable::Empty)?,
                };
                Ok(self.inserted(entry.range.end, &whole))
            }
        }
    }

    fn half_marker(&self, at: usize, marker: String) -> Unspliceable {
        Unspliceable::HalfMarker { line: self.text[..at].matches('\n').count() + 1, marker }
    }

    /// With `part` at a line's start, an empty line before and after it.
    fn inserted(&self, at: usize, part: &str) -> Document {
        let (before, after) = self.text.split_at(at);
        let lines_before = before.len() - before.trim_end_matches(['\n', '\r']).len();
        let feeds = before[before.len() - lines_before..].matches('\n').count();
        let gap = if before.is_empty() { 0 } else { 2usize.saturating_sub(feeds) };
        let mut added = format!("{}{}\n", "\n".repeat(gap), part.trim_end_matches('\n'));
        if !after.is_empty() && !after.starts_with(['\n', '\r']) {
            added.push('\n');
        }
        Document::parse(format!("{before}{}{after}", self.line_endings(&added)))
    }

    /// `added` with the line endings that the log has.
    fn line_endings(&self, added: &str) -> String {
        if self.text.contains("\r\n") { added.replace('\n', "\r\n") } else { added.to_string() }
    }
}

pub(super) fn begin_marker(key: &str) -> String {
    format!("<!-- wireprof:begin {key} -->")
}

pub(super) fn end_marker(key: &str) -> String {
    format!("<!-- wireprof:end {key} -->")
}

/// Entries run from their heading to the next heading of a session, or of the same or a higher rank.
fn find_entries(text: &str) -> Vec<Entry> {
    let (mut entries, mut open, mut at): (Vec<Entry>, Option<Entry>, usize) = (Vec::new(), None, 0);
    let mut fence: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if fenced(line, &mut fence) {
            continue;
        }
        let Some(rank) = heading_rank(line) else { continue };
        let session = session_heading(line, rank);
        if let Some(mut entry) = open.take_if(|e| session.is_some() || rank <= e.level) {
            entry.range.end = start;
            entries.push(entry);
        }
        if let Some((number, title)) = session {
            open = Some(Entry { number, title, level: rank, range: start..text.len() });
        }
    }
    entries.extend(open);
    entries
}

/// Whether the line belongs to a fenced block, in which `#` is not a heading.
fn fenced<'a>(line: &'a str, fence: &mut Option<&'a str>) -> bool {
    let trimmed = line.trim_start();
    let mark = ["```", "~~~"].into_iter().find(|m| trimmed.starts_with(m));
    match (*fence, mark) {
        (None, Some(mark)) => *fence = Some(mark),
        (Some(open), Some(mark)) if open == mark => *fence = None,
        (None, None) => return false,
        _ => {}
    }
    true
}

fn heading_rank(line: &str) -> Option<usize> {
    let rank = line.bytes().take_while(|b| *b == b'#').count();
    (1..=6).contains(&rank).then_some(())?;
    line[rank..].starts_with([' ', '\t']).then_some(rank)
}

/// Number and title of `## Session 48: title`.
fn session_heading(line: &str, rank: usize) -> Option<(u64, String)> {
    (2..=3).contains(&rank).then_some(())?;
    let rest = line[rank..].trim().strip_prefix("Session ")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let title = rest[digits..].trim_start_matches([':', ' ', '-', '.']).trim();
    Some((rest[..digits].parse().ok()?, title.to_string()))
}
