//! Changes in tables: columns of differences, percentages and factors, and those in parentheses behind a value.
//! Invariant: what a change is of is either said by the heads, or a reading that most of its column agree with; where
//! it is neither, nothing is told as wrong.

use super::change::Said;
use super::grid::{Grid, Value};
use super::head::{Expression, Form, Quantity, Role};
use super::told::{Asked, Told};
use super::unit::Dimension;

/// What a change is of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    /// From one position of its line to another.
    Positions(usize, usize),
    /// From a line to its own, at a position.
    Line(usize, usize),
    /// From the line above to its own, at a position.
    Above(usize),
}

struct Claim {
    line: usize,
    at: usize,
    said: Said,
}

/// Tells of all changes of a table.
pub fn check(grid: &Grid, told: &mut Told) {
    for (position, head) in grid.heads.iter().enumerate().skip(1) {
        if let Role::Change(form) = head.role {
            let claims: Vec<Claim> = grid
                .body()
                .filter_map(|(line, row)| {
                    let cell = &row.cells[position];
                    let said = Said::new(cell.value.as_ref()?, form, head.better);
                    Some(Claim { line, at: cell.at, said })
                })
                .collect();
            let readings = Readings {
                said: said_by_heads(grid, position),
                guessed: guesses(grid, position),
                only: nearest(grid, position),
            };
            settle(grid, &claims, &readings, Asked::Change, told);
        } else {
            let claims: Vec<Claim> = grid
                .body()
                .filter_map(|(line, row)| {
                    let cell = &row.cells[position];
                    let beside = cell.beside.as_ref().filter(|beside| is_change(beside))?;
                    Some(Claim { line, at: cell.at, said: Said::new(beside, Form::Any, false) })
                })
                .collect();
            let readings = Readings {
                said: before_of(grid, position),
                guessed: beside(grid, position),
                only: if grid.has_levels() { Vec::new() } else { vec![Of::Line(1, position), Of::Above(position)] },
            };
            settle(grid, &claims, &readings, Asked::Beside, told);
        }
    }
}

/// A percentage without a sign may be a share of something else.
fn is_change(beside: &Value) -> bool {
    !beside.vague && (beside.sign.is_some() || beside.dimension() == Dimension::Factor)
}

/// How one reading fits the claims.
struct Fit {
    agree: usize,
    wrong: Vec<usize>,
}

impl Of {
    fn values<'a>(self, grid: &'a Grid, claim: &Claim) -> Option<(&'a Value, &'a Value)> {
        match self {
            Of::Positions(from, to) => Some((grid.value(claim.line, from)?, grid.value(claim.line, to)?)),
            Of::Line(base, position) if base != claim.line => {
                Some((grid.value(base, position)?, grid.value(claim.line, position)?))
            }
            Of::Line(..) => None,
            Of::Above(position) if claim.line > 1 => {
                Some((grid.value(claim.line - 1, position)?, grid.value(claim.line, position)?))
            }
            Of::Above(_) => None,
        }
    }

    fn fit(self, grid: &Grid, claims: &[Claim]) -> Fit {
        let mut fit = Fit { agree: 0, wrong: Vec::new() };
        for (index, claim) in claims.iter().enumerate() {
            let Some((from, to)) = self.values(grid, claim) else { continue };
            match claim.said.agrees(from, to) {
                Some(true) => fit.agree += 1,
                Some(false) => fit.wrong.push(index),
                None => {}
            }
        }
        fit
    }
}

/// What claims can be of: by the heads; by guesses that most must agree with; by the only pair that there is.
struct Readings {
    said: Vec<Of>,
    guessed: Vec<Of>,
    only: Vec<Of>,
}

