//! What following the carriers of queries costs the server: `following CLIENTS ROUNDS SECONDS DIRECTORY` drives the
//! testbed and takes intervals by turns, in each round: without; its threads followed; its async tasks too; without
//! again. Prints each kind's throughput and the server's CPU a query against the first, with 95 % intervals of the
//! rounds' ratios, and what attaching, detaching and events took; writes the server's CPU a query in us, a round a
//! line, to the files `before`, `threads`, `tasks` and `after` of DIRECTORY.

use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use wireprof::analyze::statistics::interval::mean;
use wireprof::load::{Address, Driver, Load, Options as LoadOptions, PgwireDriver};
use wireprof::sample::ebpf::EbpfSampler;
use wireprof::sample::unwind::Cache;
use wireprof::sample::{FollowOptions, FollowingReport, Options, Sampled, Sampler};
use wireprof::testbed::{Options as TestbedOptions, Testbed};
use wireprof::workload::Workload;

/// How an interval is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Before,
    Threads,
    Tasks,
    After,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Before, Kind::Threads, Kind::Tasks, Kind::After];

    fn words(self) -> &'static str {
        match self {
            Kind::Before => "without",
            Kind::Threads => "threads followed",
            Kind::Tasks => "tasks followed too",
            Kind::After => "without, afterwards",
        }
    }
}

/// What one interval gave.
struct Interval {
    kind: Kind,
    queries: u64,
    seconds: f64,
    /// CPU seconds of the server.
    cpu: f64,
    followed: Option<(FollowingReport, Duration, Duration)>,
}

pub fn main(arguments: &[String]) -> Result<()> {
    let [clients, rounds, seconds, directory] = arguments else {
        anyhow::bail!("usage: following CLIENTS ROUNDS SECONDS DIRECTORY");
    };
    let (clients, rounds): (usize, usize) = (clients.parse().context("CLIENTS")?, rounds.parse().context("ROUNDS")?);
    let length = Duration::from_secs_f64(seconds.parse().context("SECONDS")?);
    let testbed =
        Testbed::start(&TestbedOptions { arguments: vec!["--frontend-peek".into()], ..TestbedOptions::default() })?;
    let address = Address::parse(&testbed.ready.sql)?;
    let workload = Workload::from_query("select * from t");
    let mut load = PgwireDriver::new(address, workload, LoadOptions::default()).open(clients)?;
    load.start()?;
    let mut sampler = EbpfSampler::open(Options::default(), Cache::default())?;
    let pid = testbed.ready.pid;
    sampler.prepare(&[Sampled::alone(pid)], &|_| {})?;
    std::thread::sleep(Duration::from_millis(500));
    let mut all = Vec::new();
    for _ in 0..rounds {
        for kind in Kind::ALL {
            all.push(measure(kind, length, load.as_ref(), &mut sampler, pid)?);
        }
    }
    let (_, errors) = load.progress();
    ensure!(errors == 0, "the load had {errors} errors");
    print(clients, &all);
    for (kind, name) in Kind::ALL.into_iter().zip(["before", "threads", "tasks", "after"]) {
        let of = all.iter().filter(|interval| interval.kind == kind);
        let lines: String = of.map(|interval| format!("{:.4}\n", cost(interval))).collect();
        std::fs::write(std::path::Path::new(directory).join(name), lines)?;
    }
    Ok(())
}

/// The server's CPU a query in us.
fn cost(interval: &Interval) -> f64 {
    interval.cpu * 1e6 / interval.queries as f64
}

fn measure(kind: Kind, length: Duration, load: &dyn Load, sampler: &mut EbpfSampler, pid: u32) -> Result<Interval> {
    let options = FollowOptions { tasks: kind == Kind::Tasks, wait_event_at: None, unix_socket: None };
    let is_followed = matches!(kind, Kind::Threads | Kind::Tasks);
    let starting = Instant::now();
    let carrying = is_followed.then(|| sampler.follow(&[Sampled::alone(pid)], &options)).transpose()?;
    let started = starting.elapsed();
    let (began, cpu, (before, _)) = (Instant::now(), cpu(pid)?, load.progress());
    std::thread::sleep(length);
    let ((after, _), cpu, seconds) = (load.progress(), self::cpu(pid)? - cpu, began.elapsed().as_secs_f64());
    let stopping = Instant::now();
    let stopped = carrying.map(|carrying| carrying.stop()).transpose()?;
    let followed = stopped.map(|(_, followed)| (followed.report, started, stopping.elapsed()));
    std::thread::sleep(Duration::from_millis(200));
    Ok(Interval { kind, queries: after - before, seconds, cpu, followed })
}

/// CPU seconds of a process's threads (proc_pid_schedstat(5) of each: its first field is ns on a CPU).
fn cpu(pid: u32) -> Result<f64> {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanos as f64 / 1e9)
}

fn print(clients: usize, all: &[Interval]) {
    let of = |kind: Kind| all.iter().filter(move |interval| interval.kind == kind);
    let rate = |interval: &Interval| interval.queries as f64 / interval.seconds;
    for kind in Kind::ALL {
        let ratios = |figure: &dyn Fn(&Interval) -> f64| -> String {
            let ratios: Vec<f64> = of(kind).zip(of(Kind::Before)).map(|(a, b)| figure(a) / figure(b)).collect();
            match mean(&ratios) {
                Some((mean, Some((from, to)))) => format!("{mean:.3} ({from:.3} to {to:.3})"),
                Some((mean, None)) => format!("{mean:.3}"),
                None => "-".into(),
            }
        };
        let rates: Vec<f64> = of(kind).map(rate).collect();
        println!(
            "{clients} clients, {}: {:.0} queries/s, ratio {}; server's CPU a query, ratio {}",
            kind.words(),
            rates.iter().sum::<f64>() / rates.len() as f64,
            ratios(&rate),
            ratios(&cost)
        );
        print_followed(of(kind));
    }
}

fn print_followed<'a>(intervals: impl Iterator<Item = &'a Interval>) {
    for Interval { queries, seconds, followed, .. } in intervals {
        let Some((report, started, stopped)) = followed else { continue };
        // Events are counted from the start to the stop, queries in between.
        let whole = report.span.nanos() as f64 / 1e9;
        let a_query = |count: u64| count as f64 / whole / (*queries as f64 / seconds);
        println!(
            "  start {:.0} ms, stop {:.0} ms; a query: {:.1} events, {:.1} hits, {:.2} walks; a hit {:.2} us, of them \
                {:.2} us in its program; a walk {:.1} us; {} lost, {} stacks lost, polls {:?}",
            started.as_secs_f64() * 1e3,
            stopped.as_secs_f64() * 1e3,
            a_query(report.events),
            a_query(report.hits),
            a_query(report.walks),
            report.hit_cost.unwrap_or(0) as f64 / 1e3,
            report.hit_programs as f64 / 1e3 / report.hits.max(1) as f64,
            report.walk_cpu as f64 / 1e3 / report.walks.max(1) as f64,
            report.lost,
            report.stacks_lost,
            report.polls,
        );
    }
}
