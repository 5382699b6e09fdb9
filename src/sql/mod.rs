//! What set-up and statistics ask over a connection, by the simple protocol, which every server that speaks the
//! protocol at all understands. Invariant: an error is the server's own, and [`cause`] is the one way in which it is
//! told.

mod shape;

pub use shape::without_constants;

use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// A server may take that long for one statement, as for one of a workload's set-up.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a statement gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's refusal, or a lost connection.
    #[error(transparent)]
    Driver(#[from] tokio_postgres::Error),
    /// The connection is there, and no answer comes over it.
    #[error("no answer within {} s: is the server stopped, or the network to it down?", LIMIT.as_secs())]
    Silent,
}

impl Error {
    /// What the server said, where it said anything.
    pub fn as_db_error(&self) -> Option<&DbError> {
        match self {
            Error::Driver(error) => error.as_db_error(),
            Error::Silent => None,
        }
    }

    /// The server's code for it.
    pub fn code(&self) -> Option<&SqlState> {
        self.as_db_error().map(DbError::code)
    }
}

async fn ask(client: &Client, query: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
    Ok(timeout(LIMIT, client.simple_query(query)).await.map_err(|_| Error::Silent)??)
}

/// Whether the connection answers within `limit`.
pub async fn answers(client: &Client, limit: Duration) -> bool {
    matches!(timeout(limit, client.simple_query("")).await, Ok(Ok(_)))
}

/// All rows of a query.
///
/// # Errors
/// The server's refusal, a lost connection, or no answer in time.
pub async fn rows(client: &Client, query: &str) -> Result<Vec<SimpleQueryRow>, Error> {
    let rows = ask(client, query).await?.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

/// The first column of a query's first row as text; `None` where there is no row, or it is NULL.
///
/// # Errors
/// As [`rows`].
pub async fn first_value(client: &Client, query: &str) -> Result<Option<String>, Error> {
    Ok(rows(client, query).await?.first().and_then(|row| row.get(0).map(str::to_string)))
}

/// Runs a statement for what it does.
///
/// # Errors
/// As [`rows`].
pub async fn run(client: &Client, statement: &str) -> Result<(), Error> {
    ask(client, statement).await.map(drop)
}

/// What the server said, with its SQLSTATE, or why it said nothing.
pub fn cause(error: &Error) -> String {
    match error.as_db_error() {
        Some(answer) => format!("{} (SQLSTATE {})", answer.message(), answer.code().code()),
        None => error.to_string(),
    }
}

/// What a session executes now, or executed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The port of its client.
    pub port: u16,
    /// The statement's text.
    pub query: String,
    /// It is the session that asked.
    pub own: bool,
}
