//! What people wrote around the generated parts: figures and baselines. Invariant: a figure counts as derived where a
//! generated part of the log has it, rounded or not; an entry without any run is told once, and not judged.

use super::finding::{Finding, Kind};
use super::numbers::{Derived, Number, numbers};
use crate::perflog::document::{Document, Entry, lines};
use std::ops::Range;

/// Findings in all entries' own words, and in what stands before the first entry.
pub fn check(log: &Document) -> Vec<Finding> {
    let derived = log.blocks().iter().flat_map(|block| numbers(&log.text()[block.inside.clone()]));
    let derived = Derived::of(derived);
    log.entries().iter().flat_map(|entry| of_entry(log, entry, &derived)).collect()
}

/// Whether the entry has a run.
fn measured(log: &Document, entry: &Entry) -> bool {
    log.block_within(&entry.range).is_some()
}

/// A line of somebody's own.
struct Own<'a> {
    line: usize,
    text: &'a str,
    /// Says so itself, or stands in a table whose heading does.
    baseline: bool,
}

fn of_entry(log: &Document, entry: &Entry, derived: &Derived) -> Vec<Finding> {
    let own = own_lines(log, &entry.range);
    if !measured(log, entry) {
        return by_hand(entry, &own);
    }
    let mut found = Vec::new();
    for line in &own {
        let place = |at: usize, kind| Finding {
            line: line.line,
            column: Some(line.text[..at].chars().count() + 1),
            session: Some(entry.number),
            kind,
        };
        for figure in figures(line) {
            if !derived.has(&figure) {
                let text = figure.text.clone();
                let kind =
                    if line.baseline { Kind::Baseline { figure: text } } else { Kind::Underived { figure: text } };
                found.push(place(figure.at, kind));
            }
        }
        for (at, number) in sessions_named(line.text).into_iter().filter(|_| line.baseline) {
            let exists = log.session(number).is_some();
            if !log.entries().iter().any(|entry| entry.number == number && measured(log, entry)) {
                found.push(place(at, Kind::BaselineSession { number, exists }));
            }
        }
    }
    found
}

fn by_hand(entry: &Entry, own: &[Own]) -> Vec<Finding> {
    let count = |lines: &mut dyn Iterator<Item = &Own>| lines.map(|line| figures(line).len()).sum::<usize>();
    let (all, baselines) = (count(&mut own.iter()), count(&mut own.iter().filter(|line| line.baseline)));
    let kind = Kind::ByHand { numbers: all, baselines };
    let line = own.first().map_or(1, |line| line.line);
    let finding = Finding { line, column: None, session: Some(entry.number), kind };
    (all > 0).then_some(finding).into_iter().collect()
}

/// Measured figures: those with a unit; in a table row, whose units stand above, all but the first cell's.
fn figures(line: &Own) -> Vec<Number> {
    let second_cell =
        line.text.trim_start().strip_prefix('|').and_then(|rest| Some(line.text.len() - rest.len() + rest.find('|')?));
    let figures = numbers(line.text).into_iter();
    figures.filter(|number| number.unit.is_some() || second_cell.is_some_and(|second| number.at > second)).collect()
}

/// Lines outside of generated parts, code and headings.
fn own_lines<'a>(log: &'a Document, range: &Range<usize>) -> Vec<Own<'a>> {
    let (markdown, mut own) = (log.markdown(), Vec::new());
    let first = log.line_at(range.start);
    let mut heading: Option<bool> = None;
    for (number, place) in lines(&log.text()[range.clone()]) {
        let at = range.start + place.start;
        let text = log.text()[at..range.start + place.end].trim_end_matches(['\n', '\r']);
        if log.is_generated(at) || markdown.is_code(at) || markdown.is_heading(at) {
            continue;
        }
        let says = text.to_lowercase().contains("baseline");
        heading = text.trim_start().starts_with('|').then(|| heading.unwrap_or(says));
        own.push(Own { line: first + number - 1, text, baseline: says || heading == Some(true) });
    }
    own
}

/// `session 48`, wherever it stands.
fn sessions_named(line: &str) -> Vec<(usize, u64)> {
    let lower = line.to_ascii_lowercase();
    let named = lower.match_indices("session ").filter_map(|(at, word)| {
        let rest = &lower[at + word.len()..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        Some((at, rest[..digits].parse().ok()?))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_must_have_been_measured_and_other_figures_are_told() {
        let text = "## Session 1: by hand\n\nWe got 17,000 q/s against a baseline of 18,205 q/s.\n\n\
                    ## Session 2: measured\n\n<!-- wireprof:begin R results -->\n| 64 | 74,444 |\n<!-- wireprof:end R \
                    results -->\n\n\
                    Of 64 clients: 74.4k q/s, 80,000 q/s later.\nBaseline (session 1): 18,205 q/s; session 9; session \
                    2.\n\n\
                    | build | baseline | after |\n|---|---|---|\n| opt 3 | 74,444 | 99 |\n";
        let found: Vec<_> =
            check(&Document::parse(text.into())).into_iter().map(|f| (f.line, f.column, f.kind)).collect();
        let figure = |text: &str| text.to_string();
        assert_eq!(
            found,
            [
                (1 + 1, None, Kind::ByHand { numbers: 2, baselines: 2 }),
                (11, Some(27), Kind::Underived { figure: figure("80,000 q/s") }),
                (12, Some(23), Kind::Baseline { figure: figure("18,205 q/s") }),
                (12, Some(11), Kind::BaselineSession { number: 1, exists: true }),
                (12, Some(35), Kind::BaselineSession { number: 9, exists: false }),
                (16, Some(20), Kind::Baseline { figure: figure("99") }),
            ]
        );
    }
}
