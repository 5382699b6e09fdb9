//! From followed events to what is stored of them: who carried the queries, with names. Invariant: stacks are numbered
//! anew, by the profile that names them; a wait whose stack or end is not known is counted as such.

use super::follow::CapturedHands;
use crate::carriers::{Carried, replay};
use crate::metrics::MetricsDelta;
use crate::run::{Hands, HandsFacts};
use crate::sample::{FollowedEvent, Happened, RawSamples};
use crate::symbol::{CarriedStack, Symbolizer, carried_stacks, demangle};
use std::collections::{BTreeMap, BTreeSet};

/// Puts the events together and names their stacks.
pub fn hands(captured: CapturedHands, symbolizer: &mut Symbolizer) -> Hands {
    let CapturedHands { raw, mut followed, span, query_port, own, at_sockets, scrapes, locks } = captured;
    if let Some(own) = own {
        followed.events.retain(|event| !is_of_others(event, query_port, &own));
    }
    let mut carried = replay(&followed, query_port, span);
    let quality = Quality::of(&carried, &raw);
    let wanted = wanted(&carried);
    let numbers: BTreeMap<u32, u32> =
        wanted.iter().enumerate().map(|(number, carried)| (carried.stack, number as u32)).collect();
    carried.renumber(&|stack| numbers[&stack]);
    let (stacks, _) = carried_stacks(&raw, &wanted, symbolizer);
    let polls = followed.polls.into_iter().map(|(address, symbol)| (address, demangle(&symbol))).collect();
    let facts = HandsFacts {
        report: followed.report,
        carried,
        polls,
        at_sockets,
        complete: quality.share(quality.complete),
        without_stack: quality.waited - quality.with_stack,
        ended: quality.share(quality.ended),
        no_locks: locks.as_ref().and_then(|locks| locks.as_ref().err().cloned()),
        locks: locks.and_then(Result::ok),
        scrapes: scrapes.as_ref().map(|(before, after)| [before.span, after.span]),
    };
    let metrics = scrapes.map(|(before, after)| MetricsDelta::between(&before, &after));
    Hands { facts, stacks: Some(stacks), metrics }
}

/// What is read or sent on connections to the load's port that are not the load's: wireprof's own, or somebody else's.
fn is_of_others(event: &FollowedEvent, query_port: u16, own: &BTreeSet<u32>) -> bool {
    match event.happened {
        Happened::Reads(socket) | Happened::Sends(socket) => {
            socket.own == query_port && !own.contains(&u32::from(socket.other))
        }
        _ => false,
    }
}

/// The stacks that are named anywhere, each once, with what the carriers waited there.
fn wanted(carried: &Carried) -> Vec<CarriedStack> {
    let mut sums: BTreeMap<u32, (u64, u64)> = carried.stacks().map(|stack| (stack, (0, 0))).collect();
    for (key, sum) in carried.rows.iter().filter(|(key, _)| key.state.is_asleep()) {
        if let Some((times, nanos)) = key.stack.and_then(|stack| sums.get_mut(&stack)) {
            *times += sum.times;
            *nanos += sum.nanos;
        }
    }
    sums.into_iter().map(|(stack, (times, nanos))| CarriedStack { stack, times, nanos }).collect()
}

/// How much of the carriers' waits is known, in ns.
#[derive(Default)]
struct Quality {
    waited: u64,
    with_stack: u64,
    complete: u64,
    ended: u64,
}

impl Quality {
    fn of(carried: &Carried, raw: &RawSamples) -> Quality {
        let mut quality = Quality::default();
        for (key, sum) in carried.rows.iter().filter(|(key, _)| key.state.is_asleep()) {
            let stack = key.stack.map(|stack| &raw.stacks[stack as usize]);
            let complete = stack.is_some_and(|stack| stack.incomplete.is_none());
            quality.waited += sum.nanos;
            quality.with_stack += if stack.is_some() { sum.nanos } else { 0 };
            quality.complete += if complete { sum.nanos } else { 0 };
            quality.ended += if key.ended_by.is_some() { sum.nanos } else { 0 };
        }
        quality
    }

    fn share(&self, nanos: u64) -> Option<f64> {
        (self.waited > 0).then(|| nanos as f64 / self.waited as f64)
    }
}
