//! What each instrument costs the target: windows with it and without it by turns (ABBA), all within one load session.
//! Invariant: in both windows of a pair the same processes are read at the same places in time; an instrument that
//! fails costs its own pairs only, and pairs that are whole are kept whatever ends the others.

use super::load_threads::{self, ThreadBook};
use super::scrapes::pace;
use super::window::{pause, watch_generator};
use super::{Event, Sources, Stop, pairs};
use crate::clock;
use crate::load::Load;
use crate::run::{Instrument, InstrumentPairs, Missing, ObservedPair, ObservedWindow, ObserverWindows, Part};
use crate::sample::{self, BareTimers, Recording, Sampler, choose};
use crate::target::{Role, difference};
use anyhow::{Context, Result, anyhow, bail};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between switching instruments and the window: starting one reads files and fills caches, which is no cost of
/// observing.
const SETTLE: Duration = Duration::from_millis(100);

/// What is asked.
#[derive(Clone, Debug)]
pub struct ObserverSpec {
    /// Clients of the load.
    pub level: usize,
    /// Pairs of windows of each instrument (a count).
    pub pairs: usize,
    /// Length of each window.
    pub window: Duration,
    /// Load before the first window; the load session is one for all of them.
    pub warmup: Duration,
    /// Seed of the orders of instruments and of the windows within pairs.
    pub seed: u64,
    /// `None`: stacks are not sampled.
    pub sampling: Option<sample::Options>,
}

/// What runs in one window.
#[derive(Clone, Copy, Debug, Default)]
struct On {
    timer: bool,
    /// Stacks; with waits where `Some(true)`.
    sampling: Option<bool>,
    wire: bool,
    metrics: bool,
}

/// Instruments that only this measurement has, in addition to those of the sources.
struct ObserverExperiment<'a> {
    sources: &'a mut Sources,
    load: &'a dyn Load,
    window: Duration,
    stop: &'a Stop,
    timers: Result<BareTimers, Missing>,
    /// On-CPU stacks alone.
    on_cpu: Result<Box<dyn Sampler>, Missing>,
    off_cpu: bool,
    /// ns from scrape to scrape; `None`: metrics cannot be read.
    scrape_every: Option<u64>,
    /// ns of an instrument's windows with metrics since its last scrape.
    unscraped: BTreeMap<Instrument, u64>,
}

