//! What a query costs and what grew, as tables and sentences.

use super::model::{Cell, Column, Section, Table};
use super::places::short;
use crate::analyze::cost::demands::{Bound, Demand};
use crate::analyze::time::growth::Growth;
use crate::words::{percent, thousands, time};
use std::collections::BTreeSet;

/// The section of view B.
pub fn demands_section(demands: &[Demand], bounds: &[Bound]) -> Section {
    let notes = match demands.is_empty() {
        true => vec!["Not measured: the run has no scheduler statistics.".to_string()],
        false => bounds.iter().map(bound_sentence).collect(),
    };
    let tables = if demands.is_empty() { Vec::new() } else { vec![demands_table(demands)] };
    Section { id: "costs", title: "What a query costs".into(), tables, notes, ..Section::default() }
}

fn demands_table(demands: &[Demand]) -> Table {
    let levels: BTreeSet<usize> = demands.iter().flat_map(|demand| demand.levels.keys().copied()).collect();
    let mut columns = vec![Column::text("resource", "resource"), Column::number("capacity", "capacity", "")];
    for level in &levels {
        columns.push(Column::at(*level, "busy", &format!("busy at {level}"), "µs/query"));
        columns.push(Column::at(*level, "used", &format!("used at {level}"), "%"));
    }
    let row = |demand: &Demand| {
        let capacity = demand.levels.values().map(|level| level.capacity).fold(0.0, f64::max);
        let mut cells =
            vec![Cell::coded(&demand.resource.name(), demand.resource.to_string()), Cell::Count(capacity as u64)];
        for level in &levels {
            let found = demand.levels.get(level);
            cells.push(Cell::figure(found.map(|found| found.demand / 1e3), "not seen at this level"));
            cells.push(Cell::figure(found.map(|found| found.utilisation * 100.0), "not seen at this level"));
        }
        cells
    };
    let notes = vec![
        "Busy time is work, not latency: it is not to be added to the places, and parts (CPU of the server) lie \
            within the whole \
         (all CPUs). Used = throughput x busy / capacity. From scheduler.json and wire.json of each window."
            .to_string(),
    ];
    Table { id: "resources", columns, rows: demands.iter().map(row).collect(), notes, ..Table::default() }
}

fn bound_sentence(bound: &Bound) -> String {
    let Bound { level, resource, throughput, utilisation, clients } = bound;
    let clients =
        clients.map_or(String::new(), |clients| format!(", which {clients:.1} clients reach where none queues"));
    format!(
        "If each query costs what it cost at level {level}, {resource} can serve at most {} queries/s{clients}; used \
         there: {}.",
        thousands(&format!("{throughput:.0}")),
        percent(*utilisation)
    )
}

/// The section on growth; `None` where there are not two levels.
pub fn growth_section(growth: Option<&Growth>) -> Option<Section> {
    let growth = growth?;
    let Growth { from, to, latency, places, rest, work } = growth;
    let mut notes = vec![format!("From level {from} to {to} the mean latency grew by {}.", time(*latency))];
    let share = |nanos: f64| 100.0 * nanos / latency;
    let grown = places.iter().filter(|(_, nanos)| nanos.abs() >= 0.01 * latency.abs());
    let parts: Vec<String> =
        grown.map(|(place, nanos)| format!("{} ({:.0} %) {}", time(*nanos), share(*nanos), short(*place))).collect();
    if !parts.is_empty() {
        notes.push(format!("By place: {}.", parts.join(", ")));
    }
    if let Some(rest) = rest {
        notes.push(format!("Not explained by places: {} ({:.1} %).", time(*rest), share(*rest)));
    }
    match (work, growth.waiting()) {
        (Some(work), Some(waiting)) => notes.push(format!(
            "Work per query (CPU of the server, the generator and the companions) changed by {}; the other {} are \
             the same work in longer queues.",
            time(*work),
            time(waiting)
        )),
        _ => notes.push(
            "More work per query or longer queues: not measured, the run has no scheduler \
                         statistics."
                .into(),
        ),
    }
    Some(Section { id: "growth", title: "What grew".into(), notes, ..Section::default() })
}
