//! What one window gives to a comparison besides its frames. Invariant: a figure that the window did not measure is
//! absent.

use super::contrast::{Better, Mean};
use crate::analyze::cost::demands::{self, Resource};
use crate::analyze::cost::quantities::quantities;
use crate::analyze::judge::summary::per_query;
use crate::analyze::statistics::autocorrelation::sum_variance;
use crate::analyze::time::places::level_places;
use crate::check::{Check, Status};
use crate::preset::{Per, Preset};
use crate::run::{Window, WindowId};
use crate::target::Role;
use crate::wire::Place;
use serde::Serialize;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Subject {
    /// Queries a second.
    Throughput,
    /// The clients' mean latency, ns.
    MeanLatency,
    /// ns a query on the server's threads, by the kernel's accounting.
    Cpu,
    /// The same for each ns of the generator's CPU: a machine that is faster for a while makes both cheaper, so that
    /// this scatters less. Where the generator's own work changes it says nothing of the server.
    CpuToGenerator,
    /// ns that `percent` of 100 queries in a window took at most.
    LatencyQuantile {
        /// Which quantile, in hundredths: 99 for the 99th percentile.
        percent: u8,
    },
    /// ns a query that the server's threads were runnable and waited for a CPU.
    Runnable,
    /// ns a round trip in one place of a hop.
    Place {
        /// Name of the hop.
        hop: String,
        /// It is the hop between the load and the server.
        of_load: bool,
        /// The place on that hop.
        place: Place,
    },
    /// Round trips of a hop a query.
    RoundTrips {
        /// Name of the hop, one behind the server.
        hop: String,
    },
    /// ns of busy time a query.
    Demand {
        /// The resource that is busy.
        resource: Resource,
    },
    /// A figure of the preset.
    Metric {
        /// Its name in the preset.
        name: String,
        /// Unit in which it is shown.
        unit: String,
        /// What it is divided by.
        per: Per,
    },
}

impl Subject {
    /// Whether it belongs to the figures that a comparison is made for, which share one familywise error level.
    pub fn is_main(&self) -> bool {
        matches!(self, Subject::Throughput | Subject::MeanLatency | Subject::Cpu | Subject::CpuToGenerator)
    }

    /// Whether more or less of it is better.
    pub fn better(&self) -> Better {
        match self {
            Subject::Throughput => Better::More,
            // More time in the client's hands is neither the server's gain nor its loss; a metric can be anything.
            Subject::Place { place: Place::Client, .. } | Subject::Metric { .. } | Subject::RoundTrips { .. } => {
                Better::Neither
            }
            _ => Better::Less,
        }
    }
}

/// A window's figures.
#[derive(Clone, Debug)]
pub struct WindowFigures {
    pub id: WindowId,
    /// In the order in which they are shown.
    pub values: Vec<(Subject, f64)>,
    /// The logarithm of a figure, as well as the window's own slices tell it; see [`sum_variance`].
    pub within: Vec<(Subject, Mean)>,
    /// Start of the target process at the window's end, where it was read.
    pub started: Option<String>,
    /// Why the window is not like the others should be; empty: nothing was noticed.
    pub marks: Vec<String>,
}

impl WindowFigures {
    pub fn of(window: &Window, preset: Option<&Preset>) -> Self {
        let mut values = load(window);
        values.extend(places(window));
        values.extend(demands(window));
        let metrics = preset.map_or_else(Vec::new, |preset| quantities(preset, window));
        values.extend(metrics.into_iter().filter_map(|quantity| {
            let subject = Subject::Metric { name: quantity.name, unit: quantity.unit, per: quantity.per };
            Some((subject, quantity.value?))
        }));
        WindowFigures {
            id: window.id(),
            values,
            within: within(window),
            started: window.facts.target_started.clone(),
            marks: marks(window),
        }
    }

    pub fn value(&self, subject: &Subject) -> Option<f64> {
        self.values.iter().find(|(of, _)| of == subject).map(|(_, value)| *value)
    }
}

