//! `wireprof log new`: an entry with a run's results.

use super::told;
use crate::cli::diagnose::{all_levels, printed_diagnosis};
use crate::cli::{ARGUMENTS, Common, Outcome, Usage, input};
use crate::perflog::{
    Generated, NewEntry, answer, changes, date, description, diagnosis, entry, figures, keep, made, read, results,
    write,
};
use crate::profile::Focus;
use crate::render::Picture;
use crate::run::{Parts, Run};
use crate::vcs::describe_and_begin;
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::{Path, PathBuf};

/// Append an entry with a run's results; what you do not say is left as a placeholder
#[derive(Args)]
#[command(next_help_heading = "The entry")]
pub struct New {
    /// Run: its id or the beginning of it, its name, its path, `latest` or `latest~N`
    #[arg(default_value = "latest", help_heading = ARGUMENTS)]
    run: String,
    /// Title of the entry
    #[arg(long)]
    title: String,
    /// Run before the change: the entry says what is different, with intervals and verdicts
    #[arg(long, value_name = "RUN")]
    before: Option<String>,
    /// What was observed, and why it matters
    #[arg(long)]
    problem: Option<String>,
    /// What was changed
    #[arg(long)]
    change: Option<String>,
    /// What follows
    #[arg(long)]
    conclusion: Option<String>,
    /// A link, as often as wanted
    #[arg(long, value_name = "TITLE=TARGET", value_parser = link)]
    link: Vec<Picture>,
    /// Give jj's change in this working copy the printed description, and begin the next one (jj describe, jj new)
    #[arg(long, value_name = "DIR")]
    jj_describe: Option<PathBuf>,
    /// Hot frames inside this focus of the preset, or regular expression
    #[arg(long, value_name = "NAME|REGEX")]
    focus: Option<String>,
    /// Hot frames at most
    #[arg(long, value_name = "N", default_value_t = 12)]
    top: usize,
}

fn link(text: &str) -> Result<Picture, String> {
    let (title, path) = text.split_once('=').ok_or("a link is TITLE=TARGET")?;
    Ok(Picture { title: title.into(), path: path.into() })
}

impl New {
    pub fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let loaded = input::load(common, &self.run, Parts::ALL)?;
        let run = &loaded.run;
        let focus = match &self.focus {
            Some(focus) => Some(input::focus_of(run, &input::preset(&run.manifest, None)?, focus)?),
            None => None,
        };
        let log = read(path)?;
        let words = NewEntry {
            title: self.title.clone(),
            date: Some(date(&run.manifest)),
            problem: self.problem.clone(),
            change: self.change.clone(),
            conclusion: self.conclusion.clone(),
            links: self.link.clone(),
        };
        let number = log.next_number();
        let before = self.before.as_ref().map(|before| input::load(common, before, Parts::ALL)).transpose()?;
        let before = before.map(|before| before.run);
        let generated = self.generated(run, before.as_ref(), focus.as_ref())?;
        let text = entry(number, log.heading_level(), &words, &generated);
        let after = log.with_entry(&text);
        if after.entries().len() != log.entries().len() + 1
            || after.blocks().len() != log.blocks().len() + generated.len()
        {
            let why = anyhow!(
                "the new entry would not be read back from {}: a code fence (``` or ~~~) of the log, or of --problem, \
                 --change or --conclusion, is never closed, or these hold a heading of a session; mend that first",
                path.display()
            );
            return Err(anyhow!(Usage(why)));
        }
        let written = generated.iter().try_for_each(|block| keep(path, block)).and_then(|()| write(path, &after));
        written.map_err(|error| anyhow!("{error:#}; --log FILE puts the log and its pictures elsewhere"))?;
        let description = description(number, &words, run, before.as_ref());
        if let Some(directory) = &self.jj_describe {
            describe_and_begin(directory, &description)?;
        }
        told(common, path, number, &run.manifest.id, 0, Some(&description))
    }

    /// The answer first, then what changed, then the figures, then the diagnosis.
    fn generated(&self, run: &Run, before: Option<&Run>, focus: Option<&Focus>) -> Result<Vec<Generated>> {
        // A run whose preset is gone still has its levels and its costs.
        let preset = input::preset(&run.manifest, None).ok();
        let mut generated = Vec::new();
        if let Some(preset) = &preset {
            let judged = if preset.rule.is_empty() { Vec::new() } else { all_levels(run, preset) };
            generated.push(answer(run, preset, &judged));
        }
        generated.extend(before.map(|before| changes(before, run, &made(self.top, None))));
        generated.push(results(run, &made(self.top, focus))?);
        generated.extend(preset.as_ref().map(|preset| figures(run, preset)));
        generated.extend(printed_diagnosis(run).map(|text| diagnosis(run, &text)));
        Ok(generated)
    }
}
