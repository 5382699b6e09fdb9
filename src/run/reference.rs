//! How a stored run is called: by its id or the beginning of it, its name, its path, `latest` or `latest~N`. Invariant:
//! what could mean two runs is refused with both, unless the newer one of a name is meant, and that is told.

use super::{Manifest, Store, Unread, Unreadable, unread_told};
use crate::words::counted;
use anyhow::{Result, anyhow, bail};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Runs that an ambiguous beginning names at most.
const CANDIDATES: usize = 8;

/// Where the run that was meant lies.
#[derive(Debug)]
pub struct Resolved {
    /// The run's directory.
    pub directory: PathBuf,
    /// What whoever asked should know of the choice.
    pub note: Option<String>,
}

/// A name that can be told from an id, a path and `latest`.
///
/// # Errors
/// What a name is, in words.
pub fn name(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let fits = plain && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text != "latest";
    if fits {
        Ok(text.into())
    } else {
        Err("a name is a letter, then letters, digits, `-`, `_` and `.`; not `latest`".into())
    }
}

/// A name made of a run's and its side's or rung's.
pub fn name_of_part(name: &str, part: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{name}-{}", part.chars().map(plain).collect::<String>())
}

/// The N of `latest~N`; 0 of `latest`.
fn before_latest(reference: &str) -> Option<usize> {
    match reference.strip_prefix("latest")? {
        "" => Some(0),
        more => more.strip_prefix('~')?.parse().ok(),
    }
}

impl Store {
    /// The run that is meant: `latest` (the newest that has a window), `latest~N` (the Nth before it), an id, a path, a
    /// name, or the beginning of one id.
    ///
    /// # Errors
    /// There is no such run, or several that could be meant.
    pub fn resolve(&self, reference: &str) -> Result<Resolved> {
        if let Some(back) = before_latest(reference) {
            return self.latest(back);
        }
        let candidates = [self.place(reference), PathBuf::from(reference)];
        if let Some(directory) = candidates.into_iter().find(|path| holds_manifest(path)) {
            Unreadable::unless_permitted(&directory)?;
            return Ok(Resolved { directory, note: None });
        }
        let (runs, unread) = self.read_all()?;
        let named: Vec<&Manifest> = runs.iter().filter(|run| run.name.as_deref() == Some(reference)).collect();
        if let Some(newest) = named.last() {
            let note = || format!("`{reference}` is {}, the newest of {} runs of that name", newest.id, named.len());
            return Ok(Resolved { directory: self.directory(newest), note: (named.len() > 1).then(note) });
        }
        let begin: Vec<&Manifest> =
            runs.iter().filter(|run| !reference.is_empty() && run.id.starts_with(reference)).collect();
        match begin.as_slice() {
            [only] => Ok(Resolved { directory: self.directory(only), note: None }),
            [] => Err(self.nothing_called(reference, &runs, unread)),
            several => bail!("`{reference}` could be {}", listed(several)),
        }
    }

    fn nothing_called(&self, reference: &str, runs: &[Manifest], mut unread: Vec<Unread>) -> anyhow::Error {
        unread.retain(|run| !reference.is_empty() && run.name.starts_with(reference));
        if !unread.is_empty() {
            return anyhow!(Unreadable::of(self, &unread));
        }
        if is_store(Path::new(reference)) {
            return anyhow!(
                "`{reference}` is a directory of runs and no run: write --runs {reference}, as in `wireprof explain \
                 --runs {reference}`"
            );
        }
        let alike = |name: &str| name.contains(reference) || reference.contains(name);
        let near = runs
            .iter()
            .filter(|run| !reference.is_empty() && (alike(&run.id) || run.name.as_deref().is_some_and(alike)));
        let near: Vec<&Manifest> = near.collect();
        let near = if near.is_empty() { String::new() } else { format!("; there is {}", listed(&near)) };
        anyhow!(
            "no run `{reference}`: no id in {} begins so, no run has that name, and no such path holds a \
             manifest.json{near}; `wireprof runs` lists them",
            self.root().display()
        )
    }

