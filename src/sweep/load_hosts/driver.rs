//! The load of several hosts as one driver of the conductor's. Invariant: no two clients have the same port, for the
//! server's end knows them by it; and a load that is not stopped is given up on all hosts.

use super::hosts::{Inner, LoadHost, LoadHosts, Turn};
use super::{Ask, Part};
use crate::clock::Span;
use crate::load::{Driver, HostLoad, Load, LoadTrace, divide, read_latency_log, together};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;

/// Attempts at connections whose ports are all different: each takes other ports.
const ATTEMPTS: usize = 5;

/// Drives windows on all hosts.
pub struct OverHosts {
    /// As a host names itself that drives alone.
    pub name: String,
    pub hosts: LoadHosts,
}

impl Driver for OverHosts {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn open(&mut self, level: usize) -> Result<Box<dyn Load>> {
        let mut inner = self.hosts.lock();
        let shares = divide(level, inner.hosts.len());
        for (host, clients) in inner.hosts.iter_mut().zip(shares) {
            host.turn = Turn { clients, bytes_before: host.link.bytes_received(), ..Turn::default() };
        }
        if let Err(error) = open(&mut inner, level) {
            inner.abandon();
            return Err(error);
        }
        drop(inner);
        Ok(Box::new(HostsLoad { hosts: self.hosts.clone(), within: None, stopped: false }))
    }
}

fn open(inner: &mut Inner, level: usize) -> Result<()> {
    for _ in 0..ATTEMPTS {
        for host in inner.active().filter(|host| !host.turn.opened) {
            host.link.send(&Ask::Open { clients: host.turn.clients, of: level })?;
        }
        inner.wait("opened its connections", |turn| turn.opened)?;
        let mut taken = BTreeSet::new();
        let mut alike = false;
        for host in inner.active() {
            let own = host.turn.ends.clone().unwrap_or_default();
            if taken.is_disjoint(&own) {
                taken.extend(own);
                continue;
            }
            // Its next ones have other ports.
            host.link.send(&Ask::Abandon)?;
            (host.turn.opened, host.turn.ends, alike) = (false, None, true);
        }
        if !alike {
            return Ok(());
        }
    }
    bail!(
        "clients of two load hosts have the same ports, in {ATTEMPTS} attempts: give each host other ones \
         (sysctl net.ipv4.ip_local_port_range)"
    )
}

struct HostsLoad {
    hosts: LoadHosts,
    /// A further interval whose sums are wanted.
    within: Option<Span>,
    stopped: bool,
}

impl Load for HostsLoad {
    fn start(&mut self) -> Result<()> {
        self.hosts.lock().ask(&Ask::Start)
    }

    fn thread_ids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn settled(&self) -> bool {
        self.hosts.lock().active().all(|host| host.turn.warm)
    }

    fn ends(&self) -> Option<BTreeSet<u32>> {
        let mut all = BTreeSet::new();
        for host in self.hosts.lock().active() {
            all.extend(host.turn.ends.as_ref()?);
        }
        Some(all)
    }

    fn progress(&self) -> (u64, u64) {
        let mut inner = self.hosts.lock();
        let sum = |sum: (u64, u64), host: &mut LoadHost| (sum.0 + host.turn.progress.0, sum.1 + host.turn.progress.1);
        inner.active().fold((0, 0), sum)
    }

    fn failed(&self) -> Option<String> {
        let mut inner = self.hosts.lock();
        if let Err(error) = inner.hear() {
            return Some(format!("{error:#}"));
        }
        let failed = |host: &mut LoadHost| Some(format!("on {}: {}", host.link.host(), host.turn.failed.as_ref()?));
        inner.active().find_map(failed)
    }

    fn count_within(&mut self, span: Span) {
        self.within = Some(span);
    }

    fn sockets_followed(&self, begins: bool) {
        // A link that is down is noticed when the load is looked at next.
        let _ = self.hosts.lock().ask(&Ask::Followed { begins });
    }

    fn stop(mut self: Box<Self>, window: Span) -> Result<LoadTrace> {
        let mut inner = self.hosts.lock();
        let mut relations = Vec::new();
        for host in inner.active() {
            let relation = host.link.clocks(window).with_context(|| {
                let host = host.link.host();
                format!("the clock of {host} was not read in the window: the link was down; measure it again")
            })?;
            let there = |span: Span| Span::new(relation.there(span.start), relation.there(span.end));
            host.link.send(&Ask::Stop { window: there(window), sockets: self.within.map(there) })?;
            relations.push(relation);
        }
        inner.wait("told its part of the window", |turn| turn.part.is_some())?;
        let (mut parts, mut ends) = (Vec::new(), Vec::new());
        for (host, relation) in inner.active().zip(relations) {
            let (part, log) = host.turn.part.take().context("a load host told no part")?;
            let Part { mut load, ends: end, cpus } = part;
            read_latency_log(&mut load, log.as_slice()).with_context(|| format!("from {}", host.link.host()))?;
            let own = HostLoad {
                host: host.link.host().to_string(),
                connections: load.connections,
                completed: load.completed,
                errors: load.errors.iter().map(|error| error.count).sum(),
                latency_sum: load.latency_sum,
                generator: load.generator.clone(),
                cpus,
                clocks: relation,
                bytes: host.link.bytes_received() - host.turn.bytes_before,
            };
            parts.push((own, load));
            ends.push(end);
        }
        inner.keep_ends(ends);
        inner.hosts.iter_mut().for_each(|host| host.turn = Turn::default());
        drop(inner);
        self.stopped = true;
        let mut whole = together(window, parts).context("no load host has clients")?;
        if let (Some(counted), Some(within)) = (&mut whole.at_sockets, self.within) {
            counted.span = within;
        }
        Ok(whole)
    }
}

impl Drop for HostsLoad {
    fn drop(&mut self) {
        if !self.stopped {
            self.hosts.lock().abandon();
        }
    }
}
