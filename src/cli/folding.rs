//! Which frames tables and pictures leave out: those of runtimes, unless all are asked for.

use super::{input, output};
use crate::preset::Preset;
use crate::profile::Folding;
use crate::run::Manifest;
use anyhow::Result;
use clap::{Args, ValueEnum};

/// How frames that are none of the program's are shown.
#[derive(Args)]
pub struct FoldingArguments {
    /// Show the frames of async runtimes and of the start of threads too; by default they are left out, and their own
    /// cost counts for their callers
    #[arg(long)]
    pub unfolded: bool,
    /// What is the default now.
    #[arg(long = "fold-plumbing", hide = true, conflicts_with = "unfolded")]
    fold_plumbing: bool,
}

/// How the kernel's functions are shown.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KernelArgument {
    /// As one for each system call, and for interrupts, page faults and the vdso
    Grouped,
    /// Each by its own name
    Each,
}

impl FoldingArguments {
    /// The frames to fold: by the preset that is named, else the run's; where that is gone those of any server.
    ///
    /// # Errors
    /// [`super::Usage`] for a preset that is named and cannot be read.
    pub fn of(&self, manifest: &Manifest, named: Option<&str>) -> Result<Folding> {
        if self.unfolded {
            return Ok(Folding::default());
        }
        match input::preset(manifest, named) {
            Ok(preset) => Ok(preset.folding()),
            Err(why) if named.is_some() => Err(why),
            Err(why) => {
                output::say(format_args!("wireprof: {why:#}; runtime frames are told by the preset `generic`"));
                Ok(Preset::built_in("generic")?.folding())
            }
        }
    }
}
