//! One window: load, samples, scrapes and scheduler readings brought together in time. Invariant: the window lies
//! between the midpoints of its two scrapes, the load runs from before the first to after the last, and every part
//! that fails costs its own numbers only and leaves a [`Missing`].

use super::across::{AlsoWindow, begin_all, cut_all, stop_all};
use super::activity::Learnt;
use super::follow::{CapturedHands, follow};
use super::live::Live;
use super::load_hosts::LoadHosts;
use super::load_threads::{self, ThreadBook};
use super::sampling_rate::{self, RateBook};
use super::scrapes::{SECOND, pace};
use super::server_profiles::{self, Asking};
use super::{Event, Sources, Stop, Timing};
use crate::analyze::statistics::interval::BATCHES;
use crate::check::Check;
use crate::clock::{self, Nanos, Span};
use crate::load::{Load, LoadTrace};
use crate::metrics::{Scrape, SeriesLog, SeriesOrigin};
use crate::run::{Companion, Missing, Part, Scraping, WindowId};
use crate::sample::{ChosenRate, RawSamples, Recording, SamplingReport};
use crate::statements::{StatementsDelta, StatementsSnapshot};
use crate::target::{SchedulerDelta, Snapshot, difference, started, tasks};
use crate::wire::{WireDelta, WireSnapshot};
use anyhow::{Result, bail};
use std::time::Duration;

/// The load runs on for this long after the last scrape, so that no query of the window is cut by its end.
const RUN_ON: Duration = Duration::from_millis(100);
/// Everything measured in one window, not yet symbolized.
pub struct Captured {
    /// Level and replicate.
    pub id: WindowId,
    /// The window: from the midpoint of the first scrape to that of the last one, on `CLOCK_MONOTONIC`.
    pub span: Span,
    /// What the load generator counted in `span`.
    pub load: LoadTrace,
    /// The whole recording and its report, not yet cut to `span`; `None`: stacks were not sampled.
    pub samples: Option<(RawSamples, SamplingReport)>,
    /// The scrapes at the window's start and end; `None`: metrics were not read.
    pub scrapes: Option<(Scrape, Scrape)>,
    /// The scrapes in between, and what one takes; `None`: metrics were not read.
    pub scraping: Option<Scraping>,
    /// Text of `metrics-series.prom`: the wanted series of all scrapes; `None`: metrics were not read.
    pub series: Option<String>,
    /// CPU of the threads and of the machine, by the kernel; `None`: the readings tell no difference.
    pub scheduler: Option<SchedulerDelta>,
    /// Where queries were, by the sockets; `None`: the sockets were not followed.
    pub wire: Option<WireDelta>,
    /// What the database's statement statistics did in the window; `None`: not read.
    pub statements: Option<StatementsDelta>,
    /// What carried the queries in seconds of their own, just after the window.
    pub hands: Option<CapturedHands>,
    /// What ended the run after the window was measured.
    pub cut: Option<anyhow::Error>,
    /// Companions that were not sampled on this host: of servers that took a profile of themselves, and on other hosts.
    pub beside: Vec<Companion>,
    /// Whether reads saw acknowledged writes, just after the window.
    pub freshness: Option<Check>,
    /// What was wanted and not measured, with the reasons.
    pub missing: Vec<Missing>,
    /// Start of the target process, read at the window's end.
    pub target_started: Option<String>,
}

/// What happens while the load runs.
struct Observed {
    span: Span,
    scrapes: Option<(Scrape, Scrape)>,
    inside: Vec<Scrape>,
    /// ns from one of them to the next.
    every: u64,
    readings: Vec<Snapshot>,
    wire: Option<WireDelta>,
    statements: Option<StatementsDelta>,
    profiles: Vec<Asking>,
}

/// What is asked of a window's time, and who is told of it.
pub struct Asked<'a> {
    pub timing: &'a Timing,
    pub id: WindowId,
    /// Windows of the run by its plan (a count).
    pub windows: usize,
    pub stop: &'a Stop,
    /// The rate of samples as it was chosen before the load; `None`: stacks are not sampled.
    pub chosen: Option<&'a ChosenRate>,
    /// The rate that holds for all windows.
    pub rate: &'a mut RateBook,
    pub tell: &'a mut (dyn FnMut(Event) + Send),
}

