//! Many callers share one read of the oracle. A caller takes a ticket; the worker reads the oracle once for all tickets
//! taken before the read began, with up to three such reads in flight. Invariant: a ticket is answered only by a read
//! that began after the ticket was taken; without the plant that answers from a cache, so is every caller.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, oneshot};

use super::postgres_oracle::PostgresTimestampOracle;
use super::{OracleError, Timestamp};
use crate::metrics::Metrics;
use crate::plant::Planted;

/// Reads of the backing oracle that may be in flight at once.
pub const MAX_BATCHES_IN_FLIGHT: usize = 3;

type Answer = Result<Timestamp, OracleError>;

pub struct BatchingTimestampOracle {
    shared: Arc<Shared>,
    inner: Arc<PostgresTimestampOracle>,
    metrics: Arc<Metrics>,
    planted: Arc<Planted>,
}

struct Shared {
    tickets: Mutex<Tickets>,
    work: Notify,
}

/// Tickets are consecutive numbers; `waiting` holds those not yet answered, in order.
#[derive(Default)]
struct Tickets {
    next: u64,
    /// Tickets below this one are covered by a read that has begun.
    covered: u64,
    /// When the first uncovered ticket was taken.
    uncovered: Option<Instant>,
    waiting: VecDeque<(u64, oneshot::Sender<Answer>)>,
}

impl Tickets {
    fn take(&mut self) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back((self.next, sender));
        self.next += 1;
        self.uncovered.get_or_insert_with(Instant::now);
        receiver
    }

    /// Covers all tickets taken so far by a new batch; `None` if none is uncovered.
    fn begin_batch(&mut self) -> Option<Batch> {
        let size = self.next - self.covered;
        self.covered = self.next;
        let since = self.uncovered.take();
        since.map(|since| Batch { end: self.next, size, since })
    }

    /// Takes the waiters that a batch answers. A later batch that finishes first answers the earlier tickets too.
    fn finish_batch(&mut self, batch: &Batch) -> Vec<oneshot::Sender<Answer>> {
        let answered = self.waiting.iter().take_while(|(ticket, _)| *ticket < batch.end).count();
        self.waiting.drain(..answered).map(|(_, sender)| sender).collect()
    }
}

struct Batch {
    /// The first ticket that is not covered.
    end: u64,
    /// Tickets that no earlier batch covered.
    size: u64,
    /// When the first of these was taken.
    since: Instant,
}

impl Shared {
    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        // Nothing panics while holding the lock.
        self.tickets.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl BatchingTimestampOracle {
    /// Starts the worker task on the current runtime.
    pub fn new(inner: Arc<PostgresTimestampOracle>, metrics: Arc<Metrics>, planted: Arc<Planted>) -> Self {
        let shared = Arc::new(Shared { tickets: Mutex::new(Tickets::default()), work: Notify::new() });
        let worker = Worker {
            shared: Arc::clone(&shared),
            inner: Arc::clone(&inner),
            metrics: Arc::clone(&metrics),
            planted: Arc::clone(&planted),
        };
        tokio::spawn(worker.run());
        BatchingTimestampOracle { shared, inner, metrics, planted }
    }

    /// The timestamp at which a read that begins now must look.
    pub async fn read_ts(&self) -> Answer {
        if let Some(stale) = self.planted.kept_timestamp() {
            return Ok(stale);
        }
        let start = Instant::now();
        let ticket = self.take_ticket();
        let answer = ticket.await.unwrap_or_else(|_| Err(OracleError("its worker ended".to_owned())));
        if let Ok(timestamp) = &answer {
            self.planted.keep_timestamp(*timestamp);
        }
        self.metrics.oracle.batch_wait.observe(start.elapsed().as_secs_f64());
        answer
    }

    #[inline(never)]
    fn take_ticket(&self) -> oneshot::Receiver<Answer> {
        let ticket = self.shared.tickets().take();
        self.shared.work.notify_one();
        ticket
    }

    /// A timestamp for a write; not batched.
    pub async fn write_ts(&self) -> Answer {
        self.inner.write_ts().await
    }

    /// Makes the writes at `write_ts` visible to later reads; not batched.
    pub async fn apply_write(&self, write_ts: Timestamp) -> Result<(), OracleError> {
        self.inner.apply_write(write_ts).await
    }
}

struct Worker {
    shared: Arc<Shared>,
    inner: Arc<PostgresTimestampOracle>,
    metrics: Arc<Metrics>,
    planted: Arc<Planted>,
}

impl Worker {
    async fn run(self) {
        let most = self.planted.batches_in_flight().unwrap_or(MAX_BATCHES_IN_FLIGHT);
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < most {
                let Some(batch) = self.shared.tickets().begin_batch() else { break };
                self.metrics.oracle.batches.inc();
                self.metrics.oracle.batched_ops.inc_by(batch.size);
                self.planted.batch_begun(batch.since.elapsed());
                in_flight.push(self.read_batch(batch));
            }
            tokio::select! {
                Some((batch, answer)) = in_flight.next(), if !in_flight.is_empty() => self.answer(&batch, answer),
                () = self.shared.work.notified(), if in_flight.len() < most => {}
            }
        }
    }

    async fn read_batch(&self, batch: Batch) -> (Batch, Answer) {
        let start = Instant::now();
        let answer = self.inner.read_ts().await;
        self.metrics.oracle.batch_inner_read.observe(start.elapsed().as_secs_f64());
        (batch, answer)
    }

    #[inline(never)]
    fn answer(&self, batch: &Batch, answer: Answer) {
        let waiters = self.shared.tickets().finish_batch(batch);
        for waiter in waiters {
            // A caller that went away needs no answer.
            let _ = waiter.send(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_answers_the_tickets_taken_before_it_began_and_no_later_one() {
        let mut tickets = Tickets::default();
        let _first = (tickets.take(), tickets.take());
        let batch = tickets.begin_batch().unwrap();
        let _late = tickets.take();
        assert_eq!(batch.size, 2);
        assert_eq!(tickets.finish_batch(&batch).len(), 2);
        assert_eq!(tickets.waiting.len(), 1);
    }

    #[test]
    fn a_later_batch_that_finishes_first_answers_the_earlier_tickets_and_the_earlier_then_nobody() {
        let mut tickets = Tickets::default();
        let _one = tickets.take();
        let earlier = tickets.begin_batch().unwrap();
        let _two = tickets.take();
        let later = tickets.begin_batch().unwrap();
        assert!(tickets.begin_batch().is_none());
        assert_eq!(later.size, 1);
        assert_eq!(tickets.finish_batch(&later).len(), 2);
        assert_eq!(tickets.finish_batch(&earlier).len(), 0);
    }
}
