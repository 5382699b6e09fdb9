//! `wireprof import`: recordings made by hand (dbbench output, metrics dumps, folded stacks), or profiles that other
//! tools took (perf.data, folded stacks, pprof), become a stored run.

use super::diagnose::keep_verdict;
use super::ending::Ending;
use super::import_pyroscope::{Continuous, Fetched};
use super::names::Names;
use super::overview::{guards_failed, overview};
use super::progress::Progress;
use super::run_name::RunName;
use super::shown::{OF_RUN, Shown};
use super::{ARGUMENTS, Common, Outcome, Usage};
use crate::analyze::judge::checks::check_window;
use crate::connection::shown_arguments;
use crate::import::{FoldedUnit, ImportOptions, Imported, ProfileFile, ProfileOptions, Told, import, import_profiles};
use crate::preset::Preset;
use crate::run::{COMPLETE, Expositions, Store};
use crate::workload::parse_duration;
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Make a stored run of recordings made by hand or of old profiles, so that the other verbs can read them
#[derive(Args)]
#[command(
    next_help_heading = "What is read",
    after_help = "\
Files are perf.data (perf must be installed), the text of perf script, folded stacks or pprof of any producer; text \
and pprof may be gzipped. Several files of a level are its replicates. Without --queries or --qps shares are shown, \
and nothing per query.

A directory holds one directory cN per level N, with any of these, each of which may be gzipped: dbbench.txt \
(needed), bench.ini, timeline.txt, folded.txt (perf script | inferno-collapse-perf), metrics-before.prom and \
metrics-after.prom, pgss-before.csv and pgss-after.csv, schedstat-, stat-, cpu- and OTHER-before.txt and -after.txt.

Examples:
  wireprof import perf.data --pid 4711 --qps 5200
  wireprof import --level 1=c1.perf --level 64=c64.perf \\
      --queries 1=51000 --queries 64=880000
  wireprof import before.pb.gz --qps 5200 --seconds 30 --name before
  # a profile of production, to be compared with a run
  wireprof import pyroscope=http://localhost:4040 --from 30m --qps 5200 \\
      --query 'process_cpu:cpu:nanoseconds:cpu:nanoseconds{region=\"eu\"}'
  wireprof import recordings/t --preset materialize --profile-seconds 15
  wireprof hot latest --focus peek"
)]
pub struct Import {
    /// A directory with a directory cN per level, profiles, or pyroscope=URL: a profile that Pyroscope keeps
    #[arg(value_name = "DIRECTORY|FILE|pyroscope=URL", required_unless_present = "level", help_heading = ARGUMENTS)]
    paths: Vec<PathBuf>,
    /// A profile taken at N clients; may be repeated
    #[arg(long, value_name = "N=FILE", value_parser = leveled)]
    level: Vec<(usize, PathBuf)>,
    /// Queries completed while a profile was taken, of all files or of those of level N
    #[arg(long, value_name = "[N=]COUNT", value_parser = count, conflicts_with = "qps")]
    queries: Vec<(Option<usize>, u64)>,
    /// Queries a second while a profile was taken, of all files or of those of level N
    #[arg(long, value_name = "[N=]RATE", value_parser = rate)]
    qps: Vec<(Option<usize>, f64)>,
    /// Seconds that each profile was taken for [default: as the file has it]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<f64>,
    /// Only the samples of this process
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// What the weights of folded stacks are [default: ns where they have a common period, else samples]
    #[arg(long, value_enum)]
    weights: Option<WeightsArgument>,
    /// Do not let perf look up inlined functions, which can take it minutes
    #[arg(long)]
    no_inlines: bool,
    /// What is particular to the server
    #[arg(long, value_name = "NAME|PATH", default_value = "generic")]
    preset: String,
    #[command(flatten)]
    continuous: Continuous,
    /// Of a directory: seconds that the stacks were recorded for [default: from the timeline, perf's own start and
    /// end included]
    #[arg(long, value_name = "S", value_parser = seconds)]
    profile_seconds: Option<f64>,
    /// The run's id [default: time of the recording and the directory's name]
    #[arg(long, value_name = "ID", value_parser = id, help_heading = "Output")]
    id: Option<String>,
    #[command(flatten)]
    name: RunName,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Clone, Copy, ValueEnum)]
