//! Options of a target on another host, and the other end of the link to it.

use super::exit;
use crate::remote::{Host, LinkOptions};
use crate::sweep::{Across, serve};
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
#[command(next_help_heading = "Target")]
#[command(group = clap::ArgGroup::new("other_hosts").multiple(true))]
pub struct TargetHost {
    /// The server's host, where it is not this one: wireprof observes there, over your ssh, and drives its load here.
    /// --url is then as this host knows the server; all other addresses, --pid and --also are as that host knows them
    #[arg(long, value_name = "ssh://[USER@]HOST[:PORT]", requires = "url", group = "other_hosts")]
    target_host: Option<Host>,
    /// wireprof on that host [default: a copy of this one, kept in ~/.cache/wireprof there]
    #[arg(long, value_name = "PATH", requires = "target_host")]
    target_program: Option<String>,
    /// Run it there through `sudo -n`
    #[arg(long, requires = "target_host")]
    target_sudo: bool,
    /// Take the copy away from other hosts at the end
    #[arg(long, requires = "other_hosts", conflicts_with = "target_program")]
    pub clean: bool,
}

impl TargetHost {
    /// Whether the target is on another host.
    pub fn is_given(&self) -> bool {
        self.target_host.is_some()
    }

    /// What is asked; `None`: the target is on this host.
    pub fn across(&self) -> Option<Across> {
        let host = self.target_host.clone()?;
        let link = LinkOptions { host, program: self.target_program.clone(), sudo: self.target_sudo };
        Some(Across { link, clean: self.clean })
    }
}

/// Observes for another host, over standard input and output.
pub fn observe() -> ExitCode {
    let served = super::conduct::runtime().and_then(|runtime| runtime.block_on(serve(exit::code)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::output::told(format_args!("{error:#}"));
            ExitCode::from(exit::code(&error))
        }
    }
}
