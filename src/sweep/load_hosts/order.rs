//! What a load host is asked to drive, as it goes over the link. Invariant: the hosts' parts together are the load that
//! was asked for, in its proportions and at its rate; what cannot be divided so is refused before anything is opened.

use super::super::across::with_password;
use super::super::{DriverChoice, LoadThreads, Request};
use crate::connection::Address;
use crate::load::{self, LoadError, Protocol, divide};
use crate::workload::{Job, Pace, Work, Workload};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See the module. Times are in ns.
#[derive(Clone, Serialize, Deserialize)]
pub struct LoadOrder {
    url: String,
    jobs: Vec<JobOrder>,
    accepted_errors: Vec<String>,
    extended: bool,
    /// `None`: as many as are needed.
    threads: Option<usize>,
    client_work: u64,
    session: Vec<String>,
    /// The client's ends of the connections are followed.
    pub wire: bool,
    pub warmup: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct JobOrder {
    name: String,
    statements: Vec<String>,
    pace: PaceOrder,
    start: u64,
    stop: Option<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
enum PaceOrder {
    Closed { concurrency: usize },
    Rate { per_second: f64, batch: u64 },
}

impl LoadOrder {
    /// What `hosts` of them are asked to drive together.
    ///
    /// # Errors
    /// What cannot be divided over hosts.
    pub fn of(request: &Request, address: &Address, hosts: usize) -> Result<LoadOrder> {
        let DriverChoice::Own { threads, client_work } = &request.load.driver else {
            bail!(LoadError::Usage("--load-host goes with wireprof's own load: leave --driver out".into()));
        };
        let workload = &request.load.workload;
        let order = LoadOrder {
            url: with_password(address),
            jobs: workload.jobs.iter().map(JobOrder::of).collect::<Result<_>>()?,
            accepted_errors: workload.accepted_errors.clone(),
            extended: request.load.protocol == Protocol::Extended,
            threads: match threads {
                LoadThreads::Auto => None,
                LoadThreads::Given(threads) => Some(*threads),
            },
            client_work: client_work.as_nanos() as u64,
            session: request.load.session.clone(),
            wire: request.observe.wire,
            warmup: request.plan.timing.warmup.as_nanos() as u64,
        };
        request.plan.levels.iter().try_for_each(|level| keeps_proportions(workload, *level, hosts))?;
        Ok(order)
    }

    /// The server.
    ///
    /// # Errors
    /// An address that cannot be read there.
    pub fn address(&self) -> Result<Address> {
        Ok(Address::parse(&self.url)?)
    }

    /// The part of the workload that a host with `clients` of `of` drives.
    fn workload(&self, clients: usize, of: usize) -> Workload {
        let share = clients as f64 / of.max(1) as f64;
        let jobs = self.jobs.iter().map(|job| job.share(share)).collect();
        Workload { accepted_errors: self.accepted_errors.clone(), jobs, ..Workload::none() }
    }

    /// What drives that part.
    ///
    /// # Errors
    /// As [`LoadOrder::address`].
    pub fn driver(&self, clients: usize, of: usize) -> Result<load::PgwireDriver> {
        let options = load::Options {
            threads: self.threads.unwrap_or(1),
            adjusts: self.threads.is_none(),
            protocol: if self.extended { Protocol::Extended } else { Protocol::Simple },
            session: self.session.clone(),
            client_work: Duration::from_nanos(self.client_work),
            ..load::Options::default()
        };
        Ok(load::PgwireDriver::new(self.address()?, self.workload(clients, of), options))
    }
}

/// Each host divides its clients over the jobs by itself, which must come to what one host would do.
fn keeps_proportions(workload: &Workload, level: usize, hosts: usize) -> Result<()> {
    let whole = workload.connections(level)?;
    let mut sum = vec![0; whole.len()];
    for share in divide(level, hosts).into_iter().filter(|share| *share > 0) {
        let part = workload.connections(share).ok();
        part.iter().flatten().zip(&mut sum).for_each(|(part, sum)| *sum += part);
    }
    if sum != whole {
        bail!(LoadError::Usage(format!(
            "{level} clients of {} jobs cannot be divided over {hosts} load hosts in the jobs' proportions: give \
             levels of which each host can have a whole part",
            whole.len()
        )));
    }
    Ok(())
}

impl JobOrder {
    fn of(job: &Job) -> Result<JobOrder> {
        let refused = |what: &str| {
            let why = format!("{what} cannot be divided over load hosts: leave --load-host out, or give --query");
            Err(LoadError::Usage(why).into())
        };
        let statements = match &job.work {
            Work::Statements { statements, arguments: None } => statements.clone(),
            Work::Statements { .. } => return refused("the rows of query-args-file"),
            Work::Log(_) => return refused("the replay of a log"),
            Work::Scripts(_) => return refused("scripts of pgbench's"),
        };
        let pace = match job.pace {
            Pace::Closed { concurrency } => PaceOrder::Closed { concurrency },
            Pace::Rate { per_second, batch } => PaceOrder::Rate { per_second, batch },
            Pace::Recorded => return refused("the replay of a log"),
        };
        if job.count.is_some() {
            return refused("a job's count");
        }
        let nanos = |time: Duration| time.as_nanos() as u64;
        Ok(JobOrder { name: job.name.clone(), statements, pace, start: nanos(job.start), stop: job.stop.map(nanos) })
    }

    fn share(&self, share: f64) -> Job {
        Job {
            name: self.name.clone(),
            work: Work::Statements { statements: self.statements.clone(), arguments: None },
            pace: match self.pace {
                PaceOrder::Closed { concurrency } => Pace::Closed { concurrency },
                PaceOrder::Rate { per_second, batch } => Pace::Rate { per_second: per_second * share, batch },
            },
            count: None,
            start: Duration::from_nanos(self.start),
            stop: self.stop.map(Duration::from_nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn workload(text: &str) -> Workload {
        Workload::parse(text, Path::new("."), "test.ini").unwrap()
    }

    #[test]
    fn a_rate_is_divided_as_the_clients_are_and_a_closed_loop_is_not() {
        let whole = workload("[a]\nquery=select 1\nrate=90\n[b]\nquery=select 2\nconcurrency=2\n");
        let jobs = whole.jobs.iter().map(|job| JobOrder::of(job).unwrap()).collect();
        let order = LoadOrder {
            url: String::new(),
            jobs,
            accepted_errors: Vec::new(),
            extended: false,
            threads: None,
            client_work: 0,
            session: Vec::new(),
            wire: true,
            warmup: 0,
        };
        let parts = [3, 3, 2].map(|clients| order.workload(clients, 8));
        let rates = parts.iter().map(|part| match part.jobs[0].pace {
            Pace::Rate { per_second, .. } => per_second,
            _ => panic!("no rate"),
        });
        assert!((rates.sum::<f64>() - 90.0).abs() < 1e-9);
        assert!(parts.iter().all(|part| part.jobs[1] == whole.jobs[1]));
    }

    #[test]
    fn what_would_be_another_load_over_several_hosts_is_refused() {
        let error = JobOrder::of(&workload("[a]\nquery=select 1\ncount=5\n").jobs[0]).map(drop).unwrap_err();
        assert!(error.to_string().contains("cannot be divided over load hosts"), "{error}");
        let two = workload("[a]\nquery=select 1\nconcurrency=1\n[b]\nquery=select 2\nconcurrency=1\n");
        assert!(keeps_proportions(&two, 8, 2).is_ok());
        for (level, hosts) in [(6, 2), (2, 2), (8, 3)] {
            let error = keeps_proportions(&two, level, hosts).unwrap_err().to_string();
            assert!(error.contains(&format!("{level} clients of 2 jobs")), "{error}");
        }
        assert!(keeps_proportions(&Workload::from_query("select 1"), 7, 3).is_ok());
        assert!(keeps_proportions(&Workload::from_query("select 1"), 1, 3).is_ok());
    }
}
