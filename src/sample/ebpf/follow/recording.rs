//! One recording of what carries the queries: attaches, finds the tasks there are, reads events until it is stopped.
//! Invariant: events are in order of time, and each stack is one of the recording's own or absent.

use super::super::memory::Tables;
use super::super::program::{Attached, KernelProgram};
use super::super::stacks::Stacks;
use super::probes::Probes;
use super::shapes::parse;
use super::tasks::TaskFunctions;
use super::{hit, interrupts};
use crate::clock::{self, Nanos, Span};
use crate::sample::followed::{FollowedEvent, FollowingReport, Happened, RawFollowed};
use crate::sample::processes::Processes;
use crate::sample::thread::Stop;
use crate::sample::unwind::Modules;
use crate::sample::{FollowOptions, RawSamples, Sampled};
use anyhow::Result;
use rustc_hash::FxHashMap;
use std::path::Path;
use std::time::Duration;

/// Pause between two looks into the rings in ms.
const PAUSE: libc::c_int = 5;
/// How long tasks are looked for before their polls are probed.
const LOOK: Nanos = 400_000_000;
/// Room for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRoom {
    /// Bytes of the kernel's ring, a power of two of whole pages.
    pub ring_bytes: u32,
    /// Events that are kept at most, 48 bytes each: with one more, following ends.
    pub most: usize,
}

impl Default for EventRoom {
    /// A ring for 10 ms at 30 million events a second; 380 MB of events.
    fn default() -> EventRoom {
        EventRoom { ring_bytes: 16 << 20, most: 8_000_000 }
    }
}

/// A recording under way.
pub struct Followed<'s> {
    stacks: Stacks<'s>,
    /// `None`: detached.
    attached: Option<Attached>,
    probes: Option<Probes>,
    events: Vec<FollowedEvent>,
    most: usize,
    /// When there was no room for more events.
    full: Option<Nanos>,
    damaged: u64,
    report: FollowingReport,
}

