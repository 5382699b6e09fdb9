//! The oracle's truth: one row a timeline in PostgreSQL. Invariant: `read_ts` never goes backwards, because every
//! statement moves timestamps by GREATEST only.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::pool::{Loan, Pool};
use super::{OracleError, Timestamp};
use crate::metrics::Metrics;
use crate::plant::Planted;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS timestamp_oracle \
    (timeline text PRIMARY KEY, read_ts bigint NOT NULL, write_ts bigint NOT NULL)";
const OPEN: &str = "INSERT INTO timestamp_oracle (timeline, read_ts, write_ts) VALUES ($1, $2, $2) \
    ON CONFLICT (timeline) DO NOTHING";
const READ_TS: &str = "SELECT read_ts FROM timestamp_oracle WHERE timeline = $1";
const WRITE_TS: &str = "UPDATE timestamp_oracle SET write_ts = GREATEST(write_ts + 1, $2) WHERE timeline = $1 \
    RETURNING write_ts";
const APPLY_WRITE: &str = "UPDATE timestamp_oracle SET write_ts = GREATEST(write_ts, $2), \
    read_ts = GREATEST(read_ts, $2) WHERE timeline = $1";
const TIMELINE: &str = "EpochMilliseconds";

/// Attempts before an operation fails; a connection that broke is replaced between them.
const ATTEMPTS: u32 = 3;

pub struct PostgresTimestampOracle {
    pool: Pool,
    metrics: Arc<Metrics>,
    planted: Arc<Planted>,
}

impl PostgresTimestampOracle {
    /// Creates the table and the timeline's row.
    pub async fn open(
        url: &str,
        pool_size: usize,
        metrics: Arc<Metrics>,
        planted: Arc<Planted>,
    ) -> Result<Self, OracleError> {
        let config: tokio_postgres::Config = url.parse()?;
        let pool = Pool::new(config, pool_size, Arc::clone(&metrics), Arc::clone(&planted));
        let oracle = PostgresTimestampOracle { pool, metrics, planted };
        let mut loan = oracle.pool.get().await?;
        loan.client().batch_execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
        loan.client().batch_execute(CREATE).await?;
        loan.client().execute(OPEN, &[&TIMELINE, &now()]).await?;
        drop(loan);
        Ok(oracle)
    }

    /// Reads the timestamp up to which all writes are applied.
    pub async fn read_ts(&self) -> Result<Timestamp, OracleError> {
        self.planted.oracle();
        let start = self.begin("read_ts");
        let mut result = self.fallible_read_ts().await;
        for _ in 1..ATTEMPTS {
            if result.is_ok() {
                break;
            }
            result = self.fallible_read_ts().await;
        }
        self.finish("read_ts", start, result)
    }

    async fn fallible_read_ts(&self) -> Result<Timestamp, OracleError> {
        let phases = &self.metrics.oracle;
        let start = Instant::now();
        let mut loan = self.get_connection().await?;
        phases.phase_get_connection.observe(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let statement = loan.prepare_cached(READ_TS).await?;
        phases.phase_prepare_cached.observe(start.elapsed().as_secs_f64());
        let start = Instant::now();
        self.planted.oracle_delay().await;
        let row = loan.client().query_one(&statement, &[&TIMELINE]).await?;
        phases.phase_query_one.observe(start.elapsed().as_secs_f64());
        Ok(row.try_get::<_, i64>(0)? as Timestamp)
    }

    /// Allocates a timestamp above all earlier ones.
    pub async fn write_ts(&self) -> Result<Timestamp, OracleError> {
        let start = self.begin("write_ts");
        let result = async {
            let mut loan = self.get_connection().await?;
            let statement = loan.prepare_cached(WRITE_TS).await?;
            let row = loan.client().query_one(&statement, &[&TIMELINE, &now()]).await?;
            Ok(row.try_get::<_, i64>(0)? as Timestamp)
        };
        let result = result.await;
        self.finish("write_ts", start, result)
    }

    /// Lets later reads see the writes at `write_ts`.
    pub async fn apply_write(&self, write_ts: Timestamp) -> Result<(), OracleError> {
        let start = self.begin("apply_write");
        let result = async {
            let mut loan = self.get_connection().await?;
            let statement = loan.prepare_cached(APPLY_WRITE).await?;
            loan.client().execute(&statement, &[&TIMELINE, &(write_ts as i64)]).await?;
            Ok(())
        };
        let result = result.await;
        self.finish("apply_write", start, result)
    }

    async fn get_connection(&self) -> Result<Loan<'_>, OracleError> {
        self.pool.get().await
    }

    fn begin(&self, op: &str) -> Instant {
        self.metrics.oracle.started.with_label_values(&[op]).inc();
        Instant::now()
    }

    fn finish<T>(&self, op: &str, start: Instant, result: Result<T, OracleError>) -> Result<T, OracleError> {
        self.metrics.oracle.seconds.with_label_values(&[op]).inc_by(start.elapsed().as_secs_f64());
        let outcome = if result.is_ok() { &self.metrics.oracle.succeeded } else { &self.metrics.oracle.failed };
        outcome.with_label_values(&[op]).inc();
        result
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as i64
}
