//! Waits of microseconds for asynchronous code. The runtime's own timers round up to a millisecond, so a thread of its
//! own sleeps until each deadline. Invariant: all waits of one queue have the same length, hence first in, first out.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::precise;
use wireprof::clock::{self, Nanos};

/// Tells when it was given.
type Answer = oneshot::Sender<Nanos>;

pub struct DelayQueue {
    requests: mpsc::Sender<(Nanos, Answer)>,
    length: Duration,
}

impl DelayQueue {
    pub fn start(length: Duration) -> std::io::Result<Self> {
        let (requests, due) = mpsc::channel();
        std::thread::Builder::new().name("planted-delay".to_owned()).spawn(move || answer_in_time(due))?;
        Ok(DelayQueue { requests, length })
    }

    /// Waits for the queue's length; returns how long it really took.
    pub async fn wait(&self) -> Duration {
        let start = clock::now();
        self.ask(start).await;
        Duration::from_nanos(clock::now() - start)
    }

    /// Waits for the queue's length; returns the last part of it: from the answer until the caller goes on.
    pub async fn time_to_go_on(&self) -> Duration {
        let answered = self.ask(clock::now()).await;
        Duration::from_nanos(answered.map_or(0, |answered| clock::now() - answered))
    }

    /// When it was answered; `None` would mean that the thread is gone: then there is nothing to wait for.
    async fn ask(&self, start: Nanos) -> Option<Nanos> {
        let (done, answered) = oneshot::channel();
        let accepted = self.requests.send((start + self.length.as_nanos() as u64, done)).is_ok();
        debug_assert!(accepted, "the delay thread ends only with its queue");
        answered.await.ok()
    }
}

fn answer_in_time(due: mpsc::Receiver<(Nanos, Answer)>) {
    precise::sharpen_timers();
    for (deadline, done) in due {
        precise::sleep_until(deadline);
        // A waiter that went away needs no answer.
        let _ = done.send(clock::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_of_100_us_overlap_and_are_shorter_than_a_millisecond() {
        let queue = DelayQueue::start(Duration::from_micros(100)).unwrap();
        let mut shortest = Duration::MAX;
        for _ in 0..50 {
            let (first, second) = futures::join!(queue.wait(), queue.wait());
            assert!(first >= Duration::from_micros(100) && second >= Duration::from_micros(100));
            shortest = shortest.min(first.max(second));
        }
        assert!(shortest < Duration::from_micros(900), "{shortest:?}");
    }
}
