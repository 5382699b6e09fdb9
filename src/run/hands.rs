//! What carried the queries while they were in the server's hands, as it is stored: `hands.json`, and the stacks that
//! it names in `hands.pb.gz`. Invariant: stack number n of `hands.json` is sample n of the profile, so that what the
//! one counts the other names; stacks that cannot be read cost their names, nothing else.

use super::scrapes::{find_scrape, read_scrape};
use super::store::read_optional;
use super::window_file::WindowFile;
use super::{Parts, pprof};
use crate::carriers::Carried;
use crate::clock::Span;
use crate::metrics::{MetricsDelta, Scrape};
use crate::profile::Profile;
use crate::sample::FollowingReport;
use crate::statements::LockWaits;
use anyhow::Result;
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
    /// What the server's metrics did in the same seconds; `None`: not scraped, or not read ([`Parts::metrics`]).
    pub metrics: Option<MetricsDelta>,
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
    /// Share of the waits' ns whose stack is complete, 0..1; `None`: nothing waited.
    pub complete: Option<f64>,
    /// ns of waits without a stack.
    pub without_stack: u64,
    /// Share of the waits' ns of which it is known who ended them, 0..1; `None`: nothing waited.
    pub ended: Option<f64>,
    /// Who waited for which lock of the server meanwhile, by asking it; `None`: it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks: Option<LockWaits>,
    /// Why that is not known though it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_locks: Option<String>,
    /// When the scrapes around these seconds were taken; `None`: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrapes: Option<[Span; 2]>,
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

const FACTS: &str = "hands.json";
const STACKS: &str = "hands.pb.gz";
/// The server's metrics around these seconds.
pub(super) const SCRAPES: [&str; 2] = ["hands-before.prom", "hands-after.prom"];

/// What there is of it, as files.
pub(super) fn hands_files(hands: &Hands) -> Result<Vec<WindowFile>> {
    // Not indented: it is for programs, and has thousands of rows.
    let mut files = vec![WindowFile::new(FACTS, serde_json::to_vec(&hands.facts)?)];
    if let Some(stacks) = &hands.stacks {
        files.push(WindowFile::new(STACKS, pprof::encode(stacks, hands.facts.carried.span, None, &[])?));
    }
    Ok(files)
}

/// Reads what a window has of it, and why its stacks are not there though they were asked for.
///
/// # Errors
/// A damaged `hands.json`: without it the stacks say nothing.
pub(super) fn read_hands(directory: &Path, parts: Parts) -> Result<(Option<Hands>, Option<String>)> {
    let Some(facts) = read_optional::<HandsFacts>(&directory.join(FACTS))? else { return Ok((None, None)) };
    let (stacks, why) = match parts.profiles.then(|| read_stacks(directory, &facts)) {
        Some(Ok(stacks)) => (Some(stacks), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let metrics = facts.scrapes.filter(|_| parts.metrics).and_then(|spans| read_metrics(directory, spans));
    Ok((Some(Hands { facts, stacks, metrics }), why))
}

/// Nothing where a file is gone: the window's own metrics are beside it.
fn read_metrics(directory: &Path, spans: [Span; 2]) -> Option<MetricsDelta> {
    let [before, after] = SCRAPES.map(|name| read_scrape(&find_scrape(directory, name)?).ok());
    let scrape = |at: usize, text: Option<String>| Some(Scrape { span: spans[at], text: text? });
    Some(MetricsDelta::between(&scrape(0, before)?, &scrape(1, after)?))
}

/// The stacks in the order of their numbers, or why they cannot be used.
fn read_stacks(directory: &Path, facts: &HandsFacts) -> Result<Profile, String> {
    let bytes = fs::read(directory.join(STACKS)).map_err(|_| format!("{STACKS} is gone from the run's directory"))?;
    let mut stacks = pprof::decode(&bytes).map_err(|error| format!("{STACKS} is damaged: {error:#}"))?;
    // Each has its number for its time; on disk they lie as it packs best.
    stacks.samples.sort_by_key(|sample| sample.at);
    let numbered = stacks.samples.iter().enumerate().all(|(number, sample)| sample.at == Some(number as u64));
    match facts.carried.stacks().max() {
        Some(last) if !numbered || stacks.samples.len() <= last as usize => Err(format!(
            "{STACKS} is not the one that belongs to {FACTS}: it has {} stacks, number {last} is named",
            stacks.samples.len()
        )),
        _ => Ok(stacks),
    }
}
