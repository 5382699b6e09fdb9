//! The slowest tenth of the 50 ms slices set against the others: which functions ran more in them. Invariant: slices
//! are chosen by the driver's latencies alone and functions by their own scatter alone; neither choice looks at the
//! other.

use super::shifts::{LabelledSlices, least, probabilities};
use super::{DRAWS, FALSE_DISCOVERY, SEED};
use crate::analyze::compare::difference::family::false_discovery;
use crate::analyze::cost::tally::{Identities, Identity};
use crate::analyze::cost::view::{ViewOptions, Weights, WindowView, window_view};
use crate::run::{Run, Window};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// Slices that a window must have: its slowest tenth is then two or more.
const FEWEST: usize = 20;
/// Functions that are tested at most.
const MOST: usize = 200;
/// Samples below which a function is not tested.
const SAMPLES: f64 = 20.0;

/// What ran more in the slowest slices, over all windows of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowSlices {
    /// Number of windows that could be used.
    pub windows: usize,
    /// Number of slices of 50 ms in them.
    pub slices: usize,
    /// Number of slices among those that are a window's slowest tenth.
    pub slow: usize,
    /// Mean latency in ns of the queries that ended in slow slices.
    pub latency_slow: f64,
    /// Mean latency in ns of the queries that ended in the other slices.
    pub latency_rest: f64,
    /// Number of functions tested.
    pub tested: usize,
    /// Number of draws of the permutation test.
    pub draws: usize,
    /// Unit of the column that is summed (`nanoseconds`, `cycles`).
    pub unit: String,
    /// The least probability that so many windows can give, 0..1.
    pub least: f64,
    /// Those found at the false discovery rate, the largest factor first.
    pub found: Vec<SlowFrame>,
    /// The least probable of those tested, found or not; `None` where nothing was tested.
    pub nearest: Option<SlowFrame>,
}

/// One function with what it calls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowFrame {
    /// The function.
    #[serde(flatten)]
    pub frame: Identity,
    /// Weight per second in slow slices, in [`SlowSlices::unit`]: mean over the slices.
    pub slow: f64,
    /// Weight per second in the other slices, in the same unit.
    pub rest: f64,
    /// Of the test by circular shifts, one-sided, 0..1.
    pub probability: f64,
}

/// One window's samples by slice.
struct Sliced<'a> {
    view: WindowView<'a>,
    frames: Identities,
    marks: Vec<bool>,
    /// Samples by index, of each slice.
    samples: Vec<Vec<usize>>,
}

/// What the slowest slices of a run's windows had more of.
///
/// # Errors
/// Why nothing can be said: no slices, no samples with times.
pub fn slow_slices(run: &Run) -> Result<SlowSlices, String> {
    let windows: Vec<Sliced> = run.windows.iter().filter_map(Sliced::of).collect();
    if windows.is_empty() {
        return Err(format!(
            "no window has both {FEWEST} slices of 50 ms of its own driver and samples with their times"
        ));
    }
    let weights: Vec<Vec<Vec<(usize, f64)>>> = windows.iter().map(Sliced::weights).collect();
    let candidates = candidates(&windows, &weights);
    let each = windows.iter().zip(&weights);
    let mut marked: Vec<LabelledSlices> = each.map(|(window, weights)| window.marked(weights, &candidates)).collect();
    let kept = distinct(&mut marked, candidates);
    let p = probabilities(&marked, DRAWS, SEED);
    let cut = false_discovery(FALSE_DISCOVERY, p.iter().copied());
    let mut rows: Vec<SlowFrame> =
        kept.into_iter().enumerate().map(|(at, frame)| row(frame, at, &marked, p[at])).collect();
    let nearest = rows.iter().min_by(|a, b| a.probability.total_cmp(&b.probability)).cloned();
    let tested = rows.len();
    rows.retain(|row| row.probability <= cut);
    // By the factor: whatever calls what was found has its difference too, and much else.
    let factor = |row: &SlowFrame| (row.slow - row.rest) / (row.slow + row.rest);
    rows.sort_by(|a, b| factor(b).total_cmp(&factor(a)));
    let (latency_slow, latency_rest) = latencies(&windows);
    let view = &windows[0].view;
    Ok(SlowSlices {
        windows: windows.len(),
        slices: windows.iter().map(|window| window.marks.len()).sum(),
        slow: windows.iter().flat_map(|window| &window.marks).filter(|slow| **slow).count(),
        latency_slow,
        latency_rest,
        tested,
        draws: DRAWS,
        unit: view.profile.columns[view.column].unit.clone(),
        least: least(&marked, DRAWS),
        found: rows,
        nearest,
    })
}

