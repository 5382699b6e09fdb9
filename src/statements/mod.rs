//! Statement statistics of a database, as differences between the window's two ends. Invariant: each mean keeps
//! its own count, and a statement that vanished (evicted, reset) is said to have.

use crate::clock::Span;
use serde::{Deserialize, Serialize};

/// One statement's difference over the window. Times in ns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementDelta {
    pub query: String,
    pub calls: u64,
    pub rows: u64,
    /// Sum of the execution times inside the window; what it leaves out is the source's to say.
    pub exec: u64,
    /// Sum of the planning times; `None` where planning is not tracked.
    pub plan: Option<u64>,
    /// First seen in this window.
    pub new: bool,
}

/// `statements.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementsDelta {
    /// `pg_stat_statements 1.10 at postgres://host:port/db`, without password.
    pub source: String,
    pub before: Span,
    pub after: Span,
    pub statements: Vec<StatementDelta>,
    /// Statements of the first reading that the second lacks, or whose counters went down.
    pub vanished: usize,
}
