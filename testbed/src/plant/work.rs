//! The plants at work on the threads that pass them. Invariant: every function here that uses CPU or waits is named
//! `planted_*`, is never inlined, and adds to its own counters exactly what it did.

use std::sync::Mutex;
use std::time::Duration;

use super::spin::Spinner;
use super::tally::Counted;
use crate::precise;
use wireprof::clock;

/// Makes otherwise equal functions differ: the compiler folds equal ones into one, and a profile of the folded function
/// would show one plant under another's name.
#[inline(always)]
pub fn keep_apart(place: &'static str) {
    std::hint::black_box(place);
}

#[inline(never)]
pub fn planted_peek_work(spinner: &Spinner, plant: &Counted<Duration>) {
    keep_apart("peek");
    let cpu = spinner.burn(plant.size);
    plant.tally.add(cpu, Duration::ZERO);
}

#[inline(never)]
pub fn planted_oracle_work(spinner: &Spinner, plant: &Counted<Duration>) {
    keep_apart("oracle");
    let cpu = spinner.burn(plant.size);
    plant.tally.add(cpu, Duration::ZERO);
}

#[inline(never)]
pub fn planted_outside_work(spinner: &Spinner, plant: &Counted<Duration>) {
    keep_apart("outside");
    let cpu = spinner.burn(plant.size);
    plant.tally.add(cpu, Duration::ZERO);
}

#[inline(never)]
pub fn planted_metrics_work(spinner: &Spinner, plant: &Counted<Duration>) {
    keep_apart("metrics");
    let cpu = spinner.burn(plant.size);
    plant.tally.add(cpu, Duration::ZERO);
}

#[inline(never)]
pub fn planted_coordinator_work(spinner: &Spinner, plant: &Counted<Duration>, queued: Duration) {
    let cpu = spinner.burn(plant.size);
    plant.tally.add(cpu, queued);
}

#[inline(never)]
pub fn planted_lock(spinner: &Spinner, lock: &Mutex<()>, plant: &Counted<Duration>) {
    let asked = clock::now();
    // The guarded value is empty: a panic of another holder leaves nothing inconsistent.
    let guard = lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let waited = Duration::from_nanos(clock::now() - asked);
    let cpu = planted_lock_hold(spinner, plant.size);
    drop(guard);
    plant.tally.add(cpu, waited);
}

#[inline(never)]
fn planted_lock_hold(spinner: &Spinner, duration: Duration) -> Duration {
    spinner.burn(duration)
}

#[inline(never)]
pub fn planted_allocations(plant: &Counted<usize>) {
    let before = clock::thread_cpu();
    let blocks: Vec<Box<[u8]>> = (0..plant.size)
        .map(|index| {
            // 16 to 4,096 bytes, spread over the allocator's size classes by a multiplicative hash.
            let size = 16 << ((index.wrapping_mul(2_654_435_761) >> 16) % 9);
            let mut block = vec![0_u8; size].into_boxed_slice();
            block[size / 2] = index as u8;
            std::hint::black_box(block)
        })
        .collect();
    drop(std::hint::black_box(blocks));
    plant.tally.add(Duration::from_nanos(clock::thread_cpu() - before), Duration::ZERO);
}

#[inline(never)]
pub fn planted_blocking_wait(plant: &Counted<Duration>) {
    let start = clock::now();
    precise::sleep_until(start + plant.size.as_nanos() as u64);
    plant.tally.add(Duration::ZERO, Duration::from_nanos(clock::now() - start));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a release build folds functions.
    #[test]
    fn the_planted_functions_are_not_folded_into_one() {
        let functions: [fn(&Spinner, &Counted<Duration>); 3] =
            [planted_peek_work, planted_oracle_work, planted_outside_work];
        let addresses: std::collections::BTreeSet<usize> = functions.iter().map(|&f| f as usize).collect();
        assert_eq!(addresses.len(), 3);
    }
}
