//! Latencies so far, coarsely, for whoever looks on while the load runs. Invariant: counting one costs a load thread
//! two plain accesses to memory of its own; no figure of a run is from here.

use std::sync::atomic::{AtomicU32, Ordering};

/// Parts of each power of two: a bucket is an eighth wide, or narrower.
const PARTS: u32 = 8;
const BUCKETS: usize = (64 * PARTS) as usize;

/// One thread's counts by bucket. Written by that thread alone.
#[derive(Debug)]
pub struct Counts(Box<[AtomicU32]>);

impl Default for Counts {
    fn default() -> Self {
        Counts((0..BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Counts {
    #[inline]
    pub fn add(&self, nanos: u64) {
        let count = &self.0[bucket(nanos)];
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

#[inline]
fn bucket(nanos: u64) -> usize {
    let power = 63 - (nanos | u64::from(PARTS)).leading_zeros();
    let part = (nanos >> (power - PARTS.trailing_zeros())) as u32 & (PARTS - 1);
    (power * PARTS + part) as usize
}

/// The middle of a bucket, in ns.
fn middle(bucket: usize) -> u64 {
    let (power, part) = (bucket as u32 / PARTS, bucket as u64 % u64::from(PARTS));
    let width = (1u64 << power) / u64::from(PARTS);
    (1u64 << power) + part * width + width / 2
}

/// The counts of all threads at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// The sums over all threads.
    pub fn of<'a>(threads: impl Iterator<Item = &'a Counts>) -> Latencies {
        let mut sums = vec![0u32; BUCKETS];
        for counts in threads {
            for (sum, count) in sums.iter_mut().zip(&counts.0) {
                *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
            }
        }
        Latencies(sums)
    }

    /// About the quantile of what came after `before`, in ns; `None` where nothing did.
    pub fn quantile_since(&self, before: &Latencies, quantile: f64) -> Option<u64> {
        let new = || self.0.iter().zip(&before.0).map(|(now, then)| u64::from(now.wrapping_sub(*then)));
        let all: u64 = new().sum();
        let wanted = ((all as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        new()
            .position(|count| {
                seen += count;
                seen >= wanted
            })
            .filter(|_| all > 0)
            .map(middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_of_what_came_since_is_right_within_an_eighth() {
        let counts = Counts::default();
        counts.add(1);
        let before = Latencies::of(std::iter::once(&counts));
        for micros in 1..=1_000u64 {
            counts.add(micros * 1_000);
        }
        let after = Latencies::of([&counts, &Counts::default()].into_iter());
        for (quantile, expected) in [(0.5, 500_000.0), (0.99, 990_000.0)] {
            let found = after.quantile_since(&before, quantile).unwrap() as f64;
            assert!((found / expected - 1.0).abs() < 0.13, "{found} for {expected}");
        }
        assert_eq!(after.quantile_since(&after, 0.99), None);
        counts.add(u64::MAX);
    }
}
