//! What a run is called, for the verbs that make one.

use super::Usage;
use crate::run::{self, Store};
use anyhow::{Result, anyhow};
use clap::Args;

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct RunName {
    /// What to call the run (of several, with the side or rung added): every verb takes it for the run's id, the newest
    /// of that name
    #[arg(long, value_name = "NAME", value_parser = run::name)]
    name: Option<String>,
}

impl RunName {
    /// The name that was given.
    pub fn given(&self) -> Option<String> {
        self.name.clone()
    }

    /// Refuses a name that is a run's id: the id would be meant.
    ///
    /// # Errors
    /// [`Usage`].
    pub fn check(&self, store: &Store) -> Result<()> {
        match self.name.as_ref().filter(|name| store.holds(name)) {
            Some(name) => Err(anyhow!(Usage(anyhow!("--name {name} is the id of a run: choose another name")))),
            None => Ok(()),
        }
    }
}
