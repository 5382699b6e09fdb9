//! Call trees before and after, for pictures: what the stacks through each node cost a query, and whether that
//! differs. Invariant: a node that has nothing but one child is the same question as that child and shares its
//! answer, so that a long chain of callers does not count many times in the family.

use super::contrast::{Contrast, Verdict};
use super::counts::{Cost, Sides};
use super::family::false_discovery_dependent;
use super::frames::{By, FrameRow, Judging, comparable, tables};
use super::stacks::{Stacks, WindowWeights};
use super::{Options, Side};
use crate::analyze::Identity;
use crate::profile::{Builder, Column, ColumnKind, Frame, Labels, Node, Profile, Sample, StackId, marker};
use rustc_hash::FxHashMap;

/// The call tree of one side at a level. A node's parent comes before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// Parent and frame.
    nodes: Vec<(Option<usize>, usize)>,
    known: FxHashMap<(Option<usize>, usize), usize>,
    /// Of the samples that end in the node.
    own: Vec<(f64, f64)>,
    subtree: Vec<Cost>,
}

impl Tree {
    /// Adds a window's stacks; `of_frame` as [`Stacks`] has it.
    pub fn add(&mut self, nodes: &[Node], weights: &WindowWeights, of_frame: &[usize]) {
        let mut places = Vec::with_capacity(nodes.len());
        for node in nodes {
            let parent = node.parent.map(|parent| places[parent.index()]);
            places.push(self.push(parent, of_frame[node.frame.index()]));
        }
        let without = (weights.none.0 > 0.0).then(|| self.push(None, of_frame[of_frame.len() - 1]));
        let mut window = vec![(0.0, 0.0); self.nodes.len()];
        for (at, own) in places.iter().zip(&weights.own).chain(without.iter().map(|at| (at, &weights.none))) {
            window[*at] = add(window[*at], *own);
            self.own[*at] = add(self.own[*at], *own);
        }
        for at in (0..self.nodes.len()).rev() {
            let (weight, squares) = window[at];
            if weight > 0.0 {
                // What the accounts take away is reckoned for functions alone: of stacks the interval is the wider one.
                self.subtree[at].add_window(weight, (squares, 0.0), weights.total);
                if let Some(parent) = self.nodes[at].0 {
                    window[parent] = add(window[parent], window[at]);
                }
            }
        }
    }

    fn push(&mut self, parent: Option<usize>, frame: usize) -> usize {
        let next = self.nodes.len();
        let at = *self.known.entry((parent, frame)).or_insert(next);
        if at == next {
            self.nodes.push((parent, frame));
            self.own.push((0.0, 0.0));
            self.subtree.push(Cost::default());
        }
        at
    }
}

fn add(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

/// One node before and after, all stacks through it together; in the column's unit per query.
#[derive(Clone, Debug, PartialEq)]
pub struct Subtree {
    /// Cost per query in the first run.
    pub before: f64,
    /// Cost per query in the second run.
    pub after: f64,
    /// Number of samples (before, after).
    pub samples: (u64, u64),
    /// After minus before.
    pub difference: f64,
    /// Interval of the difference, which misses with the probability [`TreeDifference::cut`]; `None`: too few
    /// samples, or they were not counted.
    pub interval: Option<(f64, f64)>,
    /// What may be said of the difference; `None` as for `interval`.
    pub verdict: Option<Verdict>,
}

impl Subtree {
    /// A difference was found, in whichever direction; false for a node that was not judged.
    pub fn differs(&self) -> bool {
        self.verdict.is_some_and(Verdict::differs)
    }
}

/// The call trees of one level as one.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeDifference {
    /// Number of clients.
    pub level: usize,
    /// Ids of the runs (before, after).
    pub runs: [String; 2],
    /// Number of queries of each side (before, after), by which costs are divided.
    pub queries: [f64; 2],
    /// Weight of all samples of each side (before, after), in the column's unit.
    pub weights: [f64; 2],
    /// The column that was compared, with its unit.
    pub column: Column,
    /// By node of [`TreeDifference::profile`].
    pub subtrees: Vec<Subtree>,
    /// Number of nodes of this level that were judged apart from each other.
    pub judged: usize,
    /// Number of nodes over which the false discovery rate is held: those judged on all levels together.
    pub family: usize,
    /// Probability below which a node differs, and with which its interval misses, 0..1.
    pub cut: f64,
    /// Owners that differ, at most as many rows as [`Options::top`], those with the largest differences first; empty
    /// without a preset.
    pub owners: Vec<FrameRow>,
    tree: Profile,
    /// Weight and samples of what ends in each node.
    own: Vec<[(f64, f64); 2]>,
}