impl<'s> Followed<'s> {
    /// Attaches everything; when this returns, what happens is being told.
    pub fn start(
        kernel: &'s mut KernelProgram,
        tables: &'s mut Tables,
        modules: &'s mut Modules,
        sampled: &[Sampled],
        (options, room): (&FollowOptions, EventRoom),
    ) -> Result<Followed<'s>> {
        kernel.clear(false)?;
        let interrupts = interrupts::entries(Path::new("/proc/kallsyms"));
        kernel.following.set_interrupts(interrupts.unwrap_or_default());
        kernel.following.set_wait_event_at(options.wait_event_at.unwrap_or(0));
        if let Some((port, name)) = &options.unix_socket {
            kernel.following.set_unix_socket(*port, name);
        }
        let mut stacks = Stacks::new(kernel, tables, modules, Processes::new(sampled))?;
        for _ in 0..2 {
            stacks.enter(sampled);
        }
        let attached = Some(stacks.kernel.attach_following(options.unix_socket.is_some())?);
        let mut followed = Followed {
            stacks,
            attached,
            probes: None,
            events: Vec::new(),
            most: room.most,
            full: None,
            damaged: 0,
            report: FollowingReport::default(),
        };
        if interrupts.is_none() {
            followed.stacks.notes.push(
                "the kernel hides its symbols: what an interrupt wakes is charged to the thread that it interrupted"
                    .into(),
            );
        }
        followed.stacks.kernel.following.turn_on();
        if let Some(first) = sampled.first() {
            let tasks = if options.tasks { followed.find_tasks(first.pid) } else { Err("not asked for".into()) };
            followed.report.no_tasks = tasks.err();
        }
        Ok(followed)
    }

    /// Probes wakers, looks a while which tasks there are, and probes their polls.
    fn find_tasks(&mut self, pid: u32) -> Result<(), String> {
        let functions = TaskFunctions::of(pid).map_err(|why| why.to_string())?;
        let words = |error: anyhow::Error| format!("{error:#}");
        self.report.hit_cost = Some(hit::cost(self.stacks.kernel).map_err(words)?);
        let mut probes = Probes::attach(self.stacks.kernel, pid, functions).map_err(words)?;
        self.look(&mut probes);
        probes.probe_polls(self.stacks.kernel);
        // While some probes are there and others are not yet, ends of polls are told whose beginnings were not.
        self.read(usize::MAX);
        self.events.clear();
        let (polls, all) = probes.polls();
        self.report.notes.append(&mut probes.refused);
        self.report.polls = Some((polls.len() as u64, all));
        self.probes = Some(probes);
        if polls.is_empty() {
            return Err("none of its tasks was woken while they were looked for".into());
        }
        Ok(())
    }

    /// Meets the tasks that there are: by the wakers, and by the stacks of those who use them.
    fn look(&mut self, probes: &mut Probes) {
        let until = clock::now() + LOOK;
        let mut met: FxHashMap<u32, u64> = FxHashMap::default();
        while clock::now() < until {
            std::thread::sleep(Duration::from_millis(PAUSE as u64));
            self.read(usize::MAX);
            for event in self.events.drain(..) {
                if let Happened::Registers(task, stack) | Happened::WakesTask(task, stack) = event.happened {
                    probes.meet(self.stacks.kernel, task);
                    stack.into_iter().for_each(|stack| *met.entry(stack).or_default() += 1);
                }
            }
        }
        let Stacks { taken, collector, .. } = &self.stacks;
        for (number, times) in met {
            let Some(stack) = taken.waiting.get(&number) else { continue };
            probes.meet_stack(&collector.stack_of(*stack).addresses, &collector.modules.list, times);
        }
    }

    /// Reads what was sent since; ends the following where more than so many events have come.
    fn read(&mut self, most: usize) {
        while let Some(item) = self.stacks.kernel.events.next() {
            match parse(&item) {
                Some(event) if self.events.len() < most => self.events.push(event),
                // Events of several CPUs come out of order by little.
                Some(event) => self.full = Some(self.full.map_or(event.at, |at| at.min(event.at))),
                None => self.damaged += 1,
            }
        }
        if self.full.is_some() {
            self.stacks.kernel.following.turn_off();
        }
        self.stacks.read_changes();
        self.stacks.read();
    }

    /// Reads until it is told to stop, then gives all events since the start, with the stacks that they name.
    pub fn run(mut self, stop: &Stop) -> (RawSamples, RawFollowed) {
        let began = clock::now();
        loop {
            let last = stop.is_asked();
            self.read(self.most);
            if last {
                break;
            }
            self.stacks.wait(stop, PAUSE);
        }
        self.stacks.kernel.following.turn_off();
        let polls = self.probes.take().map(|probes| probes.polls().0).unwrap_or_default();
        self.attached = None;
        self.read(self.most);
        let end = clock::now();
        let span = Span::new(began, self.full.unwrap_or(end).clamp(began, end));
        self.finish(span, polls)
    }

    fn finish(mut self, span: Span, polls: Vec<(u64, String)>) -> (RawSamples, RawFollowed) {
        let (counts, cpu) = (self.stacks.kernel.following.counts(), self.stacks.kernel.counts());
        self.stacks.note_what_was_met();
        let mut events = std::mem::take(&mut self.events);
        for event in &mut events {
            self.name(event);
        }
        events.sort_by_key(|event| event.at);
        if self.full.is_some() {
            events.retain(|event| event.at < span.end);
        }
        let mut report = std::mem::take(&mut self.report);
        report.notes.append(&mut self.stacks.notes);
        if self.full.is_some() {
            let seconds = span.nanos() as f64 / 1e9;
            report.notes.push(format!("following ended after {seconds:.2} s: there was no room for more events"));
        }
        if self.damaged > 0 {
            report.notes.push(format!("{} events could not be read", self.damaged));
        }
        let report = FollowingReport {
            span,
            events: events.len() as u64,
            lost: counts.lost,
            stacks_lost: counts.crowded + cpu.stacks_lost,
            hits: counts.hits,
            hit_programs: counts.hit_spent,
            walks: cpu.walked,
            walk_cpu: cpu.walk_spent,
            ..report
        };
        (self.stacks.collector.finish(span), RawFollowed { events, polls, report, ..RawFollowed::default() })
    }

    /// Puts the recording's number of a stack where the kernel's stands, and notes the thread's name.
    fn name(&mut self, event: &mut FollowedEvent) {
        let Stacks { taken, collector, .. } = &mut self.stacks;
        if event.process != 0 {
            collector.thread(event.process, event.thread);
        }
        if let Happened::Leaves { stack, .. }
        | Happened::Wakes { stack, .. }
        | Happened::Registers(_, stack)
        | Happened::RegistersWithin(_, stack)
        | Happened::WakesTask(_, stack) = &mut event.happened
        {
            *stack = stack.and_then(|number| taken.waiting.get(&number).copied());
        }
    }
}
