//! Sums and parts in tables. Invariant: a row that is called sum must be it; one that is called total must not be less
//! than its parts, and must be their sum where it is in another column; what is not in a sum, or nested, is not added.

use super::grid::{Grid, Line, Value};
use super::head::{Quantity, Role};
use super::interval::Interval;
use super::told::{Asked, Contradiction, Rule, Told};
use super::unit::Dimension;

/// Tells of all sums, totals and nested lines of a table.
pub fn check(grid: &Grid, told: &mut Told) {
    let levels = grid.has_levels();
    for (line, row) in grid.body() {
        match row.label.role {
            Role::Sum | Role::Total if !levels => of_sum(grid, line, told),
            Role::Nested => nested(grid, line, told),
            _ => {}
        }
    }
}

fn adds(line: &Line) -> bool {
    line.label.adds() && !matches!(line.label.role, Role::Nested | Role::Apart | Role::Sum | Role::Total)
}

/// The lines before the sum, as far as the sum before; those behind it where it is the first.
fn parts(grid: &Grid, sum: usize) -> Vec<usize> {
    let is_sum = |line: &usize| matches!(grid.lines[*line].label.role, Role::Sum | Role::Total);
    let mut before: Vec<usize> = (1..sum).rev().take_while(|line| !is_sum(line)).collect();
    before.reverse();
    let lines =
        if before.is_empty() { (sum + 1..grid.lines.len()).take_while(|line| !is_sum(line)).collect() } else { before };
    lines.into_iter().filter(|line| adds(&grid.lines[*line])).collect()
}

/// The sum at one position, with its parts; `None` where one of them is not there.
fn at_position<'a>(
    grid: &'a Grid,
    sum: usize,
    parts: &[usize],
    position: usize,
) -> Option<(&'a Value, Vec<&'a Value>)> {
    if !grid.heads[position].adds() {
        return None;
    }
    let whole = grid.value(sum, position)?;
    let of_kind = |line: &&usize| {
        let label = &grid.lines[**line].label;
        let same_unit = match (label.unit, grid.lines[sum].label.unit) {
            (Some(one), Some(other)) => one == other,
            (None, None) => true,
            _ => false,
        };
        same_unit && [Quantity::Other, Quantity::Cpu, grid.lines[sum].label.quantity].contains(&label.quantity)
    };
    let mut values = Vec::new();
    for line in parts.iter().filter(of_kind) {
        let value = grid.value(*line, position);
        let other_kind = value.is_some_and(|value| value.dimension() != whole.dimension());
        if !other_kind {
            values.push(value.filter(|value| !value.vague)?);
        }
    }
    let known = !whole.vague && whole.dimension() != Dimension::Clients && values.len() > 1;
    known.then_some((whole, values))
}

fn sum_of(parts: &[&Value]) -> Interval {
    parts.iter().fold(Interval::exact(0.0), |sum, part| sum.plus(part.interval))
}

/// What is not in the sum of one column may be in that of another.
fn with_apart(grid: &Grid, sum: usize, position: usize, added: Interval) -> Interval {
    let apart = (1..sum).filter(|line| grid.lines[*line].label.role == Role::Apart);
    apart.filter_map(|line| grid.value(line, position)).fold(added, |sum, part| sum.plus(part.interval))
}

fn of_sum(grid: &Grid, sum: usize, told: &mut Told) {
    let parts = parts(grid, sum);
    let all: Vec<(usize, &Value, Vec<&Value>)> = (1..grid.heads.len())
        .filter_map(|position| at_position(grid, sum, &parts, position).map(|(whole, parts)| (position, whole, parts)))
        .collect();
    let is_sum = |position: usize| {
        all.iter().any(|(other, whole, parts)| *other != position && sum_of(parts).meets(whole.interval))
    };
    let strict = grid.lines[sum].label.role == Role::Sum;
    // A row of counts adds up, and a mean beside it is the mean of all.
    let counts = |position: usize| {
        let plain =
            |p: usize| matches!(grid.heads[p].quantity, Quantity::Count | Quantity::Other | Quantity::Throughput);
        all.iter().any(|(p, whole, parts)| *p != position && plain(*p) && sum_of(parts).meets(whole.interval))
    };
    for (position, whole, parts) in &all {
        let at = grid.lines[sum].cells[*position].at;
        let mean = matches!(grid.heads[*position].quantity, Quantity::Mean | Quantity::Latency);
        if mean && !strict && counts(*position) {
            continue;
        }
        let added = sum_of(parts);
        let fits = added.meets(whole.interval) || with_apart(grid, sum, *position, added).meets(whole.interval);
        let side_by_side = ["parallel", "overlap", "concurrent"].iter().any(|word| grid.before.contains(word));
        let fits = fits || !strict && side_by_side && !parts.iter().any(|part| part.interval.above(whole.interval));
        let less = whole.interval.above(added);
        if fits || !strict && less && !is_sum(*position) {
            told.sound(at, Asked::Sum);
            continue;
        }
        told.wrong(at, Asked::Sum, contradiction(whole, parts, added));
    }
}

fn contradiction(whole: &Value, parts: &[&Value], added: Interval) -> Contradiction {
    let list = parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(" + ");
    match parts.iter().find(|part| part.interval.above(whole.interval)) {
        Some(part) => Contradiction {
            rule: Rule::Part,
            stands: format!("{} of {}", part.said(), whole.said()),
            right: format!("a whole of {}", whole.unit.said(added.middle())),
            why: format!("a part is never larger than its whole ({list})"),
        },
        None => Contradiction {
            rule: if whole.dimension() == Dimension::Percent { Rule::Shares } else { Rule::Sum },
            stands: whole.said(),
            right: whole.unit.said(added.middle()),
            why: format!("it is not {list}"),
        },
    }
}

fn nested(grid: &Grid, line: usize, told: &mut Told) {
    let parent = (1..line).rev().find(|above| grid.lines[*above].label.role != Role::Nested);
    let Some(parent) = parent else { return };
    for position in (1..grid.heads.len()).filter(|position| grid.heads[*position].adds()) {
        let (Some(part), Some(whole)) = (grid.value(line, position), grid.value(parent, position)) else { continue };
        if part.dimension() != whole.dimension() || part.vague || whole.vague {
            continue;
        }
        let at = grid.lines[line].cells[position].at;
        if part.interval.above(whole.interval) {
            told.wrong(at, Asked::Part, contradiction(whole, &[part], part.interval));
        } else {
            told.sound(at, Asked::Part);
        }
    }
}