fn load(window: &Window) -> Vec<(Subject, f64)> {
    let load = &window.load;
    let mut values = Vec::new();
    if load.completed > 0 && load.span.nanos() > 0 {
        values.push((Subject::Throughput, load.throughput()));
    }
    values.extend(load.mean_latency().map(|mean| (Subject::MeanLatency, mean)));
    let cpu = per_query(&[window], |s| s.cpu(Role::Target));
    let generator = per_query(&[window], |s| s.cpu(Role::Generator)).filter(|cpu| *cpu > 0.0);
    values.extend(cpu.map(|cpu| (Subject::Cpu, cpu)));
    values.extend(cpu.zip(generator).map(|(cpu, generator)| (Subject::CpuToGenerator, cpu / generator)));
    if !load.latency.is_empty() {
        let quantile = |percent: u8| load.latency.value_at_quantile(f64::from(percent) / 100.0) as f64;
        values.extend([50, 95, 99].map(|percent| (Subject::LatencyQuantile { percent }, quantile(percent))));
    }
    values.extend(per_query(&[window], |s| s.runnable(Role::Target)).map(|nanos| (Subject::Runnable, nanos)));
    values
}

fn places(window: &Window) -> Vec<(Subject, f64)> {
    let mut values = Vec::new();
    for (wire, hop) in window.wire.iter().flat_map(|wire| wire.hops.iter().map(move |hop| (wire, hop))) {
        let (name, of_load) = (&hop.hop.name, wire.is_load(&hop.hop.name));
        let Some(level) = level_places(&[window], name) else { continue };
        let of_place = |place| Subject::Place { hop: name.clone(), of_load, place };
        values.extend(level.places.iter().filter_map(|share| Some((of_place(share.place), share.mean?))));
        if !of_load {
            values.push((Subject::RoundTrips { hop: name.clone() }, level.round_trips));
        }
    }
    values
}

/// The server's CPU is left out: it is [`Subject::Cpu`].
fn demands(window: &Window) -> Vec<(Subject, f64)> {
    let all = demands::at_level(&[window]).into_iter();
    let others = all.filter(|(resource, ..)| *resource != Resource::Cpu(Role::Target));
    others.map(|(resource, _, demand, _)| (Subject::Demand { resource }, demand)).collect()
}

/// Throughput and mean latency by the window's whole slices.
fn within(window: &Window) -> Vec<(Subject, Mean)> {
    let slices = &window.load.slices;
    let length = slices.first().map_or(0, |slice| slice.nanos);
    let whole = || slices.iter().filter(|slice| slice.nanos == length);
    let counts: Vec<f64> = whole().map(|slice| slice.completed as f64).collect();
    let completed: f64 = counts.iter().sum();
    let latency: f64 = whole().map(|slice| slice.latency_sum as f64).sum();
    if completed == 0.0 || latency == 0.0 {
        return Vec::new();
    }
    // The ratio estimator's residuals (Cochran 1977, eq. 6.13): they sum to 0, and their sum scatters as the ratio
    // does.
    let ratio = latency / completed;
    let residuals: Vec<f64> = whole().map(|slice| slice.latency_sum as f64 - ratio * slice.completed as f64).collect();
    let log = |subject, value: Option<f64>, series: &[f64], total: f64| {
        let (sum, value) = (sum_variance(series)?, value?);
        let freedom = (sum.effective - 1.0).max(1.0);
        Some((subject, Mean { value: value.ln(), variance: sum.variance / (total * total), freedom }))
    };
    let throughput = log(Subject::Throughput, Some(window.load.throughput()), &counts, completed);
    let mean = log(Subject::MeanLatency, window.load.mean_latency(), &residuals, latency);
    throughput.into_iter().chain(mean).collect()
}

/// What was noticed of a window that makes it unlike the others.
fn marks(window: &Window) -> Vec<String> {
    let outside = |check: &&Check| match check {
        Check::Steal { .. } | Check::OtherProcesses { .. } => check.status() >= Status::Warn,
        check => check.status() == Status::Fail,
    };
    window.checks.iter().filter(outside).map(ToString::to_string).collect()
}
