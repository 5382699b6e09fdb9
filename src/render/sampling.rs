//! What sampling took of the target, as a table with a row a level.

use super::model::{Cell, Column, Table};
use crate::analyze::judge::sampling::SamplingCost;

/// The table; `None` where no window says why its rate was chosen.
pub fn sampling_table(costs: &[SamplingCost]) -> Option<Table> {
    (!costs.is_empty()).then_some(())?;
    let columns = vec![
        Column::level(),
        Column::number("frequency", "rate", "samples/s"),
        Column::number("samples", "samples", ""),
        Column::number("interrupt", "interrupt", "µs/sample"),
        Column::number("following", "following", "µs/sample"),
        Column::number("share", "of the target's CPU", "%"),
        Column::number("up_to", "up to", "%"),
        Column::number("highest", "in the worst window", "%"),
        Column::number("budget", "budget", "%"),
    ];
    let notes = vec![
        "The rate is that of each CPU. The interrupt was measured on the target in the first warm-up where it was \
         shown to take more there than of a loop before the load, else by that; the following of stacks in the \
         windows. Up to: by the upper end of the 95 % interval of the interrupt on the target. Where that was not \
         measured the shares are the least: interrupts of a busy server may take many times as much, which \
         --observer-cost measures."
            .into(),
    ];
    let rows = costs.iter().map(row).collect();
    Some(Table { id: "sampling", title: "What sampling took".into(), columns, rows, notes, ..Table::default() })
}

fn row(cost: &SamplingCost) -> Vec<Cell> {
    let micros = |nanos: Option<f64>, why: &str| Cell::figure(nanos.map(|nanos| nanos / 1e3), why);
    let share = |share: Option<f64>| Cell::figure(share, "a part of what a sample takes, or the CPU, was not measured");
    vec![
        Cell::Count(cost.level as u64),
        Cell::Count(cost.frequency),
        Cell::Count(cost.samples),
        micros(cost.interrupt, "timers could not be timed before the load"),
        micros(cost.following, "what copying a stack takes is not told"),
        share(cost.share),
        Cell::figure(cost.up_to, "what an interrupt takes of the target was not measured"),
        share(cost.highest),
        Cell::figure(cost.budget, "the rate was asked for (--frequency)"),
    ]
}
