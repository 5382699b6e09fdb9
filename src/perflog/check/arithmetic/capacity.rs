//! What cannot be more than there is: CPU than cores, and counts than rates give. Invariant: the number of cores is the
//! largest that the entry, else the log, says a host has; where none says it nothing is told.

use super::grid::{Grid, Value};
use super::head::{Quantity, Role};
use super::interval::Interval;
use super::told::{Asked, Contradiction, Rule, Told};
use super::unit::{Dimension, grouped};
use regex::Regex;
use std::sync::LazyLock;

/// What windows and clocks that are not quite the same may be off by.
const SLACK: f64 = 0.02;

/// What a host has, not what something uses.
static CORES: LazyLock<Regex> = LazyLock::new(|| {
    let words = NUMBERS.join("|");
    let what = r"(?:v?cpus?|cores?|vcores?|hardware threads|hyperthreads)\b";
    let has = r"(?:has|have|with|on|of|on an?|host:?|machine:?|box:?|vm:?|is an?|e\.)";
    let compound = format!(r"\b(\d+|{words})-(?:core|vcpu|cpu)\b|\b(\d+|{words}) vcpus?\b");
    let said = format!(r"\b{has} (?:a |an |its |all |the )?(\d+|{words})[ -](?:[a-z]+ )?{what}");
    let pattern = format!("(?i){compound}|{said}");
    Regex::new(&pattern).expect("a pattern of this file")
});

const NUMBERS: [&str; 17] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen",
];

/// The largest number of cores that a text names.
pub fn cores(text: &str) -> Option<u64> {
    let number = |word: &str| {
        let word = word.to_lowercase();
        word.parse().ok().or_else(|| NUMBERS.iter().position(|name| *name == word).map(|at| at as u64))
    };
    let all = CORES
        .captures_iter(text)
        .filter_map(|found| found.iter().skip(1).flatten().next().map(|m| m.as_str().to_string()));
    all.filter_map(|word| number(&word)).filter(|cores| (1..4096).contains(cores)).max()
}

/// Tells of all lines of a table.
pub fn check(grid: &Grid, cores: Option<u64>, told: &mut Told) {
    for (line, row) in grid.body() {
        if row.label.is_change() {
            continue;
        }
        let all: Vec<(usize, Quantity, &Value)> = (0..grid.heads.len())
            .filter(|position| !grid.heads[*position].is_change())
            .filter_map(|position| Some((position, grid.quantity(line, position), grid.value(line, position)?)))
            .collect();
        let of = |quantity: Quantity, role: Role| {
            all.iter().find(|(p, q, _)| *q == quantity && grid.heads[*p].role == role).map(|(_, _, value)| *value)
        };
        for (position, quantity, value) in &all {
            let (at, role) = (row.cells[*position].at, grid.heads[*position].role);
            let own = of(Quantity::Cores, role).map(|value| value.interval.high);
            let (rate, seconds) = (of(Quantity::Throughput, role), of(Quantity::Duration, role));
            match quantity {
                Quantity::Cpu => {
                    if let Some(cores) = own.or(cores.map(|cores| cores as f64)) {
                        cpu(value, cores, rate, seconds, at, told);
                    }
                }
                Quantity::Count => {
                    if let (Some(rate), Some(seconds)) = (rate, seconds) {
                        count(value, rate, seconds, at, told);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Tells whether so much CPU can be there.
pub fn cpu(used: &Value, cores: f64, rate: Option<&Value>, seconds: Option<&Value>, at: usize, told: &mut Told) {
    let there = Interval::exact(cores * (1.0 + SLACK));
    let (busy, why) = match (used.dimension(), used.unit.per_query, rate, seconds) {
        (Dimension::Percent, ..) => (used.interval.scaled(0.01), String::new()),
        (Dimension::Time, true, Some(rate), _) => (used.interval.times(rate.interval), format!(" at {}", rate.said())),
        (Dimension::Time, false, _, Some(seconds)) => match used.interval.over(seconds.interval) {
            Some(busy) => (busy, format!(" in {}", seconds.said())),
            None => return,
        },
        _ => return,
    };
    if !busy.above(there) {
        told.sound(at, Asked::Cpu);
    } else if !used.vague {
        let found = Contradiction {
            rule: Rule::Cpu,
            stands: format!("{}{why}", used.said()),
            right: format!("{} cores' time at most", grouped(cores)),
            why: format!("it is the time of {} cores", grouped(busy.middle())),
        };
        told.wrong(at, Asked::Cpu, found);
    }
}

/// Tells whether a count is what a rate gives in a time.
pub fn count(count: &Value, rate: &Value, seconds: &Value, at: usize, told: &mut Told) {
    if seconds.dimension() != Dimension::Time || !matches!(rate.dimension(), Dimension::Rate | Dimension::Plain) {
        return;
    }
    let expected = rate.interval.times(seconds.interval);
    if count.interval.meets(expected.widened(SLACK)) {
        told.sound(at, Asked::Count);
    } else if ![count, rate, seconds].iter().any(|value| value.vague) {
        let found = Contradiction {
            rule: Rule::Count,
            stands: count.said(),
            right: grouped(expected.middle().round()),
            why: format!("that is what {} gives in {}", rate.said(), seconds.said()),
        };
        told.wrong(at, Asked::Count, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_those_that_a_host_has() {
        for (text, expected) in [
            ("The box has 8 cores.", Some(8)),
            ("Host: 2 x 24-core EPYC", Some(24)),
            ("a VM with 2 vCPUs", Some(2)),
            ("on 16 physical cores", Some(16)),
            ("1.2 of 32 CPUs are busy", Some(32)),
            ("both of its two CPUs", Some(2)),
            ("it uses 3 cores, 12 cores' worth", None),
            ("CPU 7, core 3", None),
        ] {
            assert_eq!(cores(text), expected, "{text}");
        }
    }
}