    /// The newest run that has a window, or the one so many before it.
    fn latest(&self, back: usize) -> Result<Resolved> {
        let (runs, unread) = self.read_all()?;
        let has_window = |run: &&Manifest| {
            let directory = self.directory(run);
            run.order.iter().any(|id| directory.join(id.directory()).is_dir())
        };
        let with_windows: Vec<&Manifest> = runs.iter().rev().filter(has_window).take(back + 1).collect();
        if let Some(found) = with_windows.get(back) {
            let newer: Vec<Unread> = unread.into_iter().filter(|run| run.name > found.id).collect();
            let note = (!newer.is_empty()).then(|| unread_told(self, &newer));
            return Ok(Resolved { directory: self.directory(found), note });
        }
        let place = self.root().display();
        match (with_windows.len(), runs.last()) {
            (0, _) if !unread.is_empty() => Err(anyhow!(Unreadable::of(self, &unread))),
            (_, None) => Err(anyhow!("there is no run in {place} yet: `wireprof sweep` makes one")),
            (0, Some(last)) => {
                Err(anyhow!("no run in {place} has a window; of the newest, {}, is told: {}", last.id, last.ended))
            }
            (few, _) => {
                let few = counted(few as u64, "run");
                Err(anyhow!(
                    "there is no latest~{back}: {place} has only {few} with a window; `wireprof runs` lists all"
                ))
            }
        }
    }
}

/// Whether a run is there, readable or not.
fn holds_manifest(directory: &Path) -> bool {
    let found = directory.join("manifest.json").metadata();
    found.map_or_else(|error| error.kind() == ErrorKind::PermissionDenied, |found| found.is_file())
}

/// Whether runs lie in this directory.
fn is_store(directory: &Path) -> bool {
    directory.is_dir() && Store::new(directory).read_all().is_ok_and(|(runs, unread)| runs.len() + unread.len() > 0)
}

fn listed(runs: &[&Manifest]) -> String {
    let shown = runs.iter().rev().take(CANDIDATES).map(|run| match &run.name {
        Some(name) => format!("{} ({name})", run.id),
        None => run.id.clone(),
    });
    let mut shown: Vec<String> = shown.collect();
    if runs.len() > CANDIDATES {
        shown.push(format!("{} older ones", runs.len() - CANDIDATES));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::{WindowId, build};
    use super::*;

    /// Runs of these ids, names and seconds; the first ones have a window's directory.
    fn store(folder: &std::path::Path, runs: &[(&str, Option<&str>)]) -> Store {
        let store = Store::new(folder);
        for (second, (id, name)) in runs.iter().enumerate() {
            let mut manifest = build::manifest(id, &[1]);
            manifest.created = format!("2026-11-22T10:15:{second:02}Z");
            manifest.name = name.map(str::to_string);
            manifest.order = vec![WindowId { level: 1, replicate: 1 }];
            let mut writer = store.create(manifest).unwrap();
            std::fs::create_dir(writer.directory().join("L0001-R1")).unwrap();
            writer.finish("complete").unwrap();
        }
        store
    }

    #[test]
    fn a_run_is_called_by_id_name_beginning_or_age() {
        let folder = tempfile::tempdir().unwrap();
        let runs = [
            ("20261122-101500-testbed", Some("base")),
            ("20261122-101501-testbed", None),
            ("20261123-000000-postgres", Some("base")),
        ];
        let store = store(folder.path(), &runs);
        let found = |reference: &str| {
            let resolved = store.resolve(reference).unwrap();
            (resolved.directory.file_name().unwrap().to_str().unwrap().to_string(), resolved.note)
        };
        for (reference, at) in [
            ("20261122-101501-testbed", 1),
            ("20261122-101501", 1),
            ("20261123", 2),
            ("base", 2),
            ("latest", 2),
            ("latest~0", 2),
            ("latest~2", 0),
        ] {
            assert_eq!(found(reference).0, runs[at].0, "{reference}");
        }
        assert_eq!(found("base").1.unwrap(), "`base` is 20261123-000000-postgres, the newest of 2 runs of that name");
        assert!(found("20261123").1.is_none());
        for (reference, message) in [
            ("20261122", "`20261122` could be 20261122-101501-testbed, 20261122-101500-testbed (base)"),
            ("latest~3", "has only 3 runs with a window"),
            ("bas", "holds a manifest.json; there is 20261123-000000-postgres (base)"),
            ("", "no run ``"),
            (folder.path().to_str().unwrap(), "is a directory of runs and no run: write --runs "),
            ("latest~x", "no run `latest~x`"),
        ] {
            let error = store.resolve(reference).unwrap_err().to_string();
            assert!(error.contains(message), "{reference}: {error}");
        }
    }

    #[test]
    fn a_name_is_no_id_no_path_and_not_latest() {
        assert!(["before-batching", "v2", "a_b.c"].iter().all(|text| name(text).is_ok()));
        assert!(
            ["", "20261122", "2", "latest", "latest~1", "a/b", "..", "-x", "a b", "é"].iter().all(|t| name(t).is_err())
        );
    }
}
