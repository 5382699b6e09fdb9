//! Between the protocol and the data: sessions, statements, the peek in the frontend, the coordinator behind it.
//! Invariant: a `select` from a table reads at a timestamp of the oracle, unless its session is only serializable.

pub mod catalog;
pub mod client;
pub mod coordinator;
pub mod frontend_peek;
pub mod group_commit;
mod lexer;
pub mod settings;
pub mod statement;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::metrics::Metrics;
use super::options::Fault;
use super::plant::Planted;
use super::timestamp_oracle::batching_oracle::BatchingTimestampOracle;
use catalog::{Catalog, Row};
use settings::SystemSettings;

/// What all sessions share.
pub struct Adapter {
    pub catalog: Catalog,
    pub settings: SystemSettings,
    pub oracle: Arc<BatchingTimestampOracle>,
    pub coordinator: coordinator::Handle,
    pub metrics: Arc<Metrics>,
    pub planted: Arc<Planted>,
    pub faults: Faults,
    /// Each query is handled in a task that is spawned for it, instead of in its connection's.
    pub task_per_query: bool,
    /// Held by the write under way: writes are applied one after the other, in the order of their timestamps.
    pub writing: tokio::sync::Mutex<()>,
}

/// Deliberate misbehaviour of every tenth peek.
pub struct Faults {
    wrong_rows: bool,
    errors: bool,
    peeks: AtomicU64,
}

impl Faults {
    pub fn new(faults: &[Fault]) -> Self {
        Faults {
            wrong_rows: faults.contains(&Fault::WrongRows),
            errors: faults.contains(&Fault::Errors),
            peeks: AtomicU64::new(0),
        }
    }

    /// The rows as they are, or as the faults asked for make them.
    pub fn spoil(&self, rows: Arc<Vec<Row>>) -> Result<Arc<Vec<Row>>, SqlError> {
        if !(self.wrong_rows || self.errors) || !(self.peeks.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(10) {
            return Ok(rows);
        }
        if self.errors {
            return Err(SqlError::new("XX000", "this error was asked for by --fault errors"));
        }
        Ok(Arc::new(rows[..rows.len().saturating_sub(1)].to_vec()))
    }
}

/// An error as the client sees it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct SqlError {
    /// SQLSTATE (PostgreSQL documentation, appendix A).
    pub code: &'static str,
    pub message: String,
}

impl SqlError {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        SqlError { code, message: message.into() }
    }

    pub fn syntax(message: impl Into<String>) -> Self {
        SqlError::new("42601", message)
    }
}