/// Takes all pairs; what ended them early comes with those that are whole.
///
/// # Errors
/// A load that cannot be started.
pub async fn observer_windows(
    asked: &ObserverSpec,
    sources: &mut Sources,
    threads: &ThreadBook,
    stop: &Stop,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<(ObserverWindows, Option<anyhow::Error>)> {
    let mut load = tokio::task::block_in_place(|| sources.driver.open(asked.level))?;
    load_threads::begin(threads, load.as_mut(), asked.level)?;
    load.start()?;
    watch_generator(sources, &load.thread_ids());
    let began = clock::now();
    let mut experiment = ObserverExperiment::open(asked, sources, load.as_ref(), stop).await;
    let mut found = ObserverWindows {
        level: asked.level,
        window_seconds: asked.window.as_secs_f64(),
        frequency: asked.sampling.as_ref().map(|options| options.frequency),
        scrape_seconds: experiment.scrape_every.map(|nanos| nanos as f64 / 1e9),
        instruments: experiment.instruments(),
    };
    let ended = match pause(load.as_ref(), experiment.sources, began + asked.warmup.as_nanos() as u64, stop).await {
        Ok(()) => experiment.take(asked, &mut found.instruments, tell).await.err(),
        Err(error) => Some(error),
    };
    let span = clock::Span::new(began, clock::now());
    tokio::task::block_in_place(|| load.stop(span))?;
    Ok((found, ended))
}

fn missing(what: Part, why: String) -> Missing {
    Missing { what, why, remedy: "run `wireprof doctor`".into() }
}

impl<'a> ObserverExperiment<'a> {
    async fn open(
        asked: &ObserverSpec,
        sources: &'a mut Sources,
        load: &'a dyn Load,
        stop: &'a Stop,
    ) -> ObserverExperiment<'a> {
        let sampled = asked.sampling.as_ref().filter(|_| sources.sampler.is_some()).zip(sources.processes.target);
        let not_sampled = || missing(Part::Profile, "stacks are not sampled in this run".into());
        let (timers, on_cpu) = tokio::task::block_in_place(|| match sampled {
            None => (Err(not_sampled()), Err(not_sampled())),
            Some((options, target)) => (
                BareTimers::open(options).map_err(|error| missing(Part::Timer, format!("{error:#}"))),
                on_cpu_only(options, target.sampled.pid, sources)
                    .map_err(|error| missing(Part::Profile, format!("{error:#}"))),
            ),
        });
        let scrape = match &sources.scraper {
            Some(scraper) => scraper.scrape().await.ok(),
            None => None,
        };
        ObserverExperiment {
            load,
            window: asked.window,
            stop,
            timers,
            on_cpu,
            off_cpu: sampled.is_some_and(|(options, _)| options.off_cpu),
            scrape_every: scrape.as_ref().map(|scrape| pace(scrape.span.nanos(), sources.scrape_cost.as_ref())),
            unscraped: BTreeMap::new(),
            sources,
        }
    }

    /// All instruments, with the reasons of those that cannot be had.
    fn instruments(&self) -> Vec<InstrumentPairs> {
        let on_cpu = self.on_cpu.as_ref().err().cloned();
        let off_cpu = (!self.off_cpu).then(|| missing(Part::OffCpuStacks, "waits are not followed in this run".into()));
        let wire = self.sources.wire.is_none();
        let wire = wire.then(|| missing(Part::Places, "places are not followed in this run".into()));
        let metrics = self.scrape_every.is_none();
        let metrics = metrics.then(|| missing(Part::Metrics, "metrics are not read in this run".into()));
        let none = on_cpu.is_some() && wire.is_some() && metrics.is_some();
        [
            (Instrument::Timer, self.timers.as_ref().err().cloned()),
            (Instrument::Sampling, on_cpu.clone()),
            (Instrument::OffCpu, on_cpu.or(off_cpu)),
            (Instrument::Wire, wire),
            (Instrument::Metrics, metrics),
            (Instrument::All, none.then(|| missing(Part::AllInstruments, "this run has no instrument".into()))),
        ]
        .map(|(instrument, missing)| InstrumentPairs { instrument, pairs: Vec::new(), missing })
        .into()
    }

    /// One pair of each instrument, in random order, again for each pair.
    async fn take(
        &mut self,
        asked: &ObserverSpec,
        instruments: &mut [InstrumentPairs],
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<()> {
        let mut random = rand::rngs::StdRng::seed_from_u64(asked.seed);
        let mut order: Vec<usize> = (0..instruments.len()).collect();
        for (at, turns) in pairs(asked.pairs, asked.seed).chunks(2).enumerate() {
            tell(Event::Preparing(&format!("what observing costs: pair {} of {}", at + 1, asked.pairs)));
            order.shuffle(&mut random);
            for index in &order {
                let found = &mut instruments[*index];
                if found.missing.is_some() {
                    continue;
                }
                let mut both = [None, None];
                for turn in turns {
                    match self.window(found.instrument, turn.arm == 1).await? {
                        Ok(window) => both[turn.arm] = Some(window),
                        Err(error) => found.missing = Some(missing(Part::ObserverCost, format!("{error:#}"))),
                    }
                }
                if let [Some(without), Some(with)] = both {
                    found.pairs.push(ObservedPair { without, with });
                }
            }
        }
        Ok(())
    }

    /// What runs with or without an instrument.
    fn on(&self, instrument: Instrument, with: bool) -> On {
        let nothing = On::default();
        match (instrument, with) {
            (Instrument::OffCpu, _) => On { sampling: Some(with), ..nothing },
            (_, false) => nothing,
            (Instrument::Timer, true) => On { timer: true, ..nothing },
            (Instrument::Sampling, true) => On { sampling: Some(false), ..nothing },
            (Instrument::Wire, true) => On { wire: true, ..nothing },
            (Instrument::Metrics, true) => On { metrics: true, ..nothing },
            (Instrument::All, true) => On {
                timer: false,
                sampling: self.on_cpu.is_ok().then_some(self.off_cpu),
                wire: self.sources.wire.is_some(),
                metrics: self.scrape_every.is_some(),
            },
        }
    }

    /// One window. The outer error ends everything, the inner one this instrument.
    async fn window(&mut self, instrument: Instrument, with: bool) -> Result<Result<ObservedWindow>> {
        let on = self.on(instrument, with);
        let recording = match tokio::task::block_in_place(|| self.start(on)) {
            Ok(recording) => recording,
            Err(error) => {
                self.stop(on, None)?;
                return Ok(Err(error));
            }
        };
        let counted = self.count(instrument, on, recording.as_deref()).await;
        tokio::task::block_in_place(|| self.stop(on, recording))?;
        match counted {
            Err(error) if super::interrupted(&error) || self.load.failed().is_some() => Err(error),
            counted => Ok(counted),
        }
    }

    fn start(&mut self, on: On) -> Result<Option<Box<dyn Recording>>> {
        if on.timer {
            self.timers.as_mut().map_err(|missing| anyhow!("{}", missing.why))?.start()?;
        }
        if on.wire {
            self.sources.wire.as_mut().context("no program at the sockets")?.start()?;
        }
        let Some(off_cpu) = on.sampling else { return Ok(None) };
        let sampled = self.sources.processes.sampled();
        let sampler = match off_cpu {
            true => self.sources.sampler.as_mut().context("no sampler")?,
            false => self.on_cpu.as_mut().map_err(|missing| anyhow!("{}", missing.why))?,
        };
        sampler.start(&sampled).map(Some)
    }

    /// Ends what was started, whatever of it was.
    fn stop(&mut self, on: On, recording: Option<Box<dyn Recording>>) -> Result<()> {
        if on.timer
            && let Ok(timers) = &mut self.timers
        {
            timers.stop()?;
        }
        if let Some(wire) = self.sources.wire.as_mut().filter(|_| on.wire) {
            wire.timelines();
            wire.stop();
        }
        recording.map_or(Ok(()), |recording| recording.stop().map(drop))
    }

    /// Whether this window of the instrument has a scrape, so that all of them together have as many as the run's own
    /// windows.
    fn due(&mut self, instrument: Instrument) -> bool {
        let Some(every) = self.scrape_every else { return false };
        let since = self.unscraped.entry(instrument).or_default();
        *since += self.window.as_nanos() as u64;
        let due = *since >= every;
        *since -= if due { every.min(*since) } else { 0 };
        due
    }

    /// Completed queries and CPU from here to the window's end.
    async fn count(
        &mut self,
        instrument: Instrument,
        on: On,
        recording: Option<&dyn Recording>,
    ) -> Result<ObservedWindow> {
        let nanos = |time: Duration| time.as_nanos() as u64;
        pause(self.load, self.sources, clock::now() + nanos(SETTLE), self.stop).await?;
        if let Some(wire) = self.sources.wire.as_ref().filter(|_| on.wire) {
            wire.take_timelines(self.window.as_secs_f64())?;
        }
        recording.iter().for_each(|recording| recording.begin_window());
        let (before, started) = (self.sources.processes.watched.read(), self.load.progress().0);
        let begin = clock::now();
        let scrapes = u64::from(on.metrics && self.due(instrument));
        if scrapes > 0 {
            pause(self.load, self.sources, begin + nanos(self.window) / 2, self.stop).await?;
            self.sources.scraper.as_ref().context("no scraper")?.scrape().await?;
        }
        pause(self.load, self.sources, begin + nanos(self.window), self.stop).await?;
        let (after, ended) = (self.sources.processes.watched.read(), self.load.progress().0);
        recording.iter().for_each(|recording| recording.end_window());
        let scheduler = difference(&[before, after]).context("the scheduler's statistics cannot be read")?;
        if ended <= started {
            bail!("no query was completed in a window: longer ones are needed");
        }
        Ok(ObservedWindow {
            queries: ended - started,
            target_cpu: scheduler.cpu(Role::Target).context("no thread of the target could be read")?,
            watched_cpu: scheduler.threads.iter().map(|thread| thread.cpu).sum(),
            scrapes,
        })
    }
}

/// A sampler as the run's own, without waits.
fn on_cpu_only(options: &sample::Options, pid: u32, sources: &Sources) -> Result<Box<dyn Sampler>> {
    let mut sampler = choose(&sample::Options { off_cpu: false, ..options.clone() }, pid)?.sampler;
    sampler.prepare(&sources.processes.sampled(), &|_| {})?;
    Ok(sampler)
}
