//! One file of another tool, read by its kind into a profile and what it tells of its sampling. Invariant: nothing of
//! a file is left out without a note, an option that does not apply to it is told or refused, and a file is read
//! whole or not at all.

use super::folded::{Folded, Threads, read_folded};
use super::kind::{Kind, kind};
use super::packed::unpacked;
use super::profiles::{FoldedUnit, ProfileOptions};
use super::pruned::{Patterns, pruned};
use super::{perf, perf_script};
use crate::profile::{Column, ColumnKind, Profile, Space, merge, on_cpu_columns};
use crate::run::pprof;
use crate::sample::SamplingReport;
use crate::symbol::demangle;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;

/// Bytes that a pprof file may have once it is unpacked: it is read into memory.
const LARGEST: u64 = 1 << 31;
/// Bytes from which a file's kind is told: of the text of perf script they are hundreds of samples.
const HEAD: u64 = 1 << 20;

/// A file's profile, and what it tells of its sampling.
pub(super) struct Recorded {
    pub profile: Profile,
    pub report: SamplingReport,
    pub seconds: Option<f64>,
    pub notes: Vec<String>,
}

/// Reads one file, whatever it is; a pipe too, but for perf's own format.
pub(super) fn read_file(path: &Path, options: &ProfileOptions) -> Result<Recorded> {
    let file = File::open(path).context("it cannot be opened")?;
    let is_file = file.metadata().is_ok_and(|data| data.is_file());
    let unpacked = unpacked(file)?;
    let mut rest = unpacked.reader;
    let mut head = Vec::new();
    rest.by_ref().take(HEAD).read_to_end(&mut head).context("it cannot be read: is it damaged or cut short?")?;
    if head.starts_with("\u{feff}".as_bytes()) {
        head.drain(.."\u{feff}".len());
    }
    let kind = kind(&head);
    let whole = head.chain(rest);
    let mut read = match &kind {
        Kind::Empty => bail!("it is empty"),
        Kind::Other(what) => bail!("{what}"),
        Kind::PerfData if unpacked.packed || !is_file => {
            bail!(
                "it is a perf.data, and perf reads only a regular file: unpack it, or write what comes out of \
                 the pipe to a file"
            )
        }
        Kind::PerfData => of_perf(perf::read_recording(path, options.pid, options.inlines)?),
        Kind::PerfScript => of_perf(perf_script::read(whole, options.pid)?),
        Kind::Folded => of_folded(folded(whole, options.pid)?, options.weights),
        Kind::Pprof => of_pprof(pprof_of(whole)?, options.pid)?,
    };
    read.profile.check()?;
    read.report = completed(read.report, &read.profile);
    read.notes.extend(not_applied(&kind, options));
    Ok(read)
}

/// Options that say nothing of a file of this kind.
fn not_applied(kind: &Kind, options: &ProfileOptions) -> Vec<String> {
    let weights = (options.weights.is_some() && *kind != Kind::Folded)
        .then(|| "--weights does not apply: only folded stacks do not tell what their weights are".to_string());
    let inlines = (!options.inlines && *kind != Kind::PerfData)
        .then(|| "--no-inlines does not apply: functions are looked up in a perf.data alone".to_string());
    weights.into_iter().chain(inlines).collect()
}

fn folded(text: impl BufRead, pid: Option<u32>) -> Result<Folded> {
    if let Some(pid) = pid {
        bail!("folded stacks do not tell processes, so --pid {pid} cannot pick one: leave it out, or give a perf.data");
    }
    read_folded(text, Threads::NotNamed, "", 0)
}

/// A CPU profile in pprof's format that a server took of itself, packed or not: its stacks, how they were sampled, and
/// the seconds that it tells.
///
/// # Errors
/// No such profile; one that is damaged, or of something else than CPU time.
pub fn read_server_profile(bytes: Vec<u8>) -> Result<(Profile, SamplingReport, Option<f64>)> {
    let mut plain = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let unpacked = flate2::read::GzDecoder::new(&bytes[..]).take(LARGEST + 1).read_to_end(&mut plain);
        unpacked.context("its gzip stream is damaged or cut short")?;
        ensure!(plain.len() as u64 <= LARGEST, "it has more than {LARGEST} bytes once it is unpacked");
    } else {
        plain = bytes;
    }
    let read = of_pprof(pprof::decode_foreign(&plain)?, None)?;
    read.profile.check()?;
    let about = read.profile.columns.last().context("it has no values")?;
    let is_cpu = about.kind == ColumnKind::Cpu && about.unit == "nanoseconds";
    ensure!(is_cpu, "it is of {} in {}, not of CPU time", about.kind, about.unit);
    Ok((read.profile.clone(), completed(read.report, &read.profile), read.seconds))
}

