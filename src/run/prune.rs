//! Removing stored runs. Invariant: only a real directory within the store that holds a manifest of the id that it is
//! named by is removed, and links within it are removed as links; whatever else lies there is left alone.

use super::store::read_manifest;
use super::{Manifest, RUNNING, Store};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Which runs stay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// The newest so many; `None`: their number is no reason to go.
    pub newest: Option<usize>,
    /// What was created since then; `None`: age is no reason to go.
    pub since: Option<SystemTime>,
    /// Runs with a name go like others.
    pub named_too: bool,
}

/// A run that is gone, or would be.
#[derive(Clone, Debug)]
pub struct Removed {
    /// Its manifest as it was.
    pub manifest: Manifest,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What was not removed although it is old enough, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Name of the directory.
    pub what: String,
    /// Why it stays, in words.
    pub why: String,
}

impl Store {
    /// Removes the runs that are not kept, the oldest first; `try_only`: says which, and removes nothing.
    ///
    /// # Errors
    /// A directory that cannot be read, or a run that cannot be removed; those before it are gone.
    pub fn prune(&self, kept: &Kept, try_only: bool) -> Result<(Vec<Removed>, Vec<Rest>)> {
        let (mut removed, mut rest) = (Vec::new(), Vec::new());
        for manifest in self.unkept(kept)? {
            let directory = self.directory(&manifest);
            if let Some(why) = stays(&directory, &manifest, kept) {
                rest.push(Rest { what: manifest.id, why });
                continue;
            }
            let bytes = bytes_in(&directory)?;
            if !try_only {
                remove(&directory)?;
            }
            removed.push(Removed { manifest, bytes });
        }
        Ok((removed, rest))
    }

    /// The runs that number or age would let go, oldest first.
    fn unkept(&self, kept: &Kept) -> Result<Vec<Manifest>> {
        let mut runs = self.list()?;
        // A copy of a run's directory has the run's manifest, too.
        runs.dedup_by(|one, other| one.id == other.id);
        let beyond = kept.newest.map_or(runs.len(), |newest| runs.len().saturating_sub(newest));
        runs.truncate(beyond);
        if let Some(since) = kept.since {
            // What has no time of its own is not known to be old.
            let old = |run: &Manifest| humantime::parse_rfc3339(&run.created).is_ok_and(|created| created < since);
            runs.retain(old);
        }
        Ok(runs)
    }
}

/// Why a run stays.
fn stays(directory: &Path, manifest: &Manifest, kept: &Kept) -> Option<String> {
    if let Some(name) = manifest.name.as_ref().filter(|_| !kept.named_too) {
        return Some(format!("it has a name, {name}: --named removes it too"));
    }
    // A run whose directory was renamed or copied is listed by an id under which something else may lie.
    let own = read_manifest(directory).is_ok_and(|found| found.id == manifest.id);
    if !own {
        return Some("the directory of this name does not hold this run".into());
    }
    let link = fs::symlink_metadata(directory).map_or(true, |found| !found.is_dir());
    if link {
        return Some("it is a link: what it leads to is not touched".into());
    }
    let running = fs::read_to_string(directory.join("manifest.json")).is_ok_and(|text| is_running(&text));
    (running && written_lately(directory)).then(|| "it is being written".into())
}

fn is_running(manifest: &str) -> bool {
    serde_json::from_str::<Manifest>(manifest).is_ok_and(|manifest| manifest.ended == RUNNING)
}

/// A run that was begun within a day may still go on.
fn written_lately(directory: &Path) -> bool {
    let modified = fs::metadata(directory).and_then(|found| found.modified());
    modified.is_ok_and(|at| at.elapsed().map_or(true, |age| age.as_secs() < 24 * 3600))
}

/// The manifest goes first, so that what a failure leaves is no run any more.
fn remove(directory: &Path) -> Result<()> {
    let cannot = || format!("cannot remove {}: make it writable", directory.display());
    fs::remove_file(directory.join("manifest.json")).with_context(cannot)?;
    // Links inside are removed, not followed.
    fs::remove_dir_all(directory).with_context(cannot)
}

