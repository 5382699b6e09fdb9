//! The load hosts as the conductor sees them. Invariant: whoever holds [`LoadHosts`] ends them; where they are dropped
//! instead, each ends its load and itself because its link is closed.

use super::driver::OverHosts;
use super::order::LoadOrder;
use super::{Ask, LoadHostsAsked, Part, Tell, ends};
use crate::connection::Address;
use crate::load::LoadError;
use crate::remote::{Frame, Link, LinkOptions};
use crate::run::{Manifest, Missing};
use crate::sweep::{Event, Request, Sources, Stop, across, window, with_ends, without_copies};
use crate::target::Host;
use crate::wire::WireDelta;
use anyhow::{Context, Result, bail};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the user is looked at while a host works.
const TURN: Duration = Duration::from_millis(50);
/// What a host may take to do what it was asked for.
const LIMIT: Duration = Duration::from_secs(120);

/// wireprof on the hosts that drive the load; clones are the same hosts.
#[derive(Clone)]
pub struct LoadHosts {
    inner: Arc<Mutex<Inner>>,
    clean: bool,
}

#[derive(Default)]
pub(super) struct Inner {
    pub hosts: Vec<LoadHost>,
    /// The client's ends in the window that was stopped last; why not, where they were not followed.
    pub client: Option<std::result::Result<WireDelta, String>>,
}

/// One of them.
pub(super) struct LoadHost {
    pub link: Link<Ask, Tell>,
    /// What it is.
    host: Host,
    /// Why the client's end is not followed there; `None`: it is.
    pub blind: Option<String>,
    /// Its part of the window under way.
    pub turn: Turn,
}

/// A host in a window.
#[derive(Default)]
pub(super) struct Turn {
    /// 0: it is idle.
    pub clients: usize,
    /// The connections are open.
    pub opened: bool,
    pub ends: Option<BTreeSet<u32>>,
    pub warm: bool,
    /// Queries completed and errors so far.
    pub progress: (u64, u64),
    pub failed: Option<String>,
    pub part: Option<(Part, Vec<u8>)>,
    /// Bytes that had come over the link before the window.
    pub bytes_before: u64,
}

impl LoadHosts {
    /// Starts wireprof on each host that is asked for; `None`: none is.
    ///
    /// # Errors
    /// A host that cannot be reached, or not reach the server; a load that cannot be divided; an end that the user
    /// asked for.
    pub fn open(request: &Request, stop: &Stop, tell: &mut (dyn FnMut(Event) + Send)) -> Result<Option<LoadHosts>> {
        let Some(asked) = &request.load.hosts else { return Ok(None) };
        let address = request.address()?;
        let order = ordered(request, asked, &address)?;
        let opened = LoadHosts { inner: Arc::default(), clean: asked.clean };
        for options in &asked.links {
            tell(Event::Preparing(&format!("starting wireprof on {}", options.host)));
            match LoadHost::open(options.clone(), &order, stop, tell) {
                Ok(host) => opened.lock().hosts.push(host),
                Err(error) => {
                    // The copies on the others go with them.
                    let error = without_copies(error, options, asked.clean);
                    return Err(with_ends(error, [opened.end()]));
                }
            }
        }
        Ok(Some(opened))
    }

    /// Has them drive the load of a measurement that is open by now.
    pub fn drive(self, request: &Request, sources: &mut Sources, manifest: &mut Manifest) {
        manifest.load_hosts = self.lock().hosts.iter().map(LoadHost::told).collect();
        manifest.notes.extend(self.idle(&request.plan.levels));
        let blind: Vec<String> = self.lock().hosts.iter().filter_map(|host| host.told_blind()).collect();
        manifest.notes.extend(blind);
        sources.driver = Box::new(OverHosts { name: sources.driver.name(), hosts: self.clone() });
        sources.load_hosts = Some(self);
    }

