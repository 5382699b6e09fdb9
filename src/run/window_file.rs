//! A window as the files that it is stored as, wherever they are written or sent to. Invariant: every part of a window
//! that was measured is in one of them.

use super::companions::companion_files;
use super::hands::{SCRAPES, hands_files};
use super::scrapes::scrape_file;
use super::store::{Expositions, to_json};
use super::{OffCpu, Window, WindowFacts, pprof};
use crate::load::write_latency_log;
use crate::profile::Profile;
use crate::sample::SamplingReport;
use crate::wire::{Sample, WireDelta};
use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

/// One file of a window's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowFile {
    /// Its name: a file name, no path.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl WindowFile {
    pub(super) fn new(name: impl Into<String>, bytes: Vec<u8>) -> WindowFile {
        WindowFile { name: name.into(), bytes }
    }

    /// A file that came from elsewhere.
    ///
    /// # Errors
    /// A name that is no plain file name.
    pub fn received(name: &str, bytes: Vec<u8>) -> Result<WindowFile> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        ensure!(
            !name.is_empty() && !name.starts_with('.') && name.chars().all(plain),
            "`{name}` is no file of a window"
        );
        Ok(WindowFile::new(name, bytes))
    }

    /// Whether it holds a server's metrics, which a window is stored with as they were read.
    pub fn is_of_metrics(&self) -> bool {
        self.name.contains(".prom")
    }

    pub(super) fn json(name: &str, value: &impl Serialize) -> Result<WindowFile> {
        Ok(WindowFile::new(name, to_json(value)?))
    }
}

/// All files that a window is stored as.
///
/// # Errors
/// What cannot be encoded.
pub fn window_files(window: &Window, expositions: Option<Expositions>) -> Result<Vec<WindowFile>> {
    let Window {
        facts,
        load,
        sampling,
        profile,
        off_cpu,
        hands,
        companions,
        // Stored as the expositions that it was computed from.
        metrics: _,
        statements,
        scheduler,
        wire,
        checks,
        // Of a view; what is stored is the companions' own.
        account: _,
    } = window;
    let mut log = Vec::new();
    write_latency_log(load, &mut log)?;
    let mut files = vec![WindowFile::json("load.json", load)?, WindowFile::new("latency.hdr", log)];
    if let Some(sampling) = sampling {
        files.push(WindowFile::json("sampling.json", sampling)?);
    }
    if let Some(profile) = profile {
        files.push(WindowFile::new("profile.pb.gz", encode(profile, facts, sampling.as_ref())?));
    }
    files.extend(companion_files(facts, companions)?);
    if let Some(OffCpu { report, profile }) = off_cpu {
        files.push(WindowFile::json("offcpu.json", report)?);
        let bytes = profile.as_ref().map(|profile| pprof::encode(profile, report.span, None, &[]));
        files.extend(bytes.transpose()?.map(|bytes| WindowFile::new("offcpu.pb.gz", bytes)));
    }
    if let Some(hands) = hands {
        files.extend(hands_files(hands)?);
    }
    files.extend(match expositions {
        Some(expositions) => metrics_files(&expositions)?,
        None => Vec::new(),
    });
    if let Some(statements) = statements {
        files.push(WindowFile::json("statements.json", statements)?);
    }
    if let Some(scheduler) = scheduler {
        files.push(WindowFile::json("scheduler.json", scheduler)?);
    }
    if let Some(wire) = wire {
        files.push(WindowFile::json("wire.json", wire)?);
        files.extend(timelines_file(wire)?);
    }
    files.push(WindowFile::json("guards.json", checks)?);
    files.push(WindowFile::json("window.json", facts)?);
    Ok(files)
}

fn metrics_files(expositions: &Expositions) -> Result<Vec<WindowFile>> {
    let mut files = vec![
        scrape_file("metrics-before.prom", &expositions.before.text)?,
        scrape_file("metrics-after.prom", &expositions.after.text)?,
    ];
    for (name, scrape) in SCRAPES.iter().zip(expositions.followed.into_iter().flatten()) {
        files.push(scrape_file(name, &scrape.text)?);
    }
    let series = expositions.series.map(|series| WindowFile::new("metrics-series.prom", series.as_bytes().to_vec()));
    files.extend(series);
    Ok(files)
}

/// A profile with its provenance in the comments.
pub(super) fn encode(profile: &Profile, facts: &WindowFacts, sampling: Option<&SamplingReport>) -> Result<Vec<u8>> {
    let comments = sampling.iter().flat_map(|s| s.fallbacks.iter().cloned().chain([format!("event {}", s.event)]));
    let period = sampling.and_then(|s| s.period);
    pprof::encode(profile, facts.span, period, &comments.collect::<Vec<_>>())
}

/// The hops' samples; nothing where none was taken.
fn timelines_file(wire: &WireDelta) -> Result<Option<WindowFile>> {
    let samples: Vec<&Sample> = wire.hops.iter().filter_map(|hop| hop.sample.as_ref()).collect();
    if samples.is_empty() {
        return Ok(None);
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut packed, &samples).context("the timelines cannot be packed")?;
    Ok(Some(WindowFile::new("timelines.json.gz", packed.finish()?)))
}
