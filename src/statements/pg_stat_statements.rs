//! The reader of PostgreSQL's `pg_stat_statements` (its documentation, appendix F). Its execution times leave out
//! parsing, planning, the protocol and the backend's own wait for a CPU; planning is separate and off by default.
//! Invariant: columns are those that the extension's version really has; what is not tracked is `None`.

use super::{Activity, StatementRow, StatementSource, StatementsError, StatementsSnapshot, sessions};
use crate::clock::{self, Span};
use crate::sql;
use futures::future::BoxFuture;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const NANOS_PER_MS: f64 = 1e6;
const WHAT: &str = "pg_stat_statements";

/// Reads through a connection to the database whose statements are wanted.
pub struct PgStatStatements {
    client: Client,
    source: String,
    select: String,
    reset: String,
    user: String,
}

impl PgStatStatements {
    /// Finds out which columns the database's version has. `place` is the database's URL without its password.
    ///
    /// # Errors
    /// The extension is not installed or not loaded, the role may not read it, or the database refuses a
    /// query.
    pub async fn open(client: Client, place: &str) -> Result<PgStatStatements, StatementsError> {
        let row = client.query_one("SELECT current_user::text", &[]).await.map_err(|e| explain(e.into(), ""))?;
        let user: String = row.get(0);
        let version = "SELECT extversion, (SELECT nspname FROM pg_namespace WHERE oid = extnamespace)::text \
                       FROM pg_extension WHERE extname = 'pg_stat_statements'";
        let row = client.query_opt(version, &[]).await.map_err(|e| explain(e.into(), &user))?;
        let row = row.ok_or(StatementsError::ExtensionMissing)?;
        let (version, schema): (String, String) = (row.get(0), row.get(1));
        let columns = "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped \
                       AND attrelid = ($1::text || '.pg_stat_statements')::regclass";
        let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
        let columns = client.query(columns, &[&quoted]).await.map_err(|e| explain(e.into(), &user))?;
        let columns: Vec<String> = columns.iter().map(|row| row.get(0)).collect();
        let tracked = client.query_one("SELECT current_setting('pg_stat_statements.track_planning', true)", &[]);
        let tracked: Option<String> = tracked.await.map_err(|e| explain(e.into(), &user))?.get(0);
        let select = select(&columns, &quoted, tracked.as_deref() == Some("on"));
        let source = format!("pg_stat_statements {version} at {place}");
        let reset = format!("SELECT {quoted}.pg_stat_statements_reset()");
        let reader = PgStatStatements { client, source, select, reset, user };
        reader.read().await?;
        Ok(reader)
    }

    async fn read(&self) -> Result<StatementsSnapshot, StatementsError> {
        let start = clock::now();
        let rows = self.client.query(&self.select, &[]).await.map_err(|e| explain(e.into(), &self.user))?;
        let span = Span::new(start, clock::now());
        let count = |row: &tokio_postgres::Row, at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or(0);
        let rows = rows.iter().map(|row| StatementRow {
            key: row.get(0),
            query: row.get::<_, Option<String>>(1).unwrap_or_default(),
            calls: count(row, 2),
            rows: count(row, 3),
            exec: row.get::<_, f64>(4) * NANOS_PER_MS,
            plan: row.get::<_, Option<f64>>(5).map(|ms| ms * NANOS_PER_MS),
            ..StatementRow::default()
        });
        Ok(StatementsSnapshot { source: self.source.clone(), span, rows: rows.collect() })
    }
}

/// The query for a version that has these columns.
fn select(columns: &[String], schema: &str, planning: bool) -> String {
    let has = |name: &str| columns.iter().any(|c| c == name);
    let exec = if has("total_exec_time") { "total_exec_time" } else { "total_time" };
    let plan = if planning && has("total_plan_time") { "total_plan_time" } else { "NULL::float8" };
    let toplevel = if has("toplevel") { " || '/' || toplevel::text" } else { "" };
    format!(
        "SELECT coalesce(queryid::text, md5(query)) || '/' || userid::text || '/' || dbid::text{toplevel}, query, \
            calls, \
         rows, {exec}, {plan} FROM {schema}.pg_stat_statements"
    )
}

fn explain(error: sql::Error, user: &str) -> StatementsError {
    match error.code() {
        Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => StatementsError::NotLoaded,
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            StatementsError::Permission { what: WHAT, remedy: format!("GRANT pg_read_all_stats TO {user}") }
        }
        _ => StatementsError::Query { what: WHAT.into(), why: sql::cause(&error) },
    }
}

impl StatementSource for PgStatStatements {
    fn snapshot(&self) -> BoxFuture<'_, Result<StatementsSnapshot, StatementsError>> {
        Box::pin(self.read())
    }

    fn activity(&self) -> BoxFuture<'_, Result<Vec<Activity>, StatementsError>> {
        let select = "SELECT client_port, query, pid = pg_backend_pid() FROM pg_stat_activity WHERE client_port > 0";
        let read = async move {
            let rows = sql::rows(&self.client, select).await.map_err(|error| explain(error, &self.user))?;
            Ok(sessions(&rows))
        };
        Box::pin(read)
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), StatementsError>> {
        Box::pin(async { sql::run(&self.client, &self.reset).await.map_err(|e| explain(e, &self.user)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_asks_only_for_columns_that_are_there() {
        let columns = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let old = select(&columns(&["queryid", "total_time"]), "\"public\"", true);
        assert!(old.contains("rows, total_time, NULL::float8 FROM \"public\".pg_stat_statements"), "{old}");
        assert!(!old.contains("toplevel"));
        let new = columns(&["queryid", "total_exec_time", "total_plan_time", "toplevel"]);
        let planned = select(&new, "\"public\"", true);
        assert!(planned.contains("toplevel::text, query, calls, rows, total_exec_time, total_plan_time"), "{planned}");
        assert!(select(&new, "\"public\"", false).contains("total_exec_time, NULL::float8"));
    }
}
