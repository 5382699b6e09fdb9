//! The stacks of one side at a level, window by window: costs by frame and by owner, and by call tree where pictures
//! are wanted. Invariant: each sample counts once for one frame's self cost, once for one owner, and once for each
//! frame of its stack in total.

use super::counts::{Cost, Totals};
use super::tree::Tree;
use crate::analyze::Identity;
use crate::analyze::cost::owners::{Ownership, Rules, owners, transport};
use crate::analyze::cost::view::WindowView;
use crate::analyze::statistics::interval::InStratum;
use crate::profile::{Column, ColumnKind, Frame, Node, Rename, Sample, Space, lasting_name, marker};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A frame's costs.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameCost {
    pub own: Cost,
    /// Weight of all samples that have the frame in their stack.
    pub total: f64,
    /// Of all samples that it owns.
    pub owned: Cost,
}

/// Windows are kept apart and shared, so that a side made of some of them costs next to nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Stacks {
    frames: Arc<Frames>,
    windows: Vec<Arc<WindowCosts>>,
    /// `None`: no picture is wanted.
    pub tree: Option<Tree>,
    /// The column whose weights are compared.
    pub column: Option<Column>,
    /// Windows whose profile has another column: not counted.
    pub left_out: usize,
}

/// Frames by the names that last from build to build.
#[derive(Clone, Debug, Default)]
struct Frames {
    list: Vec<Identity>,
    /// As owners; empty where they are not asked for.
    ownerships: Vec<Ownership>,
    known: FxHashMap<(String, Space), usize>,
}

/// What counts for a frame in a window.
#[derive(Clone, Copy, Debug)]
struct Counted {
    frame: usize,
    weight: f64,
    /// Squared weights, and what of them plays no part: as in [`Cost`].
    squares: (f64, f64),
}

/// One window's costs by frame.
#[derive(Clone, Debug)]
struct WindowCosts {
    /// Of its own samples.
    own: Vec<Counted>,
    /// The same of the samples that it owns; empty where owners are not asked for.
    owned: Vec<Counted>,
    /// Frame, and weight of all samples with it.
    under: Vec<(usize, f64)>,
    weight: f64,
    squares: (f64, f64),
    queries: f64,
    counted: bool,
    /// (weight, queries) of each of the load's slices; empty where samples have no times.
    slices: Vec<(f64, f64)>,
}

impl Stacks {
    /// Adds a window; with owners where there are rules for them, and with the call tree of `tree` where there is one,
    /// the same ones for each window.
    pub fn add(&mut self, view: &WindowView, tree: Option<&WindowView>, renames: &[Rename], rules: Option<&Rules>) {
        let column = &view.profile.columns[view.column];
        let weights = WindowWeights::of(view);
        if self.column.get_or_insert_with(|| column.clone()) != column || weights.total <= 0.0 {
            self.left_out += 1;
            return;
        }
        let frames = Arc::make_mut(&mut self.frames);
        let of_frame = frames.identify(view, renames);
        let owner = rules.map(|rules| frames.owners(view, &of_frame, rules));
        self.windows.push(Arc::new(WindowCosts::of(view, &weights, &of_frame, owner)));
        if let Some(view) = tree {
            let of_frame = frames.identify(view, renames);
            self.tree.get_or_insert_default().add(&view.profile.nodes, &WindowWeights::of(view), &of_frame);
        }
    }

    /// The same with these windows only, by their order; without a tree.
    pub fn of_windows(&self, chosen: &[usize]) -> Self {
        let windows = chosen.iter().filter_map(|at| self.windows.get(*at).cloned()).collect();
        Stacks { windows, frames: self.frames.clone(), tree: None, column: self.column.clone(), left_out: 0 }
    }

    pub fn frames(&self) -> &[Identity] {
        &self.frames.list
    }

    /// Costs over all windows: of all samples, and of each frame.
    pub fn sum(&self) -> (Totals, Vec<FrameCost>) {
        let mut totals = Totals::default();
        let mut costs = vec![FrameCost::default(); self.frames.list.len()];
        for window in &self.windows {
            totals.add(window);
            for Counted { frame, weight, squares } in &window.own {
                costs[*frame].own.add_window(*weight, *squares, window.weight);
            }
            for Counted { frame, weight, squares } in &window.owned {
                costs[*frame].owned.add_window(*weight, *squares, window.weight);
            }
            window.under.iter().for_each(|(frame, weight)| costs[*frame].total += weight);
        }
        (totals, costs)
    }
}

