//! Whether reads see acknowledged writes: one connection writes a row to a table of its own, and when that is
//! acknowledged others read at once. Invariant: it works after a window, while the window's load still runs, so that
//! it costs the window nothing; the table is dropped at the end, and no table that somebody else made is.

use super::Stop;
use crate::check::Check;
use crate::load::{self, Address};
use crate::preset::Freshness;
use crate::sql;
use anyhow::{Context, Result, anyhow};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, SimpleQueryRow};

/// Connections that read after each write.
const READERS: usize = 3;
/// How long writes are checked after each window.
const LENGTH: Duration = Duration::from_secs(2);
/// At most one write in this time: the table grows with each, and every read answers all of it.
const EVERY: Duration = Duration::from_millis(20);

/// The connections and the table.
pub struct FreshnessProbe {
    writer: Client,
    readers: Vec<Client>,
    preset: Freshness,
    table: String,
    written: u64,
    /// Isolation level of the readers, as the server tells it.
    isolation: Option<String>,
}

impl FreshnessProbe {
    /// Opens the connections, each beginning with the session's own statements, and makes the table.
    pub async fn open(address: &Address, session: &[String], preset: &Freshness) -> Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..=READERS {
            let client = load::connect(address).await?;
            for sql in session {
                run(&client, sql).await?;
            }
            clients.push(client);
        }
        let writer = clients.pop().context("no connection")?;
        let isolation = sql::first_value(&writer, &preset.isolation).await.ok().flatten();
        // Another host's wireprof may have the same number.
        let table = format!("wireprof_probe_{}_{:016x}", std::process::id(), rand::random::<u64>());
        let probe = FreshnessProbe { writer, readers: clients, preset: preset.clone(), table, written: 0, isolation };
        for (made, sql) in probe.preset.create.iter().enumerate() {
            if let Err(error) = run(&probe.writer, &probe.fill(sql)).await {
                // The table may be there without its index; one that this probe could not make is somebody else's.
                if made > 0 {
                    let _ = run(&probe.writer, &probe.fill(&probe.preset.drop)).await;
                }
                return Err(error.context(
                    "--probe needs a table of its own; let the user of --url make one, or leave the probe out",
                ));
            }
        }
        Ok(probe)
    }

    /// Writes and reads for a while; gives what was counted as a check.
    pub async fn run(&mut self, stop: &Stop) -> Result<Check> {
        let begun = Instant::now();
        let (mut writes, mut reads, mut stale, mut first) = (0, 0, 0, None);
        while begun.elapsed() < LENGTH && !stop.requested() {
            let next = Instant::now() + EVERY;
            let written = self.written + 1;
            let sql = self.fill(&self.preset.write).replace("{n}", &written.to_string());
            run(&self.writer, &sql).await?;
            (self.written, writes) = (written, writes + 1);
            let read = self.fill(&self.preset.read);
            let seen = futures::future::join_all(self.readers.iter().map(|reader| newest(reader, &read))).await;
            for seen in seen {
                let seen = seen?;
                reads += 1;
                if seen < written {
                    stale += 1;
                    first.get_or_insert_with(|| {
                        format!(
                            "write {written} was acknowledged, and a read that began after it saw {seen} as the newest"
                        )
                    });
                }
            }
            tokio::time::sleep_until(next.into()).await;
        }
        let isolation = self.isolation.clone();
        Ok(Check::StaleReads { writes, reads, stale, permitted: self.permitted(), isolation, first })
    }

    /// Whether the isolation level lets a read miss a write that was acknowledged before it.
    fn permitted(&self) -> bool {
        let fresh = &self.preset.fresh;
        !fresh.is_empty() && self.isolation.as_ref().is_some_and(|level| !fresh.contains(&level.to_ascii_lowercase()))
    }

    /// Drops the table.
    pub async fn close(self) -> Result<()> {
        run(&self.writer, &self.fill(&self.preset.drop)).await
    }

    fn fill(&self, sql: &str) -> String {
        sql.replace("{table}", &self.table)
    }
}

async fn run(client: &Client, statement: &str) -> Result<()> {
    sql::run(client, statement).await.map_err(|error| explain(&error, statement))
}

fn explain(error: &sql::Error, statement: &str) -> anyhow::Error {
    anyhow!("the probe's statement `{statement}` failed: {}", sql::cause(error))
}

/// The largest number that a read answers; 0 for an empty table.
async fn newest(client: &Client, query: &str) -> Result<u64> {
    let rows = sql::rows(client, query).await.map_err(|error| explain(&error, query))?;
    let number = |row: &SimpleQueryRow| row.get(0)?.parse::<u64>().ok();
    Ok(rows.iter().filter_map(number).max().unwrap_or(0))
}
