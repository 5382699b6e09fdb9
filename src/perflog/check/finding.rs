//! What a check of a log finds. Invariant: each finding has its line and says what to do; what is merely unknown is
//! never counted as wrong.

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
    pub kind: Kind,
}

/// What was found, with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Kind {
    /// A generated part is not what was written there.
    Edited {
        place: Option<String>,
        stands: String,
        expected: String,
        source: Source,
    },
    /// The entry stands as it was written, but this wireprof computes something else from the run.
    Recomputed {
        place: Option<String>,
        stands: String,
        expected: String,
        written_by: String,
    },
    /// Nothing is there to hold a generated part against.
    Unchecked {
        block: String,
        numbers: usize,
        why: String,
    },
    HalfMarker {
        marker: String,
    },
    /// The log has no entry, so nothing in it was checked.
    NoEntry,
    /// A session's number stands above two entries.
    Twice {
        number: u64,
        first: usize,
    },
    /// No entry has the numbers from `from` to `to`.
    Absent {
        from: u64,
        to: u64,
    },
    /// A figure called baseline that no generated part of the log has.
    Baseline {
        figure: String,
    },
    /// A session called baseline that has no run, or that the log does not have.
    BaselineSession {
        number: u64,
        exists: bool,
    },
    /// Figures of an entry that has no run.
    ByHand {
        numbers: usize,
        baselines: usize,
    },
    /// A figure in somebody's words that no generated part has.
    Underived {
        figure: String,
    },
    DeadLink {
        target: String,
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
        !matches!(self, Kind::Recomputed { .. } | Kind::Unchecked { .. } | Kind::ByHand { .. } | Kind::Underived { .. })
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
                write!(f, "{numbers} numbers of an entry without a run cannot be checked")
            }
            Kind::ByHand { numbers, baselines } => write!(
                f,
                "{numbers} numbers of an entry without a run cannot be checked, {baselines} of them in lines on a \
                    baseline"
            ),
            Kind::Underived { figure } => write!(f, "{figure} is in no generated part of this log"),
            Kind::DeadLink { target, why } => write!(f, "the link {target} leads nowhere: {why}"),
        }
    }
}
