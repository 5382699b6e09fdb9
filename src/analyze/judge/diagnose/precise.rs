//! Which findings say the same, and how much of the latency all of them leave. Invariant: of two confident findings on
//! one wait the more precise one stays, where its effect is at least half as large; nothing is counted twice in what
//! is left, for all removals are asked of the network at once.

use super::chain::Ends;
use super::{Case, Confidence, Finding, Removal, ResourceKind};
use crate::preset::Cause;

/// A more precise finding of so much of the effect says the same.
const SAYS_THE_SAME: f64 = 0.5;

/// A finding with what it was judged by.
pub(super) struct Judged {
    pub finding: Finding,
    pub removal: Option<Removal>,
    /// Of a wait in the server's hands: at what it ends.
    pub ends: Option<Ends>,
}

impl Judged {
    pub fn effect(&self) -> f64 {
        self.finding.effect.map_or(0.0, |effect| effect.latency)
    }

    fn is_in_hand(&self) -> bool {
        matches!(self.finding.cause, Cause::Wait | Cause::Queued)
    }

    fn names(&self) -> Option<&str> {
        self.finding.named.first().map(|named| named.name.as_str())
    }
}

/// Causes that say more of a wait that ends behind the server.
fn of_behind(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::DatabaseService
            | Cause::DatabasePath
            | Cause::DatabaseStarved
            | Cause::BatchQueue
            | Cause::Slots
            | Cause::Pool
    )
}

/// Causes that say more of a wait for others' work.
fn of_work(cause: Cause) -> bool {
    matches!(cause, Cause::CpuFunction | Cause::SaturatedThread | Cause::Allocator)
}

/// Causes that hold the runtime's workers, which ready tasks wait for.
fn of_workers(cause: Cause) -> bool {
    of_work(cause) || matches!(cause, Cause::Lock | Cause::BlockedRuntime | Cause::Sleep)
}

/// Whether the other finding is on the same wait and says more of it.
fn covers(other: &Judged, wait: &Judged) -> bool {
    let cause = other.finding.cause;
    let ends = wait.ends.unwrap_or_default();
    let named = wait.names().is_some_and(|name| other.finding.named.iter().any(|named| named.name == name));
    match wait.finding.cause {
        Cause::Queued => of_workers(cause),
        _ if named => true,
        _ if of_behind(cause) => ends.behind >= ends.total() / 2.0,
        _ if of_work(cause) => ends.cpu >= ends.total() / 2.0,
        _ => false,
    }
}

/// Leaves out waits in the server's hands of which confident findings say more, by half of the effect at least. One
/// that ends behind the server and of which such a finding says less is put after it: what any round trip takes is
/// nothing that the server could mend. The others keep their place by effect.
pub(super) fn most_precise(judged: Vec<Judged>) -> Vec<Judged> {
    let (in_hand, mut kept): (Vec<Judged>, Vec<Judged>) = judged.into_iter().partition(Judged::is_in_hand);
    for wait in in_hand {
        let confident = |other: &&Judged| other.finding.confidence == Confidence::Confident && !other.is_in_hand();
        let covering = kept.iter().filter(confident).filter(|other| covers(other, &wait));
        if covering.map(Judged::effect).fold(0.0, f64::max) < SAYS_THE_SAME * wait.effect() || wait.effect() == 0.0 {
            kept.push(wait);
        }
    }
    kept
}

/// The effect by which it is put in order.
pub(super) fn order_by(wait: &Judged, all: &[Judged]) -> f64 {
    let confident = |other: &&Judged| other.finding.confidence == Confidence::Confident;
    let behind = all.iter().filter(confident).filter(|other| of_behind(other.finding.cause) && covers(other, wait));
    match wait.finding.cause {
        Cause::Wait => behind.map(Judged::effect).map(f64::next_down).fold(wait.effect(), f64::min),
        _ => wait.effect(),
    }
}

/// Share of the latency that stays without all of these causes, 0..1; `None`: effects cannot be told.
pub(super) fn left(case: &Case, judged: &[Judged]) -> Option<f64> {
    let network = case.network.as_ref()?;
    let counts = |judged: &&Judged| {
        let state = matches!(judged.finding.cause, Cause::CpuSaturated | Cause::NoSingleCause);
        judged.finding.confidence == Confidence::Confident && !state
    };
    let removals = judged.iter().filter(counts).filter_map(|judged| judged.removal.as_ref());
    let all = removals.fold(Removal::default(), together);
    Some(1.0 - network.effect(&all) / case.facts.latency)
}

/// Two removals at once.
fn together(first: Removal, second: &Removal) -> Removal {
    let lower_cpu = match (first.lower_cpu, second.lower_cpu) {
        (None, None) => None,
        (one, other) => Some(one.unwrap_or(first.cpu) + other.unwrap_or(second.cpu)),
    };
    let held: Vec<(ResourceKind, f64)> = first.held.iter().chain(&second.held).copied().collect();
    Removal {
        cpu: first.cpu + second.cpu,
        lower_cpu,
        delay: first.delay + second.delay,
        cpus: first.cpus.max(second.cpus),
        held,
    }
}
