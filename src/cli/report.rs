//! `wireprof report`: a run, or two, as one page for a browser.

use super::diff::{refuse, sides};
use super::progress::Progress;
use super::{ARGUMENTS, Common, Outcome, Usage, diagnose, explain, input, output, shown};
use crate::analyze::compare::difference::{Difference, Options, compare};
use crate::analyze::compare::headline::headline;
use crate::analyze::cost::carrier_names::Naming;
use crate::analyze::page::Page;
use crate::parallel;
use crate::preset::Preset;
use crate::render::flamegraph::{Wanted, write_picture};
use crate::render::page::{Compared, Material, flames, page};
use crate::render::{self, Cell, Column, Picture, Section, Table, difference_report};
use crate::run::{Parts, Run};
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::{Path, PathBuf};

/// The page of a run, in its directory.
const PAGE: &str = "report.html";

/// One page for a browser: the answer, charts, functions, flamegraphs, the evidence; it needs no network and no server
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
Examples:
  # the latest run, as report.html in its directory
  wireprof report
  wireprof report RUN -o report.html
  # what changed from one run to another, then all of the run after
  wireprof report BEFORE AFTER -o change.html"
)]
pub struct Report {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`; with a second one the run before
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Run after a change: the page begins with what is different
    #[arg(help_heading = ARGUMENTS)]
    after: Option<String>,
    /// Preset to take rules, focus and runtime frames from [default: the run's]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    /// Compare runs of unlike hosts or sampling events all the same
    #[arg(long, requires = "after")]
    anyway: bool,
    /// File to write [default: report.html in the run's directory, of two runs in that of the run after]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
}

impl Report {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let progress = Progress::new();
        if let Some(path) = self.output.as_ref().filter(|path| path.is_dir()) {
            let file = path.join(PAGE);
            let why = anyhow!("-o {} is a directory: give a file's name, such as {}", path.display(), file.display());
            return Err(anyhow!(Usage(why)));
        }
        let shown = self.after.as_ref().unwrap_or(&self.run);
        working(&progress, "reading the run");
        let loaded = input::load(common, shown, Parts::ALL)?;
        let run = &loaded.run;
        let preset = input::preset(&run.manifest, self.preset.as_deref());
        if let (Some(_), Err(why)) = (&self.preset, &preset) {
            return Err(anyhow!(Usage(anyhow!("{why:#}"))));
        }
        let difference = match &self.after {
            Some(after) => Some(self.difference(common, after, preset.as_ref().ok())?),
            None => None,
        };
        if let Some(difference) = difference.as_ref().filter(|difference| difference.incomparable().next().is_some())
            && !self.anyway
        {
            refuse(difference);
            return Ok(Outcome::CheckFailed);
        }
        let named = self.output.is_some();
        let path = self.output.unwrap_or_else(|| loaded.directory.join(PAGE));
        working(&progress, "analysing it");
        let text = text(run, &preset, &loaded.directory, difference.as_ref())?;
        progress.done();
        write_page(&path, &text, named)?;
        match common.json {
            true => output::report(common, &told(run, difference.as_ref(), &path, text.len())),
            false => output::text(&format!("{}\n", path.display())),
        }
    }

    /// The comparison that heads the page.
    fn difference(&self, common: &Common, after: &str, preset: Option<&Preset>) -> Result<Difference> {
        let options = Options { preset, ..Options::default() };
        let ((before, _), (after, _)) = sides(common, [&self.run, after], &options)?;
        Ok(compare(&before, &after, &options))
    }
}

/// Writes the page where it was asked for, or into the run's directory, which may be another's.
fn write_page(path: &Path, text: &str, named: bool) -> Result<()> {
    let remedy = if named { "" } else { "; -o FILE writes it elsewhere" };
    write_picture(path, text).map_err(|error| anyhow!("{error:#}{remedy}"))
}

/// What programs are told: where the page is, and how large.
fn told(run: &Run, difference: Option<&Difference>, path: &Path, bytes: usize) -> render::Report {
    let size = Table {
        columns: vec![Column::number("size", "size", "bytes")],
        rows: vec![vec![Cell::Count(bytes as u64)]],
        ..Table::default()
    };
    let page = Picture { title: "the report page".into(), path: path.display().to_string() };
    let section = Section { id: "page", tables: vec![size], pictures: vec![page], ..Section::default() };
    let before = difference.map(|difference| difference.before.clone());
    let runs = before.into_iter().chain([run.manifest.id.clone()]).collect();
    render::Report { title: "Report page".into(), runs, sections: vec![section] }
}

/// Says what goes on to who looks on; what is read from a pipe needs no such lines.
fn working(progress: &Progress, what: &str) {
    if progress.is_live() {
        progress.working(what);
    }
}

/// The page of a run by its own preset.
///
/// # Errors
/// A part of it could not be analysed.
pub(super) fn page_of(run: &Run, directory: &Path) -> Result<String> {
    text(run, &input::preset(&run.manifest, None), directory, None)
}

/// The page of a run.
fn text(run: &Run, preset: &Result<Preset>, directory: &Path, difference: Option<&Difference>) -> Result<String> {
    // Where the run's preset is gone, folding is told by what any server has.
    let generic = Preset::built_in("generic")?;
    let known = preset.as_ref().unwrap_or(&generic);
    let wanted = Wanted {
        everything: true,
        foci: preset.as_ref().map_or_else(|_| Vec::new(), input::foci),
        folding: known.folding(),
        naming: Some(Naming::of(known, &run.manifest)),
        ..Wanted::default()
    };
    let judged = preset.as_ref().ok().filter(|preset| !preset.rule.is_empty());
    let why = preset.as_ref().map_err(|why| format!("{why:#}"));
    let ids = shown::OF_RUN.map(String::from);
    let reference = directory.display().to_string();
    let figures = || Page::of(run, why, judged.map_or_else(Vec::new, |preset| diagnose::all_levels(run, preset)));
    let tables = || explain::of_run(run, preset, &ids, &reference);
    let (flames, (sections, figures)) = parallel::both(|| flames(run, &wanted), || parallel::both(tables, figures));
    let found = difference.map(|found| (found, headline(found), difference_report(found).sections));
    let compared = found.as_ref().map(|(difference, headline, sections)| Compared { difference, headline, sections });
    Ok(page(&Material { page: &figures, sections: &sections, flames, compared }))
}