impl<'a> Sliced<'a> {
    fn of(window: &'a Window) -> Option<Self> {
        let marks = marks(window)?;
        // As sampled: the account is of the whole window, and says nothing of when.
        let view = window_view(window, &ViewOptions { weights: Weights::Sampled, ..ViewOptions::default() })?;
        let samples = by_slice(&view, marks.len())?;
        Some(Sliced { frames: Identities::of(&view.profile), view, marks, samples })
    }

    /// Weight of each function, with what it calls, in each slice; a function once at most.
    fn weights(&self) -> Vec<Vec<(usize, f64)>> {
        let profile = &self.view.profile;
        // Of each function the sample that it was counted for last, and its place in the slice that it was in last.
        let mut last = vec![(usize::MAX, usize::MAX, 0); self.frames.table.len()];
        let of_slice = |(slice, samples): (usize, &Vec<usize>)| {
            let mut weights: Vec<(usize, f64)> = Vec::new();
            for index in samples {
                let sample = &profile.samples[*index];
                let weight = sample.values[self.view.column] as f64;
                for function in profile.walk(sample.stack).map(|frame| self.frames.of[frame.index()]) {
                    match last[function] {
                        (counted, ..) if counted == *index => continue,
                        (_, within, at) if within == slice => weights[at].1 += weight,
                        _ => weights.push((function, weight)),
                    }
                    let at = if last[function].1 == slice { last[function].2 } else { weights.len() - 1 };
                    last[function] = (*index, slice, at);
                }
            }
            weights
        };
        self.samples.iter().enumerate().map(of_slice).collect()
    }

    /// These functions' weights per second in each slice.
    fn marked(&self, weights: &[Vec<(usize, f64)>], wanted: &[Identity]) -> LabelledSlices {
        let place: HashMap<&Identity, usize> = wanted.iter().enumerate().map(|(at, frame)| (frame, at)).collect();
        let places: Vec<Option<usize>> = self.frames.table.iter().map(|frame| place.get(frame).copied()).collect();
        let mut series = vec![vec![0.0; self.marks.len()]; wanted.len()];
        let seconds = self.view.window.load.slices[0].nanos as f64 / 1e9;
        for (slice, weights) in weights.iter().enumerate() {
            for (frame, weight) in weights {
                if let Some(at) = places[*frame] {
                    series[at][slice] = weight / seconds;
                }
            }
        }
        LabelledSlices { marks: self.marks.clone(), series }
    }
}

/// Samples of a window's first `count` slices, by index; `None` where the samples' times are not known or not of the
/// window.
pub(in crate::analyze) fn by_slice(view: &WindowView, count: usize) -> Option<Vec<Vec<usize>>> {
    let window = view.window;
    let timed = window.profile_span() == window.facts.span && view.profile.samples.iter().all(|s| s.at.is_some());
    timed.then_some(())?;
    let mut samples = vec![Vec::new(); count];
    let slices = &window.load.slices;
    for (index, sample) in view.profile.samples.iter().enumerate() {
        let slice = slices.partition_point(|slice| slice.at + slice.nanos <= sample.at.unwrap_or(0));
        if let Some(slice) = samples.get_mut(slice) {
            slice.push(index);
        }
    }
    Some(samples)
}

/// The slowest tenth of a window's whole slices, by mean latency; one in which nothing was completed is slower than
/// any.
fn marks(window: &Window) -> Option<Vec<bool>> {
    let slices = &window.load.slices;
    let whole = slices.iter().take_while(|slice| slice.nanos == slices[0].nanos).count();
    (whole >= FEWEST).then_some(())?;
    let latency = |at: usize| match slices[at].completed {
        0 => f64::INFINITY,
        completed => slices[at].latency_sum as f64 / completed as f64,
    };
    let mut order: Vec<usize> = (0..whole).collect();
    order.sort_by(|a, b| latency(*b).total_cmp(&latency(*a)));
    let mut marks = vec![false; whole];
    order.into_iter().take(whole / 10).for_each(|slice| marks[slice] = true);
    // Latencies that are all the same have no slowest tenth.
    let (first, rest) =
        (0..whole).map(latency).fold((f64::NEG_INFINITY, f64::INFINITY), |(max, min), l| (max.max(l), min.min(l)));
    (first > rest).then_some(marks)
}

