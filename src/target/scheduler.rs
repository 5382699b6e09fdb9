//! CPU, runnable wait and time slices per thread, from `/proc/PID/task/TID/schedstat` (kernel documentation
//! scheduler/sched-stats.rst: ns on CPU, ns runnable but waiting, slices) and the machine's from `/proc/stat`.
//! Invariant: a difference is taken between two readings of the same thread (same tid and start time).

use crate::clock::Span;
use crate::words::time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a process is to the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The server under test, with its children where the preset says so.
    Target,
    /// Threads or the process that drive the load.
    Generator,
    /// wireprof's own threads that do not drive load: sampler, scraper.
    Profiler,
    /// Named by the user or the preset (the database behind, say).
    Other,
    /// A descendant of the target that does not count with it: the preset says so, or does not follow children.
    Unfollowed,
}

/// One thread between the two readings; born or gone in between is said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadDelta {
    /// What its process is to the measurement.
    pub role: Role,
    /// The process's name (`comm`, at most 15 bytes).
    pub process: String,
    /// The process.
    pub pid: u32,
    /// The thread's name (`comm`, at most 15 bytes); `?` where it could not be read.
    pub thread: String,
    /// The thread.
    pub tid: u32,
    /// ns on CPU.
    pub cpu: u64,
    /// ns runnable, waiting for a CPU.
    pub runnable: u64,
    /// ns on CPU between the kernel's records of its context switches, for the target's threads where they were
    /// recorded. More exact than `cpu`: at a preemption the scheduler charges the time since the wake-up to the
    /// incoming thread (rq_clock_skip_update in kernel/sched/core.c), some microseconds each on a virtual machine.
    #[serde(default)]
    pub switched: Option<u64>,
    /// The same for each batch of the window, [`crate::load::LoadTrace::batches`]; empty where the records were noted
    /// too seldom for that, or the thread ran less than 1 ms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub switched_by_batch: Vec<u64>,
    /// Times it was given a CPU.
    pub slices: u64,
    /// Born after the first reading (counted from its birth).
    pub born: bool,
    /// Gone before the second reading: its values are those last seen, at most one sampling interval old.
    pub gone: bool,
}

/// `schedstat` is exact but for some 10 us a switch (see [`ThreadDelta::switched`]): it is an account where that is at
/// most this share.
const CHARGED_WRONGLY: f64 = 0.005;
const NANOS_A_SWITCH: f64 = 10_000.0;

impl ThreadDelta {
    /// ns on CPU as exactly as they are known: by the records of context switches, else by `schedstat` where the thread
    /// hardly switched; `None`: neither.
    pub fn accounted(&self) -> Option<u64> {
        let charged = NANOS_A_SWITCH * self.slices as f64 <= CHARGED_WRONGLY * self.cpu as f64;
        self.switched.or(charged.then_some(self.cpu))
    }
}

/// The machine between the two readings, in ns summed over CPUs, from `/proc/stat` (10 ms ticks).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MachineDelta {
    /// CPUs that are online.
    pub cpus: usize,
    /// ns in user and kernel code, interrupts included.
    pub busy: u64,
    /// ns idle, those that wait for a device (`iowait`) included.
    pub idle: u64,
    /// ns taken by the hypervisor.
    pub steal: u64,
    /// ns in hard and soft interrupts, included in `busy`.
    pub interrupts: u64,
    /// CPUs that the server may use at once, by the affinity of its threads and the quotas of its cgroups; `None`: all
    /// of them, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_server: Option<f64>,
}

/// Scheduler statistics of one window, stored as `scheduler.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SchedulerDelta {
    /// The interval between the two readings; not exactly the window's, so it is kept.
    pub span: Span,
    /// All threads of the watched processes and of wireprof, by thread number.
    pub threads: Vec<ThreadDelta>,
    /// `None`: `/proc/stat` could not be read.
    pub machine: Option<MachineDelta>,
}

/// Of the busiest thread's CPU, for another thread to be about as busy: threads with the same work differ by chance.
const AS_BUSY: f64 = 0.75;
/// Of the busiest thread's CPU, for a process beside its own to be at work too.
const AT_WORK: f64 = 0.01;
/// Of the queries under way, for threads or processes to be one for each of them.
const ONE_EACH: f64 = 0.75;

/// More than any machine has.
const MOST_CPUS: u64 = 1 << 16;
/// ns that are taken for an interval that is shorter: readings take their time.
const SHORTEST: u64 = 1_000_000_000;

impl SchedulerDelta {
    /// That its figures can be: what counts as a thread may be a whole process, but is on no more CPUs than there are
    /// anywhere. Sums of all threads then fit into 64 bits.
    ///
    /// # Errors
    /// The thread, and what it would have had.
    pub fn check(&self) -> Result<(), String> {
        let sums = u64::MAX / (self.threads.len() as u64).max(1);
        let most = self.span.nanos().max(SHORTEST).saturating_mul(MOST_CPUS).min(sums);
        let of = |thread: &ThreadDelta| thread.cpu.max(thread.runnable).max(thread.switched.unwrap_or(0));
        match self.threads.iter().find(|thread| of(thread) > most) {
            Some(thread) => Err(format!(
                "thread {} ({}) has {} on CPUs or waiting for one within {}",
                thread.tid,
                thread.thread,
                time(of(thread) as f64),
                time(self.span.nanos() as f64)
            )),
            None => Ok(()),
        }
    }

