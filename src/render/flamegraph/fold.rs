//! A profile as the lines that inferno reads, and the boxes it will draw from them. Invariant: the boxes are laid out
//! as inferno does (lines in byte order, neighbours with the same path share boxes), so that (depth, start) names
//! one; what lies outside a focus is no part of them, so that the focus has all of the width.

use crate::profile::{ColumnKind, Frame, Named, OUTSIDE, Profile, Space, StackId, middle, short_name, tell_apart};
use std::collections::{BTreeMap, HashMap};

/// Ends every key. It sorts before all else that a key may hold, so that `f`, `f;g` and not `f::h` are neighbours;
/// otherwise a function with weight of its own would be drawn twice. Taken out again before the picture is written.
pub(super) const KEY_END: char = '\u{1}';
/// Longest key: what inferno may show in a frame before a browser runs its script.
const KEY: usize = 120;

/// A line of folded stacks.
pub(super) struct Line {
    /// `key;key weight`
    pub text: String,
    pub weight: u64,
    /// Index of the box of its leaf.
    pub leaf: usize,
}

/// A frame as drawn.
pub(super) struct Drawn {
    /// 0 for the bottom, `all`.
    pub depth: usize,
    /// Weight to the left of it.
    pub start: u64,
    pub width: u64,
    /// `None` where the profile does not count samples.
    pub samples: Option<u64>,
    /// Index into [`Folded::labels`]; `None` for `all`.
    pub label: Option<usize>,
    /// A node of the profile that is drawn in it; `None` for `all`, and for samples without a stack.
    pub node: Option<StackId>,
    /// Every other box of its row.
    pub odd: bool,
}

/// What a frame is called.
pub(super) struct Label {
    /// As shown in the frame: different functions differ.
    pub shown: String,
    /// A frame that it stands for.
    pub frame: Frame,
    key: String,
}

/// A profile ready to draw.
pub(super) struct Folded {
    pub lines: Vec<Line>,
    pub boxes: Vec<Drawn>,
    pub labels: Vec<Label>,
    pub total: u64,
}

/// Weights of one path of labels.
struct Path {
    labels: Vec<usize>,
    stack: Option<StackId>,
    weight: u64,
    samples: Option<u64>,
}

impl Folded {
    /// Samples without weight are left out: they have no width. So is what lies outside a focus.
    pub fn of(profile: &Profile, column: usize, full_names: bool) -> Self {
        let (labels, of_frame) = labels(profile, full_names);
        let mut folded = Folded { lines: Vec::new(), boxes: Vec::new(), labels, total: 0 };
        let paths = folded.paths(profile, column, &of_frame);
        folded.lay_out(profile, paths);
        folded
    }

    fn paths(&mut self, profile: &Profile, column: usize, of_frame: &[usize]) -> BTreeMap<String, Path> {
        let counted = profile.column(&ColumnKind::Samples);
        let mut by_stack: HashMap<Option<StackId>, (u64, Option<u64>)> = HashMap::new();
        for sample in profile.samples.iter().filter(|s| s.values[column] > 0 && !is_outside(profile, s.stack)) {
            let sums = by_stack.entry(sample.stack).or_insert((0, counted.map(|_| 0)));
            sums.0 += sample.values[column] as u64;
            sums.1 = sums.1.zip(counted).map(|(sum, c)| sum + sample.values[c].max(0) as u64);
        }
        let no_stack = self.labels.len() - 1;
        let mut paths: BTreeMap<String, Path> = BTreeMap::new();
        for (stack, (weight, samples)) in by_stack {
            let mut labels: Vec<usize> = profile.path(stack).iter().map(|f| of_frame[f.index()]).collect();
            if labels.is_empty() {
                labels.push(no_stack);
            }
            let text = labels.iter().map(|l| self.labels[*l].key.as_str()).collect::<Vec<_>>().join(";");
            let path = paths.entry(text).or_insert(Path { labels, stack, weight: 0, samples: counted.map(|_| 0) });
            path.weight += weight;
            path.samples = path.samples.zip(samples).map(|(a, b)| a + b);
        }
        paths
    }