impl Frames {
    /// The index of each frame of the profile; the last one is for samples without a stack.
    fn identify(&mut self, view: &WindowView, renames: &[Rename]) -> Vec<usize> {
        let none = marker("[no stack]");
        let frames = view.profile.frames.iter().chain([&none]);
        let identity = |frame: &Frame| {
            let name = lasting_name(frame, renames);
            self.index(Identity { name, module: frame.module.clone(), space: frame.space })
        };
        frames.map(identity).collect()
    }

    fn index(&mut self, frame: Identity) -> usize {
        let next = self.list.len();
        let at = *self.known.entry((frame.name.clone(), frame.space)).or_insert(next);
        if at == next {
            self.list.push(frame);
        }
        at
    }

    /// The index of each node's owner. What a frame is by its name is found out once.
    fn owners(&mut self, view: &WindowView, of_frame: &[usize], rules: &Rules) -> Vec<usize> {
        let transport = self.index(transport());
        let new = &self.list[self.ownerships.len()..];
        self.ownerships.extend(new.iter().map(|frame| rules.ownership(&frame.name, frame.space)));
        let ownerships: Vec<Ownership> = of_frame.iter().map(|at| self.ownerships[*at]).collect();
        let owners = owners(&view.profile, &ownerships, rules, false);
        owners.into_iter().map(|owner| owner.map_or(transport, |frame| of_frame[frame.index()])).collect()
    }
}

impl WindowCosts {
    fn of(view: &WindowView, weights: &WindowWeights, of_frame: &[usize], owners: Option<Vec<usize>>) -> Self {
        let nodes = &view.profile.nodes;
        let frames = of_frame.iter().max().map_or(0, |most| most + 1);
        let without = of_frame[of_frame.len() - 1];
        let mut under = vec![0.0; frames];
        under[without] = weights.none.0;
        let outermost = outermost(nodes, of_frame, frames);
        for ((node, weight), _) in nodes.iter().zip(&weights.subtree).zip(outermost).filter(|(_, is)| *is) {
            under[of_frame[node.frame.index()]] += weight;
        }
        WindowCosts {
            own: weights.by(view, &nodes.iter().map(|node| of_frame[node.frame.index()]).collect::<Vec<_>>(), without),
            owned: owners.map_or_else(Vec::new, |owners| weights.by(view, &owners, without)),
            under: under.into_iter().enumerate().filter(|(_, weight)| *weight > 0.0).collect(),
            weight: weights.total,
            squares: (weights.squares, known(view, |_| 0).get(&0).copied().unwrap_or(0.0)),
            queries: view.queries,
            counted: weights.counted,
            slices: slices(view),
        }
    }
}

/// Whether no caller of the node is the same frame: the outermost of a recursion counts for all of it. The tree is
/// walked once, with the frames of the path counted, since looking up all callers of each node takes as many steps as
/// all stacks have frames.
fn outermost(nodes: &[Node], of_frame: &[usize], frames: usize) -> Vec<bool> {
    // Half a million nodes a window: narrow links, so that more of them fit into the caches.
    let (mut child, mut sibling, mut root) = (vec![NONE; nodes.len()], vec![NONE; nodes.len()], NONE);
    for (at, node) in nodes.iter().enumerate().rev() {
        let first = node.parent.map_or(&mut root, |parent| &mut child[parent.index()]);
        sibling[at] = std::mem::replace(first, at as u32);
    }
    let mut on_path = vec![0u32; frames];
    let mut outermost = vec![false; nodes.len()];
    let mut next = root;
    while next != NONE {
        let mut at = next as usize;
        let frame = of_frame[nodes[at].frame.index()];
        outermost[at] = on_path[frame] == 0;
        on_path[frame] += 1;
        next = child[at];
        while next == NONE {
            on_path[of_frame[nodes[at].frame.index()]] -= 1;
            next = sibling[at];
            match nodes[at].parent {
                Some(parent) if next == NONE => at = parent.index(),
                _ => break,
            }
        }
    }
    outermost
}

