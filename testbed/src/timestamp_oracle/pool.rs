//! Connections of the oracle to its database. Invariant: at most `size` connections are open at once; a connection in
//! the pool keeps the statements that were prepared on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::{Client, NoTls, Statement};

use super::OracleError;
use crate::metrics::Metrics;
use crate::plant::Planted;

pub struct Pool {
    config: tokio_postgres::Config,
    slots: Semaphore,
    idle: Mutex<Vec<Connection>>,
    metrics: Arc<Metrics>,
    planted: Arc<Planted>,
}

struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

/// A connection on loan; returns to the pool when dropped, unless it is broken.
pub struct Loan<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
    _slot: SemaphorePermit<'a>,
}

impl Pool {
    pub fn new(config: tokio_postgres::Config, size: usize, metrics: Arc<Metrics>, planted: Arc<Planted>) -> Self {
        Pool { config, slots: Semaphore::new(size), idle: Mutex::default(), metrics, planted }
    }

    /// Waits for a free slot, then takes the connection used last, or opens one.
    pub async fn get(&self) -> Result<Loan<'_>, OracleError> {
        let start = Instant::now();
        let slot = self.slots.acquire().await.map_err(|_| OracleError("its pool is closed".to_owned()))?;
        let waited = start.elapsed();
        let connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        self.metrics.pool.acquires.inc();
        self.metrics.pool.acquire_seconds.inc_by(start.elapsed().as_secs_f64());
        self.planted.pool_acquired(waited);
        Ok(Loan { pool: self, connection: Some(connection), _slot: slot })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // Nothing panics while holding the lock.
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some(connection) = idle.pop() {
            self.metrics.pool.available.dec();
            if !connection.client.is_closed() {
                return Some(connection);
            }
            self.metrics.pool.size.dec();
        }
        None
    }

    async fn connect(&self) -> Result<Connection, OracleError> {
        let connected = self.config.connect(NoTls).await.inspect_err(|_| self.metrics.pool.errors.inc());
        let (client, driver) = connected?;
        // What breaks the connection is reported to whoever uses it next.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        self.metrics.pool.created.inc();
        self.metrics.pool.size.inc();
        Ok(Connection { client, statements: HashMap::new() })
    }
}

impl Loan<'_> {
    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a loan holds its connection until it is dropped")
    }

    /// The statement, prepared on this connection now or earlier.
    pub async fn prepare_cached(&mut self, sql: &'static str) -> Result<Statement, OracleError> {
        let connection = self.connection();
        if let Some(statement) = connection.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = connection.client.prepare(sql).await?;
        connection.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    pub fn client(&mut self) -> &Client {
        &self.connection().client
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if connection.client.is_closed() {
            self.pool.metrics.pool.size.dec();
        } else {
            self.pool.idle().push(connection);
            self.pool.metrics.pool.available.inc();
        }
    }
}
