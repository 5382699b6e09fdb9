//! The workload as the load threads need it: every message encoded once, every job's arithmetic of time and count.
//! Invariant: a plan does not change under load but for the counters of executions handed out.

use super::LoadError;
use super::mix::MixPlan;
use crate::workload::{Arguments, Job, Pace, Work, Workload};
use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use std::sync::atomic::{AtomicU64, Ordering};

/// How statements are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// One Query message: the server parses and plans every time.
    #[default]
    Simple,
    /// Parse once a connection; then Bind, Execute, Sync.
    Extended,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
        })
    }
}

/// A message that asks for one statement's answer, and what is known of that answer.
#[derive(Clone, Debug)]
pub struct Request {
    pub bytes: Box<[u8]>,
    /// Rows that the statement answered before the load; `None`: not comparable, or not run then.
    pub expected: Option<u32>,
}

/// One job.
#[derive(Debug)]
pub struct JobPlan {
    pub name: String,
    /// Statements of one execution.
    pub steps: u32,
    requests: Vec<Request>,
    /// Which of `requests` an execution begins with: 0 for those that repeat, else its own row or line.
    rows: Rows,
    pub pace: Pacing,
    /// Executions after which the job ends.
    limit: Option<u64>,
    /// ns after the load's start.
    pub start: u64,
    pub stop: u64,
    /// Parse messages that a connection of this job needs first.
    pub preparations: Vec<Box<[u8]>>,
    /// Where an execution is a run of a script: it sends what its client makes, not `requests`.
    pub mix: Option<MixPlan>,
    claimed: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    /// The same requests every time.
    Same,
    /// Execution i takes the i-th group of `steps` requests, modulo their number.
    Own,
}

/// When executions begin.
#[derive(Clone, Debug)]
pub enum Pacing {
    Closed,
    /// The `i`-th execution begins at `i / batch` intervals after the job's start.
    Rate {
        interval: f64,
        batch: u64,
    },
    /// ns after the job's start, ascending.
    Recorded(Box<[u64]>),
}

/// All jobs.
#[derive(Debug)]
pub struct Plan {
    pub jobs: Vec<JobPlan>,
    /// Queries scheduled per second; `None` where every job is a closed loop.
    pub rate: Option<f64>,
    /// ns that a load thread works on each answer.
    pub client_work: u64,
}

impl Plan {
    /// Encodes a workload. With `repeat_arguments` a job that has used up its rows begins again instead of ending.
    pub fn new(workload: &Workload, protocol: Protocol, repeat_arguments: bool) -> Result<Self, LoadError> {
        let jobs: Vec<JobPlan> =
            workload.jobs.iter().map(|job| JobPlan::new(job, protocol, repeat_arguments)).collect::<Result<_, _>>()?;
        let open = jobs.iter().filter_map(|job| match job.pace {
            Pacing::Rate { interval, batch } => Some(1e9 / interval * batch as f64 * f64::from(job.steps)),
            // On average: a log's queries are sent when it says, whether those before are answered or not.
            Pacing::Recorded(ref offsets) => {
                offsets.last().map(|last| offsets.len() as f64 / (*last as f64 / 1e9).max(1.0))
            }
            Pacing::Closed => None,
        });
        let rate = open.reduce(|a, b| a + b);
        Ok(Plan { jobs, rate, client_work: 0 })
    }

    /// What records count queries by: the jobs, or the scripts of the only one.
    pub fn counted(&self) -> Vec<String> {
        match self.mix() {
            Some(mix) => mix.mix.scripts.iter().map(|script| script.name.clone()).collect(),
            None => self.jobs.iter().map(|job| job.name.clone()).collect(),
        }
    }

    /// The scripts, where the load consists of them.
    pub fn mix(&self) -> Option<&MixPlan> {
        self.jobs.iter().find_map(|job| job.mix.as_ref())
    }
}

impl JobPlan {
    fn new(job: &Job, protocol: Protocol, repeat_arguments: bool) -> Result<Self, LoadError> {
        let (mut preparations, mut mix) = (Vec::new(), None);
        let (steps, requests, rows, executions) = match &job.work {
            Work::Scripts(scripts) => {
                mix = Some(MixPlan::new(scripts, protocol)?);
                (1, Vec::new(), Rows::Same, None)
            }
            Work::Log(entries) => {
                let requests = entries.iter().map(|entry| simple(&entry.statement)).collect::<Result<Vec<_>, _>>()?;
                let count = requests.len() as u64;
                (1, requests, Rows::Own, Some(count))
            }
            Work::Statements { statements, arguments: None } => {
                let encode = |(at, sql): (usize, &String)| match protocol {
                    Protocol::Simple => simple(sql),
                    Protocol::Extended => extended(at, &[]),
                };
                if protocol == Protocol::Extended {
                    preparations = preparation(statements)?;
                }
                let requests = statements.iter().enumerate().map(encode).collect::<Result<Vec<_>, _>>()?;
                (statements.len(), requests, Rows::Same, None)
            }
            Work::Statements { statements, arguments: Some(arguments) } => {
                preparations = preparation(statements)?;
                let requests = with_arguments(statements.len(), arguments)?;
                let executions = (requests.len() / statements.len()) as u64;
                (statements.len(), requests, Rows::Own, Some(executions).filter(|_| !repeat_arguments))
            }
        };
        let pace = pacing(job);
        let batch = if let Pacing::Rate { batch, .. } = pace { batch } else { 1 };
        let limit = job.count.map(|count| count.saturating_mul(batch)).into_iter().chain(executions).min();
        let nanos = |duration: std::time::Duration| duration.as_nanos() as u64;
        Ok(JobPlan {
            name: job.name.clone(),
            steps: steps as u32,
            requests,
            rows,
            pace,
            limit,
            start: nanos(job.start),
            stop: job.stop.map_or(u64::MAX, nanos),
            preparations,
            mix,
            claimed: AtomicU64::new(0),
        })
    }

