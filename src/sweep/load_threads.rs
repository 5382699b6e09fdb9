//! How many load threads a level needs: found in the warm-up of its first window, and used for all its windows.
//! Invariant: one level has one number, whatever is measured at it, so that windows, replicates and sides are alike.

use super::window::{Asked, pause, watch_generator};
use super::{Event, Sources, Stop};
use crate::clock;
use crate::load::{Load, ThreadChoice, WhyThreads, most_threads};
use crate::target::{Role, SchedulerDelta, Snapshot, allowed_cpus, difference, idle};
use anyhow::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// Below this share of its time the busiest load thread is no limit: the check of the generator's CPU warns at 0.85,
/// and the instruments of a window, which the warm-up has not, take some of the time between.
const ENOUGH: f64 = 0.70;
/// Of the CPUs that may be used: below it none is idle. A machine that is busier is one that the checks warn of.
const FULL: f64 = 0.05;
/// On a large machine so much of one CPU is room for a thread, however small a share of all it is.
const FULL_CPUS: f64 = 0.5;
/// A reading is as long as half the warm-up, within these bounds in ns: the kernel counts idle time in ticks of 10 ms.
const SHORTEST: u64 = 200_000_000;
const LONGEST: u64 = 1_000_000_000;
/// How often other hosts are asked whether they have found theirs, in ns.
const SETTLING: u64 = 20_000_000;

/// The numbers that were found, by level; one for all arms that are measured by turns.
#[derive(Debug, Default)]
pub struct ThreadBook(BTreeMap<usize, (usize, ThreadChoice)>);

impl ThreadBook {
    /// The number for a level, and how it came about; `None`: it is still to be found, and this one is where to begin,
    /// which is the number of the next lower level.
    fn of(&self, level: usize) -> (usize, Option<ThreadChoice>) {
        let below = self.0.range(..=level).next_back();
        below.map_or((1, None), |(found, (threads, choice))| (*threads, (*found == level).then_some(*choice)))
    }
}

/// What a reading of the load threads and of the machine says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    /// Share of its time that the busiest load thread was on a CPU or waited for one.
    busiest: f64,
    /// The sum of that over all load threads.
    busy: f64,
    /// CPUs that the load threads may use and that were idle, on average.
    idle: f64,
}

/// What follows from a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    /// So many threads from now on.
    More(usize),
    /// As many as there are.
    Keep(WhyThreads),
}

/// Decides whether `threads` suffice for so many clients on so many CPUs.
fn decide(reading: Option<Reading>, threads: usize, clients: usize, cpus: usize) -> Decision {
    let Some(Reading { busiest, busy, idle }) = reading else { return Decision::Keep(WhyThreads::NotMeasured) };
    if busiest < ENOUGH {
        return Decision::Keep(WhyThreads::Enough);
    }
    if threads >= clients {
        return Decision::Keep(WhyThreads::OnePerClient);
    }
    if threads >= cpus {
        return Decision::Keep(WhyThreads::OnePerCpu);
    }
    if idle < (FULL * cpus as f64).min(FULL_CPUS) {
        return Decision::Keep(WhyThreads::CpusFull);
    }
    // As many as the present load would keep below the bound, but no more than there is idle CPU for.
    let wanted = (busy / ENOUGH).ceil() as usize;
    let room = threads + (idle.ceil() as usize).max(1);
    Decision::More(wanted.clamp(threads + 1, room).min(clients).min(cpus))
}

/// Reads between two instants.
fn reading(scheduler: &SchedulerDelta, idle: Option<u64>) -> Option<Reading> {
    let nanos = scheduler.span.nanos() as f64;
    let threads = scheduler.threads.iter().filter(|thread| thread.role == Role::Generator);
    let busy: Vec<f64> = threads.map(|thread| (thread.cpu + thread.runnable) as f64 / nanos).collect();
    let busiest = busy.iter().copied().reduce(f64::max)?;
    Some(Reading { busiest, busy: busy.iter().sum(), idle: idle? as f64 / nanos })
}

/// Gives a load that has not begun the number of its level, or the one to begin with.
///
/// # Errors
/// Too many open files or threads for this process.
pub fn begin(book: &ThreadBook, load: &mut dyn Load, level: usize) -> Result<()> {
    let Some(present) = load.adjustable() else { return Ok(()) };
    let (threads, choice) = book.of(level);
    let threads = threads.min(most_threads(level));
    if threads != present {
        load.use_threads(threads)?;
    }
    choice.into_iter().for_each(|choice| load.chosen(choice));
    Ok(())
}

/// The warm-up but for `spared` of it, which others use under the same load. Where the level's number of load threads
/// is still to be found, it is read at the end of the warm-up how busy they are; where there are more from then on, the
/// warm-up begins anew.
///
/// # Errors
/// What ends the window; see [`pause`].
pub async fn warm_up(
    sources: &mut Sources,
    load: &mut dyn Load,
    book: &mut ThreadBook,
    asked: &mut Asked<'_>,
    spared: Duration,
) -> Result<()> {
    let (level, stop) = (asked.id.level, asked.stop);
    let warmup = asked.timing.warmup.saturating_sub(spared).as_nanos() as u64;
    loop {
        let began = clock::now();
        let Some(threads) = load.adjustable().filter(|_| book.of(level).1.is_none()) else {
            pause(load, sources, began + warmup, stop).await?;
            return settle(sources, load, stop).await;
        };
        let (length, cpus) = ((warmup / 2).clamp(SHORTEST, LONGEST), allowed_cpus());
        pause(load, sources, began + warmup.saturating_sub(length), stop).await?;
        let read = |sources: &Sources| (sources.processes.watched.read(), idle(&cpus));
        let before = read(sources);
        pause(load, sources, clock::now() + length, stop).await?;
        let found = between(before, read(sources));
        match decide(found, threads, level, most_threads(usize::MAX)) {
            Decision::More(more) => {
                load.use_threads(more)?;
                watch_generator(sources, &load.thread_ids());
            }
            Decision::Keep(why) => {
                let (busiest, idle_cpus) = (found.map(|found| found.busiest), found.map(|found| found.idle));
                let choice = ThreadChoice { why, busiest, idle_cpus };
                book.0.insert(level, (threads, choice));
                load.chosen(choice);
                // That one thread suffices is nothing to tell while a measurement runs.
                if threads > 1 || why != WhyThreads::Enough {
                    (asked.tell)(Event::Noted(&format!("level {level}: {}", choice.told(threads))));
                }
                return Ok(());
            }
        }
    }
}

