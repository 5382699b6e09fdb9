//! What must be in order: minimum, quantiles, maximum; the mean between the ends. Invariant: only figures of one thing,
//! by the words and the role of their heads, are compared.

use super::grid::{Grid, Value};
use super::head::Quantity;
use super::told::{Asked, Contradiction, Rule, Told};
use super::unit::Dimension;

/// Tells of all lines of a table.
pub fn check(grid: &Grid, told: &mut Told) {
    for (line, row) in grid.body() {
        if row.label.is_change() || row.label.quantity == Quantity::Scatter {
            continue;
        }
        let ranked: Vec<(usize, Quantity, &Value)> = (0..grid.heads.len())
            .filter(|position| !grid.heads[*position].is_change())
            .filter_map(|position| Some((position, grid.quantity(line, position), grid.value(line, position)?)))
            .filter(|(_, quantity, value)| is_ranked(*quantity) && !value.vague)
            .collect();
        for (index, &(a, of_a, less)) in ranked.iter().enumerate() {
            for &(b, of_b, more) in ranked.iter().skip(index + 1) {
                let (one, other) = (&grid.heads[a], &grid.heads[b]);
                if one.role == other.role && one.words == other.words && one.level == other.level {
                    tell((of_a, less), (of_b, more), row.cells[b].at, told);
                }
            }
        }
    }
}

fn is_ranked(quantity: Quantity) -> bool {
    matches!(quantity, Quantity::Min | Quantity::Max | Quantity::Mean | Quantity::Quantile(_))
}

fn name(quantity: Quantity) -> String {
    match quantity {
        Quantity::Min => "the minimum".into(),
        Quantity::Max => "the maximum".into(),
        Quantity::Quantile(share) => format!("p{}", (share * 1e5).round() / 1e3),
        _ => "the mean".into(),
    }
}

/// Whether the first can never be more than the second.
fn is_below(one: Quantity, other: Quantity) -> bool {
    match (one, other) {
        (Quantity::Quantile(one), Quantity::Quantile(other)) => one < other,
        (Quantity::Min, Quantity::Min) | (Quantity::Max, Quantity::Max) => false,
        (Quantity::Min, _) | (_, Quantity::Max) => true,
        _ => false,
    }
}

/// Tells of two figures, in whichever order they stand.
pub fn tell(one: (Quantity, &Value), other: (Quantity, &Value), at: usize, told: &mut Told) {
    let (less, more) = match (is_below(one.0, other.0), is_below(other.0, one.0)) {
        (true, _) => (one, other),
        (_, true) => (other, one),
        _ => return,
    };
    if less.1.dimension() != more.1.dimension() || less.1.dimension() == Dimension::Percent {
        return;
    }
    if !less.1.interval.above(more.1.interval) {
        told.sound(at, Asked::Order);
        return;
    }
    let by_unit = less.1.dimension() == Dimension::Time && {
        let ratio = less.1.interval.middle() / more.1.interval.middle();
        (100.0..2000.0).contains(&ratio)
    };
    let (small, large) = (name(less.0), name(more.0));
    told.wrong(
        at,
        Asked::Order,
        Contradiction {
            rule: if by_unit { Rule::Unit } else { Rule::Order },
            stands: format!("{small} {}, {large} {}", less.1.said(), more.1.said()),
            right: if by_unit {
                "one of the two in the other's unit (1000 times)".into()
            } else {
                format!("{large} of at least {}", less.1.said())
            },
            why: format!("{small} is never more than {large}"),
        },
    );
}
