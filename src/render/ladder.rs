//! A ladder of workloads as a report.

use super::model::{Cell, Column, Report, Section, Table};
use crate::analyze::compare::ladder::{Mean, RungCost};
use crate::run::Manifest;
use crate::words::counted;

/// What a ladder came to.
pub struct Ladder<'a> {
    /// Manifests of the rungs, from the bottom.
    pub rungs: &'a [&'a Manifest],
    /// Costs of each rung at each level.
    pub costs: &'a [RungCost],
    /// Checks of each rung that failed, over all windows.
    pub failing: &'a [usize],
    /// How it ended, where it is not complete.
    pub cut: Option<String>,
}

/// The whole answer of a ladder.
pub fn ladder_report(ladder: &Ladder) -> Report {
    let preset = ladder.rungs.first().map_or("", |manifest| manifest.preset.as_str());
    let sections = vec![
        Section { id: "levels", title: "Levels".into(), tables: vec![costs(ladder)], ..Section::default() },
        Section { id: "rungs", title: "Rungs".into(), tables: vec![rungs(ladder)], ..Section::default() },
    ];
    let runs = ladder.rungs.iter().map(|manifest| manifest.id.clone()).collect();
    Report { title: format!("Ladder of {} rungs, preset {preset}", ladder.rungs.len()), runs, sections }
}

fn name<'a>(ladder: &'a Ladder, rung: usize) -> &'a str {
    ladder.rungs[rung].side.as_ref().map_or(ladder.rungs[rung].id.as_str(), |side| side.name.as_str())
}

fn costs(ladder: &Ladder) -> Table {
    let columns = vec![
        Column::level(),
        Column::text("rung", "rung"),
        Column::number("windows", "windows", ""),
        Column::number("throughput", "throughput", "q/s"),
        Column::number("latency", "mean latency", "µs"),
        Column::number("latency_step", "more than below", "µs"),
        Column::number("cpu", "CPU of the target", "µs/query"),
        Column::number("cpu_step", "more than below", "µs/query"),
    ];
    let row = |cost: &RungCost| {
        let missing = || Cell::Missing("not measured".into());
        let scaled = |interval: Option<(f64, f64)>, by: f64| interval.map(|(low, high)| (low / by, high / by));
        let own = |mean: Option<Mean>, by: f64| match mean {
            Some(Mean { value, interval }) => {
                Cell::Estimate { value: value / by, interval: scaled(interval, by), samples: None }
            }
            None => missing(),
        };
        let step = |mean: Option<Mean>| match mean {
            Some(Mean { value, interval }) => Cell::Difference { value: value / 1e3, interval: scaled(interval, 1e3) },
            None if cost.rung == 0 => Cell::Empty,
            None => missing(),
        };
        vec![
            Cell::Count(cost.level as u64),
            Cell::Text(name(ladder, cost.rung).into()),
            Cell::Count(cost.windows as u64),
            own(cost.throughput, 1.0),
            own(cost.latency, 1e3),
            step(cost.latency_step),
            own(cost.cpu, 1e3),
            step(cost.cpu_step),
        ]
    };
    let rows = ladder.costs.iter().map(row).collect();
    Table { id: "costs", columns, rows, notes: notes(ladder), ..Table::default() }
}

fn notes(ladder: &Ladder) -> Vec<String> {
    let mut notes = vec![
        "Means over replicates; a step is the mean of the differences within replicates; 95 % intervals over \
            replicates (none for \
         fewer than two)."
            .to_string(),
    ];
    if let Some(side) = ladder.rungs.first().and_then(|manifest| manifest.side.as_ref()) {
        notes.push(format!(
            "Rungs by turns, {}: within each two replicates a steady drift falls on all alike. All windows are of one \
                process of the \
             server; another process may differ by more.",
            side.turns
        ));
    }
    let failed = |(rung, count): (usize, &usize)| {
        (*count > 0).then(|| {
            format!(
                "{}: {} failed (`wireprof runs {}`).",
                name(ladder, rung),
                counted(*count as u64, "check"),
                ladder.rungs[rung].id
            )
        })
    };
    notes.extend(ladder.failing.iter().enumerate().filter_map(failed));
    notes.extend(ladder.cut.clone());
    notes
}

fn rungs(ladder: &Ladder) -> Table {
    let columns = vec![
        Column::text("letter", "turn"),
        Column::text("rung", "rung"),
        Column::text("what", "what differs"),
        Column::text("run", "run"),
    ];
    let row = |(rung, manifest): (usize, &&Manifest)| {
        let side = manifest.side.as_ref();
        let setup = side.map_or_else(String::new, |side| side.setup.join("; "));
        vec![
            Cell::Text(side.map_or_else(String::new, |side| side.letter.to_string())),
            Cell::Text(name(ladder, rung).into()),
            Cell::Text(if setup.is_empty() { "the workload as it is".into() } else { setup }),
            Cell::Text(manifest.id.clone()),
        ]
    };
    let rows = ladder.rungs.iter().enumerate().map(row).collect();
    Table { id: "rungs", columns, rows, ..Table::default() }
}
