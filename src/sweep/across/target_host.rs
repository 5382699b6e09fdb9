//! The target's host, as the conductor beside the load sees it. Invariant: whoever holds a [`TargetHost`] ends it, and
//! where it is dropped instead, the other side puts back what it set.

use super::super::manifest::{self, manifest};
use super::super::{
    DriverChoice, Prepared, Request, ServerState, Sources, Stop, addresses, check, driver, instruments, with_ends,
    without_copies,
};
use super::order::Order;
use super::{Across, Ask, Found, Tell};
use crate::connection::Address;
use crate::load::{self, LoadError};
use crate::remote::{Frame, Link};
use crate::sweep::Event;
use crate::target::host;
use crate::wire::{Hop, Listens, Side, SocketProgram, WireSource};
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// How often the load and the user are looked at while the other side works.
pub const TURN: Duration = Duration::from_millis(50);
/// What the other side may take to open its instruments: it reads the tables of every file that the server has mapped.
const PREPARE_LIMIT: Duration = Duration::from_secs(300);

/// wireprof there, with its instruments open.
pub struct TargetHost {
    pub(super) link: Link<Ask, Tell>,
    clean: bool,
    /// What was set there, as `what: from -> to`.
    changes: Vec<String>,
    /// Under somebody else's load nothing is set, and a window under way there ends with the link.
    foreign: bool,
}

