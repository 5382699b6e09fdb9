//! Reads the rings while the target runs: records become samples with followed stacks. Invariant: every record is
//! looked at, every loss counted, and every tick of a CPU's clock belongs to one thread, a stranger or idleness.

use super::events::{Clocked, Opened};
use super::late::{CpuClock, LateTicks, Tick};
use super::record::{self, Layout, Record, SampleRecord};
use super::timeline::Grid;
use crate::clock::{self, Span, thread_cpu};
use crate::sample::collect::Collector;
use crate::sample::cross_check::CrossChecks;
use crate::sample::processes::Processes;
use crate::sample::start::{self, Started};
use crate::sample::thread::{PAUSE, Stop};
use crate::sample::unwind::{Modules, Registers, StackCopy};
use crate::sample::{Incomplete, RawSample, RawSamples, SamplingReport};
use crate::target::comm;
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::io;

/// Takes the records of all rings and makes samples of them.
pub struct Reader<'m> {
    opened: Opened,
    collector: Collector<'m>,
    owners: Vec<Tick>,
    on_cpu: FxHashMap<u32, (u32, u64)>,
    foreign: u64,
    lost: u64,
    throttled: u64,
    damaged: u64,
    /// One for each ring; empty where samples are taken as they come.
    clocks: Vec<CpuClock>,
    late: LateTicks,
    cross_checks: Option<CrossChecks>,
}

impl<'m> Reader<'m> {
    pub fn new(opened: Opened, processes: Processes, modules: &'m mut Modules) -> Self {
        Reader {
            clocks: Vec::new(),
            late: LateTicks::default(),
            cross_checks: opened.budget.user_chains.then(CrossChecks::default),
            opened,
            collector: Collector::new(processes, modules),
            owners: Vec::new(),
            on_cpu: FxHashMap::default(),
            foreign: 0,
            lost: 0,
            throttled: 0,
            damaged: 0,
        }
    }

