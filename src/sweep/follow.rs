//! The seconds after a window in which what carries the queries is followed, under the same load. Invariant: nothing of
//! it is in the window's own figures, and what fails costs this part only.

use super::sources::Sources;
use super::window::pause;
use super::{Request, Stop, note};
use crate::clock::{self, Span};
use crate::load::{Address, Load};
use crate::metrics::Scrape;
use crate::run::{AtSockets, FollowedCpu, Missing, Part};
use crate::sample::{Carrying, FollowOptions, RawFollowed, RawSamples};
use crate::target::{Role, bound_name, difference, listening_ports};
use crate::wire::{Place, WireDelta, name_words};
use anyhow::{Context, Result};
use std::time::Duration;

/// So long before the seconds that count everything is followed already, and so long after them still: what is in hand
/// at their beginning is known then, and who ends what is waited for at their end.
const AROUND: Duration = Duration::from_millis(200);

/// What is followed, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowPlan {
    /// How long.
    pub length: Duration,
    /// The port that the load's clients connect to.
    pub query_port: u16,
    /// Where the target keeps the pointer to the number of its wait event, in its memory; `None`: it does not.
    pub wait_event_at: Option<u64>,
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
        _ => return Some(FollowPlan { length, query_port: address.port(), wait_event_at: None, unix_socket }),
    };
    note(notes, format!("what carries the queries in the server's hands was not followed: {why}"));
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
    /// The same seconds by the sockets.
    pub at_sockets: Option<AtSockets>,
    /// CPU in the same seconds.
    pub cpu: Option<FollowedCpu>,
    /// The server's metrics around the same seconds.
    pub scrapes: Option<(Scrape, Scrape)>,
}

/// Follows for as long as is planned; `None` where it was not asked for or could not be, which is noted.
///
/// # Errors
/// The end of the load, of the target, or by the user.
pub async fn follow(
    sources: &mut Sources,
    load: &dyn Load,
    stop: &Stop,
    missing: &mut Vec<Missing>,
) -> Result<Option<CapturedHands>> {
    let Some(plan) = sources.follow else { return Ok(None) };
    let carrying = match start(sources, &plan) {
        Ok(carrying) => carrying,
        Err(error) => {
            let remedy = "run `wireprof doctor`, or give --no-follow".into();
            missing.push(Missing { what: Part::Carriers, why: format!("{error:#}"), remedy });
            return Ok(None);
        }
    };
    let captured = observe(sources, load, &plan, carrying, stop).await;
    if let Some(wire) = &mut sources.wire {
        wire.stop();
    }
    captured.map(Some)
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
    let cpu_before = sources.processes.watched.read();
    let wire_before = sources.wire.as_ref().filter(|_| followed_at_sockets).and_then(|wire| wire.snapshot().ok());
    let start = clock::now();
    pause(load, sources, start + plan.length.as_nanos() as u64, stop).await?;
    let span = Span::new(start, clock::now());
    let wire_after = sources.wire.as_ref().filter(|_| wire_before.is_some()).and_then(|wire| wire.snapshot().ok());
    let cpu_after = sources.processes.watched.read();
    let after = scrape(sources).await;
    pause(load, sources, span.end + AROUND.as_nanos() as u64, stop).await?;
    let (raw, mut followed) = tokio::task::block_in_place(|| carrying.stop())?;
    followed.listening = sources.processes.target.map(|one| listening_ports(one.sampled.pid)).unwrap_or_default();
    let wire = sources
        .wire
        .as_ref()
        .zip(wire_before)
        .zip(wire_after)
        .map(|((wire, before), after)| before.until(&after, wire.hops(), wire.sends_seen(), load.ends().as_ref()));
    let cpu = difference(&[cpu_before, cpu_after]).map(|delta| FollowedCpu {
        target: delta.threads.iter().filter(|thread| thread.role == Role::Target).map(|thread| thread.cpu).sum(),
        span: span.nanos(),
    });
    let at_sockets = wire.as_ref().and_then(in_hands);
    let scrapes = before.zip(after);
    Ok(CapturedHands { raw, followed, span, query_port: plan.query_port, at_sockets, cpu, scrapes })
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
