//! What observing costs, as a table.

use super::figure::significant;
use super::model::{Cell, Column, Section, Table};
use crate::analyze::compare::observer::{ObserverCost, PairedCost};
use crate::run::{Instrument, ObserverWindows};

/// One row an instrument.
pub fn observer_section(windows: &ObserverWindows, costs: &[ObserverCost]) -> Section {
    let columns = vec![
        Column::text("instrument", "instrument"),
        Column::number("pairs", "pairs", ""),
        Column::number("target_without", "target without", "µs/query"),
        Column::number("target", "costs the target", "µs/query"),
        Column::number("target_percent", "of it", "%"),
        Column::number("watched_without", "all without", "µs/query"),
        Column::number("watched", "costs all", "µs/query"),
    ];
    let rows = costs.iter().map(row).collect();
    let table = Table { id: "observer", columns, rows, notes: notes(windows, costs), ..Table::default() };
    Section {
        id: "observer",
        title: format!("What observing costs at {} clients", windows.level),
        tables: vec![table],
        ..Section::default()
    }
}

fn row(cost: &ObserverCost) -> Vec<Cell> {
    let why = cost.missing.clone().unwrap_or_else(|| "no pair was taken".into());
    let without = |cost: &Option<PairedCost>| Cell::or_missing(cost.map(|cost| cost.without / 1e3), &why);
    let difference = |cost: &Option<PairedCost>, part: fn(&PairedCost, f64) -> f64| match cost {
        Some(cost) => Cell::Difference {
            value: part(cost, cost.difference),
            interval: cost.interval.map(|(low, high)| (part(cost, low), part(cost, high))),
        },
        None => Cell::Missing(why.clone()),
    };
    let micros = |_: &PairedCost, nanos: f64| nanos / 1e3;
    vec![
        Cell::Text(name(cost.instrument).into()),
        Cell::Count(cost.pairs as u64),
        without(&cost.target),
        difference(&cost.target, micros),
        difference(&cost.target, PairedCost::percent),
        without(&cost.watched),
        difference(&cost.watched, micros),
    ]
}

fn name(instrument: Instrument) -> &'static str {
    match instrument {
        Instrument::Timer => "a bare timer of the sampler's rate",
        Instrument::Sampling => "sampling on CPU",
        Instrument::OffCpu => "off-CPU stacks, beside sampling",
        Instrument::Wire => "places at the sockets",
        Instrument::Metrics => "scrapes of the metrics",
        Instrument::All => "all of this run's, against none",
    }
}

fn notes(windows: &ObserverWindows, costs: &[ObserverCost]) -> Vec<String> {
    let mut notes = vec![format!(
        "CPU by the scheduler's accounting, windows of {} s with and without by turns (ABBA) within one load session; \
            means of the \
         differences within pairs, 95 % intervals over the pairs. All: the target, the processes behind it, the \
         generator and wireprof.",
        significant(windows.window_seconds)
    )];
    if let Some(seconds) = windows.scrape_seconds {
        let of = |wanted| costs.iter().find(|cost| cost.instrument == wanted).map_or(0, |cost| cost.scrapes);
        notes.push(format!(
            "Metrics are scraped every {} s of observed time, as in the run's own windows: {} scrapes by themselves, \
                {} with all.",
            significant(seconds),
            of(Instrument::Metrics),
            of(Instrument::All)
        ));
    }
    if let Some(hertz) = windows.frequency {
        notes.push(format!("The sampler's rate: {hertz} Hz on each CPU."));
    }
    notes.push(
        "Statement statistics are read before and after a window, never in it: they are not among these costs.".into(),
    );
    notes.extend(
        costs.iter().filter_map(|cost| Some(format!("{}: {}.", name(cost.instrument), cost.missing.as_ref()?))),
    );
    notes
}
