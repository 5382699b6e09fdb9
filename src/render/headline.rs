//! A comparison's headline as text: which levels got faster or slower, by how much, and through what. Invariant: as of
//! an answer: at most so many lines, none wider than asked for.

use super::answer::Framing;
use super::because::name;
use super::difference::subject_words;
use super::paragraph::{LABELS, commands, paragraph};
use crate::analyze::compare::difference::{Basis, Row};
use crate::analyze::compare::headline::{Headline, LevelHeadline, Outcome};
use crate::profile::middle;
use crate::words::{counted, list, thousands, time};

/// Levels at most; the others are counted.
const LEVELS: usize = 8;
/// Levels of which it is told what changed.
const TOLD: usize = 3;

/// The lines of a headline; `end`: how the comparison ended, where it has an end.
pub fn headline_lines(headline: &Headline, end: Option<&str>, framing: &Framing) -> Vec<String> {
    let width = framing.width.max(60);
    let title = format!("{} (before) against {} (after)", headline.before, headline.after);
    let mut lines = vec![middle(&title, width), String::new()];
    lines.extend(table(headline, width));
    let differing = headline.levels.iter().filter(|level| level.most.is_some() || level.function.is_some());
    for (at, level) in differing.take(TOLD).enumerate() {
        lines.extend(paragraph(if at == 0 { "Changed" } else { "" }, &changed(level), width, 2));
    }
    lines.extend(beware(headline, width));
    lines.extend(end.iter().flat_map(|end| paragraph("Ended", end, width, 4)));
    lines.extend(commands(&framing.next, width));
    lines
}

fn table(headline: &Headline, width: usize) -> Vec<String> {
    if headline.levels.is_empty() {
        return vec!["The runs have no level in common: nothing was compared.".into()];
    }
    let fits = |rows: &[String]| rows.iter().all(|row| row.chars().count() <= width);
    let mut lines = Some(rows(headline, true)).filter(|lines| fits(lines)).unwrap_or_else(|| rows(headline, false));
    lines.iter_mut().for_each(|line| *line = middle(line, width));
    if headline.levels.len() > LEVELS {
        lines.push(format!("and {}", counted((headline.levels.len() - LEVELS) as u64, "more level")));
    }
    lines
}

/// The table's lines, with the values before the change or without.
fn rows(headline: &Headline, whole: bool) -> Vec<String> {
    let rows = cells(headline, whole);
    let widths: [usize; 4] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; 4]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| match at {
            0 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

/// The table's cells, its head first.
pub(super) fn cells(headline: &Headline, whole: bool) -> Vec<[String; 4]> {
    let mut rows = vec![["clients", "after is", "queries/s", "mean latency"].map(String::from)];
    rows.extend(headline.levels.iter().take(LEVELS).map(|level| {
        let rate = |value: f64| thousands(&format!("{value:.0}"));
        [
            level.level.to_string(),
            words(level.is).into(),
            level.throughput.as_ref().map_or("not measured".into(), |row| change(row, whole, rate)),
            level.latency.as_ref().map_or("not measured".into(), |row| change(row, whole, time)),
        ]
    }));
    rows
}

fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Slower => "slower",
        Outcome::Faster => "faster",
        Outcome::Mixed => "both",
        Outcome::Same => "the same",
        Outcome::Undecided => "undecided",
    }
}

/// `6,202 -> 5,450 -12.1 ±2.0 %`; without the value before where there is no room.
fn change(row: &Row, whole: bool, shown: impl Fn(f64) -> String) -> String {
    let (Some(before), Some(after)) = (row.before, row.after) else { return "not measured".into() };
    let percent = row.ratio.map_or(String::new(), |ratio| {
        let half = row
            .ratio_interval
            .map_or(String::new(), |(low, high)| format!(" ±{:.1}", 100.0 * (high - ratio).max(ratio - low)));
        format!(" {:+.1}{half} %", 100.0 * (ratio - 1.0))
    });
    match whole {
        true => format!("{} -> {}{percent}", shown(before), shown(after)),
        false => format!("{}{percent}", shown(after)),
    }
}

/// Through what a level differs.
pub(super) fn changed(level: &LevelHeadline) -> String {
    let signed = |nanos: f64| format!("{}{}", if nanos < 0.0 { "-" } else { "+" }, time(nanos.abs()));
    let mut parts = Vec::new();
    if let Some((row, nanos)) = level.most.as_ref().and_then(|row| Some((row, row.difference?))) {
        parts.push(format!("{} {} a query", subject_words(&row.subject), signed(nanos)));
    }
    if let Some((function, nanos)) = &level.function {
        parts.push(format!("{} {} of CPU per query", name(function), signed(*nanos)));
    }
    format!("At {}: {}.", counted(level.level as u64, "client"), list(&parts))
}

/// What the comparison rests on, and what not to believe.
fn beware(headline: &Headline, width: usize) -> Vec<String> {
    let mut lines = paragraph("By", &decided_by(headline), width, 2);
    lines.extend(
        doubts(headline, "--section levels names them").iter().flat_map(|text| paragraph("Beware", text, width, 4)),
    );
    lines
}

/// What not to believe of a comparison; `None`: nothing is known against it. `names`: what names the checks.
pub(super) fn doubts(headline: &Headline, names: &str) -> Option<String> {
    let marked: usize = headline.levels.iter().map(|level| level.marked).sum();
    let mut said = Vec::new();
    if !headline.unlike.is_empty() {
        said.push(format!("the runs also differ in: {}", list(&headline.unlike)));
    }
    if marked > 0 {
        said.push(format!("{} did not hold: {names}", counted(marked as u64, "check")));
    }
    said.extend(of_both(headline));
    (!said.is_empty()).then(|| format!("{}.", said.join("; ")))
}

/// The comparison's remarks, each by its first sentence; one that holds for both runs is said once.
fn of_both(headline: &Headline) -> Vec<String> {
    let mut said: Vec<(String, String)> = Vec::new();
    for note in &headline.notes {
        let first = note.split(". ").next().unwrap_or(note).trim_end_matches('.');
        let nameless = first.replace(&headline.before, "each run").replace(&headline.after, "each run");
        match said.iter_mut().find(|(known, _)| *known == nameless) {
            Some((known, shown)) => *shown = known.clone(),
            None => said.push((nameless, first.to_string())),
        }
    }
    said.into_iter().map(|(_, shown)| shown).collect()
}

pub(super) fn decided_by(headline: &Headline) -> String {
    let by = |basis: Option<Basis>| {
        let levels = headline.levels.iter().filter(|level| level.basis == basis);
        levels.map(|level| level.level.to_string()).collect::<Vec<_>>()
    };
    let windows = headline.levels.iter().map(|level| level.windows.0 + level.windows.1).sum::<usize>();
    let told = [
        (Some(Basis::Windows), "the scatter between windows"),
        (
            Some(Basis::Slices),
            "the scatter within windows alone (how much two starts of the server differ was not measured)",
        ),
        (None, "no interval: it takes two windows a side"),
    ];
    let told = told.into_iter().map(|(basis, words)| (by(basis), words)).filter(|(levels, _)| !levels.is_empty());
    let told: Vec<(Vec<String>, &str)> = told.collect();
    match told.as_slice() {
        [(_, words)] => format!("{words}, of {}.", counted(windows as u64, "window")),
        _ => {
            let parts: Vec<String> =
                told.iter().map(|(levels, words)| format!("at {} {words}", list(levels))).collect();
            format!("{}.", parts.join("; "))
        }
    }
}

const _: () = assert!(LABELS > 8, "the longest label and a blank");
