//! `wireprof metrics`: what the server's own metrics say of each level.

use super::{ARGUMENTS, Common, Outcome, Usage, input, output};
use crate::analyze::cost::quantities::quantities;
use crate::analyze::time::series::series;
use crate::preset::Preset;
use crate::render::{
    Cell, Report, Section, Table, quantities_on_screen, quantities_table, series_on_screen, series_table,
};
use crate::run::{Parts, Run, Window};
use anyhow::{Result, anyhow};
use clap::Args;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// The preset's figures per level, or any series that match
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
Examples:
  # the preset's figures of the latest run
  wireprof metrics
  # every series whose name or labels match
  wireprof metrics RUN --match mz_ts_oracle
  # the figures of the seconds that `explain` divides the time in hand of
  wireprof metrics RUN --followed"
)]
pub struct Metrics {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Series whose `name{label="value"}` matches
    #[arg(long = "match", value_name = "REGEX")]
    matching: Option<Regex>,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 60)]
    top: usize,
    /// Of the seconds in which carriers were followed, which probes make slower, instead of the windows'
    #[arg(long)]
    followed: bool,
    /// Preset to take the figures from [default: the run's]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
}

impl Metrics {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let mut loaded = input::load(common, &self.run, Parts { metrics: true, ..Parts::NONE })?;
        input::keep_level(&mut loaded.run, self.level)?;
        if self.followed {
            let windows: Vec<_> = loaded.run.windows.iter().filter_map(Window::followed).collect();
            loaded.run.windows = windows;
            if loaded.run.windows.is_empty() {
                let id = &loaded.run.manifest.id;
                let why =
                    "the server's metrics around these seconds were not stored: sweep with --follow 2s stores them";
                return Err(anyhow!(Usage(anyhow!("--followed shows nothing of run {id}: {why}"))));
            }
        }
        let mut report = match &self.matching {
            Some(pattern) => {
                check_match(&loaded.run, pattern)?;
                series_report(&loaded.run, pattern, self.top)
            }
            None => figures(&loaded.run, &input::preset(&loaded.run.manifest, self.preset.as_deref())?),
        };
        if !common.json {
            let shown: fn(Table) -> Table =
                if self.matching.is_some() { series_on_screen } else { quantities_on_screen };
            let tables = report.sections.iter_mut().flat_map(|section| &mut section.tables);
            tables.for_each(|table| *table = shown(std::mem::take(table)));
        }
        output::report(common, &report)
    }
}

/// A pattern that matches no series at all is a slip of the pen; one whose series did not change has its answer.
fn check_match(run: &Run, pattern: &Regex) -> Result<()> {
    let series =
        || run.windows.iter().filter_map(|window| window.metrics.as_ref()).flat_map(|metrics| metrics.series.keys());
    if series().next().is_none() || series().any(|series| pattern.is_match(&series.to_string())) {
        return Ok(());
    }
    let names = series().map(|series| series.name.as_str()).collect::<BTreeSet<_>>();
    let some: Vec<&str> = names.iter().copied().take(8).collect();
    Err(anyhow!(Usage(anyhow!(
        "--match {pattern} matches none of the {} metrics of run {}; there are {} ... (--match . lists them)",
        names.len(),
        run.manifest.id,
        some.join(", ")
    ))))
}

fn series_report(run: &Run, pattern: &Regex, top: usize) -> Report {
    let found = series(run, pattern);
    let mut notes = Vec::new();
    if found.is_empty() {
        notes.push(format!("No series that matches `{pattern}` changed in any window with metrics."));
    }
    if found.len() > top {
        notes.push(format!("{} more rows: --top N shows them.", found.len() - top));
    }
    let table = series_table(&found[..top.min(found.len())]);
    let section = Section { id: "metrics", tables: vec![table], notes, ..Section::default() };
    Report {
        title: format!("Metrics of run {} that match `{pattern}`", run.manifest.id),
        runs: vec![run.manifest.id.clone()],
        sections: vec![section],
    }
}

/// A table per replicate: figures of different windows are not averaged.
fn figures(run: &Run, preset: &Preset) -> Report {
    let mut replicates: BTreeMap<usize, BTreeMap<usize, Vec<_>>> = BTreeMap::new();
    for window in &run.windows {
        let id = window.id();
        replicates.entry(id.replicate).or_default().insert(id.level, quantities(preset, window));
    }
    let about = |replicate: usize| vec![("replicate", Cell::Count(replicate as u64))];
    let section = |(replicate, levels): (usize, BTreeMap<usize, Vec<_>>)| Section {
        id: "metrics",
        title: format!("Replicate {replicate}"),
        tables: vec![Table { about: about(replicate), ..quantities_table(&levels) }],
        ..Section::default()
    };
    Report {
        title: format!("Figures of preset {} for run {}", preset.name, run.manifest.id),
        runs: vec![run.manifest.id.clone()],
        sections: replicates.into_iter().map(section).collect(),
    }
}
