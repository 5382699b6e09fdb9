//! `wireprof sweep`: levels x replicates of load, samples, metrics and statements become a stored run.

use super::conduct::{self, Answer, Output, duration};
use super::json_lines::LiveOutput;
use super::own_load::OwnLoad;
use super::progress::Progress;
use super::shown::OF_RUN;
use super::{Common, Outcome, Usage};
use crate::run::{PrecisionGoal, Store};
use crate::sweep::{Arm, DriverChoice, Event, ObserverSpec, Request, Turn, Turns};
use anyhow::{Result, anyhow, ensure};
use clap::Args;
use std::time::Duration;

/// Drive load with several numbers of clients while the server is sampled and its metrics are read
#[derive(Args)]
#[command(after_help = "\
Examples:
  # the embedded target, started and stopped for it
  wireprof sweep --testbed --levels 1,4,16,64
  # six windows a level, each of a process of its own
  wireprof sweep --testbed --replicates 6 --restart
  # as many windows as it takes to know the large functions to 5 %
  wireprof sweep --testbed --levels 64 --precision 5%
  wireprof sweep --url postgres://app@localhost/db --query 'select 1'
  wireprof sweep --preset materialize --workload bench.ini --restore
  # a name to compare it by: wireprof diff base latest
  wireprof sweep --testbed --levels 1,64 --name base
  # and what each instrument costs the target
  wireprof sweep --testbed --levels 64 --observer-cost --pairs 40
  # without the time that idle CPUs take to wake
  wireprof sweep --testbed --levels 1 --awake
  # the database's own profile too: wireprof hot --process postgres
  wireprof sweep --testbed --also postgres
  wireprof sweep --preset generic --url postgres://localhost:7000/db --pid 4711
  # load from here, everything else on the server's own host
  wireprof sweep --url postgres://app@db1:5432/db --target-host ssh://db1")]
pub struct Sweep {
    #[command(flatten)]
    own: OwnLoad,
    /// Windows per level
    #[arg(long, value_name = "K", default_value_t = 1, help_heading = "Plan")]
    replicates: usize,
    /// Take further windows of a level until each function with at least 5 % of its CPU is known to this many percent:
    /// half of its 95 % interval over its cost
    #[arg(long, value_name = "PERCENT", value_parser = half_width, conflicts_with = "no_sampling")]
    #[arg(help_heading = "Plan")]
    precision: Option<f64>,
    /// Windows per level at most, where they are taken until a precision is reached; at least 3 are
    #[arg(long, value_name = "K", default_value_t = 20, requires = "precision", help_heading = "Plan")]
    #[arg(value_parser = clap::value_parser!(u64).range(3..=10_000))]
    max_windows: u64,
    /// Start the embedded target anew for each replicate: windows of one process are not independent
    #[arg(long, requires = "testbed", help_heading = "Plan")]
    restart: bool,
    /// Then measure what each instrument costs the target: short windows with it and without it by turns, at the
    /// highest level
    #[arg(long, conflicts_with = "restart", help_heading = "Plan")]
    observer_cost: bool,
    /// Pairs of windows for each instrument
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        value_parser = clap::value_parser!(u64).range(2..=10_000),
        help_heading = "Plan"
    )]
    pairs: u64,
    /// Length of each of these windows
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "400ms", help_heading = "Plan")]
    pair_window: Duration,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    live: LiveOutput,
}

impl Sweep {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        conduct::measure(self.live.json_lines, common, async |progress| self.conduct(common, progress).await)
    }

    async fn conduct(&self, common: &Common, progress: &Progress) -> Result<Outcome> {
        self.output.shown.check(&OF_RUN)?;
        let (stop, store) = (conduct::stop_on_interrupt()?, Store::new(&common.runs));
        let connect = &self.own.connect;
        self.own.name.check(&store)?;
        let replicates = self.replicates.max(1);
        let mut request = self.own.suited(replicates, None, progress).await?;
        let preset = request.preset.clone();
        request.plan.precision = self.goal(replicates)?;
        request.observe.observer = self.observer(&request)?;
        request.observe.live = progress.is_live();
        request.observe.follow = self.own.observe.instruments.follow_by_default(request.plan.timing.window);
        progress.plan(&request.plan, request.observe.follow, 1, false);
        let planned = if self.restart { Turn::each(replicates) } else { vec![Turn::WHOLE] };
        let arms = vec![Arm { request, launch: connect.launch(&[]), side: None }];
        let turns = Turns::new(&store, &stop, arms, planned, connect.restore);
        let outcome = turns.take_all(&mut |event: Event| progress.event(event)).await;
        let answer = Answer { what: "sweep", common, preset: &preset, output: &self.output };
        answer.print(&store, outcome, progress)
    }

    /// How precisely it is to be measured; `None`: nobody asked.
    fn goal(&self, replicates: usize) -> Result<Option<PrecisionGoal>> {
        let Some(half_width) = self.precision else { return Ok(None) };
        if self.max_windows < replicates as u64 {
            return Err(anyhow!(Usage(anyhow!(
                "--max-windows {} is less than the {replicates} windows per level of --replicates: give more",
                self.max_windows
            ))));
        }
        Ok(Some(PrecisionGoal { half_width, windows: self.max_windows as usize }))
    }

    /// What is asked of the instruments themselves.
    fn observer(&self, request: &Request) -> Result<Option<ObserverSpec>> {
        if !self.observer_cost {
            return Ok(None);
        }
        if !matches!(request.load.driver, DriverChoice::Own { .. }) {
            return Err(anyhow!(Usage(anyhow!(
                "--observer-cost counts queries while they run, and only wireprof's own driver tells: leave \
                 --driver out"
            ))));
        }
        // Longer ones would need several scrapes each, and the machine drifts within them.
        if !(Duration::from_millis(100)..=Duration::from_secs(1)).contains(&self.pair_window) {
            return Err(anyhow!(Usage(anyhow!(
                "--pair-window is from 100ms to 1s: for a narrower interval give more --pairs"
            ))));
        }
        Ok(Some(ObserverSpec {
            level: request.plan.levels.iter().copied().max().unwrap_or(1),
            pairs: self.pairs as usize,
            window: self.pair_window,
            warmup: request.plan.timing.warmup,
            seed: request.plan.seed,
            sampling: request.observe.sampling.clone(),
        }))
    }
}

/// Half of an interval over the value, as people write it: `5`, `0.5%`; a share.
fn half_width(text: &str) -> Result<f64> {
    let percent: f64 = text.trim().trim_end_matches('%').trim_end().parse()?;
    ensure!((0.1..=100.0).contains(&percent), "a precision is from 0.1 to 100 %");
    Ok(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::half_width;

    #[test]
    fn a_precision_is_a_number_of_percent() {
        for (text, share) in [("5", Some(0.05)), ("0.5%", Some(0.005)), ("10 %", Some(0.1))] {
            assert_eq!(half_width(text).ok(), share, "{text}");
        }
        for wrong in ["0", "0.05", "101", "NaN", "high"] {
            assert!(half_width(wrong).is_err(), "{wrong}");
        }
    }
}
