//! Figures over time as the Firefox Profiler draws them: it plots a counter's value over the time since the counter's
//! sample before (`line-rate` in src/components/timeline/TrackCounterGraph.tsx of firefox-devtools/profiler), shows the
//! value itself under the mouse, and takes the first value for 0 (`processCounter` in src/profile-logic). Invariant:
//! each figure stands one slice behind its neighbour, so that all are drawn to one scale.

use crate::clock::{Nanos, Span};
use crate::load::SLICE;

/// A counter's samples: each figure at the end of its slice, and 0 where the series begins and where it has no figures,
/// for a counter has no other word for that.
pub(super) fn samples(points: &[(Span, f64)]) -> Vec<(Nanos, f64)> {
    let mut samples: Vec<(Nanos, f64)> = Vec::with_capacity(points.len() + 1);
    for (slice, figure) in points {
        let before = samples.last().map(|(at, _)| *at);
        if before != Some(slice.start) {
            let falls = before.map(|before| before.saturating_add(SLICE)).filter(|at| *at < slice.start);
            samples.extend(falls.into_iter().chain([slice.start]).map(|at| (at, 0.0)));
        }
        // The last slice of a window may be shorter: what is drawn would be higher.
        samples.push((slice.start.saturating_add(SLICE), *figure));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// What the viewer plots, per ms.
    fn plotted(samples: &[(Nanos, f64)]) -> Vec<f64> {
        let over = |pair: &[(Nanos, f64)]| pair[1].1 / ((pair[1].0 - pair[0].0) as f64 / MS as f64);
        samples.windows(2).map(over).collect()
    }

    #[test]
    fn what_is_plotted_of_each_slice_is_proportional_to_its_figure() {
        let slice = |at: u64, millis: u64, figure: f64| (Span::new(at * MS, (at + millis) * MS), figure);
        let points = [slice(0, 50, 100.0), slice(50, 50, 200.0), slice(100, 50, 50.0), slice(150, 10, 300.0)];
        let samples = super::samples(&points);
        assert_eq!(samples[0], (0, 0.0));
        assert_eq!(plotted(&samples), [2.0, 4.0, 1.0, 6.0]);
    }

    #[test]
    fn a_gap_is_0_and_what_follows_it_is_to_the_same_scale() {
        let slice = |at: u64| (Span::new(at * MS, (at + 50) * MS), 100.0);
        let samples = super::samples(&[slice(50), slice(100), slice(200), slice(600)]);
        assert_eq!(plotted(&samples), [2.0, 2.0, 0.0, 2.0, 0.0, 0.0, 2.0]);
        let zeros: Vec<u64> = samples.iter().filter(|sample| sample.1 == 0.0).map(|sample| sample.0 / MS).collect();
        assert_eq!(zeros, [50, 200, 300, 600]);
        assert!(super::samples(&[]).is_empty());
    }
}
