//! Whether a log can be trusted: its generated parts against the copies beside it and against the stored runs,
//! what people wrote by its own arithmetic, its numbers of sessions, its baselines, its links.
//! Invariant: nothing is written; what cannot be held against anything is counted as such and is neither right nor
//! wrong.
//!
//! A generated part must equal its copy byte for byte (line breaks apart). Where its run is stored it is made again:
//! by the same version it must be the same bytes; by another it is compared by value, row by row and heading by
//! heading, and a difference is then a change of wireprof and not of the log, as long as the copy agrees.

mod arithmetic;
mod compare;
mod finding;
mod links;
mod numbers;
mod words;

pub use arithmetic::Rule;
pub use finding::{Finding, Kind, Source};

use super::block::{Block, Made};
use super::changes::{DIFFERENCE, changes};
use super::document::{Document, Entry};
use super::kept::kept;
use super::results::{RESULTS, results};
use crate::run::{Parts, Store};
use compare::{Difference, by_value, exact};
use std::collections::BTreeMap;
use std::path::Path;

/// What was checked and what was found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// In the order of the lines.
    pub findings: Vec<Finding>,
    /// Number of entries that were checked.
    pub entries: usize,
    /// Generated parts.
    pub blocks: usize,
    /// Those that were held against their copies.
    pub by_copy: usize,
    /// Those that were made again from their runs.
    pub by_run: usize,
    /// Relations between figures that people wrote, and that hold.
    pub held: usize,
}

impl Checked {
    /// Findings that must be mended.
    pub fn wrong(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_wrong())
    }
}

/// Checks the entries from session `from` on; `path` is the log's own.
pub fn check(path: &Path, log: &Document, store: &Store, from: Option<u64>) -> Checked {
    let mut checked = Checked::default();
    for block in log.blocks() {
        of_block(path, log, block, store, &mut checked);
    }
    let half = log.half_markers().iter().map(|half| Finding {
        line: half.line,
        column: None,
        session: None,
        kind: Kind::HalfMarker { marker: half.marker.clone() },
    });
    checked.findings.extend(half);
    if log.entries().is_empty() {
        checked.findings.push(Finding { line: 1, column: None, session: None, kind: Kind::NoEntry });
    }
    checked.findings.extend(sessions(log));
    checked.findings.extend(words::check(log));
    figures(log, &mut checked);
    checked.findings.extend(links::check(log, path.parent().unwrap_or(Path::new(""))));
    let wanted = |session: Option<u64>| from.is_none_or(|from| session.is_none_or(|session| session >= from));
    checked.findings.retain(|finding| wanted(finding.session));
    checked.findings.sort_by_key(|finding| (finding.line, finding.column));
    checked.entries = log.entries().iter().filter(|entry| wanted(Some(entry.number))).count();
    checked.blocks = log.blocks().len();
    checked
}

fn of_block(path: &Path, log: &Document, block: &Block, store: &Store, checked: &mut Checked) {
    let stands = &log.text()[block.inside.clone()];
    let (copy, run) = (kept(path, block), again(block, store));
    checked.by_copy += usize::from(copy.is_ok());
    checked.by_run += usize::from(run.is_ok());
    let current = block.made.as_ref().is_some_and(Made::is_current);
    let edits = copy.as_ref().map(|copy| exact(stands, copy)).unwrap_or_default();
    let mut kinds: Vec<(Difference, Kind)> =
        edits.iter().map(|edit| (edit.clone(), edited(edit, Source::Copy))).collect();
    // What the copy already shows to be an edit is told once.
    let differs = run.as_ref().map(|run| if current { exact(stands, run) } else { by_value(stands, run).differences });
    let new = differs.unwrap_or_default().into_iter().filter(|one| !edits.iter().any(|edit| edit.line == one.line));
    kinds.extend(new.map(|one| {
        let kind = if current || copy.is_err() { edited(&one, Source::Run) } else { recomputed(&one, block) };
        (one, kind)
    }));
    let session = log.entry_at(block.whole.start).map(|entry| entry.number);
    let first = log.line_at(block.inside.start);
    checked.findings.extend(kinds.into_iter().map(|(place, kind)| Finding {
        line: first + place.line,
        column: Some(place.column),
        session,
        kind,
    }));
    let alone = match (&copy, &run) {
        (Ok(_), _) => None,
        (Err(no_copy), Err(no_run)) => Some((numbers::numbers(stands).len(), format!("{no_run}, and {no_copy}"))),
        (Err(_), Ok(_)) if current => None,
        (Err(no_copy), Ok(run)) => {
            let alone = by_value(stands, run).alone;
            (alone > 0).then(|| (alone, format!("another wireprof wrote them elsewhere, and {no_copy}")))
        }
    };
    if let Some((numbers, why)) = alone {
        let kind = Kind::Unchecked { block: block.key.clone(), numbers, why };
        checked.findings.push(Finding { line: block.line, column: None, session, kind });
    }
}

