//! The seconds after a window in which what carries the queries is followed, under the same load. Invariant: nothing of
//! it is in the window's own figures, and what fails costs this part only.

use super::sources::Sources;
use super::window::pause;
use super::{Request, Stop, note};
use crate::clock::{self, Span};
use crate::elf::symbol_address;
use crate::load::{self, Address, Load};
use crate::metrics::Scrape;
use crate::run::{AtSockets, Missing, Part};
use crate::sample::{Carrying, FollowOptions, RawFollowed, RawSamples};
use crate::statements::{LockQuery, LockWaits, sample_locks};
use crate::target::{bound_name, listening_ports};
use crate::wire::{Place, WireDelta, name_words};
use anyhow::{Context, Error, Result};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long and how often the server is asked for its locks.
const LOCKS_FOR: Duration = Duration::from_millis(500);
const LOCKS_EVERY: Duration = Duration::from_millis(50);
/// That takes at most so long.
const LOCKS_LIMIT: Duration = Duration::from_secs(5);
/// So long before the seconds that count everything is followed already, and so long after them still: what is in hand
/// at their beginning is known then, and who ends what is waited for at their end.
const AROUND: Duration = Duration::from_millis(200);

/// What is followed, and for how long.
#[derive(Clone)]
pub struct FollowPlan {
    /// How long.
    pub length: Duration,
    /// The port that the load's clients connect to.
    pub query_port: u16,
    /// Where the target keeps the pointer to the number of its wait event, in its memory; `None`: it does not.
    pub wait_event_at: Option<u64>,
    /// Where the server is asked meanwhile who waits for which lock, and how; `None`: it is not.
    pub locks: Option<(Address, LockQuery)>,
    /// The name of the load's Unix socket; `None`: it goes over TCP.
    pub unix_socket: Option<[u64; 14]>,
}

/// What is to be followed of the server at this address; `None` where it was not asked for or cannot be, which is
/// noted.
pub fn plan(request: &Request, address: &Address, pid: Option<u32>, notes: &mut Vec<String>) -> Option<FollowPlan> {
    let length = request.observe.follow.filter(|length| !length.is_zero())?;
    let unix_socket = address.socket().and_then(|path| name_words(&bound_name(&path)).ok());
    let why = match (&request.observe.sampling, pid) {
        (None, _) => "stacks are not sampled",
        (_, None) => "the server's process is not known",
        (_, Some(pid)) => {
            let wait_event_at = wait_event_at(request, pid, notes);
            let locks = request.preset.locks.clone().map(|query| (address.clone(), query));
            return Some(FollowPlan { length, query_port: address.port(), wait_event_at, locks, unix_socket });
        }
    };
    note(notes, format!("what carries the queries in the server's hands was not followed: {why}"));
    None
}

/// Where the server's program keeps the pointer to the number of its wait event, where the preset says that it does.
fn wait_event_at(request: &Request, pid: u32, notes: &mut Vec<String>) -> Option<u64> {
    let variable = &request.preset.wait_events.as_ref()?.variable;
    let why = match symbol_address(pid, variable) {
        Ok(Some(address)) => return Some(address),
        Ok(None) => format!("process {pid} has no variable `{variable}`"),
        Err(error) => error.to_string(),
    };
    note(notes, format!("the server's wait events were not read: {why}"));
    None
}

/// What was followed, not yet put together.
pub struct CapturedHands {
    /// The stacks that the events name, and the threads.
    pub raw: RawSamples,
    /// The events.
    pub followed: RawFollowed,
    /// From when to when they count.
    pub span: Span,
    /// The port of the load's queries.
    pub query_port: u16,
    /// The ports of the load's own ends; `None`: all that is asked at that port, or through that Unix socket, is taken
    /// for the load's.
    pub own: Option<BTreeSet<u32>>,
    /// The same seconds by the sockets.
    pub at_sockets: Option<AtSockets>,
    /// The server's metrics around the same seconds.
    pub scrapes: Option<(Scrape, Scrape)>,
    /// Who waited for which lock meanwhile, or why that is not known; `None`: nobody asked.
    pub locks: Option<Result<LockWaits, String>>,
}

