//! `wireprof log new`: an entry with a run's results.

use super::told;
use crate::cli::diagnose::printed_diagnosis;
use crate::cli::{ARGUMENTS, Common, Outcome, Usage, input};
use crate::perflog::{NewEntry, changes, description, diagnosis, entry, keep, made, read, results, write};
use crate::render::Picture;
use crate::run::Parts;
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
            title: self.title,
            problem: self.problem,
            change: self.change,
            conclusion: self.conclusion,
            links: self.link,
        };
        let measured = results(run, &made(self.top, focus.as_ref()))?;
        let number = log.next_number();
        let mut generated = vec![measured];
        generated.extend(printed_diagnosis(run).map(|text| diagnosis(run, &text)));
        if let Some(before) = &self.before {
            let before = input::load(common, before, Parts::ALL)?;
            generated.push(changes(&before.run, run, &made(self.top, None)));
        }
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
        generated.iter().try_for_each(|block| keep(path, block))?;
        write(path, &after)?;
        let description = description(number, &words, run);
        if let Some(directory) = &self.jj_describe {
            describe_and_begin(directory, &description)?;
        }
        told(common, path, number, &run.manifest.id, 0, Some(&description))
    }
}
