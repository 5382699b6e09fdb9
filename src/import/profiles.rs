//! Profiles that other tools took (perf.data, the text of perf script, folded stacks, pprof) become a run of profiles
//! alone. Invariant: what the files do not tell (queries, seconds, clients, the unit of folded stacks) is the user's
//! word or missing, and a run says which; a damaged file is an error with its name.

use super::foreign::{Recorded, read_file};
use super::{Imported, ImportedWindow, UNRECORDED};
use crate::clock::Span;
use crate::load::LoadTrace;
use crate::preset::Preset;
use crate::profile::ColumnKind;
use crate::run::{Manifest, Missing, Part, SCHEMA, Target, Window, WindowFacts, WindowId, WorkloadSummary};
use crate::target::Host;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// One file, and what the user says of it.
#[derive(Clone, Debug)]
pub struct ProfileFile {
    /// Where the file lies.
    pub path: PathBuf,
    /// Number of clients; `None`: not told.
    pub level: Option<usize>,
    /// What the queries of the profile's time are counted by.
    pub divisor: Told,
}

/// What the user tells of the queries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// Completed while the profile was taken.
    pub queries: Option<u64>,
    /// Completed a second.
    pub rate: Option<f64>,
    /// How long the profile was taken for; `None`: as the file has it.
    pub seconds: Option<f64>,
}

/// How to read the files.
#[derive(Clone, Debug, Default)]
pub struct ProfileOptions {
    /// Id of the run to make.
    pub id: String,
    /// When the first file was written, RFC 3339; empty: not known.
    pub created: String,
    /// Only this process's samples, where the file tells processes.
    pub pid: Option<u32>,
    /// perf looks inlined functions up, which can take it minutes.
    pub inlines: bool,
    /// Unit of the weights of folded stacks; `None`: told by the weights.
    pub weights: Option<FoldedUnit>,
}

/// Unit of the weights of folded stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldedUnit {
    /// Each weight is a number of samples.
    Samples,
    /// Each weight is a time in ns.
    Nanoseconds,
}

/// Reads files into a run: a level's files are its replicates. Where no level is told, 1 stands for it and is named
/// as missing.
///
/// # Errors
/// A file that cannot be read or is damaged; no files.
pub fn import_profiles(files: &[ProfileFile], preset: &Preset, options: &ProfileOptions) -> Result<Imported> {
    let (mut windows, mut notes) = (Vec::new(), Vec::new());
    let mut replicates: BTreeMap<usize, usize> = BTreeMap::new();
    for file in files {
        let name = file.path.display();
        let read = read_file(&file.path, options).with_context(|| format!("profile {name}"))?;
        let level = file.level.unwrap_or(1);
        let replicate = replicates.entry(level).or_default();
        *replicate += 1;
        let id = WindowId { level, replicate: *replicate };
        notes.push(format!("level {level}, replicate {replicate}: imported from {name}"));
        notes.extend(read.notes.iter().map(|note| format!("{name}: {note}")));
        windows.push(ImportedWindow { window: window(id, file, read)?, scrapes: None });
    }
    check_sums(&windows)?;
    windows.sort_by_key(|imported| imported.window.id());
    Ok(Imported { manifest: manifest(&windows, preset, options, notes), windows })
}

/// A level's files are added to one another.
fn check_sums(windows: &[ImportedWindow]) -> Result<()> {
    let mut sums: BTreeMap<(&ColumnKind, &str), i64> = BTreeMap::new();
    for profile in windows.iter().filter_map(|imported| imported.window.profile.as_ref()) {
        for (at, column) in profile.columns.iter().enumerate() {
            let sum = sums.entry((&column.kind, &column.unit)).or_default();
            *sum = sum.checked_add(profile.total(at)).with_context(|| {
                format!(
                    "the sum of {} of all files is beyond the range of pprof (64 bits): import them one by one",
                    column.kind
                )
            })?;
        }
    }
    Ok(())
}

