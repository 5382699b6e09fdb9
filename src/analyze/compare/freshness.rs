//! Whether a run's reads saw the writes that were acknowledged before them: the windows' counts taken together.
//! Invariant: a run without a probe has no answer, not a clean one.

use crate::check::Check;
use crate::run::Run;
use serde::Serialize;

/// All windows of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// Number of acknowledged writes of the probe.
    pub writes: u64,
    /// Number of reads of the probe that followed an acknowledged write.
    pub reads: u64,
    /// Number of reads that missed the write that was acknowledged before they began.
    pub stale: u64,
    /// The readers' isolation level permits that, in every window.
    pub permitted: bool,
    /// The readers' isolation level, as the server names it; `None`: not known in any window.
    pub isolation: Option<String>,
    /// The first stale read in words; `None` where there is none.
    pub first: Option<String>,
}

impl Freshness {
    /// Stale reads that nothing permits.
    pub fn wrong(&self) -> bool {
        self.stale > 0 && !self.permitted
    }
}

/// `None` where no window was probed.
pub fn freshness(run: &Run) -> Option<Freshness> {
    let checks = run.windows.iter().flat_map(|window| &window.checks);
    checks.fold(None, |found: Option<Freshness>, check| {
        let Check::StaleReads { writes, reads, stale, permitted, isolation, first } = check else { return found };
        let mut all = found.unwrap_or(Freshness { permitted: true, ..Freshness::default() });
        all.writes += writes;
        all.reads += reads;
        all.stale += stale;
        all.permitted &= permitted;
        all.isolation = all.isolation.or_else(|| isolation.clone());
        all.first = all.first.or_else(|| first.clone());
        Some(all)
    })
}
