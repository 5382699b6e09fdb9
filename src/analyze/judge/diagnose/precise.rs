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
    /// Of such a wait: causes behind the server are told from figures of this very wait.
    pub divided: bool,
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
        _ if of_behind(cause) => wait.divided || ends.behind >= ends.counted() / 2.0,
        _ if of_work(cause) => ends.cpu >= ends.counted() / 2.0,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::judge::diagnose::{Effect, Named};

    fn judged(cause: Cause, micros: f64, named: &[&str], ends: Option<Ends>) -> Judged {
        let name = |name: &&str| Named {
            name: (*name).to_string(),
            process: None,
            cost: micros * 1e3,
            interval: None,
            effect: None,
        };
        let finding = Finding {
            cause,
            wait: None,
            tables: Vec::new(),
            sentence: String::new(),
            confidence: Confidence::Confident,
            because: String::new(),
            there: None,
            effect: Some(Effect { latency: micros * 1e3, share: 0.5, throughput: Some(1.0) }),
            named: named.iter().map(name).collect(),
            evidence: Vec::new(),
            refuted_by: String::new(),
            next: String::new(),
        };
        Judged { finding, removal: None, ends, divided: false }
    }

    fn wait(micros: f64, ends: Ends) -> Judged {
        judged(Cause::Wait, micros, &["read"], Some(ends))
    }

    fn causes(judged: Vec<Judged>) -> Vec<Cause> {
        most_precise(judged).iter().map(|one| one.finding.cause).collect()
    }

    #[test]
    fn a_wait_is_left_out_where_a_finding_on_the_same_function_has_half_its_effect() {
        let timer = Ends { outside: 1.0, ..Ends::default() };
        let with = |cause, micros, named| causes(vec![judged(cause, micros, &[named], None), wait(100.0, timer)]);
        assert_eq!(with(Cause::Lock, 50.0, "read"), [Cause::Lock]);
        assert_eq!(with(Cause::Lock, 49.0, "read"), [Cause::Lock, Cause::Wait]);
        assert_eq!(with(Cause::Lock, 100.0, "write"), [Cause::Lock, Cause::Wait]);
        assert_eq!(with(Cause::Pool, 100.0, ""), [Cause::Pool, Cause::Wait]);
    }

    #[test]
    fn findings_on_what_is_behind_or_on_work_say_more_of_waits_that_end_there() {
        let of = |cause, behind, cpu| {
            let ends = Ends { behind, cpu, ..Ends::default() };
            causes(vec![judged(cause, 80.0, &["other"], None), wait(100.0, ends)])
        };
        assert_eq!(of(Cause::Pool, 60.0, 40.0), [Cause::Pool]);
        assert_eq!(of(Cause::Pool, 40.0, 60.0), [Cause::Pool, Cause::Wait]);
        assert_eq!(of(Cause::SaturatedThread, 40.0, 60.0), [Cause::SaturatedThread]);
    }

    #[test]
    fn a_wait_that_the_servers_own_figures_divide_is_theirs_wherever_its_chain_ends() {
        let of = |divided, micros| {
            let timer = Ends { outside: 1.0, ..Ends::default() };
            let wait = Judged { divided, ..wait(100.0, timer) };
            causes(vec![judged(Cause::Pool, micros, &[], None), wait])
        };
        assert_eq!(of(false, 80.0), [Cause::Pool, Cause::Wait]);
        assert_eq!(of(true, 80.0), [Cause::Pool]);
        assert_eq!(of(true, 40.0), [Cause::Pool, Cause::Wait]);
    }

    #[test]
    fn a_wait_of_which_a_finding_behind_says_less_comes_after_it_and_other_waits_by_effect() {
        let ends = Ends { behind: 1.0, ..Ends::default() };
        let kept = most_precise(vec![judged(Cause::DatabasePath, 30.0, &[], None), wait(100.0, ends)]);
        assert_eq!(kept.len(), 2);
        assert!(order_by(&kept[1], &kept) < order_by(&kept[0], &kept));
        let timer = Ends { outside: 1.0, ..Ends::default() };
        let kept = most_precise(vec![judged(Cause::DatabasePath, 30.0, &[], None), wait(100.0, timer)]);
        assert!(order_by(&kept[1], &kept) > order_by(&kept[0], &kept));
    }
}
