//! A window's figures over time, as counters of viewers have them. Invariant: a slice in which a figure is not known is
//! left out of its series; a series without any figure is left out.

use crate::analyze::time::slices::{SliceFigures, slices};
use crate::clock::Span;
use crate::render::place_words;
use crate::run::Window;
use crate::wire::Place;

/// One figure over a window's slices of 50 ms.
pub struct Series {
    /// With its unit.
    pub name: String,
    /// Each slice, and the figure in it.
    pub points: Vec<(Span, f64)>,
}

/// Throughput, the 99th percentile of the latency, and how many queries are in each place.
pub fn series(window: &Window) -> Vec<Series> {
    let slices = slices(window);
    let of = |name: String, figure: &dyn Fn(&SliceFigures) -> Option<f64>| {
        let points = slices.iter().filter_map(|slice| Some((slice.span, figure(slice)?))).collect();
        Series { name, points }
    };
    let mut found = vec![
        of("throughput (queries/s)".into(), &|slice| Some(slice.throughput)),
        of("99th percentile of the latency (ms)".into(), &|slice| Some(slice.p99? as f64 / 1e6)),
    ];
    for place in Place::ALL.into_iter().filter(|place| *place != Place::Client) {
        let name = format!("clients: {} (by traced queries)", place_words(place, true));
        found.push(of(name, &|slice| Some(slice.populations?[place.index() - 1])));
    }
    found.retain(|series| !series.points.is_empty());
    found
}