/// Mean latency in ns of the queries that ended in slow slices and in the others.
fn latencies(windows: &[Sliced]) -> (f64, f64) {
    let mean = |slow: bool| {
        let slices = windows.iter().flat_map(|window| window.view.window.load.slices.iter().zip(&window.marks));
        let (sum, count) = slices
            .filter(|(_, mark)| **mark == slow)
            .fold((0, 0), |(sum, count), (slice, _)| (sum + slice.latency_sum, count + slice.completed));
        sum as f64 / (count as f64).max(1.0)
    };
    (mean(true), mean(false))
}

/// The functions whose weight scatters most between slices for its size: that is what a burst is, whenever it comes.
fn candidates(windows: &[Sliced], weights: &[Vec<Vec<(usize, f64)>>]) -> Vec<Identity> {
    // Sum, sum of squares.
    let mut moments: HashMap<&Identity, (f64, f64)> = HashMap::new();
    let (mut slices, mut weight, mut samples) = (0.0, 0.0, 0.0);
    for (window, in_slices) in windows.iter().zip(weights) {
        slices += window.marks.len() as f64;
        weight += window.view.profile.total(window.view.column) as f64;
        samples += window.view.profile.samples.len() as f64;
        // Those of the windows before, to which this one's are added slice by slice.
        let table = &window.frames.table;
        let mut sums: Vec<(f64, f64)> =
            table.iter().map(|frame| moments.get(frame).copied().unwrap_or_default()).collect();
        let mut seen = vec![false; table.len()];
        for (frame, weight) in in_slices.iter().flatten() {
            let sum = &mut sums[*frame];
            *sum = (sum.0 + weight, sum.1 + weight * weight);
            seen[*frame] = true;
        }
        let found = table.iter().zip(sums).zip(seen).filter(|(_, seen)| *seen);
        moments.extend(found.map(|((frame, sums), _)| (frame, sums)));
    }
    let least = SAMPLES * weight / samples.max(1.0);
    let depths = depths(windows);
    let mut scatter: Vec<(f64, usize, &Identity)> = moments
        .into_iter()
        .filter(|(_, (sum, _))| *sum >= least)
        .map(|(frame, (sum, squares))| ((squares - sum * sum / slices) / sum, depths[frame], frame))
        .collect();
    scatter.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    scatter.into_iter().take(2 * MOST).map(|(_, _, frame)| frame.clone()).collect()
}

/// How far from its stack's root each function is at the least.
fn depths<'w>(windows: &'w [Sliced]) -> HashMap<&'w Identity, usize> {
    let mut depths: HashMap<&Identity, usize> = HashMap::new();
    for Sliced { view, frames, .. } in windows {
        let mut of_node: Vec<usize> = Vec::with_capacity(view.profile.nodes.len());
        for node in &view.profile.nodes {
            let depth = node.parent.map_or(0, |parent| of_node[parent.index()] + 1);
            of_node.push(depth);
            let known = depths.entry(&frames.table[frames.of[node.frame.index()]]).or_insert(depth);
            *known = depth.min(*known);
        }
    }
    depths
}

/// Of functions that are always on the stack together the outermost stands for all.
fn distinct(marked: &mut [LabelledSlices], candidates: Vec<Identity>) -> Vec<Identity> {
    let mut known: BTreeSet<Vec<u64>> = BTreeSet::new();
    let of = |marked: &[LabelledSlices], at: usize| -> Vec<u64> {
        marked.iter().flat_map(|window| window.series[at].iter().map(|value| value.to_bits())).collect()
    };
    let keep: Vec<usize> = (0..candidates.len()).filter(|at| known.insert(of(marked, *at))).take(MOST).collect();
    for window in marked {
        window.series = keep.iter().map(|at| std::mem::take(&mut window.series[*at])).collect();
    }
    keep.into_iter().map(|at| candidates[at].clone()).collect()
}

fn row(frame: Identity, at: usize, marked: &[LabelledSlices], probability: f64) -> SlowFrame {
    let mean = |slow: bool| {
        let values = marked.iter().flat_map(|window| window.series[at].iter().zip(&window.marks));
        let (sum, count) = values
            .filter(|(_, mark)| **mark == slow)
            .fold((0.0, 0.0), |(sum, count), (value, _)| (sum + value, count + 1.0));
        sum / f64::max(count, 1.0)
    };
    SlowFrame { frame, slow: mean(true), rest: mean(false), probability }
}
