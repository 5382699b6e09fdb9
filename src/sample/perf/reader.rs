//! Reads the rings while the target runs: records become samples with followed stacks. Invariant: every record is looked
//! at, every loss counted, and every tick of a CPU's clock belongs to one thread, a stranger or idleness.

use super::events::{Clocked, Opened};
use super::late::{self, CpuClock, LateTicks, Started, Tick};
use super::processes::Processes;
use super::record::{self, Layout, Record, SampleRecord};
use super::referee::Referees;
use super::timeline::Grid;
use super::{PAUSE, thread_cpu};
use crate::clock::{self, Span};
use crate::sample::unwind::{KERNEL, Mapping, Modules, Registers, Space, StackCopy, Walker, read_mappings};
use crate::sample::{Address, Incomplete, RawSample, RawSamples, RawStack, RawThread, SamplingReport};
use crate::target::comm;
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// A process whose samples fall outside of its known mappings has them read again at most this often, in ns.
const REREAD: u64 = 100_000_000;

/// One process's executable mappings, shared with those forked from it.
struct ProcessSpace {
    space: usize,
    read_at: u64,
    stale: bool,
}

/// Takes the records of all rings and makes samples of them.
pub struct Reader<'m> {
    opened: Opened,
    processes: Processes,
    modules: &'m mut Modules,
    walker: Walker,
    spaces: Vec<Space>,
    layouts: FxHashMap<Vec<Mapping>, usize>,
    by_pid: FxHashMap<u32, ProcessSpace>,
    threads: FxHashMap<u32, u32>,
    stacks: FxHashMap<Box<[u32]>, u32>,
    scratch: Vec<u32>,
    owners: Vec<Tick>,
    raw: RawSamples,
    foreign: u64,
    lost: u64,
    throttled: u64,
    damaged: u64,
    /// One for each ring; empty where samples are taken as they come.
    clocks: Vec<CpuClock>,
    late: LateTicks,
    referees: Option<Referees>,
}

impl<'m> Reader<'m> {
    pub fn new(opened: Opened, processes: Processes, modules: &'m mut Modules) -> Self {
        Reader {
            clocks: Vec::new(),
            late: LateTicks::default(),
            referees: opened.budget.user_chains.then(Referees::default),
            opened,
            processes,
            modules,
            walker: Walker::default(),
            spaces: Vec::new(),
            layouts: FxHashMap::default(),
            by_pid: FxHashMap::default(),
            threads: FxHashMap::default(),
            stacks: FxHashMap::default(),
            scratch: Vec::new(),
            owners: Vec::new(),
            raw: RawSamples::default(),
            foreign: 0,
            lost: 0,
            throttled: 0,
            damaged: 0,
        }
    }

