//! Where each query is, as tables and as one sentence a level.

use super::json::code;
use super::model::{Cell, Column, Section, Table};
use super::uses::uses_table;
use crate::analyze::time::places::{HopPlaces, LevelPlaces, load_places};
use crate::wire::Place;
use crate::words::counted;

/// The section of view A; `None` where nothing was followed.
pub fn places_section(hops: &[HopPlaces]) -> Option<Section> {
    hops.first()?;
    let levels = load_places(hops).into_iter().flat_map(|hop| &hop.levels);
    let notes = levels.map(|(level, places)| sentence(*level, places)).collect();
    Some(Section {
        id: "places",
        title: "Where a query is".into(),
        tables: hops.iter().flat_map(|hop| [Some(places_table(hop)), uses_table(hop)]).flatten().collect(),
        notes,
        pictures: vec![],
    })
}

/// One row a place, the mean time and the population of each level.
pub fn places_table(hop: &HopPlaces) -> Table {
    let per = if hop.of_load { "µs/query" } else { "µs/round trip" };
    let mut columns = vec![Column::text("place", "place")];
    for level in hop.levels.keys() {
        columns.push(Column::at(*level, "time", &format!("time at {level}"), per));
        columns.push(Column::at(*level, "population", &format!("there, of {level}"), "connections"));
    }
    let mut rows: Vec<Vec<Cell>> = hop.passed().into_iter().map(|place| place_row(hop, place)).collect();
    rows.extend(if hop.of_load { sums(hop) } else { vec![round_trips(hop)] });
    let title = match hop.of_load {
        true => "Client to server".to_string(),
        false => format!("Server to its {}", hop.hop),
    };
    let about = vec![("hop", hop_cell(hop))];
    Table { id: "places", about, title, columns, rows, notes: remarks(hop) }
}

/// A place in words; who the client is depends on the hop.
pub fn words(place: Place, of_load: bool) -> &'static str {
    match (place, of_load) {
        (Place::Client, true) => "in the client's hands (not in the sum)",
        (Place::Client, false) => "unused: in the pool, or in the server's hands",
        (Place::Request, _) => "request on the network",
        (Place::Network, _) => "on the network, both ways",
        (Place::ServerBuffer, true) => "in the server's socket buffer",
        (Place::ServerBuffer, false) => "in the database's socket buffer",
        (Place::Server, true) => "in the server's hands",
        (Place::Server, false) => "in the database's hands",
        (Place::Response, _) => "response on the network",
        (Place::ClientBuffer, true) => "in the client's socket buffer",
        (Place::ClientBuffer, false) => "in the server's socket buffer",
    }
}

/// Whose two ends the places lie between, for programs: `client`, or the name of what stands behind the server.
pub(super) fn hop_cell(hop: &HopPlaces) -> Cell {
    Cell::Text(if hop.of_load { "client".into() } else { hop.hop.clone() })
}

/// A place with its name in stored runs.
pub(super) fn place_cell(place: Place, of_load: bool) -> Cell {
    Cell::coded(&code(&place), words(place, of_load))
}

fn place_row(hop: &HopPlaces, place: Place) -> Vec<Cell> {
    let mut cells = vec![place_cell(place, hop.of_load)];
    for level in hop.levels.values() {
        let Some(share) = level.share(place) else {
            cells.extend([Cell::Empty, Cell::Empty]);
            continue;
        };
        cells.push(Cell::figure(share.mean.map(|nanos| nanos / 1e3), "no round trip"));
        cells.push(Cell::Figure(share.population));
    }
    cells
}

/// The parts as a whole, and what the client says of it.
fn sums(hop: &HopPlaces) -> Vec<Vec<Cell>> {
    let row =
        |id: &str, name: &str, value: fn(&LevelPlaces) -> Option<f64>, population: fn(&LevelPlaces) -> Option<f64>| {
            let cells = hop.levels.values().flat_map(|level| {
                let time = Cell::figure(
                    value(level).map(|nanos| nanos / 1e3),
                    "this load does not tell it, or the client's clock and the sockets differ by more than it",
                );
                let there = population(level).map_or(Cell::Empty, Cell::Figure);
                [time, there]
            });
            std::iter::once(Cell::coded(id, name)).chain(cells).collect()
        };
    let everyone = |level: &LevelPlaces| Some(level.places.iter().map(|share| share.population).sum());
    let mut rows = vec![
        row("sum", "sum from sending to reading; all connections", LevelPlaces::within_latency, everyone),
        row("client_calls", "and the client's own system calls around it", |level| level.client_calls, |_| None),
        row("latency", "the client's own mean latency", |level| level.latency, |_| None),
    ];
    // Two clocks, read at different instants: the parts can exceed the whole.
    let any = |overlap: bool| hop.levels.values().any(|level| left_over(level, overlap).is_some());
    if any(false) {
        rows.push(beyond(hop, "rest of it: not seen", false));
    }
    if any(true) {
        rows.push(beyond(hop, "overlap: the places exceed the latency, queries under way at the ends differ", true));
    }
    rows
}

