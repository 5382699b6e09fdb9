//! The one clock: every sample, completion and scrape carries nanoseconds of `CLOCK_MONOTONIC`, so that all of them
//! can be cut to the same window. Invariant: no other clock's reading is ever compared with these; a thread's CPU
//! time is one of its own, of which only differences are used. Where another host takes part, its clock is brought here
//! by a relation that has a bound.

mod relation;

pub use relation::{ClockReading, ClockRelation, Clocks};

use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC` (clock_gettime(2)); the same origin for all processes of one boot.
pub type Nanos = u64;

/// The present reading of `CLOCK_MONOTONIC` in nanoseconds. Goes through the vdso: no system call.
pub fn now() -> Nanos {
    reading(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds that the calling thread has been on CPU, user and system. A system call: not for every query.
pub fn thread_cpu() -> u64 {
    reading(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// clock_gettime(2) of a clock that every Linux has.
#[inline]
fn reading(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec for the duration of the call; both clocks always exist (Linux 2.6.12).
    unsafe { libc::clock_gettime(clock, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// A half-open interval `[start, end)` of `CLOCK_MONOTONIC` nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first instant inside, in ns.
    pub start: Nanos,
    /// The first instant behind the end, in ns.
    pub end: Nanos,
}

impl Span {
    /// From `start` until before `end`, both in ns.
    pub fn new(start: Nanos, end: Nanos) -> Self {
        Span { start, end }
    }

    /// Length in nanoseconds; zero for an inverted span.
    pub fn nanos(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Length in seconds; zero for an inverted span.
    pub fn seconds(&self) -> f64 {
        self.nanos() as f64 / 1e9
    }

    /// Whether `at` lies inside: `start` does, `end` does not.
    pub fn contains(&self, at: Nanos) -> bool {
        self.start <= at && at < self.end
    }

    /// The instant half way: a scrape is taken to have happened there.
    pub fn midpoint(&self) -> Nanos {
        self.start + self.nanos() / 2
    }
}
