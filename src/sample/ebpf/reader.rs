//! One recording: sets the kernel's program going, reads its ring while the target runs, keeps its tables in step with
//! what the target maps. Invariant: when this ends, by whatever way, the program is detached and its clocks are off.

use super::members;
use super::memory::Tables;
use super::off_cpu::{self, Divided};
use super::program::{Attached, KernelProgram};
use super::shapes::{Ended, Record, Sample, parse};
use super::window::WindowEnds;
use crate::clock::{self, Span, thread_cpu};
use crate::sample::Options;
use crate::sample::collect::Collector;
use crate::sample::cross_check::CrossChecks;
use crate::sample::perf::events::{self, Budget};
use crate::sample::perf::record;
use crate::sample::processes::Processes;
use crate::sample::start;
use crate::sample::unwind::{Modules, Registers, StackCopy};
use crate::sample::{Incomplete, OffCpuReport, RawOffCpu, RawSample, RawSamples, RawWait, Sampled, SamplingReport};
use crate::target::{is_blocked, online_cpus, tasks};
use anyhow::{Context, Result};
use perf_event::{Counter, Sampler};
use rustc_hash::FxHashMap;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Pause between two looks into the ring in ms: it holds a second of samples, and each look costs some 30 us.
const PAUSE: libc::c_int = 50;

/// One recording under way.
pub struct Reader<'s> {
    kernel: &'s mut KernelProgram,
    tables: &'s mut Tables,
    collector: Collector<'s>,
    /// `None`: detached.
    attached: Option<Attached>,
    /// Whether waits are followed, or why not; `None`: nobody asked.
    waits: Option<Result<(), String>>,
    /// The CPUs' clocks.
    ticking: Vec<Counter>,
    /// What processes map and how they are named.
    changes: Vec<Sampler>,
    taken: Taken,
    began: clock::Nanos,
    cpu_before: u64,
    report: SamplingReport,
    notes: Vec<String>,
}

/// What has been read of the kernel's ring.
#[derive(Default)]
struct Taken {
    /// Stacks by all that the kernel says of them: those that return cost one look-up.
    known: FxHashMap<Box<[u8]>, u32>,
    /// Stacks of waits by the kernel's number.
    waiting: FxHashMap<u32, u32>,
    key: Vec<u8>,
    /// Pieces of stack of the sample to come, by CPU.
    copies: FxHashMap<u32, (u64, Vec<u8>)>,
    pointers: FxHashMap<u32, Vec<u64>>,
    damaged: u64,
    cross_checks: Option<CrossChecks>,
}

