//! `wireprof log`: the performance log.

use super::{Common, Outcome, Usage, flamegraph, input, output};
use crate::analyze::hot::{HotOptions, hot};
use crate::analyze::summary::summary;
use crate::perflog::{Attachment, Document, NewEntry, Unspliceable, attach, entry, read, write};
use crate::render::Picture;
use crate::render::flamegraph::{Wanted, write_pictures};
use crate::run::Parts;
use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// The performance log: new entries, attachments, the last entries
#[derive(Args)]
#[command(after_help = "\
Examples:
  wireprof log new latest --title 'Batch the oracle' --problem 'read_ts grows with N' --focus oracle
  wireprof log attach latest
  wireprof log show --last 2")]
pub struct Log {
    #[command(subcommand)]
    verb: LogVerb,
    /// The log's file
    #[arg(long, global = true, value_name = "FILE", default_value = "pgwire-server-perf-log.md")]
    log: PathBuf,
}

#[derive(Subcommand)]
enum LogVerb {
    New(New),
    Attach(Attach),
    Show(Show),
}

/// Append an entry with a run's results; what you do not say is left as a placeholder
#[derive(Args)]
struct New {
    /// Run: its id, its path, or `latest`
    #[arg(default_value = "latest")]
    run: String,
    #[arg(long)]
    title: String,
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
    /// Hot frames inside this focus of the preset, or regular expression
    #[arg(long, value_name = "NAME|REGEX")]
    focus: Option<String>,
    /// Hot frames at most
    #[arg(long, value_name = "N", default_value_t = 12)]
    top: usize,
}

/// Copy a run's flamegraphs and profiles beside the log and link them; twice is once
#[derive(Args)]
struct Attach {
    /// Run: its id, its path, or `latest`
    #[arg(default_value = "latest")]
    run: String,
    /// Entry to attach to [default: the newest]
    #[arg(long, value_name = "N")]
    session: Option<u64>,
}

/// Print the last entries
#[derive(Args)]
struct Show {
    /// Entries at most
    #[arg(long, value_name = "N", default_value_t = 1)]
    last: usize,
}

fn link(text: &str) -> Result<Picture, String> {
    let (title, path) = text.split_once('=').ok_or("a link is TITLE=TARGET")?;
    Ok(Picture { title: title.into(), path: path.into() })
}

impl Log {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        match self.verb {
            LogVerb::New(verb) => verb.run(common, &self.log),
            LogVerb::Attach(verb) => verb.run(common, &self.log),
            LogVerb::Show(verb) => verb.run(common, &self.log),
        }
    }
}

impl New {
    fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let loaded = input::load(common, &self.run, Parts::ALL)?;
        let run = &loaded.run;
        let focus = match &self.focus {
            Some(focus) => Some(input::focus(&input::preset(&run.manifest, None)?, focus)?),
            None => None,
        };
        let table = hot(run, &HotOptions { focus, top: self.top, ..HotOptions::default() });
        let log = read(path)?;
        let words = NewEntry {
            title: self.title,
            problem: self.problem,
            change: self.change,
            conclusion: self.conclusion,
            links: self.link,
        };
        let number = log.next_number();
        let text = entry(number, log.heading_level(), &words, run, &summary(run), &table);
        write(path, &log.with_entry(&text))?;
        told(common, path, number, &run.manifest.id, 0)
    }
}

impl Attach {
    fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let loaded = input::load(common, &self.run, Parts { profiles: true, metrics: false })?;
        let log = existing(path)?;
        let attachments = attachments(&loaded)?;
        let id = &loaded.run.manifest.id;
        let spliced = attach(path, &log, id, &attachments, self.session)
            .map_err(|error| if error.is::<Unspliceable>() { anyhow!(Usage(error)) } else { error })?;
        write(path, &spliced)?;
        let number = self.session.or(spliced.newest().map(|e| e.number)).unwrap_or_default();
        told(common, path, number, id, attachments.len())
    }
}

/// The run's pictures (drawn where there are none yet) and its profiles.
fn attachments(loaded: &input::Loaded) -> Result<Vec<Attachment>> {
    let (run, folder) = (&loaded.run, loaded.directory.join(flamegraph::FOLDER));
    let foci = input::preset(&run.manifest, None).map(|p| input::foci(&p)).unwrap_or_default();
    let drawn = write_pictures(run, &Wanted { everything: true, foci, ..Wanted::default() }, &folder)?;
    let mut attachments = Vec::new();
    for picture in drawn.pictures {
        let name = picture.path.file_name().context("a picture without a name")?.to_string_lossy().into_owned();
        let what = format!("flamegraph, {}", picture.what);
        attachments.push(Attachment { level: picture.level, what, from: picture.path, name });
    }
    for window in run.windows.iter().filter(|w| w.profile.is_some()) {
        let id = window.id();
        attachments.push(Attachment {
            level: id.level,
            what: format!("profile (pprof), replicate {}", id.replicate),
            from: loaded.directory.join(id.directory()).join("profile.pb.gz"),
            name: format!("{}-{}.pb.gz", run.manifest.id, id.directory()),
        });
    }
    Ok(attachments)
}

impl Show {
    fn run(self, common: &Common, path: &Path) -> Result<Outcome> {
        let log = existing(path)?;
        let mut entries: Vec<_> = log.entries().iter().collect();
        entries.sort_by_key(|e| e.number);
        let shown = &entries[entries.len().saturating_sub(self.last)..];
        if common.json {
            let values: Vec<_> = shown
                .iter()
                .map(|e| serde_json::json!({"session": e.number, "title": e.title, "text": log.entry_text(e)}))
                .collect();
            return output::text(&format!("{:#}\n", serde_json::json!({"schema": 1, "entries": values})));
        }
        output::text(&shown.iter().map(|e| log.entry_text(e)).collect::<String>())
    }
}

fn existing(path: &Path) -> Result<Document> {
    if !path.exists() {
        let why = anyhow!("there is no log {}: `wireprof log new` makes one, --log names another", path.display());
        return Err(anyhow!(Usage(why)));
    }
    read(path)
}

fn told(common: &Common, path: &Path, session: u64, run: &str, attached: usize) -> Result<Outcome> {
    if common.json {
        let value = serde_json::json!({"schema": 1, "log": path, "session": session, "run": run, "attached": attached});
        return output::text(&format!("{value:#}\n"));
    }
    let files = if attached > 0 { format!(", {attached} files attached") } else { String::new() };
    output::text(&format!("{}: session {session}, run {run}{files}\n", path.display()))
}
