//! A load that several hosts drive: how clients are divided over them, and what each did as one load. Invariant: what
//! is counted is counted once, so that the whole is the sum of the hosts' parts, slice by slice and value by value;
//! what one of them did not tell is not told of the whole.

use super::LoopChoice;
use super::trace::{
    Counted, ErrorCount, Generator, JobCount, LoadTrace, Sessions, Slice, empty_histogram, empty_slices,
};
use crate::clock::{ClockRelation, Span};
use serde::{Deserialize, Serialize};

/// What one of several hosts did of a window's load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostLoad {
    /// As the user names it: `ssh://load1`.
    pub host: String,
    /// Its clients.
    pub connections: usize,
    /// Queries that it completed in the window.
    pub completed: u64,
    /// Queries that ended in an error there; those that the workload accepts too.
    pub errors: u64,
    /// Sum of the latencies of the completed queries in ns; `None`: not told.
    pub latency_sum: Option<u64>,
    /// What its load threads took and delayed.
    pub generator: Generator,
    /// The CPUs of that host while the sockets were followed; `None`: not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<HostCpus>,
    /// How its clock relates to that of the host that conducts, by which the window was cut there.
    pub clocks: ClockRelation,
    /// What came over the link for the window, in bytes.
    pub bytes: u64,
}

/// The CPUs of a load host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCpus {
    /// ns in which they ran something, or were taken by the hypervisor.
    pub busy: u64,
    /// ns that there are in all.
    pub capacity: u64,
}

/// How many of `clients` each of `hosts` gets: as evenly as possible, the first ones one more. Fewer clients than hosts
/// leave the last ones none.
pub fn divide(clients: usize, hosts: usize) -> Vec<usize> {
    (0..hosts).map(|at| clients / hosts + usize::from(at < clients % hosts)).collect()
}

/// The parts as one load over `span`, which each host's own clock cut its part to; the parts' hosts are kept with it.
/// `None`: there is no part.
pub fn together(span: Span, parts: Vec<(HostLoad, LoadTrace)>) -> Option<LoadTrace> {
    let (_, first) = parts.first()?;
    let mut whole = LoadTrace {
        counted_by: first.counted_by.clone(),
        latency_sum: Some(0),
        at_sockets: first.at_sockets.map(|counted| Counted { completed: 0, latency_sum: 0, ..counted }),
        slices: empty_slices(span),
        latency: empty_histogram(),
        generator: Generator { through: first.generator.through.clone(), ..nothing() },
        sessions: Sessions::default(),
        ..LoadTrace::not_driven(&first.driver, span, 0)
    };
    for (_, part) in &parts {
        add(&mut whole, part);
    }
    whole.hosts = parts.into_iter().map(|(host, _)| host).collect();
    Some(whole)
}

/// A generator to which others are added.
fn nothing() -> Generator {
    let (cpu, busiest, dispatch_delay, wakes) = (Some(0), Some(0), Some(0), Some(0));
    Generator { threads: 0, cpu, busiest, dispatch_delay, wakes, choice: None, through: None }
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a? + b?)
}

fn add(whole: &mut LoadTrace, part: &LoadTrace) {
    whole.connections += part.connections;
    whole.rate = match (whole.rate, part.rate) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    };
    whole.completed += part.completed;
    whole.rows += part.rows;
    whole.wrong_rows += part.wrong_rows;
    part.errors.iter().for_each(|error| add_error(&mut whole.errors, error));
    whole.latency_sum = sum(whole.latency_sum, part.latency_sum);
    whole.at_sockets = whole.at_sockets.zip(part.at_sockets).map(|(a, b)| Counted {
        span: a.span,
        completed: a.completed + b.completed,
        latency_sum: a.latency_sum + b.latency_sum,
    });
    // By two clocks the same window may have a slice more or less at its end.
    let last = whole.slices.len().saturating_sub(1);
    for (at, slice) in part.slices.iter().enumerate() {
        add_slice(&mut whole.slices[at.min(last)], slice);
    }
    whole.latency.add(&part.latency).expect("all histograms of a window have the same bounds");
    add_generator(&mut whole.generator, &part.generator);
    whole.sessions.opened += part.sessions.opened;
    whole.sessions.lost += part.sessions.lost;
    for job in &part.jobs {
        add_job(&mut whole.jobs, job);
    }
}

