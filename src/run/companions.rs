//! The companions' samples, on disk. Invariant: a window without any has no file of them, as
//! older runs have none.

use super::store::{encode, read_optional, write_file, write_json};
use super::{Companion, WindowFacts, pprof};
use crate::sample::SamplingReport;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// An entry of `beside.json`; its profile is `beside-N.pb.gz`, N its position in the list from 1.
#[derive(Serialize, Deserialize)]
struct CompanionEntry {
    process: String,
    sampling: SamplingReport,
}

const COMPANIONS: &str = "beside.json";

fn companion_profile(at: usize) -> String {
    format!("beside-{}.pb.gz", at + 1)
}

/// Writes the companions' samples; writes nothing where none was sampled.
pub fn write_companions(directory: &Path, facts: &WindowFacts, companions: &[Companion]) -> Result<()> {
    if companions.is_empty() {
        return Ok(());
    }
    for (at, Companion { sampling, profile, .. }) in companions.iter().enumerate() {
        if let Some(profile) = profile {
            write_file(&directory.join(companion_profile(at)), &encode(profile, facts, Some(sampling))?)?;
        }
    }
    let entry = |own: &Companion| CompanionEntry { process: own.process.clone(), sampling: own.sampling.clone() };
    write_json(&directory.join(COMPANIONS), &companions.iter().map(entry).collect::<Vec<_>>())
}

pub fn read_companions(directory: &Path, profiles: bool) -> Result<Vec<Companion>> {
    let entries: Vec<CompanionEntry> = read_optional(&directory.join(COMPANIONS))?.unwrap_or_default();
    let read = |(at, CompanionEntry { process, sampling }): (usize, CompanionEntry)| {
        let bytes = profiles.then(|| fs::read(directory.join(companion_profile(at)))).and_then(Result::ok);
        let profile = bytes.map(|bytes| pprof::decode(&bytes).with_context(|| companion_profile(at))).transpose()?;
        Ok(Companion { process, sampling, profile })
    };
    entries.into_iter().enumerate().map(read).collect()
}