    /// Boxes of the paths in byte order of their text.
    fn lay_out(&mut self, profile: &Profile, paths: BTreeMap<String, Path>) {
        let samples = paths.values().map(|p| p.samples).sum();
        self.total = paths.values().map(|p| p.weight).sum();
        let all = Drawn { depth: 0, start: 0, width: self.total, samples, label: None, node: None, odd: false };
        self.boxes.push(all);
        let mut of_row: Vec<usize> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut start = 0;
        for (text, path) in paths {
            let label_of = |b: usize| self.boxes[b].label;
            let shared = open.iter().zip(&path.labels).take_while(|(b, label)| label_of(**b) == Some(**label)).count();
            open.truncate(shared);
            let mut nodes: Vec<StackId> =
                std::iter::successors(path.stack, |stack| profile.nodes[stack.index()].parent).collect();
            nodes.reverse();
            for (i, label) in path.labels.iter().enumerate().skip(shared) {
                open.push(self.boxes.len());
                let (samples, node) = (path.samples.map(|_| 0), nodes.get(i).copied());
                of_row.resize(of_row.len().max(i + 1), 0);
                of_row[i] += 1;
                let (label, odd) = (Some(*label), of_row[i] % 2 == 1);
                self.boxes.push(Drawn { depth: i + 1, start, width: 0, samples, label, node, odd });
            }
            for &at in &open {
                let drawn = &mut self.boxes[at];
                drawn.width += path.weight;
                drawn.samples = drawn.samples.zip(path.samples).map(|(a, b)| a + b);
            }
            let leaf = open.last().copied().unwrap_or(0);
            self.lines.push(Line { text: format!("{text} {}", path.weight), weight: path.weight, leaf });
            start += path.weight;
        }
    }
}

/// Whether a stack stands for what lies outside the view's focus.
fn is_outside(profile: &Profile, stack: Option<StackId>) -> bool {
    let node = stack.map(|stack| &profile.nodes[stack.index()]);
    node.filter(|node| node.parent.is_none()).is_some_and(|node| {
        let frame = &profile.frames[node.frame.index()];
        frame.space == Space::Marker && frame.name == OUTSIDE
    })
}

/// Weight of what lies outside the focus.
pub(super) fn outside(profile: &Profile, column: usize) -> u64 {
    let samples = profile.samples.iter().filter(|sample| is_outside(profile, sample.stack));
    samples.map(|sample| sample.values[column].max(0) as u64).sum()
}

/// Distinct labels with distinct keys, the last one for samples without frames; and each frame's label.
fn labels(profile: &Profile, full_names: bool) -> (Vec<Label>, Vec<usize>) {
    let no_stack = crate::profile::marker("[no stack]");
    let (mut distinct, mut of_frame) = (Vec::<&Frame>::new(), Vec::new());
    let mut known: HashMap<(&str, &str, Space), usize> = HashMap::new();
    for frame in &profile.frames {
        of_frame.push(*known.entry((&frame.name, &frame.module, frame.space)).or_insert_with(|| {
            distinct.push(frame);
            distinct.len() - 1
        }));
    }
    distinct.push(&no_stack);
    let mut keys: HashMap<String, usize> = HashMap::new();
    let label =
        |(frame, shown): (&&Frame, String)| Label { key: key(&shown, &mut keys), shown, frame: Frame::clone(frame) };
    let shown = shown(&distinct, full_names);
    (distinct.iter().zip(shown).map(label).collect(), of_frame)
}

/// What each frame is called in the picture.
fn shown(frames: &[&Frame], full_names: bool) -> Vec<String> {
    let called = |frame: &&Frame| match full_names {
        true => middle(&frame.name, super::FULL_NAME),
        // A sentence, with names in it.
        false if frame.space == Space::Marker => frame.name.split(' ').map(own_name).collect::<Vec<_>>().join(" "),
        false => own_name(&short_name(&frame.name)),
    };
    let named: Vec<Named> =
        frames.iter().map(|frame| Named { shown: called(frame), full: &frame.name, module: &frame.module }).collect();
    tell_apart(&named, false)
}

fn key(shown: &str, keys: &mut HashMap<String, usize>) -> String {
    let clean = clean(shown);
    let times = keys.entry(clean.clone()).and_modify(|n| *n += 1).or_insert(1);
    let distinct = if *times == 1 { clean } else { format!("{clean}~{times}") };
    format!("{distinct}{KEY_END}")
}

/// The last two parts of a path, closures not counted: what fits into a frame; the rest stands in the tooltip.
pub(super) fn own_name(short: &str) -> String {
    let parts: Vec<&str> = short.split("::").collect();
    let closures = parts.iter().rev().take_while(|p| p.starts_with('{')).count();
    let own = parts[parts.len() - (closures + 2).min(parts.len())..].join("::");
    // A bracket that is closed but not opened was cut through: generic arguments, not a path.
    if own.contains(['<', '>', '(', ')']) { short.to_string() } else { own }
}

/// A name that can stand in a folded line: no `;`, no blanks (a number after one would be a weight), bounded.
fn clean(name: &str) -> String {
    let text: String = name
        .chars()
        .take(KEY)
        .map(|c| match c {
            ';' => ',',
            c if c.is_whitespace() || c.is_control() => '\u{a0}',
            c => c,
        })
        .collect();
    if text.is_empty() { "[no name]".into() } else { text }
}
