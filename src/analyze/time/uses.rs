//! What the round trips behind the server are for, per level, and the places of those for one statement alone.
//! Invariant: round trips whose statement is not known are shown as that, and are never among those of a statement.

use super::places::LevelPlaces;
use crate::run::Window;
use crate::wire::{HopDelta, PLACES, Place, Purpose, UseDelta};
use regex::Regex;
use serde::Serialize;
use std::collections::BTreeMap;

/// The round trips of one hop for one use, at one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsePlaces {
    /// What they are for.
    pub purpose: Purpose,
    /// Round trips for each query that the client completed.
    pub round_trips: f64,
    /// Share of them, 0..1, that is told by what the database said of their connections.
    pub by_database: f64,
    /// ns a round trip in each place, in the order of the path; the client's is 0. `None`: all of them began before
    /// the window.
    pub places: Option<[f64; PLACES]>,
}

impl UsePlaces {
    /// ns a round trip between sending and reading.
    pub fn time(&self) -> Option<f64> {
        Some(self.places?.iter().sum())
    }
}

/// The uses of a hop over a level's windows, most time first; `None` where some window does not tell them apart.
pub(super) fn uses(windows: &[(&Window, &HopDelta)]) -> Option<Vec<UsePlaces>> {
    let completed: f64 = windows.iter().map(|(window, _)| window.load.completed as f64).sum();
    let mut sums: BTreeMap<&Purpose, UseDelta> = BTreeMap::new();
    for (_, hop) in windows {
        for found in hop.uses.as_ref()? {
            match sums.get_mut(&found.purpose) {
                Some(sum) => add(sum, found),
                None => drop(sums.insert(&found.purpose, found.clone())),
            }
        }
    }
    let mut sums: Vec<UseDelta> = sums.into_values().collect();
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.nanos.iter().sum::<u64>()));
    (!windows.is_empty()).then(|| sums.into_iter().map(|sum| of_sum(sum, completed)).collect())
}

fn add(sum: &mut UseDelta, more: &UseDelta) {
    sum.round_trips += more.round_trips;
    sum.by_database += more.by_database;
    sum.nanos.iter_mut().zip(more.nanos).for_each(|(sum, more)| *sum += more);
}

fn of_sum(sum: UseDelta, completed: f64) -> UsePlaces {
    let trips = sum.round_trips as f64;
    UsePlaces {
        round_trips: trips / completed.max(1.0),
        by_database: sum.by_database as f64 / trips.max(1.0),
        places: (sum.round_trips > 0).then(|| sum.nanos.map(|nanos| nanos as f64 / trips)),
        purpose: sum.purpose,
    }
}

impl LevelPlaces {
    /// The places of the round trips for one statement alone, whose text `pattern` finds.
    ///
    /// # Errors
    /// Why they are not known: the level's windows do not tell uses apart, or no round trip was told to be for it.
    pub fn of_use(&self, pattern: &Regex) -> Result<LevelPlaces, Undivided> {
        let uses = self.uses.as_ref().ok_or(Undivided::Together)?;
        let matches = |found: &&UsePlaces| found.purpose.statement().is_some_and(|text| pattern.is_match(text));
        let found: Vec<&UsePlaces> = uses.iter().filter(matches).filter(|found| found.places.is_some()).collect();
        let trips: f64 = found.iter().map(|found| found.round_trips).sum();
        if trips <= 0.0 {
            return Err(Undivided::NoneTold { untold: self.untold().unwrap_or(0.0) });
        }
        let sum = |place: Place| -> f64 {
            let each = found.iter().map(|found| found.places.map_or(0.0, |places| places[place.index()]));
            each.zip(&found).map(|(mean, found)| mean * found.round_trips).sum()
        };
        let mut level = self.clone();
        for share in &mut level.places {
            let whole = share.mean.unwrap_or(0.0) * self.round_trips;
            let part = if whole > 0.0 { sum(share.place) / whole } else { 0.0 };
            (share.mean, share.p99) = (Some(sum(share.place) / trips), None);
            share.population *= part;
        }
        level.round_trips = trips;
        Ok(level)
    }

    /// Share of the round trips, 0..1, whose statement is not known; `None` where uses are not told apart.
    pub fn untold(&self) -> Option<f64> {
        let uses = self.uses.as_ref()?;
        let all: f64 = uses.iter().map(|found| found.round_trips).sum();
        let untold = uses.iter().filter(|found| matches!(found.purpose, Purpose::NotTold(_)));
        Some(untold.map(|found| found.round_trips).sum::<f64>() / all.max(f64::MIN_POSITIVE))
    }
}

/// Why the round trips for one statement have no places of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Undivided {
    /// The sockets did not tell apart what round trips are for.
    Together,
    /// No round trip was told to be for it.
    NoneTold {
        /// Share of the round trips, 0..1, of which it is not told what they are for.
        untold: f64,
    },
}

impl std::fmt::Display for Undivided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Undivided::Together => f.write_str("what round trips are for was not told apart"),
            Undivided::NoneTold { untold } => {
                let percent = untold * 100.0;
                write!(f, "no round trip was told to be for it; of {percent:.1} % the statement is not told")
            }
        }
    }
}