    /// The request of a step of an execution.
    #[inline]
    pub fn request(&self, execution: u64, step: u32) -> &Request {
        match self.rows {
            Rows::Same => &self.requests[step as usize],
            Rows::Own => {
                let groups = self.requests.len() as u64 / u64::from(self.steps);
                &self.requests[((execution % groups) * u64::from(self.steps)) as usize + step as usize]
            }
        }
    }

    /// Sets what a statement is expected to answer, at this place in an execution.
    pub fn expect(&mut self, step: usize, rows: u32) {
        if self.rows == Rows::Same {
            self.requests[step].expected = Some(rows);
        }
    }

    /// The number of the next execution of a closed loop, `None` when all have been handed out. Without a limit and
    /// rows of its own every execution is alike, and no counter is touched.
    #[inline]
    pub fn claim(&self) -> Option<u64> {
        if self.limit.is_none() && self.rows == Rows::Same {
            return Some(0);
        }
        let execution = self.claimed.fetch_add(1, Ordering::Relaxed);
        self.within_limit(execution).then_some(execution)
    }

    /// This execution is one of those that the job's count, arguments and log permit.
    pub fn within_limit(&self, execution: u64) -> bool {
        self.limit.is_none_or(|limit| execution < limit)
    }

    /// When an open loop's execution is due, in ns after the load's start; `None` in a closed loop and past a log's
    /// end.
    pub fn due(&self, execution: u64) -> Option<u64> {
        match &self.pace {
            Pacing::Closed => None,
            Pacing::Rate { interval, batch } => Some(self.start + ((execution / batch) as f64 * interval) as u64),
            Pacing::Recorded(offsets) => offsets.get(execution as usize).map(|offset| self.start + offset),
        }
    }
}

fn pacing(job: &Job) -> Pacing {
    match (&job.pace, &job.work) {
        (_, Work::Log(entries)) => Pacing::Recorded(entries.iter().map(|e| e.offset.as_nanos() as u64).collect()),
        (Pace::Rate { per_second, batch }, _) => Pacing::Rate { interval: 1e9 / per_second, batch: *batch },
        (Pace::Closed { .. } | Pace::Recorded, _) => Pacing::Closed,
    }
}

fn request(buffer: BytesMut) -> Request {
    Request { bytes: buffer.to_vec().into_boxed_slice(), expected: None }
}

/// Statements with a zero byte cannot be sent.
pub fn unencodable(cause: std::io::Error) -> LoadError {
    LoadError::Usage(format!("a statement or argument cannot be sent: {cause}; remove the zero byte from it"))
}

/// A Query message.
pub fn simple(sql: &str) -> Result<Request, LoadError> {
    let mut buffer = BytesMut::new();
    frontend::query(sql, &mut buffer).map_err(unencodable)?;
    Ok(request(buffer))
}

fn statement_name(at: usize) -> String {
    format!("wireprof_{at}")
}

/// Parse messages for a job's statements, each followed by Sync.
fn preparation(statements: &[String]) -> Result<Vec<Box<[u8]>>, LoadError> {
    statements.iter().enumerate().map(|(at, sql)| parse(&statement_name(at), sql)).collect()
}

/// Parse and Sync; the types of the parameters are left to the server.
pub fn parse(name: &str, sql: &str) -> Result<Box<[u8]>, LoadError> {
    let mut buffer = BytesMut::new();
    frontend::parse(name, sql, [], &mut buffer).map_err(unencodable)?;
    frontend::sync(&mut buffer);
    Ok(buffer.to_vec().into_boxed_slice())
}

/// Close of the prepared statement of a step, and Sync.
pub fn close(step: usize) -> Result<Box<[u8]>, LoadError> {
    let mut buffer = BytesMut::new();
    frontend::close(b'S', &statement_name(step), &mut buffer).map_err(unencodable)?;
    frontend::sync(&mut buffer);
    Ok(buffer.to_vec().into_boxed_slice())
}

