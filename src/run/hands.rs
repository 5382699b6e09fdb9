//! What carried the queries while they were in the server's hands, as it is stored: `hands.json`, and the stacks that
//! it names in `hands.pb.gz`. Invariant: stack number n of `hands.json` is sample n of the profile, so that what the
//! one counts the other names.

use super::store::{read_optional, write_file};
use super::{Parts, pprof};
use crate::carriers::Carried;
use crate::profile::Profile;
use crate::sample::FollowingReport;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What carried the queries in seconds of their own, after the window's.
#[derive(Clone, Debug)]
pub struct Hands {
    /// All but the stacks.
    pub facts: HandsFacts,
    /// The stacks by number: waits of the carriers at each, and their ns. `None`: not read.
    pub stacks: Option<Profile>,
}

/// Stored as `hands.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HandsFacts {
    /// How it was followed, what was lost and what it took.
    pub report: FollowingReport,
    /// Where the time went. Its stacks are indices of the profile's samples.
    pub carried: Carried,
    /// The tasks' poll functions by address: their names without hashes.
    pub polls: BTreeMap<u64, String>,
    /// ns that the load's queries were in the server's hands in the same seconds, by the sockets, and how many there
    /// were. `None`: the sockets were not followed.
    pub at_sockets: Option<AtSockets>,
    /// ns of CPU in the same seconds by the kernel's accounting: of the target, and of wireprof's own reading of the
    /// events. `None`: not read.
    pub cpu: Option<FollowedCpu>,
    /// Share of the waits' ns whose stack is complete, 0..1; `None`: nothing waited.
    pub complete: Option<f64>,
    /// ns of waits without a stack.
    pub without_stack: u64,
    /// Share of the waits' ns of which it is known who ended them, 0..1; `None`: nothing waited.
    pub ended: Option<f64>,
    /// What the database was asked of its locks meanwhile; empty: nothing, or it was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<String>,
}

/// The same seconds as the sockets saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtSockets {
    /// ns in the server's hands, of all queries of the load.
    pub nanos: u64,
    /// Queries.
    pub queries: u64,
    /// ns between the two readings.
    pub span: u64,
}

/// CPU while the queries were followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedCpu {
    /// ns of the target's threads.
    pub target: u64,
    /// ns between the two readings.
    pub span: u64,
}

const FACTS: &str = "hands.json";
const STACKS: &str = "hands.pb.gz";

/// Writes what there is into a window's directory.
pub(super) fn write_hands(directory: &Path, hands: &Hands) -> Result<()> {
    // Not indented: it is for programs, and has thousands of rows.
    write_file(&directory.join(FACTS), &serde_json::to_vec(&hands.facts)?)?;
    let Some(stacks) = &hands.stacks else { return Ok(()) };
    write_file(&directory.join(STACKS), &pprof::encode(stacks, hands.facts.carried.span, None, &[])?)
}

/// Reads what a window has of it.
///
/// # Errors
/// A damaged file.
pub(super) fn read_hands(directory: &Path, parts: Parts) -> Result<Option<Hands>> {
    let Some(facts) = read_optional::<HandsFacts>(&directory.join(FACTS))? else { return Ok(None) };
    let stacks = match parts.profiles.then(|| fs::read(directory.join(STACKS))) {
        Some(Ok(bytes)) => {
            let mut stacks = pprof::decode(&bytes).context(STACKS)?;
            // Each has its number for its time; on disk they lie as it packs best.
            stacks.samples.sort_by_key(|sample| sample.at);
            Some(stacks)
        }
        _ => None,
    };
    let named = facts.carried.stacks().max();
    if let (Some(stacks), Some(last)) = (&stacks, named)
        && stacks.samples.len() <= last as usize
    {
        bail!("{STACKS} has {} stacks, {FACTS} names number {last}", stacks.samples.len());
    }
    Ok(Some(Hands { facts, stacks }))
}
