//! From what was captured to a window of the run: symbols, metric differences, checks. Invariant: samples are cut to
//! the same window as the completions they are divided by.

use super::companions::{accounts, split};
use super::hands::hands;
use super::{Captured, QueryCounter, Sources};
use crate::analyze::judge::checks::check_window;
use crate::analyze::statistics::interval::BATCHES;
use crate::clock::Span;
use crate::load::LoadTrace;
use crate::metrics::{MetricsDelta, Scrape};
use crate::preset::Preset;
use crate::profile::{Column, ColumnKind, Profile, on_cpu_columns};
use crate::run::{Companion, Expositions, Manifest, Missing, OffCpu, Part, Window, WindowFacts};
use crate::sample::{Incomplete, RawSamples, Sampled, SamplingReport};
use crate::symbol::{Symbolizer, off_cpu_profile, to_profile};
use crate::target::{Role, SchedulerDelta};
use anyhow::{Result, anyhow};
use std::collections::BTreeMap;

/// The texts of a window's metrics.
pub struct Kept {
    before: Scrape,
    after: Scrape,
    series: Option<String>,
    /// Around the seconds in which carriers were followed.
    followed: Option<(Scrape, Scrape)>,
}

impl Kept {
    pub fn borrow(&self) -> Expositions<'_> {
        let followed = self.followed.as_ref().map(|(before, after)| [before, after]);
        Expositions { before: &self.before, after: &self.after, series: self.series.as_deref(), followed }
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
    let followed = captured.hands.as_ref().and_then(|hands| hands.scrapes.clone());
    let Captured { id, span, load, scrapes, scraping, series, wire, statements, freshness, target_started, .. } =
        captured;
    let (mut scheduler, mut missing) = (captured.scheduler, captured.missing);
    let stacks = captured.samples.map(|(raw, report)| {
        let ends: Vec<u64> = load.batches(BATCHES).into_iter().map(|(end, _)| end).collect();
        let mut accounts = accounts(&raw, &sources.processes.companions, (span, &ends), scheduler.as_ref());
        let (target, companions) = split(raw, &sources.processes.companions);
        scheduler = scheduler.take().map(|scheduler| with_switches(scheduler, &target, span, &ends));
        let mut stacks = sampled(target, companions, report, span, scheduler.as_ref(), symbolizer);
        stacks.companions.iter_mut().for_each(|own| own.account = accounts.remove(&own.process));
        stacks
    });
    let Stacks { profile, sampling, mut companions, waits } = stacks.unwrap_or_default();
    companions.extend(captured.beside);
    let off_cpu = waits.and_then(|waits| waits.map_err(|lacking| missing.push(lacking)).ok());
    let metrics = scrapes.as_ref().map(|(before, after)| MetricsDelta::between(before, after));
    missing.extend(metrics.as_ref().and_then(|metrics| absent_metrics(preset, metrics)));
    missing.extend(sources.absent.iter().cloned());
    let facts = WindowFacts {
        clocks: None,
        id,
        span,
        skew,
        scrapes: scrapes.as_ref().map(|(before, after)| [before.span, after.span]),
        scraping,
        wall: wall_clock(span.start),
        missing,
        target_started,
    };
    let window = Window {
        facts,
        load,
        sampling,
        profile,
        off_cpu,
        hands: captured.hands.map(|captured| hands(captured, symbolizer)),
        companions,
        account: None,
        metrics,
        statements,
        scheduler,
        wire,
        checks: Vec::new(),
    };
    let mut window = match &sources.counter {
        Some(counter) => counted(window, counter)?,
        None => window,
    };
    window.checks = check_window(preset, manifest, &window);
    window.checks.extend(freshness);
    Ok((window, scrapes.map(|(before, after)| Kept { before, after, series, followed })))
}