/// What is coloured on the stacks through some functions, and off them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coloured {
    /// On the stacks through those functions, whether they run under them or call them.
    pub on: Ends,
    /// On the other stacks.
    pub off: Ends,
}

/// Nodes that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ends {
    /// Number of nodes.
    pub nodes: usize,
    /// Sum over the nodes of the absolute difference of their own samples, those that end in them, in the
    /// column's unit per query: each sample counts once.
    pub weight: f64,
    /// The largest of these differences, in the column's unit per query.
    pub largest: f64,
}

impl TreeDifference {
    /// The stacks of one side (0 before, 1 after) with all nodes of both; columns `samples` and the one that was
    /// compared.
    pub fn profile(&self, side: usize) -> Profile {
        let mut profile = self.tree.clone();
        profile.columns.push(Column { kind: ColumnKind::Samples, unit: "count".into() });
        profile.columns.push(self.column.clone());
        let mut builder = Builder::default();
        let labels = builder.labels(Labels::default());
        profile.labels = builder.finish().labels;
        profile.samples = (0..self.own.len() as u32)
            .zip(&self.own)
            .filter(|(_, own)| own[side].0 > 0.0)
            .map(|(node, own)| Sample {
                stack: Some(StackId(node)),
                labels,
                at: None,
                values: vec![own[side].1.round() as i64, own[side].0.round() as i64],
            })
            .collect();
        profile
    }

    /// What is coloured on the stacks through the functions that match, under them or calling them.
    pub fn coloured(&self, matches: impl Fn(&Frame) -> bool) -> Coloured {
        let nodes = &self.tree.nodes;
        let mut under: Vec<bool> = nodes.iter().map(|node| matches(&self.tree.frames[node.frame.index()])).collect();
        for at in 0..nodes.len() {
            under[at] |= nodes[at].parent.is_some_and(|parent| under[parent.index()]);
        }
        let mut on = under;
        let mut found = Coloured::default();
        for at in (0..nodes.len()).rev() {
            let subtree = &self.subtrees[at];
            if subtree.differs() {
                let part = if on[at] { &mut found.on } else { &mut found.off };
                let [before, after] = [0, 1].map(|side| self.own[at][side].0 / self.queries[side]);
                let weight = (after - before).abs();
                *part = Ends { nodes: part.nodes + 1, weight: part.weight + weight, largest: part.largest.max(weight) };
            }
            if let Some(parent) = nodes[at].parent {
                on[parent.index()] |= on[at];
            }
        }
        found
    }
}

/// The call trees of the levels at which both sides have stacks of one column; the sides are filled with
/// [`Options::trees`].
pub fn trees(before: &Side, after: &Side, options: &Options) -> Vec<TreeDifference> {
    let drafts: Vec<Draft> = before
        .levels
        .iter()
        .filter_map(|(level, first)| {
            let second = after.levels.get(level).filter(|second| comparable(&first.stacks, &second.stacks))?;
            Draft::of(*level, [&first.stacks, &second.stacks])
        })
        .collect();
    let p = drafts.iter().flat_map(|draft| draft.contrasts.iter().flatten().map(Contrast::p)).collect::<Vec<_>>();
    let cut = false_discovery_dependent(options.false_discovery, &p);
    let runs = [before.run.clone(), after.run.clone()];
    let mut owners =
        options.preset.map(|_| tables(&before.levels, &after.levels, options, By::Owner)).unwrap_or_default();
    let finish = |draft: Draft| {
        let rows = owners.remove(&draft.level).map_or_else(Vec::new, |table| table.rows);
        let owners = rows.into_iter().filter(|row| row.verdict.is_some_and(Verdict::differs)).collect();
        TreeDifference { owners, ..draft.finish(&runs, options.margin, cut, p.len()) }
    };
    drafts.into_iter().map(finish).collect()
}

/// A level before the cut over all levels is known.
struct Draft {
    level: usize,
    joined: Joined,
    /// The node whose answer each node shares; itself where it has one of its own.
    same: Vec<usize>,
    /// Of nodes with an answer of their own.
    contrasts: Vec<Option<Contrast>>,
    queries: [f64; 2],
    weights: [f64; 2],
    windows: usize,
    column: Column,
}

