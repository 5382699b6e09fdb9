//! What a sentence says of a table: "from 1 to 16 clients throughput rises 5.9x". Invariant: it is wrong only if it
//! follows from no table of its entry that has both numbers of clients and the quantity.

use super::grid::{Grid, Value};
use super::head::{Form, Quantity, Role};
use super::sentence::Sentence;
use super::spoken;
use super::told::{Asked, Told};
use super::unit::{Dimension, is_one_of};

/// A figure of a table: how many clients, what, how much.
#[derive(Clone, Debug)]
pub struct Known {
    pub level: u64,
    pub quantity: Quantity,
    pub value: Value,
    /// Line and position in its table, so that both ends come from one column.
    column: (usize, usize, bool),
}

/// Words of other quantities, of other times and of what is not so.
const OTHERS: &str = concat!(
    "cpu server database statement wait waits batch oracle phase core perfect linear ideal session before ",
    "after expected expect would should not if was hands frames function work scaling baseline previous",
);

/// The figures of a table, `number` being its own.
pub fn known(grid: &Grid, number: usize, turned: bool) -> Vec<Known> {
    let mut found = Vec::new();
    for (line, row) in grid.body() {
        let Some((level, _)) = grid.clients(line) else { continue };
        let plain = |role: Role| matches!(role, Role::Plain | Role::Before | Role::After);
        for (position, head) in grid.heads.iter().enumerate().filter(|(_, head)| plain(head.role)) {
            let quantity = grid.quantity(line, position);
            let told =
                matches!(quantity, Quantity::Throughput | Quantity::Mean | Quantity::Latency | Quantity::Quantile(_));
            let bare = head.words.is_empty() && (row.label.words.is_empty() || row.label.level.is_some());
            if let (true, true, Some(value)) = (told, bare, grid.value(line, position)) {
                let column = (number, position, turned);
                found.push(Known { level, quantity, value: value.clone(), column });
            }
        }
    }
    found
}

/// Tells of a sentence that names two numbers of clients, one quantity and one change.
pub fn check(sentence: &Sentence, known: &[Known], place: &dyn Fn(usize) -> usize, told: &mut Told) {
    let [step] = sentence.steps.as_slice() else { return };
    let lower = sentence.lower();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    let whole = step.from.dimension() == Dimension::Clients && !step.from.vague && !step.to.vague;
    if !whole || lower.contains('_') || words.iter().any(|word| is_one_of(word, OTHERS)) {
        return;
    }
    let claims: Vec<usize> = (0..sentence.figures.len()).filter(|index| is_claim(sentence, *index)).collect();
    let ([claim], Some(wanted)) = (claims.as_slice(), quantity(&lower, &words)) else { return };
    let said = spoken::said(sentence, *claim, &sentence.value(*claim), Form::Any);
    let (from, to) = (step.from.interval.low as u64, step.to.interval.low as u64);
    let at = |level: u64| known.iter().filter(move |one| one.level == level && fits(wanted, one.quantity));
    let pairs: Vec<(&Known, &Known)> =
        at(from).flat_map(|a| at(to).map(move |b| (a, b))).filter(|(a, b)| a.column == b.column).collect();
    let agrees = |(a, b): &(&Known, &Known)| {
        let turned = step.either.then(|| said.agrees(&b.value, &a.value)).flatten();
        said.agrees(&a.value, &b.value) == Some(true) || turned == Some(true)
    };
    let place_of_claim = place(sentence.at + sentence.figures[*claim].at.start);
    let comparable = pairs.iter().find(|(a, b)| said.agrees(&a.value, &b.value).is_some());
    match comparable {
        Some(_) if pairs.iter().any(agrees) => told.sound(place_of_claim, Asked::Words),
        Some((a, b)) if !said.value.vague => {
            told.wrong(place_of_claim, Asked::Words, said.contradiction(&a.value, &b.value));
        }
        _ => {}
    }
}

fn is_claim(sentence: &Sentence, index: usize) -> bool {
    let figure = &sentence.figures[index];
    let directed = figure.sign.is_some() || spoken::says_direction(sentence, index).is_some();
    match figure.dimension() {
        Dimension::Factor => true,
        Dimension::Percent | Dimension::Time | Dimension::Rate => directed && sentence.step_of(index).is_none(),
        _ => false,
    }
}

/// The one quantity that a sentence is about.
fn quantity(lower: &str, words: &[&str]) -> Option<Quantity> {
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    let mut found = Vec::new();
    if has(&["throughput", "qps", "tps"]) || lower.contains("q/s") || lower.contains("queries a second") {
        found.push(Quantity::Throughput);
    }
    if has(&["mean", "average", "avg"]) {
        found.push(Quantity::Mean);
    }
    for (name, share) in [("p50", 0.5), ("median", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)] {
        if has(&[name]) {
            found.push(Quantity::Quantile(share));
        }
    }
    if found.is_empty() && has(&["latency"]) {
        found.push(Quantity::Latency);
    }
    (found.len() == 1).then(|| found[0])
}

/// "Latency" without more is any of it.
fn fits(wanted: Quantity, quantity: Quantity) -> bool {
    match wanted {
        Quantity::Latency => quantity != Quantity::Throughput,
        Quantity::Mean => matches!(quantity, Quantity::Mean | Quantity::Latency),
        other => other == quantity,
    }
}
