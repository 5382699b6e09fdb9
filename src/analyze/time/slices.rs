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

/// Where a window's queries were, slice by slice, as the traced ones tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Whereabouts {
    /// One query in how many was traced.
    pub every: u32,
    /// One for each of the load's slices, as in [`SliceFigures::populations`].
    pub slices: Vec<Option<[f64; PLACES - 1]>>,
}

/// Why no slice of a window tells where queries were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untold {
    /// The sockets were not followed.
    NotFollowed,
    /// They were followed, and no query of the load was traced.
    NotTraced,
    /// So many traced queries had no room, so that slices lack some.
    Lost(u64),
    /// A query took so long, in ns, that no slice lies as far from both ends of the window.
    TooLong(u64),
}

/// The slices in the order of time; empty where the load is known by its sums alone.
pub fn slices(window: &Window) -> Vec<SliceFigures> {
    let mut told = whereabouts(window).map_or_else(|_| Vec::new(), |told| told.slices).into_iter();
    let mut figures = |slice: &Slice| {
        let span = span(&window.load, slice);
        SliceFigures {
            span,
            throughput: slice.completed as f64 / span.seconds(),
            p99: slice.latency.as_ref().filter(|all| !all.is_empty()).map(|all| all.value_at_quantile(0.99)),
            populations: told.next().flatten(),
        }
    };
    window.load.slices.iter().map(&mut figures).collect()
}

/// Where the window's queries were over time.
///
/// # Errors
/// No slice tells, and why.
pub fn whereabouts(window: &Window) -> Result<Whereabouts, Untold> {
    let (known, sample) = traced(window)?;
    let spans: Vec<Span> = window.load.slices.iter().map(|slice| span(&window.load, slice)).collect();
    if !spans.iter().any(|span| holds(known, *span)) {
        return Err(Untold::TooLong(sample.queries.iter().map(|query| query.latency()).max().unwrap_or(0)));
    }
    let every = f64::from(sample.every);
    let populations = |(nanos, span): ([u64; PLACES - 1], &Span)| {
        holds(known, *span).then(|| nanos.map(|nanos| nanos as f64 * every / span.nanos() as f64))
    };
    let slices = time_in_places(sample, &spans).into_iter().zip(&spans).map(populations).collect();
    Ok(Whereabouts { every: sample.every, slices })
}

fn span(load: &LoadTrace, slice: &Slice) -> Span {
    let start = load.span.start + slice.at;
    Span::new(start, start + slice.nanos)
}

fn holds(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The traced queries of the load, and when every query that was under way is among them: not within the longest
/// latency of the ends, where some were sent before or read after the recording.
fn traced(window: &Window) -> Result<(Span, &Sample), Untold> {
    let wire = window.wire.as_ref().ok_or(Untold::NotFollowed)?;
    let of_load = |hop: &&HopDelta| wire.is_load(&hop.hop.name);
    let sample = wire.hops.iter().find(of_load).and_then(|hop| hop.sample.as_ref()).ok_or(Untold::NotTraced)?;
    if sample.lost > 0 {
        return Err(Untold::Lost(sample.lost));
    }
    let longest = sample.queries.iter().map(|query| query.latency()).max().ok_or(Untold::NotTraced)?;
    Ok((Span::new(wire.span.start + longest, wire.span.end.saturating_sub(longest)), sample))
}

/// ns of the sample's queries in each place but the client's within each of the spans, which follow one another. Each
/// query is looked at once, however many spans there are.
fn time_in_places(sample: &Sample, spans: &[Span]) -> Vec<[u64; PLACES - 1]> {
    let mut sums = vec![[0; PLACES - 1]; spans.len()];
    for query in &sample.queries {
        let mut at = query.sent;
        for (place, spent) in query.spent.iter().enumerate() {
            let end = at + u64::from(*spent);
            let first = spans.partition_point(|span| span.end <= at);
            let met = spans.iter().zip(&mut sums).skip(first).take_while(|(span, _)| span.start < end);
            met.for_each(|(span, sums)| sums[place] += end.min(span.end).saturating_sub(at.max(span.start)));
            at = end;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::build;
    use crate::wire::{QueryTimeline, WireDelta};

    /// One second of a query after the other on each of two connections, every second of which is traced: 2 ms on the
    /// network, 8 ms in the server's hands.
    fn window(lost: u64) -> Window {
        let mut window = build::window(2, 1, 1, 1_000, None);
        let span = window.facts.span;
        let query = |number: u64| QueryTimeline {
            sent: span.start + number * 10_000_000,
            client: 1,
            spent: [2_000_000, 0, 8_000_000, 0, 0],
            behind: None,
        };
        let mut hop = build::hop("target", 200, 2, [0.0; 6]);
        let queries = (0..100).map(query).collect();
        hop.sample = Some(Sample { hop: "target".into(), every: 2, lost, queries });
        window.wire = Some(WireDelta { span, hops: vec![hop], sends_seen: true });
        window
    }

    #[test]
    fn populations_of_a_slice_are_its_traced_queries_times_what_they_stand_for() {
        let found = slices(&window(0));
        assert_eq!((found.len(), found[0].throughput, found[0].p99), (20, 1_000.0, None));
        let known: Vec<_> = found.iter().filter_map(|slice| slice.populations).collect();
        let [request, _, server, ..] = known[7];
        assert!((request - 0.4).abs() < 1e-9 && (server - 1.6).abs() < 1e-9, "{known:?}");
        assert!(known.iter().all(|places| (places.iter().sum::<f64>() - 2.0).abs() < 1e-9), "{known:?}");
    }

    #[test]
    fn where_queries_were_is_not_told_near_the_ends_nor_where_some_were_lost() {
        let told: Vec<bool> = slices(&window(0)).iter().map(|slice| slice.populations.is_some()).collect();
        assert_eq!((told[0], told[19]), (false, false), "queries under way at the ends are not all known");
        assert!(told[1..19].iter().all(|told| *told));
        assert!(slices(&window(3)).iter().all(|slice| slice.populations.is_none()));
        let without = Window { wire: None, ..window(0) };
        assert!(slices(&without).iter().all(|slice| slice.populations.is_none() && slice.throughput > 0.0));
        assert_eq!(whereabouts(&window(3)), Err(Untold::Lost(3)));
        assert_eq!(whereabouts(&without), Err(Untold::NotFollowed));
        assert_eq!(whereabouts(&window(0)).map(|told| (told.every, told.slices.len())), Ok((2, 20)));
        let mut slow = window(0);
        slow.wire.as_mut().unwrap().hops[0].sample.as_mut().unwrap().queries[0].spent[2] = 998_000_000;
        assert_eq!(whereabouts(&slow), Err(Untold::TooLong(1_000_000_000)));
        slow.wire.as_mut().unwrap().hops[0].sample = None;
        assert_eq!(whereabouts(&slow), Err(Untold::NotTraced));
    }
}
