//! What a query costs by function of the program: a table that a script sorts and filters. Invariant: the script gets
//! the figures as they are in `hot`, with names as text; it makes rows of those that are looked at only.

use super::tables::{NAME, scrolled};
use super::{part as part_of, tables};
use crate::analyze::cost::hot::{By, HotTable};
use crate::analyze::cost::view::Per;
use crate::analyze::statistics::interval::Estimate;
use crate::profile::{Named, middle, short_name, tell_apart};
use crate::render::hot::Scale;
use crate::render::model::Section;
use crate::words::significant;
use maud::{Markup, html};
use serde_json::{Value, json};

/// The fourth part.
pub(super) fn part(table: &HotTable, sections: &[Section]) -> Markup {
    let whose = match table.by {
        By::Owner => " of the server's own program, with the libraries and the kernel that it calls",
        _ => ", each its own",
    };
    let lead = format!(
        "CPU by function{whose}. Darker is more. ± is half of the 95 % interval; growth in grey is not beyond chance."
    );
    let body = html! {
        @if table.rows.is_empty() {
            p class="muted" { "Not measured: no level of this run has a profile." }
        } @else {
            div class="controls" {
                label { "Filter " input type="search" id="functions-filter" autocomplete="off" spellcheck="false"; }
                output id="functions-count" aria-live="polite" {}
            }
            (scrolled("Functions", &html! { table id="functions-table" class="heat" {} }))
            p id="functions-paper" class="note on-paper" {}
            button type="button" id="functions-more" hidden { "Show more" }
            noscript { p class="note" { "Without scripts, the tables below have the functions that cost most." } }
        }
        (tables::behind(sections, &["functions", "hot", "together"]))
    };
    part_of("functions", "What a query costs, by function", &lead, &body)
}

/// The rows: name, whole name where that is another, module, costs by level, growth, half of its interval, whether it
/// is beyond chance. A cost is a number with half of its 95 % interval, or alone where that is not known; a text where
/// nothing was seen: below what it is.
pub(super) fn data(table: &HotTable) -> Value {
    let scale = match table.per {
        Per::Query => Scale::of(&table.unit),
        Per::Hundredth => Scale { factor: 1.0, unit: "% of weight" },
    };
    let shown: Vec<String> = table.rows.iter().map(|row| short_name(&row.frame.name)).collect();
    let names: Vec<Named> = table
        .rows
        .iter()
        .zip(shown)
        .map(|(row, shown)| Named { shown, full: &row.frame.name, module: &row.frame.module })
        .collect();
    let rows = table.rows.iter().zip(tell_apart(&names, true)).map(|(row, shown)| {
        let figure = |value: f64| (value * scale.factor * 1e4).round() / 1e4;
        let half = |value: f64, (low, high): (f64, f64)| figure((high - value).max(value - low));
        let cost = |cost: &Estimate| match cost.interval {
            Some((_, high)) if cost.value == 0.0 => json!(format!("<{}", significant(high * scale.factor))),
            Some(interval) => json!([figure(cost.value), half(cost.value, interval)]),
            None => json!(figure(cost.value)),
        };
        let costs: Vec<Value> = row.costs.iter().map(|found| found.as_ref().map_or(Value::Null, cost)).collect();
        let beyond_chance = row.difference_interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0);
        let (full, shown) = (middle(&row.frame.name, NAME), middle(&shown, NAME));
        json!([
            shown,
            if full == shown { "" } else { &full },
            row.frame.module,
            costs,
            row.difference.map(figure),
            row.difference.zip(row.difference_interval).map(|(value, interval)| half(value, interval)),
            beyond_chance
        ])
    });
    let levels: Vec<usize> = table.levels.iter().map(|level| level.level).collect();
    json!({"levels": levels, "unit": scale.unit, "rows": rows.collect::<Vec<_>>()})
}
