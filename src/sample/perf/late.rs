//! Late ticks: attributes each tick of a CPU's sampling clock to the thread that ran when it was due (see
//! [`super::timeline`]) and finds a stack for those whose interrupt came too late to see theirs.
//!
//! A tick that is due in a thread's last microseconds and delivered after it lost the CPU is given the stack at which
//! that thread was switched out, the newest one sampled: hot-deck imputation from the same thread, or the same
//! process. Such samples are marked and their share is reported.

use super::record::SampleRecord;
use super::timeline::{Grid, Owner, Timeline};
use crate::clock::Nanos;
use rustc_hash::FxHashMap;

/// A tick that belongs to a thread whose stack was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    pub pid: u32,
    pub tid: u32,
    pub due: Nanos,
}

/// The sampling clock of one CPU.
pub struct CpuClock {
    pub event: u64,
    /// `None` where it is not known when the clock ticks: it could not be started.
    grid: Option<Grid>,
    timeline: Timeline,
    last_due: Option<Nanos>,
    pub delay_sum: u64,
    pub delays: u64,
}

impl CpuClock {
    pub fn new(event: u64, grid: Option<Grid>) -> Self {
        CpuClock { event, grid, timeline: Timeline::default(), last_due: None, delay_sum: 0, delays: 0 }
    }

    /// Takes a switch; at a switch-out gives the slice that it ends: process, thread, start.
    pub fn switched(&mut self, pid: u32, tid: u32, time: Nanos, out: bool) -> Option<(u32, u32, Nanos)> {
        if out {
            return self.timeline.switched_out(time);
        }
        self.timeline.switched_in(pid, tid, time);
        None
    }

    /// Whether the sample shows the thread that it is due to. Ticks of other threads, this one and those that never
    /// came since the one before, are appended to `others`; idle ones are nobody's.
    pub fn tick(&mut self, sample: &SampleRecord, others: &mut Vec<Tick>) -> bool {
        let Some(grid) = self.grid else { return true };
        let due = grid.due(sample.time);
        if let Some(last) = self.last_due {
            let mut missed = last + grid.period;
            while missed + grid.period / 2 < due {
                if let Owner::Thread { pid, tid, .. } = self.timeline.owner(missed) {
                    others.push(Tick { pid, tid, due: missed });
                }
                missed += grid.period;
            }
        }
        self.last_due = Some(due);
        let own = match self.timeline.owner(due) {
            Owner::Unknown => true,
            // Nobody's: the CPU was idle when the clock was due.
            Owner::Idle => sample.tid == 0,
            Owner::Thread { pid, tid, since } => {
                let now = self.timeline.owner(sample.time);
                let same = now == Owner::Thread { pid, tid, since } && tid == sample.tid;
                if !same {
                    others.push(Tick { pid, tid, due });
                } else {
                    self.delay_sum += sample.time - due;
                    self.delays += 1;
                }
                same
            }
        };
        self.timeline.forget_before(due);
        own
    }
}

/// Late ticks that wait for a stack, and the stacks at which threads were switched out.
#[derive(Default)]
pub struct LateTicks {
    /// Index of the sample, process, thread, and the stack where the thread had one by then.
    waiting: Vec<(usize, u32, u32, Option<u32>)>,
    by_thread: FxHashMap<u32, u32>,
    by_process: FxHashMap<u32, u32>,
}

impl LateTicks {
    /// A thread was switched out with this stack.
    pub fn switched_out(&mut self, pid: u32, tid: u32, stack: u32) {
        self.by_thread.insert(tid, stack);
        self.by_process.insert(pid, stack);
    }

    /// A sample of this thread needs a stack.
    pub fn add(&mut self, sample: usize, pid: u32, tid: u32) {
        self.waiting.push((sample, pid, tid, self.by_thread.get(&tid).copied()));
    }

    /// The samples with their stacks. `name` tells a process's name: processes of one name (a server's workers) stand
    /// in for each other where neither the thread nor its process was ever sampled at a switch.
    pub fn settle(self, name: impl Fn(u32) -> Option<String>) -> Vec<(usize, Option<u32>)> {
        let mut by_name: Option<FxHashMap<String, u32>> = None;
        let stack_of = |pid: u32, tid: u32| {
            let known = self.by_thread.get(&tid).or_else(|| self.by_process.get(&pid)).copied();
            known.or_else(|| {
                let by_name = by_name.get_or_insert_with(|| {
                    self.by_process.iter().filter_map(|(pid, stack)| Some((name(*pid)?, *stack))).collect()
                });
                by_name.get(&name(pid)?).copied()
            })
        };
        let mut stack_of = stack_of;
        self.waiting.iter().map(|(sample, pid, tid, stack)| (*sample, stack.or_else(|| stack_of(*pid, *tid)))).collect()
    }
}
