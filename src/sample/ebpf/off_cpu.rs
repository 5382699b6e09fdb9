//! From the kernel's sums of waits to waits by thread and stack. Invariant: dividing a place's waits keeps their number
//! and their ns exactly.
//!
//! Shapes as in `bpf/off_cpu.h`, which asserts the same offsets when it is compiled.

use crate::bpf::assert_shape;
use crate::clock::{Nanos, Span};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Not stacks: waits whose stack was not followed, though none of their place was picked either; threads that have not
/// run yet; threads that were off their CPU when the recording began.
pub const NONE: u32 = 0;
pub const NEWBORN: u32 = u32::MAX - 1;
pub const UNSEEN: u32 = u32::MAX;

/// `enum how`
const OF_PLACE: u16 = 0;
const FOLLOWED: u16 = 1;
const PICKED: u16 = 2;
const PICKED_SELDOM: u16 = 3;

/// How many waits one stands for that was picked so.
const ONE_IN: u64 = 16;
const SELDOM_IN: u64 = 64;

/// `struct wait`: whose wait, where, and how its stack is known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wait {
    pub thread: u32,
    pub call: i32,
    pub ip: u64,
    pub sp: u64,
    pub stack: u32,
    pub how: u16,
    pub preempted: u16,
}

/// `struct sum`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub waits: u64,
    pub blocked: u64,
    pub runnable: u64,
    pub last: u32,
    pub same: u32,
}

/// `struct thread`: a thread of the target, the wait that it is in, and waits that are not among the sums yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Thread {
    pub on_cpu: u64,
    /// 0: it is on a CPU.
    pub since: u64,
    /// 0: it was not woken.
    pub woken: u64,
    pub pid: u32,
    /// 0: nobody's.
    pub tid: u32,
    pub wait: Wait,
    /// What the next three are of.
    pub held: Wait,
    pub ended: u64,
    pub blocked: u64,
    pub runnable: u64,
    pub trusted: u32,
    pub padding: u32,
}

/// `struct id`, `struct known`
pub type Id = [u64; 2];
pub type Known = [u32; 6];

// SAFETY: each is integers without padding (the one gap has a name): every bit pattern is a value.
unsafe impl aya::Pod for Wait {}
// SAFETY: as above.
unsafe impl aya::Pod for Sum {}

assert_shape!(Wait, 32: thread 0, call 4, ip 8, sp 16, stack 24, how 28, preempted 30);
assert_shape!(Sum, 32: waits 0, blocked 8, runnable 16, last 24, same 28);
assert_shape!(
    Thread, 128: on_cpu 0, since 8, woken 16, pid 24, tid 28, wait 32, held 64, ended 96, blocked 104, runnable 112,
    trusted 120, padding 124
);
const _: () = assert!(size_of::<Id>() == 16 && size_of::<Known>() == 24);

/// What a thread waited at one stack; and what of it was divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    pub waits: u64,
    pub blocked: u64,
    pub runnable: u64,
}

impl Wait {
    /// Its stack was followed; it is none of the numbers that stand for no stack.
    fn has_stack(&self) -> bool {
        self.how != OF_PLACE && self.stack < NEWBORN
    }
}

impl Waited {
    fn of(sum: &Sum) -> Self {
        Waited { waits: sum.waits, blocked: sum.blocked, runnable: sum.runnable }
    }

    fn add(&mut self, other: Waited) {
        self.waits += other.waits;
        self.blocked += other.blocked;
        self.runnable += other.runnable;
    }

    fn times(self, by: u64) -> Self {
        Waited { waits: self.waits * by, blocked: self.blocked * by, runnable: self.runnable * by }
    }

    pub fn nanos(&self) -> u64 {
        self.blocked + self.runnable
    }
}

/// All waits of a window by thread and stack.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Divided {
    pub waited: BTreeMap<(u32, u32), Waited>,
    /// Waits with a stack of their own.
    pub followed: u64,
    /// ns of waits that were divided, and those of places where the picked ones had several stacks.
    pub divided: u64,
    pub among_several: u64,
}

/// Adds the waits that threads hold, which ended within the window.
pub fn add_held(sums: &mut FxHashMap<Wait, Sum>, threads: &FxHashMap<u32, Thread>) {
    for thread in threads.values().filter(|thread| thread.ended + thread.blocked + thread.runnable > 0) {
        let sum = sums.entry(thread.held).or_default();
        sum.waits += thread.ended;
        sum.blocked += thread.blocked;
        sum.runnable += thread.runnable;
    }
}