/// Why a window was given up.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The user asked for an end.
    #[error("interrupted")]
    Interrupted,
    /// The load or the target ended; in words, with the remedy.
    #[error("{0}")]
    Failed(String),
}

/// Runs one window.
pub async fn capture(sources: &mut Sources, threads: &mut ThreadBook, mut asked: Asked<'_>) -> Result<Captured> {
    let mut missing = Vec::new();
    let (id, stop) = (asked.id, asked.stop);
    let mut load = tokio::task::block_in_place(|| sources.driver.open(id.level))?;
    load_threads::begin(threads, load.as_mut(), id.level)?;
    load.start()?;
    watch_generator(sources, &load.thread_ids());
    let spared = sampling_rate::within_warm_up(&asked);
    load_threads::warm_up(sources, load.as_mut(), threads, &mut asked, spared).await?;
    let warm = clock::now() + spared.as_nanos() as u64;
    sampling_rate::settle(sources, load.as_ref(), &mut asked, warm).await?;
    tokio::task::block_in_place(|| begin_all(&mut sources.also));
    // First, so that it knows the rate of the queries when the window begins.
    start_wire(sources, &mut missing);
    let recording = start_sampling(sources, &mut missing);
    let observed = observe(sources, load.as_ref(), recording.as_deref(), &mut asked, &mut missing).await;
    if let Some(wire) = &mut sources.wire {
        wire.stop();
    }
    let mut observed = observed?;
    if let (Some(seen), Some(wire)) = (&mut observed.wire, &mut sources.wire) {
        load.count_within(seen.span);
        seen.add_timelines(wire.timelines(), load.ends().as_ref());
    }
    tokio::time::sleep(RUN_ON).await;
    stop_all(&sources.also);
    let samples = recording.and_then(|recording| match tokio::task::block_in_place(|| recording.stop()) {
        Ok(samples) => Some(samples),
        Err(error) => {
            missing.push(lacking(Part::Profile, &error, "run `wireprof doctor`"));
            None
        }
    });
    let freshness = probe(sources, stop, &mut missing).await;
    let (hands, cut) = match id.replicate {
        1 => {
            if sources.follow.is_some() {
                (asked.tell)(Event::Following(id));
            }
            follow(sources, load.as_ref(), stop, &mut missing).await
        }
        _ => (None, None),
    };
    let unknown = load.unmeasured().into_iter();
    missing.extend(unknown.map(|(what, why)| lacking(what.into(), &why, "drive the load with `wireprof sweep`")));
    let load = tokio::task::block_in_place(|| load.stop(observed.span))?;
    if let Some(hosts) = &sources.load_hosts {
        missing.extend(hosts.add_client_ends(observed.wire.as_mut()));
    }
    // Only now, so that a server that is slow to answer does not have the load go on.
    let mut beside = server_profiles::answers(observed.profiles, observed.span, &mut missing).await;
    beside.extend(sampled_elsewhere(sources, &load, observed.span, stop, &mut missing));
    let series = observed.scrapes.as_ref().and_then(|(before, after)| {
        let all: Vec<&Scrape> = [before].into_iter().chain(&observed.inside).chain([after]).collect();
        series_log(sources, &all)
    });
    let target_started = sources.processes.target.and_then(|target| started(target.sampled.pid));
    Ok(Captured {
        id,
        span: observed.span,
        load,
        samples,
        scraping: observed.scrapes.as_ref().map(|_| Scraping {
            cost: sources.scrape_cost,
            every: observed.every,
            inside: observed.inside.iter().map(|scrape| scrape.span).collect(),
        }),
        scrapes: observed.scrapes,
        series,
        scheduler: difference(&observed.readings),
        wire: observed.wire,
        statements: observed.statements,
        hands,
        cut,
        beside,
        freshness,
        missing,
        target_started,
    })
}

/// The companions that were sampled on other hosts.
fn sampled_elsewhere(
    sources: &Sources,
    load: &LoadTrace,
    span: Span,
    stop: &Stop,
    missing: &mut Vec<Missing>,
) -> Vec<Companion> {
    let ends: Vec<u64> = load.batches(BATCHES).into_iter().map(|(end, _)| end).collect();
    let window = AlsoWindow { stored: span, here: span, bound: 0, ends: &ends };
    tokio::task::block_in_place(|| cut_all(&sources.also, &window, stop, missing))
}

