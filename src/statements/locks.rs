//! Who waits for which lock of the database, asked again and again while a window runs. Invariant: a reading is one
//! look at the locks, whose rows are never compared with another's; what a reading does not name (a table in another
//! database, one of several holders) is `None`.

use super::StatementsError;
use crate::clock::{self, Span};
use crate::sql;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryRow};

/// `[locks]` of a preset: how the database is asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockQuery {
    /// Answers a row for each lock that is waited for, in five columns: the lock's type; the names of the tables that
    /// it may be on, with their schemas, as a JSON array; the mode that is waited for; how many wait; the process id of
    /// the only holder, or NULL.
    pub query: String,
    /// The statement that lets a role run it, with `{user}` for the role; `None`: any role may.
    pub grant: Option<String>,
}

/// One lock that was waited for when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWait {
    /// What is waited for, by its type, table and mode.
    pub lock: WaitedLock,
    /// Sessions that wait for it.
    pub waiters: u64,
    /// Process id of the only session that holds it; `None`: several hold it, or it is not known.
    pub holder: Option<u32>,
}

/// A lock that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaitedLock {
    /// As the database calls it: `transactionid`, `tuple`, `relation`.
    pub kind: String,
    /// The table, with its schema. Several: it is on one of them. None: it is on no table, or not known on which.
    pub tables: Vec<String>,
    /// As the database calls it: `ExclusiveLock`.
    pub mode: String,
}

impl WaitedLock {
    /// The table that it is on, where it is known.
    pub fn table(&self) -> Option<&str> {
        match &self.tables[..] {
            [table] => Some(table),
            _ => None,
        }
    }
}

/// The readings of a window together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockWaits {
    /// From the beginning of the first reading to the end of the last one; `None`: there is none.
    pub span: Option<Span>,
    /// Readings, those in which nobody waited included: the divisor of the waiters.
    pub readings: u64,
    /// Each lock that was waited for, the one with the most waiters first.
    pub locks: Vec<LockSum>,
}

/// One lock over all readings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSum {
    /// The lock.
    pub lock: WaitedLock,
    /// Sum over the readings of the sessions that waited; by [`LockWaits::readings`] their mean number.
    pub waiters: u64,
    /// Most sessions that waited in one reading.
    pub most: u64,
    /// Readings in which anybody waited for it.
    pub readings: u64,
    /// The processes that were seen to hold it alone, by the readings in which they were.
    pub holders: BTreeMap<u32, u64>,
}

impl LockWaits {
    /// Mean number of sessions that waited for locks on each table, the most first; two tables that one lock can be on
    /// are one name. Locks on no known table are left out.
    pub fn tables(&self) -> Vec<(f64, String)> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for sum in self.locks.iter().filter(|sum| !sum.lock.tables.is_empty()) {
            *sums.entry(sum.lock.tables.join(" or ")).or_default() += sum.waiters;
        }
        let mean = |(table, waiters): (String, u64)| (waiters as f64 / self.readings.max(1) as f64, table);
        let mut tables: Vec<_> = sums.into_iter().map(mean).collect();
        tables.sort_by(|a, b| b.0.total_cmp(&a.0));
        tables
    }

    /// Adds one reading, made in `span`. Rows of one lock with several holders are one lock.
    pub fn add(&mut self, span: Span, rows: Vec<LockWait>) {
        self.readings += 1;
        self.span = Some(Span::new(self.span.map_or(span.start, |all| all.start), span.end));
        let mut seen: BTreeMap<WaitedLock, (u64, Vec<u32>)> = BTreeMap::new();
        for row in rows {
            let (waiters, holders) = seen.entry(row.lock).or_default();
            *waiters += row.waiters;
            holders.extend(row.holder);
        }
        for (lock, (waiters, mut holders)) in seen {
            let sum = self.sum_of(lock);
            sum.waiters += waiters;
            sum.most = sum.most.max(waiters);
            sum.readings += 1;
            holders.sort_unstable();
            holders.dedup();
            holders.into_iter().for_each(|holder| *sum.holders.entry(holder).or_default() += 1);
        }
        self.locks.sort_by(|a, b| b.waiters.cmp(&a.waiters).then_with(|| a.lock.cmp(&b.lock)));
    }

    fn sum_of(&mut self, lock: WaitedLock) -> &mut LockSum {
        let at = self.locks.iter().position(|sum| sum.lock == lock).unwrap_or_else(|| {
            self.locks.push(LockSum { lock, waiters: 0, most: 0, readings: 0, holders: BTreeMap::new() });
            self.locks.len() - 1
        });
        &mut self.locks[at]
    }

    /// Sessions that waited for a lock on average; `None` without readings.
    pub fn mean(&self, sum: &LockSum) -> Option<f64> {
        (self.readings > 0).then(|| sum.waiters as f64 / self.readings as f64)
    }
}

