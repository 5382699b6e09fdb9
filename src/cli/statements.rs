//! `wireprof statements`: what the database's statement statistics say of each level.

use super::{ARGUMENTS, Common, Outcome, input, output};
use crate::analyze::cost::statements::{statement_sources, statements};
use crate::preset::Preset;
use crate::render::{Report, Section, statements_section};
use crate::run::{Parts, Run};
use anyhow::Result;
use clap::Args;

/// Statements of the database per level: calls per query, and times per call with the calls they were measured in
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
Examples:
  # the latest run: the preset's watched statements first
  wireprof statements
  wireprof statements RUN --top 30 --json"
)]
pub struct Statements {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Statements at most
    #[arg(long, value_name = "N", default_value_t = 8)]
    top: usize,
    /// Preset to take the watched statements from [default: the run's]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
}

impl Statements {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let mut loaded = input::load(common, &self.run, Parts::NONE)?;
        input::keep_level(&mut loaded.run, self.level)?;
        let run = &loaded.run;
        let preset = input::preset(&run.manifest, self.preset.as_deref())?;
        let none = || Section {
            id: "statements",
            notes: vec![
                "Not measured: no statement statistics were read in this run; `wireprof runs` shows its notes, and \
                 --statements-url names a database."
                    .into(),
            ],
            ..Section::default()
        };
        let section = section(run, &preset, self.top).unwrap_or_else(none);
        output::report(
            common,
            &Report {
                title: format!("Statements of run {}", run.manifest.id),
                runs: vec![run.manifest.id.clone()],
                sections: vec![section],
            },
        )
    }
}

/// The first `top` statements of a run; `None` where none were read.
pub fn section(run: &Run, preset: &Preset, top: usize) -> Option<Section> {
    let watched = &preset.statements.watched;
    let costs = statements(run, watched);
    statements_section(&costs, &statement_sources(run, watched, &costs), top)
}
