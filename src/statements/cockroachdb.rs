//! The reader of CockroachDB's statement statistics (`crdb_internal.statement_statistics`, and of one node
//! `crdb_internal.node_statement_statistics`; the JSON's schema stands in the comments of
//! pkg/sql/sqlstats/persistedsqlstats/sqlstatsutil/json_encoding.go). Latencies are means in seconds over
//! `statistics.cnt`; what `execution_statistics` holds is sampled and has a count of its own: waits for other
//! transactions in seconds, CPU in ns. Invariant: a sum is a mean times the count that it was taken over, never
//! another one.

use super::{
    Activity, SampledRow, StatementRow, StatementSource, StatementsError, StatementsSnapshot, first_value, sessions,
};
use crate::clock::{self, Span};
use crate::sql::{self, cause};
use futures::future::BoxFuture;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryRow};

const NANOS: f64 = 1e9;
/// The session variable without which newer versions (26.1 on) refuse the internal tables.
const GATE: &str = "allow_unsafe_internals";

/// Where the statistics are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Of all nodes, in memory and persisted, by the hour.
    Cluster,
    /// Of the node connected to. Its sampled figures have no count, so they cannot be differenced and are left out;
    /// each flush to disk (by default every ten minutes) empties it, and statements then count as vanished.
    Node,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Table::Cluster => "crdb_internal.statement_statistics",
            Table::Node => "crdb_internal.node_statement_statistics",
        }
    }
}

/// Reads through a connection of its own; the simple protocol serves every version.
pub struct Cockroachdb {
    client: Client,
    source: String,
    table: Table,
    select: String,
    user: String,
}

impl Cockroachdb {
    /// Finds out what the version wants. `place` is the database's URL without its password.
    ///
    /// # Errors
    /// What the database lacks or does not permit.
    pub async fn open(client: Client, place: &str, table: Table) -> Result<Cockroachdb, StatementsError> {
        let version = first_value(&client, "SELECT version()").await?;
        let version: Vec<&str> = version.split_whitespace().take(3).collect();
        let user = first_value(&client, "SELECT current_user").await?;
        let select = match table {
            Table::Cluster => select_cluster(&first_value(&client, "SELECT now()").await?),
            Table::Node => select_node(),
        };
        let source = format!("{} of {} at {place}", table.name(), version.join(" "));
        let mut reader = Cockroachdb { client, source, table, select, user };
        match sql::run(&reader.client, &reader.select).await {
            Ok(()) => {}
            Err(error) if is_gate(&error) => reader.open_gate().await?,
            Err(error) => return Err(reader.explain(&error)),
        }
        Ok(reader)
    }

    /// On this session only, and gone with it.
    async fn open_gate(&mut self) -> Result<(), StatementsError> {
        for statement in [&format!("SET {GATE} = true"), &self.select] {
            sql::run(&self.client, statement).await.map_err(|error| self.explain(&error))?;
        }
        self.source += &format!(" ({GATE} set on wireprof's own session)");
        Ok(())
    }

    async fn read(&self) -> Result<StatementsSnapshot, StatementsError> {
        let start = clock::now();
        let rows = sql::rows(&self.client, &self.select).await.map_err(|error| self.explain(&error))?;
        let span = Span::new(start, clock::now());
        let rows = rows.iter().map(|row| self.row(row)).collect::<Result<_, _>>()?;
        Ok(StatementsSnapshot { source: self.source.clone(), span, rows })
    }

    /// Columns as both queries have them.
    fn row(&self, row: &SimpleQueryRow) -> Result<StatementRow, StatementsError> {
        let number = |column: &str| match row.get(column) {
            None => Ok(None),
            Some(text) => text.parse::<f64>().map(Some).map_err(|_| StatementsError::Query {
                what: self.table.name().into(),
                why: format!("`{text}` is no number ({column})"),
            }),
        };
        let text = |column: &str| row.get(column).unwrap_or_default().to_string();
        let sampled = number("sampled")?.filter(|calls| *calls > 0.0).map(|calls| calls.round() as u64);
        Ok(StatementRow {
            key: text("key"),
            query: text("query"),
            application: Some(text("application")),
            calls: number("calls")?.unwrap_or(0.0).round() as u64,
            rows: number("rows")?.unwrap_or(0.0).round() as u64,
            exec: number("run")?.unwrap_or(0.0) * NANOS,
            plan: number("plan")?.map(|seconds| seconds * NANOS),
            service: number("service")?.map(|seconds| seconds * NANOS),
            sampled: match sampled {
                Some(calls) => Some(SampledRow {
                    calls,
                    cpu: number("cpu")?,
                    contention: number("contention")?.map(|seconds| seconds * NANOS),
                }),
                None => None,
            },
        })
    }

