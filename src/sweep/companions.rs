//! The companions: processes sampled besides the target, in the same windows. Invariant: every sample, and all CPU
//! that is accounted for, is the target's or one companion's, and a process's descendants go with it.

use crate::clock::Span;
use crate::run::{CpuAccount, ThreadAccount};
use crate::sample::{RawOffCpu, RawSample, RawSamples, RawThread, Sampled};
use crate::target::{Role, SchedulerDelta, ThreadDelta};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};

/// The companion that a process is, or descends from; of two of one name, both are one.
fn owner<'c>(raw: &RawSamples, companions: &'c [(String, Sampled)], pid: u32) -> Option<&'c str> {
    let named = raw.named.get(&pid).copied().unwrap_or(pid);
    companions.iter().find(|(_, own)| own.pid == named).map(|(name, _)| name.as_str())
}

/// CPU of the companions' threads within the window, and in its batches, which end so many ns after its start, by their
/// names: from the records of context switches, which tell
/// of threads that began or ended too; of a thread that ran without a switch, from `schedstat`. Nothing where switches
/// were not recorded.
pub fn accounts(
    raw: &RawSamples,
    companions: &[(String, Sampled)],
    (span, ends): (Span, &[u64]),
    scheduler: Option<&SchedulerDelta>,
) -> BTreeMap<String, CpuAccount> {
    let Some(on_cpu) = raw.on_cpu_within(span).filter(|_| !companions.is_empty()) else { return BTreeMap::new() };
    let read: FxHashMap<u32, &ThreadDelta> = scheduler
        .into_iter()
        .flat_map(|scheduler| scheduler.threads.iter().filter(|thread| thread.role == Role::Other))
        .map(|thread| (thread.tid, thread))
        .collect();
    let sampled: FxHashMap<u32, &RawThread> = raw.threads.iter().map(|thread| (thread.tid, thread)).collect();
    let switched = on_cpu.iter().filter_map(|(tid, cpu)| Some((*raw.process_of.get(tid)?, *tid, *cpu)));
    let unswitched = read.values().filter(|thread| !on_cpu.contains_key(&thread.tid)).filter_map(|thread| {
        let scale = span.seconds() / scheduler?.span.seconds();
        Some((thread.pid, thread.tid, (thread.accounted()? as f64 * scale) as u64))
    });
    let mut parts = raw.on_cpu_by_part(span, ends);
    let mut found: BTreeMap<String, CpuAccount> = BTreeMap::new();
    for (pid, tid, cpu) in switched.chain(unswitched).filter(|(_, _, cpu)| *cpu > 0) {
        let Some(name) = owner(raw, companions, pid) else { continue };
        let names = read.get(&tid).map(|thread| (&thread.process, &thread.thread));
        let names = names.or_else(|| sampled.get(&tid).map(|thread| (&thread.process, &thread.thread)));
        let (process, thread) = names.map_or(("?".into(), "?".into()), |(a, b)| (a.clone(), b.clone()));
        let account = found.entry(name.into()).or_insert(CpuAccount { span, threads: Vec::new() });
        let (by_batch, slices) = (parts.remove(&tid).unwrap_or_default(), read.get(&tid).map(|thread| thread.slices));
        account.threads.push(ThreadAccount { process, pid, thread, tid, cpu, by_batch, slices });
    }
    found.values_mut().for_each(|account| account.threads.sort_by_key(|thread| (thread.pid, thread.tid)));
    found
}

/// Divides a recording: the target's samples and waits, and the samples of each companion by its name (companions of
/// one name count together). Waits of companions are left out.
pub fn split(raw: RawSamples, companions: &[(String, Sampled)]) -> (RawSamples, Vec<(String, RawSamples)>) {
    if companions.is_empty() {
        return (raw, Vec::new());
    }
    let owners: Vec<Option<&str>> = raw.threads.iter().map(|thread| owner(&raw, companions, thread.pid)).collect();
    let owned_by = |process: Option<&str>| -> Vec<RawSample> {
        raw.samples.iter().filter(|sample| owners[sample.thread as usize] == process).copied().collect()
    };
    let names: BTreeSet<&str> = companions.iter().map(|(name, _)| name.as_str()).collect();
    let share = |process: &str| RawSamples {
        span: raw.span,
        modules: raw.modules.clone(),
        threads: raw.threads.clone(),
        stacks: raw.stacks.clone(),
        samples: owned_by(Some(process)),
        named: raw.named.clone(),
        ..RawSamples::default()
    };
    let found = names.into_iter().map(|process| (process.to_string(), share(process))).collect();
    let samples = owned_by(None);
    let off_cpu = raw.off_cpu.map(|followed| followed.map(|followed| waits_of_target(followed, &owners)));
    (RawSamples { samples, off_cpu, ..raw }, found)
}

