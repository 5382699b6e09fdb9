//! What a check of a log finds. Invariant: each finding has its line and says what to do; what is merely unknown is
//! never counted as wrong.

use super::arithmetic::Rule;
use serde::Serialize;
use std::fmt;

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// From 1.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: Option<usize>,
    /// The entry in which it is.
    pub session: Option<u64>,
    /// What was found.
    pub kind: Kind,
}

/// What was found, with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Kind {
    /// A generated part is not what was written there.
    Edited {
        /// Header of the table's column, and its row; `None` outside tables.
        place: Option<String>,
        /// What the log has; empty: nothing.
        stands: String,
        /// What was written there; empty: nothing.
        expected: String,
        /// What the log was held against.
        source: Source,
    },
    /// The entry stands as it was written, but this wireprof computes something else from the run.
    Recomputed {
        /// Header of the table's column, and its row; `None` outside tables.
        place: Option<String>,
        /// What the log has; empty: nothing.
        stands: String,
        /// What this wireprof computes; empty: nothing.
        expected: String,
        /// Version of wireprof that wrote it, and its form.
        written_by: String,
    },
    /// Nothing is there to hold a generated part against.
    Unchecked {
        /// Key of the block: run ids, then the kind.
        block: String,
        /// How many numbers could not be checked.
        numbers: usize,
        /// Why nothing is there, in words.
        why: String,
    },
    /// A marker of a generated part without its counterpart.
    HalfMarker {
        /// The marker as it stands in the log.
        marker: String,
    },
    /// The log has no entry, so nothing in it was checked.
    NoEntry,
    /// A session's number stands above two entries.
    Twice {
        /// The number of the session.
        number: u64,
        /// Line of the first entry that has it, from 1.
        first: usize,
    },
    /// No entry has the numbers from `from` to `to`.
    Absent {
        /// The lowest number that is missing.
        from: u64,
        /// The highest number that is missing.
        to: u64,
    },
    /// A figure called baseline that no generated part of the log has.
    Baseline {
        /// The figure as it is written.
        figure: String,
    },
    /// A session called baseline that has no run, or that the log does not have.
    BaselineSession {
        /// The number of the session.
        number: u64,
        /// Whether the log has an entry of this number (which then has no run).
        exists: bool,
    },
    /// Figures of an entry that has no run.
    ByHand {
        /// How many figures the entry has.
        numbers: usize,
        /// How many of them stand in lines on a baseline.
        baselines: usize,
    },
    /// A figure in somebody's words that no generated part has.
    Underived {
        /// The figure as it is written.
        figure: String,
    },
    /// Figures that cannot be true together.
    Contradiction {
        /// The kind of contradiction.
        rule: Rule,
        /// What is written.
        stands: String,
        /// What would be right.
        right: String,
        /// Why, with the figures that it follows from.
        why: String,
    },
    /// A change, or what it is of, that is not understood.
    NotUnderstood {
        /// What is written.
        stands: String,
        /// Why it cannot be held against anything.
        why: String,
    },
    /// A link that leads nowhere.
    DeadLink {
        /// The link's target as it is written.
        target: String,
        /// Why it leads nowhere, in words.
        why: String,
    },
}

/// What a generated part was held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The copy beside the log.
    Copy,
    /// The stored run.
    Run,
}

impl Kind {
    /// Whether something must be mended; otherwise it could only not be checked.
    pub fn is_wrong(&self) -> bool {
        !matches!(
            self,
            Kind::Recomputed { .. }
                | Kind::Unchecked { .. }
                | Kind::ByHand { .. }
                | Kind::Underived { .. }
                | Kind::NotUnderstood { .. }
        )
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Kind::Edited { .. } => "put back what was written; what a person has to say stands outside the markers",
            Kind::Recomputed { .. } => "nothing, or a new entry by this wireprof",
            Kind::Unchecked { .. } => "name the directory that has the run with --runs",
            Kind::HalfMarker { .. } => "put its counterpart back, or take it out",
            Kind::NoEntry => "write the headings of entries as `## Session N: title` (or with ###)",
            Kind::Twice { .. } => "give one of them a number of its own",
            Kind::Absent { .. } => "put the entry back, or number on without a gap",
            Kind::Baseline { .. } => "measure the baseline, and `wireprof log new` it",
            Kind::BaselineSession { exists: true, .. } => "measure it again: `wireprof log new`",
            Kind::BaselineSession { exists: false, .. } => "name a session that the log has",
            Kind::ByHand { .. } => "none: `wireprof log new` makes entries that can be checked",
            Kind::Underived { .. } => "compare it with the tables, or say where it is from",
            Kind::Contradiction { .. } => "mend the figure that is wrong, this one or one that it follows from",
            Kind::NotUnderstood { .. } => {
                "none; a header that says what it is of (before, after, q/s, us) is understood"
            }
            Kind::DeadLink { .. } => "put the file back (`wireprof log attach`), or take the link out",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let at = |place: &Option<String>| place.as_ref().map_or(String::new(), |place| format!("{place}: "));
        let quoted = |text: &str| if text.is_empty() { "nothing".into() } else { format!("`{text}`") };
        match self {
            Kind::Edited { place, stands, expected, source } => {
                let source = match source {
                    Source::Copy => "the copy kept beside the log has",
                    Source::Run => "the run gives",
                };
                write!(f, "{}{} stands there, {source} {}", at(place), quoted(stands), quoted(expected))
            }
            Kind::Recomputed { place, stands, expected, written_by } => {
                let (stands, expected) = (quoted(stands), quoted(expected));
                write!(f, "{}{stands} was written by {written_by}, this one computes {expected}", at(place))
            }
            Kind::Unchecked { block, numbers, why } => {
                write!(f, "{numbers} numbers of {block} cannot be checked: {why}")
            }
            Kind::HalfMarker { marker } => write!(f, "{marker} has no counterpart"),
            Kind::NoEntry => write!(f, "no heading of this log is that of an entry"),
            Kind::Twice { number, first } => write!(f, "session {number} is already the entry in line {first}"),
            Kind::Absent { from, to } if from == to => write!(f, "no entry is session {from}"),
            Kind::Absent { from, to } => write!(f, "no entries are sessions {from} to {to}"),
            Kind::Baseline { figure } => write!(f, "{figure} is called a baseline, and no run of this log has it"),
            Kind::BaselineSession { number, exists: true } => {
                write!(f, "session {number} is called the baseline, and it has no run")
            }
            Kind::BaselineSession { number, exists: false } => {
                write!(f, "session {number} is called the baseline, and there is no such entry")
            }
            Kind::ByHand { numbers, baselines: 0 } => {
                write!(f, "{numbers} numbers of an entry without a run cannot be held against one")
            }
            Kind::ByHand { numbers, baselines } => write!(
                f,
                "{numbers} numbers of an entry without a run cannot be held against one, {baselines} of them in lines \
                 on a baseline"
            ),
            Kind::Underived { figure } => write!(f, "{figure} is in no generated part of this log"),
            Kind::Contradiction { stands, right, why, .. } => write!(f, "{stands}: {right} would be right; {why}"),
            Kind::NotUnderstood { stands, why } => write!(f, "{stands} is not checked: {why}"),
            Kind::DeadLink { target, why } => write!(f, "the link {target} leads nowhere: {why}"),
        }
    }
}
