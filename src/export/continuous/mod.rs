//! What continuous profilers store: a profile for each window, with its labels and its place on the wall clock.
//! Invariant: a profile's total is that of the window, and the same run gives the same ids again, so that a receiver
//! that knows them stores nothing twice.

mod otlp;
mod pyroscope;

pub use otlp::otlp;
pub use pyroscope::pyroscope;

use super::What;
use super::stacks::{Stacks, window_stacks};
use crate::analyze::cost::carrier_names::Naming;
use crate::run::{Run, Window, WindowId};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// One window's stacks of one kind.
pub struct WindowProfile {
    /// Which window of the run.
    pub window: WindowId,
    /// What the weights are, in words: `CPU`, `blocked`.
    pub name: &'static str,
    /// Names and values, by which a receiver tells profiles apart.
    pub labels: BTreeMap<String, String>,
    /// When the window's sampling began.
    pub began: SystemTime,
    id: [u8; 16],
    stacks: Stacks,
}

impl WindowProfile {
    /// Samples in it.
    pub fn samples(&self) -> usize {
        self.stacks.profile.samples.len()
    }

    /// Sum of the weights, and their unit in pprof's words.
    pub fn total(&self) -> (u64, &str) {
        (self.stacks.profile.samples.iter().map(|sample| self.stacks.weight(sample)).sum(), self.stacks.unit())
    }

    /// ns that the window was sampled for.
    fn nanos(&self) -> u64 {
        self.stacks.span.nanos()
    }

    /// `began` in ns since 1970.
    fn unix_nanos(&self) -> u64 {
        self.began.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }
}

/// The profiles of a run's windows, in the order of the windows.
///
/// # Errors
/// The run has no such stacks, or does not tell when a window was taken.
pub fn window_profiles(
    run: &Run,
    what: What,
    naming: &Naming,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<WindowProfile>> {
    let mut profiles = Vec::new();
    for window in &run.windows {
        for stacks in window_stacks(window, what, naming) {
            let id = window.id();
            let began = began(window, &stacks).with_context(|| {
                format!("level {}, replicate {}: when it was taken is not known", id.level, id.replicate)
            })?;
            let mut labels = labels.clone();
            labels.extend(own_labels(run, id, stacks.name));
            let id_of = format!("{}/{}/{}", run.manifest.id, id.directory(), stacks.name);
            let digest = Sha256::digest(id_of.as_bytes());
            let name = stacks.name;
            let id_of_profile = std::array::from_fn(|at| digest[at]);
            profiles.push(WindowProfile { window: id, name, labels, began, id: id_of_profile, stacks });
        }
    }
    if profiles.is_empty() {
        bail!("run {} has no stacks of this kind: {}", run.manifest.id, super::why_none(run, what));
    }
    Ok(profiles)
}

/// The wall clock at the beginning of what was sampled, which may be somewhat before the window.
fn began(window: &Window, stacks: &Stacks) -> Option<SystemTime> {
    let wall = humantime::parse_rfc3339(&window.facts.wall).ok()?;
    let (sampled, cut) = (stacks.began, window.facts.span.start);
    wall.checked_sub(Duration::from_nanos(cut.saturating_sub(sampled)))?
        .checked_add(Duration::from_nanos(sampled.saturating_sub(cut)))
}

/// What tells this window from others. Names are those that Prometheus permits, for receivers that take no others.
fn own_labels(run: &Run, id: WindowId, kind: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("run".to_string(), run.manifest.id.clone()),
        ("level".to_string(), id.level.to_string()),
        ("replicate".to_string(), id.replicate.to_string()),
        ("kind".to_string(), kind.to_string()),
    ]);
    let host = &run.manifest.host.name;
    if !host.is_empty() {
        labels.insert("host".into(), host.clone());
    }
    if let Some(name) = &run.manifest.name {
        labels.insert("run_name".into(), name.clone());
    }
    labels
}
