//! `wireprof import`: recordings made by hand (dbbench output, metrics dumps, folded stacks) become a stored run.

use super::names::Names;
use super::overview::{guards_failed, overview};
use super::progress::Progress;
use super::{Common, Outcome, Usage};
use crate::analyze::guards::check_window;
use crate::import::{ImportOptions, import};
use crate::preset::Preset;
use crate::run::{Expositions, Store};
use crate::workload::parse_duration;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use std::path::{Path, PathBuf};

/// Make a stored run of recordings made by hand, so that the other verbs can read them
#[derive(Args)]
#[command(after_help = "\
The directory holds one directory cN per level N, with any of these (each may be gzipped):
  dbbench.txt (needed), bench.ini, timeline.txt, folded.txt (perf script | inferno-collapse-perf),
  metrics-before.prom and metrics-after.prom, pgss-before.csv and pgss-after.csv,
  schedstat-, stat-, cpu- and OTHER-before.txt and -after.txt

Examples:
  wireprof import recordings/t --preset materialize --profile-seconds 15
  wireprof hot latest --focus peek")]
pub struct Import {
    /// Directory with a directory cN per level
    directory: PathBuf,
    /// What is particular to the server
    #[arg(long, value_name = "NAME|PATH", default_value = "generic")]
    preset: String,
    /// Seconds that the stacks were recorded for [default: from the timeline, perf's own start and end included]
    #[arg(long, value_name = "S", value_parser = seconds)]
    profile_seconds: Option<f64>,
    /// The run's id [default: time of the recording and the directory's name]
    #[arg(long, value_name = "ID", value_parser = id)]
    id: Option<String>,
    #[command(flatten)]
    names: Names,
}

/// Plain seconds (`15`), or a length of time (`15s`).
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().or_else(|| parse_duration(text).map(|time| time.as_secs_f64()));
    let seconds = seconds.filter(|s: &f64| s.is_finite() && *s > 0.0);
    seconds.ok_or_else(|| format!("`{text}` is no length of time; write 15 or 15s"))
}

fn id(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if plain && !text.starts_with('.') && text != "latest" {
        return Ok(text.to_string());
    }
    Err("an id names a directory: letters, digits, `-`, `_` and `.`, not `latest`".into())
}

impl Import {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let preset = Preset::load(&self.preset).map_err(|error| anyhow!(Usage(error.into())))?;
        if !self.directory.is_dir() {
            let why = anyhow!("{} is no directory: give the one that holds c1, c16, ...", self.directory.display());
            return Err(anyhow!(Usage(why)));
        }
        let progress = Progress::new();
        progress.working("reading the recordings");
        let options = ImportOptions { id: self.id.clone(), profile_seconds: self.profile_seconds };
        let mut imported = import(&self.directory, &preset, &options)?;
        let manifest = &mut imported.manifest;
        if self.id.is_none() {
            manifest.id = id_of(&manifest.created, &self.directory);
        }
        manifest.arguments = std::env::args().collect();
        let store = Store::new(&common.runs);
        if store.holds(&manifest.id) {
            let why = anyhow!("there is a run {} already: name this one with --id, or remove that one", manifest.id);
            return Err(anyhow!(Usage(why)));
        }
        let mut writer = store.create(imported.manifest)?;
        for imported in &mut imported.windows {
            imported.window.guards = check_window(&preset, &writer.manifest, &imported.window);
            let scrapes = imported.scrapes.as_ref();
            let texts = scrapes.map(|(before, after)| Expositions { before, after, series: None });
            writer.write_window(&imported.window, texts)?;
        }
        writer.finish("complete")?;
        let reference = writer.directory().display().to_string();
        // What is shown is what was stored.
        let run = store.load(&reference).context("the run was written and cannot be read again")?;
        if run.windows.len() != imported.windows.len() {
            bail!(
                "{reference} holds {} of {} windows; is somebody else writing there?",
                run.windows.len(),
                imported.windows.len()
            );
        }
        progress.done();
        self.names.report(common, overview(&run, Some(&preset), &reference, Vec::new()))?;
        Ok(if guards_failed(&run) { Outcome::CheckFailed } else { Outcome::Done })
    }
}

/// `20261122-091150-t`: when it was recorded, as far as that is known, and what it is called.
fn id_of(created: &str, directory: &Path) -> String {
    let digits: String = created.chars().filter(char::is_ascii_digit).take(14).collect();
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
    let name = directory.file_name().map_or_else(|| "import".into(), |name| name.to_string_lossy().into_owned());
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    match digits.len() {
        14 => format!("{}-{}-{name}", &digits[..8], &digits[8..]),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_recordings_time_and_name_and_fits_a_directory() {
        assert_eq!(id_of("2026-11-22T09:11:50Z", Path::new("/x/a b")), "20261122-091150-a_b");
        assert_eq!(id_of("", Path::new("/x/t")), "t");
        assert!(id("latest").is_err() && id("a/b").is_err() && id("..").is_err() && id("a-1.b").is_ok());
        assert_eq!((seconds("15"), seconds("1500ms")), (Ok(15.0), Ok(1.5)));
        assert!(seconds("0").is_err() && seconds("x").is_err() && seconds("inf").is_err());
    }
}
