//! What plants publish of themselves. Invariant: counters say what was really done, never what was asked for.

use std::time::Duration;

use prometheus::{Counter, IntCounter};

use crate::metrics::PlantMetrics;

/// What one plant did: published as `wireprof_plant_{calls,cpu_seconds,wait_seconds}_total{plant}`.
#[derive(Clone)]
pub struct Tally {
    pub calls: IntCounter,
    pub cpu: Counter,
    pub wait: Counter,
}

impl Tally {
    /// The series with this value of the label `plant`; they exist from here on, at zero.
    pub fn of(metrics: &PlantMetrics, name: &str) -> Self {
        Tally {
            calls: metrics.calls.with_label_values(&[name]),
            cpu: metrics.cpu_seconds.with_label_values(&[name]),
            wait: metrics.wait_seconds.with_label_values(&[name]),
        }
    }

    /// One call.
    pub fn add(&self, cpu: Duration, wait: Duration) {
        self.calls.inc();
        if !cpu.is_zero() {
            self.cpu.inc_by(cpu.as_secs_f64());
        }
        if !wait.is_zero() {
            self.wait.inc_by(wait.as_secs_f64());
        }
    }
}

/// A plant's size, and what it did.
#[derive(Clone)]
pub struct Counted<T> {
    pub size: T,
    pub tally: Tally,
}
