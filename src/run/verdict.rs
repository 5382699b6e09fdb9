//! What a list of runs tells of each: the figures of its highest level, and the first verdict as it was when the run
//! ended. Invariant: neither costs reading profiles, metrics or histograms.

use super::read::read_in_short;
use super::store::{Store, read_optional, window_directories, write_json};
use super::{Manifest, Run};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::path::Path;

const VERDICT: &str = "verdict.json";

/// The first verdict of a run's highest level, as it was when the run was stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredVerdict {
    /// Number of clients.
    pub level: usize,
    /// The cause in short, for people to read.
    pub words: String,
    /// Name and version of the tool that judged.
    pub tool: String,
}

impl StoredVerdict {
    /// Keeps it with the run in this directory.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, directory: &Path) -> Result<()> {
        write_json(&directory.join(VERDICT), self)
    }
}

impl Store {
    /// The verdict that was kept with a run; `None`: none was, or it cannot be read.
    pub fn verdict(&self, manifest: &Manifest) -> Option<StoredVerdict> {
        read_optional(&self.directory(manifest).join(VERDICT)).ok().flatten()
    }

    /// The run with the windows of its highest level alone, each with its load and what the sockets told.
    ///
    /// # Errors
    /// A window that is damaged.
    pub fn highest(&self, manifest: &Manifest) -> Result<Run> {
        let mut directories = window_directories(&self.directory(manifest), manifest);
        let level = |path: &Path| manifest.order.iter().find(|id| path.ends_with(id.directory())).map(|id| id.level);
        let highest = directories.iter().filter_map(|path| level(path)).max();
        directories.retain(|path| level(path) == highest);
        let windows = directories.iter().map(|path| read_in_short(path)).collect::<Result<_>>()?;
        Ok(Run { manifest: manifest.clone(), windows, observer: None, damaged: Vec::new() })
    }
}
