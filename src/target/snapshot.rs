//! Readings of the scheduler's statistics, and their differences. A thread that ends between two readings keeps the
//! values of its last one, so a window is read once a second too, not at its ends alone.

use super::affinity::cpus_for;
use super::cpus::TICK;
use super::{MachineDelta, Role, SchedulerDelta, ThreadDelta, comm, family, tasks};
use crate::clock::{self, Nanos, Span};
use std::collections::BTreeMap;

/// Whose threads to read.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The target and its companions.
    pub processes: Vec<WatchedProcess>,
    /// Threads of our own process that drive load; its others are the profiler's.
    pub generator_threads: Vec<u32>,
    /// A load generator that is a process of its own (the user's dbbench).
    pub generator_process: Option<u32>,
}

/// A process whose threads are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchedProcess {
    /// The process.
    pub pid: u32,
    /// What its threads count as.
    pub role: Role,
    /// Its descendants count with it.
    pub children: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct ThreadReading {
    role: Role,
    process: String,
    pid: u32,
    thread: String,
    cpu: u64,
    runnable: u64,
    slices: u64,
}

/// One reading of everything watched.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Half way between the beginning and the end of the reading, ns of `CLOCK_MONOTONIC`.
    pub at: Nanos,
    threads: BTreeMap<u32, ThreadReading>,
    /// user+nice+system+irq+softirq, idle+iowait, steal, irq+softirq in ticks; number of CPUs.
    machine: Option<([u64; 4], usize)>,
    /// CPUs that the target may use at once; `None`: all of them.
    for_server: Option<f64>,
}

impl Watched {
    /// Reads all threads now. Threads that end meanwhile are left out.
    pub fn read(&self) -> Snapshot {
        let started = clock::now();
        let mut threads = BTreeMap::new();
        // The target last: a thread that belongs to two of them is the target's. Its children that do not count with
        // it first: one that is named by itself is that.
        let (target, others): (Vec<&WatchedProcess>, Vec<&WatchedProcess>) =
            self.processes.iter().partition(|p| p.role == Role::Target);
        for parent in target.iter().filter(|process| !process.children) {
            for pid in family(parent.pid).into_iter().skip(1) {
                read_process(pid, |_| Role::Unfollowed, &mut threads);
            }
        }
        for process in others.into_iter().chain(target) {
            let pids = if process.children { family(process.pid) } else { vec![process.pid] };
            for pid in pids {
                read_process(pid, |_| process.role, &mut threads);
            }
        }
        if let Some(pid) = self.generator_process {
            read_process(pid, |_| Role::Generator, &mut threads);
        }
        let own = |tid| if self.generator_threads.contains(&tid) { Role::Generator } else { Role::Profiler };
        read_process(std::process::id(), own, &mut threads);
        let machine = parse_machine(&std::fs::read_to_string("/proc/stat").unwrap_or_default());
        let for_server = self.for_server(&threads, machine.map(|(_, cpus)| cpus));
        Snapshot { at: Span::new(started, clock::now()).midpoint(), threads, machine, for_server }
    }

    fn for_server(&self, threads: &BTreeMap<u32, ThreadReading>, online: Option<usize>) -> Option<f64> {
        let target = self.processes.iter().find(|process| process.role == Role::Target)?;
        let tids = threads.iter().filter(|(_, thread)| thread.role == Role::Target).map(|(tid, _)| *tid);
        cpus_for(target.pid, tids, online?)
    }
}

fn read_process(pid: u32, role: impl Fn(u32) -> Role, threads: &mut BTreeMap<u32, ThreadReading>) {
    let Some(process) = comm(pid, pid) else { return };
    for tid in tasks(pid) {
        let path = format!("/proc/{pid}/task/{tid}/schedstat");
        let Some([cpu, runnable, slices]) = std::fs::read_to_string(path).ok().and_then(|t| parse_schedstat(&t)) else {
            continue;
        };
        let thread = comm(pid, tid).unwrap_or_else(|| "?".into());
        let process = process.clone();
        threads.insert(tid, ThreadReading { role: role(tid), process, pid, thread, cpu, runnable, slices });
    }
}

/// ns on CPU, ns runnable but waiting, slices. By hand: see docs/decisions/own-code.md, as of [`parse_machine`].
fn parse_schedstat(text: &str) -> Option<[u64; 3]> {
    let mut fields = text.split_whitespace().map(|field| field.parse().ok());
    Some([fields.next()??, fields.next()??, fields.next()??])
}

fn parse_machine(text: &str) -> Option<([u64; 4], usize)> {
    let cpus = text.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count();
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    let f: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, steal] = *f.get(..8)? else { return None };
    Some(([user + nice + system + irq + softirq, idle + iowait, steal, irq + softirq], cpus))
}

