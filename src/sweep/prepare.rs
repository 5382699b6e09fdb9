//! From what the user asks to open sources and a manifest. Invariant: everything that can be refused is refused here,
//! before any load; whatever is left out from here on is named in the manifest's notes.

use super::setup::check_parameters;
use super::statements::open_statements;
use super::{Applied, Connections, Divisor, FreshnessProbe, Sources, Timing, apply, order, restore};
use crate::load::{self, Address, ClientCount, Driver, LoadError};
use crate::metrics::{HttpScraper, Scraper};
use crate::preset::{Preset, Step};
use crate::run::{BuiltFrom, Manifest, SCHEMA, Target, WorkloadSummary, run_id};
use crate::sample::{self, Chosen, Sampled, choose};
use crate::target::{
    Awake, Forbidden, Host, Role, Watched, WatchedProcess, bound_name, built, clients, comm, host, identify, listener,
    named, processes, related, socket_listener, start_ticks, started,
};
use crate::wire::{Hop, Listens, SocketProgram, WireSource};
use crate::workload::Workload;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::SimpleQueryMessage;

/// A scrape may take this long; an environmentd under load has been seen to need 0.9 s.
const SCRAPE_LIMIT: Duration = Duration::from_secs(5);
const SETUP_LIMIT: Duration = Duration::from_secs(60);
/// Characters of a statement that the manifest keeps.
const STATEMENT_LENGTH: usize = 2_000;

/// What the user asks of a sweep.
#[derive(Clone)]
pub struct Request {
    pub preset: Preset,
    /// The connection under load; `None`: the preset's.
    pub url: Option<String>,
    pub internal_url: Option<String>,
    pub metrics_url: Option<String>,
    pub no_metrics: bool,
    pub statements_url: Option<String>,
    pub no_statements: bool,
    /// Have the database forget its statement statistics before each window.
    pub reset_statements: bool,
    /// Follow the sockets, to tell where each query is.
    pub wire: bool,
    pub pid: Option<u32>,
    /// Further processes to sample and to account CPU to, by number or name.
    pub also: Vec<String>,
    /// Further processes to account CPU to: what was started for this run.
    pub accounted: Vec<u32>,
    pub workload: Workload,
    pub protocol: load::Protocol,
    pub driver: DriverChoice,
    pub divisor: Option<Divisor>,
    /// Empty where the load is somebody else's.
    pub levels: Vec<usize>,
    pub replicates: usize,
    pub seed: u64,
    pub timing: Timing,
    /// `None`: no sampling.
    pub sampling: Option<sample::Options>,
    pub setup: bool,
    /// Statements run on each of the load's connections when it is opened.
    pub session: Vec<String>,
    /// Set after the preset's set-up, through the administrator's connection; always put back.
    pub parameters: Vec<Step>,
    /// Ask after each window whether reads see acknowledged writes.
    pub freshness: bool,
    /// Keep idle CPUs from sleeping while the sources are open.
    pub awake: bool,
    /// Arguments as typed, without secrets.
    pub arguments: Vec<String>,
}

impl Request {
    /// The server under load.
    pub fn address(&self) -> Result<Address> {
        let url = self.url.clone().or(self.preset.connect.url.clone());
        let which = "which server? give --url, or a preset that knows its address (--preset materialize)";
        let url = url.ok_or_else(|| LoadError::Usage(which.into()))?;
        Ok(Address::parse(&url)?)
    }
}

/// Who drives the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverChoice {
    Own {
        threads: usize,
        /// CPU that each answer costs a load thread.
        client_work: Duration,
    },
    Dbbench(std::path::PathBuf),
    /// Somebody else, with so many clients; `None`: as many as are connected to the server's port.
    Foreign {
        clients: Option<usize>,
    },
}

impl DriverChoice {
    fn is_foreign(&self) -> bool {
        matches!(self, DriverChoice::Foreign { .. })
    }
}

