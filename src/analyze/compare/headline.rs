//! What a comparison comes to: a line a level, those that are decided first, and what changed most at each.
//! Invariant: a level is decided only where its throughput or its latency is.

use super::difference::{Basis, Difference, LevelDifference, Row, Subject, Verdict};
use crate::wire::Place;
use serde::Serialize;

/// A comparison in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Headline {
    /// Id of the first run.
    pub before: String,
    /// Id of the second run.
    pub after: String,
    /// Levels that both runs have, the decided ones first.
    pub levels: Vec<LevelHeadline>,
    /// In what the runs differ besides what was measured.
    pub unlike: Vec<String>,
    /// What a reader must know of the comparison as a whole.
    pub notes: Vec<String>,
}

/// One level in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelHeadline {
    /// Number of clients.
    pub level: usize,
    /// Number of windows of each side (before, after).
    pub windows: (usize, usize),
    /// What it comes to.
    pub is: Outcome,
    /// What the intervals rest on; `None`: there is none.
    pub basis: Option<Basis>,
    /// Queries a second; `None`: not measured on both sides.
    pub throughput: Option<Row>,
    /// The mean latency; `None`: not measured on both sides.
    pub latency: Option<Row>,
    /// The place or resource that differs most, in ns a query.
    pub most: Option<Row>,
    /// The function that differs most, with what it calls: its name, and ns of CPU a query more.
    pub function: Option<(String, f64)>,
    /// Number of figures that differ, of those that were compared.
    pub differing: (usize, usize),
    /// Number of windows in which a check did not pass.
    pub marked: usize,
}

/// What a level comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Slower after: throughput or latency is worse, and neither better.
    Slower,
    /// Faster after.
    Faster,
    /// One of the two is better and the other worse.
    Mixed,
    /// Both are the same within the margin.
    Same,
    /// Neither a difference nor its absence was shown.
    Undecided,
}

/// A comparison in short.
pub fn headline(difference: &Difference) -> Headline {
    let mut levels: Vec<LevelHeadline> = difference.levels.iter().map(of_level).collect();
    levels.sort_by_key(|level| match level.is {
        Outcome::Slower | Outcome::Faster | Outcome::Mixed => 0,
        Outcome::Same => 1,
        Outcome::Undecided => 2,
    });
    Headline {
        before: difference.before.clone(),
        after: difference.after.clone(),
        levels,
        unlike: difference.unlike.iter().map(|unlike| unlike.what.clone()).collect(),
        notes: difference.notes.clone(),
    }
}

fn of_level(level: &LevelDifference) -> LevelHeadline {
    let measured = |row: &&Row| row.before.is_some() && row.after.is_some();
    let row = |subject: Subject| level.rows.iter().find(|row| row.subject == subject).filter(measured).cloned();
    let (throughput, latency) = (row(Subject::Throughput), row(Subject::MeanLatency));
    let main: Vec<Verdict> = throughput.iter().chain(&latency).map(|row| row.verdict).collect();
    let compared = level.rows.iter().filter(|row| row.basis.is_some());
    let size = |row: &&&Row| row.difference.map_or(0.0, f64::abs);
    let most = level.rows.iter().filter(|row| row.verdict.differs() && is_part(&row.subject));
    let most = most.collect::<Vec<_>>().iter().max_by(|a, b| size(a).total_cmp(&size(b))).map(|row| (**row).clone());
    LevelHeadline {
        level: level.level,
        windows: level.windows,
        is: outcome(&main),
        basis: throughput.as_ref().or(latency.as_ref()).and_then(|row| row.basis),
        most,
        function: function(level),
        differing: (level.rows.iter().filter(|row| row.verdict.differs()).count(), compared.count()),
        marked: level.marked.len(),
        throughput,
        latency,
    }
}

/// Parts of the latency, or of what a query costs: in ns a query, so that their sizes compare.
fn is_part(subject: &Subject) -> bool {
    match subject {
        Subject::Place { of_load, place, .. } => *of_load && *place != Place::Client,
        Subject::Cpu | Subject::Runnable | Subject::Demand { .. } => true,
        _ => false,
    }
}

fn outcome(verdicts: &[Verdict]) -> Outcome {
    let any = |wanted: Verdict| verdicts.contains(&wanted);
    match (any(Verdict::Slower), any(Verdict::Faster)) {
        (true, true) => Outcome::Mixed,
        (true, false) => Outcome::Slower,
        (false, true) => Outcome::Faster,
        _ if !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict == Verdict::Same) => Outcome::Same,
        _ => Outcome::Undecided,
    }
}

/// Of the functions that differ the one that differs most: of the program with what they call, where that is known.
fn function(level: &LevelDifference) -> Option<(String, f64)> {
    let table = level.owners.as_ref().or(level.frames.as_ref()).filter(|table| table.unit == "nanoseconds")?;
    let differing = table.rows.iter().filter(|row| row.verdict.is_some_and(Verdict::differs));
    let most = differing.max_by(|a, b| a.difference.abs().total_cmp(&b.difference.abs()))?;
    Some((most.frame.name.clone(), most.difference))
}
