//! What scraping the server's metrics did to the latency, as one table with a row a level.

use super::figure::significant;
use super::model::{Cell, Column, Table};
use crate::analyze::time::scraped::ScrapedSlices;
use std::collections::BTreeMap;

/// The table; `None` where the scrapes' times are not recorded.
pub fn scraped_table(levels: &BTreeMap<usize, ScrapedSlices>) -> Option<Table> {
    let first = levels.values().next()?;
    let columns = vec![
        Column::level(),
        Column::number("scraped_slices", "slices with a scrape", ""),
        Column::number("latency_with", "mean with", "µs"),
        Column::number("latency_without", "mean without", "µs"),
        Column::number("p99", "p99 of all", "µs"),
        Column::number("p99_without", "p99 without", "µs"),
        Column::number("slowest", "slowest tenth of all", "µs"),
        Column::number("slowest_without", "slowest tenth without", "µs"),
    ];
    let rows = levels.iter().map(|(level, found)| row(*level, found)).collect();
    let cost = first.cost.map_or("What a scrape takes was not measured.".into(), |cost| {
        let cpu = cost.cpu.map_or("a part of the target's CPU that is not known".into(), |cpu| {
            format!("{} ms of the target's CPU", significant(cpu as f64 / 1e6))
        });
        format!("A scrape ({} kB) takes {cpu}.", significant(cost.bytes as f64 / 1e3))
    });
    let notes = vec![format!(
        "\"Without\" leaves out the slices of 50 ms in which wireprof's own scrape of the metrics was under way. {cost}"
    )];
    Some(Table {
        id: "scraped",
        title: "With the slices of the scrapes and without".into(),
        columns,
        rows,
        notes,
        ..Table::default()
    })
}

fn row(level: usize, found: &ScrapedSlices) -> Vec<Cell> {
    let micros = |nanos: Option<f64>| Cell::or_missing(nanos.map(|nanos| nanos / 1e3), "no query ended in such slices");
    let quantile = |nanos: Option<u64>| {
        Cell::or_missing(nanos.map(|nanos| nanos as f64 / 1e3), "the driver keeps no histogram of the slices")
    };
    vec![
        Cell::Count(level as u64),
        Cell::Text(format!("{} of {}", found.with, found.with + found.without)),
        micros(found.latency_with),
        micros(found.latency_without),
        quantile(found.p99),
        quantile(found.p99_without),
        micros(found.slowest),
        micros(found.slowest_without),
    ]
}
