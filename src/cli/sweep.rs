//! `wireprof sweep`: levels x replicates of load, samples, metrics and statements become a stored run.

use super::conduct::{self, Answer, duration};
use super::names::Names;
use super::progress::Progress;
use super::sampling::Sampling;
use super::source::Source;
use super::{Common, Outcome, Usage};
use crate::connection::shown_arguments;
use crate::load::{Protocol, run_script};
use crate::preset::Preset;
use crate::run::{Manifest, RUNNING, Store};
use crate::sweep::{
    self, Arm, Cut, Divisor, DriverChoice, Ended, Launch, ObserverAsked, Prepared, Request, Sources, Stop, Timing,
    Turn, Turns, observer_windows, prepare, restore,
};
use crate::testbed::{self, Options as TestbedOptions};
use crate::workload::Workload;
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Drive load at several concurrencies while the server is sampled and its metrics are read
#[derive(Args)]
#[command(after_help = "\
Examples:
  wireprof sweep --testbed --levels 1,4,16,64                  the embedded target, started and stopped for it
  wireprof sweep --testbed --replicates 6 --restart             six windows a level, each of a process of its own
  wireprof sweep --preset postgres --url postgres://app@localhost/db --query 'select 1' --levels 1,16,64
  wireprof sweep --preset materialize --workload bench.ini --levels 1,4,16,64,128 --window 20s --restore
  wireprof sweep --testbed --levels 64 --observer-cost --pairs 40   and what each instrument costs the target
  wireprof sweep --testbed --levels 1 --awake                  without the time that idle CPUs take to wake
  wireprof sweep --testbed --also postgres                      the database's own profile too (hot --process postgres)
  wireprof sweep --preset generic --url postgres://localhost:7000/db --pid 4711")]
pub struct Sweep {
    /// What is particular to the server: materialize, postgres, cockroach, generic, testbed, or a .toml file
    #[arg(long, value_name = "NAME|PATH")]
    pub(super) preset: Option<String>,
    /// Server under load [default: the preset's]; password from the URL, PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Start the embedded target for this sweep, and stop it after
    #[arg(long, conflicts_with_all = ["url", "pid", "internal_url", "metrics_url"])]
    pub(super) testbed: bool,
    /// A known bottleneck for --testbed, such as cpu:peek=20us or deep-stack=500kB; may be repeated
    #[arg(long, value_name = "KIND:ARGS", requires = "testbed", value_parser = plant)]
    pub(super) plant: Vec<String>,
    /// Numbers of clients
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', default_value = "1,4,16,64")]
    pub(super) levels: Vec<usize>,
    /// Windows per level
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(super) replicates: usize,
    /// Start the embedded target anew for each replicate: windows of one process are not independent
    #[arg(long, requires = "testbed")]
    restart: bool,
    /// Length of a window [default: the workload's duration, else 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    window: Option<Duration>,
    /// Load before each window
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    warmup: Duration,
    /// The statement to repeat [default: the preset's]
    #[arg(long, value_name = "SQL", conflicts_with = "workload")]
    query: Option<String>,
    /// A dbbench script (.ini)
    #[arg(long, value_name = "FILE")]
    workload: Option<PathBuf>,
    /// How statements are sent [default: simple]
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Threads that drive the load; the report says when they are the limit [default: 1]
    #[arg(long, value_name = "N")]
    load_threads: Option<usize>,
    /// CPU that the client uses for each answer before it sends the next query, as an application would
    #[arg(long, value_name = "TIME", value_parser = duration)]
    client_work: Option<Duration>,
    /// Who drives the load: wireprof, or dbbench=PATH
    #[arg(long, value_name = "wireprof|dbbench=PATH", default_value = "wireprof", value_parser = driver)]
    driver: String,
    /// What counts queries on the server, for dbbench: an expression over its metrics, statements(REGEX), or sockets
    /// [default: the preset's]
    #[arg(long, value_name = "EXPRESSION")]
    divisor: Option<String>,
    /// Administrator's connection for the set-up [default: the preset's]
    #[arg(long, value_name = "URL")]
    internal_url: Option<String>,
    /// Prometheus metrics of the server [default: the preset's]
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    #[arg(long, conflicts_with = "metrics_url")]
    no_metrics: bool,
    /// Database whose statement statistics are read (PostgreSQL or CockroachDB) [default: --url, where the preset says so]
    #[arg(long, value_name = "URL")]
    statements_url: Option<String>,
    #[arg(long, conflicts_with = "statements_url")]
    no_statements: bool,
    /// Have the database forget its statement statistics before each window (they are differenced in any case)
    #[arg(long, conflicts_with = "no_statements")]
    reset_statements: bool,
    /// The server's process [default: the one that listens on the URL's port]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Another process to sample in the same windows, such as the database behind, by number or name; may be repeated
    #[arg(long, value_name = "PID|NAME")]
    also: Vec<String>,
    /// Leave the server's settings and tables as they are
    #[arg(long)]
    no_setup: bool,
    /// After the sweep put back what the set-up changed
    #[arg(long, conflicts_with = "no_setup")]
    pub(super) restore: bool,
    /// Measure without following the sockets (where each query is)
    #[arg(long)]
    no_wire: bool,
    #[command(flatten)]
    sampling: Sampling,
    /// After each window, while its load still runs, write on one connection and read on others: do reads see acknowledged
    /// writes?
    #[arg(long, value_enum, value_name = "WHAT")]
    probe: Option<Probe>,
    /// Keep idle CPUs from sleeping (/dev/cpu_dma_latency): at few clients, waking them can be most of the latency
    #[arg(long)]
    awake: bool,
    /// Then measure what each instrument costs the target: short windows with it and without it by turns, at the highest level
    #[arg(long, conflicts_with = "restart")]
    pub(super) observer_cost: bool,
    /// Pairs of windows for each instrument
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pairs: u64,
    /// Length of each of these windows
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "400ms")]
    pair_window: Duration,
    #[command(flatten)]
    source: Source,
    /// Seed of the random order of levels [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Do not draw flamegraphs
    #[arg(long)]
    no_flamegraphs: bool,
    #[command(flatten)]
    pub(super) names: Names,
}

