//! How verbs call functions. Invariant: JSON has full names, whatever is asked for.

use super::{Common, Outcome, output};
use crate::render::Report;
use anyhow::Result;
use clap::Args;

#[derive(Args, Default)]
#[command(next_help_heading = "Output")]
pub struct Names {
    /// Functions by their full names, generic arguments and all, instead of short ones
    #[arg(long = "full-names")]
    pub full: bool,
}

impl Names {
    /// Prints a report.
    ///
    /// # Errors
    /// As [`output::report`].
    pub fn report(&self, common: &Common, report: Report) -> Result<Outcome> {
        output::report(common, &if self.full { report.with_full_names() } else { report })
    }
}
