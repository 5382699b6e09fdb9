//! Starting the CPUs' sampling clocks so that it is known when they tick. Invariant: what is known of a start is
//! never more exact than the readings of the clock around it.

use crate::clock::{self, Nanos};
use crate::target::affinity;
use crate::words::time;
use perf_event::Counter;
use std::io;
use std::os::fd::AsRawFd;

/// How exactly a clock's start must be known, and how often it is set going anew for that: the hypervisor can take the
/// CPU away in the middle.
const EXACT: u64 = 20_000;
const TRIES: usize = 200;

/// Enables the clocks of these CPUs, each from its own CPU where that is permitted; gives when each started, to
/// [`EXACT`] where the host lets it. `None` for a period: nobody needs to know.
pub fn start<'a>(
    clocks: impl Iterator<Item = (&'a mut Counter, Option<usize>, Option<u64>)>,
) -> Vec<io::Result<Started>> {
    let home = affinity(0);
    let mut starts = Vec::new();
    for (counter, cpu, period) in clocks {
        if let Some(cpu) = cpu {
            run_on(cpu);
        }
        starts.push(start_clock(counter, period));
    }
    if let Some(home) = home {
        // SAFETY: `home` is the mask that the kernel gave for this thread, of the size it was asked for.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &home) };
    }
    starts
}

/// When a clock started, and within how many ns that is known.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    pub at: Nanos,
    pub within: u64,
}

impl Started {
    pub fn exactly(&self) -> bool {
        self.within <= EXACT
    }

    fn between(before: Nanos, after: Nanos) -> Self {
        Started { at: before + (after - before) / 2, within: after - before }
    }
}

/// The start where it is known well enough; else the notes say so.
pub fn known<'a>(cpu: usize, start: &'a io::Result<Started>, notes: &mut Vec<String>) -> Option<&'a Started> {
    let start = start.as_ref().ok()?;
    if !start.exactly() {
        let within = time(start.within as f64);
        notes.push(format!("late ticks of CPU {cpu} are not told apart: its clock's start is known to {within} only"));
    }
    Some(start).filter(|start| start.exactly())
}

/// Setting the period of a running clock lets it begin a whole period anew (_perf_event_period in
/// kernel/events/core.c clears what was left of the last one).
fn start_clock(counter: &mut Counter, period: Option<u64>) -> io::Result<Started> {
    let before = clock::now();
    counter.enable()?;
    let mut started = Started::between(before, clock::now());
    let Some(mut period) = period else { return Ok(started) };
    for _ in 0..TRIES {
        if started.exactly() {
            break;
        }
        const PERF_EVENT_IOC_PERIOD: libc::c_ulong = 0x4008_2404;
        let before = clock::now();
        // SAFETY: the descriptor is an open perf event, and this request reads one u64 through the pointer.
        let result = unsafe { libc::ioctl(counter.as_raw_fd(), PERF_EVENT_IOC_PERIOD, &raw mut period) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        started = Started::between(before, clock::now());
    }
    Ok(started)
}

/// Moves this thread to a CPU; a refusal only makes the clock's start less exact.
fn run_on(cpu: usize) {
    if cpu >= libc::CPU_SETSIZE as usize {
        return;
    }
    // SAFETY: the set is initialised, `cpu` is within its size, and 0 means the calling thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}
