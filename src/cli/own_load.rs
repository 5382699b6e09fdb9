//! What the verbs with a load of their own have in common: sweep, compare and ladder. Invariant: an option is here only
//! if all of them honour it.

use super::conduct::duration;
use super::connect::Connect;
use super::load::Load;
use super::observe::Observe;
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
}

#[derive(Args)]
#[command(next_help_heading = "Plan")]
struct Windows {
    /// Numbers of clients
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', default_value = "1,4,16,64")]
    levels: Vec<usize>,
    /// Length of a window [default: the workload's duration, else 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    window: Option<Duration>,
    /// Load before each window
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    warmup: Duration,
    /// Seed of the random order of levels [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl OwnLoad {
    /// All that is asked, refused where no server could follow it.
    ///
    /// # Errors
    /// An argument that cannot be followed.
    pub fn request(&self, preset: &Preset, replicates: usize) -> Result<Request> {
        let load = self.load.request(preset)?;
        let window = self.windows.window.or(load.workload.duration).unwrap_or(Duration::from_secs(10));
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let plan = Plan {
            levels: self.windows.levels.clone(),
            replicates,
            seed: self.windows.seed.unwrap_or_else(|| clock.map_or(0, |since| since.as_secs())),
            timing: Timing { warmup: self.windows.warmup, window },
        };
        let instruments = &self.observe.instruments;
        let request = Request {
            preset: preset.clone(),
            target: self.connect.target(instruments.pid, instruments.source.read()),
            load,
            observe: self.observe.request(),
            plan,
            arguments: shown_arguments(std::env::args()),
        };
        check(&request)?;
        Ok(request)
    }
}
