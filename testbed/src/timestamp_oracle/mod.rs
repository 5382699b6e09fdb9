//! Timestamps for strict serializability: a read must not miss a write that finished before it began, so each read
//! asks the oracle, kept in PostgreSQL, for a timestamp. Invariant: a timestamp handed out was read from the database
//! after the caller asked for it, unless stale reads are planted.

pub mod batching_oracle;
pub mod pool;
pub mod postgres_oracle;

/// Milliseconds since the epoch, or more if writes came faster.
pub type Timestamp = u64;

/// The oracle could not answer; shared by all callers of a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the timestamp oracle failed: {0}")]
pub struct OracleError(pub String);

impl From<tokio_postgres::Error> for OracleError {
    fn from(error: tokio_postgres::Error) -> Self {
        // tokio-postgres says only "db error" itself; what happened is in the source.
        let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        OracleError(format!("{error}{cause}"))
    }
}
