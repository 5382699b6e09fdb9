//! The driver of our own: opens and checks the connections, runs the load threads, cuts their notes to the window.

use super::connect::{Connection, Connector};
use super::driver::{Driver, Load};
use super::event_loop::Session;
use super::loop_choice::LoopKind;
use super::open_files;
use super::plan::{Plan, Protocol};
use super::shared::Shared;
use super::threads::LoadThreads;
use super::trace::LoadTrace;
use super::transaction::Client;
use super::{Latencies, LoadError, ThreadChoice, probe, tally};
use crate::clock::Span;
use crate::connection::Address;
use crate::workload::Workload;
use anyhow::Result;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Connections that are opened at the same time: enough to overlap the server's fork and the password's hash,
/// few enough for a listen backlog.
const OPENERS: usize = 8;

/// How the load is driven.
#[derive(Clone, Debug)]
pub struct Options {
    /// Load threads; connections are dealt out among them.
    pub threads: usize,
    /// `threads` is what the load begins with: [`Load::use_threads`] may change it.
    pub adjusts: bool,
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
    /// Through what load threads send and receive, for tests and measurements; `None`: by the rule of
    /// [`super::LoopChoice`].
    pub through: Option<LoopKind>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: 1,
            adjusts: false,
            protocol: Protocol::Simple,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            repeat_arguments: false,
            session: Vec::new(),
            client_work: Duration::ZERO,
            through: None,
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
        open_files::allow(level);
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
        let ends = connections.iter().map(|connection| connection.transport.socket.end()).collect();
        let sessions = sessions(connections, &jobs, &plan)?;
        let threads = self.options.threads.clamp(1, level);
        let most = if self.options.adjusts { most_threads(level).max(threads) } else { threads };
        let shared = Arc::new(Shared::new(most, level));
        Ok(Box::new(PgwireLoad {
            driver: self.name(),
            accepted_errors: self.workload.accepted_errors.clone(),
            level,
            threads: LoadThreads::new(plan.clone(), shared.clone(), sessions, threads, self.options.through)?,
            plan,
            shared,
            adjusts: self.options.adjusts,
            choice: None,
            ends,
            within: None,
        }))
    }
}

/// The most load threads that can be of use to so many clients: each needs one to serve, and a CPU that this process
/// may use.
pub fn most_threads(clients: usize) -> usize {
    let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
    clients.min(cpus).max(1)
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
        let open = || {
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
        };
        for _ in 1..OPENERS.min(jobs.len()) {
            // With fewer threads it takes longer.
            let _ = thread::Builder::new().spawn_scoped(scope, open);
        }
        open();
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

struct PgwireLoad {
    driver: String,
    accepted_errors: Vec<String>,
    level: usize,
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    threads: LoadThreads,
    /// Their number may be changed.
    adjusts: bool,
    /// How their number came about; `None`: nobody has said.
    choice: Option<ThreadChoice>,
    /// `None`: the kernel does not tell one of them.
    ends: Option<BTreeSet<u32>>,
    /// A further interval whose sums are wanted.
    within: Option<Span>,
}

/// The connections as they go under load, each with its job.
fn sessions(connections: Vec<Connection>, jobs: &[usize], plan: &Plan) -> Result<Vec<(usize, Session)>, LoadError> {
    let session = |(at, connection): (usize, Connection)| {
        let system = |cause| LoadError::System {
            what: "non-blocking sockets",
            cause,
            remedy: "report it: a socket refused a plain setting",
        };
        connection.transport.socket.set_nonblocking().map_err(system)?;
        let client = plan.jobs[jobs[at]].mix.as_ref().map(|mix| Box::new(Client::new(mix, at)));
        Ok((jobs[at], Session::new(connection.transport, client)))
    };
    connections.into_iter().enumerate().map(session).collect()
}

impl Load for PgwireLoad {
    fn start(&mut self) -> Result<()> {
        self.threads.start()
    }

    fn thread_ids(&self) -> Vec<u32> {
        self.threads.ids()
    }

    fn adjustable(&self) -> Option<usize> {
        self.adjusts.then(|| self.threads.count())
    }

    fn use_threads(&mut self, threads: usize) -> Result<()> {
        self.threads.use_threads(threads)
    }

    fn chosen(&mut self, choice: ThreadChoice) {
        self.choice = Some(choice);
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
        let through = self.threads.choice();
        let (notes, ended) = self.threads.stop()?;
        let choice = if self.adjusts { self.choice.take() } else { Some(ThreadChoice::given()) };
        let setting = tally::Setting {
            driver: self.driver.clone(),
            connections: self.level,
            accepted_errors: &self.accepted_errors,
            within: self.within,
            ended,
            choice,
            through,
        };
        Ok(tally::cut(window, &notes, &self.plan, setting))
    }
}
