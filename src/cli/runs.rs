//! `wireprof runs`: the stored runs, one of them in short, or the end of old ones.

use super::conduct::age;
use super::ending::Ending;
use super::names::Names;
use super::overview::observing;
use super::shown::{OF_RUN, Shown};
use super::{ARGUMENTS, Common, Outcome, Usage, input, output};
use crate::analyze::judge::machine::{load_thread_notes, machine_notes};
use crate::analyze::judge::summary::summary;
use crate::parallel;
use crate::render::{
    Cell, Column, Report, Section, StoredRun, Table, checks_report, level_tables, manifest_lines, runs_report,
};
use crate::run::{Kept, Manifest, Parts, Run, Store, unread_told};
use crate::words::counted;
use anyhow::{Result, anyhow};
use clap::Args;
use std::time::{Duration, SystemTime};

/// Stored runs; with a run, its levels, checks and set-up
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
A run is called by its id or the beginning of it, its name (--name of the verb that made it), its path, latest, or \
latest~N, the Nth before the latest.

Examples:
  wireprof runs
  # its answer
  wireprof runs latest~1
  # and its levels, checks and set-up
  wireprof runs latest --full
  wireprof runs --json --last 100
  wireprof runs --prune --keep 20 --dry-run
  wireprof runs --prune --older-than 14d"
)]
pub struct Runs {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(help_heading = ARGUMENTS)]
    run: Option<String>,
    /// Runs at most, the newest
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// Remove old runs from the directory of runs; those with a name stay
    #[arg(long, conflicts_with = "run", help_heading = "Removing runs")]
    prune: bool,
    /// Keep the newest N
    #[arg(long, value_name = "N", requires = "prune", help_heading = "Removing runs")]
    keep: Option<usize>,
    /// Remove only what is older, such as 12h or 14d
    #[arg(long, value_name = "TIME", requires = "prune", value_parser = age, help_heading = "Removing runs")]
    older_than: Option<Duration>,
    /// Remove runs that have a name, too
    #[arg(long, requires = "prune", help_heading = "Removing runs")]
    named: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long, requires = "prune", help_heading = "Removing runs")]
    dry_run: bool,
    #[command(flatten)]
    shown: Shown,
}

impl Runs {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        if self.prune {
            return self.remove(common);
        }
        if let Some(reference) = &self.run {
            self.shown.check(&OF_RUN)?;
            let input::Loaded { run, directory } = input::load_any(common, reference, Parts::ALL)?;
            let (names, preset) = (Names::default(), input::preset(&run.manifest, None));
            let ending = Ending { common, names: &names, shown: &self.shown, directory: &directory, events: None };
            return ending.tell(run, &preset, |run| run_report(run, common.json));
        }
        let store = Store::new(&common.runs);
        let (mut manifests, unread) = store.read_all().map_err(Usage)?;
        let left_out = manifests.len().saturating_sub(self.last);
        let shown = manifests.split_off(left_out);
        let now = SystemTime::now();
        let shown = parallel::each(&shown, |manifest| stored(&store, manifest, now));
        let mut report = runs_report(&shown, &unread, common.json);
        if !unread.is_empty() {
            report.sections[0].notes.push(format!("{}.", unread_told(&store, &unread)));
        } else if shown.is_empty() && left_out == 0 {
            report.sections[0].notes.push(format!(
                "No run in {} yet: `wireprof sweep` makes one, --runs names another place.",
                common.runs.display()
            ));
        }
        if left_out > 0 {
            report.sections[0]
                .notes
                .push(format!("Not shown: {} (--last N shows more).", counted(left_out as u64, "older run")));
        }
        let none = shown.is_empty() && !unread.is_empty();
        output::report(common, &report).map(|outcome| if none { Outcome::NotPermitted } else { outcome })
    }

    /// Removes what is not to be kept, and says what that was.
    fn remove(&self, common: &Common) -> Result<Outcome> {
        if self.keep.is_none() && self.older_than.is_none() {
            return Err(anyhow!(Usage(anyhow!(
                "--prune removes nothing by itself: say what stays, with --keep N, --older-than TIME or both"
            ))));
        }
        let since = self.older_than.map(|age| SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
        let kept = Kept { newest: self.keep, since, named_too: self.named };
        let (removed, rest) = Store::new(&common.runs).prune(&kept, self.dry_run)?;
        let columns = vec![
            Column::whole("run", "run"),
            Column::whole("name", "name"),
            Column::text("created", "created"),
            Column::number("bytes", "size", "bytes"),
        ];
        let row = |one: &crate::run::Removed| {
            let Manifest { id, name, created, .. } = &one.manifest;
            let name = name.clone().map_or(Cell::Empty, Cell::Text);
            vec![Cell::Text(id.clone()), name, Cell::Text(created.clone()), Cell::Count(one.bytes)]
        };
        let bytes: u64 = removed.iter().map(|one| one.bytes).sum();
        let done = if self.dry_run { "would be removed" } else { "removed" };
        let mut notes =
            vec![format!("{} with {:.1} MB {done}.", counted(removed.len() as u64, "run"), bytes as f64 / 1e6)];
        notes.extend(rest.iter().map(|rest| format!("{} stays: {}.", rest.what, rest.why)));
        let tables = if removed.is_empty() {
            Vec::new()
        } else {
            vec![Table { id: "removed", columns, rows: removed.iter().map(row).collect(), ..Table::default() }]
        };
        let title = if self.dry_run { "Runs that would be removed" } else { "Removed runs" };
        let section = Section { id: "removed", tables, notes, ..Section::default() };
        output::report(
            common,
            &Report {
                title: title.into(),
                runs: removed.iter().map(|one| one.manifest.id.clone()).collect(),
                sections: vec![section],
            },
        )
    }
}

/// A line of the list: no profile, metric or histogram is read for it.
fn stored(store: &Store, manifest: &Manifest, now: SystemTime) -> StoredRun {
    let created = humantime::parse_rfc3339(&manifest.created).ok();
    let highest = store.highest(manifest).map_err(|error| format!("{error:#}"));
    let highest = highest.and_then(|run| summary(&run).pop().ok_or_else(|| "the run has no window".into()));
    let verdict = store.verdict(manifest).map(|verdict| verdict.words);
    StoredRun {
        manifest: manifest.clone(),
        age: created.and_then(|created| now.duration_since(created).ok()),
        highest,
        verdict: verdict.ok_or_else(|| "no finding is kept with it; `wireprof diagnose RUN` has them".into()),
    }
}

/// One run in short; `all_checks`: those that pass have rows as well.
fn run_report(run: &Run, all_checks: bool) -> Report {
    let levels =
        Section { id: "levels", title: "Levels".into(), tables: level_tables(&summary(run)), ..Section::default() };
    let notes = [manifest_lines(&run.manifest), load_thread_notes(run), machine_notes(run)].concat();
    let setup = Section { id: "setup", title: "Measured with".into(), notes, ..Section::default() };
    let mut sections = vec![levels];
    sections.extend(observing(run));
    sections.extend(checks_report(run, all_checks).sections);
    sections.push(setup);
    Report { title: format!("Run {}", run.manifest.id), runs: vec![run.manifest.id.clone()], sections }
}
