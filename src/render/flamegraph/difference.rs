//! Differential flamegraphs: one side's stacks, coloured by what they cost a query more or less than on the other.
//! Invariant: colour stands only where a difference was found; both pictures of a pair have one scale, so that the
//! same width is the same cost.

use super::fold::{Folded, outside, own_name};
use super::head::{Head, Key};
use super::lines::not_drawn;
use super::tooltip::{self, Dress};
use super::{Caption, Drawing, Unit, plain};
use crate::analyze::compare::difference::{FrameRow, Subtree, TreeDifference};
use crate::analyze::cost::view::Per;
use crate::profile::{middle, short_name};
use crate::render::difference::verdict;
use crate::render::figure::count;
use anyhow::{Context, Result};

/// Share of the width that a side without room gets all the same: the scale is then no longer that of the other side.
const NARROWEST: f64 = 0.03;
/// Functions that the subtitle names, and characters of each.
const OWNERS: usize = 2;
const OWNER_WIDTH: usize = 40;

/// Whose stacks are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those before the change.
    Before,
    /// Those after it.
    After,
}

impl Direction {
    /// `before` or `after`, for texts and file names.
    pub fn word(self) -> &'static str {
        match self {
            Direction::Before => "before",
            Direction::After => "after",
        }
    }

    fn side(self) -> usize {
        match self {
            Direction::Before => 0,
            Direction::After => 1,
        }
    }
}

/// Draws one side of a level; `caption.run` is not used, since there are two.
///
/// # Errors
/// A side without any weight.
pub fn draw_difference(
    trees: &TreeDifference,
    direction: Direction,
    caption: &Caption,
    margin: f64,
) -> Result<Drawing> {
    let side = direction.side();
    let (profile, other) = (trees.profile(side), trees.profile(1 - side));
    let folded = Folded::of(&profile, 1, caption.full_names);
    let unit = Unit::of(&trees.column, Per::Query);
    let mut drawing = plain(&folded, caption.most_frames)
        .with_context(|| format!("level {} of {}", trees.level, trees.runs[side]))?;
    // Of a focus what lies in it is drawn.
    let outside = if side == 0 { [&profile, &other] } else { [&other, &profile] }.map(|profile| outside(profile, 1));
    let costs = [0, 1].map(|side| (trees.weights[side] - outside[side] as f64) / trees.queries[side]);
    let largest = trees.subtrees.iter().filter(|s| s.differs()).map(|s| s.difference.abs()).fold(0.0, f64::max);
    let left_out = if caption.folded { "; runtime functions folded (--unfolded)" } else { "" };
    let head = Head {
        title: title(trees, direction, caption, costs, &unit),
        lines: vec![
            format!("{} to {}", trees.runs[0], trees.runs[1]),
            format!("{}{}{left_out}", largest_owners(trees, &unit), judged(trees, &drawing)),
        ],
        legend: legend(),
        share: (costs[side] / costs[0].max(costs[1])).max(NARROWEST),
        style: format!("#frames rect[fill=\"{UNCOLOURED}\"] {{ stroke:#8c8c88; stroke-width:0.5 }}\n"),
    };
    let all = caption.focus.as_ref().map_or("all".into(), |focus| format!("all of {focus}"));
    drawing.svg = tooltip::rewrite(&drawing.svg, &folded, &head, &all, |drawn| {
        match drawn.node.map(|node| &trees.subtrees[node.index()]) {
            Some(subtree) => Dress { figures: figures(subtree, &unit, margin), fill: colour(subtree, largest) },
            None => Dress { figures: whole(costs, &unit), fill: UNCOLOURED.into() },
        }
    });
    Ok(drawing)
}

fn title(trees: &TreeDifference, direction: Direction, caption: &Caption, costs: [f64; 2], unit: &Unit) -> String {
    let [before, after] = costs.map(|cost| unit.cost(cost));
    let what = caption.focus.as_ref().map_or(String::new(), |focus| format!(", {focus}"));
    let drawn = direction.word();
    format!("Level {}{what}, {drawn}: {before} before, {after} after, {}", trees.level, unit.name)
}

