//! What carried the queries at a level, in the measure of its windows. Invariant: all of it sums to the windows' own
//! time in hand. Probes slow the seconds in which carriers are followed, but no timer and no sleep: waits for these are
//! taken as they are, and of all else only shares, of what these leave of the windows' time in hand.

use super::chain::{Ends, Link, ends, links};
use super::facts::Facts;
use crate::analyze::Identity;
use crate::analyze::time::hands::{BlockedFor, LevelHands, Part, Step, in_words};
use crate::carriers::State;
use crate::profile::short_name;
use crate::words::time;

/// What the carriers wait for at one function; ns and times a query.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WaitInHand {
    /// `None`: its stack is not known, or it is an event loop's wait for the hop behind.
    pub function: Option<Identity>,
    /// The state of most of it.
    pub state: State,
    pub nanos: f64,
    /// Of it, the carrier's thread blocked while it polls: nobody else goes on there.
    pub of_threads: f64,
    pub times: f64,
    /// It waits for an answer from behind this port.
    pub behind: Option<u16>,
    /// Who ended most of it, in words.
    pub ended_by: Option<String>,
    /// Most of it is behind a port.
    is_behind: bool,
    /// The chain behind it.
    pub chain: Vec<Link>,
    /// At what that ends.
    pub ends: Ends,
    /// Its time by that in the followed seconds.
    pub measure: f64,
}

/// A thread with so large a share of its time on a CPU serves a queue of its own.
const ALWAYS_ON_CPU: f64 = 0.8;

/// What a time in the followed seconds is worth in the windows.
#[derive(Clone, Copy)]
struct Measure {
    /// Where it ends outside.
    outside: f64,
    /// Else.
    other: f64,
}

impl WaitInHand {
    /// The work of those that are waited for, ns of CPU a query: where several wait for one, each ns of its work
    /// delays all of them, and they are `throughput * nanos` on average (Little's law).
    pub fn work(&self, throughput: f64) -> f64 {
        self.ends.cpu / (throughput * self.nanos / 1e9).max(1.0)
    }
}

/// The carrier waits for something else than a CPU or a worker.
fn waits_in(part: &Part) -> bool {
    matches!(part.state, State::Blocked | State::Waiting | State::BeforeHop { .. } | State::Behind { .. })
}

impl Facts<'_> {
    /// Where what ends outside exceeds the windows' time in hand, the queues were longer; and where queries were faster
    /// in the followed seconds, probes are not why. Then all of it is shares.
    fn measure(&self, hands: &LevelHands, waits: &[WaitInHand]) -> Measure {
        let outside: f64 = waits.iter().map(|wait| wait.ends.outside).sum();
        let (here, followed) = (self.in_hands(), hands.nanos.max(f64::MIN_POSITIVE));
        match outside < here && here < followed {
            true => Measure { outside: 1.0, other: (here - outside) / (followed - outside) },
            false => Measure { outside: here / followed, other: here / followed },
        }
    }

    /// What carriers wait for, by function, the longest first; empty where they were not followed.
    pub(super) fn waits_in_hand(&self) -> Vec<WaitInHand> {
        self.measured_waits().map_or_else(Vec::new, |(waits, _)| waits)
    }

    fn measured_waits(&self) -> Option<(Vec<WaitInHand>, Measure)> {
        let hands = self.hands.as_ref()?;
        let mut waits = followed_waits(hands);
        let measure = self.measure(hands, &waits);
        waits.iter_mut().for_each(|wait| wait.take(measure));
        waits.sort_by(|a, b| b.nanos.total_cmp(&a.nanos));
        Some((waits, measure))
    }

    /// ns and times a query that carriers were ready and not polled yet: they waited for a worker of the runtime.
    pub(super) fn queued_in_hand(&self) -> Option<(f64, f64)> {
        let (hands, (_, measure)) = (self.hands.as_ref()?, self.measured_waits()?);
        let queued = || hands.parts.iter().filter(|part| part.state == State::Queued);
        let nanos = queued().map(|part| part.nanos).sum::<f64>() * measure.other;
        (nanos > 0.0).then(|| (nanos, queued().map(|part| part.times).sum()))
    }

    /// What carriers were blocked for while they had queries in hand, ns a query: that is exact, where the waits of
    /// threads that handle queries may lie between queries too. `None`: not followed, or carriers had several queries
    /// in hand at once, of which a thread's wait delays each.
    pub(super) fn blocked_in_hand(&self) -> Option<Vec<BlockedFor>> {
        let hands = self.hands.as_ref().filter(|hands| hands.facts.carried.loops == 0)?;
        let (waits, measure) = self.measured_waits()?;
        let measured = |blocked: &BlockedFor| {
            let same = waits.iter().find(|wait| wait.function.is_some() && wait.function == blocked.function);
            let factor = same.map_or(measure.other, |wait| wait.measure);
            BlockedFor { nanos: blocked.nanos * factor, ..blocked.clone() }
        };
        Some(hands.blocked.iter().map(measured).collect())
    }

    /// The wait at the same function, or state, at this level.
    pub(super) fn same_wait(&self, wait: &WaitInHand) -> Option<WaitInHand> {
        self.waits_in_hand().into_iter().find(|other| wait.is_at(other.function.as_ref(), other.state))
    }

    /// ns a query that carriers wait for what nothing of the network serves; where one thread is always on a CPU, it
    /// serves those that wait for work. `queued` is the share of what may as well be a wait for a CPU. Of a runtime
    /// whose workers are counted, blocked ones hold these and count there.
    pub(super) fn delays_in_hand(&self, queued: f64) -> f64 {
        let one_serves = self.thread.as_ref().is_some_and(|thread| thread.on_cpu >= ALWAYS_ON_CPU);
        let delay = |wait: &WaitInHand| {
            let here = if self.workers.is_some() { 1.0 - wait.of_threads / wait.nanos } else { 1.0 };
            let Ends { outside, behind, cpu, .. } = wait.ends;
            let for_work = if one_serves { 0.0 } else { cpu - wait.work(self.throughput) };
            here * (outside + (behind + for_work) * (1.0 - queued))
        };
        let in_queue = self.queued_in_hand().map_or(0.0, |(nanos, _)| nanos * (1.0 - queued));
        self.waits_in_hand().iter().map(delay).sum::<f64>() + in_queue
    }

    /// ns a query that carriers wait for timers, sleep and devices; 0 where they were not followed.
    pub(super) fn outside_in_hand(&self) -> f64 {
        self.waits_in_hand().iter().map(|wait| wait.ends.outside).sum()
    }

    /// The three largest parts of the time in hand, in words; `None` where carriers were not followed.
    pub(super) fn largest_in_hand(&self) -> Option<Vec<String>> {
        let (hands, (waits, measure)) = (self.hands.as_ref()?, self.measured_waits()?);
        let measured = |part: &Part| {
            let same = waits.iter().find(|wait| waits_in(part) && wait.is_at(part.function.as_ref(), part.state));
            part.nanos * same.map_or(measure.other, |wait| wait.measure)
        };
        let words = |(part, nanos): (&Part, f64)| {
            let at = part.function.as_ref().map_or(String::new(), |at| format!(" in {}", short_name(&at.name)));
            format!("{}{at} {}", in_words(part.state, part.behind, part.wait_event.as_deref()), time(nanos))
        };
        let mut parts: Vec<(&Part, f64)> = hands.parts.iter().map(|part| (part, measured(part))).collect();
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        let largest: Vec<String> = parts.into_iter().take(3).map(words).collect();
        (!largest.is_empty()).then_some(largest)
    }
}

