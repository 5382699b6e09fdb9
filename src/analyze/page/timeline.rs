//! A window in slices of 50 ms: throughput, latency and CPU side by side, and when the metrics were scraped.
//! Invariant: the slices are the load generator's own; what a window does not tell by slice is `None`.

use crate::analyze::cost::view::{ViewOptions, Weights, window_view};
use crate::analyze::time::correlation::by_slice;
use crate::analyze::time::slices::{Untold, whereabouts};
use crate::load::SLICE;
use crate::profile::ColumnKind;
use crate::run::{Run, Window, WindowId};
use crate::wire::PLACES;

/// One window over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Level and replicate.
    pub window: WindowId,
    /// The whole ones, in order of time: the last is mostly shorter, and its rate chance. Empty where the load tells
    /// sums only.
    pub slices: Vec<Slice>,
    /// When the metrics were scraped: start and end in seconds after the window's start; an end of the window lies in
    /// the midst of a scrape.
    pub scrapes: Vec<(f64, f64)>,
    /// One query in how many was traced, whose places [`Slice::clients`] tells; or why no slice tells them.
    pub traced: Result<u32, Untold>,
}

/// Some whole seconds of a window, in short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Seconds after the window's start.
    pub at: f64,
    /// Length in seconds.
    pub seconds: f64,
    /// Queries a second.
    pub throughput: f64,
    /// Mean latency in ns; `None`: no query was completed.
    pub mean: Option<f64>,
    /// The greatest [`Slice::p99`]; `None`: no slice has one.
    pub p99: Option<u64>,
    /// Mean of [`Slice::cpus`]; `None`: some slice has none.
    pub cpus: Option<f64>,
    /// Mean of [`Slice::clients`]; `None`: some slice has none.
    pub clients: Option<[f64; PLACES - 1]>,
}

/// One slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// Seconds after the window's start.
    pub at: f64,
    /// Length in seconds.
    pub seconds: f64,
    /// Queries completed in it.
    pub completed: u64,
    /// Mean latency of these in ns; `None`: none was completed.
    pub mean: Option<f64>,
    /// 99th percentile of their latencies in ns, of fewer than a hundred the greatest; `None`: no distribution was
    /// kept.
    pub p99: Option<u64>,
    /// CPUs that the target used, by the samples; `None`: the samples have no times, or count something else.
    pub cpus: Option<f64>,
    /// Clients in each place but their own hands, by the traced queries; `None`: not known.
    pub clients: Option<[f64; PLACES - 1]>,
}