    pub fn run(mut self, stop: &Stop) -> (RawSamples, SamplingReport) {
        let cpu_before = thread_cpu();
        let start = clock::now();
        let mut rings = std::mem::take(&mut self.opened.rings);
        let mut notes = Vec::new();
        // The clocks come last: an event added to a CPU can set back those that run there.
        let others = self.opened.others.iter_mut().map(|counter| counter.enable()).collect::<Vec<_>>();
        let clocks = self.opened.clocks.as_deref().unwrap_or_default();
        let clock = |i: usize| clocks.get(i).map_or((None, None), |clock| (Some(clock.cpu), clock.period));
        let starts = start::start(rings.iter_mut().enumerate().map(|(i, ring)| {
            let (cpu, period) = clock(i);
            (ring.as_counter_mut(), cpu, period)
        }));
        for error in others.into_iter().chain(starts.iter().map(|start| start.as_ref().map(drop).map_err(copy))) {
            if let Err(error) = error {
                notes.push(format!("an event could not be enabled: {error}"));
            }
        }
        if let (Some(clocks), Some(_)) = (&self.opened.clocks, self.opened.period) {
            self.clocks = clocks.iter().zip(&starts).map(|(c, start)| cpu_clock(c, start, &mut notes)).collect();
        }
        loop {
            let last = stop.is_asked();
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
            if !self.clocks.is_empty() {
                self.collector.note_on_cpu(clock::now(), None, || self.on_cpu.clone());
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
            Some(Record::Fork { pid, parent }) => self.collector.forked(pid, parent),
            Some(Record::Comm { pid, tid, name, exec }) => self.collector.renamed(pid, tid, name, exec),
            Some(Record::Mapped { pid }) => {
                self.collector.mapped(pid);
            }
            Some(Record::Lost(count)) => self.lost += count,
            Some(Record::Throttled) => self.throttled += 1,
            Some(Record::Other) => {}
            None => self.damaged += 1,
        }
    }

    /// A sample of a CPU's clock belongs to the thread that ran when the clock was due; one of another event tells
    /// where a thread was when it was switched out.
    fn tick(&mut self, cpu: usize, sample: &SampleRecord) {
        let Some(clock) = self.clocks.get_mut(cpu) else { return self.sample(sample) };
        if sample.event != clock.event {
            if self.collector.processes.is_sampled(sample.pid) {
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

    /// Adds a slice of a thread of a sampled process to its time on CPU.
    fn ran(&mut self, pid: u32, tid: u32, start: u64, end: u64) {
        if self.collector.processes.is_sampled(pid) {
            let thread = self.on_cpu.entry(tid).or_default();
            *thread = (pid, thread.1 + (end - start));
        }
    }

    /// A tick whose interrupt came after its thread had lost the CPU, or not at all.
    fn late_tick(&mut self, tick: Tick, weight: u64) {
        if !self.collector.processes.is_sampled(tick.pid) {
            self.foreign += 1;
            return;
        }
        let (thread, stack) = (self.collector.thread(tick.pid, tick.tid), u32::MAX);
        let sample = self.collector.sample(RawSample { at: tick.due, thread, stack, weight, late: true });
        self.late.add(sample, tick.pid, tick.tid);
    }

    fn sample(&mut self, sample: &SampleRecord) {
        if sample.pid == 0 {
            return;
        }
        if !self.collector.processes.is_sampled(sample.pid) {
            self.foreign += 1;
            return;
        }
        let stack = self.stack(sample);
        let thread = self.collector.thread(sample.pid, sample.tid);
        self.collector.sample(RawSample { at: sample.time, thread, stack, weight: sample.period, late: false });
    }

    /// Follows the stack of a sample and interns it.
    fn stack(&mut self, sample: &SampleRecord) -> u32 {
        self.collector.begin(sample.kernel_addresses());
        let incomplete = match &sample.registers {
            Some(registers) => self.unwind(sample, registers),
            None => Some(Incomplete::NoRegisters),
        };
        self.collector.keep_stack(incomplete)
    }

    fn unwind(&mut self, sample: &SampleRecord, registers: &Registers) -> Option<Incomplete> {
        let space = self.collector.space(sample.pid, registers[16], sample.time);
        let stack =
            StackCopy { start: registers[7], bytes: sample.stack, truncated: sample.stack.len() == sample.stack_asked };
        let kernel = self.collector.stack.len();
        let incomplete = self.collector.walk(space, registers, &stack);
        if let (Some(cross_checks), None) = (&mut self.cross_checks, incomplete) {
            let Collector { spaces, modules, stack: ours, .. } = &mut self.collector;
            let theirs = sample.user_addresses();
            cross_checks.judge((&mut spaces[space], modules), (registers, &stack), Some(theirs), &ours[kernel..]);
        }
        incomplete
    }

    /// Gives each late tick the stack of a switch-out of its thread, or of its process where the thread has none.
    fn settle_late(&mut self) {
        let process = |pid: u32| comm(pid, pid);
        let mut settled = std::mem::take(&mut self.late).settle(process);
        let mut unknown = None;
        for (sample, stack) in settled.drain(..) {
            let stack = stack
                .unwrap_or_else(|| *unknown.get_or_insert_with(|| self.collector.empty_stack(Incomplete::SwitchedOut)));
            self.collector.settle(sample, stack);
        }
    }

    fn finish(mut self, span: Span, cpu: u64, mut notes: Vec<String>) -> (RawSamples, SamplingReport) {
        self.settle_late();
        notes.append(&mut self.collector.modules.notes);
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
            foreign: self.foreign,
            lost: self.lost,
            throttled: self.throttled,
            sampler_cpu: Some(cpu),
            recording: Some(span),
            recorded: self.collector.samples(),
            timer_delay: mean_delay(&self.clocks),
            cross_checks: self.cross_checks.map(|cross_checks| cross_checks.findings),
            ..SamplingReport::default()
        };
        (self.collector.finish(span), report)
    }
}

/// A clock whose start is not known exactly has no grid: its samples are taken for the thread that they interrupt.
fn cpu_clock(clocked: &Clocked, start: &io::Result<Started>, notes: &mut Vec<String>) -> CpuClock {
    let exact = start::known(clocked.cpu, start, notes);
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
