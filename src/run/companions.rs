//! The companions' samples and CPU, on disk. Invariant: a window without any has no file of them, as older runs have
//! none.

use super::store::read_optional;
use super::window_file::{WindowFile, encode};
use super::{Companion, WindowFacts, pprof};
use crate::clock::Span;
use crate::sample::SamplingReport;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// CPU by thread within a span, as the kernel accounts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuAccount {
    /// What it covers: the window.
    pub span: Span,
    /// Each thread that ran in it, by process, then thread number; those that began or ended in it are among them.
    pub threads: Vec<ThreadAccount>,
}

/// One thread's CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadAccount {
    /// The process's name (`comm`, at most 15 bytes); `?` where it had ended before it could be read.
    pub process: String,
    /// The process.
    pub pid: u32,
    /// The thread's name, likewise.
    pub thread: String,
    /// The thread.
    pub tid: u32,
    /// ns on CPU between the kernel's records of its context switches; of a thread that ran on without any, by
    /// `schedstat`.
    pub cpu: u64,
    /// The same for each batch of the window, as in [`crate::target::ThreadDelta::switched_by_batch`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_batch: Vec<u64>,
    /// Times it was given a CPU, by `schedstat`; `None`: it was not there at a reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<u64>,
}

impl CpuAccount {
    /// ns on CPU of all threads.
    pub fn cpu(&self) -> u64 {
        self.threads.iter().map(|thread| thread.cpu).sum()
    }
}

/// Where a profile comes from that a server took of itself, by its own sampler, at its own rate, over its own span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerProfile {
    /// Its address without secrets.
    pub url: String,
    /// Seconds that it was asked for: `?seconds=N`.
    pub asked_seconds: u64,
    /// From the request to the whole answer: the profile lies somewhere within.
    pub answered: Span,
    /// Seconds that it was taken for by its own word; `None`: it does not tell.
    pub profiled_seconds: Option<f64>,
    /// Seconds of `answered` that lie in the window.
    pub overlap_seconds: f64,
}

/// The host that a companion was sampled on, where that is one of its own (`--also ssh://HOST/NAME`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanionHost {
    /// As it was named: `ssh://[user@]host[:port]`.
    pub host: String,
    /// ns that the companion's instants can be wrong by, by the clock that the window is stored by.
    pub bound: u64,
    /// The shortest round trip of a reading of its clock, in ns.
    pub round_trip: u64,
    /// Readings of its clock that were used.
    pub readings: usize,
    /// Bytes that came over the link for this window.
    pub bytes: u64,
}

/// An entry of `beside.json`; its profile is `beside-N.pb.gz`, N its position in the list from 1.
#[derive(Serialize, Deserialize)]
struct CompanionEntry {
    process: String,
    sampling: SamplingReport,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<CpuAccount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<ServerProfile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<CompanionHost>,
}

const COMPANIONS: &str = "beside.json";

fn companion_profile(at: usize) -> String {
    format!("beside-{}.pb.gz", at + 1)
}

/// The companions' samples; nothing where none was sampled.
pub fn companion_files(facts: &WindowFacts, companions: &[Companion]) -> Result<Vec<WindowFile>> {
    if companions.is_empty() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for (at, Companion { sampling, profile, .. }) in companions.iter().enumerate() {
        if let Some(profile) = profile {
            files.push(WindowFile::new(companion_profile(at), encode(profile, facts, Some(sampling))?));
        }
    }
    let entry = |own: &Companion| CompanionEntry {
        process: own.process.clone(),
        sampling: own.sampling.clone(),
        account: own.account.clone(),
        server: own.server.clone(),
        host: own.host.clone(),
    };
    files.push(WindowFile::json(COMPANIONS, &companions.iter().map(entry).collect::<Vec<_>>())?);
    Ok(files)
}

pub fn read_companions(directory: &Path, profiles: bool) -> Result<Vec<Companion>> {
    let entries: Vec<CompanionEntry> = read_optional(&directory.join(COMPANIONS))?.unwrap_or_default();
    let read = |(at, CompanionEntry { process, sampling, account, server, host }): (usize, CompanionEntry)| {
        let bytes = profiles.then(|| fs::read(directory.join(companion_profile(at)))).and_then(Result::ok);
        let profile = bytes.map(|bytes| pprof::decode(&bytes).with_context(|| companion_profile(at))).transpose()?;
        Ok(Companion { process, sampling, account, server, host, profile })
    };
    entries.into_iter().enumerate().map(read).collect()
}
