//! Profiles that other tools took (perf.data, the text of perf script, folded stacks, pprof) become a run of profiles alone.
//! Invariant: what the files do not tell (queries, seconds, clients, the unit of folded stacks) is the user's word or missing,
//! and a run says which; a damaged file is an error with its name.

use super::folded::{Threads, read_folded};
use super::{Imported, ImportedWindow, UNRECORDED, perf, perf_script};
use crate::clock::Span;
use crate::load::LoadTrace;
use crate::preset::Preset;
use crate::profile::{Column, Profile, on_cpu_columns};
use crate::run::{
    Host, Manifest, Missing, QUERIES, SCHEMA, Target, Window, WindowFacts, WindowId, WorkloadSummary, pprof,
};
use crate::sample::SamplingReport;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes that a file may have once it is unpacked.
const LARGEST: u64 = 1 << 31;
/// Bytes from which a file's kind is told.
const HEAD: usize = 1 << 13;

/// One file, and what the user says of it.
#[derive(Clone, Debug)]
pub struct ProfileFile {
    pub path: PathBuf,
    /// Number of clients; `None`: not told.
    pub level: Option<usize>,
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
    pub id: String,
    /// When the first file was written, RFC 3339; empty: not known.
    pub created: String,
    /// Only this process's samples, where the file tells processes.
    pub pid: Option<u32>,
    /// perf looks inlined functions up, which can take it minutes.
    pub inlines: bool,
    /// Unit of the weights of folded stacks; `None`: told by the weights.
    pub weights: Option<Weights>,
}

/// Unit of the weights of folded stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    Samples,
    Nanoseconds,
}

/// A file's profile, and what it tells of its sampling.
struct Recorded {
    profile: Profile,
    report: SamplingReport,
    seconds: Option<f64>,
    notes: Vec<String>,
}

/// Reads files into a run: a level's files are its replicates. Where no level is told, 1 stands for it and is named as missing.
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
    windows.sort_by_key(|imported| imported.window.id());
    Ok(Imported { manifest: manifest(&windows, preset, options, notes), windows })
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
    missing.sort_by(|a, b| a.what.cmp(&b.what));
    let mut load = LoadTrace::not_driven("somebody else's load (imported)", span, id.level);
    load.completed = queries.unwrap_or(0);
    load.divisor = match (told.queries, told.rate) {
        (Some(_), _) => "queries as given at the import".into(),
        (None, Some(_)) => "queries a second as given at the import, times seconds".into(),
        (None, None) => "none: queries were not given at the import".into(),
    };
    let facts = WindowFacts { id, span, skew: None, scrapes: None, wall: String::new(), target_started: None, missing };
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
        guards: Vec::new(),
        beside: Vec::new(),
    })
}

fn missing(file: &ProfileFile, read: &Recorded, seconds: Option<f64>, queries: Option<u64>) -> Vec<Missing> {
    let lacking =
        |what: &str, why: &str, remedy: &str| Missing { what: what.into(), why: why.into(), remedy: remedy.into() };
    let again = "import it again with what is known, or measure with `wireprof record`";
    let mut missing: Vec<Missing> =
        ["latency", "row counts", "sessions", "errors", "metrics", "statements", "scheduler", "times"]
            .map(|part| {
                lacking(part, "a profile alone was imported", "measure with `wireprof record` or `wireprof sweep`")
            })
            .to_vec();
    missing.push(lacking("lost samples", "the file was read without its losses", "measure with `wireprof record`"));
    if queries.is_none() {
        missing.push(lacking(
            QUERIES,
            "nobody told how many there were: shares are shown, not costs per query",
            "give --queries, or --qps",
        ));
    }
    if seconds.is_none() {
        missing.push(lacking("the profile's seconds", "the file does not tell them", again));
    }
    if file.level.is_none() {
        missing.push(lacking("the number of clients", "nobody told it: level 1 stands for it", "give --level N=FILE"));
    }
    if read.profile.column("samples").is_none() {
        missing.push(lacking("sample counts", "the file has weights alone", "record with a fixed period"));
    }
    missing
}