/// Ready to run.
pub struct Prepared {
    pub sources: Sources,
    pub manifest: Manifest,
    pub connections: Option<Connections>,
    pub applied: Applied,
    /// What the request's own parameters changed.
    pub own: Applied,
    pub address: Address,
    pub workload: Workload,
    pub timing: Timing,
}

/// Finds the target, brings it into the preset's state and opens every source.
pub async fn prepare(mut request: Request) -> Result<Prepared> {
    check(&request)?;
    let address = request.address()?;
    let mut notes = Vec::from_iter(address.warning());
    let pid = find_target(&request, &address, &mut notes)?;
    let awake = request.awake.then(Awake::keep).transpose()?;
    if awake.is_some() {
        notes.push(
            "idle CPUs are kept awake (/dev/cpu_dma_latency is 0): no latency holds the time that a CPU takes to wake"
                .into(),
        );
    }
    let also = also(&request, pid)?;
    let sampler = open_sampler(&request, pid, &mut notes)?;
    let driver = driver(&request, &address, pid)?;
    if request.driver.is_foreign() {
        request.levels = vec![present(driver.as_ref(), &address)?];
    } else {
        // Refusals are explained best by the load's own connection.
        tokio::task::block_in_place(|| load::check(&address))?;
    }
    let scraper = open_scraper(&request, &mut notes).await?;
    let wire = open_wire(&request, &address, &mut notes);
    let divisor = divisor(&request, scraper.is_some(), wire.is_some())?;
    // From here on the server is changed: what can be refused was refused before.
    let (connections, applied, own) = bring_into_state(&request, &address).await?;
    let freshness = match (open_freshness(&request, &address).await, &connections) {
        (Ok(freshness), _) => freshness,
        (Err(error), None) => return Err(error),
        (Err(error), Some(connections)) => {
            let (own, back) = (restore(own, connections).await, restore(applied, connections).await);
            return Err(own.and(back).err().into_iter().fold(error, |error, more| error.context(format!("{more:#}"))));
        }
    };
    let statements = open_statements(&request, &address, &mut notes).await;
    if let (None, Some(Divisor::Statements(_))) = (&statements, &divisor) {
        let why = notes.last().cloned().unwrap_or_default();
        return Err(LoadError::Usage(format!("--divisor statements(): {why}")).into());
    }
    let children = request.preset.process.children == Some(true);
    let watched = Watched { processes: watched(&request, pid, children, &also), ..Watched::default() };
    let version = match &connections {
        Some(connections) => server_version(&connections.sql).await,
        None => None,
    };
    let manifest = manifest(&request, &address, pid, version, driver.name(), [&applied, &own], notes);
    let sources = Sources {
        driver,
        sampler,
        scraper,
        statements,
        reset_statements: request.reset_statements,
        wire,
        watched,
        target: pid.map(|pid| Sampled { pid, children }),
        // A database may have a process per connection, whatever the target has.
        beside: also.into_iter().map(|(name, pid)| (name, Sampled::family(pid))).collect(),
        target_started: pid.and_then(start_ticks),
        series: request.preset.wanted().into_iter().cloned().collect(),
        divisor,
        freshness,
        awake,
    };
    Ok(Prepared {
        sources,
        manifest,
        connections,
        applied,
        own,
        address,
        timing: request.timing,
        workload: request.workload,
    })
}

/// Refuses what cannot be followed whatever the server is.
pub fn check(request: &Request) -> Result<()> {
    let planned = !request.driver.is_foreign();
    if planned && request.levels.is_empty() || request.levels.contains(&0) {
        bail!(LoadError::Usage("levels are numbers of clients from 1 up, such as --levels 1,4,16,64".into()));
    }
    if request.timing.window < Duration::from_millis(500) {
        bail!(LoadError::Usage("a window under 500 ms holds too few samples: give --window 1s or more".into()));
    }
    for url in [&request.url, &request.internal_url, &request.statements_url].into_iter().flatten() {
        Address::parse(url)?;
    }
    for level in &request.levels {
        request.workload.connections(*level)?;
    }
    Ok(())
}

