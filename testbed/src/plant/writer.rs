//! A second use of the oracle's database by the same server: rows committed at a rate, on connections of their own, by
//! a statement that takes far longer than the oracle's. Invariant: what a commit took is the plant's own measurement.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_postgres::{Config, Error, NoTls, Statement};

use super::tally::Counted;

/// Connections that are used in turn.
const CONNECTIONS: usize = 4;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS consensus (shard bigint NOT NULL, data bytea NOT NULL)";
/// It waits where a real one would for its log to be on the disk.
const INSERT: &str = "INSERT INTO consensus (shard, data) SELECT $1, $2 FROM pg_sleep(0.02)";

/// Prepares it, and writes until the database ends.
pub async fn start(config: &Config, plant: &Counted<u32>) -> Result<(), Error> {
    let mut writers = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let (client, connection) = config.connect(NoTls).await?;
        // What breaks the connection is seen by its next statement.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        client.batch_execute(TABLE).await?;
        let statement: Statement = client.prepare(INSERT).await?;
        writers.push((client, statement));
    }
    let plant = plant.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / plant.size);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for nth in 0_usize.. {
            tick.tick().await;
            let (client, statement) = &writers[nth % CONNECTIONS];
            let start = Instant::now();
            if client.execute(statement, &[&(nth as i64), &vec![0_u8; 512]]).await.is_err() {
                return;
            }
            plant.tally.add(Duration::ZERO, start.elapsed());
        }
    });
    Ok(())
}