fn add_error(errors: &mut Vec<ErrorCount>, error: &ErrorCount) {
    let same = |known: &&mut ErrorCount| known.sqlstate == error.sqlstate && known.message == error.message;
    match errors.iter_mut().find(same) {
        Some(known) => known.count += error.count,
        None => errors.push(error.clone()),
    }
}

fn add_slice(whole: &mut Slice, part: &Slice) {
    whole.completed += part.completed;
    whole.latency_sum += part.latency_sum;
    if let Some(latency) = &part.latency {
        whole.latency.get_or_insert_default().add(&latency.histogram());
    }
}

/// The busiest thread is that of all hosts; through what requests go is told where it is the same on all.
fn add_generator(whole: &mut Generator, part: &Generator) {
    whole.threads += part.threads;
    whole.cpu = sum(whole.cpu, part.cpu);
    whole.busiest = whole.busiest.zip(part.busiest).map(|(a, b)| a.max(b));
    whole.dispatch_delay = sum(whole.dispatch_delay, part.dispatch_delay);
    whole.wakes = sum(whole.wakes, part.wakes);
    let same = |through: &LoopChoice| part.through.as_ref().is_some_and(|other| other.through == through.through);
    whole.through = whole.through.take().filter(same);
}

fn add_job(jobs: &mut Vec<JobCount>, job: &JobCount) {
    let Some(known) = jobs.iter_mut().find(|known| known.name == job.name) else {
        jobs.push(job.clone());
        return;
    };
    known.completed += job.completed;
    known.rows += job.rows;
    known.errors += job.errors;
    known.latency_sum += job.latency_sum;
}

