//! The CPU that waits take: going to wait, spinning, waking others, and what the kernel does meanwhile, such as writing
//! what is flushed. Invariant: CPU of threads that handle queries counts for the wait that its stack tells, where that
//! wait is a cause, and then for no function.

use super::blocked::OffCpuWaits;
use super::facts::Facts;
use super::owners::{ByWait, Naming, Owner, Within, owners};
use super::queries_wait::CAUSES;
use crate::analyze::time::Waiting;
use crate::preset::WaitKind;
use std::collections::BTreeMap;

/// Off the CPU there, of the CPU: what blocks for less is work that seldom waits.
const OFF_CPU: f64 = 0.1;

/// Who is asked, and how names and waits are told.
#[derive(Clone, Copy)]
pub(super) struct WaitCpu<'a> {
    pub naming: &'a Naming,
    pub waits: &'a OffCpuWaits<'a>,
}

impl WaitCpu<'_> {
    /// The kinds of waits of a level that are causes and use CPU, each with the owners of that CPU, those with the
    /// most first.
    pub fn of(self, facts: &Facts) -> BTreeMap<WaitKind, Vec<Owner>> {
        if facts.workers.is_some() {
            return BTreeMap::new();
        }
        let waits = CAUSES.into_iter().filter_map(|(kind, _)| {
            let blocked = facts.waited(self.waits, kind)?;
            let runnable: f64 = facts.entries(self.waits, kind).iter().map(|(_, waited)| waited.runnable).sum();
            let found = self.at(facts, kind);
            (!found.is_empty() && blocked + runnable >= OFF_CPU * total(&found)).then_some((kind, found))
        });
        waits.collect()
    }

    /// Owners of the CPU of one kind of wait at a level, however long it blocks.
    pub fn at(self, facts: &Facts, kind: WaitKind) -> Vec<Owner> {
        self.owners(facts, true, |wait, handles| handles && wait == Some(kind))
    }

    /// Owners of all CPU of a level but that of these kinds of waits.
    pub fn outside(self, facts: &Facts, kinds: &BTreeMap<WaitKind, Vec<Owner>>) -> Vec<Owner> {
        self.owners(facts, false, |wait, handles| !(handles && wait.is_some_and(|kind| kinds.contains_key(&kind))))
    }

    /// Of what `counts`, by the wait that the stack tells and whether the thread handles queries.
    fn owners(
        self,
        facts: &Facts,
        named_as_waits: bool,
        counts: impl Fn(Option<WaitKind>, bool) -> bool,
    ) -> Vec<Owner> {
        let handles = |tid| facts.blocked.as_ref().is_some_and(|blocked| blocked.tids.contains(&tid));
        let counts = |waiting: Waiting, tid: u32| counts(waiting.entry.map(|_| waiting.kind), handles(tid));
        let by = ByWait { kinds: self.waits.kinds(), counts: &counts, named_as_waits };
        owners(self.naming, &facts.windows, Within::Waits(&by))
    }
}

/// ns a query of all of them.
pub(super) fn total(owners: &[Owner]) -> f64 {
    owners.iter().map(|owner| owner.cost.value).sum()
}