/// Asks once.
///
/// # Errors
/// [`StatementsError::Permission`] where the role may not see the locks, else [`StatementsError::Query`].
pub async fn read_locks(client: &Client, asked: &LockQuery) -> Result<Vec<LockWait>, StatementsError> {
    match sql::rows(client, &asked.query).await {
        Ok(rows) => rows.iter().map(waited).collect(),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => match &asked.grant {
            Some(grant) => {
                let user = sql::first_value(client, "SELECT current_user").await.ok().flatten();
                let remedy = grant.replace("{user}", user.as_deref().unwrap_or("ROLE"));
                Err(StatementsError::Permission { what: WHAT, remedy })
            }
            None => Err(unreadable(sql::cause(&error))),
        },
        Err(error) => Err(unreadable(sql::cause(&error))),
    }
}

const WHAT: &str = "the locks that sessions wait for";

fn unreadable(why: String) -> StatementsError {
    StatementsError::Query { what: WHAT.into(), why }
}

fn waited(row: &SimpleQueryRow) -> Result<LockWait, StatementsError> {
    let text = |at: usize| row.try_get(at).map_err(|_| unreadable(format!("its answer has {} columns", row.len())));
    let needed = |at: usize| text(at)?.ok_or_else(|| unreadable(format!("column {} of a row is NULL", at + 1)));
    let count = |at: usize, text: &str| {
        text.parse::<u64>().map_err(|_| unreadable(format!("column {}: `{text}` is no number", at + 1)))
    };
    let holder = text(4)?.map(|pid| count(4, pid)).transpose()?.and_then(|pid| u32::try_from(pid).ok());
    let names = needed(1)?;
    let tables = serde_json::from_str(names);
    let tables = tables.map_err(|_| unreadable(format!("column 2: `{names}` is no JSON array of names")))?;
    Ok(LockWait {
        lock: WaitedLock { kind: needed(0)?.into(), tables, mode: needed(2)?.into() },
        waiters: count(3, needed(3)?)?,
        holder,
    })
}

/// Asks every so often, at once for the first time, until `end` is ready. Where an answer takes longer than `every`,
/// the next question is asked when it is there.
///
/// # Errors
/// The first failure, as [`read_locks`] gives it: part of a window's readings is no measurement of the window.
pub async fn sample_locks(
    client: &Client,
    asked: &LockQuery,
    every: Duration,
    end: impl Future<Output = ()>,
) -> Result<LockWaits, StatementsError> {
    let mut sum = LockWaits::default();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            () = &mut end, if sum.readings > 0 => return Ok(sum),
            _ = ticks.tick() => {
                let start = clock::now();
                let rows = read_locks(client, asked).await?;
                sum.add(Span::new(start, clock::now()), rows);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(kind: &str, table: Option<&str>, waiters: u64, holder: Option<u32>) -> LockWait {
        let tables = table.into_iter().map(str::to_string).collect();
        let lock = WaitedLock { kind: kind.into(), tables, mode: "ShareLock".into() };
        LockWait { lock, waiters, holder }
    }

    #[test]
    fn readings_add_up_by_lock_and_those_in_which_nobody_waits_count() {
        let mut sum = LockWaits::default();
        assert_eq!(sum.span, None);
        sum.add(Span::new(10, 12), vec![wait("tuple", Some("public.t"), 3, Some(7))]);
        sum.add(Span::new(20, 23), vec![]);
        let row = |waiters, holder| wait("tuple", Some("public.t"), waiters, holder);
        sum.add(
            Span::new(30, 31),
            vec![row(2, Some(7)), row(3, Some(8)), row(1, None), wait("transactionid", None, 1, Some(9))],
        );
        assert_eq!((sum.readings, sum.span), (3, Some(Span::new(10, 31))));
        let [tuple, other] = &sum.locks[..] else { panic!("{:?}", sum.locks) };
        assert_eq!((tuple.waiters, tuple.most, tuple.readings), (9, 6, 2));
        assert_eq!(tuple.holders, BTreeMap::from([(7, 2), (8, 1)]));
        assert_eq!((other.lock.kind.as_str(), other.waiters, other.readings), ("transactionid", 1, 1));
        assert_eq!(sum.mean(tuple), Some(3.0));
        assert_eq!((tuple.lock.table(), other.lock.table()), (Some("public.t"), None));
        let stored = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<LockWaits>(&stored).unwrap(), sum);
    }
}