fn settle(grid: &Grid, claims: &[Claim], readings: &Readings, asked: Asked, told: &mut Told) {
    if claims.is_empty() {
        return;
    }
    let sure = |(_, fit): &(Of, Fit)| fit.agree > 0 || fit.wrong.len() <= 2;
    let by_heads = best(grid, claims, &readings.said).filter(sure);
    let by_most = || best(grid, claims, &readings.guessed).filter(|(_, fit)| 2 * fit.wrong.len() <= fit.agree);
    let by_need = || {
        let told = |(_, fit): &(Of, Fit)| fit.agree + fit.wrong.len() > 0;
        only(grid, claims, &readings.only).map(|of| (of, of.fit(grid, claims))).filter(sure).filter(told)
    };
    let Some((of, fit)) = by_heads.or_else(by_most).or_else(by_need) else {
        for claim in claims {
            told.unknown(claim.at, asked, &claim.said.value.text, "what it is a change of is not understood");
        }
        return;
    };
    for (index, claim) in claims.iter().enumerate() {
        let Some((from, to)) = of.values(grid, claim) else { continue };
        if !fit.wrong.contains(&index) {
            told.sound(claim.at, asked);
        } else if !claim.said.value.vague {
            told.wrong(claim.at, asked, claim.said.contradiction(from, to));
        }
    }
}

/// The reading that fits best; the first of those that fit equally well.
fn best(grid: &Grid, claims: &[Claim], readings: &[Of]) -> Option<(Of, Fit)> {
    let fits = readings.iter().map(|of| (*of, of.fit(grid, claims)));
    fits.filter(|(_, fit)| fit.agree + fit.wrong.len() > 0).reduce(|best, next| {
        let key = |fit: &Fit| (fit.wrong.len() as i64 - fit.agree as i64, fit.wrong.len());
        if key(&next.1) < key(&best.1) { next } else { best }
    })
}

/// The reading that all claims have, where no other has other figures.
fn only(grid: &Grid, claims: &[Claim], readings: &[Of]) -> Option<Of> {
    let mut of_all = None;
    for claim in claims {
        let mut pairs = readings.iter().filter_map(|of| Some((*of, of.values(grid, claim)?)));
        let (of, first) = pairs.next()?;
        let same = |(from, to): (&Value, &Value)| std::ptr::eq(from, first.0) && std::ptr::eq(to, first.1);
        if !pairs.all(|(_, pair)| same(pair)) {
            return None;
        }
        of_all = of_all.or(Some(of));
    }
    of_all
}

/// Positions that a change can be of: plain figures, no number of clients.
fn plain(grid: &Grid) -> Vec<usize> {
    let has_value = |position: usize| grid.body().any(|(line, _)| grid.value(line, position).is_some());
    (0..grid.heads.len())
        .filter(|p| !grid.heads[*p].is_change() && grid.heads[*p].quantity != Quantity::Clients && has_value(*p))
        .collect()
}

/// Pairs that the heads name: before and after of one kind, `64 / 1`, a line that is called the baseline.
fn said_by_heads(grid: &Grid, position: usize) -> Vec<Of> {
    let head = &grid.heads[position];
    if let Some(expression) = head.expression {
        return by_levels(grid, position, expression);
    }
    let mut pairs = pairs(grid);
    let close = |(from, to): &(usize, usize)| (position < *from.max(to), position.abs_diff(*from.max(to)));
    pairs.sort_by_key(close);
    let of_kind = |&(from, _): &(usize, usize)| {
        let other = &grid.heads[from];
        head.quantity == other.quantity && head.words == other.words
    };
    let named: Vec<Of> = pairs.iter().copied().filter(of_kind).map(|(from, to)| Of::Positions(from, to)).collect();
    if pairs.is_empty() && head.words.is_empty() {
        return the_two(grid, position);
    }
    let says = head.quantity != Quantity::Other || !head.words.is_empty();
    match (named.is_empty(), pairs.first()) {
        (false, _) if says => named,
        (_, Some((from, to))) if !says => vec![Of::Positions(*from, *to)],
        _ => Vec::new(),
    }
}

