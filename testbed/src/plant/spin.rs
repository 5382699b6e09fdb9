//! Using a known amount of CPU: by reading the vdso clock until enough has gone by, which can be sampled (a system call
//! hides from sampling). Invariant: what is used and reported is the loop's own time: where the next reading comes far
//! later than one takes, the thread was interrupted, switched out or its CPU stopped, and that is not counted. Profiles
//! show interrupts by their own frames, so that a planted function is held against what it did itself. The thread's CPU
//! clock would not do: it counts interrupts, and loses the delay of the rescheduling interrupt at each preemption,
//! because the scheduler then charges from the wake-up on to the incoming thread (rq_clock_skip_update in
//! kernel/sched/core.c).

use std::time::Duration;

use wireprof::clock;

/// A reading that comes after so many times what one takes is late. An interrupt takes a hundred times as long or more;
/// a cache line that must be fetched, a few times.
const LATE: u64 = 16;
/// Of so many readings the median is what one takes.
const READINGS: usize = 5_001;

pub struct Spinner {
    /// ns that a reading of the clock takes on this machine.
    reading: u64,
}

impl Spinner {
    /// Measures what a reading takes.
    pub fn calibrate() -> Self {
        let mut last = clock::now();
        let steps = (0..READINGS).map(|_| {
            let now = clock::now();
            now - std::mem::replace(&mut last, now)
        });
        let mut steps: Vec<u64> = steps.collect();
        steps.sort_unstable();
        Spinner { reading: steps[READINGS / 2].max(1) }
    }

    /// Uses CPU for about `asked` and returns what it really used. Inlined into its caller so that samples lie
    /// directly under the planted function's name.
    #[inline(always)]
    pub fn burn(&self, asked: Duration) -> Duration {
        let (asked, late) = (asked.as_nanos() as u64, LATE * self.reading);
        let (mut used, mut last) = (0, clock::now());
        while used < asked {
            let now = clock::now();
            let step = now - last;
            used += if step > late { self.reading } else { step };
            last = now;
        }
        Duration::from_nanos(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireprof::clock::thread_cpu;

    #[test]
    fn two_thousand_burns_of_20_us_use_40_ms_of_cpu_and_say_so_but_for_what_interrupted_them() {
        let spinner = Spinner::calibrate();
        let before = thread_cpu();
        let said: Duration = (0..2_000).map(|_| spinner.burn(Duration::from_micros(20))).sum();
        let used = (thread_cpu() - before) as f64 / 1e6;
        let said = said.as_secs_f64() * 1e3;
        assert!((40.0..41.0).contains(&said), "{said} ms said");
        assert!(said < used * 1.01 && said > used * 0.85, "{said} ms said, {used} ms used");
    }

    #[test]
    fn what_stops_the_thread_is_not_counted() {
        let spinner = Spinner::calibrate();
        let (before, began) = (thread_cpu(), clock::now());
        // Longer than a time slice, beside as many threads as there are CPUs: it is switched out.
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let said = spinner.burn(Duration::from_millis(100));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!((0.1..0.1001).contains(&said.as_secs_f64()), "{said:?}");
        });
        let (used, wall) = (thread_cpu() - before, clock::now() - began);
        assert!(used < 130_000_000, "{used} ns of CPU in {wall} ns");
    }
}