#[cfg(test)]
mod tests {
    use super::super::slice_latency::{SliceLatency, empty_slice_histogram};
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn clients_are_divided_evenly_and_none_is_lost_or_made() {
        for (clients, hosts, expected) in [
            (8, 3, &[3, 3, 2][..]),
            (1, 2, &[1, 0]),
            (2, 2, &[1, 1]),
            (0, 2, &[0, 0]),
            (7, 1, &[7]),
            (4, 5, &[1, 1, 1, 1, 0]),
        ] {
            assert_eq!(divide(clients, hosts), expected, "{clients} over {hosts}");
        }
        for clients in 0..50 {
            for hosts in 1..9 {
                let parts = divide(clients, hosts);
                assert_eq!(parts.iter().sum::<usize>(), clients);
                assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1);
            }
        }
    }

    fn host(name: &str, load: &LoadTrace) -> HostLoad {
        let clocks = ClockRelation { at: 0, offset: 0, drift: 0.0, bound: 1, round_trip: 2, readings: 3 };
        HostLoad {
            host: name.into(),
            connections: load.connections,
            completed: load.completed,
            errors: load.error_count(),
            latency_sum: load.latency_sum,
            generator: load.generator.clone(),
            cpus: None,
            clocks,
            bytes: 9,
        }
    }

    /// The part of a host whose clock began at `start`: in each slice the latencies given.
    fn part(start: u64, length: u64, latencies: &[&[u64]]) -> LoadTrace {
        let mut part = LoadTrace::not_driven("wireprof", Span::new(start, start + length), 2);
        part.slices = empty_slices(part.span);
        for (slice, values) in part.slices.iter_mut().zip(latencies) {
            let mut histogram = empty_slice_histogram();
            values.iter().for_each(|value| histogram.record(*value).unwrap());
            slice.completed = values.len() as u64;
            slice.latency_sum = values.iter().sum();
            slice.latency = Some(SliceLatency::of(&histogram));
            part.latency.add(&histogram).unwrap();
        }
        part.completed = part.slices.iter().map(|slice| slice.completed).sum();
        part.latency_sum = Some(part.slices.iter().map(|slice| slice.latency_sum).sum());
        part.at_sockets = Some(Counted { span: part.span, completed: part.completed, latency_sum: 5 });
        let choice = None;
        let through = Some(LoopChoice::epoll(None));
        let (cpu, busiest) = (Some(start + 10), Some(start + 7));
        part.generator =
            Generator { threads: 1, cpu, busiest, dispatch_delay: Some(3), wakes: Some(4), choice, through };
        let accepted = false;
        part.errors = vec![ErrorCount { sqlstate: "40001".into(), message: "m".into(), count: 2, accepted }];
        let (rows, errors, latency_sum) = (part.completed, 2, 1);
        part.jobs = vec![JobCount { name: "query".into(), completed: part.completed, rows, errors, latency_sum }];
        part.sessions = Sessions { opened: 2, lost: 1 };
        part
    }

    fn whole(span: Span, parts: Vec<LoadTrace>) -> LoadTrace {
        let named = parts.into_iter().enumerate().map(|(at, part)| (host(&format!("ssh://load{at}"), &part), part));
        together(span, named.collect()).unwrap()
    }

    #[test]
    fn the_whole_is_the_sum_of_the_parts_slice_by_slice_and_value_by_value() {
        let span = Span::new(1_000 * MS, 1_120 * MS);
        // One host's clock is an hour ahead; each slice is counted from its own beginning.
        let parts = vec![
            part(0, 120 * MS, &[&[5_000, 900_000], &[7_000], &[]]),
            part(3_600_000 * MS, 120 * MS, &[&[900_000], &[], &[70_000_000]]),
        ];
        let load = whole(span, parts);
        assert_eq!((load.span, load.connections, load.completed), (span, 4, 5));
        let slices: Vec<_> = load.slices.iter().map(|s| (s.at / MS, s.nanos / MS, s.completed)).collect();
        assert_eq!(slices, [(0, 50, 3), (50, 50, 1), (100, 20, 1)]);
        assert_eq!(load.latency_sum, Some(5_000 + 900_000 + 7_000 + 900_000 + 70_000_000));
        assert_eq!(load.latency.len(), 5);
        assert_eq!(load.latency.count_between(899_000, 901_000), 2, "the same latency on two hosts counts twice");
        for slice in &load.slices {
            assert_eq!(slice.latency.as_ref().unwrap().len(), slice.completed);
        }
        assert_eq!(load.at_sockets.unwrap().completed, 5);
        assert_eq!((load.generator.threads, load.generator.wakes), (2, Some(8)));
        assert_eq!(load.generator.busiest, Some(3_600_000 * MS + 7), "of all hosts");
        assert_eq!((load.errors.len(), load.error_count()), (1, 4));
        assert_eq!((load.jobs.len(), load.jobs[0].completed, load.sessions.lost), (1, 5, 2));
        let hosts: Vec<_> = load.hosts.iter().map(|host| (host.host.as_str(), host.completed)).collect();
        assert_eq!(hosts, [("ssh://load0", 3), ("ssh://load1", 2)]);
    }

    #[test]
    fn a_window_that_is_a_little_longer_by_another_clock_loses_nothing() {
        let longer = part(7, 100 * MS + 300, &[&[5_000], &[6_000], &[7_000]]);
        assert_eq!(longer.slices.len(), 3);
        let load = whole(Span::new(0, 100 * MS), vec![part(0, 100 * MS, &[&[1_000], &[1_000]]), longer]);
        let counts: Vec<u64> = load.slices.iter().map(|slice| slice.completed).collect();
        assert_eq!((counts, load.latency.len()), (vec![2, 3], 5));
    }

    #[test]
    fn what_one_host_did_not_tell_is_not_told_of_the_whole() {
        let span = Span::new(0, 100 * MS);
        let told = part(0, 100 * MS, &[&[5_000]]);
        let mut silent = part(0, 100 * MS, &[&[5_000]]);
        (silent.generator.cpu, silent.generator.busiest, silent.latency_sum) = (None, None, None);
        silent.at_sockets = None;
        let load = whole(span, vec![told, silent]);
        assert_eq!((load.generator.cpu, load.generator.busiest, load.latency_sum), (None, None, None));
        assert!(load.at_sockets.is_none() && load.completed == 2);
        assert!(together(span, Vec::new()).is_none());
    }
}
