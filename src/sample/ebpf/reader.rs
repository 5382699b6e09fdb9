//! One recording: sets the kernel's program going, reads its ring while the target runs and gives what was sampled.
//! Invariant: when this ends, by whatever way, the program is detached and its clocks are off.

use super::form::PROCESSES;
use super::members;
use super::memory::Tables;
use super::off_cpu::{self, Divided, Thread};
use super::program::{Attached, KernelProgram};
use super::stacks::Stacks;
use super::threads::THREADS;
use super::window::WindowEnds;
use crate::clock::{self, Span, thread_cpu};
use crate::sample::Options;
use crate::sample::cross_check::CrossChecks;
use crate::sample::perf::events::{self, Budget};
use crate::sample::processes::Processes;
use crate::sample::start;
use crate::sample::thread::Stop;
use crate::sample::unwind::Modules;
use crate::sample::{Incomplete, OffCpuReport, RawOffCpu, RawSamples, RawWait, Sampled, SamplingReport};
use crate::target::{is_blocked, online_cpus, tasks};
use anyhow::{Context, Result};
use perf_event::Counter;
use std::sync::Arc;

/// Pause between two looks into the ring in ms, unless it wakes the reader before. Each look costs some 30 us; a thread
/// that ended before it was looked at has no name.
const PAUSE: libc::c_int = 100;
/// The cross-check's copies fill the ring sooner.
const SHORT_PAUSE: libc::c_int = 10;

/// One recording under way.
pub struct Reader<'s> {
    stacks: Stacks<'s>,
    /// `None`: detached.
    attached: Option<Attached>,
    /// Whether waits are followed, or why not; `None`: nobody asked.
    waits: Option<Result<(), String>>,
    /// The CPUs' clocks.
    ticking: Vec<Counter>,
    began: clock::Nanos,
    cpu_before: u64,
    report: SamplingReport,
    known: Known,
}

