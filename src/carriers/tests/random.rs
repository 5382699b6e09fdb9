//! Whatever the events are, sums hold and nothing panics.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn socket(random: &mut StdRng) -> Socket {
    match random.random_range(0..10) {
        0..5 => client(random.random_range(0..4)),
        5 => Socket { other: 45_000, ..client(random.random_range(0..4)) },
        _ => database(random.random_range(0..3)),
    }
}

fn happened(random: &mut StdRng) -> Happened {
    let stack = Some(random.random_range(0..20)).filter(|stack| *stack > 2);
    let of = Task { id: random.random_range(0..5), poll: random.random_range(0..3) };
    match random.random_range(0..12) {
        0 | 1 => Happened::Leaves { preempted: random.random(), stack, wait_event: random.random_range(0..2) },
        2 | 3 => Happened::Gets,
        4 => Happened::Wakes { thread: random.random_range(0..6), stack, interrupt: random.random() },
        5 | 6 => Happened::Reads(socket(random)),
        7 => Happened::Sends(socket(random)),
        8 => Happened::Polls(of),
        9 => Happened::Polled,
        10 => Happened::Registers(of, stack),
        _ => Happened::WakesTask(of, stack),
    }
}

#[test]
fn whatever_the_events_are_the_sums_hold() {
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut story = Story::default();
        let mut now = 1_000;
        for _ in 0..random.random_range(0..600) {
            now += random.random_range(0..20);
            let at = now - random.random_range(0..1_000) / 990 * 50;
            story.add(at, random.random_range(0..5), happened(&mut random));
        }
        let start = random.random_range(900..2_000);
        let carried = story.carried(start, start + random.random_range(0..9_000));
        assert!(carried.unseen <= carried.nanos);
    }
}
