//! `wireprof runs`: the stored runs, or one of them in short.

use super::ending::Ending;
use super::names::Names;
use super::overview::observing;
use super::shown::{OF_RUN, Shown};
use super::{Common, Outcome, input, output};
use crate::analyze::judge::machine::machine_notes;
use crate::analyze::judge::summary::summary;
use crate::render::{Report, Section, checks_report, level_tables, manifest_lines, runs_report};
use crate::run::{Parts, Run, Store};
use anyhow::Result;
use clap::Args;

/// Stored runs; with a run, its levels, checks and set-up
#[derive(Args)]
#[command(after_help = "\
Examples:
  wireprof runs
  wireprof runs latest           its answer
  wireprof runs latest --full    and its levels, checks and set-up
  wireprof runs --json --last 100")]
pub struct Runs {
    /// Run: its id, its path, or `latest`
    run: Option<String>,
    /// Runs at most, the newest
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    #[command(flatten)]
    shown: Shown,
}

impl Runs {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        if let Some(reference) = &self.run {
            self.shown.check(&OF_RUN)?;
            let input::Loaded { run, directory } = input::load_any(common, reference, Parts::ALL)?;
            let (names, preset) = (Names::default(), input::preset(&run.manifest, None));
            let ending = Ending { common, names: &names, shown: &self.shown, directory: &directory, pictures: None };
            return ending.tell(run, &preset, |run, _| run_report(run));
        }
        let manifests = Store::new(&common.runs).list()?;
        let left_out = manifests.len().saturating_sub(self.last);
        let mut report = runs_report(&manifests[left_out..]);
        if manifests.is_empty() {
            report.sections[0].notes.push(format!(
                "No run in {} yet: `wireprof sweep` makes one, --runs names another place.",
                common.runs.display()
            ));
        } else if left_out > 0 {
            report.sections[0].notes.push(format!("{left_out} older runs are not shown: --last N shows more."));
        }
        output::report(common, &report)
    }
}

/// One run in short: the same that ends a sweep.
pub fn run_report(run: &Run) -> Report {
    let levels =
        Section { id: "levels", title: "Levels".into(), tables: level_tables(&summary(run)), ..Section::default() };
    let notes = [manifest_lines(&run.manifest), machine_notes(run)].concat();
    let setup = Section { id: "setup", title: "Measured with".into(), notes, ..Section::default() };
    let mut sections = vec![levels];
    sections.extend(observing(run));
    sections.extend(checks_report(run).sections);
    sections.push(setup);
    Report { title: format!("Run {}", run.manifest.id), sections }
}
