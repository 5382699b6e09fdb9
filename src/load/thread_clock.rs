//! The calling thread's CPU time and id. `CLOCK_THREAD_CPUTIME_ID` is a system call: not for every query.

use crate::clock::Nanos;

/// Nanoseconds that the calling thread has been on CPU, user and system (clock_gettime(2)).
pub fn thread_cpu() -> Nanos {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec for the duration of the call; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// The calling thread's id as /proc knows it.
pub fn thread_id() -> u32 {
    // SAFETY: gettid(2) takes nothing and cannot fail.
    unsafe { libc::gettid() as u32 }
}
