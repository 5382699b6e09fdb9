//! The side of a load host: opens the connections that it is asked for, drives them, tells its part of the window.
//! Invariant: it keeps nothing on disk, and where the asking side is gone its load ends, and then itself.

use super::order::LoadOrder;
use super::{Ask, Part, Tell};
use crate::load::{self, Driver, HostCpus, Load, write_latency_log};
use crate::remote::{Refused, Served};
use crate::run::WindowId;
use crate::sweep::load_threads::{self, ThreadBook};
use crate::sweep::sampling_rate::RateBook;
use crate::sweep::window::{Asked, watch_generator};
use crate::sweep::{Sources, Stop, Timing, instruments};
use crate::target::{Snapshot, difference, host};
use crate::wire::{Hop, Listens, Side, SocketProgram, WireDelta, WireSnapshot, WireSource};
use anyhow::{Context, Error, Result, bail};
use std::sync::Arc;
use std::time::Duration;

/// What ending the load may take, once the asking side is gone.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How often progress is told, and an end that is asked for looked for.
const TURN: Duration = Duration::from_millis(100);

type Asking = Arc<Served<Ask, Tell>>;

/// Serves one measurement over standard input and output. `code`: the exit code that belongs to an error.
///
/// # Errors
/// Standard output is closed already. Everything else is told to the asking side.
pub async fn serve_load(code: fn(&Error) -> u8) -> Result<()> {
    let stop = Stop::default();
    let gone = stop.clone();
    let asking: Asking = Arc::new(Served::open(END_LIMIT, move || gone.request())?);
    let refused = |error: &Error| Tell::Refused(Refused { message: format!("{error:#}"), code: code(error) });
    let Some(Ask::Prepare(order)) = receive(&asking) else { return Ok(()) };
    let mut session = match tokio::task::block_in_place(|| Session::open(&asking, *order, stop)) {
        Ok(session) => session,
        Err(error) => {
            asking.send(&refused(&error), &[]);
            return Ok(());
        }
    };
    while let Some(asked) = receive(&asking) {
        let Ask::Open { clients, of } = asked else { continue };
        if let Err(error) = session.window(clients, of).await {
            asking.send(&refused(&error), &[]);
        }
        session.end_window();
    }
    Ok(())
}

fn receive(asking: &Asking) -> Option<Ask> {
    tokio::task::block_in_place(|| asking.receive())
}

struct Session {
    asking: Asking,
    order: LoadOrder,
    sources: Sources,
    threads: ThreadBook,
    stop: Stop,
}

/// What was read when the sockets began to be followed, and when that ended.
#[derive(Default)]
struct Readings {
    wire: Vec<WireSnapshot>,
    scheduler: Vec<Snapshot>,
}

impl Session {
    fn open(asking: &Asking, order: LoadOrder, stop: Stop) -> Result<Session> {
        let address = order.address()?;
        load::check(&address)?;
        let (wire, blind) = match order.wire.then(|| client_end(address.port())) {
            Some(Ok(wire)) => (Some(wire), None),
            Some(Err(error)) => (None, Some(format!("{error:#}"))),
            None => (None, None),
        };
        asking.send(&Tell::Prepared { host: Box::new(host()), blind }, &[]);
        let sources = Sources { wire, ..Sources::of_load(Box::new(order.driver(1, 1)?)) };
        Ok(Session { asking: asking.clone(), order, sources, threads: ThreadBook::default(), stop })
    }

