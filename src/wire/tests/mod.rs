//! The kernel's program at the sockets, compiled for this host and driven with the events of simulated servers, and
//! what a window makes of its snapshots. Invariant: the truth is the simulation's own, kept stay by stay beside its
//! events; nothing of it is read from what is tested.

mod disorder;
mod exact;
mod host;
mod server;

use super::shapes::{Connection, PLACES, Place};
use super::timeline::{Hop, HopDelta, HopSnapshot, Listens, WireDelta, WireSnapshot};
use crate::clock::{Nanos, Span};
use host::{Answer, Line};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use server::{Simulated, simulate};

/// The load's hop, and one behind.
fn hops() -> [Hop; 2] {
    [("target", 5_432), ("database", 5_433)].map(|(name, port)| Hop { name: name.into(), at: Listens::Port(port) })
}

/// What a window between the two snapshots of a recording tells.
fn window(answer: &Answer, span: Span) -> WireDelta {
    let [before, after] = [(0, span.start), (1, span.end)].map(|(nth, at)| snapshot(answer, nth, at));
    before.until(&after, &hops(), true, None)
}

fn snapshot(answer: &Answer, nth: usize, at: Nanos) -> WireSnapshot {
    WireSnapshot { at, hops: answer.snapshots[2 * nth..2 * nth + 2].to_vec() }
}

/// ns in each place of a hop, and all of them.
fn nanos(hop: &HopDelta) -> [u64; PLACES] {
    Place::ALL.map(|place| hop.stay(place).nanos)
}

/// ns in each place of all uses of a hop, and their round trips.
fn uses(hop: &HopDelta) -> ([u64; PLACES], u64) {
    let mut sum = [0; PLACES];
    let uses = hop.uses.as_deref().unwrap_or_default();
    for of in uses {
        sum.iter_mut().zip(of.nanos).for_each(|(sum, more)| *sum += more);
    }
    (sum, uses.iter().map(|of| of.round_trips).sum())
}