impl<'s> Reader<'s> {
    /// Attaches the program, uploads the tables of the target's processes and starts the clocks.
    pub fn start(
        kernel: &'s mut KernelProgram,
        tables: &'s mut Tables,
        modules: &'s mut Modules,
        processes: Processes,
        sampled: &[Sampled],
        options: &Options,
    ) -> Result<Reader<'s>> {
        let cpu_before = thread_cpu();
        let cpus = online_cpus();
        let budget = events::budget(cpus.len(), options);
        let mut notes = Vec::new();
        notes.extend(events::rate_notes(&budget, options, cpus.len()));
        let event = events::event_name(options.event, &mut notes);
        let waits =
            (options.off_cpu && !options.cross_checks).then(|| kernel.waits_refused.clone().map_or(Ok(()), Err));
        kernel.clear(waits == Some(Ok(())))?;
        let changes = cpus.iter().map(|cpu| events::changes(*cpu)).collect::<std::io::Result<Vec<_>>>();
        let mut changes = changes.context("the kernel refuses to tell what processes map")?;
        changes.iter_mut().try_for_each(|ring| ring.as_counter_mut().enable())?;
        let attached = Some(kernel.attach(waits == Some(Ok(())))?);
        let mut reader = Reader {
            kernel,
            tables,
            collector: Collector::new(processes, modules),
            attached,
            waits,
            ticking: Vec::new(),
            changes,
            taken: Taken { cross_checks: options.cross_checks.then(CrossChecks::default), ..Taken::default() },
            began: 0,
            cpu_before,
            report: report_of(event, &budget),
            notes,
        };
        // Twice: what is born between the first look and its entry is seen by the second, and what later, by the
        // program.
        for _ in 0..2 {
            reader.enter(sampled);
        }
        reader.enter_blocked(sampled);
        reader.start_clocks(event, &budget, &cpus)?;
        Ok(reader)
    }

    fn enter(&mut self, sampled: &[Sampled]) {
        for Sampled { pid, children } in members(sampled) {
            if self.kernel.target(pid).is_none() {
                self.upload(pid, 0, children);
            }
        }
    }

    /// Enters the threads that wait already; those that run are met when they leave their CPU.
    fn enter_blocked(&mut self, sampled: &[Sampled]) {
        let now = clock::now();
        for Sampled { pid, .. } in members(sampled) {
            for tid in tasks(pid).into_iter().filter(|tid| is_blocked(pid, *tid)) {
                self.kernel.enter_blocked(pid, tid, now);
            }
        }
    }

    pub fn window(&self) -> Arc<WindowEnds> {
        self.kernel.window.clone()
    }

    fn start_clocks(&mut self, event: &'static str, budget: &Budget, cpus: &[usize]) -> Result<()> {
        let clocks = cpus.iter().map(|cpu| events::clock(event, budget, *cpu)).collect::<std::io::Result<Vec<_>>>();
        self.ticking = clocks.context("the kernel refuses a sampling event of all processes")?;
        for clock in &self.ticking {
            self.kernel.tick_by(clock)?;
        }
        let period = |cpu: usize| (event == "cpu-clock").then(|| events::period_of(cpu, budget.period()));
        self.began = clock::now();
        let clocks = self.ticking.iter_mut().zip(cpus).map(|(clock, cpu)| (clock, Some(*cpu), period(*cpu)));
        let starts = start::start(clocks);
        for (cpu, start) in cpus.iter().zip(&starts) {
            if let Err(error) = start {
                self.notes.push(format!("the clock of CPU {cpu} could not be enabled: {error}"));
            }
            if let Some(period) = period(*cpu) {
                let known = start::known(*cpu, start, &mut self.notes);
                self.kernel.set_clock(*cpu, known.map(|start| (start, period)));
            }
        }
        Ok(())
    }

    pub fn run(mut self, stop: &AtomicBool) -> (RawSamples, SamplingReport) {
        loop {
            let last = stop.load(Ordering::Acquire);
            if last {
                self.ticking.iter_mut().for_each(|clock| {
                    let _ = clock.disable();
                });
            }
            self.read_changes();
            self.read_samples();
            self.note_threads();
            if last {
                return self.finish();
            }
            // The cross-check's copies fill the ring sooner.
            wait(&self.changes, if self.taken.cross_checks.is_some() { PAUSE / 5 } else { PAUSE });
        }
    }

    /// Notes the threads' time on CPU and, while they live, their names.
    fn note_threads(&mut self) {
        let mut met = Vec::new();
        self.collector.note_on_cpu(clock::now(), || {
            let threads = self.kernel.threads();
            met.extend(threads.iter().map(|(tid, thread)| (thread.pid, *tid)));
            threads.into_iter().map(|(tid, thread)| (tid, thread.on_cpu)).collect()
        });
        for (pid, tid) in met.into_iter().filter(|_| self.waits == Some(Ok(()))) {
            self.collector.thread(pid, tid);
        }
    }

    fn read_changes(&mut self) {
        let mut mapped = Vec::new();
        for ring in &mut self.changes {
            while let Some(record) = ring.next_record() {
                let layout = record::Layout { kernel: false, period: None };
                match record::parse(record.ty(), record.misc(), &record.to_vec(), layout) {
                    Some(record::Record::Fork { pid, parent }) => self.collector.forked(pid, parent),
                    Some(record::Record::Comm { pid, tid, name, exec }) => {
                        self.collector.renamed(pid, tid, name, exec);
                        if exec {
                            mapped.push(pid);
                        }
                    }
                    Some(record::Record::Mapped { pid }) => mapped.push(pid),
                    // Mappings that nobody told of are found when an address lies in none.
                    Some(_) | None => {}
                }
            }
        }
        mapped.sort_unstable();
        mapped.dedup();
        for pid in mapped {
            if let Some(children) = self.kernel.target(pid) {
                self.collector.mapped(pid);
                self.upload(pid, clock::now(), children);
            }
        }
    }

    /// Puts a process's mappings and the tables of its files into the kernel's memory.
    fn upload(&mut self, pid: u32, at: clock::Nanos, children: bool) {
        let number = self.collector.space(pid, 0, at);
        let Collector { spaces, modules, .. } = &mut self.collector;
        let space = self.kernel.memory.upload(number, &spaces[number], self.tables, modules, |_, _| {});
        if let Err(error) = self.kernel.add_target(pid, children, space) {
            self.notes.push(format!("process {pid} is not sampled: {error:#}"));
        }
    }

    fn read_samples(&mut self) {
        let mut unknown = Vec::new();
        while let Some(item) = self.kernel.ring.next() {
            match parse(&item) {
                Some(Record::Sample(sample)) => {
                    let user = self.kernel.memory.user_space(sample.space);
                    if sample.ended == Ended::NoMapping {
                        unknown.push(sample.pid);
                    }
                    take(&mut self.collector, &mut self.taken, &sample, user);
                }
                Some(Record::Stack(sample)) => {
                    let user = self.kernel.memory.user_space(sample.space);
                    if sample.ended == Ended::NoMapping {
                        unknown.push(sample.pid);
                    }
                    let id = stack(&mut self.collector, &mut self.taken, &sample, user);
                    self.taken.waiting.insert(sample.weight as u32, id);
                    self.collector.thread(sample.pid, sample.tid);
                }
                Some(Record::Piece(cpu, time, bytes)) => self.taken.piece(cpu, time, bytes),
                Some(Record::Pointers(cpu, _, bytes)) => {
                    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")));
                    self.taken.pointers.insert(cpu, words.collect());
                }
                None => self.taken.damaged += 1,
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        // What user space has just learnt of these processes, the kernel's program should know too.
        for pid in unknown {
            if let Some(children) = self.kernel.target(pid) {
                self.upload(pid, clock::now(), children);
            }
        }
    }

    fn finish(mut self) -> (RawSamples, SamplingReport) {
        let span = Span::new(self.began, clock::now());
        // Detached first: what is read is then at rest.
        self.attached = None;
        self.read_samples();
        let off_cpu = self.waits.clone().map(|followed| followed.map(|()| self.off_cpu()));
        let counts = self.kernel.counts();
        self.notes.append(&mut self.kernel.memory.notes);
        self.notes.append(&mut self.collector.modules.notes);
        if self.taken.damaged > 0 {
            self.notes.push(format!("{} records of the kernel's program could not be read", self.taken.damaged));
        }
        if counts.copies > 0 && self.taken.cross_checks.is_none() {
            let of = self.collector.samples();
            self.notes.push(format!(
                "{} of {of} stacks were finished from a copy, beyond what the kernel's tables held",
                counts.copies
            ));
        }
        if self.report.period.is_none() {
            self.notes.push("throttling is not told apart: the kernel's program is not told of it".into());
        }
        self.report.fallbacks = self.notes;
        self.report.foreign = counts.foreign;
        self.report.lost = counts.lost;
        self.report.timer_delay = (counts.delays > 0).then(|| counts.delay_sum / counts.delays);
        self.report.kernel_cpu = Some(counts.spent);
        self.report.sampler_cpu = Some(thread_cpu().saturating_sub(self.cpu_before));
        self.report.recording = Some(span);
        self.report.recorded = self.collector.samples();
        self.report.cross_checks = self.taken.cross_checks.map(|cross_checks| cross_checks.findings);
        let mut raw = self.collector.finish(span);
        raw.off_cpu = off_cpu;
        (raw, self.report)
    }

    /// The window's waits by thread and stack.
    fn off_cpu(&mut self) -> RawOffCpu {
        let (window, threads, mut sums) = (self.kernel.window.span(), self.kernel.threads(), self.kernel.waits());
        off_cpu::add_open(&mut sums, &threads, window);
        let divided = off_cpu::divide(&sums);
        let mut found = Vec::new();
        for ((tid, stack), waited) in &divided.waited {
            let pid = threads.get(tid).map_or(0, |thread| thread.pid);
            let known = self.taken.waiting.get(stack).copied();
            let reason = match *stack {
                off_cpu::NEWBORN => Incomplete::Newborn,
                off_cpu::UNSEEN => Incomplete::Before,
                _ => Incomplete::NotSeen,
            };
            found.push(RawWait {
                thread: self.collector.thread(pid, *tid),
                stack: known.unwrap_or_else(|| self.collector.empty_stack(reason)),
                waits: waited.waits,
                blocked: waited.blocked,
                runnable: waited.runnable,
            });
        }
        RawOffCpu { report: self.off_cpu_report(window, &divided), waits: found }
    }

    fn off_cpu_report(&self, span: Span, divided: &Divided) -> OffCpuReport {
        let counts = self.kernel.counts();
        let sum = |of: fn(&off_cpu::Waited) -> u64| divided.waited.values().map(of).sum();
        OffCpuReport {
            span,
            waits: sum(|waited| waited.waits),
            blocked: sum(|waited| waited.blocked),
            runnable: sum(|waited| waited.runnable),
            stacks: divided.waited.keys().map(|(_, stack)| stack).collect::<std::collections::BTreeSet<_>>().len()
                as u64,
            followed: divided.followed,
            divided: divided.divided,
            divided_among_several: divided.among_several,
            lost_waits: counts.waits_lost,
            lost_nanos: counts.nanos_lost,
            lost_stacks: counts.stacks_lost,
            collisions: counts.collisions,
            walks: counts.walked,
            kernel_cpu: counts.walk_spent,
            ..OffCpuReport::default()
        }
    }
}

fn report_of(event: &str, budget: &Budget) -> SamplingReport {
    SamplingReport {
        event: event.into(),
        frequency: budget.frequency,
        period: (event == "cpu-clock").then(|| budget.period()),
        unwinder: "call-frame tables in the kernel (eBPF)".into(),
        kernel_stacks: true,
        ..SamplingReport::default()
    }
}

impl Taken {
    fn piece(&mut self, cpu: u32, time: u64, bytes: &[u8]) {
        let (known, copy) = self.copies.entry(cpu).or_default();
        if *known != time {
            copy.clear();
            *known = time;
        }
        copy.extend_from_slice(bytes);
    }

    /// The copied stack of this sample.
    fn copy(&self, sample: &Sample) -> Option<StackCopy<'_>> {
        let (time, bytes) = self.copies.get(&sample.cpu)?;
        let whole = *time == sample.time && bytes.len() == sample.copied as usize && sample.copied > 0;
        // A copy ends where the stack cannot be read or at its size limit of 16 pages, where that is page-aligned.
        let truncated = bytes.len() > 15 * 4096;
        whole.then_some(StackCopy { start: sample.sp, bytes, truncated })
    }
}

