//! The processes sampled beside the target, on disk. Invariant: a window without any has no file of them, as older runs have none.

use super::store::{encode, read_optional, write_file, write_json};
use super::{Beside, WindowFacts, pprof};
use crate::sample::SamplingReport;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// An entry of `beside.json`; its profile is `beside-N.pb.gz`, N its place in the list from 1.
#[derive(Serialize, Deserialize)]
struct BesideEntry {
    process: String,
    sampling: SamplingReport,
}

const BESIDE: &str = "beside.json";

fn beside_profile(at: usize) -> String {
    format!("beside-{}.pb.gz", at + 1)
}

/// The processes beside the target; nothing where none was sampled.
pub fn write_beside(directory: &Path, facts: &WindowFacts, beside: &[Beside]) -> Result<()> {
    if beside.is_empty() {
        return Ok(());
    }
    for (at, Beside { sampling, profile, .. }) in beside.iter().enumerate() {
        if let Some(profile) = profile {
            write_file(&directory.join(beside_profile(at)), &encode(profile, facts, Some(sampling))?)?;
        }
    }
    let entry = |own: &Beside| BesideEntry { process: own.process.clone(), sampling: own.sampling.clone() };
    write_json(&directory.join(BESIDE), &beside.iter().map(entry).collect::<Vec<_>>())
}

pub fn read_beside(directory: &Path, profiles: bool) -> Result<Vec<Beside>> {
    let entries: Vec<BesideEntry> = read_optional(&directory.join(BESIDE))?.unwrap_or_default();
    let read = |(at, BesideEntry { process, sampling }): (usize, BesideEntry)| {
        let bytes = profiles.then(|| fs::read(directory.join(beside_profile(at)))).and_then(Result::ok);
        let profile = bytes.map(|bytes| pprof::decode(&bytes).with_context(|| beside_profile(at))).transpose()?;
        Ok(Beside { process, sampling, profile })
    };
    entries.into_iter().enumerate().map(read).collect()
}
