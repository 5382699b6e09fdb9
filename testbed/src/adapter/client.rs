//! One session: executes parsed statements for the protocol. Invariant: a client that was started is terminated when it
//! is dropped, exactly once.

use std::sync::Arc;

use super::catalog::{Column, ColumnType, Row, Value};
use super::frontend_peek::{PeekClient, PeekResponse};
use super::settings::SessionSettings;
use super::statement::Statement;
use super::{Adapter, SqlError};
use crate::timestamp_oracle::OracleError;

const VERSION: &str = concat!("wireprof-testbed ", env!("CARGO_PKG_VERSION"));

/// The user that the internal port is for.
pub const SYSTEM_USER: &str = "mz_system";

/// What became of a statement.
pub enum Outcome {
    Rows(PeekResponse),
    /// The command tag, and rows written where the tag has them.
    Done(&'static str, Option<usize>),
    TransactionStart,
    TransactionEnd(&'static str),
}

pub struct SessionClient {
    adapter: Arc<Adapter>,
    peeks: PeekClient,
    settings: SessionSettings,
    internal: bool,
    selects: prometheus::IntCounter,
}

impl SessionClient {
    /// Announces the session to the coordinator.
    pub async fn start(adapter: Arc<Adapter>, internal: bool) -> Result<Self, SqlError> {
        adapter.coordinator.startup(session_type(internal)).await?;
        Ok(SessionClient {
            peeks: PeekClient::new(Arc::clone(&adapter)),
            settings: SessionSettings::default(),
            internal,
            selects: adapter.metrics.protocol.queries.with_label_values(&[session_type(internal), "select"]),
            adapter,
        })
    }

    /// Applies a parameter of the startup message or one of its `options`.
    pub fn set(&self, name: &str, value: &str) -> Result<(), SqlError> {
        self.settings.set(name, Some(value))
    }

    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    pub async fn execute(&self, statement: &Statement) -> Result<Outcome, SqlError> {
        if let Statement::SelectTable { table } = statement {
            let response = self.select_table(table).await?;
            self.selects.inc();
            return Ok(Outcome::Rows(response));
        }
        let outcome = match statement {
            Statement::Insert { table, rows } => self.insert(table, rows.clone()).await?,
            other => self.execute_other(other)?,
        };
        let counter = &self.adapter.metrics.protocol.queries;
        counter.with_label_values(&[session_type(self.internal), statement.kind()]).inc();
        Ok(outcome)
    }

    async fn select_table(&self, table: &str) -> Result<PeekResponse, SqlError> {
        let serializable = self.settings.is_serializable();
        match self.peeks.try_frontend_peek(table, serializable).await? {
            Some(response) => Ok(response),
            None => self.adapter.coordinator.execute_peek(table, serializable).await,
        }
    }

    /// Acknowledged when every read that takes its timestamp from now on sees the rows.
    async fn insert(&self, table: &str, rows: Vec<Row>) -> Result<Outcome, SqlError> {
        let oracle = &self.adapter.oracle;
        let failed = |error: OracleError| SqlError::new("XX000", error.to_string());
        let _writing = self.adapter.writing.lock().await;
        let write_ts = oracle.write_ts().await.map_err(failed)?;
        let inserted = self.adapter.catalog.insert(table, rows, write_ts)?;
        oracle.apply_write(write_ts).await.map_err(failed)?;
        Ok(Outcome::Done("INSERT 0", Some(inserted)))
    }

    fn execute_other(&self, statement: &Statement) -> Result<Outcome, SqlError> {
        if statement.needs_system_user() && !self.internal {
            let message = "permission denied to alter system settings; use the internal port as mz_system";
            return Err(SqlError::new("42501", message));
        }
        let catalog = &self.adapter.catalog;
        let done = |tag| Ok(Outcome::Done(tag, None));
        match statement {
            // Rows of tables are read and written elsewhere: those wait for the oracle.
            Statement::SelectTable { .. } | Statement::Insert { .. } => Err(SqlError::new("XX000", "not here")),
            Statement::SelectValue(_) | Statement::SelectVersion | Statement::Show { .. } => self.constant(statement),
            Statement::FindTable { name } => {
                let columns = self.columns(statement)?.unwrap_or_default();
                let found = catalog.table(name).map(|_| Row::from([Value::Text(name.clone())]));
                Ok(Outcome::Rows(PeekResponse { columns, rows: Arc::new(found.into_iter().collect()) }))
            }
            Statement::Set { name, value } => self.settings.set(name, value.as_deref()).and(done("SET")),
            Statement::ResetAll => {
                self.settings.reset_all();
                done("RESET")
            }
            Statement::Discard => {
                self.settings.reset_all();
                done("DISCARD ALL")
            }
            Statement::AlterSystem { name, value } => {
                self.adapter.settings.set(name, value.as_deref()).and(done("ALTER SYSTEM"))
            }
            Statement::CreateTable { name, columns, if_not_exists } => {
                catalog.create_table(name, columns.clone(), *if_not_exists).and(done("CREATE TABLE"))
            }
            Statement::DropTable { name, if_exists } => catalog.drop_table(name, *if_exists).and(done("DROP TABLE")),
            Statement::CreateIndex { table, cluster } => catalog.create_index(table, cluster).and(done("CREATE INDEX")),
            Statement::Grant => done("GRANT"),
            Statement::Deallocate => done("DEALLOCATE"),
            Statement::Begin => Ok(Outcome::TransactionStart),
            Statement::Commit => Ok(Outcome::TransactionEnd("COMMIT")),
            Statement::Rollback => Ok(Outcome::TransactionEnd("ROLLBACK")),
        }
    }

    /// One row of one column.
    fn constant(&self, statement: &Statement) -> Result<Outcome, SqlError> {
        let value = match statement {
            Statement::SelectValue(value) => value.clone(),
            Statement::SelectVersion => Value::Text(VERSION.to_owned()),
            Statement::Show { name } => Value::Text(self.settings.show(name, &self.adapter.settings)?.1),
            _ => return Err(SqlError::new("XX000", "not a constant")),
        };
        let columns = self.columns(statement)?.unwrap_or_default();
        Ok(Outcome::Rows(PeekResponse { columns, rows: Arc::new(vec![Row::from([value])]) }))
    }

    /// The columns that a statement will return; `None` if it returns no rows.
    pub fn columns(&self, statement: &Statement) -> Result<Option<Arc<Vec<Column>>>, SqlError> {
        let one = |name: &str, kind| Ok(Some(Arc::new(vec![Column { name: name.to_owned(), kind }])));
        match statement {
            Statement::SelectTable { table } => Ok(Some(Arc::clone(&self.adapter.catalog.table(table)?.columns))),
            Statement::SelectValue(Value::Int4(_)) => one("?column?", ColumnType::Int4),
            Statement::SelectValue(Value::Int8(_)) => one("?column?", ColumnType::Int8),
            Statement::SelectValue(_) => one("?column?", ColumnType::Text),
            Statement::SelectVersion => one("version", ColumnType::Text),
            Statement::FindTable { .. } => one("table_name", ColumnType::Text),
            Statement::Show { name } => one(self.settings.show(name, &self.adapter.settings)?.0, ColumnType::Text),
            _ => Ok(None),
        }
    }
}

impl Drop for SessionClient {
    fn drop(&mut self) {
        self.adapter.coordinator.terminate(session_type(self.internal));
    }
}

fn session_type(internal: bool) -> &'static str {
    if internal { "system" } else { "user" }
}