fn find_target(request: &Request, address: &Address, notes: &mut Vec<String>) -> Result<Option<u32>> {
    if let Some(pid) = request.pid {
        let cause = || Forbidden {
            what: format!("measuring process {pid}"),
            cause: "there is no such process on this host".into(),
            remedy: "give the server's process id with --pid, or leave it out to find the one that listens on the port"
                .into(),
        };
        start_ticks(pid).with_context(cause).map_err(|_| cause())?;
        notes.extend(another_listens(pid, address));
        return Ok(Some(pid));
    }
    let Some((place, found)) = listens(address) else {
        notes.push(
            "the server is not on this host by its URL: no samples and no scheduler statistics of it; where it is, give \
             --pid"
                .into(),
        );
        return Ok(None);
    };
    let pid = match found {
        Ok(pid) => pid,
        // Whether anything answers there is for the connection to say: it knows more of the cause.
        Err(error) if request.sampling.is_none() => {
            notes.push(error.to_string());
            return Ok(None);
        }
        Err(error) => {
            if !request.driver.is_foreign() {
                load::check(address)?;
            }
            return Err(error.into());
        }
    };
    let (name, expected) = (comm(pid, pid).unwrap_or_default(), &request.preset.process.names);
    if !expected.is_empty() && !expected.contains(&name) {
        let expected = expected.join(" or ");
        notes.push(format!(
            "process {pid} on {place} is called {name}; preset {} expects {expected}",
            request.preset.name
        ));
    }
    Ok(Some(pid))
}

/// What is said of a process that was given although another one answers there: a proxy in front of it, or a slip of
/// the pen.
fn another_listens(pid: u32, address: &Address) -> Option<String> {
    let (place, owner) = listens(address)?;
    let owner = owner.ok().filter(|owner| !related(*owner, pid))?;
    let name = |pid| comm(pid, pid).unwrap_or_default();
    let warning = format!(
        "process {pid} ({}) is measured as the server, but {place} belongs to process {owner} ({}): leave --pid out, \
         unless that is a proxy in front of the server",
        name(pid),
        name(owner)
    );
    // Before the load, and not after it: figures of the wrong process are worth nothing.
    eprintln!("wireprof: warning: {warning}");
    Some(warning)
}

/// Who listens at an address of this host, and what to call the place; `None` for other hosts.
pub fn listens(address: &Address) -> Option<(String, Result<u32, Forbidden>)> {
    if let Some(port) = address.local_port() {
        return Some((format!("port {port}"), listener(port)));
    }
    let path = address.socket()?;
    Some((format!("socket {}", path.display()), socket_listener(&path)))
}

fn open_sampler(
    request: &Request,
    pid: Option<u32>,
    notes: &mut Vec<String>,
) -> Result<Option<Box<dyn crate::sample::Sampler>>> {
    let (Some(options), Some(pid)) = (&request.sampling, pid) else {
        notes.push("stacks were not sampled".into());
        return Ok(None);
    };
    let Chosen { sampler, notes: more } = tokio::task::block_in_place(|| choose(options, pid))?;
    notes.extend(more);
    Ok(Some(sampler))
}

/// The preset's set-up, then the request's own and the workload's; nothing where the load is somebody else's.
async fn bring_into_state(request: &Request, address: &Address) -> Result<(Option<Connections>, Applied, Applied)> {
    if request.driver.is_foreign() {
        return Ok((None, Applied::default(), Applied::default()));
    }
    let (connections, applied) = set_up(request, address).await?;
    match set_own(request, address, &connections).await {
        Ok(own) => Ok((Some(connections), applied, own)),
        Err(error) => {
            let back = restore(applied, &connections).await;
            Err(back.err().into_iter().fold(error, |error, more| error.context(format!("{more:#}"))))
        }
    }
}

