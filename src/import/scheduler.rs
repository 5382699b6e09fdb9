//! Readings of `/proc` made by hand, before and after: threads (`schedstat-*.txt`: tid, name, ns on CPU, ns runnable,
//! slices), other processes (same fields behind name and pid), the machine (`/proc/stat`'s first line) and the
//! process (`/proc/PID/stat`). Invariant: a thread of the first reading only has no second value, so it is left out
//! and counted.

use crate::target::{MachineDelta, Role, ThreadDelta};
use std::collections::HashMap;

/// Length of a tick of /proc/stat in ns (USER_HZ is 100 on every Linux that Rust runs on).
const TICK: u64 = 10_000_000;

/// One thread or process in one reading.
struct Reading<'a> {
    name: &'a str,
    id: u32,
    /// ns on CPU, ns runnable, slices.
    values: [u64; 3],
}

/// The target's threads between two readings; answers also how many were gone in the second.
pub(super) fn threads(before: &str, after: &str, process: &str, pid: u32) -> (Vec<ThreadDelta>, usize) {
    let before: Vec<Reading> = before.lines().filter_map(thread).collect();
    let after: Vec<Reading> = after.lines().filter_map(thread).collect();
    let mut first: HashMap<(u32, &str), [u64; 3]> = before.iter().map(|r| ((r.id, r.name), r.values)).collect();
    let deltas = after.iter().map(|reading| {
        let former = first.remove(&(reading.id, reading.name));
        delta(Role::Target, process, pid, reading, former)
    });
    let deltas = deltas.collect();
    (deltas, first.len())
}

/// Other processes between two readings of `NAME PID ns ns slices [user system]`, the last two in ticks. The first
/// three are the main thread's only (as /proc/PID/schedstat is), so the ticks of the whole process are preferred for
/// its CPU.
pub(super) fn others(before: &str, after: &str) -> Vec<ThreadDelta> {
    let first: HashMap<u32, [u64; 3]> = before.lines().filter_map(other).map(|r| (r.id, r.values)).collect();
    let both = after.lines().filter_map(other).filter_map(|r| first.get(&r.id).map(|former| (*former, r)));
    both.map(|(former, r)| delta(Role::Other, r.name, r.id, &r, Some(former))).collect()
}

fn delta(role: Role, process: &str, pid: u32, reading: &Reading, former: Option<[u64; 3]>) -> ThreadDelta {
    let from = former.unwrap_or_default();
    let [cpu, runnable, slices] = [0, 1, 2].map(|i| reading.values[i].saturating_sub(from[i]));
    ThreadDelta {
        role,
        process: process.to_string(),
        pid,
        thread: reading.name.to_string(),
        tid: reading.id,
        switched: None,
        switched_by_batch: Vec::new(),
        cpu,
        runnable,
        slices,
        born: former.is_none(),
        gone: false,
    }
}

/// `22705 a name with blanks 8955935 19507667 24`
fn thread(line: &str) -> Option<Reading<'_>> {
    let (id, rest) = line.split_once(' ')?;
    let mut words = rest.rsplitn(4, ' ');
    let (slices, runnable, cpu) = (words.next()?, words.next()?, words.next()?);
    let values = [cpu.parse().ok()?, runnable.parse().ok()?, slices.parse().ok()?];
    Some(Reading { name: words.next()?, id: id.parse().ok()?, values })
}

/// `clusterd 22893 32561337 213006882 51 1011 78`
fn other(line: &str) -> Option<Reading<'_>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    let cpu = match number(5).zip(number(6)) {
        Some((user, system)) => user.checked_add(system)?.checked_mul(TICK)?,
        None => number(2)?,
    };
    let values = [cpu, number(3)?, number(4)?];
    Some(Reading { name: words.first()?, id: words.get(1)?.parse().ok()?, values })
}