/// Of the latency; what is less is told by neither clock.
const LEAST: f64 = 0.0005;

/// ns of the latency that no place has, or (`overlap`) that places have beyond it; `None` where there are none.
fn left_over(level: &LevelPlaces, overlap: bool) -> Option<f64> {
    let left = level.residual()?;
    let least = LEAST * level.latency?;
    ((left < 0.0) == overlap && left.abs() >= least).then_some(left.abs())
}

/// What the latency has beyond the places, or they beyond it: a level has one of the two.
fn beyond(hop: &HopPlaces, name: &str, overlap: bool) -> Vec<Cell> {
    let cells = hop.levels.values().flat_map(|level| {
        let time = match (left_over(level, overlap), level.residual()) {
            (Some(nanos), _) => Cell::Figure(nanos / 1e3),
            (None, Some(_)) if overlap => Cell::Undefined("the places do not exceed the latency".into()),
            (None, Some(_)) => Cell::Undefined("the places fill the latency, or exceed it".into()),
            (None, None) => Cell::Missing("this load does not tell its latency".into()),
        };
        [time, Cell::Empty]
    });
    let id = if overlap { "overlap" } else { "residual" };
    std::iter::once(Cell::coded(id, name)).chain(cells).collect()
}

fn round_trips(hop: &HopPlaces) -> Vec<Cell> {
    let each = hop.levels.values().flat_map(|level| [Cell::Empty, Cell::Figure(level.round_trips)]);
    std::iter::once(Cell::coded("round_trips", "round trips for each query of the client")).chain(each).collect()
}

fn remarks(hop: &HopPlaces) -> Vec<String> {
    let mut notes = vec![
        "There: connections in the place, on average over the window (Little's law). From wire.json of each window."
            .to_string(),
    ];
    let any = |of: fn(&LevelPlaces) -> bool| hop.levels.values().any(of);
    if any(|level| level.ways_together) {
        notes.push(
            "The load and the server are on two hosts. Each end was followed by its own host's kernel; what the client \
             waited for beyond the server's places was on the network, both ways: the clocks are not known well enough \
             to tell one way from the other."
                .into(),
        );
    }
    if let Some(most) = hop.levels.values().filter_map(|level| level.elsewhere).max() {
        let uses = if hop.of_load {
            ""
        } else {
            " What the round trips are for is not known: the kernel counts it for all of them together."
        };
        notes.push(format!(
            "{} of this host went to other servers with the same port (on other hosts, or in other network \
             namespaces): they are in none of these figures.{uses}",
            counted(most, "connection")
        ));
    }
    if any(|level| !level.both_ends) {
        notes.push("An end of some connections is on another host: its places count for their neighbours.".into());
    }
    if any(|level| !level.over_network) {
        let why = "It goes through a Unix socket: what is sent is readable at once, and the sending call itself \
                   counts for who sends.";
        notes.push(why.into());
    }
    if any(|level| !level.sends_seen) {
        notes.push(
            "This kernel does not tell of sending (6.16 and later do): a request's way counts for the client, \
                    an answer's for the server."
                .into(),
        );
    }
    for (level, places) in hop.levels.iter().filter(|(_, places)| places.pipelined > 0.01) {
        let share = 100.0 * places.pipelined;
        notes.push(format!(
            "Level {level}: {share:.0} % of the requests were sent before the last answer was read \
                            (pipelining), so places overlap."
        ));
    }
    for (level, reversed) in hop.levels.iter().filter_map(|(level, places)| Some((level, places.reversed?))) {
        if reversed > 0 {
            let changes = counted(reversed, "change");
            notes.push(format!(
                "Level {level}: {changes} of place came in the reverse order of their clocks (the two ends of a \
                    connection \
                 are on two CPUs); each counts as 0 ns."
            ));
        }
    }
    notes
}

/// Of N clients, how many are where; under one in twenty of a client, or one in a hundred of all, is left out.
fn sentence(level: usize, places: &LevelPlaces) -> String {
    let mut there: Vec<(f64, &str)> = places
        .places
        .iter()
        .filter(|share| share.population >= (0.01 * level as f64).max(0.05))
        .map(|share| (share.population, short(share.place)))
        .collect();
    there.sort_by(|a, b| b.0.total_cmp(&a.0));
    let parts: Vec<String> = there.iter().map(|(population, place)| format!("{population:.1} {place}")).collect();
    format!("Of {}, on average: {}.", counted(level as u64, "client"), parts.join(", "))
}

pub(super) fn short(place: Place) -> &'static str {
    match place {
        Place::Client => "in the client's hands",
        Place::Request => "with the request on the network",
        Place::Network => "on the network, both ways",
        Place::ServerBuffer => "in the server's socket buffers",
        Place::Server => "in the server's hands",
        Place::Response => "with the response on the network",
        Place::ClientBuffer => "in the client's socket buffers",
    }
}
