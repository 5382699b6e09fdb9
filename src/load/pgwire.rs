//! The driver of our own: opens and checks the connections, runs the load threads, cuts their notes to the window.

use super::connect::{Connection, Connector};
use super::driver::{Driver, Load};
use super::event_loop::{EventLoop, Session};
use super::lane::Lane;
use super::plan::{Plan, Protocol};
use super::record::Notes;
use super::shared::Shared;
use super::thread_id::thread_id;
use super::trace::LoadTrace;
use super::transaction::Client;
use super::{Latencies, LoadError, probe, tally};
use crate::clock::{Nanos, Span, now};
use crate::connection::Address;
use crate::workload::Workload;
use anyhow::{Context, Result, anyhow};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Connections that are opened at the same time: enough to overlap the server's fork and the password's hash,
/// few enough for a listen backlog.
const OPENERS: usize = 8;

/// How the load is driven.
#[derive(Clone, Debug)]
pub struct Options {
    /// Load threads; connections are dealt out among them.
    pub threads: usize,
    /// How each statement is sent: as a simple query, or in the extended protocol.
    pub protocol: Protocol,
    /// Bounds the connect and each answer until a connection is ready; a `connect_timeout` in the URL goes before.
    pub connect_timeout: Duration,
    /// Bounds the one execution of each statement before the load.
    pub statement_timeout: Duration,
    /// A job that has used up its `query-args-file` begins it again instead of ending.
    pub repeat_arguments: bool,
    /// Statements run once on each connection when it is opened, before anything else.
    pub session: Vec<String>,
    /// CPU that the load thread uses for each answer, as an application does with it, before it sends the next query.
    pub client_work: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: 1,
            protocol: Protocol::Simple,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            repeat_arguments: false,
            session: Vec::new(),
            client_work: Duration::ZERO,
        }
    }
}

impl Options {
    /// Runs the session's own statements on a new connection.
    fn begin_session(&self, connection: &mut Connection) -> Result<(), LoadError> {
        self.session.iter().try_for_each(|sql| probe::run(connection, sql, self.statement_timeout))
    }
}

/// Drives a workload against one server.
pub struct PgwireDriver {
    address: Address,
    workload: Workload,
    options: Options,
}

impl PgwireDriver {
    /// A driver of this workload against this server. Nothing is connected before [`Driver::open`].
    pub fn new(address: Address, workload: Workload, options: Options) -> Self {
        PgwireDriver { address, workload, options }
    }
}

impl Driver for PgwireDriver {
    fn name(&self) -> String {
        let name = concat!("wireprof ", env!("CARGO_PKG_VERSION"));
        match self.options.client_work {
            Duration::ZERO => name.into(),
            work => format!("{name}, {work:?} of CPU for each answer"),
        }
    }

    /// Opens `level` connections, verifies each statement on the first one and prepares statements on all of them.
    /// Errors are [`LoadError`]s or [`crate::workload::WorkloadError`]s.
    fn open(&mut self, level: usize) -> Result<Box<dyn Load>> {
        let parts = self.workload.connections(level)?;
        let mut plan = Plan::new(&self.workload, self.options.protocol, self.options.repeat_arguments)?;
        plan.client_work = self.options.client_work.as_nanos() as u64;
        let connector = Connector::new(&self.address, self.options.connect_timeout)?;
        let mut first = connector.open()?;
        self.options.begin_session(&mut first)?;
        probe::learn(&mut first, &self.workload, &mut plan, self.options.statement_timeout)?;
        if let Some(mix) = plan.jobs.iter_mut().find_map(|job| job.mix.as_mut()).filter(|mix| mix.mix.wants_scale) {
            mix.set_scale(probe::scale(&mut first, self.options.statement_timeout)?);
        }
        let plan = Arc::new(plan);
        let jobs: Vec<usize> = parts.iter().enumerate().flat_map(|(job, &n)| std::iter::repeat_n(job, n)).collect();
        let connections = open_all(&connector, first, &jobs, &plan, &self.options)?;
        let shared = Arc::new(Shared::new(self.options.threads.clamp(1, level), level));
        let load = PgwireLoad {
            driver: self.name(),
            accepted_errors: self.workload.accepted_errors.clone(),
            level,
            plan,
            shared,
            threads: Vec::new(),
            ends: connections.iter().map(|connection| connection.transport.socket.end()).collect(),
            within: None,
            started: false,
        };
        Ok(Box::new(load.spawn(connections, &jobs)?))
    }
}

