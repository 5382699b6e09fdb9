//! What set-up and statistics ask over a connection, by the simple protocol, which every server that speaks the
//! protocol at all understands. Invariant: an error is the server's own, and [`cause`] is the one way in which it is
//! told.

mod shape;

pub use shape::without_constants;

use tokio_postgres::{Client, Error, SimpleQueryMessage, SimpleQueryRow};

/// All rows of a query.
///
/// # Errors
/// The server's refusal, or a lost connection.
pub async fn rows(client: &Client, query: &str) -> Result<Vec<SimpleQueryRow>, Error> {
    let messages = client.simple_query(query).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

/// The first column of a query's first row as text; `None` where there is no row, or it is NULL.
///
/// # Errors
/// The server's refusal, or a lost connection.
pub async fn first_value(client: &Client, query: &str) -> Result<Option<String>, Error> {
    Ok(rows(client, query).await?.first().and_then(|row| row.get(0).map(str::to_string)))
}

/// Runs a statement for what it does.
///
/// # Errors
/// The server's refusal, or a lost connection.
pub async fn run(client: &Client, statement: &str) -> Result<(), Error> {
    client.simple_query(statement).await.map(drop)
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