enum WeightsArgument {
    Samples,
    Ns,
}

/// `16=FILE`
fn leveled(text: &str) -> Result<(usize, PathBuf), String> {
    let (level, file) = text.split_once('=').ok_or("write N=FILE, as in 16=c16.perf")?;
    match level.parse() {
        Ok(level) if level > 0 && !file.is_empty() => Ok((level, file.into())),
        _ => Err(format!("`{text}` names no level and file; write N=FILE, as in 16=c16.perf")),
    }
}

/// `COUNT` or `N=COUNT`
fn count(text: &str) -> Result<(Option<usize>, u64), String> {
    of_level(text)
        .filter(|(_, count)| *count > 0)
        .ok_or_else(|| format!("`{text}` is no number of queries; write 51000, or 16=51000"))
}

/// `RATE` or `N=RATE`
fn rate(text: &str) -> Result<(Option<usize>, f64), String> {
    let rate = of_level(text).filter(|(_, rate): &(_, f64)| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is no number of queries a second; write 5200, or 16=5200"))
}

fn of_level<T: FromStr>(text: &str) -> Option<(Option<usize>, T)> {
    match text.split_once('=') {
        Some((level, value)) => Some((Some(level.parse().ok()?), value.parse().ok()?)),
        None => Some((None, text.parse().ok()?)),
    }
}

/// What was told of a level, else of all.
fn told<T: Copy>(given: &[(Option<usize>, T)], level: Option<usize>) -> Option<T> {
    let of = |wanted: Option<usize>| given.iter().find(|(of, _)| *of == wanted).map(|(_, value)| *value);
    level.and_then(|level| of(Some(level))).or_else(|| of(None))
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

/// Options that do not apply, and whether each is absent: the first that was given is the error.
fn all_absent(options: &[(&'static str, bool)]) -> Result<(), &'static str> {
    options.iter().find(|(_, absent)| !absent).map_or(Ok(()), |(option, _)| Err(option))
}

fn usage(why: String) -> anyhow::Error {
    anyhow!(Usage(anyhow!(why)))
}

impl Import {
    pub fn run(mut self, common: &Common) -> Result<Outcome> {
        self.shown.check(&OF_RUN)?;
        let preset = Preset::load(&self.preset).map_err(|error| anyhow!(Usage(error.into())))?;
        let (progress, store) = (Progress::new(), Store::new(&common.runs));
        self.name.check(&store)?;
        progress.working("reading the recordings");
        let fetched = self.fetched()?;
        let mut imported = match (self.paths.as_slice(), self.level.as_slice()) {
            ([directory], []) if directory.is_dir() => self.directory(directory, &preset)?,
            _ => import_profiles(&self.files()?, &preset, &self.profile_options())?,
        };
        if let Some(fetched) = &fetched {
            let path = fetched.path.display().to_string();
            imported.manifest.notes.iter_mut().for_each(|note| *note = note.replace(&path, &fetched.shown));
        }
        imported.manifest.arguments = shown_arguments(std::env::args());
        imported.manifest.name = self.name.given();
        // What was asked for and does not apply must not be found only in the run's set-up.
        imported.manifest.notes.iter().for_each(|note| progress.note(note));
        let id = &imported.manifest.id;
        if store.holds(id) {
            let why = anyhow!("there is a run {id} already: name this one with --id, or remove that one");
            return Err(anyhow!(Usage(why)));
        }
        let mut writer = store.create(imported.manifest)?;
        for imported in &mut imported.windows {
            imported.window.checks = check_window(&preset, &writer.manifest, &imported.window);
            let scrapes = imported.scrapes.as_ref();
            let texts = scrapes.map(|(before, after)| Expositions { before, after, series: None, followed: None });
            writer.write_window(&imported.window, texts)?;
        }
        writer.finish(COMPLETE)?;
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
        if let Err(error) = keep_verdict(&run, &preset, writer.directory()) {
            progress.note(&format!("no finding is kept with the run: {error:#}"));
        }
        progress.done();
        let ended = if guards_failed(&run) { Outcome::CheckFailed } else { Outcome::Done };
        let (directory, shown_by) = (writer.directory(), Some(preset.clone()));
        let ending = Ending { common, names: &self.names, shown: &self.shown, directory, events: None };
        ending.tell(run, &Ok(preset), |run| overview(run, shown_by.as_ref(), &reference, common.json))?;
        Ok(ended)
    }

    /// Puts what a server keeps in the place of the argument that names it.
    fn fetched(&mut self) -> Result<Option<Fetched>> {
        let Some(first) = self.paths.first_mut() else { return Ok(None) };
        let Some(fetched) = self.continuous.fetched(first)? else { return Ok(None) };
        first.clone_from(&fetched.path);
        self.seconds.get_or_insert(fetched.seconds);
        Ok(Some(fetched))
    }

    fn directory(&self, directory: &Path, preset: &Preset) -> Result<Imported> {
        all_absent(&[
            ("--queries", self.queries.is_empty()),
            ("--qps", self.qps.is_empty()),
            ("--seconds", self.seconds.is_none()),
            ("--pid", self.pid.is_none()),
            ("--weights", self.weights.is_none()),
            ("--no-inlines", !self.no_inlines),
        ])
        .map_err(|option| {
            usage(format!("{option} is of a profile, and {} is a directory: its parts tell that", directory.display()))
        })?;
        let options = ImportOptions { id: self.id.clone(), profile_seconds: self.profile_seconds };
        let mut imported = import(directory, preset, &options)?;
        if self.id.is_none() {
            imported.manifest.id = id_of(&imported.manifest.created, directory);
        }
        Ok(imported)
    }

    /// The files with what is told of each.
    fn files(&self) -> Result<Vec<ProfileFile>> {
        all_absent(&[("--profile-seconds", self.profile_seconds.is_none())]).map_err(|option| {
            usage(format!("{option} is of a directory of recordings: of a profile give --seconds"))
        })?;
        let named = self.level.iter().map(|(level, path)| (Some(*level), path));
        let files = self.paths.iter().map(|path| (None, path)).chain(named).map(|(level, path)| {
            if !path.exists() {
                return Err(usage(format!(
                    "{} does not exist: give a profile, or a directory of recordings (c1, c16, ...)",
                    path.display()
                )));
            }
            // A pipe is read like a file.
            if path.is_dir() {
                return Err(usage(format!(
                    "{} is a directory: of several arguments each is a profile",
                    path.display()
                )));
            }
            let told =
                Told { queries: told(&self.queries, level), rate: told(&self.qps, level), seconds: self.seconds };
            Ok(ProfileFile { path: path.clone(), level, divisor: told })
        });
        let files = files.collect::<Result<Vec<_>>>()?;
        let lost = |of: Option<usize>| of.is_some_and(|of| files.iter().all(|file| file.level != Some(of)));
        let told = self.queries.iter().map(|(of, _)| *of).chain(self.qps.iter().map(|(of, _)| *of));
        match told.into_iter().find(|of| lost(*of)).flatten() {
            Some(level) => Err(anyhow!(Usage(anyhow!(
                "queries are given of level {level}, and no file of it: add --level {level}=FILE"
            )))),
            None => Ok(files),
        }
    }

    fn profile_options(&self) -> ProfileOptions {
        let first = self.paths.first().or(self.level.first().map(|(_, path)| path));
        let modified = first.and_then(|path| path.metadata().ok()?.modified().ok());
        let modified = modified.map_or_else(String::new, |time| humantime::format_rfc3339_seconds(time).to_string());
        let id = || first.map_or_else(String::new, |path| id_of(&modified, path));
        ProfileOptions {
            id: self.id.clone().unwrap_or_else(id),
            created: modified.clone(),
            pid: self.pid,
            inlines: !self.no_inlines,
            weights: self.weights.map(|weights| match weights {
                WeightsArgument::Samples => FoldedUnit::Samples,
                WeightsArgument::Ns => FoldedUnit::Nanoseconds,
            }),
        }
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