/// What can be asked of a server beside its speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Probe {
    /// In a table of its own, which is dropped at the end.
    ReadAfterWrite,
}

/// Understood here, so that a slip of the pen is told before anything is started.
pub(super) fn plant(text: &str) -> Result<String, String> {
    testbed::check_plant(text).map(|()| text.to_string())
}

fn driver(text: &str) -> Result<String, String> {
    let known = text == "wireprof" || text.strip_prefix("dbbench=").is_some_and(|path| !path.is_empty());
    if known { Ok(text.into()) } else { Err("write wireprof, or dbbench=PATH".into()) }
}

/// Measures what observing costs, and stores it with the run; what ended it early is the error.
async fn observe(
    store: &Store,
    manifest: &Manifest,
    asked: &ObserverAsked,
    sources: &mut Sources,
    stop: &Stop,
    tell: &mut (dyn FnMut(sweep::Event) + Send),
) -> Result<()> {
    let (windows, ended) = observer_windows(asked, sources, stop, tell).await?;
    store.write_observer(manifest, &windows)?;
    ended.map_or(Ok(()), Err)
}

impl Sweep {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        conduct::runtime()?.block_on(self.conduct(common))
    }

    async fn conduct(self, common: &Common) -> Result<Outcome> {
        let stop = conduct::stop_on_interrupt();
        let progress = Progress::new();
        let preset = self.preset()?;
        let mut request = self.request(preset.clone())?;
        // Before the testbed is started for nothing.
        sweep::check(&request)?;
        if self.restart {
            return self.by_turns(common, request, &stop, &progress).await;
        }
        let observer = self.observer(&request)?;
        if self.testbed {
            progress.working("starting the testbed and its PostgreSQL");
        }
        let launched = tokio::task::block_in_place(|| self.launch().start(&mut request, &stop))?;
        if stop.requested() {
            return Err(conduct::cut("sweep", Cut::Interrupted.into(), 0));
        }
        let prepared = prepare(request).await?;
        let Prepared { mut sources, mut manifest, connections, applied, address, workload, timing, .. } = prepared;
        manifest.target.source = self.source.read();
        for change in &manifest.changes {
            progress.note(&format!("set up: {change}"));
        }
        let store = Store::new(&common.runs);
        debug_assert_eq!(manifest.ended, RUNNING);
        let mut tell = |event: sweep::Event| progress.event(event);
        let mut outcome = sweep::run(&store, manifest, &preset, &mut sources, timing, &stop, &mut tell).await;
        if let (Some(asked), Ok(outcome @ sweep::Outcome { cut: None, .. })) = (observer, &mut outcome) {
            outcome.cut = observe(&store, &outcome.manifest, &asked, &mut sources, &stop, &mut tell).await.err();
        }
        // Whatever happened to the windows, the server gets back what is its own.
        if let Some(probe) = sources.freshness.take() {
            probe.close().await.unwrap_or_else(|error| progress.note(&format!("{error:#}")));
        }
        tokio::task::block_in_place(|| run_script(&address, &workload.teardown, Duration::from_secs(60)))
            .unwrap_or_else(|error| progress.note(&format!("teardown: {error}")));
        if self.restore
            && let Some(connections) = &connections
        {
            match restore(applied, connections).await {
                Ok(done) => done.iter().for_each(|statement| progress.note(&format!("put back: {statement}"))),
                Err(error) => progress.note(&format!("{error:#}")),
            }
        }
        drop(sources);
        tokio::task::block_in_place(|| drop(launched));
        self.answer(common, &preset).print(&store, outcome?, &progress)
    }

    /// Each replicate with a target of its own.
    async fn by_turns(&self, common: &Common, request: Request, stop: &Stop, progress: &Progress) -> Result<Outcome> {
        let (store, preset) = (Store::new(&common.runs), request.preset.clone());
        let planned: Vec<Turn> = (1..=request.replicates).map(|replicate| Turn { arm: 0, replicate }).collect();
        let arms = vec![Arm { request, launch: self.launch(), side: None }];
        let mut turns = Turns::new(&store, stop, arms, planned.clone());
        let mut tell = |event: sweep::Event| progress.event(event);
        let mut ended = None;
        for turn in planned {
            if let Err(error) = turns.take(turn, &mut tell).await {
                ended = Some(error);
                break;
            }
        }
        match (turns.end(ended.as_ref())?.pop(), ended) {
            (Some(Ended { directory, manifest, finished }), cut) => {
                let outcome = sweep::Outcome { directory, manifest, finished, cut };
                self.answer(common, &preset).print(&store, outcome, progress)
            }
            (None, Some(error)) => Err(conduct::cut("sweep", error, 0)),
            (None, None) => Err(anyhow!("no replicate was asked for")),
        }
    }

    fn answer<'a>(&'a self, common: &'a Common, preset: &'a Preset) -> Answer<'a> {
        Answer { what: "sweep", common, preset, names: &self.names, pictures: !self.no_flamegraphs }
    }

    /// What is asked of the instruments themselves.
    fn observer(&self, request: &Request) -> Result<Option<ObserverAsked>> {
        if !self.observer_cost {
            return Ok(None);
        }
        if !matches!(request.driver, DriverChoice::Own { .. }) {
            return Err(anyhow!(Usage(anyhow!(
                "--observer-cost counts queries while they run, and only wireprof's own driver tells: leave --driver out"
            ))));
        }
        // Longer ones would need several scrapes each, and the machine drifts within them.
        if !(Duration::from_millis(100)..=Duration::from_secs(1)).contains(&self.pair_window) {
            return Err(anyhow!(Usage(anyhow!(
                "--pair-window is from 100ms to 1s: for a narrower interval give more --pairs"
            ))));
        }
        Ok(Some(ObserverAsked {
            level: request.levels.iter().copied().max().unwrap_or(1),
            pairs: self.pairs as usize,
            window: self.pair_window,
            warmup: self.warmup,
            seed: request.seed,
            sampling: request.sampling.clone(),
        }))
    }

    /// What is started for the sweep.
    pub(super) fn launch(&self) -> Launch {
        match self.testbed {
            true => Launch::Testbed(TestbedOptions { plants: self.plant.clone(), ..TestbedOptions::default() }),
            false => Launch::Nothing,
        }
    }

    /// The preset asked for, else the one that suits the target.
    pub(super) fn preset(&self) -> Result<Preset> {
        let name = self.preset.clone().unwrap_or_else(|| if self.testbed { "testbed" } else { "generic" }.into());
        Preset::load(&name).map_err(|e| anyhow!(Usage(e.into())))
    }

    /// An option that was given and means nothing to another driver.
    fn of_own_load(&self) -> Option<&'static str> {
        let given = [
            ("--client-work", self.client_work.is_some()),
            ("--load-threads", self.load_threads.is_some()),
            ("--protocol", self.protocol.is_some()),
        ];
        given.into_iter().find_map(|(option, given)| given.then_some(option))
    }

    pub(super) fn request(&self, preset: Preset) -> Result<Request> {
        let usage = |error: anyhow::Error| anyhow!(Usage(error));
        let workload = match (&self.workload, self.query.as_ref().or(preset.workload.query.as_ref())) {
            (Some(path), _) => Workload::load(path).map_err(|e| usage(e.into()))?,
            (None, Some(query)) => Workload::from_query(query),
            (None, None) => return Err(usage(anyhow!("what is to be repeated? give --query or --workload"))),
        };
        if let Some(option) = self.of_own_load().filter(|_| self.driver != "wireprof") {
            return Err(usage(anyhow!("{option} is of wireprof's own load: leave it out, or leave out --driver")));
        }
        let window = self.window.or(workload.duration).unwrap_or(Duration::from_secs(10));
        let divisor = self.divisor.as_deref().map(Divisor::parse).transpose().map_err(usage)?;
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Ok(Request {
            preset,
            url: self.url.clone(),
            internal_url: self.internal_url.clone(),
            metrics_url: self.metrics_url.clone(),
            no_metrics: self.no_metrics,
            statements_url: self.statements_url.clone(),
            no_statements: self.no_statements,
            reset_statements: self.reset_statements,
            wire: !self.no_wire,
            pid: self.pid,
            also: self.also.clone(),
            accounted: Vec::new(),
            workload,
            protocol: self.protocol.unwrap_or(Protocol::Simple),
            driver: match self.driver.strip_prefix("dbbench=") {
                Some(path) => DriverChoice::Dbbench(path.into()),
                None => {
                    let client_work = self.client_work.unwrap_or_default();
                    DriverChoice::Own { threads: self.load_threads.unwrap_or(1), client_work }
                }
            },
            divisor,
            levels: self.levels.clone(),
            replicates: self.replicates.max(1),
            seed: self.seed.unwrap_or_else(|| clock.map_or(0, |since| since.as_secs())),
            timing: Timing { warmup: self.warmup, window },
            sampling: self.sampling.options(),
            setup: !self.no_setup,
            session: Vec::new(),
            parameters: Vec::new(),
            freshness: self.probe == Some(Probe::ReadAfterWrite),
            awake: self.awake,
            arguments: shown_arguments(std::env::args()),
        })
    }
}
