//! What the arithmetic of a log says. Invariant: a place that one reading finds sound is not told as wrong by another.

use serde::Serialize;
use std::collections::BTreeMap;

/// The kind of contradiction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A difference, percentage or ratio does not follow from what it is of.
    Change,
    /// A word says that something rises which falls, or the reverse.
    Direction,
    /// Clients are not throughput times latency.
    Little,
    /// A part is larger than its whole.
    Part,
    /// Shares sum to more than all.
    Shares,
    /// Minimum, quantiles, maximum, mean are not in their order.
    Order,
    /// A sum is not that of its parts.
    Sum,
    /// More CPU than there is.
    Cpu,
    /// A count is not rate times time.
    Count,
    /// Units that differ by 1000 were taken for each other.
    Unit,
}

/// Something that cannot be as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Contradiction {
    pub rule: Rule,
    /// What is written.
    pub stands: String,
    /// What would be right.
    pub right: String,
    /// Why, with the figures that it follows from.
    pub why: String,
}

/// Of one relation between figures.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Sound,
    Wrong(Contradiction),
    Unknown { stands: String, why: &'static str },
}

/// Verdicts by place: the log's byte, and what was asked there.
#[derive(Debug, Default)]
pub struct Told {
    verdicts: BTreeMap<(usize, Asked), Verdict>,
}

/// What is asked of a place; a place can be part of several relations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    Change,
    Beside,
    Little,
    Order,
    Sum,
    Part,
    Share,
    Cpu,
    Count,
    Words,
}

impl Asked {
    /// What a change is of is tried in several ways: one that holds is enough. Of the others one that fails is.
    fn is_read_in_several_ways(self) -> bool {
        matches!(self, Asked::Change | Asked::Beside)
    }
}

impl Told {
    pub fn sound(&mut self, at: usize, asked: Asked) {
        let verdict = self.verdicts.entry((at, asked)).or_insert(Verdict::Sound);
        if asked.is_read_in_several_ways() || matches!(verdict, Verdict::Unknown { .. }) {
            *verdict = Verdict::Sound;
        }
    }

    pub fn wrong(&mut self, at: usize, asked: Asked, found: Contradiction) {
        let verdict = self.verdicts.entry((at, asked)).or_insert_with(|| Verdict::Wrong(found.clone()));
        let sound = *verdict == Verdict::Sound && !asked.is_read_in_several_ways();
        if sound || matches!(verdict, Verdict::Unknown { .. }) {
            *verdict = Verdict::Wrong(found);
        }
    }

    pub fn unknown(&mut self, at: usize, asked: Asked, stands: &str, why: &'static str) {
        self.verdicts.entry((at, asked)).or_insert_with(|| Verdict::Unknown { stands: stands.to_string(), why });
    }

    /// Relations that hold.
    pub fn held(&self) -> usize {
        self.verdicts.values().filter(|verdict| **verdict == Verdict::Sound).count()
    }

    pub fn contradictions(&self) -> impl Iterator<Item = (usize, &Contradiction)> {
        self.verdicts.iter().filter_map(|((at, _), verdict)| match verdict {
            Verdict::Wrong(found) => Some((*at, found)),
            _ => None,
        })
    }

    pub fn unknowns(&self) -> impl Iterator<Item = (usize, &str, &'static str)> {
        self.verdicts.iter().filter_map(|((at, _), verdict)| match verdict {
            Verdict::Unknown { stands, why } => Some((*at, stands.as_str(), *why)),
            _ => None,
        })
    }
}