/// Keeps a sample with its stack.
fn take(collector: &mut Collector, taken: &mut Taken, sample: &Sample, user: Option<usize>) {
    let stack = stack(collector, taken, sample, user);
    let thread = collector.thread(sample.pid, sample.tid);
    collector.sample(RawSample { at: sample.time, thread, stack, weight: sample.weight, late: sample.late });
}

fn stack(collector: &mut Collector, taken: &mut Taken, sample: &Sample, user: Option<usize>) -> u32 {
    let settled = sample.copied == 0;
    if settled {
        taken.key.clear();
        for word in [sample.space.first, sample.space.count, sample.ended as u32] {
            taken.key.extend_from_slice(&word.to_le_bytes());
        }
        taken.key.extend_from_slice(sample.kernel_bytes());
        taken.key.extend_from_slice(sample.user_bytes());
        if let Some(known) = taken.known.get(taken.key.as_slice()) {
            return *known;
        }
    }
    collector.begin(sample.kernel_addresses());
    let kernel = collector.stack.len();
    let space = user.unwrap_or_else(|| collector.space(sample.pid, sample.lookup, sample.time));
    for address in sample.user_addresses() {
        collector.push(space, address);
    }
    let mut incomplete = sample.ended.incomplete();
    if let Some(copy) = taken.copy(sample).filter(|_| taken.cross_checks.is_none()) {
        // The process's mappings as they are now: those that the kernel's program knew did not suffice.
        let space = collector.space(sample.pid, sample.lookup, sample.time);
        incomplete = collector.walk(space, &registers(sample), &copy);
    }
    judge(collector, taken, sample, (space, kernel), incomplete);
    let id = collector.keep_stack(incomplete);
    if settled {
        taken.known.insert(taken.key.as_slice().into(), id);
    }
    id
}