/// Follows for as long as is planned; nothing where it was not asked for or could not be, which is noted. What ended it
/// early (the end of the load, of the target, or the user) ends the run too, but not the window before.
pub async fn follow(
    sources: &mut Sources,
    load: &dyn Load,
    stop: &Stop,
    missing: &mut Vec<Missing>,
) -> (Option<CapturedHands>, Option<Error>) {
    let Some(plan) = sources.follow.clone() else { return (None, None) };
    let mut lacking = |error: &Error, remedy: &str| {
        missing.push(Missing { what: Part::Carriers, why: format!("{error:#}"), remedy: remedy.into() });
    };
    let carrying = match start(sources, &plan) {
        Ok(carrying) => carrying,
        Err(error) => {
            lacking(&error, "run `wireprof doctor`, or give --no-follow");
            return (None, None);
        }
    };
    let captured = observe(sources, load, &plan, carrying, stop).await;
    if let Some(wire) = &mut sources.wire {
        wire.stop();
    }
    match captured {
        Ok(captured) => (Some(captured), None),
        Err(error) => {
            lacking(&error, "run the sweep again");
            (None, Some(error))
        }
    }
}

fn start(sources: &mut Sources, plan: &FollowPlan) -> Result<Box<dyn Carrying>> {
    let sampled = sources.processes.sampled();
    let sampler = sources.sampler.as_mut().context("stacks are not sampled in this run")?;
    let target = sources.processes.target.context("the server's process is not known")?;
    let unix_socket = plan.unix_socket.map(|name| (plan.query_port, name));
    let options = FollowOptions { tasks: true, wait_event_at: plan.wait_event_at, unix_socket };
    let of_target: Vec<_> = sampled.into_iter().filter(|sampled| sampled.pid == target.sampled.pid).collect();
    tokio::task::block_in_place(|| sampler.follow(&of_target, &options))
}

async fn observe(
    sources: &mut Sources,
    load: &dyn Load,
    plan: &FollowPlan,
    carrying: Box<dyn Carrying>,
    stop: &Stop,
) -> Result<CapturedHands> {
    let followed_at_sockets = sources.wire.as_mut().is_some_and(|wire| wire.start().is_ok());
    pause(load, sources, clock::now() + AROUND.as_nanos() as u64, stop).await?;
    let before = scrape(sources).await;
    let wire_before = sources.wire.as_ref().filter(|_| followed_at_sockets).and_then(|wire| wire.snapshot().ok());
    let start = clock::now();
    pause(load, sources, start + plan.length.as_nanos() as u64, stop).await?;
    let whole = Span::new(start, clock::now());
    let wire_after = sources.wire.as_ref().filter(|_| wire_before.is_some()).and_then(|wire| wire.snapshot().ok());
    let after = scrape(sources).await;
    pause(load, sources, whole.end + AROUND.as_nanos() as u64, stop).await?;
    let (raw, mut followed) = tokio::task::block_in_place(|| carrying.stop())?;
    followed.listening = sources.processes.target.map(|one| listening_ports(one.sampled.pid)).unwrap_or_default();
    // Events end earlier where there were too many.
    let span = Span::new(start, whole.end.min(followed.report.span.end).max(start));
    // Last of all: the answer takes the server's own locks.
    let locks = locks(plan).await;
    let wire = sources
        .wire
        .as_ref()
        .zip(wire_before)
        .zip(wire_after)
        .map(|((wire, before), after)| before.until(&after, wire.hops(), wire.sends_seen(), load.ends().as_ref()));
    let at_sockets = wire.as_ref().and_then(in_hands);
    let scrapes = before.zip(after);
    Ok(CapturedHands {
        raw,
        followed,
        span,
        query_port: plan.query_port,
        own: load.ends().filter(|_| plan.unix_socket.is_none()),
        at_sockets,
        scrapes,
        locks,
    })
}

/// Asks the server a few times who waits for which lock, under the same load.
async fn locks(plan: &FollowPlan) -> Option<Result<LockWaits, String>> {
    let (address, query) = plan.locks.as_ref()?;
    let over = tokio::time::sleep(LOCKS_FOR);
    let asked = async {
        let client = load::connect(address).await.map_err(|error| format!("{error:#}"))?;
        sample_locks(&client, query, LOCKS_EVERY, over).await.map_err(|error| error.to_string())
    };
    Some(tokio::time::timeout(LOCKS_LIMIT, asked).await.unwrap_or(Err("no answer in time".into())))
}

/// The load's queries in the server's hands.
fn in_hands(wire: &WireDelta) -> Option<AtSockets> {
    let load = wire.load()?;
    let stay = load.stays.iter().find(|stay| stay.place == Place::Server)?;
    Some(AtSockets { nanos: stay.nanos, queries: load.queries, span: wire.span.nanos() })
}

/// A scrape that may fail: the window has its own.
async fn scrape(sources: &Sources) -> Option<Scrape> {
    sources.scraper.as_ref()?.scrape().await.ok()
}
