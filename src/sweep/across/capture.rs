//! One window across two hosts: the load here, everything else there. Invariant: the load runs from before the window
//! begins there until the other side lets it go, and a window that either side gives up is given up by both.

use super::super::load_hosts::LoadHosts;
use super::super::load_threads::{self, ThreadBook};
use super::super::window::{Asked, lacking, probe, start_wire, watch_generator, wire_snapshot};
use super::super::{Cut, Event, Sources};
use super::also::{AlsoWindow, begin_all, cut_all, stop_all};
use super::join::{Here, join};
use super::target_host::TURN;
use super::{Ask, Tell};
use crate::analyze::judge::checks::check_window;
use crate::analyze::statistics::interval::BATCHES;
use crate::clock::{self, ClockRelation, Nanos, Span};
use crate::load::{Load, LoadTrace};
use crate::preset::Preset;
use crate::run::{ClocksOfHosts, Companion, Missing, RunWriter, Window, WindowFile, window_files};
use crate::wire::WireSnapshot;
use anyhow::{Context, Error, Result, bail};
use std::time::Duration;

/// What has come of a window.
#[derive(Default)]
struct Coming {
    begun: Option<Nanos>,
    before: Option<WireSnapshot>,
    after: Option<WireSnapshot>,
    files: Vec<WindowFile>,
    notes: Vec<String>,
}

/// A window with the files that it is stored as, and what is to be noted of the run by now.
pub type Taken = (Window, Vec<WindowFile>, Vec<String>);

/// Takes one window.
///
/// # Errors
/// What ended it on either side; the other one has given it up.
pub async fn capture(
    sources: &mut Sources,
    threads: &mut ThreadBook,
    mut asked: Asked<'_>,
    into: (&RunWriter, &Preset),
) -> Result<Taken> {
    let taken = both_sides(sources, threads, &mut asked, into).await;
    taken.map_err(|error| give_up(sources, error))
}

/// Takes one window of somebody else's load, all of which is measured there.
///
/// # Errors
/// What ended it.
pub fn record(sources: &mut Sources, mut asked: Asked<'_>, into: (&RunWriter, &Preset)) -> Result<Taken> {
    let taken = there_alone(sources, &mut asked, into);
    taken.map_err(|error| give_up(sources, error))
}

async fn both_sides(
    sources: &mut Sources,
    threads: &mut ThreadBook,
    asked: &mut Asked<'_>,
    (writer, preset): (&RunWriter, &Preset),
) -> Result<Taken> {
    let mut missing = Vec::new();
    let mut load = tokio::task::block_in_place(|| sources.driver.open(asked.id.level))?;
    load_threads::begin(threads, load.as_mut(), asked.id.level)?;
    load.start()?;
    watch_generator(sources, &load.thread_ids());
    load_threads::warm_up(sources, load.as_mut(), threads, asked, Duration::ZERO).await?;
    tokio::task::block_in_place(|| begin_all(&mut sources.also));
    start_wire(sources, &mut missing);
    let received_before = link(sources)?.bytes_received();
    let mut coming = Coming::default();
    let (window, sockets) = take(sources, load.as_ref(), asked, &mut coming, &mut missing)?;
    stop_all(&sources.also);
    let clocks = relation(sources, &coming)?;
    if let Some(sockets) = sockets {
        load.count_within(clocks.span_here(sockets));
    }
    let client = coming.before.take().zip(coming.after.take()).and_then(|(before, after)| {
        let wire = sources.wire.as_ref()?;
        Some(before.until(&after, wire.hops(), wire.sends_seen(), load.ends().as_ref()))
    });
    let freshness = probe(sources, asked.stop, &mut missing).await;
    let unknown = load.unmeasured().into_iter();
    missing.extend(unknown.map(|(what, why)| lacking(what.into(), &why, "see the load's own messages")));
    let load = tokio::task::block_in_place(|| load.stop(clocks.span_here(window)))?;
    let client = client.or_else(|| sources.load_hosts.as_ref()?.client_ends());
    if let Some(wire) = &mut sources.wire {
        wire.stop();
    }
    (asked.tell)(Event::Processing(asked.id));
    files(sources, asked, &mut coming)?;
    let bytes = link(sources)?.bytes_received() - received_before;
    let there = tokio::task::block_in_place(|| writer.read_files(&coming.files))?;
    let companions = sampled_elsewhere(sources, &load, (window, clocks), asked, &mut missing);
    let here = Here { load, client, clocks: ClocksOfHosts { relation: clocks, bytes }, missing };
    let mut joined = join(there, here);
    joined.companions.extend(companions);
    joined.checks = check_window(preset, &writer.manifest, &joined);
    joined.checks.extend(freshness);
    let files = whole(&joined, coming.files)?;
    Ok((joined, files, coming.notes))
}

fn there_alone(sources: &mut Sources, asked: &mut Asked<'_>, (writer, preset): (&RunWriter, &Preset)) -> Result<Taken> {
    let (mut coming, mut missing) = (Coming::default(), Vec::new());
    tokio::task::block_in_place(|| begin_all(&mut sources.also));
    coming.begun = Some(clock::now());
    link(sources)?.send(&Ask::Window { id: asked.id, ends: None })?;
    files(sources, asked, &mut coming)?;
    stop_all(&sources.also);
    let mut window = tokio::task::block_in_place(|| writer.read_files(&coming.files))?;
    if !sources.also.is_empty() {
        let taken = (window.facts.span, relation(sources, &coming)?);
        let companions = sampled_elsewhere(sources, &window.load, taken, asked, &mut missing);
        window.companions.extend(companions);
        window.facts.missing.extend(missing);
    }
    window.checks = check_window(preset, &writer.manifest, &window);
    let files = whole(&window, coming.files)?;
    Ok((window, files, coming.notes))
}

