//! Runs on disk: `runs/ID/manifest.json` and a directory a window, in standard formats (listed
//! below). Invariant: a window's directory appears whole or not at all (written under a temporary name, renamed), so
//! a run that was cut short stays readable up to its last whole window.
//!
//! `window.json` facts, `load.json` + `latency.hdr` (HdrHistogram interval log, an entry a 50 ms slice),
//! `profile.pb.gz` (pprof) + `sampling.json`, `offcpu.pb.gz` (pprof) + `offcpu.json`, `metrics-before.prom.gz`,
//! `metrics-after.prom.gz`, `metrics-series.prom` (once a second), `scheduler.json`, `wire.json`, `timelines.json.gz`
//! (whole timelines of a sample of the queries), `statements.json`, `guards.json` (the checks), `beside.json` +
//! `beside-N.pb.gz` (pprof; the companions). In the run's own directory, where it was asked for: `observer.json`.

use super::read::{read_window, read_windows};
use super::window_file::{WindowFile, window_files};
use super::{Damaged, Manifest, ObserverWindows, Run, SCHEMA, Window, WindowId};
use crate::metrics::Scrape;
use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// `ended` of a run that is still being written, or whose writer was killed.
pub const RUNNING: &str = "running";

/// `ended` of a run that has all its windows.
pub const COMPLETE: &str = "complete";

const OBSERVER: &str = "observer.json";

/// A directory of runs.
pub struct Store {
    directory: PathBuf,
}

/// What to read of a run; the manifest and the windows' facts, loads and checks always.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// On-CPU and off-CPU profiles of the target.
    pub profiles: bool,
    /// The companions' profiles.
    pub companions: bool,
    /// The two scrapes of each window.
    pub metrics: bool,
    /// Whole timelines of a sample of the queries.
    pub timelines: bool,
}

impl Parts {
    /// The whole run.
    pub const ALL: Parts = Parts { profiles: true, companions: true, metrics: true, timelines: true };
    /// Manifest, facts, loads and checks alone.
    pub const NONE: Parts = Parts { profiles: false, companions: false, metrics: false, timelines: false };
}

/// The texts that a window's metrics were read from.
pub struct Expositions<'a> {
    /// The scrape at the window's start.
    pub before: &'a Scrape,
    /// The scrape at the window's end.
    pub after: &'a Scrape,
    /// `metrics-series.prom`, if there is one.
    pub series: Option<&'a str>,
    /// The scrapes around the seconds in which carriers were followed, if they were.
    pub followed: Option<[&'a Scrape; 2]>,
}

impl Store {
    /// The store in this directory, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Store {
        Store { directory: directory.into() }
    }

    /// Where a run lies.
    pub fn directory(&self, manifest: &Manifest) -> PathBuf {
        self.place(&manifest.id)
    }

    pub(super) fn place(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }

    pub(super) fn root(&self) -> &Path {
        &self.directory
    }

    /// Where the run lies that is meant: [`Store::resolve`] says how runs are called.
    pub fn find(&self, reference: &str) -> Result<PathBuf> {
        self.resolve(reference).map(|resolved| resolved.directory)
    }

    /// A whole run.
    pub fn load(&self, reference: &str) -> Result<Run> {
        self.load_parts(reference, Parts::ALL)
    }

    /// A run without the parts that are not asked for; refused where a window of it is damaged.
    pub fn load_parts(&self, reference: &str, parts: Parts) -> Result<Run> {
        let run = Store::load_readable(&self.find(reference)?, parts)?;
        match run.damaged.first() {
            Some(first) => bail!("{}", first.why),
            None => Ok(run),
        }
    }

    /// The manifest of the run in this directory.
    pub fn manifest_at(directory: &Path) -> Result<Manifest> {
        read_manifest(directory)
    }

    /// What can be read of the run in this directory; an error where none of its windows can.
    pub fn load_readable(directory: &Path, parts: Parts) -> Result<Run> {
        let manifest = read_manifest(directory)?;
        let (windows, damaged) = read_windows(&window_directories(directory, &manifest), parts)?;
        let observer = read_optional(&directory.join(OBSERVER))?;
        Ok(Run { manifest, windows, observer, damaged })
    }

    /// A run's windows one after the other, by level, then replicate, for runs whose profiles are too large together.
    /// A window that cannot be read is left out and told of, unless none can be read.
    pub fn load_each(
        directory: &Path,
        parts: Parts,
        mut each: impl FnMut(&Manifest, Window),
    ) -> Result<(Manifest, Vec<Damaged>)> {
        let manifest = read_manifest(directory)?;
        let (mut read, mut damaged) = (0, Vec::new());
        for path in window_directories(directory, &manifest) {
            match read_window(&path, parts) {
                Ok(window) => {
                    read += 1;
                    each(&manifest, window);
                }
                Err(error) => damaged.push(Damaged::of(&path, &error)),
            }
        }
        match damaged.first().filter(|_| read == 0) {
            Some(first) => bail!("{}", first.why),
            None => Ok((manifest, damaged)),
        }
    }

    /// Whether a run of this id is stored.
    pub fn holds(&self, id: &str) -> bool {
        self.directory.join(id).join("manifest.json").exists()
    }

    /// Adds what observing costs to a stored run.
    pub fn write_observer(&self, manifest: &Manifest, observer: &ObserverWindows) -> Result<()> {
        write_json(&self.directory(manifest).join(OBSERVER), observer)
    }

    /// Starts the directory of a run whose id was chosen by somebody.
    ///
    /// # Errors
    /// There is one of this id already, or it cannot be written.
    pub fn create(&self, manifest: Manifest) -> Result<RunWriter> {
        match self.claim(&manifest.id)? {
            Some(reserved) => reserved.begin(manifest),
            None => bail!("there is a run {} already, at {}", manifest.id, self.directory(&manifest).display()),
        }
    }
}

