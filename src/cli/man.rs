//! `wireprof man`: manual pages, made of what --help says.

use super::{Arguments, Outcome, output};
use anyhow::{Context, Result};
use clap::{Args, Command, CommandFactory};
use std::path::PathBuf;

/// Manual pages: wireprof's own, or into a directory one for each verb
#[derive(Args)]
#[command(after_help = "\
Examples:
  wireprof man | man -l -
  wireprof man ~/.local/share/man/man1")]
pub struct Man {
    /// Directory for all pages, made if need be [default: wireprof(1) on standard output]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Man {
    pub fn run(self) -> Result<Outcome> {
        let Some(directory) = &self.directory else {
            return output::text(&String::from_utf8_lossy(&page(Arguments::command())?));
        };
        let cannot = || format!("cannot write manual pages into {}", directory.display());
        std::fs::create_dir_all(directory).with_context(cannot)?;
        let command = Arguments::command().disable_help_subcommand(true);
        clap_mangen::generate_to(command, directory).with_context(cannot)?;
        output::text(&format!(
            "The pages are in {}: `man -l {}`\n",
            directory.display(),
            directory.join("wireprof.1").display()
        ))
    }
}

fn page(command: Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text).context("cannot make a manual page")?;
    Ok(text)
}