/// Bytes of the files in a directory; links count nothing.
fn bytes_in(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        let found =
            fs::symlink_metadata(entry.path()).with_context(|| format!("cannot read {}", directory.display()))?;
        if found.is_dir() {
            bytes += bytes_in(&entry.path())?;
        } else if found.is_file() {
            bytes += found.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    fn put(store: &Store, id: &str, day: usize, name: Option<&str>, ended: &str) {
        let mut manifest = build::manifest(id, &[1]);
        manifest.created = format!("2026-11-{day:02}T00:00:00Z");
        manifest.name = name.map(str::to_string);
        store.create(manifest).unwrap().finish(ended).unwrap();
    }

    fn ids(removed: &[Removed]) -> Vec<&str> {
        removed.iter().map(|one| one.manifest.id.as_str()).collect()
    }

    #[test]
    fn what_is_not_kept_goes_and_named_runs_links_and_strange_things_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (runs, elsewhere) = (folder.path().join("runs"), folder.path().join("elsewhere"));
        let store = Store::new(&runs);
        for day in 1..=4 {
            put(&store, &format!("r{day}"), day, None, "complete");
        }
        put(&store, "base", 1, Some("base"), "complete");
        put(&store, "begun", 1, None, RUNNING);
        put(&Store::new(&elsewhere), "linked", 1, None, "complete");
        symlink(elsewhere.join("linked"), runs.join("linked")).unwrap();
        fs::create_dir(runs.join("r1/inside")).unwrap();
        symlink(&elsewhere, runs.join("r1/inside/link")).unwrap();
        fs::create_dir(runs.join("no-run")).unwrap();
        fs::write(runs.join("no-run/file"), "x").unwrap();
        // A copy: its manifest is of another directory.
        fs::create_dir(runs.join("copy")).unwrap();
        fs::write(runs.join("copy/manifest.json"), fs::read(runs.join("r2/manifest.json")).unwrap()).unwrap();

        let kept = Kept { newest: Some(2), ..Kept::default() };
        let (would, _) = store.prune(&kept, true).unwrap();
        assert!(ids(&would).contains(&"r1") && runs.join("r1").exists() && would.iter().all(|one| one.bytes > 100));
        let (removed, rest) = store.prune(&kept, false).unwrap();
        assert_eq!(ids(&removed), ids(&would));
        let why = |what: &str| rest.iter().find(|rest| rest.what == what).map(|rest| rest.why.as_str()).unwrap_or("");
        assert!(why("base").contains("has a name") && why("linked").contains("a link"), "{rest:?}");
        assert!(why("begun").contains("being written"), "{rest:?}");
        for left in ["r3", "r4", "base", "begun", "linked", "no-run/file", "copy"] {
            assert!(runs.join(left).exists(), "{left}");
        }
        assert!(elsewhere.join("linked/manifest.json").exists() && !runs.join("r1").exists());

        let (removed, _) = store.prune(&Kept { newest: Some(0), named_too: true, ..Kept::default() }, false).unwrap();
        assert!(ids(&removed).contains(&"base") && !runs.join("base").exists());
    }

    #[test]
    fn by_age_only_what_is_known_to_be_older_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        (1..=3).for_each(|day| put(&store, &format!("r{day}"), day, None, "complete"));
        let since = humantime::parse_rfc3339("2026-11-02T00:00:00Z").unwrap() + Duration::from_secs(1);
        let (removed, _) = store.prune(&Kept { since: Some(since), ..Kept::default() }, false).unwrap();
        assert_eq!(ids(&removed), ["r1", "r2"]);
        let mut manifest = build::manifest("no-time", &[1]);
        manifest.created = String::new();
        store.create(manifest).unwrap().finish("complete").unwrap();
        assert!(store.prune(&Kept { since: Some(since), ..Kept::default() }, false).unwrap().0.is_empty());
    }
}