/// Both trees as one.
#[derive(Default)]
struct Joined {
    tree: Profile,
    own: Vec<[(f64, f64); 2]>,
    subtrees: Vec<[Cost; 2]>,
}

impl Joined {
    fn of(sides: [&Stacks; 2]) -> Option<Self> {
        let mut builder = Builder::default();
        let mut frames = FxHashMap::default();
        let (mut own, mut subtrees) = (Vec::new(), Vec::new());
        for (side, stacks) in sides.into_iter().enumerate() {
            let tree = stacks.tree.as_ref()?;
            let mut places: Vec<StackId> = Vec::with_capacity(tree.nodes.len());
            for (at, (parent, frame)) in tree.nodes.iter().enumerate() {
                let identity = &stacks.frames()[*frame];
                let key = (identity.name.as_str(), identity.space);
                let frame = *frames.entry(key).or_insert_with(|| builder.frame(as_frame(identity)));
                let place = builder.push(parent.map(|parent| places[parent]), frame);
                places.push(place);
                if own.len() <= place.index() {
                    own.resize(place.index() + 1, [(0.0, 0.0); 2]);
                    subtrees.resize(place.index() + 1, [Cost::default(); 2]);
                }
                let cost = Cost { weight: tree.own[at].0, squares: tree.own[at].1, known: 0.0, scaled: 0.0 };
                own[place.index()][side] = (cost.weight, cost.samples());
                subtrees[place.index()][side] = tree.subtree[at];
            }
        }
        Some(Joined { tree: builder.finish(), own, subtrees })
    }

    /// By node the one whose costs are the same on both sides.
    fn same(&self) -> Vec<usize> {
        let nodes = &self.tree.nodes;
        let mut children = vec![(0, 0); nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            if let Some(parent) = node.parent {
                children[parent.index()] = (children[parent.index()].0 + 1, at);
            }
        }
        let mut same: Vec<usize> = (0..nodes.len()).collect();
        for at in (0..nodes.len()).rev() {
            let (count, child) = children[at];
            if count == 1 && self.own[at].iter().all(|own| own.0 == 0.0) {
                same[at] = same[child];
            }
        }
        same
    }
}

fn as_frame(identity: &Identity) -> Frame {
    Frame { module: identity.module.clone(), space: identity.space, ..marker(&identity.name) }
}

impl Draft {
    fn of(level: usize, stacks: [&Stacks; 2]) -> Option<Self> {
        let joined = Joined::of(stacks)?;
        let same = joined.same();
        let [(first, _), (second, _)] = stacks.map(Stacks::sum);
        let sides = Sides::of(&first, &second);
        let distinct = || joined.subtrees.iter().enumerate().filter(|(at, _)| same[*at] == *at).map(|(_, costs)| costs);
        let dispersion = sides.as_ref().map(|sides| sides.fit(distinct().map(|[a, b]| [a, b])));
        let contrast = |costs: &[Cost; 2]| sides.as_ref()?.contrast([&costs[0], &costs[1]], dispersion.as_ref()?);
        let each = joined.subtrees.iter().enumerate();
        let contrasts = each.map(|(at, costs)| if same[at] == at { contrast(costs) } else { None }).collect();
        let column = stacks[0].column.clone()?;
        Some(Draft {
            level,
            same,
            contrasts,
            queries: [first.queries, second.queries],
            weights: [first.cost.weight, second.cost.weight],
            windows: first.windows.len().min(second.windows.len()),
            column,
            joined,
        })
    }

