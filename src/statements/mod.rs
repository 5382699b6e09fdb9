//! Statement statistics of a database, as differences between the window's two ends. Invariant: each mean keeps
//! its own count, and a statement that vanished (evicted, reset) is said to have.

mod csv;
mod delta;
mod pg_stat_statements;

pub use csv::read_csv;
pub use delta::{StatementRow, StatementsSnapshot};
pub use pg_stat_statements::PgStatStatements;

use crate::clock::Span;
use futures::future::BoxFuture;
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

/// A source of statement statistics.
pub trait StatementSource: Send + Sync {
    /// All statements as they stand now.
    fn snapshot(&self) -> BoxFuture<'_, Result<StatementsSnapshot, StatementsError>>;
}

/// Why there are no statement statistics.
#[derive(Debug, thiserror::Error)]
pub enum StatementsError {
    #[error(
        "the database has no extension pg_stat_statements; put it into shared_preload_libraries, restart the database, then \
         run: CREATE EXTENSION pg_stat_statements"
    )]
    ExtensionMissing,
    #[error(
        "pg_stat_statements is installed but not loaded; run: ALTER SYSTEM SET shared_preload_libraries = \
         'pg_stat_statements' (keep what is in it already), and restart the database"
    )]
    NotLoaded,
    #[error("no permission to read pg_stat_statements; run: GRANT pg_read_all_stats TO {user}")]
    Permission { user: String },
    #[error("cannot read pg_stat_statements: {why}")]
    Query { why: String },
    #[error("recorded statement statistics, line {line}: {why}")]
    Csv { line: usize, why: String },
}

/// The text with white space runs as single blanks and none at its ends, so that fingerprints that differ only in line
/// breaks and indentation compare equal.
pub fn normalized(query: &str) -> String {
    query.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether two statements' texts are the same but for white space.
pub fn same_statement(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

impl StatementsDelta {
    /// The sum over the statements with this text (one text can have several ids); `None` where none was called.
    pub fn statement(&self, query: &str) -> Option<StatementDelta> {
        let mut found = self.statements.iter().filter(|s| same_statement(&s.query, query)).cloned();
        let first = found.next()?;
        Some(found.fold(first, |sum, s| StatementDelta {
            calls: sum.calls + s.calls,
            rows: sum.rows + s.rows,
            exec: sum.exec + s.exec,
            plan: sum.plan.zip(s.plan).map(|(a, b)| a + b),
            new: sum.new && s.new,
            query: sum.query,
        }))
    }
}

impl StatementDelta {
    /// Mean execution time in ns; `None` without calls.
    pub fn mean_exec(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.exec as f64 / self.calls as f64)
    }
}
