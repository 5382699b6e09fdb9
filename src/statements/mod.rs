//! Statement statistics of a database, as differences between the window's two ends. Invariant: each mean keeps
//! its own count, and a statement that vanished (evicted, reset) is said to have.

mod cockroachdb;
mod csv;
mod delta;
mod fingerprint;
mod locks;
mod pg_stat_statements;
mod reset;

pub use crate::sql::Activity;
pub use cockroachdb::{Cockroachdb, Table};
pub use csv::read_csv;
pub use delta::{HIDDEN_REMEDY, SampledRow, StatementRow, StatementsSnapshot};
pub use fingerprint::same_statement;
pub use locks::{LockQuery, LockSum, LockWait, LockWaits, WaitedLock, read_locks, sample_locks};
pub use pg_stat_statements::PgStatStatements;
pub use reset::{Reset, reset};

use crate::clock::Span;
use crate::sql;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

/// One statement's difference over the window. Times in ns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatementDelta {
    /// The statement's text, with parameters for constants where the source replaces them.
    pub query: String,
    /// The application that called it, where the source tells applications apart.
    #[serde(default)]
    pub application: Option<String>,
    /// Executions inside the window.
    pub calls: u64,
    /// Rows returned or affected, over all calls.
    pub rows: u64,
    /// Sum of the execution times inside the window; what it leaves out is the source's to say.
    pub exec: u64,
    /// Sum of the planning times; `None` where planning is not tracked.
    pub plan: Option<u64>,
    /// Sum of the service times: from the statement's receipt to the end of its execution, parsing and planning
    /// included. `None` where the source does not measure it.
    #[serde(default)]
    pub service: Option<u64>,
    /// What the source measures in some of the calls only; `None` where it does not, or in no call of the window.
    #[serde(default)]
    pub sampled: Option<SampledDelta>,
    /// First seen in this window.
    pub new: bool,
}

/// Figures of those calls that the source samples, with their own count. Times in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampledDelta {
    /// Calls that were sampled: the divisor of what follows.
    pub calls: u64,
    /// Sum of their CPU time in the database's SQL layer; `None` where this version does not measure it.
    pub cpu: Option<u64>,
    /// Sum of their waits for other transactions.
    pub contention: Option<u64>,
}

/// `statements.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementsDelta {
    /// `pg_stat_statements 1.10 at postgres://host:port/db`, without password.
    pub source: String,
    /// When the first reading was made.
    pub before: Span,
    /// When the second reading was made.
    pub after: Span,
    /// Those that were called in between, the most execution time first.
    pub statements: Vec<StatementDelta>,
    /// Statements of the first reading that the second lacks, or whose counters went down.
    pub vanished: usize,
    /// Statements of the second reading that the role may not see, and that are left out for it: nothing tells them
    /// apart.
    #[serde(default)]
    pub hidden: usize,
}

/// A source of statement statistics.
pub trait StatementSource: Send + Sync {
    /// All statements as they stand now.
    fn snapshot(&self) -> BoxFuture<'_, Result<StatementsSnapshot, StatementsError>>;
    /// What each session of the database executes now or executed last, as far as the role may see it; none where the
    /// source does not tell.
    fn activity(&self) -> BoxFuture<'_, Result<Vec<Activity>, StatementsError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
    /// Asks the database to forget its statistics. Whether it did is for [`reset`] to see.
    fn clear(&self) -> BoxFuture<'_, Result<(), StatementsError>>;
}

/// Which statistics are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// Whichever the database has, by what it answers to `SELECT version()`.
    #[default]
    Auto,
    /// The extension of that name.
    PgStatStatements,
    /// Of the whole cluster.
    Cockroachdb,
    /// Of the node that is connected to alone: cheaper to read, without sampled figures.
    CockroachdbNode,
}

/// Opens a reader on a connection to the database whose statements are wanted. `place` is the database's URL without
/// its password.
///
/// # Errors
/// What the database lacks or does not permit, with its remedy.
pub async fn open(reader: Reader, client: Client, place: &str) -> Result<Box<dyn StatementSource>, StatementsError> {
    let version = first_value(&client, "SELECT version()").await?;
    Ok(match reader {
        Reader::Auto if version.contains("CockroachDB") => {
            Box::new(Cockroachdb::open(client, place, Table::Cluster).await?)
        }
        Reader::Auto | Reader::PgStatStatements => Box::new(PgStatStatements::open(client, place).await?),
        Reader::Cockroachdb => Box::new(Cockroachdb::open(client, place, Table::Cluster).await?),
        Reader::CockroachdbNode => Box::new(Cockroachdb::open(client, place, Table::Node).await?),
    })
}