    /// At which levels some hosts have no client.
    fn idle(&self, levels: &[usize]) -> Option<String> {
        let hosts = self.lock().hosts.len();
        let mut few: Vec<usize> = levels.iter().copied().filter(|level| *level < hosts).collect();
        few.sort_unstable();
        few.dedup();
        let numbers = few.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        (!few.is_empty()).then(|| {
            format!("at {numbers} clients only the first of the {hosts} load hosts drive load: there are fewer clients")
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Hears what has come from the hosts that are in the window.
    ///
    /// # Errors
    /// A link that is down, or what a host could not do.
    pub fn check(&self) -> Result<()> {
        self.lock().hear()
    }

    /// Gives the server's end of the load's hop the client's ends of the window that was stopped last; with what the
    /// window lacks for it.
    pub fn add_client_ends(&self, wire: Option<&mut WireDelta>) -> Option<Missing> {
        match (self.lock().client.take()?, wire?) {
            (Ok(client), wire) => across::add_client_end(wire, &client),
            (Err(why), _) => Some(window::lacking(
                crate::run::Part::Places,
                &why,
                "the places are those of the server's end; see what following the sockets needs: SECURITY.md",
            )),
        }
    }

    /// The client's ends of the window that was stopped last, where all hosts followed theirs.
    pub fn client_ends(&self) -> Option<WireDelta> {
        let mut inner = self.lock();
        inner.client.as_ref()?.as_ref().ok()?;
        inner.client.take()?.ok()
    }

    /// Ends wireprof on all of them, and takes the copies away where that was asked for.
    ///
    /// # Errors
    /// A copy that could not be taken away.
    pub fn end(self) -> Result<()> {
        let hosts = std::mem::take(&mut self.lock().hosts);
        let options: Vec<LinkOptions> = hosts.iter().map(|host| host.link.options().clone()).collect();
        drop(hosts);
        // Those of one that cannot be reached keep no other host's there.
        let wanted = options.iter().filter(|_| self.clean);
        wanted.map(LinkOptions::remove_copies).fold(Ok(()), Result::and)
    }
}

/// The order, refused where no host could follow it.
fn ordered(request: &Request, asked: &LoadHostsAsked, address: &Address) -> Result<LoadOrder> {
    let order = LoadOrder::of(request, address, asked.links.len())?;
    if address.is_loopback() {
        let why = "--load-host needs --url with an address of the server that all load hosts reach: a loopback address \
                   or a Unix socket is each one's own";
        bail!(LoadError::Usage(why.into()));
    }
    if request.observe.observer.is_some() {
        bail!(LoadError::Usage("--observer-cost measures on one host: run it without --load-host".into()));
    }
    Ok(order)
}

impl Inner {
    /// See [`LoadHosts::check`].
    pub fn hear(&mut self) -> Result<()> {
        self.hosts.iter_mut().filter(|host| host.turn.clients > 0).try_for_each(LoadHost::hear)
    }

    /// The hosts that have clients in the window.
    pub fn active(&mut self) -> impl Iterator<Item = &mut LoadHost> {
        self.hosts.iter_mut().filter(|host| host.turn.clients > 0)
    }

    /// Asks each host that has clients.
    pub fn ask(&mut self, ask: &Ask) -> Result<()> {
        self.active().try_for_each(|host| host.link.send(ask))
    }

    /// Hears the hosts until each has what is awaited.
    pub fn wait(&mut self, what: &str, has: impl Fn(&Turn) -> bool) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        for host in self.active() {
            while !has(&host.turn) {
                if let Some(frame) = host.link.receive(TURN)? {
                    host.take(frame)?;
                }
                if Instant::now() > deadline {
                    bail!("{} has not {what} in {} s", host.link.host(), LIMIT.as_secs());
                }
            }
        }
        Ok(())
    }

    /// Gives the window up on all hosts; a link that is down has told it already.
    pub fn abandon(&mut self) {
        for host in self.active() {
            let _ = host.link.send(&Ask::Abandon);
            host.turn = Turn::default();
        }
    }

    /// Keeps the client's ends of the window's parts.
    pub fn keep_ends(&mut self, parts: Vec<Option<WireDelta>>) {
        let unseen: Vec<String> = self
            .active()
            .zip(&parts)
            .filter(|(_, part)| part.is_none())
            .map(|(host, _)| host.told_blind().unwrap_or_else(|| format!("not read on {}", host.link.host())))
            .collect();
        self.client = match unseen.is_empty() {
            true => ends::added(parts.into_iter().flatten().collect()).map(Ok),
            false => Some(Err(unseen.join("; "))),
        };
    }
}

impl LoadHost {
    fn open(
        options: LinkOptions,
        order: &LoadOrder,
        stop: &Stop,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<LoadHost> {
        let link = Link::open_for(crate::remote::LOAD_VERB, options, &mut |text: &str| tell(Event::Preparing(text)))?;
        link.send(&Ask::Prepare(Box::new(order.clone())))?;
        let deadline = Instant::now() + LIMIT;
        loop {
            stop.check()?;
            match link.receive(TURN)?.map(|frame| frame.message) {
                Some(Tell::Prepared { host, blind }) => {
                    return Ok(LoadHost { link, host: *host, blind, turn: Turn::default() });
                }
                Some(Tell::Refused(refused)) => {
                    return Err(anyhow::Error::new(refused).context(format!("on {}", link.host())));
                }
                _ if Instant::now() > deadline => {
                    bail!("{} is not ready to drive load in {} s", link.host(), LIMIT.as_secs());
                }
                _ => {}
            }
        }
    }

    fn told(&self) -> crate::run::LoadHostFacts {
        crate::run::LoadHostFacts { address: self.link.host().to_string(), host: self.host.clone() }
    }

    fn told_blind(&self) -> Option<String> {
        let why = self.blind.as_ref()?;
        Some(format!("the client's end of the connections was not followed on {}: {why}", self.link.host()))
    }

    fn hear(&mut self) -> Result<()> {
        while let Some(frame) = self.link.receive(Duration::ZERO)? {
            self.take(frame)?;
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame<Tell>) -> Result<()> {
        let turn = &mut self.turn;
        match frame.message {
            Tell::Opened { ends } => (turn.opened, turn.ends) = (true, ends),
            Tell::Warm => turn.warm = true,
            Tell::Progress { completed, errors, failed } => {
                turn.progress = (completed, errors);
                turn.failed = turn.failed.take().or(failed);
            }
            Tell::Part(part) => turn.part = Some((*part, frame.payload)),
            Tell::Refused(refused) => {
                return Err(anyhow::Error::new(refused)).with_context(|| format!("on {}", self.link.host()));
            }
            Tell::Prepared { .. } => {}
        }
        Ok(())
    }
}
