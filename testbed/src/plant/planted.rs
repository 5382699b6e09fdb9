//! All plants of one testbed, and where its code calls them. Invariant: a plant that was not asked for costs one test
//! of an `Option`, and all waits together one of an empty list.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus::IntGauge;

use super::database::SlowStatement;
use super::delay::DelayQueue;
use super::spin::Spinner;
use super::tally::{Counted, Tally};
use super::waits::Wait;
use super::work::{
    planted_allocations, planted_blocking_wait, planted_coordinator_work, planted_lock, planted_metrics_work,
    planted_oracle_work, planted_outside_work, planted_peek_work,
};
use super::{Awaited, Plant, PlantPoint, path, writer};
use crate::metrics::PlantMetrics;
use crate::timestamp_oracle::Timestamp;

/// The read timestamp that is served again, and since when.
type Kept = Option<(Instant, Timestamp)>;

/// All plants of one testbed.
pub struct Planted {
    spinner: Arc<Spinner>,
    peek: Option<Counted<Duration>>,
    oracle: Option<Counted<Duration>>,
    outside: Option<Counted<Duration>>,
    lock: Option<(Mutex<()>, Counted<Duration>)>,
    oracle_delay: Option<(DelayQueue, Tally)>,
    database: Option<Counted<Duration>>,
    path: Option<Counted<Duration>>,
    pool_size: Option<Tally>,
    batches: Option<Counted<usize>>,
    coordinator: Option<Counted<Duration>>,
    allocate: Option<Counted<usize>>,
    churn: Option<Counted<u32>>,
    starve: Option<Counted<Duration>>,
    stale_reads: Option<(Mutex<Kept>, Counted<Duration>)>,
    deep_stack: Option<(Counted<usize>, IntGauge)>,
    writer: Option<Counted<u32>>,
    metrics: Option<Counted<Duration>>,
    waits: Vec<Wait>,
}

impl Planted {
    /// Calibrates the spin and starts what the plants need. Each plant's series exist from here on, at zero.
    pub fn start(plants: &[Plant], metrics: &PlantMetrics) -> io::Result<Self> {
        let mut planted = Planted {
            spinner: Arc::new(Spinner::calibrate()),
            peek: None,
            oracle: None,
            outside: None,
            lock: None,
            oracle_delay: None,
            database: None,
            path: None,
            pool_size: None,
            batches: None,
            coordinator: None,
            allocate: None,
            churn: None,
            starve: None,
            stale_reads: None,
            deep_stack: None,
            writer: None,
            metrics: None,
            waits: Vec::new(),
        };
        for plant in plants {
            planted.place(plant, Tally::of(metrics, plant.name()), metrics)?;
        }
        Ok(planted)
    }

    fn place(&mut self, plant: &Plant, tally: Tally, metrics: &PlantMetrics) -> io::Result<()> {
        match *plant {
            Plant::Cpu { place, duration } => {
                let slot = match place {
                    PlantPoint::Peek => &mut self.peek,
                    PlantPoint::Oracle => &mut self.oracle,
                    PlantPoint::Outside => &mut self.outside,
                };
                *slot = Some(Counted { size: duration, tally });
            }
            Plant::Writer { per_second } => self.writer = Some(Counted { size: per_second, tally }),
            Plant::Metrics { duration } => self.metrics = Some(Counted { size: duration, tally }),
            Plant::Lock { duration } => self.lock = Some((Mutex::new(()), Counted { size: duration, tally })),
            Plant::OracleDelay { duration } => self.oracle_delay = Some((DelayQueue::start(duration)?, tally)),
            Plant::Database { duration } => self.database = Some(Counted { size: duration, tally }),
            Plant::Path { duration } => self.path = Some(Counted { size: duration, tally }),
            Plant::PoolSize { .. } => self.pool_size = Some(tally),
            Plant::Batches { in_flight } => self.batches = Some(Counted { size: in_flight, tally }),
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
            Plant::Wait { awaited, duration } => {
                self.waits.push(Wait::start(awaited, duration, &self.spinner, metrics)?);
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

    /// All that a peek waits for besides, one after the other, when it has its timestamp.
    pub async fn waits(&self) {
        for wait in &self.waits {
            wait.once().await;
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

    /// Makes the oracle's statement slow, if that is planted; once, when its table is there.
    pub async fn slow_database(&self, config: &tokio_postgres::Config) -> Result<(), tokio_postgres::Error> {
        match &self.database {
            Some(plant) => SlowStatement::plant(config, plant).await,
            None => Ok(()),
        }
    }

    /// Uses the database for something else too, if that is planted; once, when it is there.
    pub async fn second_use(&self, config: &tokio_postgres::Config) -> Result<(), tokio_postgres::Error> {
        match &self.writer {
            Some(plant) => writer::start(config, plant).await,
            None => Ok(()),
        }
    }

    /// What is planted into an answer of `/metrics`.
    pub fn metrics(&self) {
        if let Some(plant) = &self.metrics {
            planted_metrics_work(&self.spinner, plant);
        }
    }

    /// The port by which the oracle's pool reaches the database that listens on `port`: another one if a long way is
    /// planted.
    pub fn way_to_database(&self, port: u16) -> io::Result<u16> {
        self.path.as_ref().map_or(Ok(port), |plant| path::start(port, plant.clone()))
    }

    /// Reads of the oracle that may be in flight at once, if that is planted.
    pub fn batches_in_flight(&self) -> Option<usize> {
        self.batches.as_ref().map(|plant| plant.size)
    }

    /// Counts one read of the oracle that began; the caller who had waited longest for that had waited `waited`.
    pub fn batch_begun(&self, waited: Duration) {
        if let Some(plant) = &self.batches {
            plant.tally.add(Duration::ZERO, waited);
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
        let sleeps = |plant: &Plant| match plant {
            Plant::Starve { .. } => true,
            Plant::Wait { awaited, .. } => *awaited == Awaited::StdMutex,
            _ => false,
        };
        plants.iter().any(sleeps)
    }
}
