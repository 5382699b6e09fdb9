//! `wireprof sweep`: levels x replicates of load, samples, metrics and statements become a stored run.

use super::names::Names;
use super::overview::{guards_failed, overview};
use super::progress::Progress;
use super::source::Source;
use super::{Common, Outcome, Usage, input};
use crate::load::{Protocol, run_script};
use crate::preset::{Expression, Preset};
use crate::render::Picture;
use crate::render::flamegraph::{Wanted, write_pictures};
use crate::run::{RUNNING, Run, Store};
use crate::sample::{Unwinding, perf};
use crate::sweep::{
    self, Arm, Cut, DriverChoice, Ended, Launch, Prepared, Request, Stop, Timing, Turn, Turns, interrupted, prepare,
    restore,
};
use crate::target::without_secrets;
use crate::testbed::plant::Plant;
use crate::testbed::spawn::Options as TestbedOptions;
use crate::workload::{Workload, parse_duration};
use anyhow::{Context, Result, anyhow};
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
    #[arg(long, value_enum, default_value_t = Protocol::Simple)]
    protocol: Protocol,
    /// Threads that drive the load; the report says when they are the limit
    #[arg(long, value_name = "N", default_value_t = 1)]
    load_threads: usize,
    /// Who drives the load: wireprof, or dbbench=PATH
    #[arg(long, value_name = "wireprof|dbbench=PATH", default_value = "wireprof", value_parser = driver)]
    driver: String,
    /// Expression that counts queries on the server, for dbbench [default: the preset's]
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
    /// Another process whose CPU is accounted for, by number or name; may be repeated
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
    /// Measure without sampling stacks
    #[arg(long)]
    no_sampling: bool,
    /// Samples per second and CPU
    #[arg(long, value_name = "HZ", default_value_t = 997, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    frequency: u64,
    #[arg(long, value_enum, default_value_t = perf::EventChoice::Auto)]
    event: perf::EventChoice,
    /// How stacks are followed
    #[arg(long, value_enum, default_value_t = Unwinding::Auto)]
    unwind: Unwinding,
    /// Largest stack copy in bytes, where stacks are copied
    #[arg(long, value_name = "BYTES", default_value_t = 65_528)]
    stack_bytes: u64,
    /// After each window, while its load still runs, write on one connection and read on others: do reads see acknowledged
    /// writes?
    #[arg(long, value_enum, value_name = "WHAT")]
    probe: Option<Probe>,
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

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("`{text}` is no length of time; write 5s, 500ms or 1m"))
}

/// Understood here, so that a slip of the pen is told before anything is started.
pub(super) fn plant(text: &str) -> Result<String, String> {
    text.parse::<Plant>().map(|_| text.to_string()).map_err(|error| error.to_string())
}

fn driver(text: &str) -> Result<String, String> {
    let known = text == "wireprof" || text.strip_prefix("dbbench=").is_some_and(|path| !path.is_empty());
    if known { Ok(text.into()) } else { Err("write wireprof, or dbbench=PATH".into()) }
}

