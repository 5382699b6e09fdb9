//! Options of the server under load, for the verbs that drive load themselves: which it is, what is set on it, what is
//! started.

use super::Usage;
use crate::preset::Preset;
use crate::run::BuiltFrom;
use crate::sweep::{Launch, TargetRequest};
use crate::testbed::{self, Options as TestbedOptions};
use anyhow::{Result, anyhow};
use clap::Args;

#[derive(Args)]
#[command(next_help_heading = "Connect")]
pub struct Connect {
    /// What is particular to the server: materialize, postgres, cockroach, generic, testbed, or a .toml file
    #[arg(long, value_name = "NAME|PATH")]
    preset: Option<String>,
    /// Server under load [default: the preset's]; password from the URL, PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Start the embedded target for this sweep, and stop it after
    #[arg(long, conflicts_with_all = ["url", "pid", "internal_url", "metrics_url"])]
    pub testbed: bool,
    /// A known bottleneck for --testbed, such as cpu:peek=20us or deep-stack=500kB; may be repeated
    #[arg(long, value_name = "KIND:ARGS", requires = "testbed", value_parser = plant)]
    plant: Vec<String>,
    /// Administrator's connection for the set-up [default: the preset's]
    #[arg(long, value_name = "URL")]
    internal_url: Option<String>,
    /// Leave the server's settings and tables as they are
    #[arg(long)]
    no_setup: bool,
    /// After the sweep put back what the set-up changed
    #[arg(long, conflicts_with = "no_setup")]
    pub restore: bool,
}

/// Understood here, so that a slip of the pen is told before anything is started.
pub fn plant(text: &str) -> Result<String, String> {
    testbed::check_plant(text).map(|()| text.to_string())
}

impl Connect {
    /// The preset asked for, else the one that suits the target.
    ///
    /// # Errors
    /// There is no such preset, or it cannot be read.
    pub fn preset(&self) -> Result<Preset> {
        let name = self.preset.clone().unwrap_or_else(|| if self.testbed { "testbed" } else { "generic" }.into());
        Preset::load(&name).map_err(|e| anyhow!(Usage(e.into())))
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
    pub fn target(&self, pid: Option<u32>, source: BuiltFrom) -> TargetRequest {
        TargetRequest {
            url: self.url.clone(),
            internal_url: self.internal_url.clone(),
            pid,
            source,
            setup: !self.no_setup,
            parameters: Vec::new(),
        }
    }
}
