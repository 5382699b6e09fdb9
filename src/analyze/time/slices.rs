//! A window's slices of 50 ms: how many queries ended in each, how slow they were, and where queries were meanwhile.
//! Invariant: where queries were is told of a slice only if every traced query that can lie in it is known.

use crate::clock::Span;
use crate::load::{LoadTrace, Slice};
use crate::run::Window;
use crate::wire::{HopDelta, PLACES, Sample};

/// One slice of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceFigures {
    /// The slice, on the clock of the run.
    pub span: Span,
    /// Queries that ended in it, a second.
    pub throughput: f64,
    /// 99th percentile of their latencies in ns; `None`: none ended in it, or latencies were not kept.
    pub p99: Option<u64>,
    /// Queries of the load in each place but the client's, on average over the slice; `None`: not known.
    pub populations: Option<[f64; PLACES - 1]>,
}

/// The slices in the order of time; empty where the load is known by its sums alone.
pub fn slices(window: &Window) -> Vec<SliceFigures> {
    let traced = traced(window);
    let figures = |slice: &Slice| {
        let span = span(&window.load, slice);
        SliceFigures {
            span,
            throughput: slice.completed as f64 / span.seconds(),
            p99: slice.latency.as_ref().filter(|all| !all.is_empty()).map(|all| all.value_at_quantile(0.99)),
            populations: traced.as_ref().filter(|(within, _)| holds(*within, span)).map(|(_, sample)| {
                let length = span.nanos() as f64;
                time_in_places(sample, span).map(|nanos| nanos as f64 * f64::from(sample.every) / length)
            }),
        }
    };
    window.load.slices.iter().map(figures).collect()
}

fn span(load: &LoadTrace, slice: &Slice) -> Span {
    let start = load.span.start + slice.at;
    Span::new(start, start + slice.nanos)
}

fn holds(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The traced queries of the load, and when every query that was under way is among them: not within the longest
/// latency of the ends, where some were sent before or read after the recording. `None`: they were not traced, or some
/// were lost.
fn traced(window: &Window) -> Option<(Span, &Sample)> {
    let wire = window.wire.as_ref()?;
    let of_load = |hop: &&HopDelta| wire.is_load(&hop.hop.name);
    let sample = wire.hops.iter().find(of_load)?.sample.as_ref().filter(|sample| sample.lost == 0)?;
    let longest = sample.queries.iter().map(|query| query.latency()).max()?;
    Some((Span::new(wire.span.start + longest, wire.span.end.saturating_sub(longest)), sample))
}

/// ns of the sample's queries in each place but the client's within the span.
fn time_in_places(sample: &Sample, span: Span) -> [u64; PLACES - 1] {
    let mut sums = [0; PLACES - 1];
    let sent_before = sample.queries.partition_point(|query| query.sent < span.end);
    for query in &sample.queries[..sent_before] {
        let mut at = query.sent;
        for (sum, spent) in sums.iter_mut().zip(query.spent) {
            let end = at + u64::from(spent);
            *sum += end.min(span.end).saturating_sub(at.max(span.start));
            at = end;
        }
    }
    sums
}
