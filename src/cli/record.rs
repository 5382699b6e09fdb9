//! `wireprof record`: windows under somebody else's load become a stored run.

use super::conduct::{self, Answer, Output, seconds};
use super::json_lines::LiveOutput;
use super::observe::Instruments;
use super::progress::Progress;
use super::run_name::RunName;
use super::shown::OF_RUN;
use super::target_host::TargetHost;
use super::{Common, Outcome, Usage};
use crate::connection::shown_arguments;
use crate::load::{Address, Protocol};
use crate::preset::Preset;
use crate::run::Store;
use crate::sweep::{
    self, Arm, DriverChoice, Event, Launch, LoadRequest, ObserveRequest, Plan, QueryCounter, Request, TargetRequest,
    Timing, Turn, Turns, check,
};
use crate::workload::Workload;
use anyhow::{Result, anyhow};
use clap::Args;
use std::time::Duration;

/// Sample a server and read its metrics while somebody else drives the load
#[derive(Args)]
#[command(after_help = "\
Nothing is sent to the server and nothing on it is set. What only a driver knows (latency, errors) is not measured; \
where a query is can be told at the sockets. A window's level is the number of connections to the server's port.

Examples:
  wireprof record --preset materialize --windows 3 --window 20s
  wireprof record --url postgres://localhost:5432 --divisor sockets
  wireprof record --preset postgres --divisor 'statements(^select)' \\
      --statements-url postgres://app@localhost/db
  wireprof record --pid 4711 --url postgres://localhost:7000 \\
      --metrics-url http://localhost:7001/metrics \\
      --divisor 'delta(queries_total)' --clients 64
  # on the server's own host, kept here
  wireprof record --preset postgres --url postgres://db1:5432 \\
      --target-host ssh://db1")]
pub struct Record {
    /// What is particular to the server: materialize, postgres, cockroach, generic, testbed, or a .toml file [default:
    /// by the name of the process that listens]
    #[arg(long, value_name = "NAME|PATH", help_heading = "Target")]
    preset: Option<String>,
    /// Where the server listens [default: the preset's]; no connection is made to it
    #[arg(long, value_name = "URL", help_heading = "Target")]
    url: Option<String>,
    /// Number of windows
    #[arg(long, value_name = "K", default_value_t = 1, help_heading = "Plan")]
    windows: usize,
    /// Length of a window; a bare number means seconds
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "10s", help_heading = "Plan")]
    window: Duration,
    /// What counts queries: an expression over the server's metrics, statements(REGEX), or sockets (requests seen
    /// there) [default: the preset's, else sockets]
    #[arg(long, value_name = "EXPRESSION", help_heading = "Load")]
    divisor: Option<String>,
    /// Number of clients [default: connections to the server's port at each window's start]
    #[arg(long, value_name = "N", help_heading = "Load")]
    clients: Option<usize>,
    /// Database whose statement statistics are read; password from the URL, PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "URL", help_heading = "What is measured")]
    statements_url: Option<String>,
    #[command(flatten)]
    instruments: Instruments,
    #[command(flatten)]
    host: TargetHost,
    #[command(flatten)]
    name: RunName,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    live: LiveOutput,
}

impl Record {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        conduct::measure(self.live.json_lines, common, async |progress| self.conduct(common, progress).await)
    }

    async fn conduct(&self, common: &Common, progress: &Progress) -> Result<Outcome> {
        self.output.shown.check(&OF_RUN)?;
        let (stop, store) = (conduct::stop_on_interrupt()?, Store::new(&common.runs));
        self.name.check(&store)?;
        let mut request = self.suited(progress)?;
        request.observe.live = progress.is_live();
        progress.plan(&request.plan, request.observe.follow, 1, false);
        let preset = request.preset.clone();
        let arms = vec![Arm { request, launch: Launch::Nothing, side: None }];
        let turns = Turns::new(&store, &stop, arms, vec![Turn::WHOLE], false);
        let outcome = turns.take_all(&mut |event: Event| progress.event(event)).await;
        let answer = Answer { what: "recording", common, preset: &preset, output: &self.output };
        answer.print(&store, outcome, progress)
    }

    /// What is asked, with the preset that suits the process where none was asked for.
    fn suited(&self, progress: &Progress) -> Result<Request> {
        let name = self.preset.as_deref().unwrap_or("generic");
        let request = self.request(Preset::load(name).map_err(|e| anyhow!(Usage(e.into())))?)?;
        // The process of another host cannot be looked at from here.
        let url = self.url.as_ref().filter(|_| !self.host.is_given());
        let (None, Some(url)) = (&self.preset, url) else { return Ok(request) };
        let chosen = sweep::look(&Address::parse(url)?, self.instruments.pid)?;
        progress.note(&chosen.sentence());
        let target = TargetRequest { chosen: Some(chosen.sentence()), ..request.target };
        Ok(Request { target, preset: chosen.preset, ..request })
    }

    fn request(&self, preset: Preset) -> Result<Request> {
        let counter = self.divisor.as_deref().map(QueryCounter::parse).transpose().map_err(|e| anyhow!(Usage(e)))?;
        if self.windows == 0 || self.clients == Some(0) {
            return Err(anyhow!(Usage(anyhow!("--windows and --clients are numbers from 1 up"))));
        }
        let request = Request {
            preset,
            target: TargetRequest {
                url: self.url.clone(),
                pid: self.instruments.pid,
                pid_anyway: self.instruments.pid_anyway,
                source: self.instruments.source.read(),
                across: self.host.across(),
                ..TargetRequest::default()
            },
            load: LoadRequest {
                workload: Workload::none(),
                protocol: Protocol::default(),
                driver: DriverChoice::Foreign { clients: self.clients },
                counter,
                session: Vec::new(),
                hosts: None,
            },
            observe: ObserveRequest {
                statements_url: self.statements_url.clone(),
                // The server's own statements would need a password.
                no_statements: self.statements_url.is_none(),
                ..self.instruments.request()
            },
            plan: Plan {
                levels: Vec::new(),
                replicates: self.windows,
                seed: 0,
                timing: Timing { warmup: Duration::ZERO, window: self.window },
                precision: None,
            },
            arguments: shown_arguments(std::env::args()),
            name: self.name.given(),
        };
        check(&request)?;
        Ok(request)
    }
}
