//! What was sampled beside the target, taken out of its samples. Invariant: every sample is the target's or one other's, and a
//! process's descendants go with it.

use super::assemble::{count_stacks, named_profile};
use crate::clock::Span;
use crate::run::Beside;
use crate::sample::{RawOffCpu, RawSample, RawSamples, RawThread, Sampled, SamplingReport};
use crate::symbol::Symbolizer;
use std::collections::BTreeSet;

/// Takes the samples and waits of the processes beside the target out of `raw`, and makes a profile of each name's samples.
pub fn beside(
    raw: &mut RawSamples,
    report: &SamplingReport,
    span: Span,
    processes: &[(String, Sampled)],
    symbolizer: &mut Symbolizer,
) -> Vec<Beside> {
    let name = |pid: u32| processes.iter().find(|(_, own)| own.pid == pid).map(|(name, _)| name.as_str());
    let of = |thread: &RawThread| name(raw.named.get(&thread.pid).copied().unwrap_or(thread.pid));
    let owners: Vec<Option<&str>> = raw.threads.iter().map(of).collect();
    let names: BTreeSet<&str> = processes.iter().map(|(name, _)| name.as_str()).collect();
    let all = std::mem::take(&mut raw.samples);
    let mut found = Vec::new();
    for process in names {
        let own = |sample: &&RawSample| owners[sample.thread as usize] == Some(process);
        raw.samples = all.iter().filter(own).copied().collect();
        let mut sampling = count_stacks(raw, report.clone(), span);
        let profile = named_profile(raw, &mut sampling, span, symbolizer);
        found.push(Beside { process: process.to_string(), sampling, profile: Some(profile) });
    }
    raw.samples = all.into_iter().filter(|sample| owners[sample.thread as usize].is_none()).collect();
    if let (Some(Ok(followed)), false) = (&mut raw.off_cpu, processes.is_empty()) {
        let RawOffCpu { waits, report } = followed;
        waits.retain(|wait| owners[wait.thread as usize].is_none());
        report.waits = waits.iter().map(|wait| wait.waits).sum();
        report.blocked = waits.iter().map(|wait| wait.blocked).sum();
        report.runnable = waits.iter().map(|wait| wait.runnable).sum();
        report.stacks = waits.iter().map(|wait| wait.stack).collect::<BTreeSet<_>>().len() as u64;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ColumnKind;
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

    fn apart(processes: &[(String, Sampled)]) -> (RawSamples, Vec<Beside>) {
        let (mut raw, report) = (raw(), SamplingReport { period: Some(1_000), ..SamplingReport::default() });
        let mut symbolizer = Symbolizer::new(Default::default());
        let found = beside(&mut raw, &report, Span::new(0, 50), processes, &mut symbolizer);
        (raw, found)
    }

    #[test]
    fn what_was_sampled_beside_the_target_goes_into_a_profile_of_its_own_with_all_its_descendants() {
        let (raw, found) = apart(&[("database".into(), Sampled::family(5))]);
        assert_eq!(raw.samples.iter().map(|sample| sample.thread).collect::<Vec<_>>(), [0]);
        let profile = found[0].profile.as_ref().unwrap();
        // One lies after the window.
        assert_eq!((found[0].sampling.samples, profile.total(profile.column(&ColumnKind::Cpu).unwrap())), (3, 3_000));
        let report = raw.off_cpu.unwrap().unwrap().report;
        assert_eq!((report.waits, report.blocked, report.runnable), (2, 100, 1));
    }

    #[test]
    fn without_such_processes_nothing_is_taken_away() {
        let (raw, found) = apart(&[]);
        assert!(found.is_empty());
        assert_eq!((raw.samples.len(), raw.off_cpu.unwrap().unwrap().report.blocked), (5, 700));
    }
}
