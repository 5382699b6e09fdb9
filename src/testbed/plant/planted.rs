//! The plants at work. Invariant: every function here that uses CPU or waits is named `planted_*`, is never inlined,
//! and adds to its own counters exactly what it did; a plant that was not asked for costs one test of an `Option`.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use prometheus::{Counter, IntCounter, IntGauge};

use super::delay::DelayQueue;
use super::spin::Spinner;
use super::{Place, Plant};
use crate::clock;
use crate::testbed::metrics::PlantMetrics;
use crate::testbed::precise;
use crate::testbed::timestamp_oracle::Timestamp;

/// What one plant did: published as `wireprof_plant_{calls,cpu_seconds,wait_seconds}_total{plant}`.
#[derive(Clone)]
struct Tally {
    calls: IntCounter,
    cpu: Counter,
    wait: Counter,
}

impl Tally {
    fn add(&self, cpu: Duration, wait: Duration) {
        self.calls.inc();
        if !cpu.is_zero() {
            self.cpu.inc_by(cpu.as_secs_f64());
        }
        if !wait.is_zero() {
            self.wait.inc_by(wait.as_secs_f64());
        }
    }
}

/// The read timestamp that is served again, and since when.
type Kept = Option<(Instant, Timestamp)>;

struct Counted<T> {
    size: T,
    tally: Tally,
}

/// All plants of one testbed.
pub struct Planted {
    spinner: Spinner,
    peek: Option<Counted<Duration>>,
    oracle: Option<Counted<Duration>>,
    outside: Option<Counted<Duration>>,
    lock: Option<(Mutex<()>, Counted<Duration>)>,
    oracle_delay: Option<(DelayQueue, Tally)>,
    pool_size: Option<Tally>,
    coordinator: Option<Counted<Duration>>,
    allocate: Option<Counted<usize>>,
    churn: Option<Counted<u32>>,
    starve: Option<Counted<Duration>>,
    stale_reads: Option<(Mutex<Kept>, Counted<Duration>)>,
    deep_stack: Option<(Counted<usize>, IntGauge)>,
}

impl Planted {
    /// Calibrates the spin and starts what the plants need. Each plant's series exist from here on, at zero.
    pub fn start(plants: &[Plant], metrics: &PlantMetrics) -> std::io::Result<Self> {
        let mut planted = Planted {
            spinner: Spinner::calibrate(),
            peek: None,
            oracle: None,
            outside: None,
            lock: None,
            oracle_delay: None,
            pool_size: None,
            coordinator: None,
            allocate: None,
            churn: None,
            starve: None,
            stale_reads: None,
            deep_stack: None,
        };
        for plant in plants {
            let name = &[plant.name()];
            let tally = Tally {
                calls: metrics.calls.with_label_values(name),
                cpu: metrics.cpu_seconds.with_label_values(name),
                wait: metrics.wait_seconds.with_label_values(name),
            };
            planted.place(plant, tally, metrics)?;
        }
        Ok(planted)
    }

    fn place(&mut self, plant: &Plant, tally: Tally, metrics: &PlantMetrics) -> std::io::Result<()> {
        match *plant {
            Plant::Cpu { place, duration } => {
                let slot = match place {
                    Place::Peek => &mut self.peek,
                    Place::Oracle => &mut self.oracle,
                    Place::Outside => &mut self.outside,
                };
                *slot = Some(Counted { size: duration, tally });
            }
            Plant::Lock { duration } => self.lock = Some((Mutex::new(()), Counted { size: duration, tally })),
            Plant::OracleDelay { duration } => self.oracle_delay = Some((DelayQueue::start(duration)?, tally)),
            Plant::PoolSize { .. } => self.pool_size = Some(tally),
            Plant::Coordinator { duration } => self.coordinator = Some(Counted { size: duration, tally }),
            Plant::Allocate { count } => self.allocate = Some(Counted { size: count, tally }),
            Plant::Churn { per_second } => self.churn = Some(Counted { size: per_second, tally }),
            Plant::Starve { duration } => self.starve = Some(Counted { size: duration, tally }),
            Plant::StaleReads { duration } => {
                self.stale_reads = Some((Mutex::default(), Counted { size: duration, tally }));
            }
            Plant::DeepStack { bytes } => {
                let depth = metrics.stack_bytes.with_label_values(&[plant.name()]);
                self.deep_stack = Some((Counted { size: bytes, tally }, depth));
            }
        }
        Ok(())
    }

    /// All that is planted into a peek itself, except the way through the coordinator.
    pub fn peek(&self) {
        if let Some(plant) = &self.peek {
            planted_peek_work(&self.spinner, plant);
        }
        if let Some((lock, plant)) = &self.lock {
            planted_lock(&self.spinner, lock, plant);
        }
        if let Some(plant) = &self.allocate {
            planted_allocations(plant);
        }
        if let Some(plant) = &self.starve {
            planted_blocking_wait(plant);
        }
    }

