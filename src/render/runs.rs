//! Stored runs: the list, and what one run was made of.

use super::figure::significant;
use super::model::{Align, Cell, Column, Report, Section, Table};
use crate::analyze::judge::summary::LevelSummary;
use crate::connection::{legible, legible_arguments};
use crate::run::{BuiltFrom, LoadHostFacts, Manifest, Target, Unread};
use crate::target::Host;
use crate::words::counted;
use std::time::Duration;

/// Characters of a revision in the list.
const REVISION: usize = 10;
/// The column that says how a run ended.
const ENDED: usize = 8;

/// A stored run as the list has it.
pub struct StoredRun {
    /// What was measured.
    pub manifest: Manifest,
    /// Since it was created; `None`: that is not known.
    pub age: Option<Duration>,
    /// Figures of its highest level, or why there are none.
    pub highest: Result<LevelSummary, String>,
    /// Its first verdict in short, or why there is none.
    pub verdict: Result<String, String>,
}

/// The newest first, then those that cannot be read; `all`: with what only programs read.
pub fn runs_report(runs: &[StoredRun], unread: &[Unread], all: bool) -> Report {
    let mut columns = vec![
        Column::whole("run", "run"),
        Column::whole("name", "name"),
        Column { align: Align::Right, ..Column::text("age", "age") },
        Column::text("levels", "levels"),
        Column::number("throughput", "throughput", "q/s"),
        Column::number("mean_latency", "mean latency", "µs"),
        Column::text("first_verdict", "first finding"),
        Column::text("revision", "revision"),
        Column::text("ended", "ended"),
    ];
    if all {
        columns.extend([
            Column::text("created", "created"),
            Column::text("preset", "preset"),
            Column::number("replicates", "replicates", ""),
            Column::number("window", "window", "s"),
            Column::text("build_id", "build-id"),
        ]);
    }
    let mut sorted: Vec<&StoredRun> = runs.iter().collect();
    let key = |run: &StoredRun| (run.manifest.created.clone(), run.manifest.id.clone());
    sorted.sort_by_key(|run| std::cmp::Reverse(key(run)));
    let width = columns.len();
    let rows = sorted.into_iter().map(|run| row(run, all)).chain(unread.iter().map(|run| unread_row(run, width)));
    let rows = rows.collect();
    let mut notes = vec!["Throughput and mean latency are of the highest level.".to_string()];
    let by_sockets = |level: &LevelSummary| level.mean_latency.is_none() && level.sockets_latency.is_some();
    let told: Vec<&str> = runs
        .iter()
        .filter(|run| run.highest.as_ref().is_ok_and(by_sockets))
        .map(|run| run.manifest.id.as_str())
        .collect();
    if !told.is_empty() {
        notes.push(format!("Mean latency by the sockets, since the load does not tell it: {}.", told.join(", ")));
    }
    let table = Table { id: "runs", columns, rows, notes, ..Table::default() };
    let runs = runs.iter().map(|run| run.manifest.id.clone()).collect();
    Report {
        title: "Stored runs".into(),
        runs,
        sections: vec![Section { id: "runs", tables: vec![table], ..Section::default() }],
    }
}

/// The name, and why there is nothing else.
fn unread_row(run: &Unread, width: usize) -> Vec<Cell> {
    let mut cells = vec![Cell::Empty; width];
    cells[0] = Cell::Text(run.name.clone());
    cells[ENDED] = Cell::Text(format!("damaged: {}", run.why));
    cells
}

fn row(run: &StoredRun, all: bool) -> Vec<Cell> {
    let StoredRun { manifest, age, highest, verdict } = run;
    let figure = |of: fn(&LevelSummary) -> Option<f64>, why: &str| match highest {
        Ok(level) => Cell::figure(of(level), why),
        Err(why) => Cell::Missing(why.clone()),
    };
    let mut cells = vec![
        Cell::Text(manifest.id.clone()),
        manifest.name.clone().map_or(Cell::Empty, Cell::Text),
        age.map_or_else(|| Cell::Missing("when it was recorded is not known".into()), |age| Cell::Text(short(age))),
        Cell::Text(joined(&manifest.levels)),
        figure(|level| level.throughput, "queries were not counted"),
        figure(
            |level| level.mean_latency.or(level.sockets_latency).map(|nanos| nanos / 1e3),
            "neither the load nor the sockets tell it",
        ),
        verdict.clone().map_or_else(Cell::Missing, Cell::Text),
        revision(&manifest.target),
        Cell::Text(manifest.ended.clone()),
    ];
    if all {
        let build = manifest.target.build_id.as_ref().map(|b| b.chars().take(12).collect());
        cells.extend([
            Cell::Text(manifest.created.clone()),
            Cell::Text(manifest.preset.clone()),
            Cell::Count(manifest.replicates as u64),
            Cell::Number(manifest.window_seconds),
            build.map_or(Cell::Missing("the binary has no build-id or was not found".into()), Cell::Text),
        ]);
    }
    cells
}