impl Sweep {
    pub fn run(self, common: &Common) -> Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("wireprof-sweep")
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(self.conduct(common))
    }

    async fn conduct(self, common: &Common) -> Result<Outcome> {
        let stop = stop_on_interrupt();
        let progress = Progress::new();
        let preset = self.preset()?;
        let mut request = self.request(preset.clone())?;
        // Before the testbed is started for nothing.
        sweep::check(&request)?;
        if self.restart {
            return self.by_turns(common, request, &stop, &progress).await;
        }
        if self.testbed {
            progress.working("starting the testbed and its PostgreSQL");
        }
        let launched = tokio::task::block_in_place(|| self.launch().start(&mut request, &stop))?;
        if stop.requested() {
            return Err(cut(Cut::Interrupted.into(), 0));
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
        let outcome = sweep::run(&store, manifest, &preset, &mut sources, timing, &stop, &mut tell).await;
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
        self.answer(common, &store, &preset, outcome?, &progress)
    }

    /// Each replicate with a target of its own.
    async fn by_turns(&self, common: &Common, request: Request, stop: &Stop, progress: &Progress) -> Result<Outcome> {
        let (store, preset) = (Store::new(&common.runs), request.preset.clone());
        let planned: Vec<Turn> = (1..=request.replicates).map(|replicate| Turn { arm: 0, replicate }).collect();
        let arms = vec![Arm { request, launch: self.launch(), side: None }];
        let mut turns = Turns::new(&store, &preset, stop, arms, planned.clone());
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
                self.answer(common, &store, &preset, sweep::Outcome { directory, manifest, finished, cut }, progress)
            }
            (None, Some(error)) => Err(cut(error, 0)),
            (None, None) => Err(anyhow!("no replicate was asked for")),
        }
    }

    /// Tables, pictures and where they are; then the error that cut the sweep short, if any.
    fn answer(
        &self,
        common: &Common,
        store: &Store,
        preset: &Preset,
        outcome: sweep::Outcome,
        progress: &Progress,
    ) -> Result<Outcome> {
        if outcome.finished == 0 {
            return Err(cut(outcome.cut.unwrap_or_else(|| anyhow!("no window was finished")), 0));
        }
        let reference = outcome.directory.display().to_string();
        progress.working("reading the run");
        let run = store.load(&reference)?;
        let drawn = if self.no_flamegraphs {
            Ok(Vec::new())
        } else {
            pictures(&run, self.names.full, preset, &outcome, progress)
        };
        progress.done();
        // A picture that cannot be written must not cost the tables, nor hide what cut the sweep short.
        let (pictures, undrawn) = drawn.map_or_else(|error| (Vec::new(), Some(error)), |pictures| (pictures, None));
        self.names.report(common, overview(&run, Some(preset), &reference, pictures))?;
        match (outcome.cut, undrawn) {
            (Some(error), undrawn) => {
                undrawn.iter().for_each(|error| progress.note(&format!("no flamegraphs: {error:#}")));
                Err(cut(error, outcome.finished))
            }
            (None, Some(error)) => Err(anyhow!(super::Failed(error.context(format!(
                "the run is whole, its flamegraphs are not; `wireprof flamegraph {}` draws them again",
                run.manifest.id
            ))))),
            (None, None) if guards_failed(&run) => Ok(Outcome::CheckFailed),
            (None, None) => Ok(Outcome::Done),
        }
    }

    /// What is started for the sweep.
    fn launch(&self) -> Launch {
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

    pub(super) fn request(&self, preset: Preset) -> Result<Request> {
        let usage = |error: anyhow::Error| anyhow!(Usage(error));
        let workload = match (&self.workload, self.query.as_ref().or(preset.workload.query.as_ref())) {
            (Some(path), _) => Workload::load(path).map_err(|e| usage(e.into()))?,
            (None, Some(query)) => Workload::from_query(query),
            (None, None) => return Err(usage(anyhow!("what is to be repeated? give --query or --workload"))),
        };
        let window = self.window.or(workload.duration).unwrap_or(Duration::from_secs(10));
        let divisor = self.divisor.as_deref().map(Expression::parse).transpose().map_err(|e| usage(e.into()))?;
        let sampling = perf::Options {
            frequency: self.frequency,
            event: self.event,
            unwinding: self.unwind,
            stack_bytes: self.stack_bytes,
            ..perf::Options::default()
        };
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
            workload,
            protocol: self.protocol,
            driver: match self.driver.strip_prefix("dbbench=") {
                Some(path) => DriverChoice::Dbbench(path.into()),
                None => DriverChoice::Own { threads: self.load_threads },
            },
            divisor,
            levels: self.levels.clone(),
            replicates: self.replicates.max(1),
            seed: self.seed.unwrap_or_else(|| clock.map_or(0, |since| since.as_secs())),
            timing: Timing { warmup: self.warmup, window },
            sampling: (!self.no_sampling).then_some(sampling),
            setup: !self.no_setup,
            session: Vec::new(),
            parameters: Vec::new(),
            freshness: self.probe == Some(Probe::ReadAfterWrite),
            arguments: std::env::args().map(|argument| without_secrets(&argument)).collect(),
        })
    }
}

/// The first Ctrl-C (or SIGTERM) asks the sweep to end, keeping what is finished; a second one ends the process.
pub(super) fn stop_on_interrupt() -> Stop {
    let stop = Stop::default();
    let asked = stop.clone();
    tokio::spawn(async move {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
            return;
        };
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if asked.requested() {
                std::process::exit(130);
            }
            eprintln!("\nending: finished windows are kept (once more to end at once)");
            asked.request();
        }
    });
    stop
}

/// What cut the sweep short, with the code that belongs to it.
pub(super) fn cut(error: anyhow::Error, finished: usize) -> anyhow::Error {
    let kept = match finished {
        0 => "no window was finished".to_string(),
        1 => "the finished window is kept".to_string(),
        _ => format!("the {finished} finished windows are kept"),
    };
    let error = match interrupted(&error) {
        true => anyhow!("interrupted; {kept}"),
        false => error.context(format!("the sweep was cut short; {kept}")),
    };
    anyhow!(super::Failed(error))
}

fn pictures(
    run: &Run,
    full_names: bool,
    preset: &Preset,
    outcome: &sweep::Outcome,
    progress: &Progress,
) -> Result<Vec<Picture>> {
    progress.working("drawing flamegraphs");
    let wanted = Wanted { everything: true, foci: input::foci(preset), full_names, ..Wanted::default() };
    let directory = outcome.directory.join(super::flamegraph::FOLDER);
    let written = write_pictures(run, &wanted, &directory)?;
    let pictures = written.pictures.into_iter();
    Ok(pictures
        .map(|p| Picture { title: format!("level {}, {}", p.level, p.what), path: p.path.display().to_string() })
        .collect())
}
