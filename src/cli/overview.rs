//! The overview of a run: what a sweep prints when it ends, and `wireprof runs RUN` again later.

use super::input;
use crate::analyze::compare::observer::observer_costs;
use crate::analyze::cost::hot::{By, HotOptions, HotTable, hot};
use crate::analyze::cost::precision::precision;
use crate::analyze::cost::processes::processes;
use crate::analyze::cost::quantities::quantities;
use crate::analyze::judge::machine::{load_thread_notes, machine_notes};
use crate::analyze::judge::sampling::{sampling_costs, sampling_notes};
use crate::analyze::judge::summary::summary;
use crate::analyze::judge::transactions::{counted_scale, transactions};
use crate::analyze::time::places::places;
use crate::analyze::time::scraped::scraped;
use crate::check::Status;
use crate::preset::Preset;
use crate::render::{
    Report, Section, checks_report, frames_table, level_tables, manifest_lines, observer_section, places_section,
    precision_notes, precision_table, processes_table, quantities_table, sampling_table, scraped_table,
    transactions_table,
};
use crate::run::Run;
use std::collections::BTreeMap;

/// Frames of each table.
const TOP: usize = 12;
/// Statements of the database.
const STATEMENTS: usize = 2;

/// Levels, checks, the preset's quantities and hot frames of a run; `all_checks`: those that pass have rows too.
pub fn overview(run: &Run, preset: Option<&Preset>, reference: &str, all_checks: bool) -> Report {
    let manifest = &run.manifest;
    let mut tables = level_tables(&summary(run));
    tables.extend(Some(processes(run)).filter(|found| !found.is_empty()).map(|found| processes_table(&found)));
    let scripts = transactions(run);
    tables.extend((!scripts.is_empty()).then(|| transactions_table(&scripts, counted_scale(run))));
    tables.extend(scraped_table(&scraped(run)));
    let mut sections = vec![Section { id: "levels", title: "Levels".into(), tables, ..Section::default() }];
    sections.extend(places_section(&places(run)));
    sections.extend(observing(run));
    sections.extend(checks_report(run, all_checks).sections);
    if let Some(preset) = preset {
        sections.extend(measured(run, preset));
        sections.extend(super::statements::section(run, preset, STATEMENTS));
        sections.extend(hottest(run, preset));
    }
    let companions = run.companions();
    let mut next = vec![
        format!("The run is in {reference} (its id: {})", manifest.id),
        format!(
            "More: `wireprof hot {id}`, `wireprof metrics {id} --match REGEX`, `wireprof report {id}` (a page with \
             flamegraphs), `wireprof flamegraph {id}`",
            id = manifest.id
        ),
        format!(
            "Into the log: `wireprof log new {id} --title '...'`, then `wireprof log attach {id}`",
            id = manifest.id
        ),
    ];
    next.extend(
        companions
            .iter()
            .map(|process| format!("Beside the target: `wireprof hot {} --process {process}`", manifest.id)),
    );
    sections.push(measured_with(run, preset));
    sections.push(Section { id: "where", title: "Where it is".into(), notes: next, ..Section::default() });
    Report { title: format!("Run {} ({})", manifest.id, manifest.ended), runs: vec![manifest.id.clone()], sections }
}

/// How it was measured: the server, the machine, the load, what sampling took, how precisely functions are known.
fn measured_with(run: &Run, preset: Option<&Preset>) -> Section {
    let (known, goal) = (precision(run, preset), run.manifest.precision);
    let notes = [
        manifest_lines(&run.manifest),
        load_thread_notes(run),
        machine_notes(run),
        sampling_notes(run),
        precision_notes(&known, goal),
    ];
    let tables = [sampling_table(&sampling_costs(run)), precision_table(&known, goal)];
    let tables = tables.into_iter().flatten().collect();
    Section { id: "setup", title: "Measured with".into(), notes: notes.concat(), tables, ..Section::default() }
}

/// What observing costs, where that was measured.
pub fn observing(run: &Run) -> Option<Section> {
    run.observer.as_ref().map(|windows| observer_section(windows, &observer_costs(windows)))
}

/// Whether a check of any window failed.
pub fn guards_failed(run: &Run) -> bool {
    checks_failing(run) > 0
}

/// Checks that failed over all windows.
pub fn checks_failing(run: &Run) -> usize {
    run.windows.iter().flat_map(|window| &window.checks).filter(|check| check.status() == Status::Fail).count()
}

/// The preset's quantities per level; of several replicates the first one's, and the table says so.
fn measured(run: &Run, preset: &Preset) -> Option<Section> {
    let levels = run.levels();
    let first: BTreeMap<usize, _> =
        levels.iter().map(|(level, windows)| (*level, quantities(preset, windows[0]))).collect();
    if preset.quantity.is_empty() || run.windows.iter().all(|w| w.metrics.is_none()) {
        return None;
    }
    let mut table = quantities_table(&first);
    if levels.values().any(|windows| windows.len() > 1) {
        table.notes.push("Of the first replicate of each level.".into());
    }
    let title = "From the server's metrics".into();
    Some(Section { id: "metrics", title, tables: vec![table], ..Section::default() })
}

/// Hot frames over everything, and within the preset's first focus.
fn hottest(run: &Run, preset: &Preset) -> Vec<Section> {
    if run.windows.iter().all(|w| w.profile.is_none()) {
        return Vec::new();
    }
    let section = |title: String, table: &HotTable| Section {
        id: "hot",
        title,
        tables: vec![frames_table(table)],
        ..Section::default()
    };
    let options = HotOptions { top: TOP, ..HotOptions::default() };
    let mut sections = vec![section("Hot frames, self".into(), &hot(run, &options))];
    if let Some(focus) = input::foci(preset).into_iter().next() {
        let title = format!("Hot frames within focus {}, libraries and kernel included", focus.name);
        let options = HotOptions {
            focus: Some(focus),
            by: By::Total,
            top: TOP,
            folding: preset.folding(),
            ..HotOptions::default()
        };
        sections.push(section(title, &hot(run, &options)));
    }
    sections
}