/// No node.
const NONE: u32 = u32::MAX;

/// Weight and squared weight of a window's samples by node.
pub(super) struct WindowWeights {
    pub own: Vec<(f64, f64)>,
    subtree: Vec<f64>,
    /// Of samples without a stack.
    pub none: (f64, f64),
    pub total: f64,
    squares: f64,
    counted: bool,
}

impl WindowWeights {
    fn of(view: &WindowView) -> Self {
        let profile = &view.profile;
        let counted = profile.column(&ColumnKind::Samples);
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
        let mut subtree: Vec<f64> = own.iter().map(|(weight, _)| *weight).collect();
        for i in (0..profile.nodes.len()).rev() {
            if let Some(parent) = profile.nodes[i].parent {
                subtree[parent.index()] += subtree[i];
            }
        }
        WindowWeights { own, subtree, none, total: all.0, squares: all.1, counted: counted.is_some() }
    }

    /// Weights and squared weights by what each node's samples count for; `without` is what those without a stack
    /// count for.
    fn by(&self, view: &WindowView, of_node: &[usize], without: usize) -> Vec<Counted> {
        let known = known(view, |sample| sample.stack.map_or(without, |stack| of_node[stack.index()]));
        let mut sums = vec![(0.0, 0.0); without + 1];
        sums[without] = self.none;
        for (&at, (weight, squares)) in of_node.iter().zip(&self.own) {
            if at >= sums.len() {
                sums.resize(at + 1, (0.0, 0.0));
            }
            sums[at] = (sums[at].0 + weight, sums[at].1 + squares);
        }
        let sums = sums.into_iter().enumerate().filter(|(_, (weight, _))| *weight > 0.0);
        let known = |at: usize| known.get(&at).copied().unwrap_or(0.0);
        sums.map(|(at, (weight, squares))| Counted { frame: at, weight, squares: (squares, known(at)) }).collect()
    }
}

/// For each thing that samples count for, the sum over strata of its squared weight there over the stratum's samples.
fn known(view: &WindowView, of: impl Fn(&Sample) -> usize) -> FxHashMap<usize, f64> {
    let Some(strata) = &view.strata else { return FxHashMap::default() };
    let parts: Vec<Option<InStratum>> = view.profile.labels.iter().map(|labels| strata.part(labels.tid, 0.0)).collect();
    let mut weights: FxHashMap<(usize, usize), (f64, f64)> = FxHashMap::default();
    for sample in &view.profile.samples {
        let Some(part) = &parts[sample.labels.index()] else { continue };
        weights.entry((of(sample), part.stratum)).or_insert((0.0, part.samples)).0 += sample.values[view.column] as f64;
    }
    let mut sums: FxHashMap<usize, f64> = FxHashMap::default();
    for ((at, _), (weight, samples)) in weights {
        *sums.entry(at).or_default() += weight * weight / samples;
    }
    sums
}

impl Totals {
    fn add(&mut self, window: &WindowCosts) {
        self.queries += window.queries;
        self.cost.add_window(window.weight, window.squares, window.weight);
        self.windows.push((window.weight, window.queries));
        self.uncounted |= !window.counted;
        // Only a single window is judged by its slices.
        self.slices = if self.windows.len() == 1 { window.slices.clone() } else { Vec::new() };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{FrameId, StackId};

    #[test]
    fn the_outermost_of_a_recursion_is_found_in_every_branch() {
        // a;b;a, a;c;c, b;a and c, as nodes in the order in which they were first met.
        let made =
            [(None, 0), (Some(0), 1), (Some(1), 0), (Some(0), 2), (None, 1), (Some(3), 2), (Some(4), 0), (None, 2)];
        let node = |(parent, frame): (Option<u32>, u32)| Node { parent: parent.map(StackId), frame: FrameId(frame) };
        let nodes = made.map(node);
        let expected = [true, true, false, true, true, false, true, true];
        assert_eq!(outermost(&nodes, &[0, 1, 2], 3), expected);
        // Two frames of one name are the same function.
        assert_eq!(outermost(&nodes[..2], &[0, 0, 1], 2), [true, false]);
        assert_eq!(outermost(&[], &[0], 1), [] as [bool; 0]);
    }
}
