//! What goes together, as tables: within windows and from window to window.

use super::figure::significant;
use super::hot::Scale;
use super::model::{Cell, Column, Section, Table};
use crate::analyze::time::correlation::{FALSE_DISCOVERY, Pair, SlowFrame, SlowSlices, Together};
use crate::words::time;

/// Rows of each table.
const ROWS: usize = 6;

/// The section.
pub fn correlation_section(slow: &Result<SlowSlices, String>, together: &Result<Together, String>) -> Section {
    let mut section = Section { id: "together", title: "What goes together".into(), ..Section::default() };
    match slow {
        Ok(slow) => {
            section.tables.extend((!slow.found.is_empty()).then(|| slow_table(slow)));
            section.notes.extend(slow_notes(slow));
        }
        Err(why) => section.notes.push(format!("What ran in the slowest slices of time is not measured: {why}.")),
    }
    match together {
        Ok(together) => {
            section.tables.extend((!together.found.is_empty()).then(|| pairs_table(together)));
            section.notes.push(pairs_note(together));
        }
        Err(why) => section.notes.push(format!("What rises together from window to window is not told: {why}.")),
    }
    section
}

fn slow_table(slow: &SlowSlices) -> Table {
    let (factor, unit) = per_second(&slow.unit);
    let columns = vec![
        Column::text("frame", "frame, with what it calls"),
        Column::text("module", "module"),
        Column::number("slow", "slow slices", &unit),
        Column::number("rest", "the rest", &unit),
        Column::number("probability", "by chance", "probability"),
    ];
    let row = |row: &SlowFrame| {
        vec![
            Cell::Name(row.frame.name.clone()),
            Cell::Text(row.frame.module.clone()),
            Cell::Figure(row.slow * factor),
            Cell::Figure(row.rest * factor),
            Cell::Figure(row.probability),
        ]
    };
    let rows = slow.found.iter().take(ROWS).map(row).collect();
    Table {
        id: "slow_slices",
        title: "What ran more in the slowest tenth of the 50 ms slices".into(),
        columns,
        rows,
        ..Table::default()
    }
}

/// CPU a second of time, not a query: a slice in which little was completed is no cheaper for it.
fn per_second(unit: &str) -> (f64, String) {
    match unit {
        "nanoseconds" => (1e-6, "ms CPU/s".into()),
        unit => (1.0, format!("{unit}/s")),
    }
}

fn slow_notes(slow: &SlowSlices) -> Vec<String> {
    let SlowSlices { windows, slices, tested, draws, least, found, nearest, .. } = slow;
    let mut notes = vec![format!(
        "The slowest tenth of each window's 50 ms slices ({} of {slices}, {windows} windows; mean latency {}) \
         against the rest ({}): \
         {} of {tested} functions ran more in them, at a false discovery rate of {:.0} % (each window's slices \
         shifted around as a whole, \
         {draws} draws, one-sided). Metrics are read once a second at most, which tells nothing of 50 ms: they are \
         not compared.",
        slow.slow,
        time(slow.latency_slow),
        time(slow.latency_rest),
        found.len(),
        100.0 * FALSE_DISCOVERY
    )];
    if let (Some(nearest), true) = (nearest, found.is_empty()) {
        notes.push(format!(
            "The least probable of them: {}, probability {}.",
            crate::profile::short_name(&nearest.frame.name),
            significant(nearest.probability)
        ));
    }
    if *least > FALSE_DISCOVERY / (*tested).max(1) as f64 {
        notes.push(format!(
            "The shifts of so few windows give no probability below {}, too much for one of {tested} functions to be \
                found by itself: \
             measure more of them (--replicates).",
            significant(*least)
        ));
    }
    notes.extend((found.len() > ROWS).then(|| format!("{} of {} are shown.", ROWS, found.len())));
    notes
}

fn pairs_table(together: &Together) -> Table {
    let scale = Scale::of(&together.unit);
    let columns = vec![
        Column::text("frame", "frame, self cost"),
        Column::number("cost_first", "first level", scale.unit),
        Column::number("cost_last", "last level", scale.unit),
        Column::text("metric", "metric"),
        Column::number("change_first", "first level", "per query"),
        Column::number("change_last", "last level", "per query"),
        Column::number("correlation", "rank correlation", ""),
        Column::number("probability", "by chance", "probability"),
    ];
    let row = |pair: &Pair| {
        vec![
            Cell::Name(pair.frame.name.clone()),
            Cell::Figure(pair.cost.0 * scale.factor),
            Cell::Figure(pair.cost.1 * scale.factor),
            Cell::Text(pair.metric.clone()),
            Cell::Figure(pair.change.0),
            Cell::Figure(pair.change.1),
            Cell::Figure(pair.correlation),
            Cell::Figure(pair.probability),
        ]
    };
    let rows = together.found.iter().take(ROWS).map(row).collect();
    Table {
        id: "rising_together",
        title: "What rises together from window to window".into(),
        columns,
        rows,
        ..Table::default()
    }
}

fn pairs_note(together: &Together) -> String {
    let Together { windows, frames, metrics, pairs, draws, least, found, .. } = together;
    let shown = if found.len() > ROWS { format!(" {ROWS} of them are shown.") } else { String::new() };
    let few = match *least > FALSE_DISCOVERY / (*pairs).max(1) as f64 {
        true => format!(
            " {windows} windows give no probability below {}: a pair by itself is not found.",
            significant(*least)
        ),
        false => String::new(),
    };
    format!(
        "Over {windows} windows {} of {pairs} pairs of a function's self cost and a metric's change per query rise \
            together ({frames} functions \
         and {metrics} metrics of the largest spread; rank correlation, {draws} permutations, false discovery rate \
         {:.0} %).{shown}{few} \
         Both can follow the number of clients: neither need be the other's cause.",
        found.len(),
        100.0 * FALSE_DISCOVERY
    )
}