/// The waits of threads that no companion owns, and their sums.
fn waits_of_target(followed: RawOffCpu, owners: &[Option<&str>]) -> RawOffCpu {
    let RawOffCpu { mut waits, mut report } = followed;
    waits.retain(|wait| owners[wait.thread as usize].is_none());
    report.waits = waits.iter().map(|wait| wait.waits).sum();
    report.blocked = waits.iter().map(|wait| wait.blocked).sum();
    report.runnable = waits.iter().map(|wait| wait.runnable).sum();
    report.stacks = waits.iter().map(|wait| wait.stack).collect::<BTreeSet<_>>().len() as u64;
    RawOffCpu { waits, report }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{OffCpuReport, OnCpu, RawStack, RawWait};

    /// A target (1), a database (5) and a backend born of it (6), each with samples and a wait.
    fn raw() -> RawSamples {
        let thread = |pid| RawThread { process: "p".into(), pid, thread: "t".into(), tid: pid };
        let sample = |at, thread| RawSample { at, thread, stack: 0, weight: 1_000, late: false };
        let wait = |thread, blocked| RawWait { thread, stack: 0, waits: 2, blocked, runnable: 1 };
        let waits = vec![wait(0, 100), wait(1, 200), wait(2, 400)];
        let report = OffCpuReport { waits: 6, blocked: 700, runnable: 3, stacks: 1, ..OffCpuReport::default() };
        RawSamples {
            threads: [1, 5, 6].map(thread).into(),
            stacks: vec![RawStack { addresses: Vec::new(), incomplete: None }],
            samples: vec![sample(1, 0), sample(2, 1), sample(3, 2), sample(4, 2), sample(99, 2)],
            named: [(6, 5)].into_iter().collect(),
            off_cpu: Some(Ok(RawOffCpu { waits, report })),
            ..RawSamples::default()
        }
    }

    #[test]
    fn what_was_sampled_beside_the_target_is_a_recording_of_its_own_with_all_its_descendants() {
        let (target, companions) = split(raw(), &[("database".into(), Sampled::family(5))]);
        let threads = |raw: &RawSamples| raw.samples.iter().map(|sample| sample.thread).collect::<Vec<_>>();
        assert_eq!(threads(&target), [0]);
        assert_eq!((companions.len(), companions[0].0.as_str()), (1, "database"));
        assert_eq!(threads(&companions[0].1), [1, 2, 2, 2]);
        assert!(companions[0].1.off_cpu.is_none());
        let report = target.off_cpu.unwrap().unwrap().report;
        assert_eq!((report.waits, report.blocked, report.runnable), (2, 100, 1));
    }

    #[test]
    fn cpu_of_companions_is_that_of_their_switches_with_processes_that_ended_and_of_schedstat_without_any() {
        let note = |at, ran: [u64; 3]| OnCpu { at, threads: [1, 5, 6].into_iter().zip(ran).collect() };
        let mut raw = raw();
        raw.on_cpu = Some(vec![note(0, [0, 0, 0]), note(1_000, [700, 400, 60])]);
        raw.process_of = [(1, 1), (5, 5), (6, 6)].into_iter().collect();
        // 7 spins without a switch, 8 switches and has no record, 9 is the target's, 6 ended before it was read.
        let thread = |tid, role, slices| ThreadDelta {
            role,
            process: "db".into(),
            pid: if tid == 5 { 5 } else { 6 },
            thread: format!("t{tid}"),
            tid,
            cpu: 1_000_000_000,
            runnable: 0,
            switched: None,
            switched_by_batch: Vec::new(),
            slices,
            born: false,
            gone: false,
        };
        let other = |tid, slices| thread(tid, Role::Other, slices);
        let threads = vec![other(5, 9), other(7, 3), other(8, 1_000_000), thread(9, Role::Target, 1)];
        let scheduler = SchedulerDelta { span: Span::new(0, 2_000), threads, machine: None };
        let companions = [("database".into(), Sampled::family(5))];
        let found = accounts(&raw, &companions, (Span::new(0, 1_000), &[]), Some(&scheduler));
        let threads: Vec<_> = found["database"].threads.iter().map(|t| (t.pid, t.tid, t.cpu, &*t.thread)).collect();
        assert_eq!(threads, [(5, 5, 400, "t5"), (6, 6, 60, "t"), (6, 7, 500_000_000, "t7")]);
        let half = accounts(&raw, &companions, (Span::new(500, 1_000), &[]), None);
        assert_eq!((found.len(), half["database"].cpu()), (1, 230));
        raw.on_cpu = None;
        assert!(accounts(&raw, &companions, (Span::new(0, 1_000), &[]), Some(&scheduler)).is_empty());
    }

    #[test]
    fn without_such_processes_nothing_is_taken_away() {
        let (target, companions) = split(raw(), &[]);
        assert!(companions.is_empty());
        assert_eq!((target.samples.len(), target.off_cpu.unwrap().unwrap().report.blocked), (5, 700));
    }
}
