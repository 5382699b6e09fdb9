//! The hot table as a report. Costs stored in nanoseconds are shown in microseconds per query.

use super::figure::{count, significant};
use super::model::{Cell, Column, Report, Section, Table};
use crate::analyze::cost::hot::{By, HotLevel, HotRow, HotTable, Order};
use crate::analyze::cost::view::{Per, Source};
use crate::analyze::statistics::interval::Estimate;
use crate::profile::ColumnKind;

/// The frames, and what the figures are based on.
pub fn hot_report(table: &HotTable) -> Report {
    let mut sections = vec![
        Section { id: "hot", tables: vec![frames(table)], ..Section::default() },
        Section {
            id: "basis",
            title: "What these figures rest on".into(),
            tables: vec![levels(table)],
            ..Section::default()
        },
    ];
    if table.levels.iter().all(|l| l.total.is_none()) {
        let why = table.levels.iter().find_map(|level| level.missing.clone()).filter(|_| table.source.is_of_hands());
        sections[0].notes.push(match why {
            Some(why) => format!("Not measured: {why}."),
            None => "No window of this run has a profile with this column: nothing was measured.".into(),
        });
    }
    Report { title: title(table), runs: vec![table.run.clone()], sections }
}

/// The frames x levels table alone.
pub fn frames(table: &HotTable) -> Table {
    let scale = match table.per {
        Per::Query => Scale::of(&table.unit),
        Per::Hundredth => Scale { factor: 1.0, unit: "% of weight" },
    };
    let mut columns = vec![Column::text("frame", "frame"), Column::text("module", "module")];
    for level in &table.levels {
        columns.push(Column::at(level.level, "cost", &format!("level {}", level.level), scale.unit));
    }
    let missing: Vec<&str> = table.levels.iter().map(|l| l.missing.as_deref().unwrap_or("")).collect();
    let ends = table.levels.first().zip(table.levels.last()).filter(|_| table.levels.len() > 1);
    if let Some((first, last)) = ends {
        columns.push(Column::number("ratio", &format!("{} / {}", last.level, first.level), "ratio"));
        columns.push(Column::number("difference", &format!("{} - {}", last.level, first.level), scale.unit));
    }
    columns.push(match table.levels.last() {
        Some(last) => Column::at(last.level, "samples", "samples", "last level"),
        None => Column::number("samples", "samples", ""),
    });
    let mut rows = Vec::new();
    let totals: Vec<Option<&Estimate>> = table.levels.iter().map(|l| l.total.as_ref()).collect();
    let all = if table.source == Source::OnCpu { "[all sampled]" } else { "[all waits]" };
    rows.push(row([all, ""], &totals, &missing, None, &scale));
    if table.focus.is_some() {
        let outside: Vec<Option<&Estimate>> = table.levels.iter().map(|l| l.outside.as_ref()).collect();
        rows.push(row(["[outside focus]", ""], &outside, &missing, None, &scale));
    }
    for hot in table.rows.iter().chain(&table.others) {
        let costs: Vec<Option<&Estimate>> = hot.costs.iter().map(Option::as_ref).collect();
        rows.push(row([&hot.frame.name, &hot.frame.module], &costs, &missing, Some(hot), &scale));
    }
    Table { id: "functions", columns, rows, notes: notes(table), ..Table::default() }
}

fn title(table: &HotTable) -> String {
    let what = match (&table.callers_of, table.by) {
        (Some(of), By::SelfCost | By::Owner) => format!("Callers of {of}, by its self cost,"),
        (Some(of), By::Total) => format!("Callers of {of}, by its total cost,"),
        (None, By::SelfCost) => "Hot frames, self cost,".into(),
        (None, By::Total) => "Hot frames, total cost,".into(),
        (None, By::Owner) if table.source == Source::OnCpu => {
            "Hot functions of the program, libraries and kernel included,".into()
        }
        (None, By::Owner) => "Who waits, by function of the program,".into(),
    };
    let focus = table.focus.as_ref().map_or(String::new(), |f| format!(", focus {f}"));
    let source = match table.source {
        Source::OnCpu => "",
        Source::Blocked => ", time blocked",
        Source::Runnable => ", time runnable",
        Source::Waits | Source::InHand => ", waits with a query in hand",
    };
    format!("{what} run {}{source}{focus}", table.run)
}

fn notes(table: &HotTable) -> Vec<String> {
    let shown = table.rows.len();
    let order = match table.order {
        Order::Cost => "by cost at the last level",
        Order::Growth => "by growth from the first level to the last",
    };
    let mut notes = Vec::new();
    if table.levels.iter().any(|level| level.windows > 0) {
        notes.push(format!("{shown} of {} frames, {order}; ± is half of the 95 % interval.", table.frames));
    }
    if table.per == Per::Hundredth {
        notes.push(format!(
            "Cost per query is not measured: no window has its queries counted. Shares of the {} of each level.",
            if table.column == ColumnKind::Cpu.as_str() { "CPU time" } else { table.column.as_str() }
        ));
    }
    if table.by == By::Total && table.callers_of.is_none() {
        notes.push("Total costs of frames that call each other overlap: they do not add up.".into());
    }
    if let Some(folded) = table.folded.filter(|folded| folded.functions > 0) {
        notes.push(format!(
            "Folded into their callers: {} {} of runtimes and of the start of threads, whose own cost is {} % at the \
             last level; --unfolded shows them.",
            count(folded.functions as u64),
            if folded.functions == 1 { "function" } else { "functions" },
            significant(100.0 * folded.own)
        ));
    }
    if table.by == By::Owner {
        notes.push(
            "Each sample or wait counts for one function: the innermost of the server's own program that is no helper. \
             What libraries and the kernel do counts for the function that called them. `--by total` counts it for \
             each function that called it too, `--by self` for the one that it was in."
                .into(),
        );
    }
    if table.source.is_of_hands() {
        notes.push(
            "Waits of threads and tasks while they had a query in hand: parts of the time in the server's hands, whose \
             other parts `wireprof explain` shows. From hands.json and hands.pb.gz, of seconds of their own after the \
             window, divided by the queries answered in them."
                .into(),
        );
    } else if table.source != Source::OnCpu {
        notes.push("All threads' waits, idle ones' too: they are not parts of the latency.".into());
    }
    notes
}