/// What the walk over a copy goes by: the frame at which the kernel's program stopped.
fn registers(sample: &Sample) -> Registers {
    let mut registers = [0; 17];
    (registers[6], registers[7], registers[16]) = (sample.bp, sample.sp, sample.lookup);
    registers
}

/// Has the cross-checks walk the copied stack too, where they were asked.
fn judge(
    collector: &mut Collector,
    taken: &mut Taken,
    sample: &Sample,
    (space, kernel): (usize, usize),
    incomplete: Option<Incomplete>,
) {
    let Some(mut cross_checks) = taken.cross_checks.take() else { return };
    let pointers = taken.pointers.remove(&sample.cpu).map(Vec::into_iter);
    if let (None, Some(copy)) = (incomplete, taken.copy(sample)) {
        let Collector { spaces, modules, stack, .. } = collector;
        cross_checks.judge((&mut spaces[space], modules), (&registers(sample), &copy), pointers, &stack[kernel..]);
    }
    taken.cross_checks = Some(cross_checks);
}

/// Waits for news of mappings, at most until the ring wants a look.
fn wait(changes: &[Sampler], most: libc::c_int) {
    let mut polled: Vec<libc::pollfd> = changes
        .iter()
        .map(|ring| libc::pollfd { fd: ring.as_counter().as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    // SAFETY: the array holds as many entries as are said, of open descriptors; poll(2) writes only their `revents`.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, most) };
}
