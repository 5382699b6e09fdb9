//! Writes to tables, in groups: once a second, and 25 ms after sessions began or ended, because those are written to a
//! table too. Hence the rate of `apply_write` shows connection churn. Invariant: a group is one timestamp.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::Adapter;
use crate::timestamp_oracle::OracleError;

const TICK: Duration = Duration::from_secs(1);
/// Lets changes gather: at most 40 groups a second.
const GATHER: Duration = Duration::from_millis(25);

pub async fn run(adapter: Arc<Adapter>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = adapter.coordinator.session_changes.notified() => tokio::time::sleep(GATHER).await,
        }
        // A failure is counted by the oracle; the next group tries again.
        let _ = group_commit(&adapter).await;
    }
}

async fn group_commit(adapter: &Adapter) -> Result<(), OracleError> {
    let start = Instant::now();
    let write_ts = adapter.oracle.write_ts().await?;
    let appended = Instant::now();
    adapter.oracle.apply_write(write_ts).await?;
    let metrics = &adapter.metrics.coordinator;
    metrics.append_table.observe(appended.elapsed().as_secs_f64());
    metrics.messages.with_label_values(&["group_commit_initiate"]).observe(start.elapsed().as_secs_f64());
    Ok(())
}
