//! Figures of instruments that saw nothing of the server are taken out of a window when it is read. Invariant: the
//! stored files keep what was recorded; whoever reads a run finds such a part missing, with the reason.

use super::{Missing, Part, Window};
use crate::check::{Blind, Seen};
use crate::target::{Role, SchedulerDelta};

impl Window {
    /// What the instruments saw of the target.
    pub fn seen(&self) -> Seen {
        let scheduler = self.scheduler.as_ref().filter(|scheduler| scheduler.span.nanos() > 0);
        let accounted = |role| scheduler.and_then(|scheduler| scheduler.cpu(role));
        let report = self.sampling.as_ref();
        Seen {
            // What counts something else than queries tells nothing of the CPU that one takes.
            completed: if self.counted() { self.load.completed } else { 0 },
            nanos: scheduler.map_or(self.facts.span.nanos(), |scheduler| scheduler.span.nanos()),
            accounted: accounted(Role::Target),
            children: accounted(Role::Unfollowed),
            samples: self.samples(),
            period: report.and_then(|report| report.period.or_else(|| 1_000_000_000u64.checked_div(report.frequency))),
            // One that has begun and not ended is a wait too.
            waits: self.off_cpu.as_ref().map(|off_cpu| off_cpu.report.waits.max(u64::from(self.waited()))),
            restricted: report.and_then(|report| report.per_thread().cloned()),
        }
    }

    /// Samples of the target; `None` where they are not counted, though there may be some.
    fn samples(&self) -> Option<u64> {
        let counted = self.sampling.as_ref().filter(|_| self.facts.lacks(&Part::SampleCounts).is_none());
        let there = self.profile.as_ref().is_some_and(|profile| !profile.samples.is_empty());
        counted.map(|report| report.samples).filter(|samples| *samples > 0 || !there)
    }

    /// Whether there is any time off CPU.
    fn waited(&self) -> bool {
        self.off_cpu.as_ref().is_some_and(|off_cpu| {
            let there = off_cpu.profile.as_ref().is_some_and(|profile| !profile.samples.is_empty());
            there || off_cpu.report.blocked + off_cpu.report.runnable > 0
        })
    }

    /// Takes out what was not measured, though a file says 0.
    pub(super) fn without_unseen(mut self) -> Window {
        let seen = self.seen();
        let mut blind = seen.blind();
        // A profile without a sample tells nothing of a server that answered, whether or not one was to be expected.
        if seen.samples == Some(0) && seen.completed > 0 && !blind.contains(&Blind::Samples) {
            self.lack(Part::Profile, "no sample fell on the server: it used too little CPU", "measure longer windows");
            (self.profile, self.sampling) = (None, None);
        }
        let cause = seen.cause();
        for instrument in blind.drain(..) {
            let part = match instrument {
                Blind::Accounting => Part::TargetCpu,
                Blind::Samples => Part::Profile,
                Blind::Waits => Part::OffCpuStacks,
            };
            self.lack(part, &cause, seen.remedy());
            match instrument {
                Blind::Accounting => self.scheduler = self.scheduler.map(without_target),
                Blind::Samples => (self.profile, self.sampling) = (None, None),
                Blind::Waits => self.off_cpu = None,
            }
        }
        self
    }

    fn lack(&mut self, what: Part, why: &str, remedy: &str) {
        if self.facts.lacks(&what).is_none() {
            self.facts.missing.push(Missing { what, why: why.into(), remedy: remedy.into() });
        }
    }
}

/// What is accounted to the process that is not the server stays accounted, as somebody's.
fn without_target(mut scheduler: SchedulerDelta) -> SchedulerDelta {
    for thread in scheduler.threads.iter_mut().filter(|thread| thread.role == Role::Target) {
        thread.role = Role::Unfollowed;
    }
    scheduler
}