fn manifest(windows: &[ImportedWindow], preset: &Preset, options: &ProfileOptions, notes: Vec<String>) -> Manifest {
    let order: Vec<WindowId> = windows.iter().map(|imported| imported.window.id()).collect();
    let levels: BTreeSet<usize> = order.iter().map(|id| id.level).collect();
    let seconds: f64 = windows.iter().map(|imported| imported.window.facts.span.seconds()).sum();
    let unrecorded = || UNRECORDED.to_string();
    Manifest {
        schema: SCHEMA,
        id: options.id.clone(),
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
        side: None,
    }
}

/// Reads one file, whatever it is.
fn read_file(path: &Path, options: &ProfileOptions) -> Result<Recorded> {
    let open = || File::open(path).context("it cannot be opened");
    let mut file = BufReader::with_capacity(HEAD, open()?);
    let head = file.fill_buf().context("it cannot be read")?.to_vec();
    if head.starts_with(b"PERFILE2") || head.starts_with(b"2ELIFREP") {
        return Ok(of_perf(perf::read_recording(path, options.pid, options.inlines)?));
    }
    let zipped = head.starts_with(&[0x1f, 0x8b]);
    let plain: Box<dyn Read> =
        if zipped { Box::new(flate2::bufread::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut plain = BufReader::with_capacity(HEAD, plain.take(LARGEST));
    let head = plain.fill_buf().context("its gzip stream is damaged")?.to_vec();
    match kind(&head) {
        Kind::Empty => bail!("it is empty"),
        Kind::PerfScript => Ok(of_perf(perf_script::read(plain, options.pid)?)),
        Kind::Folded => of_folded(read_folded(plain, Threads::NotNamed, "", 0)?, options.weights),
        Kind::Binary => {
            let mut bytes = Vec::new();
            plain.read_to_end(&mut bytes).context("its gzip stream is damaged")?;
            if bytes.len() as u64 == LARGEST {
                bail!("it has more than {LARGEST} bytes once it is unpacked");
            }
            let found = pprof::decode_foreign(&bytes)
                .context("it is no perf.data, no text, and as a pprof profile it is damaged")?;
            of_pprof(found, options.pid)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Empty,
    PerfScript,
    Folded,
    Binary,
}

/// A protobuf has control characters within its first fields; a text has none.
fn kind(head: &[u8]) -> Kind {
    let control = |byte: &u8| *byte < 0x20 && !matches!(*byte, b'\t' | b'\n' | b'\r');
    if head.iter().any(control) {
        return Kind::Binary;
    }
    let text = String::from_utf8_lossy(head);
    match text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        None => Kind::Empty,
        Some(line) if perf_script::is_head(line) => Kind::PerfScript,
        Some(_) => Kind::Folded,
    }
}

fn of_perf(script: perf_script::Script) -> Recorded {
    let perf_script::Script { profile, event, seconds, others, foreign } = script;
    let mut notes: Vec<String> =
        others.iter().map(|(event, samples)| format!("{samples} samples of the event {event} are left out")).collect();
    notes.push("seconds are from its first sample to its last, unless they were given".into());
    let clock = profile.column("cpu").filter(|_| profile.samples.windows(2).all(|w| w[0].values == w[1].values));
    let period = clock.and_then(|cpu| u64::try_from(profile.samples.first()?.values[cpu]).ok());
    let report = SamplingReport { foreign, ..imported(event, period, &profile) };
    Recorded { report, profile, seconds, notes }
}

fn of_folded(folded: super::Folded, weights: Option<Weights>) -> Result<Recorded> {
    let super::Folded { mut profile, mut period, .. } = folded;
    let unit = weights.unwrap_or(if period.is_some() { Weights::Nanoseconds } else { Weights::Samples });
    let why = match weights {
        Some(_) => "as given",
        None if period.is_some() => {
            "because they have a common period, as of perf's cpu-clock; --weights tells otherwise"
        }
        None => "because they have no common period; --weights tells otherwise",
    };
    let said = match unit {
        Weights::Samples => {
            if let Some(weight) = profile.columns.iter().position(|column| column.kind == "cpu") {
                profile.samples.iter_mut().for_each(|sample| sample.values = vec![sample.values[weight]]);
                profile.columns = on_cpu_columns()[..1].to_vec();
            }
            period = None;
            format!("weights are taken for samples, {why}")
        }
        Weights::Nanoseconds => format!("weights are taken for ns of CPU time, {why}"),
    };
    let event = "folded stacks".to_string();
    let report = imported(event, period, &profile);
    Ok(Recorded { report, profile, seconds: None, notes: vec![said] })
}

fn of_pprof(found: pprof::Foreign, pid: Option<u32>) -> Result<Recorded> {
    let pprof::Foreign { mut profile, seconds, comments } = found;
    let mut notes: Vec<String> =
        comments.into_iter().take(5).map(|comment| format!("its comment: {comment}")).collect();
    in_nanoseconds(&mut profile)?;
    let all = profile.samples.len();
    if let Some(pid) = pid {
        let Profile { labels, samples, .. } = &mut profile;
        samples.retain(|sample| labels[sample.labels.index()].pid == pid);
        if samples.is_empty() {
            bail!("none of its {all} samples has the label pid={pid}; leave --pid out where it is of one process");
        }
    }
    let kinds: Vec<String> = profile.columns.iter().map(|c| format!("{} in {}", c.kind, c.unit)).collect();
    notes.push(format!("values: {}", kinds.join(", ")));
    let foreign = (all - profile.samples.len()) as u64;
    let event = format!("pprof ({})", profile.columns.last().map_or("", |column| column.kind.as_str()));
    let report = SamplingReport { foreign, ..imported(event, None, &profile) };
    Ok(Recorded { report, profile, seconds, notes })
}

/// Times in one unit, so that costs of several producers can be set against each other.
fn in_nanoseconds(profile: &mut Profile) -> Result<()> {
    for (at, column) in profile.columns.iter_mut().enumerate() {
        let factor = match column.unit.as_str() {
            "microseconds" | "us" => 1_000,
            "milliseconds" | "ms" => 1_000_000,
            "seconds" | "s" => 1_000_000_000,
            _ => continue,
        };
        for sample in &mut profile.samples {
            let value = sample.values[at].checked_mul(factor);
            sample.values[at] = value
                .with_context(|| format!("a value of {} {} is beyond 292 years", sample.values[at], column.unit))?;
        }
        *column = Column { kind: column.kind.clone(), unit: "nanoseconds".into() };
    }
    match profile.samples.iter().flat_map(|sample| &sample.values).find(|value| **value < 0) {
        Some(value) => bail!(
            "it has the value {value}: it is the difference of two profiles; import those two, and use `wireprof diff`"
        ),
        None => Ok(()),
    }
}

/// What the profile itself tells of how it was sampled.
fn imported(event: String, period: Option<u64>, profile: &Profile) -> SamplingReport {
    let samples = profile.column("samples").map_or(0, |column| profile.total(column)).max(0) as u64;
    let weight = profile.columns.len() - 1;
    let (mut named, mut total) = (0, 0);
    for sample in &profile.samples {
        let leaf = profile.walk(sample.stack).next().map(|frame| &profile.frames[frame.index()]);
        total += sample.values[weight];
        named += if leaf.is_some_and(|frame| frame.miss.is_none()) { sample.values[weight] } else { 0 };
    }
    let report = SamplingReport {
        kernel_stacks: profile.frames.iter().any(|frame| frame.space == crate::profile::Space::Kernel),
        ..SamplingReport::imported(event, period, samples)
    };
    report.named((total > 0).then(|| named as f64 / total as f64), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_file_is_told_by_its_first_bytes() {
        assert_eq!(kind(b"main;f 5\n"), Kind::Folded);
        assert_eq!(kind(b"# a comment\n\na b 1/2 [000] 1.5:  100 cycles: \n"), Kind::PerfScript);
        assert_eq!(kind(b"\x0a\x04\x08\x01"), Kind::Binary);
        assert_eq!(kind(b"\n"), Kind::Empty);
    }
}