/// Completed queries as the server counted them. A counter that did not move leaves the window without a count: whether
/// there was no query or the counter is the wrong one cannot be told.
fn counted(mut window: Window, counter: &QueryCounter) -> Result<Window> {
    let count = counter.count(&window).map_err(|why| anyhow!("queries cannot be counted by {counter}: {why}"))?;
    let completed = count.round().max(0.0) as u64;
    if completed == 0 {
        window.facts.missing.push(Missing {
            what: Part::Queries,
            why: format!("the server's counter of queries did not move: {counter}"),
            remedy: "see that the load runs, and that --divisor counts its queries".into(),
        });
    }
    let load = LoadTrace { completed, counted_by: counter.to_string(), ..window.load };
    Ok(Window { load, ..window })
}

/// Which of the metrics that the preset wants the server lacks, by name; `None`: it has all.
fn absent_metrics(preset: &Preset, metrics: &MetricsDelta) -> Option<Missing> {
    let absent: Vec<String> = preset.absent(metrics).into_iter().map(ToString::to_string).collect();
    (!absent.is_empty()).then(|| Missing {
        what: Part::Metrics,
        why: format!("the server does not have {}", absent.join(", ")),
        remedy: "what needs them reads \"not measured\"; see whether this revision has them under other names".into(),
    })
}

/// What a recording tells of a window.
#[derive(Default)]
struct Stacks {
    profile: Option<Profile>,
    sampling: Option<SamplingReport>,
    companions: Vec<Companion>,
    /// Why not, where waits were asked for and not followed; `None`: nobody asked.
    waits: Option<Result<OffCpu, Missing>>,
}

/// Symbols for the samples of the target and its companions, cut to the window.
fn sampled(
    target: RawSamples,
    companions: Vec<(String, RawSamples)>,
    recorded: SamplingReport,
    span: Span,
    scheduler: Option<&SchedulerDelta>,
    symbolizer: &mut Symbolizer,
) -> Stacks {
    let found: Vec<_> = companions
        .into_iter()
        .map(|(process, raw)| (process, named_profile(&raw, recorded.clone(), span, symbolizer)))
        .collect();
    let waits = waits(&target, symbolizer);
    let (profile, report) = named_profile(&target, recorded, span, symbolizer);
    let hertz = hertz(&profile, scheduler);
    let companions = found.into_iter().map(|(process, (profile, report))| {
        let (profile, sampling) = with_cpu_time(profile, report, hertz);
        Companion { process, sampling, account: None, server: None, host: None, profile: Some(profile) }
    });
    let companions = companions.collect();
    let (profile, report) = with_cpu_time(profile, report, hertz);
    Stacks { profile: Some(profile), sampling: Some(report), companions, waits }
}

/// The companions of a recording that no target is in, cut to a window whose parts end so many ns after its start.
pub fn companions_alone(
    (raw, report): (RawSamples, SamplingReport),
    companions: &[(String, Sampled)],
    (span, ends): (Span, &[u64]),
    scheduler: Option<&SchedulerDelta>,
    symbolizer: &mut Symbolizer,
) -> Vec<Companion> {
    let mut accounts = accounts(&raw, companions, (span, ends), scheduler);
    let (rest, own) = split(raw, companions);
    let mut found = sampled(rest, own, report, span, None, symbolizer).companions;
    found.iter_mut().for_each(|own| own.account = accounts.remove(&own.process));
    found
}

/// ns that a thread can run between two switches and be unknown to them.
const SLICE: u64 = 10_000_000;

/// With what the context switches tell of the target's threads in the scheduler's statistics. A thread that ran in the
/// interval without a switch (a spin on a CPU of its own) has no record, and stays without.
fn with_switches(mut scheduler: SchedulerDelta, raw: &RawSamples, window: Span, ends: &[u64]) -> SchedulerDelta {
    let Some(on_cpu) = raw.on_cpu_within(scheduler.span) else { return scheduler };
    let mut parts = raw.on_cpu_by_part(window, ends);
    for thread in scheduler.threads.iter_mut().filter(|thread| thread.role == Role::Target) {
        thread.switched_by_batch = parts.remove(&thread.tid).unwrap_or_default();
        thread.switched = on_cpu.get(&thread.tid).copied().or((thread.cpu < SLICE).then_some(0));
    }
    scheduler
}