async fn set_up(request: &Request, address: &Address) -> Result<(Connections, Applied)> {
    let sql = load::connect(address).await?;
    let wanted = request.setup && !request.preset.setup.is_empty();
    let needed = wanted || !request.parameters.is_empty();
    let internal = match request.internal_url.clone().or(request.preset.connect.internal.clone()).filter(|_| needed) {
        Some(url) => {
            let internal = Address::parse(&url)?;
            let hint =
                "the administrator's connection for the set-up failed: correct --internal-url, or give --no-setup";
            tokio::task::block_in_place(|| load::check(&internal)).context(hint)?;
            Some(load::connect(&internal).await?)
        }
        None => None,
    };
    let connections = Connections { sql, internal };
    let applied = if wanted { apply(&request.preset.setup, &connections).await? } else { Applied::default() };
    Ok((connections, applied))
}

/// The request's own parameters, then the workload's script. What was set is put back where the script fails.
async fn set_own(request: &Request, address: &Address, connections: &Connections) -> Result<Applied> {
    let own = apply(&request.parameters, connections).await?;
    let script = || load::run_script(address, &request.workload.setup, SETUP_LIMIT);
    let done = match check_parameters(&request.parameters, connections).await {
        Ok(()) => tokio::task::block_in_place(script).map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => Ok(own),
        Err(error) => {
            let back = restore(own, connections).await;
            Err(back.err().into_iter().fold(error, |error, more| error.context(format!("{more:#}"))))
        }
    }
}