    fn finish(self, runs: &[String; 2], margin: f64, cut: f64, family: usize) -> TreeDifference {
        let judging = Judging { queries: self.queries, margin, cut, windows: self.windows };
        let subtree = |(at, costs): (usize, &[Cost; 2])| {
            let [before, after] = [0, 1].map(|side| costs[side].weight / self.queries[side]);
            let judged = self.contrasts[self.same[at]].as_ref().map(|contrast| judging.judge(contrast, before));
            Subtree {
                before,
                after,
                samples: (costs[0].samples().round() as u64, costs[1].samples().round() as u64),
                difference: after - before,
                interval: judged.map(|(interval, _)| interval),
                verdict: judged.map(|(_, verdict)| verdict),
            }
        };
        TreeDifference {
            level: self.level,
            runs: runs.clone(),
            queries: self.queries,
            weights: self.weights,
            column: self.column,
            subtrees: self.joined.subtrees.iter().enumerate().map(subtree).collect(),
            judged: self.contrasts.iter().flatten().count(),
            family,
            cut,
            owners: Vec::new(),
            tree: self.joined.tree,
            own: self.joined.own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::constructed::{profiled, run};
    use super::*;
    use crate::run::Run;

    /// Six windows of these stacks, each with as many samples of 1 ms and a scatter of three.
    fn sampled(stacks: &[(&str, i64)]) -> Run {
        let mut made = run("r", 16, &[(10_000, 100, 50); 6]);
        for (i, window) in made.windows.iter_mut().enumerate() {
            let counts: Vec<(&str, i64)> = stacks.iter().map(|(stack, n)| (*stack, n + (i % 3) as i64)).collect();
            profiled(window, &counts);
        }
        made
    }

    fn compared(before: &[(&str, i64)], after: &[(&str, i64)]) -> TreeDifference {
        let options = Options { trees: true, ..Options::default() };
        let [before, after] = [before, after].map(|stacks| Side::of(&sampled(stacks), &options));
        trees(&before, &after, &options).remove(0)
    }

    /// The subtree of `main;work;new`.
    fn node<'a>(trees: &'a TreeDifference, path: &str) -> &'a Subtree {
        let names = |stack: u32| {
            let frames = trees.tree.path(Some(StackId(stack)));
            frames.iter().map(|frame| trees.tree.frames[frame.index()].name.clone()).collect::<Vec<_>>().join(";")
        };
        let at = (0..trees.subtrees.len()).find(|at| names(*at as u32) == path).unwrap();
        &trees.subtrees[at]
    }

    const BEFORE: [(&str, i64); 3] = [("main;work", 2000), ("main;other", 1000), ("main;run;poll;wait", 1500)];
    const AFTER: [(&str, i64); 4] =
        [("main;work", 2000), ("main;other", 1000), ("main;run;poll;wait", 1500), ("main;work;new", 300)];

    #[test]
    fn callers_carry_the_difference_of_a_new_function_and_others_none() {
        let trees = compared(&BEFORE, &AFTER);
        for path in ["main", "main;work", "main;work;new"] {
            let found = node(&trees, path);
            assert_eq!(found.verdict, Some(Verdict::Slower), "{path} {found:?}");
            assert!((found.difference - 30_100.0).abs() < 1.0, "{path} {found:?}");
        }
        assert_eq!(node(&trees, "main;work;new").samples, (0, 1806));
        assert!(!node(&trees, "main;other").differs() && !node(&trees, "main;run").differs());
        let back = compared(&AFTER, &BEFORE);
        assert_eq!(node(&back, "main;work;new").verdict, Some(Verdict::Faster));
    }

    #[test]
    fn a_chain_is_one_question_with_one_answer() {
        let trees = compared(&BEFORE, &AFTER);
        // main, main;work, main;work;new, main;other and the chain.
        assert_eq!((trees.judged, trees.family), (5, 5));
        assert_eq!(node(&trees, "main;run"), node(&trees, "main;run;poll;wait"));
    }

    #[test]
    fn each_sample_of_what_is_coloured_counts_once() {
        let more = [&AFTER[..], &[("main;run;stray", 100)]].concat();
        let found = compared(&BEFORE, &more).coloured(|frame| frame.name == "work");
        // main, work and new are on its stacks; run and stray are not.
        assert_eq!((found.on.nodes, found.off.nodes), (3, 1 + 1), "{found:?}");
        assert!((found.on.weight - 30_100.0).abs() < 1.0 && (found.off.weight - 10_100.0).abs() < 1.0, "{found:?}");
        assert_eq!((found.on.weight, found.off.weight), (found.on.largest, found.off.largest));
        let none = compared(&BEFORE, &BEFORE).coloured(|frame| frame.name == "work");
        assert_eq!(none, Coloured::default());
    }

    #[test]
    fn a_sides_profile_has_its_weights_and_the_nodes_of_both() {
        let trees = compared(&BEFORE, &AFTER);
        for side in [0, 1] {
            let profile = trees.profile(side);
            profile.check().unwrap();
            assert_eq!(profile.total(1) as f64, trees.weights[side]);
            assert_eq!(profile.nodes.len(), trees.subtrees.len());
        }
        assert_eq!(trees.profile(0).total(0), 6 * 4500 + 3 * 6);
    }
}
