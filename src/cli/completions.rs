//! `wireprof completions`: completion scripts for shells.

use super::{Outcome, complete, output};
use anyhow::{Context, Result};
use clap::Args;
use clap_complete::Shell;

/// Completion script for a shell
#[derive(Args)]
#[command(after_help = "\
The script asks the `wireprof` in the path each time, so that what is offered is what is there: verbs and options, \
ids and names of runs (of --runs DIR and $WIREPROF_RUNS, too), levels of the run on the line, presets, what they have \
in focus, and sections.

Example:
  wireprof completions bash \\
      > ~/.local/share/bash-completion/completions/wireprof")]
pub struct Completions {
    /// Shell that is to complete the arguments
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<Outcome> {
        let script = complete::script(&self.shell.to_string()).context("cannot write the script")?;
        output::text(&String::from_utf8_lossy(&script))
    }
}
