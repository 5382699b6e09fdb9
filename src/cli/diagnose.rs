//! `wireprof diagnose`: why queries take as long as they do, with the evidence.

use super::screen::screen;
use super::{ARGUMENTS, Common, Outcome, Usage, input, output};
use crate::analyze::judge::diagnose::{Diagnosis, Known};
use crate::parallel;
use crate::preset::Preset;
use crate::render::{diagnosis_report, diagnosis_value, envelope, on_terminal, terminal, verdict_words};
use crate::run::{Parts, Run, Store, StoredVerdict};
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::Path;

/// Lines and bytes of the text at most: a person reads it at a glance, and it costs an agent little.
const LINES: usize = 60;
const BYTES: usize = 8_000;
/// Width of a diagnosis in a log, in characters.
const WIDTH: usize = 120;

/// Findings at a level, the first one first: cause, effect, evidence, what would refute it, what to try
#[derive(Args)]
#[command(
    next_help_heading = "What is shown",
    after_help = "\
Examples:
  # the latest run, at its highest level
  wireprof diagnose
  wireprof diagnose RUN --level 16
  # all findings of all levels, with all their evidence
  wireprof diagnose RUN --json"
)]
pub struct Diagnose {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Number of clients to diagnose [default: the highest]
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Take the rules from this preset instead of the run's own
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
}

impl Diagnose {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let loaded = input::load(common, &self.run, Parts { timelines: false, ..Parts::ALL })?;
        let preset = input::preset(&loaded.run.manifest, self.preset.as_deref())?;
        if preset.rule.is_empty() {
            return Err(anyhow!(Usage(anyhow!(
                "preset {} has no rules to diagnose by: let it inherit some (inherits = \"generic\"), or name another \
                    one with --preset",
                preset.name
            ))));
        }
        let all = all_levels(&loaded.run, &preset);
        let wanted = self.level.or(all.last().map(|diagnosis| diagnosis.level));
        let (chosen, others): (Vec<Diagnosis>, Vec<Diagnosis>) =
            all.into_iter().partition(|diagnosis| Some(diagnosis.level) == wanted);
        let Some(chosen) = chosen.into_iter().next() else { return Err(anyhow!(Usage(nowhere(self.level, &others)))) };
        if common.json {
            let mut value = envelope(&common.verb, std::slice::from_ref(&chosen.run));
            value["diagnoses"] = std::iter::once(&chosen).chain(&others).map(diagnosis_value).collect();
            return output::json(&value);
        }
        output::text(&bounded(&on_terminal(&diagnosis_report(&chosen, &others), &screen(common.width))))
    }
}

/// The diagnosis of every level that has a latency.
pub fn all_levels(run: &Run, preset: &Preset) -> Vec<Diagnosis> {
    let known = Known::of(run, preset);
    parallel::each(&known.levels(), |level| known.diagnosis(*level)).into_iter().flatten().collect()
}

/// The highest level's diagnosis as it is printed; `None`: no preset, no rules or no latency to diagnose by.
pub fn printed_diagnosis(run: &Run) -> Option<String> {
    let preset = input::preset(&run.manifest, None).ok().filter(|preset| !preset.rule.is_empty())?;
    let mut all = all_levels(run, &preset);
    let highest = all.pop()?;
    Some(bounded(&terminal(&diagnosis_report(&highest, &all), WIDTH)))
}

/// Keeps the first verdict of the highest level with the run, for lists of runs. What has no verdict keeps none.
pub fn keep_verdict(run: &Run, preset: &Preset, directory: &Path) -> Result<()> {
    let known = Known::of(run, preset);
    let Some(highest) = known.levels().last().copied().filter(|_| !preset.rule.is_empty()) else { return Ok(()) };
    let Some(words) = known.diagnosis(highest).as_ref().and_then(verdict_words) else { return Ok(()) };
    let tool = concat!("wireprof ", env!("CARGO_PKG_VERSION")).into();
    StoredVerdict { level: highest, words, tool }.keep(directory)
}

/// As [`keep_verdict`] of runs that were just stored, read again for it; what goes wrong is told, and costs no more.
pub fn keep_verdicts(directories: &[&Path], preset: &Preset) {
    for directory in directories {
        let run = Store::load_readable(directory, Parts { timelines: false, ..Parts::ALL });
        if let Err(error) = run.and_then(|run| keep_verdict(&run, preset, directory)) {
            output::told(format_args!("no finding is kept with {}: {error:#}", directory.display()));
        }
    }
}

fn nowhere(level: Option<usize>, others: &[Diagnosis]) -> anyhow::Error {
    let known: Vec<String> = others.iter().map(|diagnosis| diagnosis.level.to_string()).collect();
    match level {
        Some(level) if !known.is_empty() => {
            anyhow!("there is no level {level} to diagnose; there are {}", known.join(", "))
        }
        _ => anyhow!(
            "the run has no level whose latency is known, by the load or by the sockets, so there is nothing to \
                diagnose; `wireprof runs` shows its guards"
        ),
    }
}

/// The text as far as it fits.
fn bounded(text: &str) -> String {
    let (mut kept, mut lines) = (String::new(), text.lines().peekable());
    for _ in 1..LINES {
        let Some(line) = lines.next_if(|line| kept.len() + line.len() + 60 < BYTES) else { break };
        kept += line;
        kept.push('\n');
    }
    match lines.count() {
        0 => kept,
        more => format!("{kept}({more} more lines; --json has everything)\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_ends_within_its_bounds_and_says_so() {
        assert_eq!(bounded("a\nb\n"), "a\nb\n");
        let long = bounded(&"line\n".repeat(100));
        assert_eq!(long.lines().count(), LINES);
        assert!(long.ends_with("(41 more lines; --json has everything)\n"), "{long}");
        let wide = bounded(&format!("{}\n", "x".repeat(200)).repeat(59));
        assert!(wide.len() <= BYTES && wide.ends_with("everything)\n"), "{}", wide.len());
    }
}
