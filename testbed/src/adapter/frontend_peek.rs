//! The peek, sequenced in the frontend without a round trip to the coordinator. Invariant: a session's first peek of a
//! table is planned (`try_frontend_peek_inner`); later ones take the plan from the session (`try_frontend_peek_cached`)
//! until a definition changes; each is counted under exactly one of the two, and under `try_frontend_peek`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::catalog::{Column, Row, Table};
use super::{Adapter, SqlError};

/// Rows and what they are.
pub struct PeekResponse {
    pub columns: Arc<Vec<Column>>,
    pub rows: Arc<Vec<Row>>,
}

/// One session's peeks.
pub struct PeekClient {
    adapter: Arc<Adapter>,
    plans: Mutex<HashMap<String, Arc<Plan>>>,
}

struct Plan {
    table: Arc<Table>,
    catalog_version: u64,
}

impl PeekClient {
    pub fn new(adapter: Arc<Adapter>) -> Self {
        PeekClient { adapter, plans: Mutex::default() }
    }

    /// Answers a peek here, or says `None` if it must go to the coordinator: when sequencing in the frontend is off or
    /// the table has no index in the session's cluster.
    pub async fn try_frontend_peek(&self, table: &str, serializable: bool) -> Result<Option<PeekResponse>, SqlError> {
        if !self.adapter.settings.frontend_peek() {
            return Ok(None);
        }
        let start = Instant::now();
        let response = match self.cached_plan(table) {
            Some(plan) => Some(self.try_frontend_peek_cached(&plan, serializable).await?),
            None => self.try_frontend_peek_inner(table, serializable).await?,
        };
        if response.is_some() {
            self.adapter.metrics.peek.try_frontend_peek.observe(start.elapsed().as_secs_f64());
        }
        Ok(response)
    }

    async fn try_frontend_peek_cached(&self, plan: &Plan, serializable: bool) -> Result<PeekResponse, SqlError> {
        let start = Instant::now();
        self.adapter.planted.peek();
        let response = self.peek_at_timestamp(&plan.table, serializable).await?;
        self.adapter.metrics.peek.try_frontend_peek_cached.observe(start.elapsed().as_secs_f64());
        Ok(response)
    }

    async fn try_frontend_peek_inner(&self, name: &str, serializable: bool) -> Result<Option<PeekResponse>, SqlError> {
        let start = Instant::now();
        let catalog_version = self.adapter.catalog.version();
        let table = self.adapter.catalog.table(name)?;
        if !table.is_indexed() {
            return Ok(None);
        }
        let response = self.peek_at_timestamp(&table, serializable).await?;
        self.plans().insert(name.to_owned(), Arc::new(Plan { table, catalog_version }));
        self.adapter.metrics.peek.try_frontend_peek_inner.observe(start.elapsed().as_secs_f64());
        Ok(Some(response))
    }

    async fn peek_at_timestamp(&self, table: &Table, serializable: bool) -> Result<PeekResponse, SqlError> {
        if self.adapter.planted.through_coordinator() {
            self.adapter.coordinator.register_frontend_peek().await?;
        }
        // A serializable read needs no timestamp: it takes the newest state there is.
        let as_of = if serializable { None } else { Some(self.oracle_read_ts().await?) };
        self.adapter.planted.waits().await;
        let rows = self.adapter.faults.spoil(table.peek(as_of))?;
        Ok(PeekResponse { columns: Arc::clone(&table.columns), rows })
    }

    async fn oracle_read_ts(&self) -> Result<u64, SqlError> {
        let start = Instant::now();
        let timestamp = self.adapter.oracle.read_ts().await;
        self.adapter.metrics.peek.read_ts_seconds.observe(start.elapsed().as_secs_f64());
        timestamp.map_err(|error| SqlError::new("XX000", error.to_string()))
    }

    #[inline(never)]
    fn cached_plan(&self, table: &str) -> Option<Arc<Plan>> {
        let plan = self.plans().get(table).cloned()?;
        (plan.catalog_version == self.adapter.catalog.version()).then_some(plan)
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<String, Arc<Plan>>> {
        // Nothing panics while holding the lock.
        self.plans.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