/// Adds the waits that have not ended, cut to the window.
pub fn add_open(sums: &mut FxHashMap<Wait, Sum>, threads: &FxHashMap<u32, Thread>, window: Span) {
    let within = |from: Nanos, to: Nanos| to.min(window.end).saturating_sub(from.max(window.start));
    for thread in threads.values().filter(|thread| thread.since > 0) {
        let woken = if thread.woken > 0 { thread.woken } else { window.end };
        let sum = sums.entry(thread.wait).or_default();
        sum.blocked += within(thread.since, woken);
        sum.runnable += within(woken, window.end);
    }
}

/// Divides what was summed for places alone by what was found at those picked there.
pub fn divide(sums: &FxHashMap<Wait, Sum>) -> Divided {
    let mut places: BTreeMap<Wait, Vec<(Wait, Waited)>> = BTreeMap::new();
    for (wait, sum) in sums {
        let place = Wait { stack: NONE, how: OF_PLACE, ..*wait };
        places.entry(place).or_default().push((*wait, Waited::of(sum)));
    }
    let mut divided = Divided::default();
    for (place, mut found) in places {
        found.sort_unstable_by_key(|(wait, _)| *wait);
        let mut unknown = Waited::default();
        for (wait, waited) in &found {
            if wait.how == OF_PLACE {
                unknown.add(*waited);
            } else {
                divided.followed += if wait.has_stack() { waited.waits } else { 0 };
                divided.waited.entry((wait.thread, wait.stack)).or_default().add(*waited);
            }
        }
        if unknown == Waited::default() {
            continue;
        }
        let mut picked = stand_for(&found, &[(PICKED, ONE_IN), (PICKED_SELDOM, SELDOM_IN)]);
        if picked.is_empty() {
            picked = stand_for(&found, &[(FOLLOWED, 1)]);
        }
        divided.divided += unknown.nanos();
        divided.among_several += if picked.len() > 1 { unknown.nanos() } else { 0 };
        for (stack, share) in shares(unknown, &picked) {
            divided.waited.entry((place.thread, stack)).or_default().add(share);
        }
    }
    divided.waited.retain(|_, waited| *waited != Waited::default());
    divided
}

/// What was waited at each stack of those followed so, each of which stands for so many.
fn stand_for(found: &[(Wait, Waited)], hows: &[(u16, u64)]) -> Vec<(u32, Waited)> {
    let mut stacks: BTreeMap<u32, Waited> = BTreeMap::new();
    for (wait, waited) in found.iter().filter(|(wait, _)| wait.has_stack()) {
        if let Some((_, times)) = hows.iter().find(|(how, _)| *how == wait.how) {
            stacks.entry(wait.stack).or_default().add(waited.times(*times));
        }
    }
    stacks.into_iter().collect()
}

/// `unknown` in the proportions of what was picked, to the last wait and ns.
fn shares(unknown: Waited, picked: &[(u32, Waited)]) -> Vec<(u32, Waited)> {
    if picked.is_empty() {
        return vec![(NONE, unknown)];
    }
    let waits: fn(&Waited) -> u64 = |waited| waited.waits;
    let column = |total: u64, of: fn(&Waited) -> u64| {
        // Where the picked ones had none of it, by their number; where none of them has ended, in equal parts.
        let by = [of, waits].into_iter().find(|by| picked.iter().any(|(_, waited)| by(waited) > 0));
        let weights: Vec<u64> = picked.iter().map(|(_, waited)| by.map_or(1, |by| by(waited))).collect();
        apportion(total, &weights)
    };
    let waits = column(unknown.waits, waits);
    let blocked = column(unknown.blocked, |waited| waited.blocked);
    let runnable = column(unknown.runnable, |waited| waited.runnable);
    let share = |at: usize| Waited { waits: waits[at], blocked: blocked[at], runnable: runnable[at] };
    picked.iter().enumerate().map(|(at, (stack, _))| (*stack, share(at))).collect()
}

