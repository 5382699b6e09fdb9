//! Little's law, N = X R: clients that always have a query under way are throughput times mean latency. Invariant:
//! where clients pause between queries, as the words say, nothing is told.

use super::grid::{Grid, Value};
use super::head::{Head, Quantity, Role};
use super::interval::Interval;
use super::told::{Asked, Contradiction, Rule, Told};
use super::unit::{Dimension, grouped};

/// Clients spend some time between queries, so that less is in flight than there are clients.
const FEWER: f64 = 0.8;
/// Latencies and throughput of windows that are not quite the same.
const MORE: f64 = 1.05;

/// Words of a load that does not keep each client busy.
const PAUSES: [&str; 10] = [
    "open loop",
    "open-loop",
    "think",
    "paced",
    "rate limit",
    "rate-limit",
    "fixed rate",
    "target rate",
    "arrival",
    "throttled",
];

/// Tells of all lines of a table that have clients, throughput and mean latency.
pub fn check(grid: &Grid, told: &mut Told) {
    for (line, row) in grid.body() {
        let Some((clients, at)) = grid.clients(line) else { continue };
        let plain = matches!(row.label.role, Role::Plain | Role::Before | Role::After)
            && row.label.quantity != Quantity::Scatter;
        if !plain || pauses(&grid.before) || grid.heads.iter().any(|head| pauses(&head.text.to_lowercase())) {
            continue;
        }
        for (position, latency) in of_line(grid, line, &[Quantity::Mean, Quantity::Latency]) {
            let head = &grid.heads[position];
            let same = |other: &Head| other.role == head.role && other.words == head.words;
            // A transaction of several queries is no query.
            let counts = |head: &Head, words: &[&str]| {
                head.text.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word))
            };
            let of_query = counts(head, &["query", "statement"]);
            let of_transactions = |other: &Head| counts(other, &["tps", "tx", "txn", "txns", "transactions"]);
            let rates: Vec<&Value> = of_line(grid, line, &[Quantity::Throughput])
                .into_iter()
                .filter(|(other, _)| same(&grid.heads[*other]) && !(of_query && of_transactions(&grid.heads[*other])))
                .map(|(_, value)| value)
                .collect();
            let at = if row.cells[position].at == at { at } else { row.cells[position].at };
            tell(clients, &rates, latency, at, told);
        }
    }
}

fn of_line<'a>(grid: &'a Grid, line: usize, quantities: &[Quantity]) -> Vec<(usize, &'a Value)> {
    let plain = |position: usize| !grid.heads[position].is_change() && grid.heads[position].role != Role::Nested;
    (0..grid.heads.len())
        .filter(|position| plain(*position) && quantities.contains(&grid.quantity(line, *position)))
        .filter_map(|position| Some((position, grid.value(line, position)?)))
        .collect()
}

/// Whether the words say that clients pause.
pub fn pauses(words: &str) -> bool {
    PAUSES.iter().any(|pause| words.contains(pause))
}

/// Tells of one number of clients; of several throughputs one that fits is enough.
pub fn tell(clients: u64, rates: &[&Value], latency: &Value, at: usize, told: &mut Told) {
    let rates: Vec<&&Value> =
        rates.iter().filter(|rate| matches!(rate.dimension(), Dimension::Rate | Dimension::Plain)).collect();
    let (Some(rate), true) = (rates.first(), latency.dimension() == Dimension::Time && clients > 0) else { return };
    let flights: Vec<Interval> = rates.iter().map(|rate| rate.interval.times(latency.interval)).collect();
    let wanted = Interval::new(FEWER * clients as f64, MORE * clients as f64);
    if flights.iter().any(|flight| flight.meets(wanted)) {
        told.sound(at, Asked::Little);
    } else if !rate.vague && !latency.vague {
        told.wrong(at, Asked::Little, contradiction(clients, rate, latency, wanted));
    }
}

fn contradiction(clients: u64, rate: &Value, latency: &Value, wanted: Interval) -> Contradiction {
    let flight = rate.interval.times(latency.interval);
    let stands = format!("{clients} clients, {}, {}", rate.said(), latency.said());
    let mean = clients as f64 / rate.interval.middle();
    let right = format!("{} clients in flight; or a mean of {}", grouped(flight.middle()), latency.unit.said(mean));
    let by_unit = [1e3, 1e-3].iter().any(|factor| flight.scaled(*factor).meets(wanted));
    let why = if by_unit {
        "clients are throughput times mean latency (N = X R): one of the units is 1000 times too large or too small"
    } else if flight.above(wanted) {
        "clients are throughput times mean latency (N = X R), and more than there are cannot be in flight"
    } else {
        "clients are throughput times mean latency (N = X R): where the others are, the generator, its pool or its \
         clock says"
    };
    Contradiction { rule: if by_unit { Rule::Unit } else { Rule::Little }, stands, right, why: why.into() }
}