/// The only two columns of figures, where they are of one kind and the change stands behind them.
fn the_two(grid: &Grid, position: usize) -> Vec<Of> {
    let numbers: Vec<usize> = plain(grid).into_iter().filter(|p| *p > 0).collect();
    match numbers.as_slice() {
        [from, to] if *to < position && !grid.has_levels() => {
            let (one, other) = (&grid.heads[*from], &grid.heads[*to]);
            let alike = one.quantity == other.quantity && one.unit == other.unit && one.words != other.words;
            if alike { vec![Of::Positions(*from, *to)] } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

fn pairs(grid: &Grid) -> Vec<(usize, usize)> {
    let plain = plain(grid);
    let of_role = |role: Role| plain.iter().copied().filter(move |p| grid.heads[*p].role == role);
    let mut found = Vec::new();
    for from in of_role(Role::Before) {
        let same = |to: &usize| {
            let (a, b) = (&grid.heads[from], &grid.heads[*to]);
            a.quantity == b.quantity && a.words == b.words
        };
        found.extend(of_role(Role::After).filter(same).map(|to| (from, to)));
    }
    found
}

fn by_levels(grid: &Grid, position: usize, expression: Expression) -> Vec<Of> {
    let names = |head: &super::head::Head, level: u64| {
        head.level == Some(level)
            || head.text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.parse() == Ok(level))
    };
    let of = |level: u64| -> Vec<usize> {
        let plain = plain(grid);
        plain.into_iter().filter(|p| *p < position && names(&grid.heads[*p], level)).collect()
    };
    match (of(expression.from).as_slice(), of(expression.to).as_slice()) {
        ([from], [to]) if from != to => vec![Of::Positions(*from, *to)],
        _ => Vec::new(),
    }
}

/// What it may be of: the positions before it, the first line, the line above.
fn guesses(grid: &Grid, position: usize) -> Vec<Of> {
    let plain = plain(grid);
    let before: Vec<usize> = plain.iter().copied().filter(|p| *p < position).collect();
    let mut found = Vec::new();
    if let [.., from, to] = before.as_slice() {
        found.push(Of::Positions(*from, *to));
    }
    let numbers: Vec<usize> = before.iter().copied().filter(|p| *p > 0).collect();
    if let (Some(from), Some(to)) = (numbers.first(), numbers.last()) {
        found.push(Of::Positions(*from, *to));
    }
    let head = &grid.heads[position];
    let mut sources = plain;
    sources.sort_by_key(|p| (grid.heads[*p].quantity != head.quantity, position.abs_diff(*p)));
    let base = grid.body().find(|(_, line)| line.label.role == Role::Before).map(|(line, _)| line);
    for source in sources.iter().filter(|source| **source != position) {
        found.extend(base.map(|base| Of::Line(base, *source)));
        found.push(Of::Line(1, *source));
        found.push(Of::Above(*source));
    }
    found
}

/// The first line and the line above, at the position of its quantity; without one, at the position before it.
fn nearest(grid: &Grid, position: usize) -> Vec<Of> {
    let (head, plain) = (&grid.heads[position], plain(grid));
    if grid.has_levels() || !head.words.is_empty() {
        return Vec::new();
    }
    let sources: Vec<usize> = match head.quantity {
        Quantity::Other => plain.into_iter().rfind(|p| *p < position && *p > 0).into_iter().collect(),
        quantity => plain.into_iter().filter(|p| grid.heads[*p].quantity == quantity).collect(),
    };
    sources.into_iter().flat_map(|source| [Of::Line(1, source), Of::Above(source)]).collect()
}

/// The value before of the same kind.
fn before_of(grid: &Grid, position: usize) -> Vec<Of> {
    pairs(grid).into_iter().filter(|(_, to)| *to == position).map(|(from, to)| Of::Positions(from, to)).collect()
}

fn beside(grid: &Grid, position: usize) -> Vec<Of> {
    let mut found = vec![Of::Line(1, position), Of::Above(position)];
    found.extend(plain(grid).into_iter().filter(|p| *p < position).rev().map(|from| Of::Positions(from, position)));
    found
}
