//! Who ran on a CPU when its sampling timer was due. A timer interrupt can come late: interrupts were off, or a
//! hypervisor delivered it when it saw fit (8 us into the guest and more have been measured). By then another thread
//! may run, and one that always gives up the CPU by itself would never be charged for its last microseconds while the
//! one after it is charged twice. So each tick belongs to the thread that ran when it was *due*.
//! Invariant: slices of one CPU do not overlap and come in the order of time.

use crate::clock::Nanos;
use std::collections::VecDeque;

/// When a periodic timer is due: it was started once, and the kernel forwards it by whole periods
/// (hrtimer_forward_now in perf_swevent_hrtimer, kernel/events/core.c).
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    pub start: Nanos,
    pub period: u64,
}

/// How exactly the timer's start is known: a tick can seem to come early by this much.
const SLACK: u64 = 50_000;

impl Grid {
    /// The newest due time that is not after `time`.
    pub fn due(&self, time: Nanos) -> Nanos {
        let since = (time + SLACK).saturating_sub(self.start);
        (self.start + since - since % self.period).min(time.max(self.start))
    }
}

/// Who had the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A thread, in a slice that began at `since`.
    Thread {
        pid: u32,
        tid: u32,
        since: Nanos,
    },
    Idle,
    /// Before the first switch that was seen.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    pid: u32,
    tid: u32,
    start: Nanos,
    end: Nanos,
}

/// The slices of one CPU, as its context switches tell.
#[derive(Default)]
pub struct Timeline {
    known_since: Option<Nanos>,
    running: Option<Slice>,
    finished: VecDeque<Slice>,
}

impl Timeline {
    /// A thread was given the CPU.
    pub fn switched_in(&mut self, pid: u32, tid: u32, time: Nanos) {
        self.known_since.get_or_insert(time);
        self.running = (tid != 0).then_some(Slice { pid, tid, start: time, end: Nanos::MAX });
    }

    /// A thread lost the CPU; gives its process, its number and the start of the slice that ends here.
    pub fn switched_out(&mut self, time: Nanos) -> Option<(u32, u32, Nanos)> {
        self.known_since.get_or_insert(time);
        let slice = self.running.take()?;
        self.finished.push_back(Slice { end: time, ..slice });
        Some((slice.pid, slice.tid, slice.start))
    }

    pub fn owner(&self, at: Nanos) -> Owner {
        let slice = self.running.iter().chain(self.finished.iter().rev()).find(|s| s.start <= at && at < s.end);
        match slice {
            Some(slice) => Owner::Thread { pid: slice.pid, tid: slice.tid, since: slice.start },
            None if self.known_since.is_some_and(|since| since <= at) => Owner::Idle,
            None => Owner::Unknown,
        }
    }

    /// Slices that ended before `at` will not be asked for any more.
    pub fn forget_before(&mut self, at: Nanos) {
        while self.finished.front().is_some_and(|slice| slice.end < at) {
            self.finished.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_belongs_to_the_grid_point_before_it_even_when_the_start_is_known_inexactly() {
        let grid = Grid { start: 1_000_000, period: 1_000_000 };
        assert_eq!(grid.due(3_000_000), 3_000_000);
        assert_eq!(grid.due(3_008_400), 3_000_000);
        assert_eq!(grid.due(3_900_000), 3_000_000);
        // 20 us early: the start was taken a little too late. It is the tick of 4 ms, and it is due when it came.
        assert_eq!(grid.due(3_980_000), 3_980_000);
    }

    #[test]
    fn the_owner_of_an_instant_is_the_thread_whose_slice_holds_it_and_nobody_in_idleness() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.owner(5), Owner::Unknown);
        timeline.switched_in(1, 11, 10);
        timeline.switched_out(20);
        timeline.switched_in(2, 22, 20);
        timeline.switched_out(30);
        timeline.switched_in(1, 11, 40);
        let thread = |pid, tid, since| Owner::Thread { pid, tid, since };
        let found: Vec<_> = [5, 10, 19, 20, 35, 40, 99].iter().map(|at| timeline.owner(*at)).collect();
        let expected = [
            Owner::Unknown,
            thread(1, 11, 10),
            thread(1, 11, 10),
            thread(2, 22, 20),
            Owner::Idle,
            thread(1, 11, 40),
            thread(1, 11, 40),
        ];
        assert_eq!(found, expected);
        timeline.forget_before(25);
        assert_eq!((timeline.owner(25), timeline.owner(15)), (thread(2, 22, 20), Owner::Idle));
    }
}