    fn explain(&self, error: &sql::Error) -> StatementsError {
        let what = self.table.name();
        match error.code() {
            Some(code) if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME].contains(code) => {
                StatementsError::NoSuchTable { table: what, why: cause(error) }
            }
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                StatementsError::Permission { what, remedy: format!("GRANT SYSTEM VIEWACTIVITY TO {}", self.user) }
            }
            _ => StatementsError::Query { what: what.into(), why: cause(error) },
        }
    }
}

impl StatementSource for Cockroachdb {
    fn snapshot(&self) -> BoxFuture<'_, Result<StatementsSnapshot, StatementsError>> {
        Box::pin(self.read())
    }

    fn activity(&self) -> BoxFuture<'_, Result<Vec<Activity>, StatementsError>> {
        // The session that asks is the one in which this query is under way.
        let select = "SELECT client_address, coalesce(nullif(active_queries, ''), last_active_query), \
                      active_queries LIKE '%crdb_internal.node_sessions%' FROM crdb_internal.node_sessions";
        let read = async move {
            let rows = sql::rows(&self.client, select).await.map_err(|error| self.explain(&error))?;
            Ok(sessions(&rows))
        };
        Box::pin(read)
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), StatementsError>> {
        Box::pin(async {
            const RESET: &str = "SELECT crdb_internal.reset_sql_stats()";
            let failed = |error| StatementsError::Query { what: RESET.into(), why: cause(&error) };
            sql::run(&self.client, RESET).await.map_err(failed)
        })
    }
}

/// The refusal of a version that wants its variable set: it names the variable in its message or hint.
fn is_gate(error: &sql::Error) -> bool {
    error.as_db_error().is_some_and(|answer| {
        answer.code() == &SqlState::INSUFFICIENT_PRIVILEGE
            && (answer.message().contains(GATE) || answer.hint().is_some_and(|hint| hint.contains(GATE)))
    })
}

/// Sums over the rows of a fingerprint and application: one an aggregation interval, plan and transaction. Intervals
/// that ended before `opened` (the database's own clock) no longer change, and are not read.
fn select_cluster(opened: &str) -> String {
    let mean = |part: &str, figure: &str| format!("(statistics->'{part}'->'{figure}'->>'mean')::FLOAT8");
    let count = |part: &str| format!("(statistics->'{part}'->>'cnt')::FLOAT8");
    let (all, some) = (count("statistics"), count("execution_statistics"));
    let of_all = |figure: &str| format!("sum({all} * {})", mean("statistics", figure));
    let of_some = |figure: &str| format!("sum({some} * {})", mean("execution_statistics", figure));
    format!(
        "SELECT encode(fingerprint_id, 'hex') || '/' || app_name AS key, max(metadata->>'query') AS query, \
         app_name AS application, sum({all}) AS calls, {rows} AS rows, {service} AS service, {run} AS run, {plan} AS \
         plan, \
         sum({some}) AS sampled, {cpu} AS cpu, {contention} AS contention \
         FROM {table} WHERE aggregated_ts + aggregation_interval > '{opened}'::TIMESTAMPTZ \
         GROUP BY fingerprint_id, app_name",
        rows = of_all("numRows"),
        service = of_all("svcLat"),
        run = of_all("runLat"),
        plan = of_all("planLat"),
        cpu = of_some("cpuSQLNanos"),
        contention = of_some("contentionTime"),
        table = Table::Cluster.name(),
    )
}

fn select_node() -> String {
    let sum = |column: &str| format!("sum(count * {column})");
    format!(
        "SELECT statement_id || '/' || application_name AS key, max(key) AS query, application_name AS application, \
         sum(count) AS calls, {rows} AS rows, {service} AS service, {run} AS run, {plan} AS plan, \
         NULL AS sampled, NULL AS cpu, NULL AS contention FROM {table} GROUP BY statement_id, application_name",
        rows = sum("rows_avg"),
        service = sum("service_lat_avg"),
        run = sum("run_lat_avg"),
        plan = sum("plan_lat_avg"),
        table = Table::Node.name(),
    )
}