/// As [`super::super::prepare`], for a target on another host: the load is opened here, the rest there.
///
/// # Errors
/// What cannot be followed on either host, or an end that the user asked for; the server is as it was.
pub async fn prepare_across(
    mut request: Request,
    across: &Across,
    stop: &Stop,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<Prepared> {
    check(&request)?;
    refuse(&request)?;
    let address = request.address()?;
    let mut notes = Vec::from_iter(address.warning());
    notes.extend(request.target.chosen.clone());
    // Whatever its name is here, the server is on the other host, and so are the addresses of its preset.
    addresses::settle(&mut request, &address.clone().on_this_host(), &mut notes)?;
    let driver = driver::driver(&request, &address, None)?;
    let foreign = request.load.driver.is_foreign();
    if !foreign {
        tokio::task::block_in_place(|| load::check(&address))?;
    }
    if request.observe.live {
        tell(Event::Noted("of a window with a target on another host nothing is shown while it runs"));
    }
    tell(Event::Preparing(&format!("starting wireprof on {}", across.link.host)));
    let opened = tokio::task::block_in_place(|| TargetHost::open(&request, &address, across, stop, tell));
    let (there, mut found) = opened?;
    found.notes.splice(..0, notes);
    if foreign {
        request.plan.levels.extend(found.clients);
    }
    match beside_load(&request, &address, driver, there, found).await {
        Ok(prepared) => Ok(prepared),
        Err((error, there)) => {
            // What set the server up is told to put it back; that it could not is said with the error.
            let ended = tokio::task::block_in_place(|| there.end(true, tell));
            Err(with_ends(error, [ended]))
        }
    }
}

/// What is not done across hosts.
fn refuse(request: &Request) -> Result<()> {
    let usage = |why: &str| Err(LoadError::Usage(why.into()).into());
    if request.target.url.is_none() {
        return usage("--target-host needs --url: the server's address as this host reaches it");
    }
    if matches!(request.load.driver, DriverChoice::Dbbench(_)) {
        return usage("--target-host goes with wireprof's own load, or with `wireprof record`: leave --driver out");
    }
    if request.observe.observer.is_some() {
        return usage("--observer-cost measures on one host: run it on the server's own, without --target-host");
    }
    Ok(())
}

/// The load's side: its driver, what it changes on the server, the client's end at the sockets, and the manifest.
async fn beside_load(
    request: &Request,
    address: &Address,
    driver: Box<dyn load::Driver>,
    there: TargetHost,
    found: Found,
) -> std::result::Result<Prepared, (anyhow::Error, TargetHost)> {
    let mut notes = found.notes;
    let wire = client_end(request, address, &mut notes);
    // What the preset and the parameters set is set there.
    let mut own = request.clone();
    own.target.setup = false;
    own.target.parameters.clear();
    let state = match ServerState::bring(&own, address).await {
        Ok(state) => state,
        Err(error) => return Err((error, there)),
    };
    let freshness = match instruments::freshness(request, address).await {
        Ok(freshness) => freshness,
        Err(error) => return Err((state.abandon(error).await, there)),
    };
    let changes = found.changes.into_iter().chain(state.changes()).collect();
    let here = manifest::Found { pid: None, version: state.version().await, driver: driver.name(), changes, notes };
    let mut manifest = manifest(request, address, here);
    let (url, version) = (manifest.target.url.clone(), manifest.target.version.clone());
    let source = manifest.target.source.clone();
    manifest.target = crate::run::Target { url, version, source, ..found.target };
    let drives = !request.load.driver.is_foreign() && request.load.hosts.is_none();
    manifest.load_host = Some(host()).filter(|_| drives);
    manifest.host = found.host;
    let sources = Sources { wire, freshness, there: Some(there), ..Sources::of_load(driver) };
    Ok(Prepared { sources, manifest, state })
}

/// The program at the sockets, for the client's end of the load's connections.
fn client_end(request: &Request, address: &Address, notes: &mut Vec<String>) -> Option<Box<dyn WireSource>> {
    // Hosts that drive the load follow their own ends.
    if !request.observe.wire || request.load.driver.is_foreign() || request.load.hosts.is_some() {
        return None;
    }
    let hop = Hop { name: instruments::TARGET.into(), at: Listens::Port(address.port()) };
    match tokio::task::block_in_place(|| SocketProgram::of_one_end(vec![hop], Side::Client)) {
        Ok(program) => Some(Box::new(program)),
        Err(error) => {
            notes.push(format!("the client's end of the connections was not followed at the sockets: {error:#}"));
            None
        }
    }
}

impl TargetHost {
    fn open(
        request: &Request,
        address: &Address,
        across: &Across,
        stop: &Stop,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(TargetHost, Found)> {
        let foreign = request.load.driver.is_foreign();
        let opened = Link::open(across.link.clone(), &mut |text| tell(Event::Preparing(text))).and_then(|link| {
            let mut there = TargetHost { link, clean: across.clean, changes: Vec::new(), foreign };
            there.prepare(request, address, stop, tell).map(|found| (there, found))
        });
        opened.map_err(|error| without_copies(error, &across.link, across.clean))
    }

    /// Has it open its instruments.
    fn prepare(
        &mut self,
        request: &Request,
        address: &Address,
        stop: &Stop,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Found> {
        self.link.send(&Ask::Prepare(Box::new(Order::of(request, address)?)))?;
        let deadline = std::time::Instant::now() + PREPARE_LIMIT;
        loop {
            stop.check()?;
            let Some(Frame { message, .. }) = self.link.receive(TURN)? else {
                if std::time::Instant::now() > deadline {
                    bail!("{} has not opened its instruments in {} s", self.link.host(), PREPARE_LIMIT.as_secs());
                }
                continue;
            };
            match message {
                Tell::Preparing(text) => tell(Event::Preparing(&text)),
                Tell::Noted(text) => tell(Event::Noted(&text)),
                Tell::Prepared(found) => {
                    self.changes.clone_from(&found.changes);
                    return Ok(*found);
                }
                Tell::Refused(refused) => {
                    let host = self.link.host().to_string();
                    return Err(anyhow::Error::new(refused).context(format!("on {host}")));
                }
                _ => {}
            }
        }
    }

    /// Clients of somebody else's load, as many as there are now.
    ///
    /// # Errors
    /// A link that is down.
    pub fn clients(&self) -> Result<Option<usize>> {
        self.link.send(&Ask::Clients)?;
        let deadline = std::time::Instant::now() + PREPARE_LIMIT;
        while std::time::Instant::now() < deadline {
            if let Some(Tell::Clients(clients)) = self.link.receive(TURN)?.map(|frame| frame.message) {
                return Ok(clients);
            }
        }
        bail!("{} does not tell how many clients there are", self.link.host())
    }

    /// Ends it: what was set there is put back, what the preset set only where `restore` says so.
    ///
    /// # Errors
    /// What could not be put back, or a link that is down: then the other side puts everything back by itself.
    pub fn end(self, restore: bool, tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
        let mut ended = if self.foreign { Ok(()) } else { self.ended_there(restore, tell) };
        if restore && !self.changes.is_empty() {
            let set = self.changes.join("; ");
            ended = ended.with_context(|| format!("see whether this was put back on {}: {set}", self.link.host()));
        }
        let options = self.link.options().clone();
        let clean = self.clean;
        drop(self);
        match ended {
            Ok(()) if clean => options.remove_copies(),
            ended => ended.map_err(|error| without_copies(error, &options, clean)),
        }
    }

    fn ended_there(&self, restore: bool, tell: &mut (dyn FnMut(Event) + Send)) -> Result<()> {
        self.link.send(&Ask::End { restore })?;
        let deadline = std::time::Instant::now() + PREPARE_LIMIT;
        while std::time::Instant::now() < deadline {
            match self.link.receive(TURN)?.map(|frame| frame.message) {
                Some(Tell::Ended) => return Ok(()),
                Some(Tell::Noted(text)) => tell(Event::Noted(&text)),
                Some(Tell::Refused(refused)) => return Err(refused.into()),
                _ => {}
            }
        }
        bail!("{} has not put back what it set in {} s", self.link.host(), PREPARE_LIMIT.as_secs())
    }
}