/// The first column of a query's first row as text; empty where there is none.
async fn first_value(client: &Client, query: &str) -> Result<String, StatementsError> {
    let failed = |error: sql::Error| StatementsError::Query { what: query.into(), why: sql::cause(&error) };
    Ok(sql::first_value(client, query).await.map_err(failed)?.unwrap_or_default())
}

/// Sessions from rows of client's port, statement and whether it asked; one that the role may not see has no port.
fn sessions(rows: &[tokio_postgres::SimpleQueryRow]) -> Vec<Activity> {
    let session = |row: &tokio_postgres::SimpleQueryRow| {
        let port = row.get(0)?.rsplit(':').next()?.parse().ok().filter(|port| *port > 0)?;
        Some(Activity { port, query: row.get(1).unwrap_or_default().into(), own: row.get(2) == Some("t") })
    };
    rows.iter().filter_map(session).collect()
}

/// Why there are no statement statistics.
#[derive(Debug, thiserror::Error)]
pub enum StatementsError {
    /// pg_stat_statements is not installed.
    #[error(
        "the database has no extension pg_stat_statements; put it into shared_preload_libraries, restart the \
            database, then \
         run: CREATE EXTENSION pg_stat_statements"
    )]
    ExtensionMissing,
    /// pg_stat_statements is installed, but its library is not loaded.
    #[error(
        "pg_stat_statements is installed but not loaded; run: ALTER SYSTEM SET shared_preload_libraries = \
         'pg_stat_statements' (keep what is in it already), and restart the database"
    )]
    NotLoaded,
    /// CockroachDB's table of statistics is not there.
    #[error("the database has no {table}: it is not CockroachDB, or one older than 21.2; it says: {why}")]
    NoSuchTable {
        /// Name of the table.
        table: &'static str,
        /// The database's answer.
        why: String,
    },
    /// The role may not read the statistics.
    #[error("no permission to read {what}; run: {remedy}")]
    Permission {
        /// Name of the table or view.
        what: &'static str,
        /// Statement that grants the permission.
        remedy: String,
    },
    /// A statement failed, or its answer could not be read.
    #[error("cannot read {what}: {why}")]
    Query {
        /// Name of the table or view, or the statement that was sent.
        what: String,
        /// The database's answer, or what could not be read.
        why: String,
    },
    /// A recording is damaged.
    #[error("recorded statement statistics, line {line}: {why}")]
    Csv {
        /// Line of the file, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl StatementsDelta {
    /// The sum over the statements with this fingerprint (see [`same_statement`]; one can have several ids and
    /// applications); `None` where none was called.
    pub fn statement(&self, query: &str) -> Option<StatementDelta> {
        let found = self.statements.iter().filter(|s| same_statement(&s.query, query));
        found.cloned().reduce(StatementDelta::plus)
    }

    /// From the middle of the first reading to the middle of the second.
    pub fn span(&self) -> Span {
        Span::new(self.before.midpoint(), self.after.midpoint())
    }
}

impl StatementDelta {
    /// Two statements, or one in two windows, together. What one of them lacks, the sum lacks; a figure that is
    /// sampled counts those calls that were.
    pub fn plus(self, other: StatementDelta) -> StatementDelta {
        let both = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        StatementDelta {
            application: self.application.filter(|name| other.application.as_ref() == Some(name)),
            calls: self.calls + other.calls,
            rows: self.rows + other.rows,
            exec: self.exec + other.exec,
            plan: both(self.plan, other.plan),
            service: both(self.service, other.service),
            sampled: match (self.sampled, other.sampled) {
                (Some(a), Some(b)) => Some(SampledDelta {
                    calls: a.calls + b.calls,
                    cpu: both(a.cpu, b.cpu),
                    contention: both(a.contention, b.contention),
                }),
                (a, b) => a.or(b),
            },
            new: self.new && other.new,
            query: self.query,
        }
    }

    /// Mean execution time in ns; `None` without calls.
    pub fn mean_exec(&self) -> Option<f64> {
        mean(Some(self.exec), self.calls)
    }

    /// Mean planning time in ns.
    pub fn mean_plan(&self) -> Option<f64> {
        mean(self.plan, self.calls)
    }

    /// Mean service time in ns.
    pub fn mean_service(&self) -> Option<f64> {
        mean(self.service, self.calls)
    }

    /// Mean CPU time in ns over the sampled calls.
    pub fn mean_cpu(&self) -> Option<f64> {
        self.sampled.and_then(|sampled| mean(sampled.cpu, sampled.calls))
    }

    /// Mean wait for other transactions in ns over the sampled calls.
    pub fn mean_contention(&self) -> Option<f64> {
        self.sampled.and_then(|sampled| mean(sampled.contention, sampled.calls))
    }
}

fn mean(sum: Option<u64>, count: u64) -> Option<f64> {
    sum.filter(|_| count > 0).map(|sum| sum as f64 / count as f64)
}
