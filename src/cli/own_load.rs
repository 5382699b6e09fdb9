//! What the verbs with a load of their own have in common: sweep, compare and ladder. Invariant: an option is here only
//! if all of them honour it.

use super::conduct::{level, seconds};
use super::connect::Connect;
use super::load::Load;
use super::observe::Observe;
use super::progress::Progress;
use super::run_name::RunName;
use crate::connection::shown_arguments;
use crate::preset::Preset;
use crate::sweep::{Plan, Request, Timing, check};
use anyhow::Result;
use clap::Args;
use std::time::Duration;

#[derive(Args)]
pub struct OwnLoad {
    #[command(flatten)]
    pub connect: Connect,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    windows: Windows,
    #[command(flatten)]
    pub observe: Observe,
    #[command(flatten)]
    pub name: RunName,
}

#[derive(Args)]
#[command(next_help_heading = "Plan")]
struct Windows {
    /// Numbers of clients
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', value_parser = level, default_value = "1,4,16,64")]
    levels: Vec<usize>,
    /// Length of a window, such as 5s, 500ms or 1m; a bare number means seconds [default: the workload's duration, else
    /// 10s]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    window: Option<Duration>,
    /// Load before each window; a bare number means seconds
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "1s")]
    warmup: Duration,
    /// Seed of the random order of levels [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl OwnLoad {
    /// As [`OwnLoad::request`], with the preset that suits the server where none was asked for; `url`: the server's,
    /// where the common options do not have it.
    ///
    /// # Errors
    /// An argument that cannot be followed, or a server that is to be asked and does not answer.
    pub async fn suited(&self, replicates: usize, url: Option<&String>, progress: &Progress) -> Result<Request> {
        // What no server could follow is refused before any is asked.
        let request = self.request(&self.connect.preset()?, replicates)?;
        match self.connect.ask(url, self.observe.instruments.pid, progress).await? {
            None => Ok(request),
            Some(chosen) => {
                let mut request = self.request(&chosen.preset, replicates)?;
                request.target.chosen = Some(chosen.sentence());
                Ok(request)
            }
        }
    }

    /// All that is asked, refused where no server could follow it.
    ///
    /// # Errors
    /// An argument that cannot be followed.
    pub fn request(&self, preset: &Preset, replicates: usize) -> Result<Request> {
        let mut load = self.load.request(preset)?;
        load.hosts = self.load.hosts.asked(self.connect.host.clean);
        let mut target = self.connect.target(&self.observe.instruments);
        // Its address is the one by which other hosts know it.
        target.here |= load.hosts.is_some() && target.across.is_none();
        let window = self.windows.window.or(load.workload.duration).unwrap_or(Duration::from_secs(10));
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let plan = Plan {
            levels: self.windows.levels.clone(),
            replicates,
            seed: self.windows.seed.unwrap_or_else(|| clock.map_or(0, |since| since.as_secs())),
            timing: Timing { warmup: self.windows.warmup, window },
            precision: None,
        };
        let request = Request {
            preset: preset.clone(),
            target,
            load,
            observe: self.observe.request(),
            plan,
            arguments: shown_arguments(std::env::args()),
            name: self.name.given(),
        };
        check(&request)?;
        Ok(request)
    }
}
