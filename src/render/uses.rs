//! What the round trips behind the server are for, as a table with one row a use.

use super::model::{Cell, Column, Table};
use super::places::hop_cell;
use crate::analyze::time::places::{HopPlaces, LevelPlaces};
use crate::analyze::time::uses::UsePlaces;
use crate::wire::{Place, Purpose, Untold};

/// Uses that have a row of their own: so many, of a thousandth of the time of all at least.
const ROWS: usize = 12;
const LEAST: f64 = 0.001;
/// Characters of a statement that a row shows.
const SHOWN: usize = 100;

/// The table; `None` where no level tells uses apart.
pub(super) fn uses_table(hop: &HopPlaces) -> Option<Table> {
    let (purposes, own_rows) = purposes(hop);
    let told = hop.levels.values().any(|level| level.uses.is_some());
    told.then_some(())?;
    let mut columns = vec![Column::text("use", "what for")];
    for level in hop.levels.keys() {
        columns.push(Column::at(*level, "round_trips", &format!("round trips {level}"), "a query"));
        columns.push(Column::at(*level, "time", &format!("time {level}"), "µs/round trip"));
        columns.push(Column::at(*level, "server_time", &format!("database {level}"), "µs/round trip"));
    }
    let mut rows: Vec<Vec<Cell>> = purposes.iter().take(own_rows).map(|purpose| row(hop, purpose)).collect();
    if let Some(others) = purposes.get(own_rows..).filter(|others| !others.is_empty()) {
        rows.push(others_row(hop, others));
    }
    let title = format!("What the round trips to its {} are for", hop.hop);
    let about = vec![("hop", hop_cell(hop))];
    Some(Table { id: "uses", about, title, columns, rows, notes: notes(hop) })
}

/// Of all levels, most time a query first, and how many of them have a row of their own.
fn purposes(hop: &HopPlaces) -> (Vec<&Purpose>, usize) {
    let mut sums: Vec<(f64, &Purpose)> = Vec::new();
    for found in hop.levels.values().flat_map(|level| level.uses.iter().flatten()) {
        let time = found.time().unwrap_or(0.0) * found.round_trips;
        match sums.iter_mut().find(|(_, purpose)| **purpose == found.purpose) {
            Some((sum, _)) => *sum += time,
            None => sums.push((time, &found.purpose)),
        }
    }
    sums.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all: f64 = sums.iter().map(|(sum, _)| sum).sum();
    let own_rows = sums.iter().take(ROWS).filter(|(sum, _)| *sum >= LEAST * all).count();
    (sums.into_iter().map(|(_, purpose)| purpose).collect(), own_rows)
}

fn row(hop: &HopPlaces, purpose: &Purpose) -> Vec<Cell> {
    let text = purpose.to_string();
    let shown = match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text,
    };
    let cells = hop.levels.values().flat_map(|level| {
        let found = level.uses.iter().flatten().find(|found| found.purpose == *purpose);
        cells(level, found.map(|found| (found.round_trips, found.time(), in_database(found))))
    });
    std::iter::once(Cell::coded(&purpose.to_string(), shown)).chain(cells).collect()
}

fn in_database(found: &UsePlaces) -> Option<f64> {
    Some(found.places?[Place::Server.index()])
}

fn others_row(hop: &HopPlaces, others: &[&Purpose]) -> Vec<Cell> {
    let cells = hop.levels.values().flat_map(|level| {
        let found = level.uses.iter().flatten().filter(|found| others.contains(&&found.purpose));
        let found: Vec<&UsePlaces> = found.filter(|found| found.places.is_some()).collect();
        let trips: f64 = found.iter().map(|found| found.round_trips).sum();
        let mean = |of: fn(&UsePlaces) -> Option<f64>| {
            let sum: f64 = found.iter().filter_map(|found| Some(of(found)? * found.round_trips)).sum();
            (trips > 0.0).then_some(sum / trips)
        };
        cells(level, Some((trips, mean(UsePlaces::time), mean(in_database))))
    });
    std::iter::once(Cell::Text(format!("{} others", others.len()))).chain(cells).collect()
}

/// Round trips a query, ns of each between sending and reading, and in the database's hands; `None`: there was none.
fn cells(level: &LevelPlaces, found: Option<(f64, Option<f64>, Option<f64>)>) -> [Cell; 3] {
    let why = if level.uses.is_some() { "no such round trip" } else { "uses were not told apart at this level" };
    let known = |value: Option<f64>, unit: f64| match value {
        Some(value) => Cell::Figure(value / unit),
        None => Cell::Undefined(why.into()),
    };
    let (trips, time, database) =
        found.map_or((None, None, None), |(trips, time, database)| (Some(trips), time, database));
    [known(trips, 1.0), known(time, 1e3), known(database, 1e3)]
}

fn notes(hop: &HopPlaces) -> Vec<String> {
    let mut notes = vec![
        "From the requests at the sockets, without constants. \"Time\" is from sending to reading, \"database\" the \
         part of it in the database's hands."
            .to_string(),
    ];
    let all = || hop.levels.values().flat_map(|level| level.uses.iter().flatten());
    let trips: f64 = all().map(|found| found.round_trips).sum();
    let percent = |trips_of: f64| 100.0 * trips_of / trips.max(f64::MIN_POSITIVE);
    let by_database: f64 = all().map(|found| found.by_database * found.round_trips).sum();
    if by_database > 0.0 {
        notes.push(format!(
            "Of {:.1} % of the round trips the database told the statement: it had been prepared before the sockets \
             were followed, and nothing else was sent on its connection while the database was asked.",
            percent(by_database)
        ));
    }
    let before = Purpose::NotTold(Untold::PreparedBefore);
    let untold: f64 = all().filter(|found| found.purpose == before).map(|found| found.round_trips).sum();
    if untold > 0.0 {
        let why = match by_database > 0.0 {
            true => "it was on no connection at the moments when the database was asked",
            false => {
                "name the database with --statements-url, as a role that may see other sessions (GRANT \
                 pg_read_all_stats)"
            }
        };
        notes.push(format!(
            "Of {:.1} % of the round trips the statement had been prepared before, and the database did not tell it: \
             {why}.",
            percent(untold)
        ));
    }
    let unnamed = hop.levels.values().filter_map(|level| level.unnamed).max().unwrap_or(0);
    if unnamed > 0 {
        let names = if unnamed == 1 {
            "1 name of a prepared statement".into()
        } else {
            format!("{unnamed} names of prepared statements")
        };
        notes.push(format!(
            "For {names} there was no room: the round trips for these statements are among those that had been \
             prepared before."
        ));
    }
    notes
}
