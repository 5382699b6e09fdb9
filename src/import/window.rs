//! One level's directory of recordings into one window. Times are ns since the Unix epoch, from `timeline.txt`.

use super::packed::unpacked;
use super::timeline::{Timeline, rfc3339};
use super::{ImportOptions, folded, scheduler};
use crate::clock::Span;
use crate::load::{DbbenchJob, ErrorCount, Generator, JobCount, LoadTrace, Sessions, empty_histogram, parse_output};
use crate::metrics::{MetricsDelta, Scrape};
use crate::profile::Profile;
use crate::run::{Missing, Part, Window, WindowFacts, WindowId};
use crate::sample::SamplingReport;
use crate::statements::{StatementsDelta, read_csv};
use crate::target::SchedulerDelta;
use anyhow::{Context, Error, Result, bail};
use std::fs::File;
use std::io::BufRead;
use std::path::Path;

/// A window, and what it tells of the whole run.
pub(super) struct Recorded {
    pub window: Window,
    pub scrapes: Option<(Scrape, Scrape)>,
    pub pid: Option<u32>,
    /// The process' name and start time before the load.
    pub process: Option<String>,
    pub started: Option<String>,
    pub statement: Option<String>,
    pub notes: Vec<String>,
}

/// Opens a part, plain or gzipped; `None` where there is neither.
fn open(directory: &Path, name: &str) -> Result<Option<Box<dyn BufRead>>> {
    for path in [directory.join(name), directory.join(format!("{name}.gz"))] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e).with_context(|| format!("cannot open {}", path.display())),
        };
        let part = unpacked(file).with_context(|| format!("cannot read {}", path.display()))?;
        if !part.packed && path.extension().is_some_and(|ending| ending == "gz") {
            bail!("cannot read {name}: {} is not a gzip file", path.display());
        }
        return Ok(Some(part.reader));
    }
    Ok(None)
}

fn text(directory: &Path, name: &str) -> Result<Option<String>> {
    let Some(mut reader) = open(directory, name)? else { return Ok(None) };
    let mut text = String::new();
    reader.read_to_string(&mut text).with_context(|| format!("cannot read {name}"))?;
    Ok(Some(text))
}

/// `NAME-before.EXT` and `NAME-after.EXT`.
fn pair(directory: &Path, name: &str, extension: &str) -> Result<Option<(String, String)>> {
    let part = |end: &str| text(directory, &format!("{name}-{end}.{extension}"));
    Ok(part("before")?.zip(part("after")?))
}

pub(super) fn read(directory: &Path, level: usize, options: &ImportOptions) -> Result<Recorded> {
    let mut missing = Vec::new();
    let timeline = Timeline::read(&text(directory, "timeline.txt")?.unwrap_or_default());
    let summary =
        text(directory, "dbbench.txt")?.context("dbbench.txt is not there: without it no query is counted")?;
    let jobs = parse_output(&summary).context("dbbench.txt")?;
    if let Some(empty) = jobs.iter().find(|job| job.transactions == 0 || job.tps <= 0.0) {
        bail!("dbbench.txt: job {} completed no transaction, so there is nothing to divide by", empty.name);
    }
    // By dbbench's own clock, over its whole run.
    let seconds = jobs.iter().map(|job| job.transactions as f64 / job.tps).fold(0.0, f64::max);
    let start = timeline.at("dbbench start").unwrap_or(0);
    let span = Span::new(start, start.saturating_add((seconds * 1e9).round() as u64));
    let ends = (
        timeline.span("snapshot before").unwrap_or(Span::new(span.start, span.start)),
        timeline.span("snapshot after").unwrap_or(Span::new(span.end, span.end)),
    );
    let stat = pair(directory, "stat", "txt")?
        .map(|(before, after)| (scheduler::process(&before), scheduler::process(&after)));
    let (before, after) = stat.unwrap_or((None, None));
    let process = before.as_ref().map(|(name, _)| name.clone());
    let started = |found: Option<(String, u64)>| found.map(|(_, ticks)| format!("{ticks} ticks after boot"));
    let pid = timeline.pid();
    let scrapes = pair(directory, "metrics", "prom")?
        .map(|(before, after)| (Scrape { span: ends.0, text: before }, Scrape { span: ends.1, text: after }));
    let load = load(&jobs, level, span, &mut missing);
    let owner = (process.clone().unwrap_or_default(), pid.unwrap_or(0));
    let mut notes = Vec::new();
    let sampled = profile(directory, &timeline, span, &owner, options, &mut missing, &mut notes)?;
    let (sampling, profile) = sampled.unzip();
    let window = Window {
        facts: WindowFacts {
            clocks: None,
            scraping: None,
            id: WindowId { level, replicate: 1 },
            span,
            skew: scrapes.as_ref().map(|_| ends.0.nanos().max(ends.1.nanos()) as f64 / span.nanos() as f64),
            scrapes: scrapes.as_ref().map(|_| [ends.0, ends.1]),
            wall: rfc3339(span.start),
            target_started: started(after),
            missing: Vec::new(),
        },
        load,
        sampling,
        profile,
        off_cpu: None,
        hands: None,
        companions: Vec::new(),
        account: None,
        metrics: scrapes.as_ref().map(|(before, after)| MetricsDelta::between(before, after)),
        statements: statements(directory, ends)?,
        scheduler: scheduler_part(directory, ends, &owner)?,
        wire: None,
        checks: Vec::new(),
    };
    let apart = window.metrics.as_ref().map(|m| m.seconds()).filter(|apart| *apart > span.seconds() * 1.01);
    notes.extend(apart.map(|apart| {
        let (load, short) = (span.seconds(), 100.0 * (1.0 - span.seconds() / apart));
        format!(
            "level {level}: the scrapes lie {apart:.1} s apart and the load ran {load:.1} s of them, so rates and \
                 shares of time are up to {short:.0} % low"
        )
    }));
    let window = with_missing(window, missing);
    let statement = text(directory, "bench.ini")?.and_then(|ini| query_of(&ini));
    Ok(Recorded { window, scrapes, pid, process, started: started(before), statement, notes })
}