/// A sample's weight is ns of CPU for cpu-clock, cycles otherwise.
fn columns(report: &SamplingReport) -> Vec<Column> {
    let mut columns = on_cpu_columns();
    if report.period.is_none() {
        columns[1] = Column { kind: ColumnKind::Cycles, unit: "cycles".into() };
    }
    columns
}

/// Cycles a ns of CPU: the target's cycles over the time that the kernel accounts to it in the window. `None`: the
/// profile has its own time, or there is no accounting.
fn hertz(profile: &Profile, scheduler: Option<&SchedulerDelta>) -> Option<f64> {
    let cycles = profile.total(profile.column(&ColumnKind::Cycles)?) as f64;
    let nanos = scheduler?.cpu(Role::Target)? as f64;
    (cycles > 0.0 && nanos > 0.0).then(|| cycles / nanos)
}

/// Cycles say nothing of time by themselves: a column of ns is added, by the target's cycles a ns, and the report says
/// so.
fn with_cpu_time(mut profile: Profile, report: SamplingReport, hertz: Option<f64>) -> (Profile, SamplingReport) {
    let (Some(cycles), None) = (profile.column(&ColumnKind::Cycles), profile.column(&ColumnKind::Cpu)) else {
        return (profile, report);
    };
    let Some(hertz) = hertz else {
        let why = "no CPU time: cycles cannot be turned into ns without the scheduler's accounting";
        return (profile, report.fell_back(why.into()));
    };
    profile.columns.push(Column { kind: ColumnKind::Cpu, unit: "nanoseconds".into() });
    for sample in &mut profile.samples {
        sample.values.push((sample.values[cycles] as f64 / hertz).round() as i64);
    }
    let why = format!("CPU time from cycles at {hertz:.2} GHz, the kernel's accounting of the same window");
    (profile, report.fell_back(why))
}

/// The samples inside the window as a profile, and the recording's report cut to it, with how much has names.
fn named_profile(
    raw: &RawSamples,
    recorded: SamplingReport,
    span: Span,
    symbolizer: &mut Symbolizer,
) -> (Profile, SamplingReport) {
    let (profile, symbols) = to_profile(raw, symbolizer, span, columns(&recorded));
    (profile, recorded.within(raw, span).named(symbols.share(), symbols.misses()))
}

/// The window's waits by stack; where they were asked for and not followed, why not.
fn waits(raw: &RawSamples, symbolizer: &mut Symbolizer) -> Option<Result<OffCpu, Missing>> {
    let followed = match raw.off_cpu.as_ref()? {
        Ok(followed) => followed,
        Err(why) => {
            let remedy = "run `wireprof doctor`, or give --no-off-cpu".into();
            return Some(Err(Missing { what: Part::OffCpuStacks, why: why.clone(), remedy }));
        }
    };
    let mut report = followed.report.clone();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for wait in &followed.waits {
        let nanos = wait.blocked + wait.runnable;
        match raw.stacks[wait.stack as usize].incomplete {
            Some(Incomplete::NotSeen | Incomplete::Before) => report.not_followed += nanos,
            Some(reason) => *reasons.entry(format!("{reason} in {}", raw.ended_in(wait.stack))).or_default() += nanos,
            None => {}
        }
    }
    let seen = report.blocked + report.runnable - report.not_followed;
    report.complete = (seen > 0).then(|| 1.0 - reasons.values().sum::<u64>() as f64 / seen as f64);
    report.incomplete = reasons.into_iter().collect();
    let (profile, symbols) = off_cpu_profile(raw, &followed.waits, symbolizer);
    (report.symbolized, report.misses) = (symbols.share(), symbols.misses());
    Some(Ok(OffCpu { report, profile: Some(profile) }))
}

/// Wall clock time, RFC 3339 in UTC, of a reading of the monotonic clock.
pub fn wall_clock(at: crate::clock::Nanos) -> String {
    let ago = std::time::Duration::from_nanos(crate::clock::now().saturating_sub(at));
    humantime::format_rfc3339_seconds(std::time::SystemTime::now() - ago).to_string()
}
