//! A comparison of two runs as a report. Nanoseconds are shown as microseconds.

use super::hot::Scale;
use super::json::code;
use super::model::{Cell, Column, Report, Section, Table};
use super::places;
use crate::analyze::compare::difference::{
    ASSUMED_DISPERSION, ASSUMED_SCATTER, Basis, Difference, FrameRow, FrameTable, LevelDifference, RARE, Row, Subject,
    Verdict,
};
use crate::words::{counted, significant};

/// What is unlike first, then each level.
pub fn difference_report(difference: &Difference) -> Report {
    let mut sections = vec![preface(difference)];
    sections.extend(difference.levels.iter().map(|level| level_section(level, difference)));
    let runs = vec![difference.before.clone(), difference.after.clone()];
    Report { title: format!("{} (before) against {} (after)", difference.before, difference.after), runs, sections }
}

fn preface(difference: &Difference) -> Section {
    let columns =
        vec![Column::text("what", "unlike"), Column::text("before", "before"), Column::text("after", "after")];
    let row = |unlike: &crate::analyze::compare::difference::Unlike| {
        vec![Cell::Text(unlike.what.clone()), Cell::Text(unlike.before.clone()), Cell::Text(unlike.after.clone())]
    };
    let rows: Vec<Vec<Cell>> = difference.unlike.iter().map(row).collect();
    let mut notes = difference.notes.clone();
    if difference.levels.is_empty() {
        notes.push("The runs have no level in common: nothing was compared.".into());
    }
    let table = Table { id: "unlike", columns, rows, ..Table::default() };
    Section {
        id: "unlike",
        tables: if table.rows.is_empty() { Vec::new() } else { vec![table] },
        notes,
        ..Section::default()
    }
}

fn level_section(level: &LevelDifference, difference: &Difference) -> Section {
    let (main, others): (Vec<&Row>, Vec<&Row>) = level.rows.iter().partition(|row| row.subject.is_main());
    let mut tables = vec![figures(&main, difference)];
    if !others.is_empty() {
        tables.push(Table { title: "Quantiles, places, demands and metrics".into(), ..figures(&others, difference) });
    }
    tables[0].notes.push(format!(
        "Probability of any false difference among throughput, latency and CPU of all levels: at most {} %; \"same\": \
            the interval \
         lies within {} %.",
        100.0 * difference.familywise,
        100.0 * difference.margin
    ));
    tables.extend(level.owners.as_ref().map(|table| owners(table, difference)));
    tables.extend(level.frames.as_ref().map(|table| frames(table, difference)));
    tables.iter_mut().for_each(|table| table.about.push(("level", Cell::Count(level.level as u64))));
    let marked = level.marked.iter().map(|mark| format!("{} {}: {}", mark.run, mark.window, mark.why));
    let (before, after) = level.windows;
    Section {
        id: "level",
        title: format!("Level {}: {} before, {after} after", level.level, counted(before as u64, "window")),
        tables,
        notes: marked.collect(),
        ..Section::default()
    }
}

/// What an entry of the log needs: what is unlike, throughput, latency and CPU of all levels, and the frames of each
/// level.
pub fn difference_tables(difference: &Difference) -> Vec<Table> {
    let mut tables = preface(difference).tables;
    tables.push(main_rows_table(difference));
    for level in &difference.levels {
        let of_level =
            |table| Table { title: format!("Level {}: frames, self cost", level.level), ..frames(table, difference) };
        tables.extend(level.frames.as_ref().map(of_level));
    }
    tables
}

/// Throughput, latency and CPU of all levels in one table.
pub(super) fn main_rows_table(difference: &Difference) -> Table {
    let rows = difference.levels.iter().flat_map(|level| &level.rows).filter(|row| row.subject.is_main());
    with_levels(&rows.collect::<Vec<_>>(), difference)
}

/// All that was found to differ, of all levels in one table.
pub(super) fn decided_table(difference: &Difference) -> Table {
    let rows = difference.levels.iter().flat_map(|level| &level.rows).filter(|row| row.verdict.differs());
    with_levels(&rows.collect::<Vec<_>>(), difference)
}

fn with_levels(rows: &[&Row], difference: &Difference) -> Table {
    let mut table = figures(rows, difference);
    table.columns.insert(0, Column::level());
    for (cells, row) in table.rows.iter_mut().zip(rows) {
        cells.insert(0, Cell::Count(row.level as u64));
    }
    table
}

fn figures(rows: &[&Row], difference: &Difference) -> Table {
    let columns = vec![
        Column::text("figure", "figure"),
        Column::text("unit", "unit"),
        Column::number("before", "before", ""),
        Column::number("after", "after", ""),
        Column::number("difference", "difference", ""),
        Column::number("change", "change", "%"),
        Column::text("verdict", "verdict"),
    ];
    Table {
        id: "figures",
        columns,
        rows: rows.iter().map(|row| figure_row(row, difference)).collect(),
        ..Table::default()
    }
}

