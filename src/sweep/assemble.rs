//! From what was captured to a window of the run: symbols, metric differences, guards. Invariant: samples are cut to
//! the same window as the completions they are divided by.

use super::beside::beside;
use super::{Captured, Divisor, Sources};
use crate::analyze::guards::check_window;
use crate::clock::Span;
use crate::load::LoadTrace;
use crate::metrics::{MetricsDelta, Scrape};
use crate::preset::Preset;
use crate::profile::{Column, ColumnKind, Profile, on_cpu_columns};
use crate::run::{Expositions, Manifest, Missing, OffCpu, Part, Window, WindowFacts};
use crate::sample::{Incomplete, RawSamples, SamplingReport};
use crate::symbol::{Symbolizer, off_cpu_profile, to_profile};
use crate::target::{Role, SchedulerDelta};
use anyhow::{Result, anyhow};
use std::collections::BTreeMap;

/// The texts of a window's metrics.
pub struct Kept {
    before: Scrape,
    after: Scrape,
    series: Option<String>,
}

impl Kept {
    pub fn borrow(&self) -> Expositions<'_> {
        Expositions { before: &self.before, after: &self.after, series: self.series.as_deref() }
    }
}

/// Makes the window and keeps the texts to be stored with it.
pub fn assemble(
    captured: Captured,
    preset: &Preset,
    manifest: &Manifest,
    sources: &Sources,
    symbolizer: &mut Symbolizer,
) -> Result<(Window, Option<Kept>)> {
    let skew = captured.skew();
    let Captured {
        id,
        span,
        load,
        samples,
        scrapes,
        series,
        mut scheduler,
        wire,
        statements,
        freshness,
        mut missing,
        target_started,
    } = captured;
    let (mut off_cpu, mut others) = (None, Vec::new());
    let (profile, sampling) = match samples {
        Some((mut raw, report)) => {
            others = beside(&mut raw, &report, span, &sources.beside, symbolizer);
            off_cpu = waits(&raw, symbolizer, &mut missing);
            let mut report = count_stacks(&raw, report, span);
            if let Some(scheduler) = &mut scheduler {
                add_switched(scheduler, &raw);
            }
            let profile = named_profile(&raw, &mut report, span, symbolizer);
            let hertz = hertz(&profile, scheduler.as_ref());
            others.iter_mut().for_each(|own| with_cpu_time(&mut own.profile, hertz, &mut own.sampling));
            let mut profile = Some(profile);
            with_cpu_time(&mut profile, hertz, &mut report);
            (profile, Some(report))
        }
        None => (None, None),
    };
    let metrics = scrapes.as_ref().map(|(before, after)| MetricsDelta::between(before, after));
    let facts = WindowFacts {
        id,
        span,
        skew,
        scrapes: scrapes.as_ref().map(|(before, after)| [before.span, after.span]),
        wall: wall_clock(span.start),
        missing,
        target_started,
    };
    let mut window = Window {
        facts,
        load,
        sampling,
        profile,
        off_cpu,
        beside: others,
        metrics,
        statements,
        scheduler,
        wire,
        guards: Vec::new(),
    };
    if let Some(divisor) = &sources.divisor {
        divide_by(&mut window, divisor)?;
    }
    note_missing_metrics(&mut window, preset);
    window.guards = check_window(preset, manifest, &window);
    window.guards.extend(freshness);
    let kept = scrapes.map(|(before, after)| Kept { before, after, series });
    Ok((window, kept))
}

/// Completed queries as the server counted them. A counter that did not move leaves the window without a count: whether there
/// was no query or the counter is the wrong one cannot be told.
fn divide_by(window: &mut Window, divisor: &Divisor) -> Result<()> {
    let count = divisor.count(window).map_err(|why| anyhow!("queries cannot be counted by {divisor}: {why}"))?;
    let LoadTrace { completed, divisor: name, .. } = &mut window.load;
    (*completed, *name) = (count.round().max(0.0) as u64, divisor.to_string());
    if *completed == 0 {
        window.facts.missing.push(Missing {
            what: Part::Queries,
            why: format!("the server's counter of queries did not move: {divisor}"),
            remedy: "see that the load runs, and that --divisor counts its queries".into(),
        });
    }
    Ok(())
}

/// Which of the metrics that the preset wants the server lacks, by name.
fn note_missing_metrics(window: &mut Window, preset: &Preset) {
    let Some(metrics) = &window.metrics else { return };
    let absent: Vec<String> = preset.absent(metrics).into_iter().map(ToString::to_string).collect();
    if !absent.is_empty() {
        window.facts.missing.push(Missing {
            what: Part::Metrics,
            why: format!("the server does not have {}", absent.join(", ")),
            remedy: "what needs them reads \"not measured\"; see whether this revision has them under other names"
                .into(),
        });
    }
}

/// ns that a thread can run between two switches and be unknown to them.
const SLICE: u64 = 10_000_000;

/// Adds what the context switches tell of the target's threads to the scheduler's statistics. A thread that ran in the
/// interval without a switch (a spin on a CPU of its own) has no record, and stays without.
fn add_switched(scheduler: &mut SchedulerDelta, raw: &RawSamples) {
    let Some(on_cpu) = raw.on_cpu_within(scheduler.span) else { return };
    for thread in scheduler.threads.iter_mut().filter(|thread| thread.role == Role::Target) {
        thread.switched = on_cpu.get(&thread.tid).copied().or((thread.cpu < SLICE).then_some(0));
    }
}

