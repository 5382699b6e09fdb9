//! Options of the server under load, for the verbs that drive load themselves: which it is, what is set on it, what is
//! started.

use super::Usage;
use super::observe::Instruments;
use super::progress::Progress;
use super::target_host::TargetHost;
use crate::load::Address;
use crate::preset::Preset;
use crate::sweep::{self, Chosen, Launch, TargetRequest};
use crate::testbed::{self, Options as TestbedOptions};
use anyhow::{Result, anyhow};
use clap::Args;

#[derive(Args)]
#[command(next_help_heading = "Target")]
pub struct Connect {
    /// What is particular to the server: materialize, postgres, cockroach, generic, testbed, or a .toml file [default:
    /// by what the server says it is]
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    /// Server under load [default: the preset's]; password from the URL, PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Start the embedded target for this measurement, and stop it after
    #[arg(long, conflicts_with_all = ["url", "pid", "pid_anyway", "internal_url", "metrics_url",
        "target_host"])]
    pub testbed: bool,
    /// A known bottleneck for --testbed, such as cpu:peek=20us or deep-stack=500kB; may be repeated
    #[arg(long, value_name = "KIND:ARGS", requires = "testbed", value_parser = plant)]
    plant: Vec<String>,
    #[command(flatten)]
    pub host: TargetHost,
    /// Administrator's connection for the set-up [default: the preset's, for a server on its host]
    #[arg(long, value_name = "URL")]
    internal_url: Option<String>,
    /// Leave the server's settings and tables as they are
    #[arg(long)]
    no_setup: bool,
    /// At the end put back what the set-up changed
    #[arg(long, conflicts_with = "no_setup")]
    pub restore: bool,
}

/// Understood here, so that a slip of the pen is told before anything is started.
pub fn plant(text: &str) -> Result<String, String> {
    testbed::check_plant(text).map(|()| text.to_string())
}

impl Connect {
    /// The preset asked for, else the testbed's; of another server `generic`, until it is asked.
    ///
    /// # Errors
    /// There is no such preset, or it cannot be read.
    pub fn preset(&self) -> Result<Preset> {
        let name = self.preset.clone().unwrap_or_else(|| if self.testbed { "testbed" } else { "generic" }.into());
        Preset::load(&name).map_err(|e| anyhow!(Usage(e.into())))
    }

    /// Where no preset is asked for, the one that suits the server at `url` (of several, the first), by what it says;
    /// what it was chosen by is told and noted in the request. `None`: one was asked for, or there is nobody to ask.
    ///
    /// # Errors
    /// The server does not answer, or refuses this user.
    pub async fn ask(&self, url: Option<&String>, pid: Option<u32>, progress: &Progress) -> Result<Option<Chosen>> {
        let (None, false, Some(url)) = (&self.preset, self.testbed, self.url.as_ref().or(url)) else { return Ok(None) };
        let pid = pid.filter(|_| !self.host.is_given());
        let chosen = sweep::ask(&Address::parse(url)?, pid).await?;
        progress.note(&chosen.sentence());
        Ok(Some(chosen))
    }

    /// What is started, with `plants` in addition to those that the user gave.
    pub fn launch(&self, plants: &[String]) -> Launch {
        if !self.testbed {
            return Launch::Nothing;
        }
        let plants = self.plant.iter().chain(plants).cloned().collect();
        Launch::Testbed(TestbedOptions { plants, ..TestbedOptions::default() })
    }

    /// The server that is asked for.
    pub fn target(&self, instruments: &Instruments) -> TargetRequest {
        TargetRequest {
            url: self.url.clone(),
            internal_url: self.internal_url.clone(),
            pid: instruments.pid,
            pid_anyway: instruments.pid_anyway,
            source: instruments.source.read(),
            chosen: None,
            setup: !self.no_setup,
            parameters: Vec::new(),
            across: self.host.across(),
            here: false,
        }
    }
}