/// The waits as they were in the followed seconds.
fn followed_waits(hands: &LevelHands) -> Vec<WaitInHand> {
    let mut found: Vec<Vec<&Part>> = Vec::new();
    for part in hands.parts.iter().filter(|part| waits_in(part)) {
        let same = |parts: &&mut Vec<&Part>| is_at(parts[0], part.function.as_ref(), part.state);
        match found.iter_mut().find(same) {
            Some(parts) => parts.push(part),
            None => found.push(vec![part]),
        }
    }
    found.iter().map(|parts| followed_wait(hands, parts)).collect()
}

/// Parts of one function, the longest first.
fn followed_wait(hands: &LevelHands, parts: &[&Part]) -> WaitInHand {
    let first = parts[0];
    let of = |wanted: &dyn Fn(&Part) -> bool| -> f64 {
        parts.iter().filter(|part| wanted(part)).map(|part| part.nanos).sum()
    };
    let nanos = of(&|_| true);
    let roots = |step: &&Step| step.function == first.function && parts.iter().any(|p| p.state == step.state);
    let steps: Vec<&Step> = hands.chains.iter().filter(roots).flat_map(|step| &step.children).collect();
    let hop = matches!(first.state, State::BeforeHop { .. } | State::Behind { .. });
    let ended = first.ended_by.first().filter(|(_, ended)| *ended > first.nanos / 2.0);
    WaitInHand {
        function: first.function.clone(),
        state: first.state,
        nanos,
        of_threads: of(&|part| part.state == State::Blocked),
        times: parts.iter().map(|part| part.times).sum(),
        behind: first.behind,
        ended_by: ended.map(|(who, _)| who.clone()),
        chain: links(&steps, first.function.as_ref(), nanos),
        is_behind: hop || of(&|part| part.behind.is_some()) > nanos / 2.0,
        ends: Ends::default(),
        measure: 1.0,
    }
    .with_ends()
}

fn is_at(part: &Part, function: Option<&Identity>, state: State) -> bool {
    part.function.as_ref() == function && (function.is_some() || part.state == state)
}

impl WaitInHand {
    fn is_at(&self, function: Option<&Identity>, state: State) -> bool {
        self.function.as_ref() == function && (function.is_some() || self.state == state)
    }

    fn with_ends(mut self) -> Self {
        self.ends = match (self.chain.is_empty(), self.is_behind) {
            (true, true) => Ends { behind: self.nanos, ..Ends::default() },
            (true, false) => Ends { outside: self.nanos, ..Ends::default() },
            (false, behind) => ends(&self.chain, behind),
        };
        self
    }

    /// From the followed seconds to the windows.
    fn take(&mut self, measure: Measure) {
        let Ends { outside, behind, cpu, ready } = self.ends;
        let other = measure.other;
        self.ends =
            Ends { outside: outside * measure.outside, behind: behind * other, cpu: cpu * other, ready: ready * other };
        self.chain.iter_mut().for_each(|link| link.take(measure.outside, other, self.is_behind));
        self.chain.sort_by(|a, b| b.nanos.total_cmp(&a.nanos));
        self.measure = self.ends.total() / self.nanos.max(f64::MIN_POSITIVE);
        self.of_threads *= self.measure;
        self.nanos = self.ends.total();
    }
}