async fn open_scraper(request: &Request, notes: &mut Vec<String>) -> Result<Option<Arc<dyn Scraper>>> {
    let given = request.metrics_url.is_some();
    let url = request.metrics_url.clone().or(request.preset.connect.metrics.clone());
    let Some(url) = url.filter(|_| !request.no_metrics) else {
        notes.push("metrics were not read: no --metrics-url".into());
        return Ok(None);
    };
    let scraper = HttpScraper::new(&url, SCRAPE_LIMIT)?;
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

async fn open_freshness(request: &Request, address: &Address) -> Result<Option<FreshnessProbe>> {
    if !request.freshness {
        return Ok(None);
    }
    let preset = request.preset.freshness.clone().unwrap_or_default();
    FreshnessProbe::open(address, &request.session, &preset).await.map(Some)
}

/// The program at the sockets of the target and of the database behind it, as far as they are on this host.
fn open_wire(request: &Request, address: &Address, notes: &mut Vec<String>) -> Option<Box<dyn WireSource>> {
    if !request.wire {
        notes.push("places were not followed at the sockets".into());
        return None;
    }
    let hops = hops(request, address);
    if hops.first().is_none_or(|hop| hop.name != TARGET) {
        notes.push("places were not followed: the server is not on this host".into());
        return None;
    }
    match tokio::task::block_in_place(|| SocketProgram::open(hops)) {
        Ok(program) => Some(Box::new(program)),
        Err(error) => {
            notes.push(format!("places were not followed at the sockets: {error:#}"));
            None
        }
    }
}

const TARGET: &str = "target";
const DATABASE: &str = "database";

fn hops(request: &Request, address: &Address) -> Vec<Hop> {
    let target = at(address);
    let behind = request.statements_url.as_ref().and_then(|url| at(&Address::parse(url).ok()?));
    let behind = behind.filter(|at| Some(at) != target.as_ref());
    let hop = |(name, at): (&str, Option<Listens>)| Some(Hop { name: name.into(), at: at? });
    [(TARGET, target), (DATABASE, behind)].into_iter().filter_map(hop).collect()
}

/// Where the server at an address listens; `None` for other hosts.
fn at(address: &Address) -> Option<Listens> {
    let socket = || Some(Listens::Socket(bound_name(&address.socket()?)));
    address.local_port().map(Listens::Port).or_else(socket)
}

/// The processes to sample beside the target, each with its name. One that was started for this run stands for all of its name.
fn also(request: &Request, target: Option<u32>) -> Result<Vec<(String, u32)>> {
    let mut also: Vec<u32> = Vec::new();
    for name in &request.also {
        let mut found = match name.parse::<u32>() {
            Ok(pid) => start_ticks(pid).map(|_| pid).into_iter().collect(),
            Err(_) => named(name),
        };
        if found.iter().any(|pid| request.accounted.contains(pid)) {
            found.retain(|pid| request.accounted.contains(pid));
        }
        if found.is_empty() {
            bail!(LoadError::Usage(format!("--also {name}: there is no such process on this host{}", alike(name))));
        }
        also.extend(found.into_iter().filter(|pid| Some(*pid) != target));
    }
    also.sort_unstable();
    also.dedup();
    Ok(also.into_iter().filter_map(|pid| Some((comm(pid, pid)?, pid))).collect())
}

/// Names of processes that may be meant.
fn alike(name: &str) -> String {
    let wanted = name.to_lowercase();
    let near = |known: &String| {
        let known = known.to_lowercase();
        wanted.contains(&known) || known.contains(&wanted) || known.starts_with(wanted.get(..3).unwrap_or(&wanted))
    };
    let names: BTreeSet<String> = processes().into_iter().filter_map(|pid| comm(pid, pid)).filter(near).collect();
    match names.len() {
        0 => "; `ps -e -o pid,comm` lists them".into(),
        _ => format!("; there are {}", names.into_iter().take(8).collect::<Vec<_>>().join(", ")),
    }
}

/// The target and the other processes that CPU is accounted to.
fn watched(request: &Request, pid: Option<u32>, children: bool, also: &[(String, u32)]) -> Vec<WatchedProcess> {
    let mut others: Vec<u32> = also.iter().map(|(_, pid)| *pid).chain(request.accounted.iter().copied()).collect();
    // A process that the user points at stands for those that the preset knows by the same name only: another database
    // on this host is not the one behind this server.
    let given: Vec<String> = others.iter().filter_map(|pid| comm(*pid, *pid)).collect();
    let names = request.preset.process.companions.iter().filter(|name| !given.contains(*name));
    others.extend(names.flat_map(|name| named(name)));
    others.sort_unstable();
    others.dedup();
    let target = pid.map(|pid| WatchedProcess { pid, role: Role::Target, children });
    let others = others.into_iter().filter(|other| Some(*other) != pid);
    // The database behind may have a process per connection, whatever the target has.
    let others = others.map(|pid| WatchedProcess { pid, role: Role::Other, children: true });
    target.into_iter().chain(others).collect()
}

fn driver(request: &Request, address: &Address, pid: Option<u32>) -> Result<Box<dyn Driver>> {
    Ok(match &request.driver {
        DriverChoice::Own { threads, client_work } => {
            let options = load::Options {
                threads: *threads,
                protocol: request.protocol,
                repeat_arguments: true,
                session: request.session.clone(),
                client_work: *client_work,
                ..load::Options::default()
            };
            Box::new(load::PgwireDriver::new(address.clone(), request.workload.clone(), options))
        }
        DriverChoice::Dbbench(_) if !request.session.is_empty() => {
            let why = "dbbench opens its own sessions, and SQL cannot be run on them first: put the settings into the \
                       URL (options=-c%20name%3Dvalue), or let wireprof drive the load";
            return Err(LoadError::Usage(why.into()).into());
        }
        DriverChoice::Dbbench(program) => {
            Box::new(load::DbbenchDriver::new(program, address.clone(), request.workload.clone())?)
        }
        DriverChoice::Foreign { clients: Some(clients) } => {
            let clients = *clients;
            Box::new(load::ForeignDriver::new(Arc::new(move || Some(clients))))
        }
        DriverChoice::Foreign { clients: None } => Box::new(load::ForeignDriver::new(counting(address, pid))),
    })
}

/// Counts the connections to the server's port, where it is a port of this host.
fn counting(address: &Address, pid: Option<u32>) -> ClientCount {
    let given = pid.map(|_| address.port());
    let port = address.local_port().or(given);
    Arc::new(move || clients(pid, port?))
}

/// The clients that a server under somebody else's load has now.
fn present(driver: &dyn Driver, address: &Address) -> Result<usize> {
    driver.level().ok_or_else(|| {
        let forbidden = Forbidden {
            what: "counting the clients".into(),
            cause: format!("no connection to a TCP port of this host is seen for {}", address.shown()),
            remedy: "start the load first, or give the number of its clients with --clients N".into(),
        };
        forbidden.into()
    })
}

/// Who counts queries where no driver of ours does: whom the user names, the preset's metrics, the sockets. A dbbench's own
/// window is not ours either.
fn divisor(request: &Request, metrics: bool, wire: bool) -> Result<Option<Divisor>> {
    let usage = |why: &str| LoadError::Usage(why.into()).into();
    let preset = || request.preset.workload.query_count.clone().map(Divisor::Metrics);
    let chosen = match &request.driver {
        DriverChoice::Own { .. } => return Ok(None),
        DriverChoice::Dbbench(_) => request.divisor.clone().or_else(preset),
        DriverChoice::Foreign { .. } => {
            let sockets = || wire.then_some(Divisor::Sockets);
            request.divisor.clone().or_else(|| preset().filter(|_| metrics)).or_else(sockets)
        }
    };
    match chosen {
        Some(Divisor::Metrics(_)) if !metrics => Err(usage(
            "this driver's window is not wireprof's, so queries are counted by the server, and its metrics are not read: give \
             --metrics-url",
        )),
        Some(Divisor::Statements(_)) if request.no_statements => {
            Err(usage("--divisor statements(): whose? give --statements-url"))
        }
        Some(Divisor::Sockets) if !wire => {
            Err(usage("--divisor sockets: the sockets cannot be followed here; `wireprof doctor` says why"))
        }
        Some(chosen) => Ok(Some(chosen)),
        None => Err(usage(
            "what counts the queries? give --divisor 'delta(some_counter)' over the server's metrics, 'statements(REGEX)', or \
             'sockets'",
        )),
    }
}

async fn server_version(client: &tokio_postgres::Client) -> Option<String> {
    let messages = client.simple_query("SELECT version()").await.ok()?;
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_string),
        _ => None,
    })
}

