//! Stacks as they come out of the kernel's ring, and the tables that its program follows them by: read while the target
//! runs, and kept in step with what the target maps. Invariant: a stack is kept once, whole or with the reason why not.

use super::members;
use super::memory::Tables;
use super::program::KernelProgram;
use super::shapes::{Ended, KernelSpace, Record, Sample, parse};
use crate::clock;
use crate::sample::collect::Collector;
use crate::sample::cross_check::CrossChecks;
use crate::sample::perf::{events, record};
use crate::sample::processes::Processes;
use crate::sample::thread::Stop;
use crate::sample::unwind::{Modules, Registers, StackCopy};
use crate::sample::{Incomplete, RawSample, Sampled};
use crate::target::online_cpus;
use anyhow::{Context, Result};
use perf_event::Sampler;
use rustc_hash::FxHashMap;
use std::os::fd::{AsRawFd, RawFd};
use twox_hash::XxHash3_128;

/// What is being followed, and what has been read of it.
pub struct Stacks<'s> {
    pub kernel: &'s mut KernelProgram,
    tables: &'s mut Tables,
    pub collector: Collector<'s>,
    /// What processes map and how they are named.
    changes: Vec<Sampler>,
    pub taken: Taken,
    pub notes: Vec<String>,
}

/// What has been read of the kernel's ring.
#[derive(Default)]
pub struct Taken {
    /// Stacks by what the kernel says of them: those that return cost one look-up.
    known: FxHashMap<Seen, u32>,
    /// Stacks of waits by the kernel's number.
    pub waiting: FxHashMap<u32, u32>,
    /// Pieces of stack of the sample to come, by CPU.
    copies: FxHashMap<u32, (u64, Vec<u8>)>,
    pointers: FxHashMap<u32, Vec<u64>>,
    pub damaged: u64,
    pub cross_checks: Option<CrossChecks>,
}

/// All that makes a stack what it is, its addresses by 128 bits of XXH3: to keep and compare the addresses themselves
/// takes a sixth of the reader's time. That two of a million stacks have the same number by chance is less likely than
/// one in 10^26.
#[derive(PartialEq, Eq, Hash)]
struct Seen {
    addresses: u128,
    kernel_frames: u16,
    ended: u8,
    space: KernelSpace,
}

impl Seen {
    fn of(sample: &Sample) -> Seen {
        Seen {
            addresses: XxHash3_128::oneshot(sample.address_bytes()),
            kernel_frames: sample.kernel_addresses().len() as u16,
            ended: sample.ended as u8,
            space: sample.space,
        }
    }
}

impl<'s> Stacks<'s> {
    /// Begins to be told what processes map.
    pub fn new(
        kernel: &'s mut KernelProgram,
        tables: &'s mut Tables,
        modules: &'s mut Modules,
        processes: Processes,
    ) -> Result<Stacks<'s>> {
        let changes = online_cpus().iter().map(|cpu| events::changes(*cpu)).collect::<std::io::Result<Vec<_>>>();
        let mut changes = changes.context("the kernel refuses to tell what processes map")?;
        changes.iter_mut().try_for_each(|ring| ring.as_counter_mut().enable())?;
        let collector = Collector::new(processes, modules);
        Ok(Stacks { kernel, tables, collector, changes, taken: Taken::default(), notes: Vec::new() })
    }

    /// Enters the processes that are not entered yet.
    pub fn enter(&mut self, sampled: &[Sampled]) {
        for Sampled { pid, children } in members(sampled) {
            if self.kernel.target(pid).is_none() {
                self.upload(pid, 0, children);
            }
        }
    }

    /// Reads what was mapped and renamed since.
    pub fn read_changes(&mut self) {
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

    /// Reads the ring.
    pub fn read(&mut self) {
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

    /// What the tables and files had to say.
    pub fn note_what_was_met(&mut self) {
        self.notes.append(&mut self.kernel.memory.notes);
        self.notes.append(&mut self.collector.modules.notes);
    }

    /// Waits for news of mappings, for a ring that is half full or for the end; at most so many ms.
    pub fn wait(&self, stop: &Stop, most: libc::c_int) {
        let rings = self.changes.iter().map(|ring| ring.as_counter().as_raw_fd());
        wait(rings.chain([self.kernel.ring.as_raw_fd(), stop.wake()]), most);
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
    let seen = (sample.copied == 0).then(|| Seen::of(sample));
    if let Some(known) = seen.as_ref().and_then(|seen| taken.known.get(seen)) {
        return *known;
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
    taken.known.extend(seen.map(|seen| (seen, id)));
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

/// Waits for news of these descriptors, which are open, at most so many ms.
fn wait(news: impl Iterator<Item = RawFd>, most: libc::c_int) {
    let mut polled: Vec<libc::pollfd> = news.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: the array holds as many entries as are said; poll(2) writes only their `revents`.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, most) };
}
