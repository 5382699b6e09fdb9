//! The runs of a store, and those that are there and cannot be read. Invariant: a directory that is named as a run's id
//! is and holds a manifest that cannot be read is no run that there is not: it is named, with the reason.

use super::store::read_manifest;
use super::{Manifest, Store};
use crate::words::counted;
use anyhow::{Context, Result, anyhow};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Runs that a message names at most.
const NAMED: usize = 8;

/// A run whose manifest cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Name of its directory.
    pub name: String,
    /// Why it cannot be read, with the remedy.
    pub why: String,
}

/// The run that is meant is there and cannot be read; the text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Unread {
    fn of(directory: &Path, error: &anyhow::Error) -> Option<Unread> {
        let name = directory.file_name()?.to_string_lossy().into_owned();
        // What is named otherwise may be anybody's, such as `lost+found`.
        name.starts_with(|c: char| c.is_ascii_digit()).then_some(())?;
        let refused = error.downcast_ref::<io::Error>();
        let why = match refused.map(|refused| (refused, refused.kind())) {
            Some((_, ErrorKind::NotFound | ErrorKind::NotADirectory)) => return None,
            Some((refused, ErrorKind::PermissionDenied)) => denied(refused),
            _ => format!("{}: copy the run again, whole, or remove its directory", error.root_cause()),
        };
        Some(Unread { name, why })
    }
}

fn denied(refused: &io::Error) -> String {
    format!("{refused}: run as its owner, or change its mode")
}

impl Unreadable {
    /// That these runs of a store cannot be read.
    pub(super) fn of(store: &Store, runs: &[Unread]) -> Unreadable {
        Unreadable(unread_told(store, runs))
    }

    /// Refuses the run in this directory where its manifest may not be read.
    pub(super) fn unless_permitted(directory: &Path) -> Result<(), Unreadable> {
        match std::fs::File::open(directory.join("manifest.json")) {
            Err(refused) if refused.kind() == ErrorKind::PermissionDenied => {
                Err(Unreadable(format!("cannot read {}: {}", directory.display(), denied(&refused))))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.why)
    }
}

/// Which runs of a store cannot be read, and why.
pub fn unread_told(store: &Store, runs: &[Unread]) -> String {
    let named: Vec<String> = runs.iter().take(NAMED).map(Unread::to_string).collect();
    let more = runs.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let count = counted(runs.len() as u64, "run");
    format!("{count} in {} cannot be read: {}{more}", store.root().display(), named.join("; "))
}

impl Store {
    /// All runs, oldest first, and those that cannot be read, by name.
    ///
    /// # Errors
    /// There is no such directory, or it cannot be read.
    pub fn read_all(&self) -> Result<(Vec<Manifest>, Vec<Unread>)> {
        let root = self.root().display();
        let entries = std::fs::read_dir(self.root()).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("there is no directory {root}; --runs names another, and `wireprof sweep` makes it")
            }
            _ => anyhow!(Unreadable(format!("cannot read {root}: {error}"))),
        })?;
        let (mut runs, mut unread) = (Vec::new(), Vec::new());
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read {root}"))?.path();
            match read_manifest(&path) {
                Ok(manifest) => runs.push(manifest),
                Err(error) => unread.extend(Unread::of(&path, &error)),
            }
        }
        runs.sort_by(|a: &Manifest, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        unread.sort_by(|a: &Unread, b| a.name.cmp(&b.name));
        Ok((runs, unread))
    }

    /// All runs that can be read, oldest first; none where there is no such directory.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn list(&self) -> Result<Vec<Manifest>> {
        if !self.root().exists() {
            return Ok(Vec::new());
        }
        self.read_all().map(|(runs, _)| runs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::*;

    #[test]
    fn a_run_without_a_readable_manifest_is_named_and_other_directories_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.create(build::manifest("20261122-101500-testbed", &[1])).unwrap();
        for (name, text) in [("20261123-101500-testbed", ""), ("20261124-101500-testbed", "{"), ("notes", "{")] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("manifest.json"), text).unwrap();
        }
        // A run that is begun at this moment.
        std::fs::create_dir(folder.path().join("20261125-101500-testbed")).unwrap();
        let (runs, unread) = store.read_all().unwrap();
        assert_eq!(runs.len(), 1);
        let told = unread_told(&store, &unread);
        let begin = format!("2 runs in {} cannot be read: 20261123-101500-testbed: ", folder.path().display());
        assert!(told.starts_with(&begin) && told.contains("the file is empty: copy the run again, whole"), "{told}");
        assert!(told.contains("; 20261124-101500-testbed: EOF while parsing"), "{told}");
        let refused = anyhow!(io::Error::from(ErrorKind::PermissionDenied)).context("cannot read");
        let refused = Unread::of(Path::new("/x/20261122-101500-testbed"), &refused).unwrap();
        assert_eq!(refused.why, "permission denied: run as its owner, or change its mode");
    }

    #[test]
    fn a_directory_that_there_is_not_is_named_with_the_option() {
        let error = Store::new("/nowhere/runs").read_all().unwrap_err().to_string();
        assert!(error.starts_with("there is no directory /nowhere/runs; --runs names another"), "{error}");
    }
}