fn pprof_of(mut packed: impl BufRead) -> Result<pprof::Foreign> {
    let mut bytes = Vec::new();
    packed
        .by_ref()
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .context("it cannot be read: is it damaged or cut short?")?;
    if bytes.len() as u64 > LARGEST {
        bail!("it has more than {LARGEST} bytes once it is unpacked");
    }
    pprof::decode_foreign(&bytes).context("it is no perf.data, no text, and as a pprof profile it is damaged")
}

fn of_perf(script: perf_script::Script) -> Recorded {
    let perf_script::Script { profile, event, together, seconds, others, foreign } = script;
    let mut notes: Vec<String> =
        others.iter().map(|(event, samples)| format!("{samples} samples of the event {event} are left out")).collect();
    if !together.is_empty() {
        notes.push(format!(
            "{} are taken together: one event of a CPU with several kinds of cores",
            together.join(" and ")
        ));
    }
    if event.is_none() {
        notes.push(format!(
            "samples are counted, whatever event they are of: the field event was not printed; print it with `{}`",
            perf_script::PRINT
        ));
    }
    notes.push("seconds are from its first sample to its last, unless they were given".into());
    let clock =
        profile.column(&ColumnKind::Cpu).filter(|_| profile.samples.windows(2).all(|w| w[0].values == w[1].values));
    let period = clock.and_then(|cpu| u64::try_from(profile.samples.first()?.values[cpu]).ok());
    let report = SamplingReport {
        event: event.unwrap_or_else(|| "not told".into()),
        period,
        frequency: period.map_or(0, |p| 1_000_000_000 / p.max(1)),
        foreign,
        ..SamplingReport::default()
    };
    Recorded { report, profile, seconds, notes }
}

fn of_folded(folded: Folded, weights: Option<FoldedUnit>) -> Recorded {
    let Folded { mut profile, mut period, comments, .. } = folded;
    let unit = weights.unwrap_or(if period.is_some() { FoldedUnit::Nanoseconds } else { FoldedUnit::Samples });
    let why = match weights {
        Some(_) => "as given",
        None if period.is_some() => {
            "because they have a common period, as of perf's cpu-clock; --weights tells otherwise"
        }
        None => "because they have no common period; --weights tells otherwise",
    };
    let said = match unit {
        FoldedUnit::Samples => {
            if let Some(weight) = profile.column(&ColumnKind::Cpu) {
                profile.samples.iter_mut().for_each(|sample| sample.values = vec![sample.values[weight]]);
                profile.columns = on_cpu_columns()[..1].to_vec();
            }
            period = None;
            format!("weights are taken for samples, {why}")
        }
        FoldedUnit::Nanoseconds => format!("weights are taken for ns of CPU time, {why}"),
    };
    let mut notes = vec![said];
    if comments > 0 {
        notes.push(format!("{comments} lines that begin with `# ` are taken for comments"));
    }
    let event = "folded stacks".to_string();
    let frequency = period.map_or(0, |p| 1_000_000_000 / p);
    let report = SamplingReport { event, period, frequency, ..SamplingReport::default() };
    Recorded { report, profile, seconds: None, notes }
}

fn of_pprof(found: pprof::Foreign, pid: Option<u32>) -> Result<Recorded> {
    let pprof::Foreign { mut profile, about, seconds, period, comments, drop_frames, keep_frames } = found;
    let mut notes: Vec<String> =
        comments.into_iter().take(5).map(|comment| format!("its comment: {comment}")).collect();
    if let Some(value) = profile.samples.iter().flat_map(|sample| &sample.values).find(|value| **value < 0) {
        bail!(
            "it has the value {value}: it is the difference of two profiles; import those two, and use `wireprof diff`"
        );
    }
    let period = period.as_ref().and_then(|(column, period)| cpu_period(column, *period));
    match period {
        Some(period) if counts_samples(&profile) => notes.push(with_cpu(&mut profile, period)?),
        _ => notes.push(about_one(&mut profile, about)),
    }
    in_nanoseconds(&mut profile)?;
    let all = profile.samples.len();
    if let Some(pid) = pid {
        let Profile { labels, samples, .. } = &mut profile;
        samples.retain(|sample| labels[sample.labels.index()].pid == pid);
        if samples.is_empty() {
            bail!("none of its {all} samples has the label pid={pid}; leave --pid out where it is of one process");
        }
    }
    let foreign = (all - profile.samples.len()) as u64;
    let event = format!("pprof ({})", profile.columns.last().map_or("", |column| column.kind.as_str()));
    let period = period.filter(|_| profile.column(&ColumnKind::Cpu).is_some());
    let frequency = period.map_or(0, |period| 1_000_000_000 / period.max(1));
    let report = SamplingReport { event, foreign, period, frequency, ..SamplingReport::default() };
    let (profile, note) = pruned(demangled(profile), Patterns { drop: &drop_frames, keep: &keep_frames });
    notes.extend(note);
    Ok(Recorded { report, profile, seconds, notes })
}