fn manifest(
    request: &Request,
    address: &Address,
    pid: Option<u32>,
    version: Option<String>,
    driver: String,
    applied: [&Applied; 2],
    notes: Vec<String>,
) -> Manifest {
    let identity = pid.map(identify);
    let created = std::time::SystemTime::now();
    let mut levels = request.levels.clone();
    levels.sort_unstable();
    levels.dedup();
    let target = Target {
        url: address.shown(),
        pid,
        executable: identity.as_ref().and_then(|i| i.executable.clone()),
        build_id: identity.as_ref().and_then(|i| i.build_id.clone()),
        argv: identity.as_ref().map(|i| i.argv.clone()).unwrap_or_default(),
        started: pid.and_then(started),
        version,
        deleted: identity.as_ref().is_some_and(|i| i.deleted),
        symbols: identity.as_ref().and_then(|i| i.symbols),
        built: pid.and_then(built),
        source: BuiltFrom::default(),
    };
    let short = |statement: &str| statement.chars().take(STATEMENT_LENGTH).collect();
    Manifest {
        schema: SCHEMA,
        id: run_id(created, &request.preset.name),
        created: humantime::format_rfc3339_seconds(created).to_string(),
        tool: concat!("wireprof ", env!("CARGO_PKG_VERSION")).into(),
        arguments: request.arguments.clone(),
        preset: request.preset.name.clone(),
        target,
        host: Host { awake: request.awake, ..host() },
        workload: WorkloadSummary {
            statements: request.workload.distinct_statements().into_iter().map(short).collect(),
            protocol: if request.driver.is_foreign() { "not known".into() } else { request.protocol.to_string() },
            source: request.workload.source.as_ref().map(|path| path.display().to_string()),
            driver,
        },
        order: order(&levels, request.replicates, request.seed),
        levels,
        replicates: request.replicates,
        seed: request.seed,
        window_seconds: request.timing.window.as_secs_f64(),
        warmup_seconds: request.timing.warmup.as_secs_f64(),
        changes: applied.iter().flat_map(|applied| applied.changes.iter().cloned()).collect(),
        notes,
        ended: crate::run::RUNNING.into(),
        restarted: false,
        side: None,
    }
}