fn figure_row(row: &Row, difference: &Difference) -> Vec<Cell> {
    let (name, unit, factor) = words(&row.subject);
    let why = row.missing.as_deref().unwrap_or("not measured");
    let scaled = |value: Option<f64>| Cell::figure(value.map(|v| v * factor), why);
    vec![
        Cell::coded(&name_of(&row.subject), name),
        Cell::Text(unit),
        scaled(row.before),
        scaled(row.after),
        scaled(row.difference),
        change(row, why),
        verdict_cell(row.verdict, row.basis, difference.margin),
    ]
}

/// The relative change in percent.
fn change(row: &Row, why: &str) -> Cell {
    let percent = |value: f64| 100.0 * value;
    match (row.ratio, row.before.zip(row.difference)) {
        (Some(ratio), _) => Cell::Difference {
            value: percent(ratio - 1.0),
            interval: row.ratio_interval.map(|(low, high)| (percent(low - 1.0), percent(high - 1.0))),
        },
        (None, Some((before, difference))) if before != 0.0 => Cell::Difference {
            value: percent(difference / before.abs()),
            interval: row
                .difference_interval
                .map(|(low, high)| (percent(low / before.abs()), percent(high / before.abs()))),
        },
        (None, Some(_)) => Cell::Undefined("it was 0 before".into()),
        (None, None) => Cell::Missing(why.to_string()),
    }
}

/// A verdict with its name, and the windows that each side would need besides.
fn verdict_cell(found: Verdict, basis: Option<Basis>, margin: f64) -> Cell {
    let needed = if let Verdict::Undecided { more } = found { more } else { None };
    let number = needed.map(|windows| ("windows_needed", windows as u64));
    Cell::Coded { code: code(&found), text: verdict(found, basis, margin), number }
}

/// A verdict in words.
pub(super) fn verdict(verdict: Verdict, basis: Option<Basis>, margin: f64) -> String {
    let text = match verdict {
        Verdict::Faster => "faster".to_string(),
        Verdict::Slower => "slower".to_string(),
        Verdict::More => "more".to_string(),
        Verdict::Less => "less".to_string(),
        Verdict::Same => format!("same within {} %", 100.0 * margin),
        Verdict::Undecided { more: None } => "undecided".to_string(),
        Verdict::Undecided { more: Some(more) } => {
            format!("undecided: some {} a side", counted(more as u64, "more window"))
        }
    };
    match basis {
        Some(Basis::Slices) => format!("{text} (by slices)"),
        _ => text,
    }
}

/// A figure's name.
pub(super) fn subject_words(subject: &Subject) -> String {
    words(subject).0
}

/// A figure's name for programs; stable.
pub(super) fn name_of(subject: &Subject) -> String {
    match subject {
        Subject::Throughput => "throughput".into(),
        Subject::MeanLatency => "mean_latency".into(),
        Subject::Cpu => "cpu".into(),
        Subject::CpuToGenerator => "cpu_to_generator".into(),
        Subject::LatencyQuantile { percent } => format!("latency_p{percent}"),
        Subject::Runnable => "runnable".into(),
        Subject::Place { of_load: true, place, .. } => format!("place_{}", code(place)),
        Subject::Place { hop, place, .. } => format!("place_{hop}_{}", code(place)),
        Subject::RoundTrips { hop } => format!("round_trips_{hop}"),
        Subject::Demand { resource } => format!("demand_{}", resource.name()),
        Subject::Metric { name, .. } => format!("metric_{name}"),
    }
}

/// A figure's unit as shown, and the factor from the stored unit.
pub(super) fn scale_of(subject: &Subject) -> (String, f64) {
    let (_, unit, factor) = words(subject);
    (unit, factor)
}

/// A figure's name, its unit as shown, and the factor from the stored unit.
fn words(subject: &Subject) -> (String, String, f64) {
    let micros = |name: String, unit: &str| (name, unit.to_string(), 1e-3);
    match subject {
        Subject::Throughput => ("throughput".into(), "q/s".into(), 1.0),
        Subject::MeanLatency => micros("mean latency".into(), "µs"),
        Subject::Cpu => micros("CPU of the server".into(), "µs/query"),
        Subject::CpuToGenerator => ("CPU of the server, for each of the generator's".into(), "µs/µs".into(), 1.0),
        Subject::LatencyQuantile { percent } => micros(format!("latency p{percent}"), "µs"),
        Subject::Runnable => micros("server's threads waiting for a CPU".into(), "µs/query"),
        Subject::Place { hop, of_load, place } => {
            let unit = if *of_load { "µs/query" } else { "µs/round trip" };
            let hop = if *of_load { String::new() } else { format!("{hop}: ") };
            micros(format!("{hop}{}", places::words(*place, *of_load)), unit)
        }
        Subject::RoundTrips { hop } => (format!("{hop}: round trips"), "per query".into(), 1.0),
        Subject::Demand { resource } => micros(resource.to_string(), "µs/query"),
        Subject::Metric { name, unit, per } => (name.clone(), format!("{unit} per {per}"), 1.0),
    }
}

