//! What carried the queries at a level, in the measure of its windows. Invariant: probes slow the seconds in which
//! carriers are followed, so only shares of the time in hand are taken from these, and the windows' own time in hand
//! is what they are shares of.

use super::chain::{Ends, Link, ends, links};
use super::facts::Facts;
use crate::analyze::Identity;
use crate::analyze::time::hands::{LevelHands, Part, Step, in_words};
use crate::carriers::State;
use crate::profile::short_name;

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
    /// The chain behind it.
    pub chain: Vec<Link>,
    /// At what that ends.
    pub ends: Ends,
}

impl WaitInHand {
    /// The work of those that are waited for, ns of CPU a query: where several wait for one, each ns of its work
    /// delays all of them, and they are `throughput * nanos` on average (Little's law).
    pub fn work(&self, throughput: f64) -> f64 {
        self.ends.cpu / (throughput * self.nanos / 1e9).max(1.0)
    }
}

/// States in which the carrier waits for something else than a CPU or a worker.
fn waits(part: &&Part) -> bool {
    matches!(part.state, State::Blocked | State::Waiting | State::BeforeHop { .. } | State::Behind { .. })
}

impl Facts<'_> {
    /// ns a query of the followed seconds in the measure of the windows.
    pub(super) fn in_windows(&self, hands: &LevelHands) -> f64 {
        self.in_hands() / hands.nanos.max(f64::MIN_POSITIVE)
    }

    /// What carriers wait for, by function, the longest first; empty where they were not followed.
    pub(super) fn waits_in_hand(&self) -> Vec<WaitInHand> {
        let Some(hands) = &self.hands else { return Vec::new() };
        let mut found: Vec<Vec<&Part>> = Vec::new();
        for part in hands.parts.iter().filter(waits) {
            let same = |other: &Vec<&Part>| match &part.function {
                Some(_) => other[0].function == part.function,
                None => other[0].function.is_none() && other[0].state == part.state,
            };
            match found.iter_mut().find(|parts| same(parts)) {
                Some(parts) => parts.push(part),
                None => found.push(vec![part]),
            }
        }
        let mut waits: Vec<WaitInHand> = found.iter().map(|parts| self.wait_in_hand(hands, parts)).collect();
        waits.sort_by(|a, b| b.nanos.total_cmp(&a.nanos));
        waits
    }

    /// Parts of one function, the longest first.
    fn wait_in_hand(&self, hands: &LevelHands, parts: &[&Part]) -> WaitInHand {
        let (scale, first) = (self.in_windows(hands), parts[0]);
        let of_state = |state: State| parts.iter().filter(move |part| part.state == state).map(|part| part.nanos);
        let nanos: f64 = parts.iter().map(|part| part.nanos).sum();
        let roots = |step: &&Step| step.function == first.function && parts.iter().any(|p| p.state == step.state);
        let steps: Vec<&Step> = hands.chains.iter().filter(roots).flat_map(|step| &step.children).collect();
        let chain = links(&steps, first.function.as_ref(), nanos * scale);
        let behind = parts.iter().filter(|part| part.behind.is_some()).map(|part| part.nanos).sum::<f64>();
        let hop = matches!(first.state, State::BeforeHop { .. } | State::Behind { .. });
        let behind = hop || behind > nanos / 2.0;
        let ends = match (chain.is_empty(), behind) {
            (true, true) => Ends { behind: nanos * scale, ..Ends::default() },
            (true, false) => Ends { outside: nanos * scale, ..Ends::default() },
            (false, behind) => ends(&chain, behind),
        };
        let ended = first.ended_by.first().filter(|(_, ended)| *ended > first.nanos / 2.0);
        WaitInHand {
            function: first.function.clone(),
            state: first.state,
            nanos: nanos * scale,
            of_threads: of_state(State::Blocked).sum::<f64>() * scale,
            times: parts.iter().map(|part| part.times).sum(),
            behind: first.behind,
            ended_by: ended.map(|(who, _)| who.clone()),
            chain,
            ends,
        }
    }

    /// ns and times a query that carriers were ready and not polled yet: they waited for a worker of the runtime.
    pub(super) fn queued_in_hand(&self) -> Option<(f64, f64)> {
        let hands = self.hands.as_ref()?;
        let queued = || hands.parts.iter().filter(|part| part.state == State::Queued);
        let nanos = queued().map(|part| part.nanos).sum::<f64>() * self.in_windows(hands);
        (nanos > 0.0).then(|| (nanos, queued().map(|part| part.times).sum()))
    }

    /// The wait at the same function, or state, at this level.
    pub(super) fn same_wait(&self, wait: &WaitInHand) -> Option<WaitInHand> {
        let same = |other: &WaitInHand| match &wait.function {
            Some(_) => other.function == wait.function,
            None => other.function.is_none() && other.state == wait.state,
        };
        self.waits_in_hand().into_iter().find(same)
    }

    /// ns a query that carriers wait for what nothing of the network serves. `queued` is the share of what may as well
    /// be a wait for a CPU. Of a runtime whose workers are counted, blocked ones hold these and count there.
    pub(super) fn delays_in_hand(&self, queued: f64) -> f64 {
        let delay = |wait: &WaitInHand| {
            let here = if self.workers.is_some() { 1.0 - wait.of_threads / wait.nanos } else { 1.0 };
            let Ends { outside, behind, cpu, .. } = wait.ends;
            here * (outside + (behind + (cpu - wait.work(self.throughput))) * (1.0 - queued))
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
        let hands = self.hands.as_ref()?;
        let scale = self.in_windows(hands);
        let words = |part: &Part| {
            let at = part.function.as_ref().map_or(String::new(), |at| format!(" in {}", short_name(&at.name)));
            format!("{}{at} {:.1} us", in_words(part.state, part.behind), part.nanos * scale / 1e3)
        };
        let largest: Vec<String> = hands.parts.iter().take(3).map(words).collect();
        (!largest.is_empty()).then_some(largest)
    }
}