/// How the stored unit is shown.
pub(super) struct Scale {
    pub factor: f64,
    pub unit: &'static str,
}

impl Scale {
    pub fn of(unit: &str) -> Self {
        match unit {
            "nanoseconds" => Scale { factor: 1e-3, unit: "µs/query" },
            "cycles" => Scale { factor: 1.0, unit: "cycles/query" },
            _ => Scale { factor: 1.0, unit: "per query" },
        }
    }

    pub fn interval(&self, interval: Option<(f64, f64)>) -> Option<(f64, f64)> {
        interval.map(|(low, high)| (low * self.factor, high * self.factor))
    }

    fn estimate(&self, estimate: Option<&Estimate>, missing: &str) -> Cell {
        match estimate {
            None => Cell::Missing(missing.into()),
            Some(e) => {
                Cell::Estimate { value: e.value * self.factor, interval: self.interval(e.interval), samples: e.samples }
            }
        }
    }
}

/// `missing`: of each level why it has no cost.
fn row(
    [name, module]: [&str; 2],
    costs: &[Option<&Estimate>],
    missing: &[&str],
    hot: Option<&HotRow>,
    scale: &Scale,
) -> Vec<Cell> {
    let mut cells = vec![Cell::Name(name.to_string()), Cell::Text(module.to_string())];
    cells.extend(costs.iter().zip(missing).map(|(cost, why)| scale.estimate(*cost, why)));
    if costs.len() > 1 {
        let why = "no sample at the first level";
        cells.push(hot.map_or(Cell::Empty, |h| match (h.ratio, h.difference) {
            (Some(ratio), _) => Cell::Number(ratio),
            (None, Some(_)) => Cell::Undefined(why.into()),
            (None, None) => Cell::Missing("not measured at both levels".into()),
        }));
        cells.push(hot.map_or(Cell::Empty, |h| match h.difference {
            Some(value) => {
                Cell::Difference { value: value * scale.factor, interval: scale.interval(h.difference_interval) }
            }
            None => Cell::Missing("not measured at both levels".into()),
        }));
    }
    let samples = costs.last().copied().flatten().and_then(|c| c.samples);
    cells.push(samples.map_or(Cell::Missing("the source does not count samples".into()), Cell::Count));
    cells
}

/// Provenance per level.
fn levels(table: &HotTable) -> Table {
    let columns = vec![
        Column::level(),
        Column::fact("windows", "windows"),
        Column::number("queries", "queries", ""),
        Column::number("samples", "samples", ""),
        Column::number("complete", "complete", "% of weight"),
        Column::number("symbolized", "named", "% of weight"),
        Column::number("accounted", "accounted", "% of weight"),
        Column::number("lost", "lost", ""),
        Column::number("throttled", "throttled", ""),
        Column::fact("event", "event"),
        Column::fact("unwinder", "unwinder"),
    ];
    Table { id: "basis", columns, rows: table.levels.iter().map(level_row).collect(), ..Table::default() }
}

fn level_row(level: &HotLevel) -> Vec<Cell> {
    let from = &level.provenance;
    let joined = |set: &std::collections::BTreeSet<String>| match set.len() {
        0 => Cell::Missing("no sampling report".into()),
        _ => Cell::Text(set.iter().cloned().collect::<Vec<_>>().join(", ")),
    };
    let uncounted = level.missing.as_deref().unwrap_or("queries were not counted");
    let count = |count: Option<u64>, why: &str| count.map_or(Cell::Missing(why.into()), Cell::Count);
    let percent = |share: Option<f64>| Cell::or_missing(share.map(|s| s * 100.0), "the source does not tell");
    vec![
        Cell::Count(level.level as u64),
        Cell::Text(match level.windows {
            0 => format!("none of {}", level.replicates),
            windows => format!("{windows} of {}", level.replicates),
        }),
        level.queries.map_or(Cell::Missing(uncounted.into()), |queries| Cell::Count(queries as u64)),
        from.samples.map_or(Cell::Missing("the source does not count samples".into()), Cell::Count),
        percent(from.complete),
        percent(from.symbolized),
        Cell::or_missing(from.accounted.map(|share| share * 100.0), "weights are as sampled"),
        count(from.lost, "the source does not tell"),
        count(from.throttled, "the source does not tell"),
        joined(&from.events),
        joined(&from.unwinders),
    ]
}
