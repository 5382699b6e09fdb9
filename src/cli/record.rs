//! `wireprof record`: windows under somebody else's load become a stored run.

use super::conduct::{self, Answer, duration};
use super::names::Names;
use super::progress::Progress;
use super::sampling::Sampling;
use super::{Common, Outcome, Usage};
use crate::connection::shown_arguments;
use crate::load::Protocol;
use crate::preset::Preset;
use crate::run::Store;
use crate::sweep::{self, Divisor, DriverChoice, Prepared, Request, Timing, prepare};
use crate::workload::Workload;
use anyhow::{Result, anyhow};
use clap::Args;
use std::time::Duration;

/// Sample a server and read its metrics while somebody else drives the load
#[derive(Args)]
#[command(after_help = "\
Nothing is sent to the server and nothing on it is set. What only a driver knows (latency, errors) is not measured; where
a query is can be told at the sockets. A window's level is the number of connections to the server's port.

Examples:
  wireprof record --preset materialize --windows 3 --window 20s
  wireprof record --url postgres://localhost:5432 --divisor sockets
  wireprof record --preset postgres --statements-url postgres://app@localhost/db --divisor 'statements(^select)'
  wireprof record --pid 4711 --url postgres://localhost:7000 --metrics-url http://localhost:7001/metrics \\
      --divisor 'delta(queries_total)' --clients 64")]
pub struct Record {
    /// What is particular to the server: materialize, postgres, cockroach, generic, testbed, or a .toml file
    #[arg(long, value_name = "NAME|PATH", default_value = "generic")]
    preset: String,
    /// Where the server listens [default: the preset's]; no connection is made to it
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Number of windows
    #[arg(long, value_name = "K", default_value_t = 1)]
    windows: usize,
    /// Length of a window
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    window: Duration,
    /// What counts queries: an expression over the server's metrics, statements(REGEX), or sockets (requests seen
    /// there) [default: the preset's, else sockets]
    #[arg(long, value_name = "EXPRESSION")]
    divisor: Option<String>,
    /// Number of clients [default: connections to the server's port at each window's start]
    #[arg(long, value_name = "N")]
    clients: Option<usize>,
    /// Prometheus metrics of the server [default: the preset's]
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    #[arg(long, conflicts_with = "metrics_url")]
    no_metrics: bool,
    /// Database whose statement statistics are read; password from the URL, PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "URL")]
    statements_url: Option<String>,
    /// The server's process [default: the one that listens on the URL's port]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Another process whose CPU is accounted for, by number or name; may be repeated
    #[arg(long, value_name = "PID|NAME")]
    also: Vec<String>,
    /// Measure without following the sockets (where each query is)
    #[arg(long)]
    no_wire: bool,
    #[command(flatten)]
    sampling: Sampling,
    /// Do not draw flamegraphs
    #[arg(long)]
    no_flamegraphs: bool,
    #[command(flatten)]
    names: Names,
}

impl Record {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        conduct::runtime()?.block_on(self.conduct(common))
    }

    async fn conduct(self, common: &Common) -> Result<Outcome> {
        let stop = conduct::stop_on_interrupt();
        let progress = Progress::new();
        let preset = Preset::load(&self.preset).map_err(|e| anyhow!(Usage(e.into())))?;
        let request = self.request(preset.clone())?;
        let Prepared { mut sources, manifest, timing, .. } = prepare(request).await?;
        let store = Store::new(&common.runs);
        let mut tell = |event: sweep::Event| progress.event(event);
        let outcome = sweep::run(&store, manifest, &preset, &mut sources, timing, &stop, &mut tell).await?;
        drop(sources);
        let pictures = !self.no_flamegraphs;
        let answer = Answer { what: "recording", common, preset: &preset, names: &self.names, pictures };
        answer.print(&store, outcome, &progress)
    }

    fn request(&self, preset: Preset) -> Result<Request> {
        let divisor = self.divisor.as_deref().map(Divisor::parse).transpose().map_err(|e| anyhow!(Usage(e)))?;
        if self.windows == 0 || self.clients == Some(0) {
            return Err(anyhow!(Usage(anyhow!("--windows and --clients are numbers from 1 up"))));
        }
        Ok(Request {
            preset,
            url: self.url.clone(),
            internal_url: None,
            metrics_url: self.metrics_url.clone(),
            no_metrics: self.no_metrics,
            statements_url: self.statements_url.clone(),
            // The server's own statements would need a password.
            no_statements: self.statements_url.is_none(),
            wire: !self.no_wire,
            pid: self.pid,
            also: self.also.clone(),
            accounted: Vec::new(),
            workload: Workload::none(),
            protocol: Protocol::default(),
            driver: DriverChoice::Foreign { clients: self.clients },
            divisor,
            levels: Vec::new(),
            replicates: self.windows,
            seed: 0,
            timing: Timing { warmup: Duration::ZERO, window: self.window },
            sampling: self.sampling.options(),
            freshness: false,
            awake: false,
            reset_statements: false,
            setup: false,
            session: Vec::new(),
            parameters: Vec::new(),
            arguments: shown_arguments(std::env::args()),
        })
    }
}
