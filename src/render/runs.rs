//! Stored runs: the list, and what one run was made of.

use super::figure::significant;
use super::model::{Cell, Column, Report, Section, Table};
use crate::connection::{legible, legible_arguments};
use crate::run::{BuiltFrom, Manifest, Target};

/// The newest first.
pub fn runs_report(manifests: &[Manifest]) -> Report {
    let columns = vec![
        Column::text("run", "run"),
        Column::text("created", "created"),
        Column::text("preset", "preset"),
        Column::text("levels", "levels"),
        Column::number("replicates", "replicates", ""),
        Column::number("window", "window", "s"),
        Column::text("build_id", "build-id"),
        Column::text("ended", "ended"),
    ];
    let mut sorted: Vec<&Manifest> = manifests.iter().collect();
    sorted.sort_by(|a, b| (&b.created, &b.id).cmp(&(&a.created, &a.id)));
    let table = Table { columns, rows: sorted.into_iter().map(row).collect(), ..Table::default() };
    Report { title: "Stored runs".into(), sections: vec![Section { tables: vec![table], ..Section::default() }] }
}

fn row(manifest: &Manifest) -> Vec<Cell> {
    let build = manifest.target.build_id.as_ref().map(|b| b.chars().take(12).collect());
    vec![
        Cell::Text(manifest.id.clone()),
        Cell::Text(manifest.created.clone()),
        Cell::Text(manifest.preset.clone()),
        Cell::Text(joined(&manifest.levels)),
        Cell::Count(manifest.replicates as u64),
        Cell::Number(manifest.window_seconds),
        build.map_or(Cell::Missing("the binary has no build-id or was not found".into()), Cell::Text),
        Cell::Text(manifest.ended.clone()),
    ]
}

fn joined(levels: &[usize]) -> String {
    levels.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// What was measured, with what, on what: `name: value` lines.
pub fn manifest_lines(manifest: &Manifest) -> Vec<String> {
    let unknown = || "not known".to_string();
    let (target, host) = (&manifest.target, &manifest.host);
    let deleted = if target.deleted { " (replaced on disk since)" } else { "" };
    let mut lines = vec![
        format!("run: {} ({}), {}", manifest.id, manifest.created, manifest.ended),
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
            "load: {}, {} protocol, `{}`",
            manifest.workload.driver,
            manifest.workload.protocol,
            manifest.workload.statements.iter().map(|sql| legible(sql)).collect::<Vec<_>>().join("`; `")
        ),
        format!(
            "windows: levels {}, {} each, {} s after {} s of warm-up, seed {}",
            joined(&manifest.levels),
            manifest.replicates,
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
