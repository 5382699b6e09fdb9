//! The slices of a window in which the server's metrics were scraped, set apart from the others: what observing did to
//! the latency. Invariant: nothing is taken out of any other figure; both are told, with the slices and without.

use crate::clock::Span;
use crate::load::{Slice, empty_histogram};
use crate::run::{Run, ScrapeCost, Window};
use serde::Serialize;
use std::collections::BTreeMap;

/// The slices of a level's windows, of 50 ms each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScrapedSlices {
    /// Slices in which a scrape was under way (a count).
    pub with: usize,
    /// The others (a count).
    pub without: usize,
    /// Mean latency in ns of the queries that ended in slices with a scrape; `None`: none did.
    pub latency_with: Option<f64>,
    /// The same of the others.
    pub latency_without: Option<f64>,
    /// 99th percentile in ns of all queries; `None` where the driver keeps no histogram.
    pub p99: Option<u64>,
    /// The same of those that ended in slices without a scrape.
    pub p99_without: Option<u64>,
    /// Mean latency in ns over the slowest tenth of all slices; `None` where there are fewer than ten.
    pub slowest: Option<f64>,
    /// The same of the slices without a scrape.
    pub slowest_without: Option<f64>,
    /// What a scrape takes; `None`: not measured.
    pub cost: Option<ScrapeCost>,
    /// ns from one scrape inside a window to the next.
    pub every: u64,
}

/// By level; a level whose scrapes' times are not recorded, or whose driver tells no slices, is absent.
pub fn scraped(run: &Run) -> BTreeMap<usize, ScrapedSlices> {
    run.levels().into_iter().filter_map(|(level, windows)| Some((level, level_of(&windows)?))).collect()
}

fn level_of(windows: &[&Window]) -> Option<ScrapedSlices> {
    let scraping = windows.iter().find_map(|window| window.facts.scraping.as_ref())?;
    let mut slices: Vec<(&Slice, bool)> = Vec::new();
    for window in windows {
        let scrapes = scrapes(window)?;
        let start = window.load.span.start;
        slices.extend(window.load.slices.iter().map(|slice| {
            let (from, to) = (start + slice.at, start + slice.at + slice.nanos);
            (slice, scrapes.iter().any(|scrape| scrape.start < to && scrape.end > from))
        }));
    }
    (!slices.is_empty()).then_some(())?;
    let of = |keep: fn(bool) -> bool| -> Vec<&Slice> {
        slices.iter().filter(|(_, scraped)| keep(*scraped)).map(|(slice, _)| *slice).collect()
    };
    let (all, with, without) = (of(|_| true), of(|scraped| scraped), of(|scraped| !scraped));
    Some(ScrapedSlices {
        with: with.len(),
        without: without.len(),
        latency_with: mean(&with),
        latency_without: mean(&without),
        p99: p99(&all),
        p99_without: p99(&without),
        slowest: slowest(all),
        slowest_without: slowest(without),
        cost: scraping.cost,
        every: scraping.every,
    })
}

/// All scrapes of a window; `None` where their times are not recorded.
fn scrapes(window: &Window) -> Option<Vec<Span>> {
    let inside = &window.facts.scraping.as_ref()?.inside;
    Some(window.facts.scrapes.as_ref()?.iter().chain(inside).copied().collect())
}

fn mean(slices: &[&Slice]) -> Option<f64> {
    let completed: u64 = slices.iter().map(|slice| slice.completed).sum();
    let sum: u64 = slices.iter().map(|slice| slice.latency_sum).sum();
    (completed > 0).then(|| sum as f64 / completed as f64)
}

fn p99(slices: &[&Slice]) -> Option<u64> {
    let mut all = empty_histogram();
    for slice in slices {
        all.add(slice.latency.as_ref()?.histogram()).ok()?;
    }
    (!all.is_empty()).then(|| all.value_at_quantile(0.99))
}

/// Of the slices in which any query ended.
fn slowest(mut slices: Vec<&Slice>) -> Option<f64> {
    slices.retain(|slice| slice.completed > 0);
    let latency = |slice: &Slice| slice.latency_sum as f64 / slice.completed as f64;
    slices.sort_by(|a, b| latency(b).total_cmp(&latency(a)));
    let tenth = slices.len() / 10;
    (tenth > 0).then(|| mean(&slices[..tenth])).flatten()
}