/// Names the parts that the window has not.
fn with_missing(mut window: Window, mut missing: Vec<Missing>) -> Window {
    let parts = [
        (Part::Metrics, window.metrics.is_some(), "metrics-before.prom and metrics-after.prom"),
        (Part::Profile, window.profile.is_some(), "folded.txt"),
        (Part::Statements, window.statements.is_some(), "pgss-before.csv and pgss-after.csv"),
        (Part::Scheduler, window.scheduler.is_some(), "schedstat-*.txt and cpu-*.txt, before and after"),
        (Part::TargetStartTime, window.facts.target_started.is_some(), "stat-before.txt and stat-after.txt"),
        (Part::Times, window.facts.span.start != 0, "timeline.txt with `dbbench start`"),
    ];
    for (what, _, files) in parts.into_iter().filter(|(_, there, _)| !there) {
        missing.push(Missing {
            what,
            why: format!("the recording has no {files}"),
            remedy: "record it beside the others, or measure with `wireprof sweep`".to_string(),
        });
    }
    window.facts.missing = missing;
    window
}

fn load(jobs: &[DbbenchJob], level: usize, span: Span, missing: &mut Vec<Missing>) -> LoadTrace {
    for (what, why) in [
        (Part::RowCounts, "dbbench does not compare them"),
        (Part::Sessions, "dbbench does not tell which of its sessions were lost"),
        (Part::LatencyDistribution, "dbbench prints means, and counts by powers of two"),
    ] {
        let remedy = "measure with wireprof's own driver".to_string();
        missing.push(Missing { what, why: why.to_string(), remedy });
    }
    let latency = |job: &DbbenchJob| job.latency_mean.saturating_mul(job.transactions);
    let sum = |of: &dyn Fn(&DbbenchJob) -> u64| jobs.iter().map(of).fold(0, u64::saturating_add);
    let aborts = sum(&|job| job.aborts.unwrap_or(0));
    let abort = ErrorCount {
        sqlstate: String::new(),
        message: "aborts, as dbbench counts them".into(),
        count: aborts,
        accepted: false,
    };
    LoadTrace {
        driver: "dbbench (recorded)".to_string(),
        span,
        connections: level,
        rate: None,
        completed: sum(&|job| job.transactions),
        counted_by: "client".to_string(),
        rows: sum(&|job| job.rows),
        wrong_rows: 0,
        errors: if aborts > 0 { vec![abort] } else { Vec::new() },
        // From means printed with at least six digits, so exact to a millionth.
        latency_sum: Some(sum(&latency)),
        at_sockets: None,
        slices: Vec::new(),
        latency: empty_histogram(),
        generator: Generator::default(),
        sessions: Sessions { opened: level as u64, lost: 0 },
        jobs: jobs
            .iter()
            .map(|job| JobCount {
                name: job.name.clone(),
                completed: job.transactions,
                rows: job.rows,
                errors: job.aborts.unwrap_or(0),
                latency_sum: latency(job),
            })
            .collect(),
        transactions: None,
        reported: None,
        hosts: Vec::new(),
    }
}

