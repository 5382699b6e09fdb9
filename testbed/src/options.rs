//! The testbed's command line. Invariant: a value that makes no sense is refused here, before anything is started.

use std::path::PathBuf;

use super::plant::Plant;

/// An embedded pgwire server with known bottlenecks over a private PostgreSQL. When it accepts connections it prints
/// one line of JSON with its URLs and process ids on standard output; SIGINT or SIGTERM ends it and all it started.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "wireprof-testbed", version)]
pub struct Options {
    /// External SQL port (any user); 0 takes a free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub sql_port: u16,
    /// Address that the external SQL port listens on.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub sql_address: std::net::IpAddr,
    /// Internal SQL port (user mz_system); 0 takes a free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub internal_port: u16,
    /// HTTP port of /metrics and /debug/pprof/profile; 0 takes a free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub http_port: u16,
    /// Which of tokio's runtimes the server runs on.
    #[arg(long, value_enum, default_value_t = RuntimeKind::MultiThread)]
    pub runtime: RuntimeKind,
    /// Handle each query in a task of its own, which is spawned for it and which the connection's task joins.
    #[arg(long)]
    pub task_per_query: bool,
    /// Worker threads of the runtime [default: one for each CPU].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub worker_threads: Option<u16>,
    /// Connections to PostgreSQL that the timestamp oracle may hold.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=200), value_name = "N")]
    pub pool_size: u16,
    /// Rows of the table t.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub rows: u32,
    /// Start without the table t, so that a benchmark's set-up can create it as on a fresh server.
    #[arg(long, conflicts_with = "rows")]
    pub empty_catalog: bool,
    /// Start with enable_frontend_peek_sequencing on, as after `ALTER SYSTEM SET` on the internal port.
    #[arg(long)]
    pub frontend_peek: bool,
    /// Directory with initdb and postgres [default: PATH, then the newest /usr/lib/postgresql/*/bin].
    #[arg(long, value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
    /// Plant a known bottleneck; may be given several times. One of cpu:peek=DURATION, cpu:oracle=DURATION,
    /// cpu:outside=DURATION, lock=DURATION, oracle-delay=DURATION, database=DURATION (inside PostgreSQL, on its CPU
    /// below 2 ms), path=DURATION (a proxy on the way to PostgreSQL), pool-size=N, batches=N (reads of the oracle in
    /// flight), coordinator=DURATION, allocate=COUNT, churn=PER_SECOND, starve=DURATION, stale-reads=DURATION,
    /// deep-stack=SIZE (16kB to 1MB), writer=PER_SECOND (commits of 20 ms on other connections to PostgreSQL),
    /// metrics=DURATION (CPU of each answer of /metrics).
    /// Each query's future waits in channel=DURATION (for a worker task, one query after the other; the task computes
    /// in channel:cpu=DURATION), semaphore:PERMITS=DURATION and mutex=DURATION (held for DURATION across an await),
    /// std-mutex=DURATION (held while the thread sleeps), timer=DURATION (of the runtime, in whole ms), join=DURATION
    /// (for a spawned task), select=DURATION (for the first of two futures), and in the run queue with
    /// hog:TASKS=DURATION (tasks that compute for DURATION between their yields). `:PERMITS` and `:TASKS` may be left
    /// out: one.
    #[arg(long = "plant", value_name = "KIND:ARGS")]
    pub plants: Vec<Plant>,
    /// How the external port authenticates its clients.
    #[arg(long, value_enum, default_value_t = Authentication::Trust)]
    pub authentication: Authentication,
    /// The password for `--authentication password` and `md5`, the same for every user; read from the environment
    /// because arguments are public.
    #[arg(skip = std::env::var("WIREPROF_TESTBED_PASSWORD").ok())]
    pub password: Option<String>,
    /// Say whether a plant is understood, and end: 0 if it is, else 2 with the reason on standard error.
    #[arg(long, value_name = "KIND:ARGS", exclusive = true)]
    pub check_plant: Option<String>,
    /// Print the directory of the PostgreSQL that would be started, and end: 3 if there is none.
    #[arg(long)]
    pub find_postgres: bool,
    /// Misbehave, so that a client's own handling of faults can be tested; may be given several times.
    #[arg(long = "fault", value_enum)]
    pub faults: Vec<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RuntimeKind {
    /// Worker threads, which take tasks from each other.
    MultiThread,
    /// The main thread alone.
    CurrentThread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Authentication {
    /// Anybody, without a password.
    Trust,
    /// The password of WIREPROF_TESTBED_PASSWORD in clear text.
    Password,
    /// The password of WIREPROF_TESTBED_PASSWORD as a salted MD5 digest.
    Md5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// /metrics answers 404.
    MetricsAbsent,
    /// /metrics never answers.
    MetricsHang,
    /// /metrics answers something that is not the Prometheus text format.
    MetricsGarbled,
    /// Every tenth `select` from a table lacks its last row.
    WrongRows,
    /// Every tenth `select` from a table fails.
    Errors,
}

impl Options {
    /// Pool size after plants: `pool-size=N` overrides `--pool-size`.
    pub fn effective_pool_size(&self) -> usize {
        let planted = self.plants.iter().find_map(|plant| match plant {
            Plant::PoolSize { connections } => Some(*connections),
            _ => None,
        });
        planted.unwrap_or(self.pool_size as usize)
    }

    /// What clap cannot check field by field.
    pub fn check(&self) -> Result<(), String> {
        for (index, plant) in self.plants.iter().enumerate() {
            if self.plants[..index].iter().any(|earlier| earlier.name() == plant.name()) {
                return Err(format!("--plant {} is given twice; give each plant once", plant.name()));
            }
        }
        if self.runtime == RuntimeKind::CurrentThread && self.worker_threads.is_some() {
            return Err("--runtime current-thread has no worker threads; leave --worker-threads out".to_owned());
        }
        if self.task_per_query && self.plants.iter().any(|plant| matches!(plant, Plant::DeepStack { .. })) {
            return Err(
                "--plant deep-stack lies beneath the connections' tasks, and --task-per-query takes the queries \
                        out of them; leave one of the two out"
                    .to_owned(),
            );
        }
        if self.authentication != Authentication::Trust && self.password.is_none() {
            return Err("--authentication needs a password; set the environment variable \
                        WIREPROF_TESTBED_PASSWORD"
                .to_owned());
        }
        Ok(())
    }
}
