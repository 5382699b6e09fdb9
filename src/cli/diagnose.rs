//! `wireprof diagnose`: why queries take as long as they do, with the evidence.

use super::{Common, Outcome, Usage, input, output};
use crate::analyze::judge::diagnose::{Diagnosis, Known};
use crate::parallel;
use crate::preset::Preset;
use crate::render::{diagnosis_report, terminal};
use crate::run::{Parts, Run};
use anyhow::{Result, anyhow};
use clap::Args;

/// Lines and bytes of the text at most: a person reads it at a glance, and it costs an agent little.
const LINES: usize = 60;
const BYTES: usize = 8_000;
/// Width of a diagnosis in a log, in characters.
const WIDTH: usize = 120;

/// Verdicts at a level, the first one first: cause, effect, evidence, what would refute it, what to try
#[derive(Args)]
#[command(after_help = "\
Examples:
  wireprof diagnose                      the latest run, at its highest level
  wireprof diagnose RUN --level 16
  wireprof diagnose RUN --json           all verdicts of all levels, with all their evidence")]
pub struct Diagnose {
    /// Run: its id, its path, or `latest`
    #[arg(default_value = "latest")]
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
            let value = serde_json::json!({"schema": 1, "diagnosis": chosen, "other_levels": others});
            return output::text(&format!("{value:#}\n"));
        }
        output::text(&bounded(&terminal(&diagnosis_report(&chosen, &others), common.width)))
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