    pub fn oracle(&self) {
        if let Some(plant) = &self.oracle {
            planted_oracle_work(&self.spinner, plant);
        }
    }

    pub fn outside(&self) {
        if let Some(plant) = &self.outside {
            planted_outside_work(&self.spinner, plant);
        }
    }

    pub async fn oracle_delay(&self) {
        if let Some((queue, tally)) = &self.oracle_delay {
            let waited = queue.wait().await;
            tally.add(Duration::ZERO, waited);
        }
    }

    /// Counts one wait for a connection of the oracle's pool.
    pub fn pool_acquired(&self, waited: Duration) {
        if let Some(tally) = &self.pool_size {
            tally.add(Duration::ZERO, waited);
        }
    }

    /// True if every peek must pass through the coordinator.
    pub fn through_coordinator(&self) -> bool {
        self.coordinator.is_some()
    }

    /// The coordinator's own work for a peek that was sent `queued` ago.
    pub fn coordinator(&self, queued: Duration) {
        if let Some(plant) = &self.coordinator {
            planted_coordinator_work(&self.spinner, plant, queued);
        }
    }

    /// Sessions to open and close a second, if churn is planted.
    pub fn churn_per_second(&self) -> Option<u32> {
        self.churn.as_ref().map(|plant| plant.size)
    }

    /// Counts one session opened and closed, which took `took`.
    pub fn churned(&self, took: Duration) {
        if let Some(plant) = &self.churn {
            plant.tally.add(Duration::ZERO, took);
        }
    }

    /// The timestamp read last, while it is kept, if stale reads are planted. Each is counted.
    pub fn kept_timestamp(&self) -> Option<Timestamp> {
        let (kept, plant) = self.stale_reads.as_ref()?;
        let (read, timestamp) = (*kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))?;
        (read.elapsed() < plant.size).then(|| {
            plant.tally.add(Duration::ZERO, Duration::ZERO);
            timestamp
        })
    }

    /// Keeps a timestamp that was just read, if stale reads are planted.
    pub fn keep_timestamp(&self, timestamp: Timestamp) {
        if let Some((kept, _)) = &self.stale_reads {
            *kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some((Instant::now(), timestamp));
        }
    }

    /// Bytes of stack below which sessions must be polled, if that is planted.
    pub fn deep_stack(&self) -> Option<usize> {
        self.deep_stack.as_ref().map(|(plant, _)| plant.size)
    }

    /// Counts one poll of a session, `depth` bytes below its task's, where the way down and up took `cpu`.
    pub fn deepened(&self, cpu: Duration, depth: usize) {
        if let Some((plant, deepest)) = &self.deep_stack {
            plant.tally.add(cpu, Duration::ZERO);
            deepest.set(depth as i64);
        }
    }

    /// Bytes of stack that worker threads need beyond the usual.
    pub fn stack_bytes(plants: &[Plant]) -> usize {
        let needed = |plant: &Plant| if let Plant::DeepStack { bytes } = plant { *bytes } else { 0 };
        plants.iter().map(needed).sum()
    }

    /// True if worker threads will sleep for less than the default timer slack allows.
    pub fn needs_sharp_timers(plants: &[Plant]) -> bool {
        plants.iter().any(|plant| matches!(plant, Plant::Starve { .. }))
    }
}

/// Makes otherwise equal functions differ: the compiler folds equal ones into one, and a profile of the folded function
/// would show one plant under another's name.
#[inline(always)]
fn keep_apart(place: &'static str) {
    std::hint::black_box(place);
}

#[inline(never)]
fn planted_peek_work(spinner: &Spinner, plant: &Counted<Duration>) {
    keep_apart("peek");
    let cpu = spinner.burn(plant.size);
    plant.tally.add(cpu, Duration::ZERO);
}

#[inline(never)]
fn planted_oracle_work(spinner: &Spinner, plant: &Counted<Duration>) {
    keep_apart("oracle");
    let cpu = spinner.burn(plant.size);
    plant.tally.add(cpu, Duration::ZERO);
}

#[inline(never)]
fn planted_outside_work(spinner: &Spinner, plant: &Counted<Duration>) {
    keep_apart("outside");
    let cpu = spinner.burn(plant.size);
    plant.tally.add(cpu, Duration::ZERO);
}

#[inline(never)]
fn planted_coordinator_work(spinner: &Spinner, plant: &Counted<Duration>, queued: Duration) {
    let cpu = spinner.burn(plant.size);
    plant.tally.add(cpu, queued);
}

#[inline(never)]
fn planted_lock(spinner: &Spinner, lock: &Mutex<()>, plant: &Counted<Duration>) {
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
fn planted_allocations(plant: &Counted<usize>) {
    let before = precise::thread_cpu();
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
    plant.tally.add(Duration::from_nanos(precise::thread_cpu() - before), Duration::ZERO);
}

#[inline(never)]
fn planted_blocking_wait(plant: &Counted<Duration>) {
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
