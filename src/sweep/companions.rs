//! The companions: processes sampled besides the target, in the same windows. Invariant: every sample is the target's
//! or one companion's, and a process's descendants go with it.

use crate::sample::{RawOffCpu, RawSample, RawSamples, RawThread, Sampled};
use std::collections::BTreeSet;

/// Divides a recording: the target's samples and waits, and the samples of each companion by its name (companions of
/// one name count together). Waits of companions are left out.
pub fn split(raw: RawSamples, companions: &[(String, Sampled)]) -> (RawSamples, Vec<(String, RawSamples)>) {
    if companions.is_empty() {
        return (raw, Vec::new());
    }
    let name = |pid: u32| companions.iter().find(|(_, own)| own.pid == pid).map(|(name, _)| name.as_str());
    let of = |thread: &RawThread| name(raw.named.get(&thread.pid).copied().unwrap_or(thread.pid));
    let owners: Vec<Option<&str>> = raw.threads.iter().map(of).collect();
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
    use crate::sample::{OffCpuReport, RawStack, RawWait};

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
    fn without_such_processes_nothing_is_taken_away() {
        let (target, companions) = split(raw(), &[]);
        assert!(companions.is_empty());
        assert_eq!((target.samples.len(), target.off_cpu.unwrap().unwrap().report.blocked), (5, 700));
    }
}
