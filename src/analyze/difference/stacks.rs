//! The stacks of one side at a level, window by window: costs by frame. Invariant: each sample counts once for one frame's self
//! cost, and once for each frame of its stack in total.

use super::counts::{Cost, Totals};
use crate::analyze::Identity;
use crate::analyze::view::WindowView;
use crate::profile::{Rename, Space, lasting_name, marker};
use rustc_hash::FxHashMap;

/// A frame's costs.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameCost {
    pub own: Cost,
    /// Weight of all samples that have the frame in their stack.
    pub total: f64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Stacks {
    pub frames: Vec<Identity>,
    pub costs: Vec<FrameCost>,
    pub totals: Totals,
    /// Kind and unit of the column.
    pub column: Option<(String, String)>,
    /// Windows whose profile has another column: not counted.
    pub left_out: usize,
    known: FxHashMap<(String, Space), usize>,
}

impl Stacks {
    /// Adds a window.
    pub fn add(&mut self, view: &WindowView, renames: &[Rename]) {
        let column = &view.profile.columns[view.column];
        let column = (column.kind.clone(), column.unit.clone());
        if *self.column.get_or_insert_with(|| column.clone()) != column {
            self.left_out += 1;
            return;
        }
        let weights = Weights::of(view);
        if weights.total <= 0.0 {
            self.left_out += 1;
            return;
        }
        let of_frame = self.identify(view, renames);
        self.totals.add(view, &weights);
        self.add_frames(view, &weights, &of_frame);
    }

    /// The index of each frame of the profile; the last one is for samples without a stack.
    fn identify(&mut self, view: &WindowView, renames: &[Rename]) -> Vec<usize> {
        let none = marker("[no stack]");
        let frames = view.profile.frames.iter().chain([&none]);
        let mut of_frame = Vec::with_capacity(view.profile.frames.len() + 1);
        for frame in frames {
            let next = self.frames.len();
            let name = lasting_name(frame, renames);
            let at = *self.known.entry((name, frame.space)).or_insert(next);
            if at == next {
                let name = lasting_name(frame, renames);
                self.frames.push(Identity { name, module: frame.module.clone(), space: frame.space });
                self.costs.push(FrameCost::default());
            }
            of_frame.push(at);
        }
        of_frame
    }

    fn add_frames(&mut self, view: &WindowView, weights: &Weights, of_frame: &[usize]) {
        let nodes = &view.profile.nodes;
        let mut own = vec![(0.0, 0.0); self.frames.len()];
        for (node, (weight, squares)) in nodes.iter().zip(&weights.own) {
            let sum = &mut own[of_frame[node.frame.index()]];
            *sum = (sum.0 + weight, sum.1 + squares);
        }
        let without = of_frame[of_frame.len() - 1];
        own[without] = (own[without].0 + weights.none.0, own[without].1 + weights.none.1);
        self.costs[without].total += weights.none.0;
        for (cost, (weight, squares)) in self.costs.iter_mut().zip(own).filter(|(_, own)| own.0 > 0.0) {
            cost.own.add_window(weight, squares, weights.total);
        }
        for (node, (weight, _)) in nodes.iter().zip(&weights.subtree).filter(|(_, subtree)| subtree.0 > 0.0) {
            let frame = of_frame[node.frame.index()];
            let mut at = node.parent;
            // The outermost of a recursion counts for all of it.
            while let Some(above) = at.map(|stack| &nodes[stack.index()]) {
                if of_frame[above.frame.index()] == frame {
                    break;
                }
                at = above.parent;
            }
            if at.is_none() {
                self.costs[frame].total += weight;
            }
        }
    }
}

/// Weight and squared weight of a window's samples by node.
struct Weights {
    own: Vec<(f64, f64)>,
    subtree: Vec<(f64, f64)>,
    /// Of samples without a stack.
    none: (f64, f64),
    total: f64,
    squares: f64,
    counted: bool,
}

impl Weights {
    fn of(view: &WindowView) -> Self {
        let profile = &view.profile;
        let counted = profile.column("samples");
        let mut own = vec![(0.0, 0.0); profile.nodes.len()];
        let (mut none, mut all) = ((0.0, 0.0), (0.0, 0.0));
        for sample in &profile.samples {
            let weight = sample.values[view.column] as f64;
            let count = counted.map_or(0, |c| sample.values[c]);
            let squares = if count > 0 { weight * weight / count as f64 } else { 0.0 };
            let at = sample.stack.map_or(&mut none, |stack| &mut own[stack.index()]);
            *at = (at.0 + weight, at.1 + squares);
            all = (all.0 + weight, all.1 + squares);
        }
        let mut subtree = own.clone();
        for i in (0..profile.nodes.len()).rev() {
            if let Some(parent) = profile.nodes[i].parent {
                let of_child = subtree[i];
                let sum = &mut subtree[parent.index()];
                *sum = (sum.0 + of_child.0, sum.1 + of_child.1);
            }
        }
        Weights { own, subtree, none, total: all.0, squares: all.1, counted: counted.is_some() }
    }
}

impl Totals {
    fn add(&mut self, view: &WindowView, weights: &Weights) {
        self.queries += view.queries;
        self.cost.add_window(weights.total, weights.squares, weights.total);
        self.windows.push((weights.total, view.queries));
        self.uncounted |= !weights.counted;
        // Only a single window is judged by its slices.
        self.slices = if self.windows.len() == 1 { slices(view) } else { Vec::new() };
    }
}

/// (weight, queries) of each of the load's slices; empty where samples have no times.
fn slices(view: &WindowView) -> Vec<(f64, f64)> {
    let (window, profile) = (view.window, &view.profile);
    let timed = profile.samples.iter().all(|sample| sample.at.is_some()) && window.profile_span() == window.facts.span;
    let mut slices: Vec<(f64, f64)> = window.load.slices.iter().map(|slice| (0.0, slice.completed as f64)).collect();
    let Some(last) = slices.len().checked_sub(1).filter(|_| timed) else { return Vec::new() };
    for sample in &profile.samples {
        let at = sample.at.unwrap_or(0);
        let slice = window.load.slices.partition_point(|slice| slice.at + slice.nanos <= at).min(last);
        slices[slice].0 += sample.values[view.column] as f64;
    }
    slices
}