/// For frames that are as they were, and those of which nothing can be said. Framed, so that they are seen on white.
const UNCOLOURED: &str = "rgb(232,232,228)";
const DEARER: [f64; 3] = [225.0, 35.0, 35.0];
const ONLY_AFTER: [f64; 3] = [205.0, 30.0, 150.0];
const CHEAPER: [f64; 3] = [45.0, 90.0, 225.0];
const ONLY_BEFORE: [f64; 3] = [0.0, 140.0, 140.0];

/// With the colours of the largest difference.
fn legend() -> Vec<Key> {
    let key = |colour: String, word: &str| Key { colour, word: word.into() };
    vec![
        key(mixed(DEARER, STRONGEST), "slower: costs more after"),
        key(mixed(ONLY_AFTER, STRONGEST), "only after"),
        key(mixed(CHEAPER, STRONGEST), "faster: costs less after"),
        key(mixed(ONLY_BEFORE, STRONGEST), "only before"),
        key(UNCOLOURED.into(), "unchanged: no difference found"),
    ]
}

/// `Most: planted_peek +20.9, read_ts -1.2. `; empty where no function of the program is known to differ.
fn largest_owners(trees: &TreeDifference, unit: &Unit) -> String {
    let name = |row: &FrameRow| middle(&own_name(&short_name(&row.frame.name)), OWNER_WIDTH);
    let named = |row: &FrameRow| format!("{} {}", name(row), unit.signed(row.difference));
    let rows: Vec<String> = trees.owners.iter().take(OWNERS).map(named).collect();
    if rows.is_empty() { String::new() } else { format!("Most: {}. ", rows.join(", ")) }
}

fn judged(trees: &TreeDifference, drawing: &Drawing) -> String {
    let found = trees.subtrees.iter().filter(|subtree| subtree.differs()).count();
    format!(
        "{} of {} frames coloured; {} judged apart, p at most {:.1e}{}",
        count(found as u64),
        count(trees.subtrees.len() as u64),
        count(trees.judged as u64),
        trees.cut,
        not_drawn(drawing)
    )
}

/// How much of the full colour the largest difference has: black text stays legible on it.
const STRONGEST: f64 = 0.6;
const WEAKEST: f64 = 0.25;

/// Strong where the difference is among the largest; a frame that is on one side only has a hue of its own.
fn colour(subtree: &Subtree, largest: f64) -> String {
    if !subtree.differs() {
        return UNCOLOURED.into();
    }
    let full = match (subtree.samples, subtree.difference > 0.0) {
        ((0, _), _) => ONLY_AFTER,
        ((_, 0), _) => ONLY_BEFORE,
        (_, true) => DEARER,
        (_, false) => CHEAPER,
    };
    mixed(full, WEAKEST + (STRONGEST - WEAKEST) * (subtree.difference.abs() / largest).sqrt())
}

/// So much of a colour, the rest white.
fn mixed(full: [f64; 3], strength: f64) -> String {
    let [red, green, blue] = full.map(|part| (255.0 - strength * (255.0 - part)).round() as u8);
    format!("rgb({red},{green},{blue})")
}

/// `12.3 before, 32.5 after, +20.2 [18.9, 21.5] µs CPU per query: slower; 1,234 and 3,456 samples`
fn figures(subtree: &Subtree, unit: &Unit, margin: f64) -> String {
    let interval =
        subtree.interval.map_or(String::new(), |(low, high)| format!(" [{}, {}]", unit.signed(low), unit.signed(high)));
    let judged = match subtree.verdict {
        Some(found) => verdict(found, None, margin),
        None => "not judged".into(),
    };
    format!(
        "{} before, {} after, {}{interval} {}: {judged}; {} and {} samples",
        unit.cost(subtree.before),
        unit.cost(subtree.after),
        unit.signed(subtree.difference),
        unit.name,
        count(subtree.samples.0),
        count(subtree.samples.1)
    )
}