/// Writes one run, window by window.
pub struct RunWriter {
    directory: PathBuf,
    /// The manifest as the next [`RunWriter::write_manifest`] writes it.
    pub manifest: Manifest,
}

impl RunWriter {
    /// Whatever the manifest says of its end, the run is under way until [`RunWriter::finish`]: who reads it meanwhile,
    /// perhaps on another machine, does not take what is there for the whole.
    pub(super) fn begin(directory: PathBuf, mut manifest: Manifest) -> Result<RunWriter> {
        manifest.ended = RUNNING.into();
        let writer = RunWriter { directory, manifest };
        writer.write_manifest()?;
        Ok(writer)
    }

    /// The run's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes the manifest again, atomically.
    pub fn write_manifest(&self) -> Result<()> {
        let path = self.directory.join("manifest.json");
        let temporary = self.directory.join(".manifest.json.tmp");
        let written = write_json(&temporary, &self.manifest)
            .and_then(|()| fs::rename(&temporary, &path).map_err(|error| refused("write", &path, &error)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Plans windows after all others.
    pub fn plan_further(&mut self, windows: &[WindowId]) -> Result<()> {
        self.manifest.order.extend(windows);
        self.write_manifest()
    }

    /// Writes a window whole, or leaves nothing of it.
    pub fn write_window(&self, window: &Window, expositions: Option<Expositions>) -> Result<()> {
        self.write_window_of(window.id(), &window_files(window, expositions)?)
    }

    /// As [`RunWriter::write_window`], of files that are made already.
    pub fn write_window_of(&self, id: WindowId, files: &[WindowFile]) -> Result<()> {
        let path = self.directory.join(id.directory());
        let temporary = self.directory.join(format!(".{}.tmp", id.directory()));
        let _ = fs::remove_dir_all(&temporary);
        let written = write_files(&temporary, files)
            .and_then(|()| fs::rename(&temporary, &path).map_err(|error| refused("write", &path, &error)));
        if written.is_err() {
            let _ = fs::remove_dir_all(&temporary);
        }
        written
    }

    /// The window that such files hold, which are of no run yet.
    ///
    /// # Errors
    /// Files that are damaged, or cannot be kept beside the run for the moment.
    pub fn read_files(&self, files: &[WindowFile]) -> Result<Window> {
        let directory = tempfile::Builder::new().prefix(".received").tempdir_in(&self.directory)?;
        write_files(directory.path(), files)?;
        read_window(directory.path(), Parts::ALL)
    }

    /// Ends the run: `complete`, or why it was cut short.
    pub fn finish(&mut self, ended: &str) -> Result<()> {
        self.manifest.ended = ended.to_string();
        self.write_manifest()
    }
}

/// Writes files into a directory of their own.
fn write_files(directory: &Path, files: &[WindowFile]) -> Result<()> {
    fs::create_dir_all(directory).map_err(|error| refused("create", directory, &error))?;
    files.iter().try_for_each(|file| write_file(&directory.join(&file.name), &file.bytes))
}

/// The directories of the windows that were written, by level, then replicate, those included that are gone since: of a
/// complete run all, of one that ended early those before the last that is there, since they are written in order.
pub(super) fn window_directories(directory: &Path, manifest: &Manifest) -> Vec<PathBuf> {
    let path = |id: &WindowId| directory.join(id.directory());
    let written = match manifest.ended.as_str() {
        COMPLETE => manifest.order.len(),
        _ => manifest.order.iter().rposition(|id| path(id).is_dir()).map_or(0, |last| last + 1),
    };
    let mut ids: Vec<WindowId> = manifest.order[..written].to_vec();
    ids.sort();
    ids.iter().map(path).collect()
}

pub(super) fn read_manifest(directory: &Path) -> Result<Manifest> {
    let path = directory.join("manifest.json");
    let mut manifest: Manifest = read_json(&path)?;
    if manifest.schema > SCHEMA {
        bail!(
            "{} has schema {}, this wireprof reads up to {SCHEMA}: use the version that wrote it ({})",
            path.display(),
            manifest.schema,
            manifest.tool
        );
    }
    if manifest.ended == RUNNING {
        manifest.ended = "cut short: its writer has not finished it".into();
    }
    Ok(manifest)
}

pub(super) fn open(path: &Path) -> Result<std::io::BufReader<fs::File>> {
    let file = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(std::io::BufReader::new(file))
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    // From memory, which takes a third of the time that reading byte by byte does.
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.is_empty() {
        return Err(anyhow!("the file is empty").context(format!("{} is damaged", path.display())));
    }
    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
}

pub(super) fn read_optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_file(path, &to_json(value)?)
}

/// Writes through to the disk, so that a rename never publishes a file whose bytes are not there.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| refused("write", path, &error))
}

/// Why something of a run cannot be written, with the remedy.
fn refused(what: &str, path: &Path, error: &std::io::Error) -> anyhow::Error {
    let path = path.display();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => anyhow!(
            "no space left to {what} {path}: free some, or choose another place with --runs; finished windows are kept"
        ),
        Some(libc::EFBIG) => anyhow!(
            "cannot {what} {path}: files may not be that large here: raise the limit (`ulimit -f unlimited`); finished \
             windows are kept"
        ),
        _ => anyhow!("cannot {what} {path}: {error}: make it writable, or choose another place with --runs"),
    }
}