/// Bind, Execute and Sync of a prepared statement, arguments as text.
fn extended(at: usize, arguments: &[String]) -> Result<Request, LoadError> {
    let mut buffer = BytesMut::new();
    let write = |value: &String, buffer: &mut BytesMut| {
        buffer.extend_from_slice(value.as_bytes());
        Ok(IsNull::No)
    };
    frontend::bind("", &statement_name(at), [], arguments, write, [], &mut buffer).map_err(|error| match error {
        frontend::BindError::Serialization(cause) => unencodable(cause),
        frontend::BindError::Conversion(cause) => unencodable(std::io::Error::other(cause.to_string())),
    })?;
    frontend::execute("", 0, &mut buffer).map_err(unencodable)?;
    frontend::sync(&mut buffer);
    Ok(request(buffer))
}

/// Row i belongs to statement i modulo `steps`; a last, incomplete execution is left out, as in dbbench.
fn with_arguments(steps: usize, arguments: &Arguments) -> Result<Vec<Request>, LoadError> {
    let rows = &arguments.rows[..arguments.rows.len() / steps * steps];
    if rows.is_empty() {
        let (file, found) = (arguments.file.display(), arguments.rows.len());
        let problem = format!("{file} has {found} row(s), and one execution takes {steps}; add rows");
        return Err(LoadError::Usage(problem));
    }
    rows.iter().enumerate().map(|(at, row)| extended(at % steps, &row.fields)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn plan(script: &str, protocol: Protocol) -> Plan {
        let workload = Workload::parse(script, Path::new("."), "w.ini").unwrap();
        Plan::new(&workload, protocol, false).unwrap()
    }

    #[test]
    fn a_simple_request_is_one_query_message() {
        let plan = plan("[a]\nquery=select 1", Protocol::Simple);
        assert_eq!(&*plan.jobs[0].request(0, 0).bytes, b"Q\0\0\0\x0dselect 1\0");
        assert!(plan.jobs[0].preparations.is_empty());
        assert_eq!(plan.rate, None);
    }

    #[test]
    fn an_extended_request_binds_executes_and_syncs() {
        let plan = plan("[a]\nquery=select 1", Protocol::Extended);
        let bytes = &plan.jobs[0].request(0, 0).bytes;
        assert_eq!(bytes.iter().filter(|b| [b'B', b'E', b'S'].contains(b)).count(), 3);
        assert!(bytes.ends_with(b"S\0\0\0\x04"));
        assert!(plan.jobs[0].preparations[0].starts_with(b"P"));
    }

    #[test]
    fn arrivals_are_uniform_and_batches_arrive_together() {
        let plan = plan("[a]\nquery=select 1\nrate=4\nbatch-size=2\nstart=1s\ncount=3", Protocol::Simple);
        let job = &plan.jobs[0];
        let due: Vec<_> = (0..5).map(|i| job.due(i).unwrap() / 1_000_000).collect();
        assert_eq!(due, [1000, 1000, 1250, 1250, 1500]);
        assert!(job.within_limit(5) && !job.within_limit(6), "three batches of two");
        assert_eq!(plan.rate, Some(8.0));
    }

    #[test]
    fn a_replayed_log_is_an_open_loop_at_its_own_rate() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("log.csv"), "0,select 1\n1000000,select 2\n2000000,select 3\n").unwrap();
        let workload = Workload::parse("[a]\nquery-log-file=log.csv", directory.path(), "w.ini").unwrap();
        assert_eq!(Plan::new(&workload, Protocol::Simple, false).unwrap().rate, Some(1.5));
    }

    #[test]
    fn executions_are_claimed_up_to_the_count() {
        let plan = plan("[a]\nquery=select 1\ncount=2", Protocol::Simple);
        let claims: Vec<_> = (0..4).map(|_| plan.jobs[0].claim()).collect();
        assert_eq!(claims, [Some(0), Some(1), None, None]);
    }

    #[test]
    fn each_row_of_arguments_is_one_statement() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.csv"), "1\n2\n3\n4\n5\n").unwrap();
        let script =
            "[a]\nquery=select $1\nquery=select $1 + 1\nmulti-query-mode=multi-connection\nquery-args-file=a.csv";
        let workload = Workload::parse(script, directory.path(), "w.ini").unwrap();
        for (repeat, claims) in [(false, vec![Some(0), Some(1), None]), (true, vec![Some(0), Some(1), Some(2)])] {
            let plan = Plan::new(&workload, Protocol::Simple, repeat).unwrap();
            let job = &plan.jobs[0];
            let value = |execution, step| {
                let bytes = &job.request(execution, step).bytes;
                (1..=5).find(|v| bytes.windows(5).any(|w| w == [0, 0, 0, 1, b'0' + v])).unwrap()
            };
            assert_eq!([value(0, 0), value(0, 1), value(1, 0), value(1, 1)], [1, 2, 3, 4]);
            assert_eq!((0..3).map(|_| job.claim()).collect::<Vec<_>>(), claims);
        }
    }
}
