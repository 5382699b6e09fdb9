//! Opening the instruments of a measurement. Invariant: one that was asked for by name and cannot be had is refused;
//! one that is only usual is left out, with a note.

use super::{DriverChoice, FreshnessProbe, Request};
use crate::load::Address;
use crate::metrics::{HttpScraper, Scraper};
use crate::sample::{Chosen, Sampler, choose};
use crate::target::{CpuLatencyLock, bound_name, listening_ports, listens_here};
use crate::wire::{Hop, Listens, Side, SocketProgram, WireSource};
use anyhow::Result;
use std::sync::Arc;
use std::time::Duration;

/// A scrape may take this long; an environmentd under load has been seen to need 0.9 s.
const SCRAPE_LIMIT: Duration = Duration::from_secs(5);

/// Keeps idle CPUs awake, where that is asked for.
pub fn awake(request: &Request, notes: &mut Vec<String>) -> Result<Option<CpuLatencyLock>> {
    if !request.observe.awake {
        return Ok(None);
    }
    let awake = CpuLatencyLock::acquire()?;
    notes.push(
        "idle CPUs are kept awake (/dev/cpu_dma_latency is 0): no latency holds the time that a CPU takes to wake"
            .into(),
    );
    Ok(Some(awake))
}

pub fn sampler(request: &Request, pid: Option<u32>, notes: &mut Vec<String>) -> Result<Option<Box<dyn Sampler>>> {
    let (Some(options), Some(pid)) = (&request.observe.sampling, pid) else {
        notes.push("stacks were not sampled".into());
        return Ok(None);
    };
    let Chosen { sampler, notes: more } = tokio::task::block_in_place(|| choose(options, pid))?;
    notes.extend(more);
    Ok(Some(sampler))
}

pub async fn scraper(
    request: &Request,
    address: &Address,
    notes: &mut Vec<String>,
) -> Result<Option<Arc<dyn Scraper>>> {
    let given = request.observe.metrics_url.is_some();
    let url = request.observe.metrics_url.clone().or(request.preset.connect.metrics.clone());
    let Some(url) = url.filter(|_| !request.observe.no_metrics) else {
        notes.push("metrics were not read: no --metrics-url".into());
        return Ok(None);
    };
    let scraper = HttpScraper::new(&url, SCRAPE_LIMIT, address.encryption.roots.as_ref())?;
    match scraper.scrape().await {
        Ok(_) => Ok(Some(Arc::new(scraper))),
        Err(error) if given => {
            Err(anyhow::Error::from(error)
                .context("metrics cannot be read; --no-metrics measures the rest without them"))
        }
        Err(error) => {
            notes.push(format!("metrics were not read: {error}"));
            Ok(None)
        }
    }
}

pub async fn freshness(request: &Request, address: &Address) -> Result<Option<FreshnessProbe>> {
    if !request.observe.freshness {
        return Ok(None);
    }
    let preset = request.preset.freshness.clone().unwrap_or_default();
    FreshnessProbe::open(address, &request.load.session, &preset).await.map(Some)
}

/// The program at the sockets of the target, process `pid`, and of the database behind it, as far as they are on this
/// host.
pub fn wire(
    request: &Request,
    address: &Address,
    pid: Option<u32>,
    notes: &mut Vec<String>,
) -> Option<Box<dyn WireSource>> {
    if !request.observe.wire {
        notes.push("places were not followed at the sockets".into());
        return None;
    }
    let Server { at, process } = server(address, pid);
    let Some(at) = at else {
        notes.push("places were not followed: the server is not on this host".into());
        return None;
    };
    let hops = hops(request, at);
    let elsewhere = request.load.driver == DriverChoice::Elsewhere || request.load.hosts.is_some();
    let open = || SocketProgram::of_server(hops, process, elsewhere.then_some(Side::Server));
    match tokio::task::block_in_place(open) {
        Ok(program) => Some(Box::new(program)),
        Err(error) => {
            notes.push(format!("places were not followed at the sockets: {error:#}"));
            None
        }
    }
}

/// Name of the hop between the load and the server.
pub const TARGET: &str = "target";
/// Name of the hop between the server and the database whose statements are read.
pub const DATABASE: &str = "database";

fn hops(request: &Request, target: Listens) -> Vec<Hop> {
    let behind = request.observe.statements_url.as_ref().and_then(|url| at(&Address::parse(url).ok()?));
    let behind = behind.filter(|at| *at != target);
    let hop = |(name, at): (&str, Listens)| Hop { name: name.into(), at };
    [Some((TARGET, target)), behind.map(|at| (DATABASE, at))].into_iter().flatten().map(hop).collect()
}

/// Where the server's sockets are.
struct Server {
    /// Where it listens; `None`: on another host.
    at: Option<Listens>,
    /// A process of their network namespace; `None`: it is not known.
    process: Option<u32>,
}

/// The server at an address, which is process `pid` or behind it. What this namespace listens on answers here, be it a
/// proxy of a container's port; else the process does in its own, as a container does that is asked by its address.
fn server(address: &Address, pid: Option<u32>) -> Server {
    let (own, local) = (std::process::id(), at(address));
    let here = match &local {
        Some(Listens::Port(port)) => listening_ports(own).contains(port),
        Some(Listens::Socket(name)) => listens_here(name),
        None => false,
    };
    let there = pid.filter(|pid| !here && listening_ports(*pid).contains(&address.port()));
    let by_process = || there.filter(|_| address.socket().is_none()).map(|_| Listens::Port(address.port()));
    Server { at: local.or_else(by_process), process: if here { Some(own) } else { pid } }
}

/// Where the server at an address listens; `None` for other hosts.
fn at(address: &Address) -> Option<Listens> {
    let socket = || Some(Listens::Socket(bound_name(&address.socket()?)));
    address.local_port().map(Listens::Port).or_else(socket)
}