    pub fn run(mut self, stop: &AtomicBool) -> (RawSamples, SamplingReport) {
        let cpu_before = thread_cpu();
        let start = clock::now();
        let mut rings = std::mem::take(&mut self.opened.rings);
        let mut notes = Vec::new();
        // The clocks come last: an event added to a CPU can set back those that run there.
        let others = self.opened.others.iter_mut().map(|counter| counter.enable()).collect::<Vec<_>>();
        let starts = late::start(&mut rings, self.opened.clocks.as_deref().unwrap_or_default());
        for error in others.into_iter().chain(starts.iter().map(|start| start.as_ref().map(drop).map_err(copy))) {
            if let Err(error) = error {
                notes.push(format!("an event could not be enabled: {error}"));
            }
        }
        if let (Some(clocks), Some(_)) = (&self.opened.clocks, self.opened.period) {
            self.clocks = clocks.iter().zip(&starts).map(|(c, start)| cpu_clock(c, start, &mut notes)).collect();
        }
        loop {
            let last = stop.load(Ordering::Acquire);
            if last {
                for ring in &mut rings {
                    let _ = ring.as_counter_mut().disable();
                }
            }
            for (cpu, ring) in rings.iter_mut().enumerate() {
                while let Some(record) = ring.next_record() {
                    let body = match record.data() {
                        [whole] => Cow::Borrowed(*whole),
                        // The record wraps around the ring's end.
                        _ => Cow::Owned(record.to_vec()),
                    };
                    self.take(cpu, record.ty(), record.misc(), &body);
                }
            }
            if last {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        let cpu = thread_cpu().saturating_sub(cpu_before);
        self.finish(Span::new(start, clock::now()), cpu, notes)
    }

    fn take(&mut self, cpu: usize, kind: u32, misc: u16, body: &[u8]) {
        let own = self.opened.clocks.as_ref().and_then(|clocks| clocks.get(cpu)?.period);
        let layout = Layout { kernel: self.opened.kernel, period: own.or(self.opened.period) };
        match record::parse(kind, misc, body, layout) {
            Some(Record::Sample(sample)) => self.tick(cpu, &sample),
            Some(Record::Switched { pid, tid, time, out }) => {
                let slice = self.clocks.get_mut(cpu).and_then(|clock| clock.switched(pid, tid, time, out));
                if let Some((pid, tid, start)) = slice {
                    self.ran(pid, tid, start, time);
                }
            }
            Some(Record::Fork { pid, parent }) => self.forked(pid, parent),
            Some(Record::Comm { pid, tid, exec, .. }) => {
                self.threads.remove(&tid);
                if exec && let Some(process) = self.by_pid.get_mut(&pid) {
                    process.stale = true;
                }
            }
            Some(Record::Mapped { pid }) => {
                if let Some(process) = self.by_pid.get_mut(&pid) {
                    process.stale = true;
                }
            }
            Some(Record::Lost(count)) => self.lost += count,
            Some(Record::Throttled) => self.throttled += 1,
            Some(Record::Other) => {}
            None => self.damaged += 1,
        }
    }

    /// A fork of a process (of a thread: nothing changes). The child runs in a copy of its parent's mappings.
    fn forked(&mut self, pid: u32, parent: u32) {
        if pid == parent {
            return;
        }
        self.processes.forked(pid, parent);
        self.by_pid.remove(&pid);
        if let Some(process) = self.by_pid.get(&parent).filter(|p| !p.stale) {
            let inherited = ProcessSpace { space: process.space, read_at: process.read_at, stale: false };
            self.by_pid.insert(pid, inherited);
        }
    }

    /// A sample of a CPU's clock belongs to the thread that ran when the clock was due; one of another event tells
    /// where a thread was when it was switched out.
    fn tick(&mut self, cpu: usize, sample: &SampleRecord) {
        let Some(clock) = self.clocks.get_mut(cpu) else { return self.sample(sample) };
        if sample.event != clock.event {
            if self.processes.is_target(sample.pid) {
                let stack = self.stack(sample);
                self.late.switched_out(sample.pid, sample.tid, stack);
            }
            return;
        }
        let mut owners = std::mem::take(&mut self.owners);
        let own = clock.tick(sample, &mut owners);
        for tick in owners.drain(..) {
            self.late_tick(tick, sample.period);
        }
        self.owners = owners;
        if own {
            self.sample(sample);
        }
    }

    /// Adds a slice of one of the target's threads to its time on CPU.
    fn ran(&mut self, pid: u32, tid: u32, start: u64, end: u64) {
        if self.processes.is_target(pid) {
            let on_cpu = self.raw.on_cpu.get_or_insert_default();
            *on_cpu.entry((tid, end / RawSamples::BUCKET)).or_default() += end - start;
        }
    }

    /// A tick whose interrupt came after its thread had lost the CPU, or not at all.
    fn late_tick(&mut self, tick: Tick, weight: u64) {
        if !self.processes.is_target(tick.pid) {
            self.foreign += 1;
            return;
        }
        let thread = self.thread(tick.pid, tick.tid);
        self.late.add(self.raw.samples.len(), tick.pid, tick.tid);
        let stack = u32::MAX;
        self.raw.samples.push(RawSample { at: tick.due, thread, stack, weight, late: true });
    }

    fn sample(&mut self, sample: &SampleRecord) {
        if sample.pid == 0 {
            return;
        }
        if !self.processes.is_target(sample.pid) {
            self.foreign += 1;
            return;
        }
        let stack = self.stack(sample);
        let thread = self.thread(sample.pid, sample.tid);
        self.raw.samples.push(RawSample { at: sample.time, thread, stack, weight: sample.period, late: false });
    }

    /// Follows the stack of a sample and interns it.
    fn stack(&mut self, sample: &SampleRecord) -> u32 {
        self.scratch.clear();
        for (depth, address) in sample.kernel_addresses().enumerate() {
            // All but the first are return addresses.
            let at = if depth == 0 { address } else { address - 1 };
            let id = self.modules.intern(Address { module: Some(KERNEL), at });
            self.scratch.push(id);
        }
        let incomplete = match &sample.registers {
            Some(registers) => self.unwind(sample, registers),
            None => Some(Incomplete::NoRegisters),
        };
        self.intern_stack(incomplete)
    }

    fn unwind(&mut self, sample: &SampleRecord, registers: &Registers) -> Option<Incomplete> {
        let space = self.space(sample, registers[16]);
        let stack =
            StackCopy { start: registers[7], bytes: sample.stack, truncated: sample.stack.len() == sample.stack_asked };
        let (space, kernel) = (&mut self.spaces[space], self.scratch.len());
        let incomplete = self.walker.walk(space, self.modules, registers, &stack, &mut self.scratch);
        if let (Some(referees), None) = (&mut self.referees, incomplete) {
            referees.judge((space, self.modules), (registers, &stack), sample, &self.scratch[kernel..]);
        }
        incomplete
    }

    /// The mappings of the sampled process, read again when the kernel told of new ones or the address is in none.
    fn space(&mut self, sample: &SampleRecord, address: u64) -> usize {
        if let Some(process) = self.by_pid.get(&sample.pid) {
            let known = !process.stale && self.spaces[process.space].covers(address);
            if known || (sample.time.saturating_sub(process.read_at) < REREAD && !process.stale) {
                return process.space;
            }
        }
        let mappings = read_mappings(sample.pid);
        let gone = mappings.is_empty();
        if let (true, Some(process)) = (gone, self.by_pid.get_mut(&sample.pid)) {
            process.stale = false;
            process.read_at = sample.time;
            return process.space;
        }
        let space = match self.layouts.get(&mappings) {
            Some(&space) => space,
            None => {
                self.spaces.push(Space::new(sample.pid, &mappings, self.modules));
                self.layouts.insert(mappings, self.spaces.len() - 1);
                self.spaces.len() - 1
            }
        };
        self.by_pid.insert(sample.pid, ProcessSpace { space, read_at: sample.time, stale: false });
        space
    }

    fn intern_stack(&mut self, incomplete: Option<Incomplete>) -> u32 {
        // The reason is part of a stack's identity.
        self.scratch.push(u32::MAX - incomplete.map_or(0, |reason| reason as u32 + 1));
        if let Some(&id) = self.stacks.get(self.scratch.as_slice()) {
            return id;
        }
        let key: Box<[u32]> = self.scratch.as_slice().into();
        let addresses = key[..key.len() - 1].iter().map(|id| self.modules.address_list[*id as usize]).collect();
        let id = self.raw.stacks.len() as u32;
        self.raw.stacks.push(RawStack { addresses, incomplete });
        self.stacks.insert(key, id);
        id
    }

    fn thread(&mut self, pid: u32, tid: u32) -> u32 {
        *self.threads.entry(tid).or_insert_with(|| {
            let name = |tid| comm(pid, tid).unwrap_or_else(|| "?".into());
            let thread = RawThread { process: name(pid), pid, thread: name(tid), tid };
            self.raw.threads.push(thread);
            self.raw.threads.len() as u32 - 1
        })
    }

    /// Gives each late tick the stack of a switch-out of its thread, or of its process where the thread has none.
    fn settle_late(&mut self) {
        let process = |pid: u32| comm(pid, pid);
        let mut settled = std::mem::take(&mut self.late).settle(process);
        let mut unknown = None;
        for (sample, stack) in settled.drain(..) {
            let stack = stack.unwrap_or_else(|| {
                *unknown.get_or_insert_with(|| {
                    self.scratch.clear();
                    self.intern_stack(Some(Incomplete::SwitchedOut))
                })
            });
            self.raw.samples[sample].stack = stack;
        }
    }

    fn finish(mut self, span: Span, cpu: u64, mut notes: Vec<String>) -> (RawSamples, SamplingReport) {
        self.settle_late();
        notes.append(&mut self.modules.notes);
        if self.damaged > 0 {
            notes.push(format!("{} records of the kernel could not be read", self.damaged));
        }
        let budget = &self.opened.budget;
        let report = SamplingReport {
            event: self.opened.event.into(),
            fallbacks: self.opened.fallbacks.iter().cloned().chain(notes).collect(),
            frequency: budget.frequency,
            period: self.opened.period,
            unwinder: format!("call-frame information over stack copies of up to {} bytes", budget.stack_bytes),
            kernel_stacks: self.opened.kernel,
            samples: self.raw.samples.len() as u64,
            foreign: self.foreign,
            lost: self.lost,
            throttled: self.throttled,
            sampler_cpu: Some(cpu),
            recording: Some(span),
            recorded: self.raw.samples.len() as u64,
            timer_delay: mean_delay(&self.clocks),
            referees: self.referees.map(|referees| referees.findings),
            ..SamplingReport::default()
        };
        self.raw.span = Some(span);
        self.raw.modules = self.modules.list.clone();
        (self.raw, report)
    }
}

/// A clock whose start is not known exactly has no grid: its samples are taken for the thread that they interrupt.
fn cpu_clock(clocked: &Clocked, start: &io::Result<Started>, notes: &mut Vec<String>) -> CpuClock {
    let exact = start.as_ref().ok().filter(|start| start.exactly());
    if let (None, Ok(start)) = (exact, start) {
        let (cpu, within) = (clocked.cpu, start.within / 1_000);
        notes.push(format!(
            "late ticks of CPU {cpu} are not told apart: its clock's start is known to {within} us only"
        ));
    }
    let grid = clocked.period.zip(exact).map(|(period, start)| Grid { start: start.at, period });
    CpuClock::new(clocked.event, grid)
}

/// Mean delay in ns of the timer interrupts that came while the thread they were due for still ran.
fn mean_delay(clocks: &[CpuClock]) -> Option<u64> {
    let (sum, count) = clocks.iter().fold((0, 0), |(sum, count), clock| (sum + clock.delay_sum, count + clock.delays));
    (count > 0).then(|| sum / count)
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}
