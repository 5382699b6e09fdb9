//! A stored window read back. Invariant: a file that the window can do without and that is gone costs its own figures
//! only, and leaves a [`Missing`]; what an instrument saw nothing of is no figure either.

use super::companions::read_companions;
use super::hands::read_hands;
use super::scrapes::{find_scrape, read_scrape};
use super::store::{open, read_json, read_optional};
use super::{Damaged, Missing, OffCpu, Part, Parts, Window, WindowFacts, pprof};
use crate::load::{LoadTrace, read_latency_log};
use crate::metrics::{MetricsDelta, Scrape};
use crate::parallel;
use crate::profile::Profile;
use crate::target::SchedulerDelta;
use crate::wire::WireDelta;
use anyhow::{Context, Error, Result, bail};
use flate2::read::GzDecoder;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The windows in these directories, in their order, and why others of them cannot be read.
///
/// # Errors
/// That of the first window, where none of them can be read.
pub(super) fn read_windows(directories: &[PathBuf], parts: Parts) -> Result<(Vec<Window>, Vec<Damaged>)> {
    let (mut windows, mut damaged) = (Vec::new(), Vec::new());
    for read in parallel::each(directories, |directory| (directory.clone(), read_window(directory, parts))) {
        match read {
            (_, Ok(window)) => windows.push(window),
            (directory, Err(error)) => damaged.push((directory, error)),
        }
    }
    if windows.is_empty() && !damaged.is_empty() {
        return Err(damaged.swap_remove(0).1);
    }
    Ok((windows, damaged.iter().map(|(directory, error)| Damaged::of(directory, error)).collect()))
}

/// The window in this directory, as far as it is asked for.
///
/// # Errors
/// A file without which there is no window, or one that is damaged.
pub(super) fn read_window(directory: &Path, parts: Parts) -> Result<Window> {
    check_there(directory)?;
    read_parts(directory, parts).with_context(|| format!("window {}", directory.display()))
}

/// Refuses a window whose directory is gone.
fn check_there(directory: &Path) -> Result<()> {
    if directory.exists() {
        return Ok(());
    }
    bail!("window {} is gone from the run's directory: copy the run again, whole", directory.display())
}

fn read_parts(directory: &Path, parts: Parts) -> Result<Window> {
    let mut facts: WindowFacts = read_json(&directory.join("window.json"))?;
    let mut load: LoadTrace = read_json(&directory.join("load.json"))?;
    let mut gone = |what: Part, file: &str| {
        let why = format!("{file} is gone from the run's directory");
        facts.missing.push(Missing { what, why, remedy: "copy the run again, whole".into() });
    };
    match directory.join("latency.hdr") {
        log if log.exists() => read_latency_log(&mut load, open(&log)?).context("latency.hdr")?,
        _ => gone(Part::LatencyDistribution, "latency.hdr"),
    }
    let sampling = read_optional(&directory.join("sampling.json"))?;
    let profile = profile(directory, "profile.pb.gz", parts)?;
    if sampling.is_some() && parts.profiles && profile.is_none() {
        gone(Part::Profile, "profile.pb.gz");
    }
    let off_cpu = match read_optional(&directory.join("offcpu.json"))? {
        Some(report) => Some(OffCpu { report, profile: self::profile(directory, "offcpu.pb.gz", parts)? }),
        None => None,
    };
    if parts.profiles && off_cpu.as_ref().is_some_and(|off_cpu: &OffCpu| off_cpu.profile.is_none()) {
        gone(Part::OffCpuStacks, "offcpu.pb.gz");
    }
    let scrapes = ["metrics-before.prom", "metrics-after.prom"].map(|name| find_scrape(directory, name));
    let metrics = match (facts.scrapes.filter(|_| parts.metrics), &scrapes) {
        (Some(spans), [Some(before), Some(after)]) => Some(metrics([before, after], spans)?),
        _ => None,
    };
    if facts.scrapes.is_some() && scrapes.contains(&None) {
        let why = "metrics-before.prom.gz or metrics-after.prom.gz is gone from the run's directory".into();
        facts.missing.push(Missing { what: Part::Metrics, why, remedy: "copy the run again, whole".into() });
    }
    let (hands, nameless) = read_hands(directory, parts)?;
    facts.missing.extend(nameless.map(|why| Missing {
        what: Part::CarrierStacks,
        why,
        remedy: "copy the run again, whole".into(),
    }));
    let window = Window {
        sampling,
        statements: read_optional(&directory.join("statements.json"))?,
        scheduler: read_scheduler(directory)?,
        wire: read_wire(directory, parts.timelines)?,
        companions: read_companions(directory, parts.companions)?,
        account: None,
        hands,
        checks: read_optional(&directory.join("guards.json"))?.unwrap_or_default(),
        facts,
        load,
        profile,
        off_cpu,
        metrics,
    };
    Ok(window.without_unseen())
}

fn read_scheduler(directory: &Path) -> Result<Option<SchedulerDelta>> {
    let path = directory.join("scheduler.json");
    let found: Option<SchedulerDelta> = read_optional(&path)?;
    let checked = found.as_ref().map_or(Ok(()), SchedulerDelta::check);
    checked.map_err(Error::msg).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(found)
}

/// The window's facts, its load without histograms, and what the sockets told: what a line about it needs.
///
/// # Errors
/// A file of these that is damaged, or the first two of which are gone.
pub(super) fn read_in_short(directory: &Path) -> Result<Window> {
    check_there(directory)?;
    let window = Window {
        facts: read_json(&directory.join("window.json"))?,
        load: read_json(&directory.join("load.json"))?,
        wire: read_wire(directory, false)?,
        sampling: None,
        profile: None,
        off_cpu: None,
        hands: None,
        companions: Vec::new(),
        account: None,
        metrics: None,
        statements: None,
        scheduler: None,
        checks: Vec::new(),
    };
    Ok(window.without_unseen())
}

fn profile(directory: &Path, name: &'static str, parts: Parts) -> Result<Option<Profile>> {
    match parts.profiles.then(|| fs::read(directory.join(name))) {
        Some(Ok(bytes)) => pprof::decode(&bytes).context(name).map(Some),
        _ => Ok(None),
    }
}

fn metrics(paths: [&Path; 2], spans: [crate::clock::Span; 2]) -> Result<MetricsDelta> {
    let scrape = |at: usize| anyhow::Ok(Scrape { span: spans[at], text: read_scrape(paths[at])? });
    Ok(MetricsDelta::between(&scrape(0)?, &scrape(1)?))
}

fn read_wire(directory: &Path, timelines: bool) -> Result<Option<WireDelta>> {
    let Some(mut wire) = read_optional::<WireDelta>(&directory.join("wire.json"))? else { return Ok(None) };
    let path = directory.join("timelines.json.gz");
    if timelines && path.exists() {
        let samples = serde_json::from_reader(BufReader::new(GzDecoder::new(open(&path)?)));
        wire.add_timelines(samples.with_context(|| format!("cannot read {}", path.display()))?, None);
    }
    Ok(Some(wire))
}