/// The companions of further hosts in a window by the target's clock, which relates to this one's as it says.
fn sampled_elsewhere(
    sources: &Sources,
    load: &LoadTrace,
    (window, clocks): (Span, ClockRelation),
    asked: &Asked<'_>,
    missing: &mut Vec<Missing>,
) -> Vec<Companion> {
    let ends: Vec<u64> = load.batches(BATCHES).into_iter().map(|(end, _)| end).collect();
    let window = AlsoWindow { stored: window, here: clocks.span_here(window), bound: clocks.bound, ends: &ends };
    tokio::task::block_in_place(|| cut_all(&sources.also, &window, asked.stop, missing))
}

/// How the clocks relate in the window that has just ended.
fn relation(sources: &Sources, coming: &Coming) -> Result<ClockRelation> {
    let (link, ended) = (link(sources)?, clock::now());
    let relation = link.clocks(Span::new(coming.begun.unwrap_or(ended), ended));
    relation.with_context(|| {
        format!("the clock of {} was not read in the window: the link was down; measure it again", link.host())
    })
}

fn link(sources: &Sources) -> Result<&crate::remote::Link<Ask, Tell>> {
    Ok(&sources.there.as_ref().context("there is no other host")?.link)
}

/// Tells the other side that its window is of no use; a link that is down has told it already.
fn give_up(sources: &mut Sources, error: Error) -> Error {
    if let Some(there) = &sources.there {
        let _ = there.link.send(&Ask::Abandon);
    }
    if let Some(wire) = &mut sources.wire {
        wire.stop();
    }
    error
}

/// Has the window taken, and reads the client's end of the sockets when the other side reads the server's. Gives the
/// window and the interval at the sockets by the clock there.
fn take(
    sources: &Sources,
    load: &dyn Load,
    asked: &mut Asked<'_>,
    coming: &mut Coming,
    missing: &mut Vec<Missing>,
) -> Result<(Span, Option<Span>)> {
    link(sources)?.send(&Ask::Window { id: asked.id, ends: load.ends() })?;
    loop {
        watch(sources, load, asked)?;
        let received = tokio::task::block_in_place(|| link(sources)?.receive(TURN))?;
        match received.map(|frame| frame.message) {
            Some(Tell::Begun) => {
                load.sockets_followed(true);
                coming.before = wire_snapshot(sources, missing);
                coming.begun = Some(clock::now());
            }
            Some(Tell::Followed) => {
                load.sockets_followed(false);
                coming.after = wire_snapshot(sources, missing);
            }
            Some(Tell::Following) => {
                stop_all(&sources.also);
                (asked.tell)(Event::Following(asked.id));
            }
            Some(Tell::Released { window, sockets }) => return Ok((window, sockets)),
            Some(Tell::Noted(text)) => (asked.tell)(Event::Noted(&text)),
            Some(Tell::GivenUp(refused)) => return Err(refused_there(sources, refused)),
            _ => {}
        }
    }
}

/// The files of the window, once the load is over.
fn files(sources: &Sources, asked: &mut Asked<'_>, coming: &mut Coming) -> Result<()> {
    loop {
        asked.stop.check()?;
        let Some(frame) = tokio::task::block_in_place(|| link(sources)?.receive(TURN))? else { continue };
        match frame.message {
            Tell::File(name) => coming.files.push(WindowFile::received(&name, frame.payload)?),
            Tell::Window { notes } => {
                coming.notes = notes;
                return Ok(());
            }
            Tell::Noted(text) => (asked.tell)(Event::Noted(&text)),
            Tell::Following => {
                stop_all(&sources.also);
                (asked.tell)(Event::Following(asked.id));
            }
            Tell::GivenUp(refused) => return Err(refused_there(sources, refused)),
            _ => {}
        }
    }
}

fn refused_there(sources: &Sources, refused: crate::remote::Refused) -> Error {
    match link(sources) {
        Ok(link) => Error::new(refused).context(format!("on {}", link.host())),
        Err(error) => error,
    }
}

/// What ends the window on this side.
fn watch(sources: &Sources, load: &dyn Load, asked: &Asked<'_>) -> Result<()> {
    asked.stop.check()?;
    sources.load_hosts.as_ref().map_or(Ok(()), LoadHosts::check)?;
    match load.failed() {
        Some(why) => bail!(Cut::Failed(format!("{why}; see the server's own log, then run the sweep again"))),
        None => Ok(()),
    }
}

/// The files of the joined window: what came, but for what the joining changed.
fn whole(window: &Window, came: Vec<WindowFile>) -> Result<Vec<WindowFile>> {
    let mut files = window_files(window, None)?;
    let made = |name: &str| files.iter().any(|file| file.name == name);
    let others: Vec<WindowFile> = came.into_iter().filter(|file| file.is_of_metrics() && !made(&file.name)).collect();
    files.extend(others);
    Ok(files)
}