impl Slice {
    /// Queries a second.
    pub fn throughput(&self) -> f64 {
        self.completed as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

impl Line {
    /// The window in at most so many stretches of whole seconds; the last may be shorter.
    pub fn stretches(&self, most: usize) -> Vec<Stretch> {
        let second = (1_000_000_000 / SLICE) as usize;
        let seconds = self.slices.len().div_ceil(second).div_ceil(most.max(1)).max(1);
        self.slices.chunks(seconds * second).map(stretch).collect()
    }
}

fn stretch(slices: &[Slice]) -> Stretch {
    let seconds: f64 = slices.iter().map(|slice| slice.seconds).sum();
    let completed: u64 = slices.iter().map(|slice| slice.completed).sum();
    let latencies: f64 = slices.iter().filter_map(|slice| Some(slice.mean? * slice.completed as f64)).sum();
    // Slices are equally long.
    let mean = |of: &dyn Fn(&Slice) -> Option<f64>| {
        slices.iter().map(of).sum::<Option<f64>>().map(|sum| sum / slices.len() as f64)
    };
    let places: Option<Vec<f64>> = (0..PLACES - 1).map(|place| mean(&|slice| Some(slice.clients?[place]))).collect();
    Stretch {
        at: slices.first().map_or(0.0, |slice| slice.at),
        seconds,
        throughput: completed as f64 / seconds.max(f64::MIN_POSITIVE),
        mean: (completed > 0).then(|| latencies / completed as f64),
        p99: slices.iter().filter_map(|slice| slice.p99).max(),
        cpus: mean(&|slice| slice.cpus),
        clients: places.and_then(|places| places.try_into().ok()),
    }
}

/// All windows of a run, in its order.
pub fn timeline(run: &Run) -> Vec<Line> {
    run.windows.iter().map(line).collect()
}

fn line(window: &Window) -> Line {
    let load = &window.load;
    let cpus = cpus(window);
    let told = whereabouts(window);
    let slice = |(at, slice): (usize, &crate::load::Slice)| {
        let latency = slice.latency.as_ref().filter(|latency| !latency.is_empty());
        let seconds = slice.nanos as f64 / 1e9;
        Slice {
            at: slice.at as f64 / 1e9,
            seconds,
            completed: slice.completed,
            mean: (slice.completed > 0).then(|| slice.latency_sum as f64 / slice.completed as f64),
            p99: latency.map(|latency| latency.value_at_quantile(0.99)),
            cpus: cpus.as_ref().map(|cpus| cpus[at] / slice.nanos.max(1) as f64),
            clients: told.as_ref().ok().and_then(|told| told.slices[at]),
        }
    };
    let inside = window.facts.scraping.iter().flat_map(|scraping| scraping.inside.iter().copied());
    let scrapes = window.facts.scrapes.into_iter().flatten().chain(inside);
    let after = |instant: u64| (instant as f64 - load.span.start as f64) / 1e9;
    let mut scrapes: Vec<(f64, f64)> = scrapes.map(|scrape| (after(scrape.start), after(scrape.end))).collect();
    scrapes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let whole = load.slices.iter().enumerate().filter(|(_, slice)| slice.nanos == SLICE);
    let slices = whole.map(slice).collect();
    Line { window: window.id(), slices, scrapes, traced: told.map(|told| told.every) }
}

/// ns of the target's CPU in each slice, by the samples.
fn cpus(window: &Window) -> Option<Vec<f64>> {
    // As sampled: the account is of the whole window, and says nothing of when.
    let view = window_view(window, &ViewOptions { weights: Weights::Sampled, ..ViewOptions::default() })?;
    let column = &view.profile.columns[view.column];
    (column.kind == ColumnKind::Cpu && column.unit == "nanoseconds").then_some(())?;
    let slices = by_slice(&view, window.load.slices.len())?;
    let weight = |samples: &Vec<usize>| {
        samples.iter().map(|sample| view.profile.samples[*sample].values[view.column] as f64).sum()
    };
    Some(slices.iter().map(weight).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::build::{Stack, profile, run, window};

    #[test]
    fn samples_count_for_the_slice_that_they_were_taken_in() {
        let stacks: Vec<Stack> = (0..10).map(|_| Stack("main;a", 60)).collect();
        let mut made = window(4, 1, 1, 2_000, Some(profile(&stacks)));
        made.facts.scrapes = Some([crate::clock::Span::new(900_000_000, 1_100_000_000); 2]);
        let line = timeline(&run(vec![made])).remove(0);
        assert_eq!(line.slices.len(), 20);
        assert_eq!(line.slices[0].cpus, Some(0.0));
        // 10 samples of 1 ms in 50 ms.
        assert!((line.slices[1].cpus.unwrap() - 0.2).abs() < 1e-9, "{:?}", line.slices[1]);
        assert_eq!((line.slices[1].throughput(), line.slices[1].p99), (2_000.0, None));
        assert!((line.scrapes[0].0 + 0.1).abs() < 1e-9 && line.scrapes.len() == 2, "{:?}", line.scrapes);
    }

    #[test]
    fn stretches_are_whole_seconds_and_what_a_slice_lacks_they_lack() {
        let line = timeline(&run(vec![window(1, 1, 5, 2_000, None)])).remove(0);
        let found = line.stretches(100);
        assert_eq!((found.len(), found[4].at, found[0].mean), (5, 4.0, Some(1e6)));
        assert!((found[4].throughput - 400.0).abs() < 1e-6, "{:?}", found[4]);
        assert_eq!((found[0].clients, found[0].cpus, line.traced), (None, None, Err(Untold::NotFollowed)));
        let pairs = line.stretches(3);
        let lengths: Vec<f64> = pairs.iter().map(|pair| pair.seconds.round()).collect();
        assert_eq!(lengths, [2.0, 2.0, 1.0]);
    }

    #[test]
    fn a_window_without_samples_has_slices_without_cpu() {
        let line = timeline(&run(vec![window(1, 1, 1, 20, None)])).remove(0);
        assert!(line.slices.iter().all(|slice| slice.cpus.is_none() && slice.mean == Some(1e6)), "{line:?}");
    }
}