/// A sample's weight is ns of CPU for cpu-clock, cycles otherwise.
fn columns(report: &SamplingReport) -> Vec<Column> {
    let mut columns = on_cpu_columns();
    if report.period.is_none() {
        columns[1] = Column { kind: ColumnKind::Cycles, unit: "cycles".into() };
    }
    columns
}

/// Cycles a ns of CPU: the target's cycles over the time that the kernel accounts to it in the window. `None`: the profile has its
/// own time, or there is no accounting.
fn hertz(profile: &Profile, scheduler: Option<&SchedulerDelta>) -> Option<f64> {
    let cycles = profile.total(profile.column(&ColumnKind::Cycles)?) as f64;
    let nanos = scheduler?.cpu(Role::Target) as f64;
    (cycles > 0.0 && nanos > 0.0).then(|| cycles / nanos)
}

/// Cycles say nothing of time by themselves: a column of ns is added, by the target's cycles a ns, and the report says so.
fn with_cpu_time(profile: &mut Option<Profile>, hertz: Option<f64>, report: &mut SamplingReport) {
    let Some(profile) = profile else { return };
    let (Some(cycles), None) = (profile.column(&ColumnKind::Cycles), profile.column(&ColumnKind::Cpu)) else { return };
    let Some(hertz) = hertz else {
        report.fallbacks.push("no CPU time: cycles cannot be turned into ns without the scheduler's accounting".into());
        return;
    };
    profile.columns.push(Column { kind: ColumnKind::Cpu, unit: "nanoseconds".into() });
    for sample in &mut profile.samples {
        sample.values.push((sample.values[cycles] as f64 / hertz).round() as i64);
    }
    report
        .fallbacks
        .push(format!("CPU time from cycles at {hertz:.2} GHz, the kernel's accounting of the same window"));
}

/// The window's samples as a profile; how much of it has names goes into the report.
pub(super) fn named_profile(
    raw: &RawSamples,
    report: &mut SamplingReport,
    span: Span,
    symbolizer: &mut Symbolizer,
) -> Profile {
    let (profile, symbols) = to_profile(raw, symbolizer, span, columns(report));
    report.symbolized = symbols.share();
    report.misses = symbols.misses();
    profile
}

/// The window's waits by stack; where they were asked for and not followed, why not.
fn waits(raw: &RawSamples, symbolizer: &mut Symbolizer, missing: &mut Vec<Missing>) -> Option<OffCpu> {
    let followed = match raw.off_cpu.as_ref()? {
        Ok(followed) => followed,
        Err(why) => {
            let remedy = "run `wireprof doctor`, or give --no-off-cpu".into();
            missing.push(Missing { what: Part::OffCpuStacks, why: why.clone(), remedy });
            return None;
        }
    };
    let mut report = followed.report.clone();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for wait in &followed.waits {
        let nanos = wait.blocked + wait.runnable;
        match raw.stacks[wait.stack as usize].incomplete {
            Some(Incomplete::NotSeen) => report.unseen += nanos,
            Some(reason) => *reasons.entry(format!("{reason} in {}", ended_in(raw, wait.stack))).or_default() += nanos,
            None => {}
        }
    }
    let seen = report.blocked + report.runnable - report.unseen;
    report.complete = (seen > 0).then(|| 1.0 - reasons.values().sum::<u64>() as f64 / seen as f64);
    report.incomplete = reasons.into_iter().collect();
    let (profile, symbols) = off_cpu_profile(raw, &followed.waits, symbolizer);
    (report.symbolized, report.misses) = (symbols.share(), symbols.misses());
    Some(OffCpu { report, profile: Some(profile) })
}

/// Counts the samples inside the window and how many of their stacks are complete.
pub(super) fn count_stacks(raw: &RawSamples, mut report: SamplingReport, span: Span) -> SamplingReport {
    let mut reasons: BTreeMap<(Incomplete, String), u64> = BTreeMap::new();
    let (mut samples, mut complete, mut late) = (0, 0, 0);
    for sample in raw.samples.iter().filter(|sample| span.contains(sample.at)) {
        samples += 1;
        late += u64::from(sample.late);
        match raw.stacks[sample.stack as usize].incomplete {
            None => complete += 1,
            Some(reason) => *reasons.entry((reason, ended_in(raw, sample.stack))).or_default() += 1,
        }
    }
    report.samples = samples;
    report.late = late;
    report.complete = Some(complete);
    let said = |((reason, module), count): ((Incomplete, String), u64)| (format!("{reason} in {module}"), count);
    report.incomplete = reasons.into_iter().map(said).collect();
    report
}

/// The module in which the walk of a stack ended, by its file's name.
fn ended_in(raw: &RawSamples, stack: u32) -> String {
    let last = raw.stacks[stack as usize].addresses.last();
    let module = last.and_then(|address| raw.modules.get(address.module?.0 as usize));
    let name = module.map(|module| module.path.file_name().unwrap_or(module.path.as_os_str()));
    name.map_or_else(|| "no mapping".into(), |name| name.to_string_lossy().into_owned())
}

/// Wall clock time, RFC 3339 in UTC, of a reading of the monotonic clock.
pub fn wall_clock(at: crate::clock::Nanos) -> String {
    let ago = std::time::Duration::from_nanos(crate::clock::now().saturating_sub(at));
    humantime::format_rfc3339_seconds(std::time::SystemTime::now() - ago).to_string()
}
