//! `wireprof log`: the performance log.

mod attach;
mod check;
mod handoff;
mod new;
mod show;

use super::{Common, Outcome, Usage, output};
use crate::perflog::{Document, read};
use crate::render::envelope;
use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// The performance log: new entries, attachments, the last entries, whether it can be trusted
#[derive(Args)]
#[command(after_help = "\
Examples:
  wireprof log new latest --title 'Batch the oracle' \\
      --problem 'read_ts grows with N' --focus oracle
  wireprof log new AFTER --before BEFORE --title 'Batch the oracle' \\
      --change 'three calls in flight'
  wireprof log attach latest
  wireprof log show --last 2
  wireprof log check
  wireprof log handoff prompt.txt --run latest
  wireprof log handoff prompt.txt --done 3 --commit")]
pub struct Log {
    #[command(subcommand)]
    verb: LogVerb,
    /// The log's file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "pgwire-server-perf-log.md",
        help_heading = "Output"
    )]
    log: PathBuf,
}

#[derive(Subcommand)]
enum LogVerb {
    New(new::New),
    Attach(attach::Attach),
    Show(show::Show),
    Check(check::LogCheck),
    Handoff(handoff::Handoff),
}

impl Log {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        match self.verb {
            LogVerb::New(verb) => verb.run(common, &self.log),
            LogVerb::Attach(verb) => verb.run(common, &self.log),
            LogVerb::Show(verb) => verb.run(common, &self.log),
            LogVerb::Check(verb) => verb.run(common, &self.log),
            LogVerb::Handoff(verb) => verb.run(common, &self.log),
        }
    }
}

fn existing(path: &Path) -> Result<Document> {
    if !path.exists() {
        let why = anyhow!("there is no log {}: `wireprof log new` makes one, --log names another", path.display());
        return Err(anyhow!(Usage(why)));
    }
    read(path)
}

/// What is said of a log in which nothing was understood.
fn no_entry(path: &Path) -> String {
    format!("{} has no entry: the heading of one is `## Session N: title`, or the same with ###.", path.display())
}

fn told(
    common: &Common,
    path: &Path,
    session: u64,
    run: &str,
    attached: usize,
    description: Option<&str>,
) -> Result<Outcome> {
    if common.json {
        let mut value = envelope(&common.verb, &[run.to_string()]);
        value["log"] = serde_json::json!({"file": path, "session": session, "attached": attached,
            "description": description});
        return output::json(&value);
    }
    let files = if attached > 0 { format!(", {attached} files attached") } else { String::new() };
    let said = description
        .map_or(String::new(), |text| format!("\nDescription for the change (jj describe, git commit):\n\n{text}"));
    output::text(&format!("{}: session {session}, run {run}{files}\n{said}", path.display()))
}