/// What the probe counts while the load still runs.
pub(super) async fn probe(sources: &mut Sources, stop: &Stop, missing: &mut Vec<Missing>) -> Option<Check> {
    match sources.freshness.as_mut()?.run(stop).await {
        Ok(counted) => Some(counted),
        Err(error) => {
            missing.push(lacking(Part::ReadAfterWrite, &format!("{error:#}"), "see the server's own log"));
            None
        }
    }
}

/// The load's threads are ours, or it is a process of its own.
pub(super) fn watch_generator(sources: &mut Sources, ids: &[u32]) {
    let own = tasks(std::process::id());
    let (threads, processes): (Vec<u32>, Vec<u32>) = ids.iter().partition(|id| own.contains(id));
    sources.processes.watched.generator_threads = threads;
    sources.processes.watched.generator_process = processes.first().copied();
}

pub(super) fn lacking(what: Part, why: &dyn std::fmt::Display, remedy: &str) -> Missing {
    Missing { what, why: why.to_string(), remedy: remedy.into() }
}

fn start_sampling(sources: &mut Sources, missing: &mut Vec<Missing>) -> Option<Box<dyn Recording>> {
    let sampled = sources.processes.sampled();
    match sources.sampler.as_mut()?.start(&sampled) {
        Ok(recording) => Some(recording),
        Err(error) => {
            missing.push(lacking(Part::Profile, &error, "run `wireprof doctor`"));
            None
        }
    }
}

/// Begins to follow the sockets; a source that cannot is left out from here on.
pub(super) fn start_wire(sources: &mut Sources, missing: &mut Vec<Missing>) {
    if let Some(Err(error)) = sources.wire.as_mut().map(|wire| tokio::task::block_in_place(|| wire.start())) {
        missing.push(lacking(Part::Places, &format!("{error:#}"), "run `wireprof doctor`"));
        sources.wire = None;
    }
}

pub(super) fn wire_snapshot(sources: &Sources, missing: &mut Vec<Missing>) -> Option<WireSnapshot> {
    match sources.wire.as_ref()?.snapshot() {
        Ok(snapshot) => Some(snapshot),
        Err(error) => {
            missing.push(lacking(Part::Places, &format!("{error:#}"), "run `wireprof doctor`"));
            None
        }
    }
}

/// Sleeps until `until`, watching the load, the target and the user.
pub(super) async fn pause(load: &dyn Load, sources: &Sources, until: Nanos, stop: &Stop) -> Result<()> {
    loop {
        stop.check()?;
        sources.load_hosts.as_ref().map_or(Ok(()), LoadHosts::check)?;
        let gone = || Some(format!("the target process {} has ended", sources.processes.target_gone()?));
        if let Some(why) = load.failed().or_else(gone) {
            bail!(Cut::Failed(format!("{why}; see the server's own log, then run the sweep again")));
        }
        let now = clock::now();
        if now >= until {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_nanos((until - now).min(100_000_000))).await;
    }
}

