//! `wireprof completions`: completion scripts for shells.

use super::{Arguments, Outcome, output};
use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Completion script for a shell
#[derive(Args)]
#[command(after_help = "\
Example:
  wireprof completions bash \\
      > ~/.local/share/bash-completion/completions/wireprof")]
pub struct Completions {
    /// Shell that is to complete the arguments
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "wireprof", &mut script);
        output::text(&String::from_utf8_lossy(&script))
    }
}