/// Opens the connections that are missing and prepares each one for its job. Stops at the first error.
fn open_all(
    connector: &Connector,
    first: Connection,
    jobs: &[usize],
    plan: &Plan,
    options: &Options,
) -> Result<Vec<Connection>, LoadError> {
    let opened = Mutex::new((0..jobs.len()).map(|_| None).collect::<Vec<Option<Connection>>>());
    let failure = Mutex::new(None);
    let next = AtomicUsize::new(0);
    let first = Mutex::new(Some(first));
    let open_one = |at: usize| -> Result<Connection, LoadError> {
        let present = if at == 0 { first.lock().take() } else { None };
        let mut connection = match present {
            Some(connection) => connection,
            None => {
                let mut connection = connector.open()?;
                options.begin_session(&mut connection)?;
                connection
            }
        };
        for message in &plan.jobs[jobs[at]].preparations {
            if let Err((sqlstate, message)) = connection.round_trip(message, options.statement_timeout)? {
                let sql = format!("a statement of job {:?}", plan.jobs[jobs[at]].name);
                return Err(LoadError::Statement { sql, sqlstate, message });
            }
        }
        Ok(connection)
    };
    thread::scope(|scope| {
        for _ in 0..OPENERS.min(jobs.len()) {
            scope.spawn(|| {
                while failure.lock().is_none() {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= jobs.len() {
                        break;
                    }
                    match open_one(at) {
                        Ok(connection) => opened.lock()[at] = Some(connection),
                        Err(error) => {
                            failure.lock().get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    let opened = opened.into_inner();
    let complete = opened.iter().flatten().count();
    match failure.into_inner() {
        None => Ok(opened.into_iter().flatten().collect()),
        Some(LoadError::TooMany { at, message, .. }) => {
            Err(LoadError::TooMany { at, opened: complete, wanted: jobs.len(), message })
        }
        Some(error) => Err(error),
    }
}

struct LoadThread {
    id: u32,
    /// The load's origin; the thread waits for it.
    start: mpsc::Sender<Nanos>,
    waker: mio::Waker,
    handle: JoinHandle<Notes>,
}

struct PgwireLoad {
    driver: String,
    accepted_errors: Vec<String>,
    level: usize,
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    threads: Vec<LoadThread>,
    /// `None`: the kernel does not tell one of them.
    ends: Option<BTreeSet<u32>>,
    started: bool,
    /// A further interval whose sums are wanted.
    within: Option<Span>,
}

impl PgwireLoad {
    /// Deals the connections out and starts the threads, which wait.
    fn spawn(mut self, connections: Vec<Connection>, jobs: &[usize]) -> Result<Self, LoadError> {
        let threads = self.shared.threads();
        let system = |what, remedy| move |cause| LoadError::System { what, cause, remedy };
        // Connection i goes to thread i modulo threads; a thread has a lane for each job it has a connection of.
        let takes = |thread: usize, job: usize| (0..jobs.len()).any(|at| at % threads == thread && jobs[at] == job);
        let mut dealt: Vec<Vec<Session>> = (0..threads).map(|_| Vec::new()).collect();
        let lane_jobs: Vec<Vec<usize>> =
            (0..threads).map(|thread| (0..self.plan.jobs.len()).filter(|&job| takes(thread, job)).collect()).collect();
        for (at, connection) in connections.into_iter().enumerate() {
            let thread = at % threads;
            let remedy = "report it: a socket refused a plain setting";
            connection.transport.socket.set_nonblocking().map_err(system("non-blocking sockets", remedy))?;
            let lane = lane_jobs[thread].iter().position(|&job| job == jobs[at]);
            let lane = lane.expect("a thread has a lane for each job it has a connection of");
            let client = self.plan.jobs[jobs[at]].mix.as_ref().map(|mix| Box::new(Client::new(mix, at)));
            dealt[thread].push(Session::new(connection.transport, lane, client));
        }
        for (thread, sessions) in dealt.into_iter().enumerate() {
            let lane = |&job: &usize| {
                let of = (0..threads).filter(|&t| lane_jobs[t].contains(&job));
                let index = of.clone().filter(|&t| t < thread).count();
                Lane::new(job, index as u64, of.count() as u64)
            };
            let lanes = lane_jobs[thread].iter().map(lane).collect();
            let started = EventLoop::new(self.plan.clone(), self.shared.clone(), thread, sessions, lanes);
            let remedy = "raise the limit of open files (ulimit -n)";
            let (event_loop, waker) = started.map_err(system("an event loop", remedy))?;
            let remedy = "raise the limit of threads (ulimit -u)";
            let load_thread = spawn_thread(thread, event_loop, waker).map_err(system("a load thread", remedy))?;
            self.threads.push(load_thread);
        }
        Ok(self)
    }

    /// Ends the threads and collects their notes.
    fn join(&mut self) -> Result<Vec<Notes>> {
        self.shared.stop();
        if !self.started {
            self.start()?;
        }
        let mut notes = Vec::new();
        for thread in self.threads.drain(..) {
            thread.waker.wake().context("wake a load thread")?;
            notes.push(thread.handle.join().map_err(|_| anyhow!("a load thread panicked; please report it"))?);
        }
        Ok(notes)
    }
}

fn spawn_thread(index: usize, event_loop: EventLoop, waker: mio::Waker) -> std::io::Result<LoadThread> {
    let (start, origin) = mpsc::channel();
    let (tell, id) = mpsc::channel();
    let handle = thread::Builder::new().name(format!("wireprof-load-{index}")).spawn(move || {
        // The receiver waits right below; should it be gone, so is the load, and `recv` ends.
        let _ = tell.send(thread_id());
        match origin.recv() {
            Ok(origin) => event_loop.run(origin),
            Err(_) => Notes::default(),
        }
    })?;
    let id = id.recv().map_err(|_| std::io::Error::other("the thread ended at once"))?;
    Ok(LoadThread { id, start, waker, handle })
}

impl Load for PgwireLoad {
    fn start(&mut self) -> Result<()> {
        self.started = true;
        let origin = now();
        for thread in &self.threads {
            thread
                .start
                .send(origin)
                .map_err(|_| anyhow!("a load thread has ended before the load; please report it"))?;
        }
        Ok(())
    }

    fn thread_ids(&self) -> Vec<u32> {
        self.threads.iter().map(|thread| thread.id).collect()
    }

    fn ends(&self) -> Option<BTreeSet<u32>> {
        self.ends.clone()
    }

    fn progress(&self) -> (u64, u64) {
        self.shared.progress()
    }

    fn latencies(&self) -> Option<Latencies> {
        Some(self.shared.latencies())
    }

    fn failed(&self) -> Option<String> {
        self.shared.failure()
    }

    fn unmeasured(&self) -> Vec<(&'static str, String)> {
        let why = "what a script's statements answer depends on its variables".to_string();
        self.plan.mix().map(|_| vec![("row counts", why)]).unwrap_or_default()
    }

    fn count_within(&mut self, span: Span) {
        self.within = Some(span);
    }

    fn stop(mut self: Box<Self>, window: Span) -> Result<LoadTrace> {
        let notes = self.join()?;
        let setting = tally::Setting {
            driver: self.driver.clone(),
            connections: self.level,
            accepted_errors: &self.accepted_errors,
            within: self.within,
        };
        Ok(tally::cut(window, &notes, &self.plan, setting))
    }
}

impl Drop for PgwireLoad {
    /// A load that is dropped without `stop` (an error elsewhere) ends its threads and sessions too.
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            // The notes are not wanted, and an error has been met already.
            let _ = self.join();
        }
    }
}
