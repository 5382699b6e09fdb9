//! Workloads: dbbench .ini scripts, pgbench scripts and plain queries, with line-numbered errors. Invariant: what a
//! script says is honoured as dbbench or pgbench honours it, or refused by name, line and remedy; none is ignored.

mod arguments;
mod duration;
mod error;
mod ini;
mod options;
pub mod pgbench;
mod query_log;
pub(crate) mod script;
mod split;
pub(crate) mod sql;
mod text;
mod write;

pub use arguments::Arguments;
pub use duration::parse_duration;
pub use error::WorkloadError;
pub use query_log::LogEntry;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What the load consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The file it came from, if any.
    pub source: Option<PathBuf>,
    /// How long the script wants the load to last. The conductor takes it as the length of a window;
    /// a driver runs until it is stopped.
    pub duration: Option<Duration>,
    /// SQLSTATEs that the script declares acceptable (`error=`): still counted, but no failure.
    pub accepted_errors: Vec<String>,
    /// Statements to be run once, in order, before the load.
    pub setup: Vec<String>,
    /// Statements to be run once, in order, after the load.
    pub teardown: Vec<String>,
    /// At least one, in the script's order; none where the load is somebody else's.
    pub jobs: Vec<Job>,
}

/// One section of a script: what is sent, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Name of the script's section; `query` for a plain query.
    pub name: String,
    /// What it sends.
    pub work: Work,
    /// When its executions begin.
    pub pace: Pace,
    /// Executions of the job (all of its statements once; for `rate` batches, for a log lines) after which it ends.
    pub count: Option<u64>,
    /// Offset from the load's start at which the job begins.
    pub start: Duration,
    /// Offset from the load's start at which the job begins no further execution.
    pub stop: Option<Duration>,
}

/// What a job sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// One execution sends each statement once, in order, on one connection. Each takes the next row of
    /// `arguments`, where there are any; when the rows are used up the job ends.
    Statements {
        /// The statements of one execution, in order.
        statements: Vec<String>,
        /// Rows of values for their parameters; `None`: they have none.
        arguments: Option<Arc<Arguments>>,
    },
    /// Statements replayed at recorded times, ascending.
    Log(Arc<Vec<LogEntry>>),
    /// One execution is one transaction of pgbench: a run of a script, chosen at random. Such a job is its workload's
    /// only one.
    Scripts(Arc<pgbench::Mix>),
}

/// When a job's executions begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: `concurrency` executions under way at any time.
    Closed {
        /// Executions under way at any time.
        concurrency: usize,
    },
    /// Open loop: `batch` executions begin together, `per_second` times a second.
    Rate {
        /// Beginnings of a batch a second.
        per_second: f64,
        /// Executions that begin together.
        batch: u64,
    },
    /// As recorded in the job's log.
    Recorded,
}

impl Workload {
    /// A closed loop that repeats one statement. An empty statement is permitted: the server answers it without a plan.
    pub fn from_query(sql: &str) -> Self {
        let job = Job {
            name: "query".into(),
            work: Work::Statements { statements: vec![sql.to_string()], arguments: None },
            pace: Pace::Closed { concurrency: 1 },
            count: None,
            start: Duration::ZERO,
            stop: None,
        };
        Workload {
            source: None,
            duration: None,
            accepted_errors: Vec::new(),
            setup: Vec::new(),
            teardown: Vec::new(),
            jobs: vec![job],
        }
    }

    /// Reads a script of dbbench's; the files it names are relative to its own directory, as with dbbench.
    ///
    /// # Errors
    /// A file that cannot be read, and as [`Workload::parse`].
    pub fn load(path: &Path) -> Result<Self, WorkloadError> {
        let text = text::read(path).map_err(|cause| WorkloadError::Unreadable { path: path.to_path_buf(), cause })?;
        let directory = path.parent().unwrap_or(Path::new("."));
        Ok(Workload { source: Some(path.to_path_buf()), ..Self::parse(&text, directory, &path.display().to_string())? })
    }

    /// Parses a script's text. `directory` is what relative file names start from, `source` names it in errors.
    ///
    /// # Errors
    /// The first line that cannot be honoured as dbbench would, or a script without a job.
    pub fn parse(text: &str, directory: &Path, source: &str) -> Result<Self, WorkloadError> {
        options::decode(&ini::read(text, source)?, directory, source)
    }

    /// Nothing is sent: the load is somebody else's.
    pub fn none() -> Self {
        Workload {
            source: None,
            duration: None,
            accepted_errors: Vec::new(),
            setup: Vec::new(),
            teardown: Vec::new(),
            jobs: Vec::new(),
        }
    }

    /// All statements of all jobs, in order, each once.
    pub fn distinct_statements(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        self.jobs.iter().flat_map(Job::statements).filter(|sql| seen.insert(*sql)).collect()
    }

    /// How many of `level` connections each job gets: all of them for a single job, else in proportion to the jobs'
    /// concurrency (1 for a job with a rate or a log), at least one each.
    ///
    /// # Errors
    /// A level of 0, or with fewer connections than there are jobs.
    pub fn connections(&self, level: usize) -> Result<Vec<usize>, WorkloadError> {
        split::proportional(level, &self.jobs)
    }

    /// The script of this workload with `level` connections, for the user's own dbbench; the files it names are given
    /// by absolute path. Without `duration`: whoever runs it stops it.
    ///
    /// # Errors
    /// As [`Workload::connections`]; a job that dbbench cannot run as it is meant, such as the replay of a
    /// log.
    pub fn to_ini(&self, level: usize) -> Result<String, WorkloadError> {
        write::ini(self, &self.connections(level)?)
    }
}

impl Job {
    /// The job's statements in order; those of a log one a line.
    pub fn statements(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.work {
            Work::Statements { statements, .. } => Box::new(statements.iter().map(String::as_str)),
            Work::Log(entries) => Box::new(entries.iter().map(|entry| entry.statement.as_str())),
            Work::Scripts(mix) => {
                Box::new(mix.scripts.iter().flat_map(|script| &script.statements).map(String::as_str))
            }
        }
    }
}