/// The machine between two readings of `/proc/stat`'s `cpu` line, taken `seconds` apart.
pub(super) fn machine(before: &str, after: &str, seconds: f64) -> Option<MachineDelta> {
    let (before, after) = (ticks(before)?, ticks(after)?);
    let [user, nice, system, idle, iowait, irq, softirq, steal] =
        std::array::from_fn(|i| after[i].saturating_sub(before[i]).saturating_mul(TICK));
    let sum = |parts: &[u64]| parts.iter().try_fold(0, |sum: u64, part| sum.checked_add(*part));
    let (busy, idle) = (sum(&[user, nice, system, irq, softirq])?, sum(&[idle, iowait])?);
    let all = sum(&[busy, idle, steal])?;
    Some(MachineDelta {
        // Ticks of all CPUs over the time between the readings.
        cpus: (all as f64 / 1e9 / seconds).round() as usize,
        busy,
        idle,
        steal,
        interrupts: irq + softirq,
        for_server: None,
    })
}

fn ticks(line: &str) -> Option<[u64; 8]> {
    let mut words = line.lines().find(|l| l.starts_with("cpu "))?.split_whitespace().skip(1);
    let mut values = [0; 8];
    for value in &mut values {
        *value = words.next()?.parse().ok()?;
    }
    Some(values)
}

/// Name and start time (ticks after boot) of `/proc/PID/stat`.
pub(super) fn process(stat: &str) -> Option<(String, u64)> {
    let name = stat.split_once('(')?.1.rsplit_once(')')?;
    // Field 22 of proc(5); the state, field 3, follows the name.
    let started = name.1.split_whitespace().nth(22 - 3)?.parse().ok()?;
    Some((name.0.to_string(), started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_matched_and_the_born_and_gone_are_said() {
        let before = "1 main thread 100 200 3\n2 gone 5 5 5\n";
        let after = "1 main thread 150 260 7\n3 born 9 8 7\n";
        let (threads, gone) = threads(before, after, "server", 1);
        assert_eq!(gone, 1);
        let of = |t: &ThreadDelta| (t.thread.clone(), t.cpu, t.runnable, t.slices, t.born);
        let all: Vec<_> = threads.iter().map(of).collect();
        assert_eq!(all, [("main thread".into(), 50, 60, 4, false), ("born".into(), 9, 8, 7, true)]);
    }

    #[test]
    fn another_process_is_counted_whole_where_its_ticks_are_there() {
        let deltas = others("db 7 100 5 3 20 10\nx 8 100 5 3\n", "db 7 100 5 3 50 30\nx 8 150 5 4\n");
        let of = |t: &ThreadDelta| (t.process.clone(), t.cpu, t.slices);
        assert_eq!(deltas.iter().map(of).collect::<Vec<_>>(), [("db".into(), 500_000_000, 0), ("x".into(), 50, 1)]);
    }

    #[test]
    fn the_machine_is_counted_in_ticks_of_all_its_cpus() {
        let machine = machine("cpu  0 0 0 0 0 0 0 0 0 0\n", "cpu  100 10 50 30 5 1 2 2 0 0\n", 1.0).unwrap();
        assert_eq!((machine.cpus, machine.busy, machine.idle), (2, 1_630_000_000, 350_000_000));
        assert_eq!((machine.steal, machine.interrupts), (20_000_000, 30_000_000));
    }

    #[test]
    fn ticks_beyond_any_clock_are_not_read() {
        let most = u64::MAX;
        assert!(machine("cpu  0 0 0 0 0 0 0 0\n", &format!("cpu  {most} {most} 0 0 0 0 0 0\n"), 1.0).is_none());
        let deltas = others("db 7 100 5 3 0 0\n", &format!("db 7 150 5 3 {most} 1\n"));
        assert!(deltas.is_empty(), "{}", deltas[0].cpu);
    }

    #[test]
    fn a_process_name_may_hold_parentheses() {
        let stat = format!("22658 (a (b) c) S {}763461 1", "0 ".repeat(18));
        assert_eq!(process(&stat), Some(("a (b) c".to_string(), 763_461)));
    }
}