/// Functions of the program with what they call: what was changed is named before the helpers that do its work.
fn owners(table: &FrameTable, difference: &Difference) -> Table {
    let mut shown = frames(table, difference);
    shown.id = "functions";
    shown.title = format!(
        "Functions of the program, with the helpers, libraries and kernel work that they call ({})",
        table.column
    );
    let of_totals = |column: &Column| ["total_before", "total_after"].contains(&column.key.as_str());
    let kept: Vec<bool> = shown.columns.iter().map(|column| !of_totals(column)).collect();
    let keep = |cells: &mut Vec<Cell>| {
        let mut kept = kept.iter();
        cells.retain(|_| *kept.next().unwrap_or(&true));
    };
    shown.rows.iter_mut().for_each(keep);
    shown.columns.retain(|column| !of_totals(column));
    shown.notes.insert(
        0,
        "Each sample counts for the innermost function of the server's own program that is no helper by the preset; \
            what the kernel does \
         to carry messages is one row."
            .into(),
    );
    shown
}

/// Frames by self cost.
fn frames(table: &FrameTable, difference: &Difference) -> Table {
    let scale = Scale::of(&table.unit);
    let columns = vec![
        Column::text("frame", "frame"),
        Column::text("module", "module"),
        Column::number("before", "before", scale.unit),
        Column::number("after", "after", scale.unit),
        Column::number("difference", "difference", scale.unit),
        Column::text("verdict", "verdict"),
        Column::number("total_before", "total before", scale.unit),
        Column::number("total_after", "total after", scale.unit),
        Column::number("samples_before", "samples before", ""),
        Column::number("samples_after", "samples after", ""),
    ];
    let all = [&table.all].into_iter().chain(&table.rows).chain(&table.rest).chain(&table.rare);
    let rows = all.map(|row| frame_row(row, &scale, difference.margin)).collect();
    Table {
        id: "frames",
        title: format!("Frames, self cost ({})", table.column),
        columns,
        rows,
        notes: frame_notes(table, difference),
        ..Table::default()
    }
}

fn frame_row(row: &FrameRow, scale: &Scale, margin: f64) -> Vec<Cell> {
    let number = |value: f64| Cell::Number(value * scale.factor);
    let total = |side: Option<f64>| side.map_or(Cell::Undefined("several frames".into()), number);
    let counted =
        |side: Option<u64>| side.map_or(Cell::Missing("the source does not count samples".into()), Cell::Count);
    vec![
        Cell::Name(row.frame.name.clone()),
        Cell::Text(row.frame.module.clone()),
        number(row.before),
        number(row.after),
        Cell::Difference { value: row.difference * scale.factor, interval: scale.interval(row.interval) },
        row.verdict.map_or(Cell::coded("not_judged", "not judged"), |found| verdict_cell(found, None, margin)),
        total(row.total.map(|total| total.0)),
        total(row.total.map(|total| total.1)),
        counted(row.samples.map(|samples| samples.0)),
        counted(row.samples.map(|samples| samples.1)),
    ]
}

fn frame_notes(table: &FrameTable, difference: &Difference) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(dispersion) = table.dispersion else {
        notes.push("The weights are not counts of samples: no interval can be had, and nothing is judged.".into());
        return notes;
    };
    notes.push(format!(
        "{} judged, {} on all levels; at most {} % of those said to differ are expected not to. An interval misses \
         with probability {:.2e}. Fewer than {RARE} samples on both sides together are too rare.",
        counted(table.judged as u64, "row"),
        table.family,
        100.0 * difference.false_discovery,
        table.cut
    ));
    notes.push(match dispersion.assumed {
        true => format!(
            "One window a side: it is assumed that a frame's samples scatter {ASSUMED_DISPERSION} times as much as \
                luck alone, and the cost of \
             all by {} % from start to start.",
            100.0 * ASSUMED_SCATTER
        ),
        false => format!(
            "Between windows a frame's samples scatter {} times as much as by luck alone, and {} more for each \
                sample a window.",
            significant(dispersion.base),
            significant(dispersion.rise)
        ),
    });
    if table.left_out > 0 {
        notes.push(format!(
            "Not in it: {}, whose profiles are empty or have another column.",
            counted(table.left_out as u64, "window")
        ));
    }
    notes
}
