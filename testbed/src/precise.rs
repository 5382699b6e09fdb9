//! The sleep that plants need and the standard library does not give: until an instant of `CLOCK_MONOTONIC`, without
//! rounding up. Invariant: all durations are nanoseconds.

use wireprof::clock::Nanos;

/// Sleeps until `deadline` of `CLOCK_MONOTONIC`; returns at once if it has passed.
pub fn sleep_until(deadline: Nanos) {
    let ts = libc::timespec {
        tv_sec: (deadline / 1_000_000_000) as libc::time_t,
        tv_nsec: (deadline % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `ts` is a valid timespec and the remainder pointer may be null (it is unused with TIMER_ABSTIME).
    while unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &ts, std::ptr::null_mut()) }
        == libc::EINTR
    {}
}

/// Lets the calling thread's sleeps end within a nanosecond of their deadline instead of the default 50 us.
pub fn sharpen_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer argument and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_of_200_us_ends_after_its_deadline_and_not_a_millisecond_late() {
        sharpen_timers();
        // The machine may be busy: of twenty tries at least one must be undisturbed.
        let best = (0..20)
            .map(|_| {
                let deadline = wireprof::clock::now() + 200_000;
                sleep_until(deadline);
                let woken = wireprof::clock::now();
                assert!(woken >= deadline);
                woken - deadline
            })
            .min();
        assert!(best < Some(500_000), "woken {best:?} ns late");
    }

    #[test]
    fn thread_cpu_does_not_advance_while_the_thread_sleeps() {
        let before = wireprof::clock::thread_cpu();
        sleep_until(wireprof::clock::now() + 20_000_000);
        assert!(wireprof::clock::thread_cpu() - before < 10_000_000);
    }
}
