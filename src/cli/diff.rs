//! `wireprof diff`: two stored runs compared.

use super::names::Names;
use super::{Common, Outcome, Usage, input};
use crate::analyze::difference::{Difference, Options, Side, compare};
use crate::preset::Preset;
use crate::render::difference_report;
use crate::run::{Parts, Store};
use anyhow::{Result, anyhow};
use clap::Args;

/// Two runs compared: per level what changed in throughput, latency, places, demands and frames, and whether it is real
#[derive(Args)]
#[command(after_help = "\
Examples:
  wireprof diff BEFORE AFTER                         what changed, with intervals and verdicts
  wireprof diff BEFORE latest --level 16 --margin 1  one level; \"same\" means within 1 %
  wireprof diff BEFORE AFTER --anyway                runs of unlike hosts or sampling events")]
pub struct Diff {
    /// Run before the change: its id, its path, or `latest`
    before: String,
    /// Run after it
    after: String,
    /// Only this level
    #[arg(long, value_name = "N")]
    level: Option<usize>,
    /// Differences up to this many percent count as none
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0)]
    margin: f64,
    /// Compare runs of unlike hosts or sampling events all the same
    #[arg(long)]
    anyway: bool,
    /// Preset to take metrics and focus from [default: that of the run after]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    #[command(flatten)]
    names: Names,
}

impl Diff {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let preset = self.preset(common)?;
        let options =
            Options { level: self.level, preset: preset.as_ref(), margin: self.margin / 100.0, ..Options::default() };
        let (before, after) = (side(common, &self.before, &options)?, side(common, &self.after, &options)?);
        let difference = compare(&before, &after, &options);
        self.check_level(&difference)?;
        let refused = difference.incomparable().next().is_some() && !self.anyway;
        if refused {
            refuse(&difference);
            return Ok(Outcome::CheckFailed);
        }
        self.names.report(common, difference_report(&difference))
    }

    /// The preset whose metrics are compared; a run of a preset that is gone can still be compared without.
    fn preset(&self, common: &Common) -> Result<Option<Preset>> {
        let run = Store::new(&common.runs).load_parts(&self.after, Parts::NONE).map_err(Usage)?;
        match &self.preset {
            Some(name) => input::preset(&run.manifest, Some(name)).map(Some),
            None => Ok(Preset::load(&run.manifest.preset).ok()),
        }
    }

    fn check_level(&self, difference: &Difference) -> Result<()> {
        match self.level {
            Some(level) if difference.levels.is_empty() => {
                let why = anyhow!("level {level} is not in both runs: `wireprof runs` shows which levels a run has");
                Err(anyhow!(Usage(why)))
            }
            _ => Ok(()),
        }
    }
}

/// A run, read window by window.
fn side(common: &Common, reference: &str, options: &Options) -> Result<Side> {
    let store = Store::new(&common.runs);
    store.find(reference).map_err(Usage)?;
    let run = store.load_parts(reference, Parts { profiles: false, metrics: true })?;
    Ok(Side::of(&run, options))
}

/// Says why the runs are not compared.
fn refuse(difference: &Difference) {
    for unlike in difference.incomparable() {
        eprintln!("wireprof: unlike {}: {} before, {} after", unlike.what, unlike.before, unlike.after);
    }
    eprintln!("wireprof: costs and times of the two cannot be set against each other; --anyway does it all the same");
}
