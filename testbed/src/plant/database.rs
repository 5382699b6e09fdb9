//! A slow database: the statement that reads the timestamp takes longer inside PostgreSQL. Invariant: the statement's
//! text stays what it was, so that the database's own statistics show the time under it: the table's name becomes a
//! view's, whose column `read_ts` calls a function that takes its time; what that function really took is
//! PostgreSQL's own account of it.

use std::time::Duration;

use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

use super::tally::{Counted, Tally};

/// How often the function's statistics are read. PostgreSQL publishes them about once a second a connection.
const READ_EVERY: Duration = Duration::from_millis(500);
/// From here on the function sleeps for the first part. `pg_sleep` rounds up to whole ms, so it ends this long before.
const SLEEP: Duration = Duration::from_millis(2);

const READ: &str = "SELECT calls, total_time FROM pg_stat_user_functions WHERE funcname = 'planted_database_work'";

pub struct SlowStatement {
    client: Client,
    tally: Tally,
}

impl SlowStatement {
    /// Plants it into the oracle's database, where the table is already, and follows what it does on a task of the
    /// runtime.
    pub async fn plant(config: &Config, plant: &Counted<Duration>) -> Result<(), Error> {
        let (client, connection) = config.connect(NoTls).await?;
        // What breaks the connection is seen by whoever uses it next.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        client.batch_execute("ALTER SYSTEM SET track_functions = 'pl'").await?;
        client.batch_execute("SELECT pg_reload_conf()").await?;
        client.batch_execute(&planted(plant.size)).await?;
        tokio::spawn(SlowStatement { client, tally: plant.tally.clone() }.follow());
        Ok(())
    }

    /// Publishes the function's calls and time until the database ends.
    async fn follow(self) {
        let (mut calls, mut seconds) = (0, 0.0);
        while let Ok(messages) = self.client.simple_query(READ).await {
            let row = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some((row.get(0)?.parse().ok()?, row.get(1)?.parse::<f64>().ok()?)),
                _ => None,
            });
            if let Some((calls_now, millis_now)) = row {
                self.tally.calls.inc_by(u64::saturating_sub(calls_now, calls));
                self.tally.wait.inc_by((millis_now / 1e3 - seconds).max(0.0));
                (calls, seconds) = (calls_now, millis_now / 1e3);
            }
            tokio::time::sleep(READ_EVERY).await;
        }
    }
}

/// The statements that plant it. Writes go to the table through a rule.
fn planted(duration: Duration) -> String {
    let micros = duration.as_micros().max(1);
    let sleep = match duration.checked_sub(SLEEP) {
        Some(rest) => format!("PERFORM pg_sleep({});", rest.as_secs_f64()),
        None => String::new(),
    };
    format!(
        "ALTER TABLE timestamp_oracle RENAME TO timestamp_oracle_rows;
         CREATE FUNCTION planted_database_work(read_ts bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
             DECLARE deadline timestamptz := clock_timestamp() + interval '{micros} microseconds';
             BEGIN
                 {sleep}
                 WHILE clock_timestamp() < deadline LOOP END LOOP;
                 RETURN read_ts;
             END $$;
         CREATE VIEW timestamp_oracle AS
             SELECT timeline, planted_database_work(read_ts) AS read_ts, write_ts FROM timestamp_oracle_rows;
         CREATE RULE writes AS ON UPDATE TO timestamp_oracle DO INSTEAD
             UPDATE timestamp_oracle_rows AS kept SET read_ts = NEW.read_ts, write_ts = NEW.write_ts
             WHERE kept.timeline = OLD.timeline RETURNING kept.timeline, kept.read_ts, kept.write_ts;"
    )
}
