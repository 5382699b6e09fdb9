//! Using a known amount of CPU. The loop reads the vdso clock, which can be sampled (a system call hides from
//! sampling); how often is calibrated in CPU time, because a spin until a wall-clock deadline does less work when it
//! is preempted. Invariant: what is reported is what the burn really took on the CPU, not the size asked for: the
//! wall clock over a burn that was not switched out, and for one that was as much as its readings cost lately in
//! those that were not. The thread's CPU clock would not do: it loses the delay of the rescheduling interrupt at each
//! preemption, because the scheduler then charges from the wake-up on to the incoming thread (rq_clock_skip_update in
//! kernel/sched/core.c).

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wireprof::clock::{self, thread_cpu};

/// Weight of one burn in the running mean of a reading's cost: slow enough that a single burn disturbed by interrupts
/// does not show, quick enough to follow a change of frequency within some hundred burns.
const WEIGHT: f64 = 1.0 / 64.0;

/// Asking takes at most this many times what it takes with warm caches.
const COLD: f64 = 20.0;

pub struct Spinner {
    /// Bits of an f64: mean CPU nanoseconds of one reading of the vdso clock on this machine, lately.
    reading: AtomicU64,
    /// CPU nanoseconds of asking once whether the thread was preempted, where that is in the caches.
    asking: f64,
}

impl Spinner {
    /// Measures for about 10 ms.
    pub fn calibrate() -> Self {
        let asking = median((0..101).map(|_| {
            let before = clock::now();
            black_box(preemptions());
            (clock::now() - before) as f64
        }));
        let reading = median((0..51).map(|_| {
            let readings = 5_000;
            let before = thread_cpu();
            read_clock(readings);
            (thread_cpu() - before) as f64 / readings as f64
        }));
        Spinner { reading: AtomicU64::new(reading.max(0.1).to_bits()), asking }
    }

    /// Uses CPU for about `asked` and returns what it really used. Inlined into its caller so that samples lie
    /// directly under the planted function's name.
    #[inline(always)]
    pub fn burn(&self, asked: Duration) -> Duration {
        let reading = f64::from_bits(self.reading.load(Ordering::Relaxed));
        let work = (asked.as_nanos() as f64 - 2.0 * self.asking).max(0.0);
        let readings = (work / reading).round().max(1.0);
        let begin = clock::now();
        let (switches, start) = (preemptions(), clock::now());
        read_clock(readings as u64);
        let end = clock::now();
        let preempted = preemptions() != switches;
        let asking = self.asked(start - begin) + self.asked(clock::now() - end);
        if preempted {
            return Duration::from_nanos((readings * reading + asking) as u64);
        }
        self.learn(reading, (end - start) as f64 / readings);
        Duration::from_nanos(end - start + asking as u64)
    }

    /// What asking took on the CPU: the wall clock, which is more where a thread that has just been woken finds its
    /// caches cold, unless that is so much that the thread was switched out meanwhile.
    fn asked(&self, wall: u64) -> f64 {
        if wall as f64 > COLD * self.asking { self.asking } else { wall as f64 }
    }

    fn learn(&self, reading: f64, observed: f64) {
        let bounded = observed.clamp(reading / 4.0, reading * 4.0);
        let next = reading + (bounded - reading) * WEIGHT;
        self.reading.store(next.max(0.1).to_bits(), Ordering::Relaxed);
    }
}

/// How often this thread lost the CPU without having asked for it; a spin never gives it up by itself.
fn preemptions() -> i64 {
    // SAFETY: rusage is plain integers, for which all zeroes are valid; the call fills exactly one of them.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage.ru_nivcsw
    }
}

#[inline(always)]
fn read_clock(times: u64) {
    for _ in 0..times {
        black_box(clock::now());
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thousand_burns_of_20_us_use_40_ms_of_cpu_within_a_tenth_and_say_so() {
        let spinner = Spinner::calibrate();
        let before = thread_cpu();
        let said: Duration = (0..2_000).map(|_| spinner.burn(Duration::from_micros(20))).sum();
        let used = (thread_cpu() - before) as f64 / 1e6;
        let said = said.as_secs_f64() * 1e3;
        assert!((36.0..44.0).contains(&used), "{used} ms used");
        assert!((said - used).abs() / used < 0.02, "{said} ms said, {used} ms used");
    }
}