fn profile(
    directory: &Path,
    timeline: &Timeline,
    window: Span,
    (process, pid): &(String, u32),
    options: &ImportOptions,
    missing: &mut Vec<Missing>,
    notes: &mut Vec<String>,
) -> Result<Option<(SamplingReport, Profile)>> {
    let Some(reader) = open(directory, "folded.txt")? else { return Ok(None) };
    let folded = folded::read_folded(reader, folded::Threads::First, process, *pid)?;
    if folded.comments > 0 {
        notes.push(format!("folded.txt: {} lines that begin with `# ` are taken for comments", folded.comments));
    }
    let bracket = timeline.span("perf");
    let covers = match (options.profile_seconds, bracket) {
        (Some(seconds), bracket) => {
            let start = bracket.map_or(window.start, |b| b.start);
            Span::new(start, start.saturating_add((seconds * 1e9).round() as u64))
        }
        (None, Some(bracket)) => {
            notes.push(
                "the profile's seconds are taken from `perf start` to `perf end`, which includes perf's own start and \
                 end: costs per query are understated; give the recorded seconds to correct it"
                    .to_string(),
            );
            bracket
        }
        (None, None) => {
            missing.push(Missing {
                what: Part::ProfileSeconds,
                why: "timeline.txt has no `perf start` and `perf end`; the whole window is assumed".to_string(),
                remedy: "give the seconds that the stacks were recorded for".to_string(),
            });
            window
        }
    };
    missing.push(Missing {
        what: Part::LostSamples,
        why: "folded stacks do not tell them".to_string(),
        remedy: "measure with `wireprof sweep`".to_string(),
    });
    let samples = folded.samples.unwrap_or_else(|| {
        missing.push(Missing {
            what: Part::SampleCounts,
            why: "the stacks' weights have no common period".to_string(),
            remedy: "record with a fixed period".to_string(),
        });
        0
    });
    let report = SamplingReport {
        kernel_stacks: folded.kernel_stacks,
        recording: bracket,
        covers: Some(covers),
        ..SamplingReport::imported("perf (recorded)".to_string(), folded.period, samples)
    };
    let report = report.named(folded.symbolized, folded.misses);
    Ok(Some((report, folded.profile)))
}

fn statements(directory: &Path, ends: (Span, Span)) -> Result<Option<StatementsDelta>> {
    let Some((before, after)) = pair(directory, "pgss", "csv")? else { return Ok(None) };
    let source = "pg_stat_statements (recorded)";
    let before = read_csv(&before, source, ends.0).context("pgss-before.csv")?;
    let after = read_csv(&after, source, ends.1).context("pgss-after.csv")?;
    Ok(Some(StatementsDelta::between(&before, &after)))
}

fn scheduler_part(directory: &Path, ends: (Span, Span), owner: &(String, u32)) -> Result<Option<SchedulerDelta>> {
    let parts = pair(directory, "schedstat", "txt")?.zip(pair(directory, "cpu", "txt")?);
    let Some(((before, after), (cpu0, cpu1))) = parts else { return Ok(None) };
    let (mut threads, _) = scheduler::threads(&before, &after, &owner.0, owner.1);
    for name in other_processes(directory)? {
        if let Some((before, after)) = pair(directory, &name, "txt")? {
            threads.extend(scheduler::others(&before, &after));
        }
    }
    let span = Span::new(ends.0.midpoint(), ends.1.midpoint());
    let machine = scheduler::machine(&cpu0, &cpu1, span.seconds()).context("cpu-*.txt: no line `cpu ...`")?;
    let found = SchedulerDelta { span, threads, machine: Some(machine) };
    found.check().map_err(Error::msg).context("schedstat-*.txt, or another process's file, is damaged")?;
    Ok(Some(found))
}

/// Names X of files `X-before.txt` that are none of the target's own.
fn other_processes(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(
            name.strip_suffix("-before.txt").filter(|n| !["schedstat", "stat", "cpu"].contains(n)).map(String::from),
        );
    }
    names.sort();
    Ok(names)
}

/// The first job's query of a dbbench script.
fn query_of(ini: &str) -> Option<String> {
    let lines = ini.lines().filter_map(|line| line.split_once('='));
    lines.into_iter().find(|(key, _)| key.trim() == "query").map(|(_, query)| query.trim().to_string())
}
