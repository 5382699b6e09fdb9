//! What the slowest hundredth of the queries did differently, as tables and a sentence a level.

use super::figure::significant;
use super::model::{Cell, Column, Section, Table};
use super::places::{place_cell, words};
use crate::analyze::time::places::HopPlaces;
use crate::analyze::time::tails::{Cluster, Tail};
use crate::wire::Place;
use crate::words::time;
use std::collections::BTreeMap;

type Tails = BTreeMap<usize, Result<Tail, String>>;

/// The section; of levels without a sample the bounds of the stays stand alone.
pub fn tails_section(hop: &HopPlaces, tails: &Tails) -> Section {
    let any = tails.values().any(Result::is_ok);
    let tables = any.then(|| slowest_table(hop, tails)).into_iter().chain([quantiles_table(hop, tails)]).collect();
    let notes = tails.iter().map(|(level, tail)| match tail {
        Ok(tail) => sentence(*level, tail),
        Err(why) => format!("Level {level}: what the slowest did differently is not measured: {why}."),
    });
    Section {
        id: "slowest",
        title: "What the slowest hundredth did differently".into(),
        tables,
        notes: notes.collect(),
        ..Section::default()
    }
}

/// Per place, the mean of all sampled queries and that of the slowest.
fn slowest_table(hop: &HopPlaces, tails: &Tails) -> Table {
    let known: Vec<(&usize, &Tail)> =
        tails.iter().filter_map(|(level, tail)| Some((level, tail.as_ref().ok()?))).collect();
    let mut columns = vec![Column::text("place", "place")];
    for (level, _) in &known {
        columns.push(Column::at(**level, "time", &format!("all at {level}"), "µs/query"));
        columns.push(Column::at(**level, "time_of_slowest", &format!("slowest at {level}"), "µs/query"));
    }
    let row = |name: Cell, of: &dyn Fn(&Tail) -> (f64, f64)| {
        let cells = known.iter().flat_map(|(_, tail)| [of(tail).0, of(tail).1]).map(|nanos| Cell::Figure(nanos / 1e3));
        std::iter::once(name).chain(cells).collect()
    };
    let places = Place::ALL.into_iter().filter(|place| *place != Place::Client).enumerate();
    let passed = hop.passed();
    let mut rows: Vec<Vec<Cell>> = places
        .filter(|(_, place)| passed.contains(place))
        .map(|(at, place)| row(place_cell(place, true), &|tail| (tail.places[at].all, tail.places[at].of_slowest)))
        .collect();
    rows.push(row(Cell::coded("sum", "sum from sending to reading"), &|tail| (tail.all, tail.of_slowest)));
    let notes = vec!["Means over the traced queries, from timelines.json.gz of each window.".to_string()];
    Table { id: "slowest", columns, rows, notes, ..Table::default() }
}

/// The 99th percentile of each place.
fn quantiles_table(hop: &HopPlaces, tails: &Tails) -> Table {
    let mut columns = vec![Column::text("place", "place")];
    columns.extend(hop.levels.keys().map(|level| Column::at(*level, "p99", &format!("p99 at {level}"), "µs")));
    let cell = |level: &usize, place: Place| {
        let tail = tails.get(level).and_then(|tail| tail.as_ref().ok());
        let sampled = tail.and_then(|tail| tail.places.iter().find(|known| known.place == place)?.p99);
        match (sampled, hop.levels[level].places[place.index()].p99) {
            (Some(nanos), _) => Cell::Figure(nanos as f64 / 1e3),
            (None, Some((low, high))) => Cell::Within(low as f64 / 1e3, high as f64 / 1e3),
            (None, None) => Cell::Missing("no stay ended there".into()),
        }
    };
    let row = |place: Place| {
        let cells = hop.levels.keys().map(|level| cell(level, place));
        std::iter::once(place_cell(place, true)).chain(cells).collect()
    };
    let notes = vec![
        "A single number is of the traced queries, where a hundred or more of them are slower. A range is the \
         histogram's bucket, over all queries (wire.json)."
            .to_string(),
    ];
    Table {
        id: "p99",
        title: "99th percentile of each place".into(),
        columns,
        rows: hop.passed().into_iter().map(row).collect(),
        notes,
        ..Table::default()
    }
}

fn sentence(level: usize, tail: &Tail) -> String {
    let Tail { sampled, lost, slowest, all, of_slowest, places, .. } = tail;
    let more = of_slowest - all;
    let mut grown: Vec<(f64, Place)> = places.iter().map(|place| (place.of_slowest - place.all, place.place)).collect();
    grown.sort_by(|a, b| b.0.total_cmp(&a.0));
    let parts = grown
        .iter()
        .filter(|(nanos, _)| *nanos >= 0.05 * more)
        .map(|(nanos, place)| format!("{} ({:.0} %) {}", time(*nanos), 100.0 * nanos / more, words(*place, true)));
    let parts: Vec<String> = parts.collect();
    let losses = if *lost > 0 { format!(", {lost} more were lost") } else { String::new() };
    format!(
        "Level {level}: the slowest {slowest} of {sampled} traced queries{losses} took {} longer than the mean of \
         all ({}): {}.{}",
        time(more),
        time(*all),
        parts.join(", "),
        clustered(tail.cluster.as_ref(), *slowest)
    )
}

fn clustered(cluster: Option<&Cluster>, slowest: usize) -> String {
    let Some(Cluster { from, to, found, expected }) = cluster else {
        return " They do not gather at one time of the second.".into();
    };
    format!(
        " Of them {found} were sent {:.0} to {:.0} ms into a second (where {} of {slowest} would be expected): \
            something happens once a second.",
        from * 1e3,
        to * 1e3,
        significant(*expected)
    )
}
