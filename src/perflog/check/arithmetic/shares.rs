//! Shares in tables. Invariant: only columns that are called shares, or whose percentages are those of another column,
//! are read as such; shares that may hold each other are not added.

use super::grid::{Grid, Value};
use super::head::{Quantity, Role};
use super::interval::Interval;
use super::told::{Asked, Contradiction, Rule, Told};
use super::unit::{Dimension, grouped};

/// Words of shares that hold each other.
const HOLD_EACH_OTHER: [&str; 8] =
    ["inclusive", "incl", "children", "cumulative", "overlap", "under ", "by total", "each other"];

/// Tells of all columns of shares.
pub fn check(grid: &Grid, told: &mut Told) {
    if grid.has_levels() {
        return;
    }
    for position in 1..grid.heads.len() {
        let head = &grid.heads[position];
        let percent = head.unit.is_some_and(|unit| unit.dimension == Dimension::Percent);
        let called = head.quantity == Quantity::Share;
        if head.role != Role::Plain || !(called || percent && head.words.is_empty()) {
            continue;
        }
        let derived = of_others(grid, position, told);
        let text = format!("{} {}", head.text.to_lowercase(), grid.before);
        let apart = !HOLD_EACH_OTHER.iter().any(|word| text.contains(word));
        if apart && (called || derived) {
            added(grid, position, told);
        }
    }
}

fn parts(grid: &Grid, position: usize) -> Vec<(usize, &Value)> {
    let part = |role: Role| !matches!(role, Role::Sum | Role::Total | Role::Nested | Role::Apart | Role::Change(_));
    grid.body()
        .filter(|(_, line)| part(line.label.role))
        .filter_map(|(line, _)| Some((line, grid.value(line, position)?)))
        .collect()
}

/// Shares that sum to more than all.
fn added(grid: &Grid, position: usize, told: &mut Told) {
    let parts = parts(grid, position);
    let sum = parts.iter().fold(Interval::exact(0.0), |sum, (_, part)| sum.plus(part.interval));
    let percent = parts.iter().all(|(_, part)| part.dimension() == Dimension::Percent)
        || parts.iter().any(|(_, part)| part.interval.high > 1.5);
    let whole = if percent { 100.0 } else { 1.0 };
    let Some((last, _)) = parts.last().filter(|_| parts.len() > 1) else { return };
    let at = grid.lines[*last].cells[position].at;
    if !sum.above(Interval::exact(whole)) {
        told.sound(at, Asked::Share);
        return;
    }
    let unit = if percent { " %" } else { "" };
    let list = parts.iter().map(|(_, part)| part.text.as_str()).collect::<Vec<_>>().join(" + ");
    told.wrong(
        at,
        Asked::Share,
        Contradiction {
            rule: Rule::Shares,
            stands: list,
            right: format!("{}{unit} at most", grouped(whole)),
            why: format!("they sum to {}{unit}", grouped(sum.middle())),
        },
    );
}

/// Each share against its part of another column. Whether most of them follow from it.
fn of_others(grid: &Grid, position: usize, told: &mut Told) -> bool {
    let shares = parts(grid, position);
    for other in (1..grid.heads.len()).filter(|other| *other != position && grid.heads[*other].adds()) {
        let sized = parts(grid, other);
        let total = grid.body().find(|(_, line)| matches!(line.label.role, Role::Sum | Role::Total));
        let total = total.and_then(|(line, _)| grid.value(line, other)).map(|value| value.interval);
        let added = sized.iter().fold(Interval::exact(0.0), |sum, (_, part)| sum.plus(part.interval));
        let whole = total.unwrap_or(added);
        let ratio = |line: usize| {
            let part = sized.iter().find(|(other, _)| *other == line)?.1;
            Some((part, part.interval.over(whole)?.scaled(100.0)))
        };
        let (mut fit, mut wrong) = (Vec::new(), Vec::new());
        for (line, share) in &shares {
            let Some((part, ratio)) = ratio(*line) else { continue };
            if share.interval.meets(ratio) { fit.push(*line) } else { wrong.push((*line, *share, part, ratio)) }
        }
        if fit.len() < 2 || 2 * wrong.len() > fit.len() {
            continue;
        }
        fit.iter().for_each(|line| told.sound(grid.lines[*line].cells[position].at, Asked::Change));
        for (line, share, part, ratio) in wrong {
            let found = Contradiction {
                rule: Rule::Change,
                stands: share.said(),
                right: format!("{} %", grouped(ratio.middle())),
                why: format!("{} of {} is another share", part.said(), part.unit.said(whole.middle())),
            };
            told.wrong(grid.lines[line].cells[position].at, Asked::Change, found);
        }
        return true;
    }
    false
}