/// In the largest unit that is whole.
fn short(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Change or commit in short, with `+` where the working copy had changes of its own.
fn revision(target: &Target) -> Cell {
    match &target.source {
        BuiltFrom::NotNamed => {
            Cell::Missing("--source DIR names the working copy that the server was built from".into())
        }
        BuiltFrom::Missing(missing) => Cell::Missing(missing.why.clone()),
        BuiltFrom::WorkingCopy(copy) => {
            let revision = copy.change.as_ref().unwrap_or(&copy.commit);
            let changed = if copy.changed && copy.change.is_none() { "+" } else { "" };
            Cell::Text(format!("{}{changed}", revision.chars().take(REVISION).collect::<String>()))
        }
    }
}

fn joined(levels: &[usize]) -> String {
    levels.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Where the load came from, if from another host.
fn load_host(manifest: &Manifest) -> String {
    let on = |host: &Host| format!(" from another host ({}, {} x {})", host.name, host.cpus, host.cpu);
    let one = manifest.load_host.as_ref().map_or(String::new(), on);
    let each = |of: &LoadHostFacts| format!("{}: {}, {} x {}", of.address, of.host.name, of.host.cpus, of.host.cpu);
    let each: Vec<String> = manifest.load_hosts.iter().map(each).collect();
    match each.is_empty() {
        true => one,
        false => format!(" from {} ({})", counted(each.len() as u64, "load host"), each.join("; ")),
    }
}

/// What was measured, with what, on what: `name: value` lines.
pub fn manifest_lines(manifest: &Manifest) -> Vec<String> {
    let unknown = || "not known".to_string();
    let (target, host) = (&manifest.target, &manifest.host);
    let named = manifest.name.as_ref().map_or(String::new(), |name| format!(", called {name}"));
    let deleted = if target.deleted { " (replaced on disk since)" } else { "" };
    let mut lines = vec![
        format!("run: {}{named} ({}), {}", manifest.id, manifest.created, manifest.ended),
        format!(
            "target: {}, preset {}, pid {}, {}{deleted}, started {}",
            target.url,
            manifest.preset,
            target.pid.map_or_else(unknown, |p| p.to_string()),
            target.executable.clone().unwrap_or_else(unknown),
            target.started.clone().unwrap_or_else(unknown),
        ),
        format!(
            "binary: build-id {}, version {}",
            target.build_id.clone().unwrap_or_else(unknown),
            target.version.clone().unwrap_or_else(unknown)
        ),
        built_from(target),
        format!("arguments: {}", legible_arguments(&target.argv)),
        format!(
            "host: {}, Linux {}, {} x {}, {}, {}",
            host.name,
            host.kernel,
            host.cpus,
            host.cpu,
            if host.pmu { "with PMU" } else { "without PMU" },
            host.governor.as_ref().map_or("the CPUs' governor is not known".into(), |g| format!("governor {g}"))
        ),
        format!(
            "load: {}{}, {} protocol, `{}`",
            manifest.workload.driver,
            load_host(manifest),
            manifest.workload.protocol,
            manifest.workload.statements.iter().map(|sql| legible(sql)).collect::<Vec<_>>().join("`; `")
        ),
        format!(
            "windows: levels {}, {} each{}, {} s after {} s of warm-up, seed {}",
            joined(&manifest.levels),
            manifest.replicates,
            manifest.precision.map_or(String::new(), |goal| format!(
                ", then up to {} for ±{} % ({} planned in all)",
                goal.windows,
                (1e3 * goal.half_width).round() / 10.0,
                manifest.order.len()
            )),
            significant(manifest.window_seconds),
            significant(manifest.warmup_seconds),
            manifest.seed
        ),
        format!("tool: {} {}", manifest.tool, legible_arguments(&manifest.arguments)),
    ];
    lines.extend(manifest.changes.iter().map(|c| format!("set up: {c}")));
    lines.extend(manifest.notes.iter().map(|n| format!("note: {n}")));
    lines
}

/// `built from: ...`, and whether the binary can have the working copy's last change.
fn built_from(target: &Target) -> String {
    let copy = match &target.source {
        BuiltFrom::NotNamed => return "built from: not said (--source DIR names the working copy)".into(),
        BuiltFrom::Missing(missing) => return format!("built from: not measured: {}; {}", missing.why, missing.remedy),
        BuiltFrom::WorkingCopy(copy) => copy,
    };
    let revision = match &copy.change {
        Some(change) => format!("{} change {change}, commit {}", copy.tool, copy.commit),
        None => format!("{} commit {}", copy.tool, copy.commit),
    };
    let title = if copy.title.is_empty() { "without a description".into() } else { format!("\"{}\"", copy.title) };
    let changed = if copy.changed { "with changes" } else { "without changes" };
    let last = copy.newest.as_ref().map_or("no file".into(), |newest| format!("{}, {}", newest.file, newest.at));
    let age = match target.newer_than_source() {
        Some(true) => format!("the binary is newer than its last change ({last})"),
        Some(false) => format!("THE BINARY IS OLDER than its last change ({last}) and does not have it"),
        None => "which of binary and last change is newer is not known".into(),
    };
    format!("built from: {revision}, {title}, {changed}, in {}; {age}", copy.directory)
}