async fn observe(
    sources: &Sources,
    load: &dyn Load,
    recording: Option<&dyn Recording>,
    asked: &mut Asked<'_>,
    missing: &mut Vec<Missing>,
) -> Result<Observed> {
    let Asked { timing, id, stop, tell, .. } = asked;
    let (id, stop) = (*id, *stop);
    let mut learnt = Learnt::default();
    learnt.ask(sources, true).await;
    let statements_before = read_statements(sources, missing).await;
    let before = scrape(sources, missing).await;
    let start = before.as_ref().map_or_else(clock::now, |scrape| scrape.span.midpoint());
    let mut readings = vec![sources.processes.watched.read()];
    let wire_before = wire_snapshot(sources, missing);
    load.sockets_followed(true);
    if let Some(Err(error)) = sources.wire.as_ref().map(|wire| wire.take_timelines(timing.window.as_secs_f64())) {
        missing.push(lacking(Part::Timelines, &format!("{error:#}"), "run `wireprof doctor`"));
    }
    recording.iter().for_each(|recording| recording.begin_window());
    let profiles = sources.profilers.iter().map(|profiler| profiler.ask()).collect();
    // Parsed after the window: that would take a CPU from the target.
    let mut inside = Vec::new();
    let every = before.as_ref().map_or(SECOND, |scrape| pace(scrape.span.nanos(), sources.scrape_cost.as_ref()));
    let end = start + timing.window.as_nanos() as u64;
    // A scrape just before the last one would tell nothing and cost the target.
    let mut live = Live::new(sources, load);
    let (mut next, mut scrape_at) = (start + SECOND, start + every);
    while next + SECOND / 2 < end {
        pause(load, sources, next, stop).await?;
        if before.is_some() && next >= scrape_at && scrape_at + every / 2 < end {
            inside.extend(scrape_inside(sources, missing).await);
            scrape_at += every;
        }
        readings.push(sources.processes.watched.read());
        if let Some(live) = &mut live {
            tell(Event::Running(live.look(sources, load, id, end)));
        }
        next += SECOND;
    }
    pause(load, sources, end, stop).await?;
    recording.iter().for_each(|recording| recording.end_window());
    let followed = wire_before.and_then(|before| Some((before, wire_snapshot(sources, missing)?)));
    load.sockets_followed(false);
    readings.push(sources.processes.watched.read());
    let after = match before.is_some() {
        true => scrape(sources, missing).await,
        false => None,
    };
    let end = after.as_ref().map_or_else(clock::now, |scrape| scrape.span.midpoint());
    let statements = match statements_before {
        Some(before) => read_statements(sources, missing).await.map(|after| StatementsDelta::between(&before, &after)),
        None => None,
    };
    learnt.ask(sources, false).await;
    let wire = followed.and_then(|(before, mut after)| {
        let wire = sources.wire.as_ref()?;
        learnt.tell(sources, &mut after);
        Some(before.until(&after, wire.hops(), wire.sends_seen(), load.ends().as_ref()))
    });
    let scrapes = before.zip(after);
    Ok(Observed { span: Span::new(start, end), scrapes, inside, every, readings, wire, statements, profiles })
}

/// A scrape between the window's two; only the first that fails is noted.
async fn scrape_inside(sources: &Sources, missing: &mut Vec<Missing>) -> Option<Scrape> {
    let failed = match sources.scraper.as_ref()?.scrape().await {
        Ok(scrape) => return Some(scrape),
        Err(error) => error,
    };
    if missing.iter().all(|known| known.what != Part::MetricsInside) {
        missing.push(lacking(Part::MetricsInside, &failed, "see the server's own log"));
    }
    None
}

async fn scrape(sources: &Sources, missing: &mut Vec<Missing>) -> Option<Scrape> {
    match sources.scraper.as_ref()?.scrape().await {
        Ok(scrape) => Some(scrape),
        Err(error) => {
            missing.push(lacking(Part::Metrics, &error, "give the right address with --metrics-url"));
            None
        }
    }
}

async fn read_statements(sources: &Sources, missing: &mut Vec<Missing>) -> Option<StatementsSnapshot> {
    match super::statements::read(sources.statements.as_deref()?).await {
        Ok(snapshot) => Some(snapshot),
        Err(error) => {
            missing.push(lacking(
                Part::Statements,
                &format!("{error:#}"),
                "see the message; the rest of the run does not need them",
            ));
            None
        }
    }
}

/// The wanted series of all scrapes as `metrics-series.prom`.
fn series_log(sources: &Sources, scrapes: &[&Scrape]) -> Option<String> {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64();
    let origin = SeriesOrigin { monotonic: clock::now(), unix };
    let mut text = Vec::new();
    let mut log = SeriesLog::new(&mut text, origin, sources.series.clone(), super::SERIES_BOUND).ok()?;
    for scrape in scrapes {
        log.append(scrape).ok()?;
    }
    log.finish().ok()?;
    String::from_utf8(text).ok()
}

impl Captured {
    /// The longest scrape over the window: how far metrics and completions can be out of step.
    pub fn skew(&self) -> Option<f64> {
        let (before, after) = self.scrapes.as_ref()?;
        Some(before.span.nanos().max(after.span.nanos()) as f64 / self.span.nanos() as f64)
    }
}

/// The error of a window that was given up because the user asked.
pub fn interrupted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<Cut>(), Some(Cut::Interrupted))
}
