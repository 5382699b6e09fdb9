//! On-CPU samples by perf events, unwound while the target runs. Invariant: every record of a ring is looked at and
//! every loss counted; a sample whose stack cannot be followed is kept with the reason.

mod events;
mod processes;
mod record;

pub use events::{Budget, EventChoice, Opened, Options, TOTAL_RATE, budget, has_pmu, open};

use super::unwind::{KERNEL, Modules, Registers, Space, StackCopy, Walker, read_mappings};
use super::{Address, Incomplete, RawSample, RawSamples, RawStack, RawThread, Recording, Sampler, SamplingReport};
use crate::clock::{self, Span};
use crate::target::comm;
use anyhow::{Context, Result};
use processes::Processes;
use record::{Record, SampleRecord};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause between two looks into the rings; a ring holds 250 ms.
const PAUSE: Duration = Duration::from_millis(15);
/// A process whose samples fall outside of its known mappings has them read again at most this often, in ns.
const REREAD: u64 = 100_000_000;

/// Samples processes by perf events.
#[derive(Default)]
pub struct PerfSampler {
    options: Options,
    /// Survives from window to window, so that each file is opened once.
    modules: Arc<std::sync::Mutex<Modules>>,
}

impl PerfSampler {
    pub fn new(options: Options) -> Self {
        PerfSampler { options, modules: Arc::default() }
    }
}

impl Sampler for PerfSampler {
    fn start(&mut self, pids: &[u32], children: bool) -> Result<Box<dyn Recording>> {
        let opened = open(&self.options, pids)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread_id = Arc::new(AtomicU32::new(0));
        let processes = Processes::new(pids, children);
        let (modules, flag, id) = (self.modules.clone(), stop.clone(), thread_id.clone());
        let thread = std::thread::Builder::new()
            .name("wireprof-sample".into())
            .spawn(move || {
                // SAFETY: gettid has no preconditions.
                id.store(unsafe { libc::gettid() } as u32, Ordering::Release);
                prefer_this_thread();
                let mut modules = modules.lock().unwrap_or_else(|e| e.into_inner());
                Reader::new(opened, processes, &mut modules).run(&flag)
            })
            .context("cannot start the sampling thread")?;
        Ok(Box::new(PerfRecording { stop, thread_id, thread: Some(thread) }))
    }
}

/// A reader that waits for a CPU longer than its rings last loses samples, so it asks to be preferred; a refusal
/// (no privilege) only makes losses likelier, and those are counted.
fn prefer_this_thread() {
    // SAFETY: setpriority takes numbers only; 0 is the calling thread on Linux (setpriority(2), "C library/kernel differences").
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
}

struct PerfRecording {
    stop: Arc<AtomicBool>,
    thread_id: Arc<AtomicU32>,
    thread: Option<JoinHandle<(RawSamples, SamplingReport)>>,
}

impl Recording for PerfRecording {
    fn thread_ids(&self) -> Vec<u32> {
        Some(self.thread_id.load(Ordering::Acquire)).filter(|id| *id != 0).into_iter().collect()
    }

    fn stop(mut self: Box<Self>) -> Result<(RawSamples, SamplingReport)> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().context("the recording was already stopped")?;
        thread.join().map_err(|_| anyhow::anyhow!("the sampling thread panicked; its samples are lost"))
    }
}

impl Drop for PerfRecording {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One process's executable mappings, shared with those forked from it.
struct ProcessSpace {
    space: usize,
    read_at: u64,
    stale: bool,
}

struct Reader<'m> {
    opened: Opened,
    processes: Processes,
    modules: &'m mut Modules,
    walker: Walker,
    spaces: Vec<Space>,
    layouts: FxHashMap<Vec<super::unwind::Mapping>, usize>,
    by_pid: FxHashMap<u32, ProcessSpace>,
    threads: FxHashMap<u32, u32>,
    stacks: FxHashMap<Box<[u32]>, u32>,
    scratch: Vec<u32>,
    raw: RawSamples,
    foreign: u64,
    lost: u64,
    throttled: u64,
    damaged: u64,
}

impl<'m> Reader<'m> {
    fn new(opened: Opened, processes: Processes, modules: &'m mut Modules) -> Self {
        Reader {
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
            raw: RawSamples::default(),
            foreign: 0,
            lost: 0,
            throttled: 0,
            damaged: 0,
        }
    }

    fn run(mut self, stop: &AtomicBool) -> (RawSamples, SamplingReport) {
        let cpu_before = thread_cpu();
        let start = clock::now();
        let mut rings = std::mem::take(&mut self.opened.rings);
        let mut notes = Vec::new();
        for counter in rings.iter_mut().map(|ring| ring.as_counter_mut()).chain(self.opened.others.iter_mut()) {
            if let Err(error) = counter.enable() {
                notes.push(format!("an event could not be enabled: {error}"));
            }
        }
        loop {
            let last = stop.load(Ordering::Acquire);
            if last {
                for ring in &mut rings {
                    let _ = ring.as_counter_mut().disable();
                }
            }
            for ring in &mut rings {
                while let Some(record) = ring.next_record() {
                    let body = match record.data() {
                        [whole] => Cow::Borrowed(*whole),
                        // The record wraps around the ring's end.
                        _ => Cow::Owned(record.to_vec()),
                    };
                    self.take(record.ty(), record.misc(), &body);
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

    fn take(&mut self, kind: u32, misc: u16, body: &[u8]) {
        match record::parse(kind, misc, body, self.opened.kernel) {
            Some(Record::Sample(sample)) => self.sample(&sample),
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

    fn sample(&mut self, sample: &SampleRecord) {
        if !self.processes.is_target(sample.pid) {
            self.foreign += 1;
            return;
        }
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
        let stack = self.intern_stack(incomplete);
        let thread = self.thread(sample.pid, sample.tid);
        self.raw.samples.push(RawSample { at: sample.time, thread, stack, weight: sample.period });
    }

    fn unwind(&mut self, sample: &SampleRecord, registers: &Registers) -> Option<Incomplete> {
        let space = self.space(sample, registers[16]);
        let stack =
            StackCopy { start: registers[7], bytes: sample.stack, truncated: sample.stack.len() == sample.stack_asked };
        self.walker.walk(&mut self.spaces[space], self.modules, registers, &stack, &mut self.scratch)
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

    fn finish(mut self, span: Span, cpu: u64, mut notes: Vec<String>) -> (RawSamples, SamplingReport) {
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
            ..SamplingReport::default()
        };
        self.raw.span = Some(span);
        self.raw.modules = self.modules.list.clone();
        (self.raw, report)
    }
}

/// CPU time of the calling thread in ns.
fn thread_cpu() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}