/// ns of CPU time between two samples; `None`: their clock is another one.
fn cpu_period(column: &Column, period: i64) -> Option<u64> {
    let factor = nanoseconds(&column.unit).filter(|_| column.kind == ColumnKind::Cpu)?;
    u64::try_from(period.checked_mul(factor)?).ok()
}

/// Its only values are numbers of samples.
fn counts_samples(profile: &Profile) -> bool {
    let [only] = &profile.columns[..] else { return false };
    matches!(only.kind.as_str(), "samples" | "sample") && only.unit == "count"
}

/// Adds the CPU time that samples stand for by their period (`period_type` and `period` of profile.proto), where eBPF
/// profilers have it. Says so.
fn with_cpu(profile: &mut Profile, period: u64) -> Result<String> {
    for sample in &mut profile.samples {
        let (count, nanos) = (sample.values[0], i64::try_from(period).unwrap_or(i64::MAX));
        let cpu = count.checked_mul(nanos);
        sample.values.push(cpu.with_context(|| format!("{count} samples of {period} ns each are beyond 292 years"))?);
    }
    profile.columns = on_cpu_columns();
    Ok(format!("values: samples in count, and as CPU time that number times its period of {period} ns"))
}

/// Keeps the values that a profile is about, and how many samples they are of; says which those are.
fn about_one(profile: &mut Profile, about: usize) -> String {
    let named = |column: &Column| format!("{} in {}", column.kind, column.unit);
    let counted = |column: &Column| column.kind == ColumnKind::Samples && column.unit == "count";
    let samples = profile.columns.iter().position(counted).filter(|at| *at != about);
    // A count of something else is not told from the count of samples by its unit.
    let samples = samples.filter(|_| profile.columns[about].unit != "count");
    let kept: Vec<usize> = samples.into_iter().chain([about]).collect();
    let others = profile.columns.iter().enumerate().filter(|(at, _)| !kept.contains(at));
    let others: Vec<String> = others.map(|(_, column)| named(column)).collect();
    profile.samples.iter_mut().for_each(|sample| sample.values = kept.iter().map(|at| sample.values[*at]).collect());
    profile.columns = kept.iter().map(|at| profile.columns[*at].clone()).collect();
    let values: Vec<String> = profile.columns.iter().map(named).collect();
    let left = if others.is_empty() { String::new() } else { format!("; left out: {}", others.join(", ")) };
    format!("values: {}{left}", values.join(", "))
}

/// Times in one unit, so that costs of several producers can be set against each other.
fn in_nanoseconds(profile: &mut Profile) -> Result<()> {
    for (at, column) in profile.columns.iter_mut().enumerate() {
        let Some(factor) = nanoseconds(&column.unit) else { continue };
        for sample in &mut profile.samples {
            let value = sample.values[at].checked_mul(factor);
            sample.values[at] = value
                .with_context(|| format!("a value of {} {} is beyond 292 years", sample.values[at], column.unit))?;
        }
        *column = Column { kind: column.kind.clone(), unit: "nanoseconds".into() };
    }
    Ok(())
}

