//! From a request to open sources, a server in the state that it wants and a manifest. Invariant: what can be refused
//! before the server is changed is refused before; a refusal after it puts the server back.

use super::manifest::{Found, manifest};
use super::processes::{companions, find_target, processes};
use super::server_profiles::{self, ServerProfiler};
use super::statements::{check_statements, open_statements};
use super::{
    DriverChoice, QueryCounter, Request, ServerState, Sources, Stop, addresses, check, driver, follow, instruments,
    note, scrapes,
};
use crate::load::{self, Address, Driver, LoadError};
use crate::metrics::Scraper;
use crate::run::{Manifest, Missing, Part};
use crate::sample::Sampler;
use crate::target::CpuLatencyLock;
use crate::wire::WireSource;
use anyhow::Result;
use std::sync::Arc;

/// Ready to run. Whoever has it hands `state` back when the windows are done, whatever became of them.
pub struct Prepared {
    /// All that the windows listen to, open.
    pub sources: Sources,
    /// The run's manifest, before its first window.
    pub manifest: Manifest,
    /// What was changed on the server, with its undoing.
    pub state: ServerState,
}

/// What is open before the server is changed.
struct Opened {
    pid: Option<u32>,
    companions: Vec<(String, u32)>,
    profilers: Vec<ServerProfiler>,
    awake: Option<CpuLatencyLock>,
    sampler: Option<Box<dyn Sampler>>,
    driver: Box<dyn Driver>,
    scraper: Option<Arc<dyn Scraper>>,
    wire: Option<Box<dyn WireSource>>,
    counter: Option<QueryCounter>,
    absent: Vec<Missing>,
}

/// Finds the target, opens every source and brings the server into the state that the request wants.
///
/// # Errors
/// What cannot be followed, or an end that the user asked for; the server is as it was.
pub async fn prepare(mut request: Request, stop: &Stop) -> Result<Prepared> {
    check(&request)?;
    let address = request.address()?;
    let mut notes = Vec::from_iter(address.warning());
    notes.extend(request.target.chosen.clone());
    addresses::settle(&mut request, &address, &mut notes)?;
    let opened = open(&mut request, &address, &mut notes).await?;
    stop.check()?;
    // From here on the server is changed, and every exit goes through its state.
    let state = ServerState::bring(&request, &address).await?;
    match complete(&request, &address, opened, &state, notes).await {
        Ok((sources, manifest)) => Ok(Prepared { sources, manifest, state }),
        Err(error) => Err(state.abandon(error).await),
    }
}

async fn open(request: &mut Request, address: &Address, notes: &mut Vec<String>) -> Result<Opened> {
    let pid = find_target(request, address, notes)?;
    let mut absent = Vec::new();
    absent.extend(unless(pid.is_some(), Part::TargetCpu, notes, "give the process id of the server with --pid"));
    let companions = companions(&request.observe, pid)?;
    let profilers = server_profiles::profilers(&request.observe.companions, request.plan.timing.window)?;
    let awake = instruments::awake(request, notes)?;
    let sampler = instruments::sampler(request, pid, notes)?;
    absent.extend(unless(sampler.is_some(), Part::Profile, notes, "leave --no-sampling out, or give --pid"));
    let driver = driver::driver(request, address, pid)?;
    match &request.load.driver {
        // Whether the load may connect is seen where it is.
        DriverChoice::Elsewhere => {}
        DriverChoice::Foreign { .. } => request.plan.levels = vec![driver::present(driver.as_ref(), address)?],
        // Refusals are explained best by the load's own connection.
        DriverChoice::Own { .. } | DriverChoice::Dbbench(_) => {
            tokio::task::block_in_place(|| load::check(address))?;
        }
    }
    let scraper = instruments::scraper(request, address, notes).await?;
    absent.extend(unless(scraper.is_some(), Part::Metrics, notes, "give their address with --metrics-url"));
    let wire = instruments::wire(request, address, pid, notes);
    let remedy = "leave --no-wire out; `wireprof doctor` says what following the sockets needs";
    absent.extend(unless(wire.is_some(), Part::Places, notes, remedy));
    let counter = driver::counter(request, scraper.is_some(), wire.is_some())?;
    check_statements(request, address, counter.as_ref())?;
    Ok(Opened { pid, companions, profilers, awake, sampler, driver, scraper, wire, counter, absent })
}

/// That no window has the part, unless its instrument is `there`; why not is the note that was made of it last.
fn unless(there: bool, what: Part, notes: &[String], remedy: &str) -> Option<Missing> {
    let why = notes.last().filter(|_| !there)?.clone();
    Some(Missing { what, why, remedy: remedy.into() })
}

/// What can be opened only on a server in its state (its set-up may make what is read), and the manifest.
async fn complete(
    request: &Request,
    address: &Address,
    opened: Opened,
    state: &ServerState,
    mut notes: Vec<String>,
) -> Result<(Sources, Manifest)> {
    let Opened { pid, companions, profilers, awake, sampler, driver, scraper, wire, counter, mut absent } = opened;
    let noted = notes.len();
    let statements = open_statements(request, address, &mut notes).await;
    let remedy = "name the database with --statements-url; `wireprof doctor` says what its role may read";
    absent.extend(unless(notes.len() == noted, Part::Statements, &notes, remedy));
    if let (None, Some(QueryCounter::Statements(_))) = (&statements, &counter) {
        let why = notes.last().cloned().unwrap_or_default();
        return Err(LoadError::Usage(format!("--divisor statements(): {why}")).into());
    }
    let reset_statements = request.observe.reset_statements;
    if reset_statements && statements.is_none() {
        note(&mut notes, "statement statistics were not reset: they are not read".into());
    }
    let processes = processes(request, pid, companions, &mut notes);
    let scrape_cost = match &scraper {
        Some(scraper) => scrapes::cost(scraper.as_ref(), &processes).await,
        None => None,
    };
    notes.extend(scrape_cost.map(|cost| scrapes::note(&cost, request.plan.timing.window)));
    let follow = follow::plan(request, address, pid, &mut notes);
    let found = Found { pid, version: state.version().await, driver: driver.name(), changes: state.changes(), notes };
    let manifest = manifest(request, address, found);
    let sources = Sources {
        driver,
        counter,
        processes,
        sampler,
        profilers,
        scraper,
        scrape_cost,
        series: request.preset.wanted().into_iter().cloned().collect(),
        statements,
        reset_statements,
        wire,
        follow,
        // The last that can fail: it has a table of its own on the server.
        freshness: instruments::freshness(request, address).await?,
        awake,
        live: request.observe.live,
        absent,
        there: None,
        also: Vec::new(),
        load_hosts: None,
    };
    Ok((sources, manifest))
}