fn whole([before, after]: [f64; 2], unit: &Unit) -> String {
    format!("{} before, {} after, {} {}", unit.cost(before), unit.cost(after), unit.signed(after - before), unit.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::compare::difference::constructed::{profiled, run};
    use crate::analyze::compare::difference::{Options, Side, trees};
    use crate::preset::Preset;

    fn compared(before: &[(&str, i64)], after: &[(&str, i64)]) -> TreeDifference {
        let options = Options { trees: true, ..Options::default() };
        let side = |stacks: &[(&str, i64)]| {
            let mut made = run("r", 16, &[(10_000, 100, 50); 6]);
            made.windows.iter_mut().for_each(|window| profiled(window, stacks));
            Side::of(&made, &options)
        };
        trees(&side(before), &side(after), &options).remove(0)
    }

    /// Tooltip's first line and colour of the frame of this name.
    fn frame(svg: &str, name: &str) -> Option<(String, String)> {
        let title = svg.split("<title>").skip(1).find(|title| title.starts_with(&format!("{name} (")))?;
        let fill = title.split("fill=\"").nth(1)?.split('"').next()?;
        Some((title.split(['<', '\n']).next()?.to_string(), fill.to_string()))
    }

    fn width_of_frames(svg: &str) -> f64 {
        let frames = svg.split("<svg id=\"frames\"").nth(1).unwrap();
        frames.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    }

    const STACKS: [(&str, i64); 3] = [("main;work", 2000), ("main;other", 1000), ("main;work;gone", 1000)];

    #[test]
    fn the_subtitle_names_the_function_of_the_program_that_differs_most() {
        let preset = Preset::load("generic").unwrap();
        let options = Options { trees: true, preset: Some(&preset), ..Options::default() };
        let side = |stacks: &[(&str, i64)]| {
            let mut made = run("r", 16, &[(10_000, 100, 50); 6]);
            made.windows.iter_mut().for_each(|window| profiled(window, stacks));
            Side::of(&made, &options)
        };
        let after = [("main;app::work", 2000), ("main;app::other;core::hint::black_box", 400)];
        let trees = trees(&side(&after[..1]), &side(&after), &options).remove(0);
        let svg = draw_difference(&trees, Direction::After, &Caption::default(), 0.03).unwrap().svg;
        assert!(svg.contains("Most: app::other +40.0. 3 of 4 frames coloured;"), "{svg}");
    }

    #[test]
    fn new_and_vanished_frames_have_their_own_colour_and_what_stayed_none() {
        let trees = compared(&STACKS, &STACKS[..2]);
        let draw = |direction| draw_difference(&trees, direction, &Caption::default(), 0.03).unwrap().svg;
        let (before, after) = (draw(Direction::Before), draw(Direction::After));
        let (text, fill) = frame(&before, "gone").unwrap();
        assert_eq!(fill, "rgb(102,186,186)");
        assert!(text.starts_with("gone (100 before, 0 after, -100 [-"), "{text}");
        assert!(text.ends_with("µs CPU per query: faster; 6,000 and 0 samples)"), "{text}");
        assert_eq!(frame(&after, "gone"), None);
        assert_eq!(frame(&after, "work").unwrap().1, "rgb(129,156,237)");
        assert_eq!(frame(&after, "other").unwrap().1, UNCOLOURED);
        let turned = compared(&STACKS[..2], &STACKS);
        let new = draw_difference(&turned, Direction::After, &Caption::default(), 0.03).unwrap().svg;
        assert_eq!(frame(&new, "gone").unwrap().1, "rgb(225,120,192)");
    }

    #[test]
    fn both_pictures_have_one_scale_and_one_width() {
        let trees = compared(&STACKS, &STACKS[..2]);
        let draw = |direction| draw_difference(&trees, direction, &Caption::default(), 0.03).unwrap().svg;
        let (before, after) = (draw(Direction::Before), draw(Direction::After));
        assert_eq!((width_of_frames(&before), width_of_frames(&after)), (1180.0, 885.0));
        for svg in [before, after] {
            assert!(svg.contains("viewBox=\"0 0 1200 ") && svg.contains("version=\"1.1\" width=\"100%\""));
        }
    }
}