fn edited(place: &Difference, source: Source) -> Kind {
    let Difference { what, stands, expected, .. } = place.clone();
    Kind::Edited { place: what, stands, expected, source }
}

fn recomputed(place: &Difference, block: &Block) -> Kind {
    let written_by = match &block.made {
        Some(made) => format!("wireprof {}, form {}", made.wireprof, made.form),
        None => "an earlier wireprof".into(),
    };
    let Difference { what, stands, expected, .. } = place.clone();
    Kind::Recomputed { place: what, stands, expected, written_by }
}

/// The block made again from its runs; why it cannot be.
fn again(block: &Block, store: &Store) -> Result<String, String> {
    let load = |id: &str| {
        if !store.holds(id) {
            return Err(format!("the run {id} is not stored here"));
        }
        store.load_parts(id, Parts::ALL).map_err(|error| format!("the run {id}: {error:#}"))
    };
    let made = block.made.clone().unwrap_or_else(Made::now);
    let generated = match (block.kind(), block.runs().as_slice()) {
        (RESULTS, [id]) => results(&load(id)?, &made).map_err(|error| format!("{error:#}"))?,
        (DIFFERENCE, [before, after]) => changes(&load(before)?, &load(after)?, &made),
        (kind, _) => return Err(format!("{kind} are not made again")),
    };
    Ok(generated.inside())
}

/// What people's own figures say together.
fn figures(log: &Document, checked: &mut Checked) {
    let told = arithmetic::check(log);
    checked.held = told.held();
    let finding = |at: usize, kind| Finding {
        line: log.line_at(at),
        column: Some(log.column_at(at)),
        session: log.entry_at(at).map(|entry| entry.number),
        kind,
    };
    checked.findings.extend(told.contradictions().map(|(at, found)| {
        let arithmetic::Contradiction { rule, stands, right, why } = found.clone();
        finding(at, Kind::Contradiction { rule, stands, right, why })
    }));
    checked.findings.extend(told.unknowns().map(|(at, stands, why)| {
        finding(at, Kind::NotUnderstood { stands: stands.to_string(), why: why.to_string() })
    }));
}

/// Numbers used twice, and gaps between the lowest and the highest.
fn sessions(log: &Document) -> Vec<Finding> {
    let mut first: BTreeMap<u64, &Entry> = BTreeMap::new();
    let mut found = Vec::new();
    let at = |entry: &Entry, kind| Finding {
        line: log.line_at(entry.range.start),
        column: None,
        session: Some(entry.number),
        kind,
    };
    for entry in log.entries() {
        match first.get(&entry.number) {
            Some(earlier) => {
                let first = log.line_at(earlier.range.start);
                found.push(at(entry, Kind::Twice { number: entry.number, first }));
            }
            None => _ = first.insert(entry.number, entry),
        }
    }
    let entries: Vec<&Entry> = first.into_values().collect();
    for pair in entries.windows(2).filter(|pair| pair[1].number > pair[0].number + 1) {
        found.push(at(pair[1], Kind::Absent { from: pair[0].number + 1, to: pair[1].number - 1 }));
    }
    found
}