/// Nanoseconds of a unit of time; `None`: it is of something else. In upper or lower case, singular or plural, as the
/// `pprof` tool reads units (internal/measurement of google/pprof).
fn nanoseconds(unit: &str) -> Option<i64> {
    let unit = unit.trim().to_lowercase();
    let unit = if unit.chars().count() > 2 { unit.strip_suffix('s').unwrap_or(&unit) } else { &unit };
    Some(match unit {
        "ns" | "nsec" | "nanosec" | "nanosecond" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" | "usec" | "microsec" | "microsecond" => 1_000,
        "ms" | "msec" | "millisec" | "millisecond" => 1_000_000,
        "s" | "sec" | "second" => 1_000_000_000,
        "minute" => 60_000_000_000,
        "hr" | "hour" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Names that their producer left as the linker knows them. Names of other forms (`gopkg.in/x@v1.2.f`) stay as they
/// are.
fn demangled(mut profile: Profile) -> Profile {
    let is_mangled = |name: &str| ["_Z", "__Z", "_R", "__R"].iter().any(|start| name.starts_with(start));
    let mut changed = false;
    for frame in profile.frames.iter_mut().filter(|f| f.space != Space::Marker && is_mangled(&f.name)) {
        frame.name = demangle(&frame.name);
        changed = true;
    }
    // Two symbols can be one function.
    if changed { merge(&[&profile]) } else { profile }
}

/// What the profile itself tells of how it was sampled.
fn completed(report: SamplingReport, profile: &Profile) -> SamplingReport {
    let samples = profile.column(&ColumnKind::Samples).map_or(0, |column| profile.total(column)).max(0) as u64;
    let weight = profile.columns.len() - 1;
    let (mut named, mut total) = (0, 0);
    for sample in &profile.samples {
        let leaf = profile.walk(sample.stack).next().map(|frame| &profile.frames[frame.index()]);
        total += sample.values[weight];
        named += if leaf.is_some_and(|frame| frame.miss.is_none()) { sample.values[weight] } else { 0 };
    }
    SamplingReport {
        unwinder: "as recorded".into(),
        kernel_stacks: profile.frames.iter().any(|frame| frame.space == crate::profile::Space::Kernel),
        samples,
        recorded: samples,
        symbolized: (total > 0).then(|| named as f64 / total as f64),
        ..report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Builder, Labels, marker};

    /// A profile of one stack, 30 samples, whose only column is this one.
    fn counts(kind: &str, unit: &str, period: Option<(&str, &str, i64)>) -> pprof::Foreign {
        let mut builder = Builder::new(vec![Column { kind: kind.into(), unit: unit.into() }]);
        let (main, labels) = (builder.frame(marker("main")), builder.labels(Labels::default()));
        let stack = builder.stack([main]);
        builder.sample(stack, labels, None, vec![30]);
        let period = period.map(|(kind, unit, much)| (Column { kind: kind.into(), unit: unit.into() }, much));
        pprof::Foreign {
            profile: builder.finish(),
            about: 0,
            seconds: None,
            period,
            comments: Vec::new(),
            drop_frames: String::new(),
            keep_frames: String::new(),
        }
    }

    #[test]
    fn samples_with_a_period_of_cpu_time_have_that_time() {
        for (unit, period) in [("nanoseconds", 10_000_000), ("microseconds", 10_000), ("ms", 10)] {
            let read = of_pprof(counts("samples", "count", Some(("cpu", unit, period))), None).unwrap();
            assert_eq!(read.profile.columns, on_cpu_columns(), "{unit}");
            assert_eq!(read.profile.samples[0].values, [30, 300_000_000], "{unit}");
            assert_eq!((read.report.period, read.report.frequency), (Some(10_000_000), 100));
            assert_eq!(read.report.event, "pprof (cpu)");
            let told = "values: samples in count, and as CPU time that number times its period of 10000000 ns";
            assert_eq!(read.notes, [told]);
        }
        assert!(of_pprof(counts("samples", "count", Some(("cpu", "s", i64::MAX / 1_000_000_000))), None).is_err());
    }

    #[test]
    fn counts_of_something_else_or_by_another_clock_have_no_cpu_time() {
        let cpu = Some(("cpu", "nanoseconds", 10));
        for (kind, unit, period) in [
            ("samples", "count", None),
            ("samples", "count", Some(("wall", "nanoseconds", 10))),
            ("samples", "count", Some(("cpu", "count", 10))),
            ("contentions", "count", cpu),
            ("samples", "bytes", cpu),
        ] {
            let read = of_pprof(counts(kind, unit, period), None).unwrap();
            assert_eq!((read.profile.columns.len(), read.report.period), (1, None), "{kind} {unit} {period:?}");
        }
        let mut both = counts("samples", "count", Some(("cpu", "nanoseconds", 10)));
        (both.profile.columns, both.about) = (on_cpu_columns(), 1);
        both.profile.samples[0].values = vec![30, 299];
        let read = of_pprof(both, None).unwrap();
        assert_eq!((&read.profile.samples[0].values[..], read.report.period), (&[30, 299][..], Some(10)));
    }

    #[test]
    fn units_of_time_are_read_in_any_case_number_and_length() {
        for (units, factor) in [
            (&["ns", "NS", "nanosecond", "Nanoseconds"][..], 1),
            (&["us", "\u{b5}s", "\u{3bc}s", "microseconds", "usec"], 1_000),
            (&["ms", "Ms", "MILLISECONDS", "millisecond"], 1_000_000),
            (&["s", "sec", "secs", "second", "Seconds"], 1_000_000_000),
            (&["hr", "hrs", "hour", "HOURS"], 3_600_000_000_000),
        ] {
            for unit in units {
                assert_eq!(nanoseconds(unit), Some(factor), "{unit}");
            }
        }
        for other in ["", "count", "bytes", "b", "gcu", "samples", "n", "cycles", "ss"] {
            assert_eq!(nanoseconds(other), None, "{other}");
        }
    }
}