    /// ns on CPU of all threads of a role; `None` where no thread of the role was read, which is not 0.
    pub fn cpu(&self, role: Role) -> Option<u64> {
        self.sum(role, |thread| thread.cpu)
    }

    /// ns on CPU of all threads of a role by their context switches; `None` where not all of the busy ones were
    /// recorded, or no thread of the role was read.
    pub fn switched(&self, role: Role) -> Option<u64> {
        self.cpu(role)?;
        let threads = self.threads.iter().filter(|t| t.role == role && (t.cpu > 0 || t.switched.is_some()));
        threads.map(|t| t.switched).sum()
    }

    /// ns runnable but waiting of all threads of a role; `None` where no thread of the role was read.
    pub fn runnable(&self, role: Role) -> Option<u64> {
        self.sum(role, |thread| thread.runnable)
    }

    fn sum(&self, role: Role, value: fn(&ThreadDelta) -> u64) -> Option<u64> {
        let mut of_role = self.threads.iter().filter(|thread| thread.role == role).peekable();
        of_role.peek()?;
        Some(of_role.map(value).sum())
    }

    /// The thread of a role that was on CPU longest.
    pub fn busiest(&self, role: Role) -> Option<&ThreadDelta> {
        self.threads.iter().filter(|t| t.role == role).max_by_key(|t| t.cpu)
    }

    /// How many threads of a role were on a CPU about as long as its busiest one, which is among them.
    pub fn as_busy(&self, role: Role) -> usize {
        let most = self.busiest(role).map_or(0, |thread| thread.cpu) as f64;
        self.threads.iter().filter(|t| t.role == role && t.cpu as f64 >= AS_BUSY * most).count()
    }

    /// How many threads of a role serve a query each, so that none of the queries, of which so many are under way on so
    /// many connections, queues for the busiest one: processes of its name, however much each of them has to do, as
    /// where each connection has one of its own; or threads about as busy. `None`: queries share it. One busy thread
    /// alone says nothing of others that there could be, unless there is one connection; 0 connections: not known.
    pub fn one_each(&self, role: Role, under_way: f64, connections: usize) -> Option<usize> {
        let busiest = self.busiest(role)?;
        let at_work = |thread: &&ThreadDelta| {
            let named = thread.role == role && thread.process == busiest.process;
            named && thread.cpu > 0 && thread.cpu as f64 >= AT_WORK * busiest.cpu as f64
        };
        let processes = self.threads.iter().filter(at_work).map(|thread| thread.pid).collect::<BTreeSet<u32>>().len();
        let threads = self.as_busy(role);
        let enough = |count: &usize| *count as f64 >= ONE_EACH * under_way;
        let told = threads > 1 || connections <= 1;
        Some(processes)
            .filter(|count| *count > 1 && enough(count))
            .or(Some(threads).filter(|count| told && enough(count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(cpu: &[u64]) -> SchedulerDelta {
        let thread = |(tid, cpu): (u32, &u64)| ThreadDelta {
            role: Role::Target,
            process: "server".into(),
            pid: 1,
            thread: "worker".into(),
            tid,
            cpu: *cpu,
            runnable: 0,
            switched: None,
            switched_by_batch: Vec::new(),
            slices: 1,
            born: false,
            gone: false,
        };
        let threads = (1..).zip(cpu).map(thread).collect();
        SchedulerDelta { span: Span::new(0, 1_000_000_000), threads, machine: None }
    }

    #[test]
    fn times_that_no_machine_has_room_for_are_refused() {
        assert_eq!(delta(&[900_000_000, 0, 64_000_000_000]).check(), Ok(()), "a process of 64 threads");
        let told = delta(&[5, 1 << 63]).check().unwrap_err();
        assert!(told.starts_with("thread 2 (worker) has "), "{told}");
    }

    #[test]
    fn queries_share_the_busiest_thread_unless_each_has_one() {
        let (each, one) = (delta(&[900, 800, 950, 700, 5]), delta(&[950, 600, 600, 5]));
        assert_eq!((each.as_busy(Role::Target), one.as_busy(Role::Target)), (3, 1));
        let of = |of: &SchedulerDelta, under_way, connections| of.one_each(Role::Target, under_way, connections);
        assert_eq!((of(&each, 4.0, 4), of(&each, 5.0, 5)), (Some(3), None));
        assert_eq!((of(&one, 2.0, 2), of(&one, 1.0, 1)), (None, Some(1)));
        assert_eq!(of(&one, 1.1, 64), None, "an open loop with little under way: one thread serves them all");
        assert_eq!(of(&delta(&[]), 1.0, 1), None);
    }

    #[test]
    fn a_process_that_works_harder_than_the_others_is_none_that_queries_share() {
        let mut of_postgres = delta(&[950, 300, 280, 310, 5]);
        of_postgres.threads.iter_mut().zip(1..).for_each(|(thread, pid)| thread.pid = pid);
        let of = |under_way, connections| of_postgres.one_each(Role::Target, under_way, connections);
        assert_eq!((of(4.0, 4), of(1.1, 64), of(6.0, 6)), (Some(4), Some(4), None));
    }
}