/// Waits for what other hosts find in their warm-up.
async fn settle(sources: &Sources, load: &dyn Load, stop: &Stop) -> Result<()> {
    while !load.settled() {
        pause(load, sources, clock::now() + SETTLING, stop).await?;
    }
    Ok(())
}

fn between(before: (Snapshot, Option<u64>), after: (Snapshot, Option<u64>)) -> Option<Reading> {
    let idle = before.1.zip(after.1).map(|(before, after)| after.saturating_sub(before));
    reading(&difference(&[before.0, after.0])?, idle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use WhyThreads::{CpusFull, Enough, NotMeasured, OnePerClient, OnePerCpu};

    fn with(busiest: f64, busy: f64, idle: f64) -> Option<Reading> {
        Some(Reading { busiest, busy, idle })
    }

    #[test]
    fn threads_are_added_until_none_is_busy_or_nothing_is_left_to_run_them() {
        for (reading, threads, clients, cpus, expected) in [
            (with(0.30, 0.30, 3.0), 1, 64, 8, Decision::Keep(Enough)),
            (with(0.69, 0.69, 3.0), 1, 64, 8, Decision::Keep(Enough)),
            (with(0.70, 0.70, 3.0), 1, 64, 8, Decision::More(2)),
            (with(0.99, 0.99, 0.3), 1, 64, 2, Decision::More(2)),
            (with(0.99, 0.99, 0.05), 1, 64, 2, Decision::Keep(CpusFull)),
            (with(0.99, 1.98, 0.5), 2, 64, 2, Decision::Keep(OnePerCpu)),
            (with(0.99, 0.99, 3.0), 1, 1, 8, Decision::Keep(OnePerClient)),
            (with(0.99, 3.96, 9.0), 4, 5, 16, Decision::More(5)),
            // 3.96 / 0.7 = 5.7 threads would do, and there is idle CPU for two more, or for one.
            (with(0.99, 3.96, 9.0), 4, 64, 16, Decision::More(6)),
            (with(0.99, 3.96, 0.8), 4, 64, 16, Decision::More(5)),
            // One thread is busy though the others are not: its share of the clients becomes smaller with one more.
            (with(0.75, 1.0, 4.0), 4, 64, 16, Decision::More(5)),
            // Half a CPU is room, though it is less than a twentieth of 64.
            (with(0.99, 0.99, 0.6), 1, 64, 64, Decision::More(2)),
            (with(0.99, 0.99, 0.4), 1, 64, 64, Decision::Keep(CpusFull)),
            (None, 3, 64, 8, Decision::Keep(NotMeasured)),
        ] {
            assert_eq!(decide(reading, threads, clients, cpus), expected, "{reading:?} of {threads}");
        }
    }

    #[test]
    fn however_busy_they_are_the_number_is_settled_in_a_few_readings() {
        let (mut threads, mut readings) = (1, 0);
        while let Decision::More(more) = decide(with(1.0, threads as f64, 200.0), threads, 1000, 64) {
            assert!(more > threads && more <= 64);
            (threads, readings) = (more, readings + 1);
        }
        assert!(threads == 64 && readings <= 12, "{threads} after {readings}");
    }

    #[test]
    fn a_level_begins_with_the_number_of_the_level_below_and_keeps_what_was_found() {
        let choice = ThreadChoice { why: Enough, busiest: Some(0.5), idle_cpus: Some(1.0) };
        let mut book = ThreadBook::default();
        assert_eq!(book.of(16), (1, None));
        book.0.insert(64, (4, choice));
        book.0.insert(4, (2, choice));
        assert_eq!(book.of(1), (1, None));
        assert_eq!(book.of(16), (2, None), "not that of the level above");
        assert_eq!(book.of(64), (4, Some(choice)));
        assert_eq!(book.of(256), (4, None));
    }

    #[test]
    fn what_a_thread_waits_for_a_cpu_counts_as_busy_and_idle_time_that_is_not_told_is_not_0() {
        let watched = crate::target::ThreadDelta {
            role: Role::Generator,
            process: "wireprof".into(),
            pid: 1,
            thread: "wireprof-load-0".into(),
            tid: 2,
            cpu: 300,
            switched: None,
            switched_by_batch: Vec::new(),
            runnable: 200,
            slices: 1,
            born: false,
            gone: false,
        };
        let other = crate::target::ThreadDelta { role: Role::Profiler, cpu: 900, tid: 3, ..watched.clone() };
        let second = crate::target::ThreadDelta { cpu: 100, runnable: 0, tid: 4, ..watched.clone() };
        let span = clock::Span::new(0, 1000);
        let scheduler = SchedulerDelta { span, threads: vec![watched, other.clone(), second], machine: None };
        assert_eq!(reading(&scheduler, Some(1500)), with(0.5, 0.6, 1.5));
        assert_eq!(reading(&scheduler, None), None);
        let without = SchedulerDelta { threads: vec![other], ..scheduler };
        assert_eq!(reading(&without, Some(1500)), None);
    }
}
