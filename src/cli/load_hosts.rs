//! Options of a load that other hosts drive, and the other end of the links to them.

use super::exit;
use crate::remote::{Host, LinkOptions};
use crate::sweep::{LoadHostsAsked, serve_load};
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
#[command(next_help_heading = "Load")]
pub struct LoadHosts {
    /// A host that drives load, over your ssh; may be repeated: clients are divided evenly over those named, and this
    /// one drives none. --url is then the server's address as they know it; without --target-host the server is on this
    /// one
    #[arg(long, value_name = "ssh://[USER@]HOST[:PORT]", requires = "url", conflicts_with = "testbed")]
    #[arg(group = "other_hosts")]
    load_host: Vec<Host>,
    /// wireprof on those hosts [default: a copy of this one, kept in ~/.cache/wireprof there]
    #[arg(long, value_name = "PATH", requires = "load_host", conflicts_with = "clean")]
    load_program: Option<String>,
    /// Run it there through `sudo -n`
    #[arg(long, requires = "load_host")]
    load_sudo: bool,
}

impl LoadHosts {
    /// What is asked; `None`: this host drives the load.
    pub fn asked(&self, clean: bool) -> Option<LoadHostsAsked> {
        let link =
            |host: &Host| LinkOptions { host: host.clone(), program: self.load_program.clone(), sudo: self.load_sudo };
        let links: Vec<LinkOptions> = self.load_host.iter().map(link).collect();
        (!links.is_empty()).then_some(LoadHostsAsked { links, clean })
    }
}

/// Drives load for another host, over standard input and output.
pub fn drive() -> ExitCode {
    let served = super::conduct::runtime().and_then(|runtime| runtime.block_on(serve_load(exit::code)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::output::told(format_args!("{error:#}"));
            ExitCode::from(exit::code(&error))
        }
    }
}