/// A total in whole parts by weight; each part is rounded as the running sum is, so the parts sum to the total.
fn apportion(total: u64, weights: &[u64]) -> Vec<u64> {
    let whole: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let (mut running, mut given) = (0u128, 0);
    let part = |weight: &u64| {
        running += u128::from(*weight);
        let until = (u128::from(total) * running / whole.max(1)) as u64;
        let part = until - given;
        given = until;
        part
    };
    weights.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(ip: u64, stack: u32, how: u16) -> Wait {
        Wait { thread: 7, ip, stack, how, ..Wait::default() }
    }

    fn sum(waits: u64, blocked: u64, runnable: u64) -> Sum {
        Sum { waits, blocked, runnable, ..Sum::default() }
    }

    #[test]
    fn a_places_waits_are_divided_as_the_picked_ones_were_to_the_last_nanosecond() {
        let sums = FxHashMap::from_iter([
            (wait(1, 0, OF_PLACE), sum(100, 1_001, 10)),
            (wait(1, 5, FOLLOWED), sum(8, 80_000, 0)),
            (wait(1, 5, PICKED), sum(3, 300, 0)),
            (wait(1, 9, PICKED), sum(1, 700, 0)),
            (wait(2, 9, FOLLOWED), sum(2, 20, 1)),
        ]);
        let found = divide(&sums);
        // Blocked 300 : 700, waits 3 : 1; of runnable the picked ones had none, so it goes by waits.
        assert_eq!(found.waited[&(7, 5)], Waited { waits: 8 + 3 + 75, blocked: 80_000 + 300 + 300, runnable: 7 });
        assert_eq!(found.waited[&(7, 9)], Waited { waits: 1 + 25 + 2, blocked: 700 + 701 + 20, runnable: 3 + 1 });
        assert_eq!((found.followed, found.divided, found.among_several), (14, 1_011, 1_011));
    }

    #[test]
    fn one_that_was_picked_seldom_stands_for_as_many_as_it_was_picked_from() {
        let sums = FxHashMap::from_iter([
            (wait(1, 0, OF_PLACE), sum(800, 8_000, 0)),
            (wait(1, 5, PICKED), sum(4, 40, 0)),
            (wait(1, 5, PICKED_SELDOM), sum(2, 20, 0)),
            (wait(1, 9, PICKED_SELDOM), sum(1, 10, 0)),
        ]);
        let found = divide(&sums);
        // 4 and twice 4 against 4: three quarters.
        assert_eq!(found.waited[&(7, 5)], Waited { waits: 600 + 6, blocked: 6_000 + 60, runnable: 0 });
        assert_eq!(found.waited[&(7, 9)], Waited { waits: 200 + 1, blocked: 2_000 + 10, runnable: 0 });
        let alone = FxHashMap::from_iter([
            (wait(1, 0, OF_PLACE), sum(9, 90, 0)),
            (wait(1, 5, PICKED), sum(1, 10, 0)),
            (wait(1, 5, PICKED_SELDOM), sum(1, 10, 0)),
        ]);
        assert_eq!(divide(&alone).among_several, 0, "one stack, however it was picked");
    }

    #[test]
    fn without_picked_ones_those_followed_before_tell_and_without_any_the_time_has_no_stack() {
        let sums = FxHashMap::from_iter([
            (wait(1, 0, OF_PLACE), sum(4, 40, 0)),
            (wait(1, 5, FOLLOWED), sum(8, 80, 0)),
            (wait(2, 0, OF_PLACE), sum(1, 9, 0)),
        ]);
        let found = divide(&sums);
        assert_eq!(found.waited[&(7, 5)], Waited { waits: 12, blocked: 120, runnable: 0 });
        assert_eq!(found.waited[&(7, NONE)], Waited { waits: 1, blocked: 9, runnable: 0 });
        assert_eq!(found.among_several, 0);
    }

    #[test]
    fn a_wait_that_goes_on_counts_for_its_part_within_the_window() {
        let thread = |since, woken| Thread { since, woken, wait: wait(1, 5, FOLLOWED), ..Thread::default() };
        let open = |thread| {
            let mut sums = FxHashMap::default();
            add_open(&mut sums, &FxHashMap::from_iter([(7, thread)]), Span::new(100, 200));
            let sum: Sum = sums.remove(&wait(1, 5, FOLLOWED)).unwrap_or_default();
            (sum.waits, sum.blocked, sum.runnable)
        };
        assert_eq!(open(thread(50, 0)), (0, 100, 0), "blocked over the whole window");
        assert_eq!(open(thread(150, 180)), (0, 30, 20));
        assert_eq!(open(thread(50, 80)), (0, 0, 100), "runnable over the whole window");
        assert_eq!(open(thread(250, 0)), (0, 0, 0), "began after it");
        assert_eq!(open(thread(0, 0)), (0, 0, 0), "on a CPU");
    }

    #[test]
    fn what_a_thread_holds_is_added_to_what_is_summed_of_the_same_waits() {
        let held = Thread { held: wait(1, 5, PICKED), ended: 3, blocked: 30, runnable: 1, ..Thread::default() };
        let nothing = Thread { held: wait(2, 5, PICKED), ..Thread::default() };
        let mut sums = FxHashMap::from_iter([(wait(1, 5, PICKED), sum(2, 20, 0))]);
        add_held(&mut sums, &FxHashMap::from_iter([(7, held), (8, nothing)]));
        assert_eq!(sums, FxHashMap::from_iter([(wait(1, 5, PICKED), sum(5, 50, 1))]));
    }

    #[test]
    fn whole_parts_sum_to_the_whole() {
        assert_eq!(apportion(10, &[1, 1, 1]), [3, 3, 4]);
        // Hours of ns by weights of hours of ns: nothing overflows.
        let hours = 1 << 45;
        assert_eq!(apportion(hours + 1, &[hours, hours, 1]).iter().sum::<u64>(), hours + 1);
    }
}