/// The threads that were there when so many had been entered; `None`: nobody has looked yet.
#[derive(Default)]
struct Known {
    entered: Option<u64>,
    threads: Vec<u32>,
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
        notes.extend(events::rate_note(&budget, options, cpus.len()));
        let event = events::event_name(options.event, &mut notes);
        let waits =
            (options.off_cpu && !options.cross_checks).then(|| kernel.waits_refused.clone().map_or(Ok(()), Err));
        kernel.clear(waits == Some(Ok(())))?;
        let mut stacks = Stacks::new(kernel, tables, modules, processes)?;
        stacks.taken.cross_checks = options.cross_checks.then(CrossChecks::default);
        stacks.notes = notes;
        let attached = Some(stacks.kernel.attach(waits == Some(Ok(())))?);
        let mut reader = Reader {
            stacks,
            attached,
            waits,
            ticking: Vec::new(),
            began: 0,
            cpu_before,
            report: SamplingReport { chosen: options.chosen.clone(), ..report_of(event, &budget) },
            known: Known::default(),
        };
        // Twice: what is born between the first look and its entry is seen by the second, and what later, by the
        // program.
        for _ in 0..2 {
            reader.stacks.enter(sampled);
        }
        reader.enter_blocked(sampled);
        reader.start_clocks(event, &budget, &cpus)?;
        Ok(reader)
    }

    /// Enters the threads that wait already; those that run are met when they leave their CPU.
    fn enter_blocked(&mut self, sampled: &[Sampled]) {
        let (now, mut lost) = (clock::now(), 0);
        for Sampled { pid, .. } in members(sampled) {
            for tid in tasks(pid).into_iter().filter(|tid| is_blocked(pid, *tid)) {
                lost += u64::from(!self.stacks.kernel.enter_blocked(pid, tid, now));
            }
        }
        if lost > 0 {
            self.stacks.notes.push(format!(
                "{lost} threads of the target that waited from the start found no room among {THREADS}: their waits \
                 are not told"
            ));
        }
    }

    pub fn window(&self) -> Arc<WindowEnds> {
        self.stacks.kernel.window.clone()
    }

    fn start_clocks(&mut self, event: &'static str, budget: &Budget, cpus: &[usize]) -> Result<()> {
        let clocks = cpus.iter().map(|cpu| events::clock(event, budget, *cpu)).collect::<std::io::Result<Vec<_>>>();
        self.ticking = clocks.context("the kernel refuses a sampling event of all processes")?;
        for clock in &self.ticking {
            self.stacks.kernel.tick_by(clock)?;
        }
        let period = |cpu: usize| (event == "cpu-clock").then(|| events::period_of(cpu, budget.period()));
        self.began = clock::now();
        let clocks = self.ticking.iter_mut().zip(cpus).map(|(clock, cpu)| (clock, Some(*cpu), period(*cpu)));
        let starts = start::start(clocks);
        for (cpu, start) in cpus.iter().zip(&starts) {
            if let Err(error) = start {
                self.stacks.notes.push(format!("the clock of CPU {cpu} could not be enabled: {error}"));
            }
            if let Some(period) = period(*cpu) {
                let known = start::known(*cpu, start, &mut self.stacks.notes);
                self.stacks.kernel.set_clock(*cpu, known.map(|start| (start, period)));
            }
        }
        Ok(())
    }

    pub fn run(mut self, stop: &Stop) -> (RawSamples, SamplingReport) {
        loop {
            let last = stop.is_asked();
            if last {
                self.ticking.iter_mut().for_each(|clock| {
                    let _ = clock.disable();
                });
            }
            self.stacks.read_changes();
            self.stacks.read();
            self.note_threads();
            if last {
                return self.finish();
            }
            self.stacks.wait(stop, if self.stacks.taken.cross_checks.is_some() { SHORT_PAUSE } else { PAUSE });
        }
    }

    /// Notes the threads' time on CPU and, while they live, their names. All of them are listed only where there are
    /// others than before: then all slots are looked at, of which most are empty.
    fn note_threads(&mut self) {
        let Self { stacks: Stacks { kernel, collector, .. }, known, .. } = self;
        let mut met = Vec::new();
        collector.note_on_cpu(clock::now(), kernel.window.open(), || {
            let entered = kernel.entered();
            let of = |(tid, thread): (u32, Thread)| (tid, (thread.pid, thread.on_cpu));
            if known.entered == Some(entered) {
                return known.threads.iter().filter_map(|tid| Some(of((*tid, kernel.thread(*tid)?)))).collect();
            }
            let threads = kernel.threads();
            met.extend(threads.iter().map(|(tid, thread)| (thread.pid, *tid)));
            *known = Known { entered: Some(entered), threads: threads.keys().copied().collect() };
            threads.into_iter().map(of).collect()
        });
        for (pid, tid) in met.into_iter().filter(|_| self.waits == Some(Ok(()))) {
            self.stacks.collector.thread(pid, tid);
        }
    }

    fn finish(mut self) -> (RawSamples, SamplingReport) {
        let span = Span::new(self.began, clock::now());
        // Detached first: what is read is then at rest.
        self.attached = None;
        self.stacks.read();
        let off_cpu = self.waits.clone().map(|followed| followed.map(|()| self.off_cpu()));
        let counts = self.stacks.kernel.counts();
        self.stacks.note_what_was_met();
        if self.stacks.taken.damaged > 0 {
            self.stacks
                .notes
                .push(format!("{} records of the kernel's program could not be read", self.stacks.taken.damaged));
        }
        if counts.copies > 0 && self.stacks.taken.cross_checks.is_none() {
            let of = self.stacks.collector.samples();
            self.stacks.notes.push(format!(
                "{} of {of} stacks were finished from a copy, beyond what the kernel's tables held",
                counts.copies
            ));
        }
        if counts.threads_lost > 0 {
            self.stacks.notes.push(format!(
                "at {} switches a thread of the target found no room among {THREADS}: its CPU and its waits are not \
                 told",
                counts.threads_lost
            ));
        }
        if counts.processes_lost > 0 {
            self.stacks.notes.push(format!(
                "{} processes that the target gave birth to found no room among {PROCESSES}: they are not sampled",
                counts.processes_lost
            ));
        }
        if self.report.period.is_none() {
            self.stacks.notes.push("throttling is not told apart: the kernel's program is not told of it".into());
        }
        self.report.fallbacks = std::mem::take(&mut self.stacks.notes);
        self.report.foreign = counts.foreign;
        self.report.lost = counts.lost;
        self.report.timer_delay = (counts.delays > 0).then(|| counts.delay_sum / counts.delays);
        self.report.kernel_cpu = Some(counts.spent);
        self.report.sampler_cpu = Some(thread_cpu().saturating_sub(self.cpu_before));
        self.report.recording = Some(span);
        self.report.recorded = self.stacks.collector.samples();
        self.report.cross_checks = self.stacks.taken.cross_checks.map(|cross_checks| cross_checks.findings);
        let mut raw = self.stacks.collector.finish(span);
        raw.off_cpu = off_cpu;
        (raw, self.report)
    }

    /// The window's waits by thread and stack.
    fn off_cpu(&mut self) -> RawOffCpu {
        let (window, threads, mut sums) =
            (self.stacks.kernel.window.span(), self.stacks.kernel.threads(), self.stacks.kernel.waits());
        off_cpu::add_held(&mut sums, &threads);
        off_cpu::add_open(&mut sums, &threads, window);
        let divided = off_cpu::divide(&sums);
        let mut found = Vec::new();
        for ((tid, stack), waited) in &divided.waited {
            let pid = threads.get(tid).map_or(0, |thread| thread.pid);
            let known = self.stacks.taken.waiting.get(stack).copied();
            let reason = match *stack {
                off_cpu::NEWBORN => Incomplete::Newborn,
                off_cpu::UNSEEN => Incomplete::Before,
                _ => Incomplete::NotSeen,
            };
            found.push(RawWait {
                thread: self.stacks.collector.thread(pid, *tid),
                stack: known.unwrap_or_else(|| self.stacks.collector.empty_stack(reason)),
                waits: waited.waits,
                blocked: waited.blocked,
                runnable: waited.runnable,
            });
        }
        RawOffCpu { report: self.off_cpu_report(window, &divided), waits: found }
    }

    fn off_cpu_report(&self, span: Span, divided: &Divided) -> OffCpuReport {
        let counts = self.stacks.kernel.counts();
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
