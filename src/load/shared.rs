//! What load threads and the conductor share while the load runs. Invariant: load threads only store to counters of
//! their own, each on its own cache line; nothing here is locked in the steady state.

use super::latencies::{Counts, Latencies};
use super::record::Loss;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// SQLSTATE of a connection that ended without a word of the server.
pub const CONNECTION_FAILURE: &str = "08006";

/// What the load threads are to do.
const RUN: u8 = 0;
/// To hand their connections back, queries under way and all.
const PART: u8 = 1;
/// To end.
const STOP: u8 = 2;

/// One thread's counters.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Progress {
    completed: AtomicU64,
    errors: AtomicU64,
    latencies: Counts,
}

/// Progress, failure and the wish to stop.
#[derive(Debug)]
pub struct Shared {
    progress: Vec<Progress>,
    wish: AtomicU8,
    /// Connections that are not lost.
    alive: AtomicUsize,
    connections: usize,
    /// Threads whose jobs have not all ended.
    active: AtomicUsize,
    failure: Mutex<Option<String>>,
    /// Why a connection was lost; the server's own words go before what the socket says.
    loss: Mutex<Option<Loss>>,
}

impl Shared {
    /// With counters for so many threads at most.
    pub fn new(threads: usize, connections: usize) -> Self {
        Shared {
            progress: (0..threads).map(|_| Progress::default()).collect(),
            wish: AtomicU8::new(RUN),
            alive: AtomicUsize::new(connections),
            connections,
            active: AtomicUsize::new(0),
            failure: Mutex::new(None),
            loss: Mutex::new(None),
        }
    }

    /// Load threads at most.
    pub fn most_threads(&self) -> usize {
        self.progress.len()
    }

    /// The load begins, or goes on, on so many threads; none of them runs yet.
    pub fn run_on(&self, threads: usize) {
        self.active.store(threads, Ordering::Release);
        self.wish.store(RUN, Ordering::Release);
    }

    pub fn part(&self) {
        self.wish.store(PART, Ordering::Release);
    }

    #[inline]
    pub fn parting(&self) -> bool {
        self.wish.load(Ordering::Acquire) == PART
    }

    pub fn stop(&self) {
        self.wish.store(STOP, Ordering::Release);
    }

    #[inline]
    pub fn stopping(&self) -> bool {
        self.wish.load(Ordering::Acquire) == STOP
    }

    /// What this thread, or the one before it in its place, has completed so far, and its errors.
    pub fn counted(&self, thread: usize) -> (u64, u64) {
        let progress = &self.progress[thread];
        (progress.completed.load(Ordering::Relaxed), progress.errors.load(Ordering::Relaxed))
    }

    #[inline]
    pub fn report(&self, thread: usize, completed: u64, errors: u64) {
        self.progress[thread].completed.store(completed, Ordering::Relaxed);
        self.progress[thread].errors.store(errors, Ordering::Relaxed);
    }

    /// A query's latency in ns, for whoever looks on.
    #[inline]
    pub fn took(&self, thread: usize, latency: u64) {
        self.progress[thread].latencies.add(latency);
    }

    /// The latencies so far.
    pub fn latencies(&self) -> Latencies {
        Latencies::of(self.progress.iter().map(|progress| &progress.latencies))
    }

    /// Queries completed and errors so far.
    pub fn progress(&self) -> (u64, u64) {
        self.progress.iter().fold((0, 0), |(completed, errors), p| {
            (completed + p.completed.load(Ordering::Relaxed), errors + p.errors.load(Ordering::Relaxed))
        })
    }

    /// Keeps the first reason why the load cannot go on.
    pub fn fail(&self, why: String) {
        let mut failure = self.failure.lock();
        failure.get_or_insert(why);
    }

    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// One connection less; with the last one the load has failed.
    pub fn lost_one(&self, loss: &Loss) {
        let mut kept = self.loss.lock();
        if kept.as_ref().is_none_or(|kept| kept.sqlstate == CONNECTION_FAILURE) {
            *kept = Some(loss.clone());
        }
        let reason = kept.as_ref().map(|loss| format!("{} (SQLSTATE {})", loss.message, loss.sqlstate));
        drop(kept);
        if self.alive.fetch_sub(1, Ordering::AcqRel) == 1 {
            let reason = reason.unwrap_or_default();
            self.fail(format!("all {} connections are lost: {reason}; look into the server's log", self.connections));
        }
    }

    /// One thread has nothing left to send; with the last one the load is over, which is no error of the server's.
    pub fn thread_ended(&self) {
        if self.active.fetch_sub(1, Ordering::AcqRel) == 1 && self.alive.load(Ordering::Acquire) > 0 {
            self.fail("every job of the workload has ended (by its count, stop, arguments or log)".into());
        }
    }
}
