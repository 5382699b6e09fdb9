//! Recordings made by hand (metrics dumps, folded stacks, dbbench output) become a run. Invariant: a part that is not
//! there is named as missing in its window; one that is there and damaged is an error; nothing is made up in between.
//!
//! The layout is a directory `cN/` per level with any of `dbbench.txt` (needed), `metrics-before.prom`,
//! `metrics-after.prom`, `folded.txt`, `pgss-before.csv`, `pgss-after.csv`, `schedstat-before.txt`,
//! `schedstat-after.txt`, `stat-*.txt`, `cpu-*.txt`, `OTHER-before.txt` with `OTHER-after.txt` for other processes,
//! `bench.ini`, `timeline.txt`; each may be gzipped (`.gz`). Profiles by themselves: `profiles`.

mod folded;
mod foreign;
mod kind;
mod lines;
mod packed;
mod perf;
mod perf_event;
mod perf_frame;
mod perf_header;
mod perf_layout;
mod perf_script;
mod perf_stacks;
mod profiles;
mod pruned;
mod pyroscope;
mod scheduler;
mod timeline;
mod window;

pub use folded::{Folded, Threads, read_folded};
pub use foreign::read_server_profile;
pub use profiles::{FoldedUnit, ProfileFile, ProfileOptions, Told, import_profiles};
pub use pyroscope::{PyroscopeQuery, fetch_pyroscope};

use crate::metrics::Scrape;
use crate::preset::Preset;
use crate::run::{Manifest, Run, SCHEMA, Target, Window, WindowId, WorkloadSummary};
use crate::target::Host;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// There is nothing of a recording in the directory: a mistake of the caller's.
#[derive(Debug, thiserror::Error)]
#[error("{} holds no directory cN (c1, c16, ...), one per level; give the directory above them", directory.display())]
pub struct NoLevels {
    directory: PathBuf,
}

/// In place of a name that a recording does not hold.
const UNRECORDED: &str = "(not recorded)";

/// What the recording does not tell by itself.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The run's id; the directory's name where `None`.
    pub id: Option<String>,
    /// Seconds that the stacks were recorded for. Where `None`, the time from `perf start` to `perf end` of the
    /// timeline, which includes perf's own start and end and so understates the cost per query; that is noted.
    pub profile_seconds: Option<f64>,
}

/// A window, and the expositions it was made from, which are stored next to it.
pub struct ImportedWindow {
    /// The window, made of one level's files.
    pub window: Window,
    /// The expositions at the window's start and end; `None` where the recording holds none.
    pub scrapes: Option<(Scrape, Scrape)>,
}

/// A run made of recordings.
pub struct Imported {
    /// What the run was made of, and how.
    pub manifest: Manifest,
    /// By level, ascending.
    pub windows: Vec<ImportedWindow>,
}

impl Imported {
    /// The run alone, ready for analysis.
    pub fn into_run(self) -> Run {
        Run {
            manifest: self.manifest,
            windows: self.windows.into_iter().map(|w| w.window).collect(),
            observer: None,
            damaged: Vec::new(),
        }
    }
}

/// Reads a directory of recordings. Checks are left empty: they are analysis.
///
/// # Errors
/// [`NoLevels`] where there is nothing to import; a part of a recording that is damaged, with its file.
pub fn import(directory: &Path, preset: &Preset, options: &ImportOptions) -> Result<Imported> {
    let levels = levels(directory)?;
    let mut notes = vec![format!("imported from recordings made by hand in {}", directory.display())];
    let mut windows = Vec::new();
    let mut target = Target { url: UNRECORDED.into(), ..Target::default() };
    let mut statement = None;
    for (level, path) in &levels {
        let recorded = window::read(path, *level, options).with_context(|| format!("recording {}", path.display()))?;
        // The first level's reading before the load is what the later ones are compared with.
        target.started = target.started.or(recorded.started);
        target.pid = target.pid.or(recorded.pid);
        target.executable = target.executable.or(recorded.process);
        statement = statement.or(recorded.statement);
        notes.extend(recorded.notes);
        if let Some(metrics) = &recorded.window.metrics {
            let absent = preset.absent(metrics);
            notes.extend(absent.iter().map(|selector| format!("level {level}: the server exports no {selector}")));
            if metrics.garbled > 0 {
                let lines = if metrics.garbled == 1 { "line" } else { "lines" };
                notes.push(format!("level {level}: {} {lines} of the metrics could not be read", metrics.garbled));
            }
        }
        windows.push(ImportedWindow { window: recorded.window, scrapes: recorded.scrapes });
    }
    let mut order: Vec<WindowId> = windows.iter().map(|w| w.window.id()).collect();
    order.sort_by_key(|id| windows.iter().find(|w| w.window.id() == *id).map(|w| w.window.facts.span.start));
    let seconds: f64 = windows.iter().map(|w| w.window.facts.span.seconds()).sum();
    let cpus =
        windows.iter().find_map(|w| w.window.scheduler.as_ref()?.machine.as_ref()).map_or(0, |machine| machine.cpus);
    let first = order.first().and_then(|id| windows.iter().find(|w| w.window.id() == *id));
    let name = || directory.file_name().map_or_else(|| "import".to_string(), |n| n.to_string_lossy().into_owned());
    let manifest = Manifest {
        load_host: None,
        load_hosts: Vec::new(),
        schema: SCHEMA,
        id: options.id.clone().unwrap_or_else(name),
        name: None,
        created: first.map(|w| w.window.facts.wall.clone()).unwrap_or_default(),
        tool: format!("wireprof {} (import)", env!("CARGO_PKG_VERSION")),
        arguments: Vec::new(),
        preset: preset.name.clone(),
        target,
        host: Host {
            name: UNRECORDED.into(),
            kernel: UNRECORDED.into(),
            cpu: UNRECORDED.into(),
            cpus,
            ..Host::default()
        },
        workload: WorkloadSummary {
            statements: statement.into_iter().collect(),
            protocol: "as recorded".to_string(),
            source: Some("bench.ini".to_string()),
            driver: "dbbench".to_string(),
        },
        levels: levels.iter().map(|(level, _)| *level).collect(),
        replicates: 1,
        seed: 0,
        order,
        window_seconds: seconds / windows.len() as f64,
        warmup_seconds: 0.0,
        changes: Vec::new(),
        notes,
        ended: "complete".to_string(),
        restarted: false,
        precision: None,
        side: None,
    };
    Ok(Imported { manifest, windows })
}

/// The `cN/` directories, by N.
fn levels(directory: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let mut levels = Vec::new();
    let entries = std::fs::read_dir(directory);
    for entry in entries.with_context(|| format!("cannot read the directory {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if let Some(level) = name.strip_prefix('c').and_then(|n| n.parse().ok()).filter(|_| path.is_dir()) {
            levels.push((level, path));
        }
    }
    if levels.is_empty() {
        return Err(NoLevels { directory: directory.to_path_buf() }.into());
    }
    levels.sort();
    Ok(levels)
}