fn window(id: WindowId, file: &ProfileFile, read: Recorded) -> Result<Window> {
    let told = &file.divisor;
    let seconds = told.seconds.or(read.seconds);
    let span = Span::new(0, (seconds.unwrap_or(0.0) * 1e9).round() as u64);
    let queries = match (told.queries, told.rate) {
        (Some(queries), _) => Some(queries),
        (None, Some(_)) if seconds.is_none() => bail!(
            "{} does not tell how long it was taken for: give --seconds beside --qps, or --queries",
            file.path.display()
        ),
        (None, rate) => rate.map(|rate| (rate * span.seconds()).round() as u64),
    };
    let mut missing = missing(file, &read, seconds, queries);
    missing.sort_by(|a, b| a.what.as_str().cmp(b.what.as_str()));
    let mut load = LoadTrace::not_driven("somebody else's load (imported)", span, id.level);
    load.completed = queries.unwrap_or(0);
    load.counted_by = match (told.queries, told.rate) {
        (Some(_), _) => "queries as given at the import".into(),
        (None, Some(_)) => "queries a second as given at the import, times seconds".into(),
        (None, None) => "none: queries were not given at the import".into(),
    };
    let facts = WindowFacts {
        clocks: None,
        id,
        span,
        skew: None,
        scrapes: None,
        scraping: None,
        wall: String::new(),
        target_started: None,
        missing,
    };
    Ok(Window {
        facts,
        load,
        sampling: Some(read.report),
        profile: Some(read.profile),
        off_cpu: None,
        metrics: None,
        statements: None,
        scheduler: None,
        wire: None,
        checks: Vec::new(),
        hands: None,
        companions: Vec::new(),
        account: None,
    })
}

fn missing(file: &ProfileFile, read: &Recorded, seconds: Option<f64>, queries: Option<u64>) -> Vec<Missing> {
    let lacking = |what: Part, why: &str, remedy: &str| Missing { what, why: why.into(), remedy: remedy.into() };
    let again = "import it again with what is known, or measure with `wireprof record`";
    let mut missing: Vec<Missing> = [
        Part::Latency,
        Part::RowCounts,
        Part::Sessions,
        Part::Errors,
        Part::Metrics,
        Part::Statements,
        Part::Scheduler,
        Part::Times,
    ]
    .map(|part| lacking(part, "a profile alone was imported", "measure with `wireprof record` or `wireprof sweep`"))
    .to_vec();
    missing.push(lacking(Part::LostSamples, "the file was read without its losses", "measure with `wireprof record`"));
    if queries.is_none() {
        missing.push(lacking(
            Part::Queries,
            "nobody told how many there were: shares are shown, not costs per query",
            "give --queries, or --qps",
        ));
    }
    if seconds.is_none() {
        missing.push(lacking(Part::ProfileSeconds, "the file does not tell them", again));
    }
    if file.level.is_none() {
        missing.push(lacking(Part::Clients, "nobody told it: level 1 stands for it", "give --level N=FILE"));
    }
    if read.profile.column(&ColumnKind::Samples).is_none() {
        missing.push(lacking(Part::SampleCounts, "the file has weights alone", "record with a fixed period"));
    }
    missing
}

fn manifest(windows: &[ImportedWindow], preset: &Preset, options: &ProfileOptions, notes: Vec<String>) -> Manifest {
    let order: Vec<WindowId> = windows.iter().map(|imported| imported.window.id()).collect();
    let levels: BTreeSet<usize> = order.iter().map(|id| id.level).collect();
    let seconds: f64 = windows.iter().map(|imported| imported.window.facts.span.seconds()).sum();
    let unrecorded = || UNRECORDED.to_string();
    Manifest {
        load_host: None,
        load_hosts: Vec::new(),
        schema: SCHEMA,
        id: options.id.clone(),
        name: None,
        created: options.created.clone(),
        tool: format!("wireprof {} (import)", env!("CARGO_PKG_VERSION")),
        arguments: Vec::new(),
        preset: preset.name.clone(),
        target: Target { url: UNRECORDED.into(), pid: options.pid, ..Target::default() },
        host: Host { name: unrecorded(), kernel: unrecorded(), cpu: unrecorded(), ..Host::default() },
        workload: WorkloadSummary {
            protocol: "as recorded".into(),
            driver: "somebody else's load".into(),
            ..WorkloadSummary::default()
        },
        levels: levels.into_iter().collect(),
        replicates: order.iter().map(|id| id.replicate).max().unwrap_or(1),
        seed: 0,
        order,
        window_seconds: seconds / windows.len().max(1) as f64,
        warmup_seconds: 0.0,
        changes: Vec::new(),
        notes,
        ended: "complete".into(),
        restarted: false,
        precision: None,
        side: None,
    }
}