    /// Drives one window from its connections to its part; nothing is told of one that is given up.
    async fn window(&mut self, clients: usize, of: usize) -> Result<()> {
        let mut driver = self.order.driver(clients, of)?;
        let mut load = tokio::task::block_in_place(|| driver.open(clients))?;
        load_threads::begin(&self.threads, load.as_mut(), clients)?;
        self.asking.send(&Tell::Opened { ends: load.ends() }, &[]);
        let Some(Ask::Start) = receive(&self.asking) else { return Ok(()) };
        load.start()?;
        watch_generator(&mut self.sources, &load.thread_ids());
        if !self.warm_up(load.as_mut(), clients).await? {
            return Ok(());
        }
        if let Some(wire) = &mut self.sources.wire {
            tokio::task::block_in_place(|| wire.start()).context("following the client's end of the connections")?;
        }
        self.asking.send(&Tell::Warm, &[]);
        let Some((part, log)) = tokio::task::block_in_place(|| self.driven(load))? else { return Ok(()) };
        self.asking.send(&Tell::Part(Box::new(part)), &log);
        Ok(())
    }

    /// The warm-up, in which the number of load threads is found; false: the window is given up.
    async fn warm_up(&mut self, load: &mut dyn Load, clients: usize) -> Result<bool> {
        let timing = Timing { warmup: Duration::from_nanos(self.order.warmup), window: Duration::ZERO };
        let (mut rate, mut tell) = (RateBook::default(), |_: crate::sweep::Event| {});
        let id = WindowId { level: clients, replicate: 1 };
        let (stop, chosen) = (&self.stop, None);
        let mut asked = Asked { timing: &timing, id, windows: 1, stop, chosen, rate: &mut rate, tell: &mut tell };
        let asking = self.asking.clone();
        let warm = load_threads::warm_up(&mut self.sources, load, &mut self.threads, &mut asked, Duration::ZERO);
        tokio::select! {
            warm = warm => warm.map(|()| true),
            // Nothing else is asked for in a warm-up.
            () = asked_to_end(&asking) => Ok(false),
        }
    }

    /// The window, up to its end; `None`: it is given up.
    fn driven(&self, mut load: Box<dyn Load>) -> Result<Option<(Part, Vec<u8>)>> {
        let mut readings = Readings::default();
        loop {
            match self.asking.receive_within(TURN) {
                Some(Ask::Followed { .. }) => {
                    if let Some(wire) = &self.sources.wire {
                        readings.wire.push(wire.snapshot()?);
                    }
                    readings.scheduler.push(self.sources.processes.watched.read());
                }
                Some(Ask::Stop { window, sockets }) => {
                    let ends = self.ends(&readings, load.as_ref());
                    if let Some(sockets) = sockets {
                        load.count_within(sockets);
                    }
                    let load = load.stop(window)?;
                    let mut log = Vec::new();
                    write_latency_log(&load, &mut log)?;
                    return Ok(Some((Part { load, ends, cpus: cpus(&readings.scheduler) }, log)));
                }
                Some(_) => return Ok(None),
                None if self.asking.is_gone() => bail!("the asking side is gone"),
                None => {}
            }
            let (completed, errors) = load.progress();
            self.asking.send(&Tell::Progress { completed, errors, failed: load.failed() }, &[]);
        }
    }

    fn ends(&self, readings: &Readings, load: &dyn Load) -> Option<WireDelta> {
        let wire = self.sources.wire.as_ref()?;
        let [before, after] = &readings.wire[..] else { return None };
        Some(before.until(after, wire.hops(), wire.sends_seen(), load.ends().as_ref()))
    }

    fn end_window(&mut self) {
        if let Some(wire) = &mut self.sources.wire {
            wire.stop();
        }
    }
}

/// Returns when the window is given up or the asking side is gone.
async fn asked_to_end(asking: &Asking) {
    while asking.poll().is_none() && !asking.is_gone() {
        tokio::time::sleep(TURN).await;
    }
}

fn client_end(port: u16) -> Result<Box<dyn WireSource>> {
    let hop = Hop { name: instruments::TARGET.into(), at: Listens::Port(port) };
    Ok(Box::new(SocketProgram::of_one_end(vec![hop], Side::Client)?))
}

/// How busy the CPUs were while the sockets were followed.
fn cpus(readings: &[Snapshot]) -> Option<HostCpus> {
    let machine = difference(readings)?.machine?;
    let busy = machine.busy + machine.steal;
    Some(HostCpus { busy, capacity: busy + machine.idle })
}