/// What happened between the first and the last of several readings.
pub fn difference(readings: &[Snapshot]) -> Option<SchedulerDelta> {
    let (first, last) = (readings.first()?, readings.last()?);
    let mut latest: BTreeMap<u32, &ThreadReading> = BTreeMap::new();
    for reading in readings {
        latest.extend(reading.threads.iter().map(|(tid, thread)| (*tid, thread)));
    }
    let threads = latest.iter().map(|(tid, now)| {
        // A number that is used again by a younger thread has smaller values: it was born in between.
        let before = first.threads.get(tid).filter(|b| b.pid == now.pid && b.cpu <= now.cpu && b.slices <= now.slices);
        let gone = !last.threads.contains_key(tid);
        let since = |value: fn(&ThreadReading) -> u64| value(now) - before.map_or(0, value);
        ThreadDelta {
            role: now.role,
            process: now.process.clone(),
            pid: now.pid,
            thread: now.thread.clone(),
            tid: *tid,
            cpu: since(|t| t.cpu),
            switched: None,
            switched_by_batch: Vec::new(),
            runnable: now.runnable.saturating_sub(before.map_or(0, |b| b.runnable)),
            slices: since(|t| t.slices),
            born: before.is_none(),
            gone,
        }
    });
    let machine = match (first.machine, last.machine) {
        (Some((before, _)), Some((after, cpus))) => {
            let ticks = |at: usize| after[at].saturating_sub(before[at]) * TICK;
            let for_server = readings.iter().rev().find_map(|reading| reading.for_server);
            let [busy, idle, steal, interrupts] = [0, 1, 2, 3].map(ticks);
            Some(MachineDelta { cpus, busy, idle, steal, interrupts, for_server })
        }
        _ => None,
    };
    Some(SchedulerDelta { span: Span::new(first.at, last.at), threads: threads.collect(), machine })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(at: Nanos, threads: &[(u32, u64, u64)]) -> Snapshot {
        let reading = |cpu, slices| ThreadReading {
            role: Role::Target,
            process: "server".into(),
            pid: 1,
            thread: "worker".into(),
            cpu,
            runnable: cpu / 2,
            slices,
        };
        let threads = threads.iter().map(|(tid, cpu, slices)| (*tid, reading(*cpu, *slices))).collect();
        Snapshot { at, threads, machine: None, for_server: None }
    }

    #[test]
    fn a_thread_gone_before_the_last_reading_keeps_what_was_seen_of_it() {
        let readings = [
            snapshot(0, &[(1, 100, 1), (2, 50, 5)]),
            snapshot(5, &[(1, 150, 2), (2, 80, 6), (3, 10, 1)]),
            snapshot(9, &[(1, 200, 3), (3, 30, 2)]),
        ];
        let delta = difference(&readings).unwrap();
        let found: Vec<_> = delta.threads.iter().map(|t| (t.tid, t.cpu, t.born, t.gone)).collect();
        assert_eq!(found, [(1, 100, false, false), (2, 30, false, true), (3, 30, true, false)]);
        assert_eq!(delta.cpu(Role::Target), Some(160));
        assert_eq!(
            (delta.cpu(Role::Other), delta.runnable(Role::Other), delta.switched(Role::Other)),
            (None, None, None)
        );
    }

    #[test]
    fn a_thread_number_used_again_counts_from_the_birth_of_the_new_thread() {
        let delta = difference(&[snapshot(0, &[(7, 900, 90)]), snapshot(1, &[(7, 20, 2)])]).unwrap();
        assert_eq!((delta.threads[0].cpu, delta.threads[0].born), (20, true));
    }

    #[test]
    fn the_machine_line_keeps_steal_apart_from_busy() {
        let text = "cpu  10 1 5 100 3 2 4 7 0 0\ncpu0 5 0 2 50 1 1 2 3 0 0\ncpu1 5 1 3 50 2 1 2 4 0 0\nintr 5\n";
        assert_eq!(parse_machine(text), Some(([22, 103, 7, 6], 2)));
    }

    #[test]
    fn children_count_with_the_process_that_is_watched_with_them_and_with_no_other() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let shell = std::process::id();
        let roles = |children| {
            let processes = vec![WatchedProcess { pid: shell, role: Role::Other, children }];
            let read = Watched { processes, ..Watched::default() }.read();
            read.threads.get(&child.id()).map(|thread| thread.role)
        };
        let found = [roles(true), roles(false)];
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [Some(Role::Other), None]);
    }

    #[test]
    fn our_own_busy_thread_shows_the_cpu_it_used() {
        let watched = Watched::default();
        let before = watched.read();
        // Until the CPU is used, not for a time: a busy machine may give little of it.
        let used = || parse_schedstat(&std::fs::read_to_string("/proc/thread-self/schedstat").unwrap()).unwrap()[0];
        let (start, end) = (used(), clock::now() + 10_000_000_000);
        while used() < start + 30_000_000 && clock::now() < end {}
        let delta = difference(&[before, watched.read()]).unwrap();
        assert!(delta.cpu(Role::Profiler) >= Some(20_000_000), "{delta:?}");
    }
}
