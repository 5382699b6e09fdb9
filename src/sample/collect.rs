//! What all samplers do with a stack once it has been seen: find its process's mappings, turn addresses into places in
//! files, keep each distinct stack and thread once. Invariant: every sample given is kept, whatever could not be found.

use super::processes::Processes;
use super::unwind::{KERNEL, Mapping, Modules, Registers, Space, StackCopy, Walker, read_mappings};
use super::{Address, Incomplete, OnCpu, RawSample, RawSamples, RawStack, RawThread};
use crate::clock::{Nanos, thread_cpu};
use crate::target::comm;
use rustc_hash::FxHashMap;

/// A process whose samples fall outside of its known mappings has them read again at most this often, in ns.
const REREAD: u64 = 100_000_000;
/// How often the threads' time on CPU is noted at most, in ns; and noting takes one part in so many of a CPU: of 4,000
/// threads it takes 8,000 system calls.
const NOTED: u64 = 100_000_000;
const NOTES_SHARE: u64 = 200;
/// Notes of one window that are kept, else ten minutes of 4,000 threads would be 800 MB of them. Half as many are still
/// more than one and a half for each of the twenty batches of a window.
const MOST_NOTES: usize = 64;

/// One process's executable mappings, shared with those forked from it.
struct ProcessSpace {
    space: usize,
    read_at: Nanos,
    stale: bool,
}

/// Collects the samples of one recording.
pub struct Collector<'m> {
    pub processes: Processes,
    pub modules: &'m mut Modules,
    pub spaces: Vec<Space>,
    walker: Walker,
    layouts: FxHashMap<Vec<Mapping>, usize>,
    by_pid: FxHashMap<u32, ProcessSpace>,
    threads: FxHashMap<u32, u32>,
    /// Names that threads took while they were watched: one that ended soon is not in /proc any more when it is met.
    names: FxHashMap<u32, String>,
    stacks: FxHashMap<Box<[u32]>, u32>,
    /// Interned addresses of the stack under way, leaf first.
    pub stack: Vec<u32>,
    /// The window was open when it was asked last.
    window_open: bool,
    /// ns between two notes of the threads' time on CPU.
    pace: Nanos,
    raw: RawSamples,
}

impl<'m> Collector<'m> {
    pub fn new(processes: Processes, modules: &'m mut Modules) -> Self {
        Collector {
            processes,
            modules,
            spaces: Vec::new(),
            walker: Walker::default(),
            layouts: FxHashMap::default(),
            by_pid: FxHashMap::default(),
            threads: FxHashMap::default(),
            names: FxHashMap::default(),
            stacks: FxHashMap::default(),
            stack: Vec::new(),
            window_open: false,
            pace: NOTED,
            raw: RawSamples::default(),
        }
    }

    /// A fork of a process (of a thread: nothing changes). The child runs in a copy of its parent's mappings.
    pub fn forked(&mut self, pid: u32, parent: u32) {
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

    /// A thread has a new name, with another program where `exec`.
    pub fn renamed(&mut self, pid: u32, tid: u32, name: String, exec: bool) {
        self.threads.remove(&tid);
        self.names.insert(tid, name);
        if exec {
            self.mapped(pid);
        }
    }

    /// The process has other mappings than before; says whether it was known.
    pub fn mapped(&mut self, pid: u32) -> bool {
        let process = self.by_pid.get_mut(&pid);
        process.map(|process| process.stale = true).is_some()
    }

    pub fn thread(&mut self, pid: u32, tid: u32) -> u32 {
        if let Some(known) = self.threads.get(&tid) {
            return *known;
        }
        let name = |tid| comm(pid, tid).or_else(|| self.names.get(&tid).cloned()).unwrap_or_else(|| "?".into());
        let thread = RawThread { process: name(pid), pid, thread: name(tid), tid };
        self.note_ancestor(pid);
        self.raw.threads.push(thread);
        let at = self.raw.threads.len() as u32 - 1;
        self.threads.insert(tid, at);
        at
    }

    /// The mappings of a process, read again when the kernel told of new ones or the address is in none.
    pub fn space(&mut self, pid: u32, address: u64, time: Nanos) -> usize {
        if let Some(process) = self.by_pid.get(&pid) {
            let known = !process.stale && self.spaces[process.space].covers(address);
            if known || (time.saturating_sub(process.read_at) < REREAD && !process.stale) {
                return process.space;
            }
        }
        let mappings = read_mappings(pid);
        let gone = mappings.is_empty();
        if let (true, Some(process)) = (gone, self.by_pid.get_mut(&pid)) {
            process.stale = false;
            process.read_at = time;
            return process.space;
        }
        let space = match self.layouts.get(&mappings) {
            Some(&space) => space,
            None => {
                self.spaces.push(Space::new(pid, &mappings, self.modules));
                self.layouts.insert(mappings, self.spaces.len() - 1);
                self.spaces.len() - 1
            }
        };
        self.by_pid.insert(pid, ProcessSpace { space, read_at: time, stale: false });
        space
    }

    /// Begins a stack with its kernel addresses, leaf first.
    pub fn begin(&mut self, kernel: impl Iterator<Item = u64>) {
        self.stack.clear();
        for (depth, address) in kernel.enumerate() {
            // All but the first are return addresses.
            let at = if depth == 0 { address } else { address - 1 };
            let id = self.modules.intern(Address { module: Some(KERNEL), at });
            self.stack.push(id);
        }
    }

    /// Goes on with a user address: for a return address one less, inside the call.
    pub fn push(&mut self, space: usize, address: u64) {
        let id = self.spaces[space].address(address, self.modules);
        self.stack.push(id);
    }

    /// Goes on by walking a copy of the stack from these registers.
    pub fn walk(&mut self, space: usize, registers: &Registers, copy: &StackCopy) -> Option<Incomplete> {
        self.walker.walk(&mut self.spaces[space], self.modules, registers, copy, &mut self.stack)
    }

    /// Keeps the stack under way; gives its number.
    pub fn keep_stack(&mut self, incomplete: Option<Incomplete>) -> u32 {
        // The reason is part of a stack's identity.
        self.stack.push(u32::MAX - incomplete.map_or(0, |reason| reason as u32 + 1));
        if let Some(&id) = self.stacks.get(self.stack.as_slice()) {
            return id;
        }
        let key: Box<[u32]> = self.stack.as_slice().into();
        let addresses = key[..key.len() - 1].iter().map(|id| self.modules.address_list[*id as usize]).collect();
        let id = self.raw.stacks.len() as u32;
        self.raw.stacks.push(RawStack { addresses, incomplete });
        self.stacks.insert(key, id);
        id
    }

    /// A stack that was kept, by its number.
    pub fn stack_of(&self, number: u32) -> &RawStack {
        &self.raw.stacks[number as usize]
    }

    /// A stack of which nothing is known.
    pub fn empty_stack(&mut self, reason: Incomplete) -> u32 {
        self.stack.clear();
        self.keep_stack(Some(reason))
    }

    /// Adds a sample; gives its number.
    pub fn sample(&mut self, sample: RawSample) -> usize {
        self.raw.samples.push(sample);
        self.raw.samples.len() - 1
    }

    /// Gives an earlier sample its stack.
    pub fn settle(&mut self, sample: usize, stack: u32) {
        self.raw.samples[sample].stack = stack;
    }

    pub fn samples(&self) -> u64 {
        self.raw.samples.len() as u64
    }

    /// Notes the threads' ns on CPU since the start, where it is time for it: as soon as the window has begun or ended,
    /// and now and then, the more seldom the longer it takes. `open`: when the window began that has not ended; `None`:
    /// it has not begun, or has ended, or nobody tells. `threads`: process and ns by thread number.
    pub fn note_on_cpu(
        &mut self,
        at: Nanos,
        open: Option<Nanos>,
        threads: impl FnOnce() -> FxHashMap<u32, (u32, u64)>,
    ) {
        let noted = self.raw.on_cpu.get_or_insert_default();
        let has_changed = std::mem::replace(&mut self.window_open, open.is_some()) != open.is_some();
        if !has_changed && noted.last().is_some_and(|last| at < last.at + self.pace) {
            return;
        }
        let began = thread_cpu();
        let threads = threads();
        self.pace = NOTED.max((thread_cpu() - began) * NOTES_SHARE);
        noted.push(OnCpu { at, threads: threads.iter().map(|(tid, (_, nanos))| (*tid, *nanos)).collect() });
        if let Some(began) = open {
            thin(noted, began);
        }
        for (tid, (pid, _)) in threads {
            if self.raw.process_of.insert(tid, pid) != Some(pid) {
                self.note_ancestor(pid);
            }
        }
    }

    /// Notes whose descendant a process is, where it is not one that was named itself.
    fn note_ancestor(&mut self, pid: u32) {
        let named = self.processes.named(pid).map(|named| named.pid);
        self.raw.named.extend(named.filter(|named| *named != pid).map(|named| (pid, named)));
    }

    pub fn finish(mut self, span: crate::clock::Span) -> RawSamples {
        self.raw.span = Some(span);
        self.raw.modules = self.modules.list.clone();
        self.raw
    }
}

/// Leaves out every second note since the window began, but for the first one, by which its beginning is told, and the
/// last one, by which its end may be.
fn thin(noted: &mut Vec<OnCpu>, began: Nanos) {
    let first = noted.partition_point(|note| note.at < began);
    let last = noted.len() - 1;
    if noted.len() - first > MOST_NOTES {
        let mut at = 0..;
        noted.retain(|_| at.next().is_some_and(|at| at <= first || at == last || (at - first) % 2 == 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;
    use crate::sample::Sampled;

    #[test]
    fn notes_of_time_on_cpu_do_not_grow_with_the_window_and_its_ends_are_as_exact_as_with_all_of_them() {
        let on_cpu = |window: Option<Span>| {
            let mut modules = Modules::default();
            let mut collector = Collector::new(Processes::new(&[Sampled::alone(1)]), &mut modules);
            for number in 0..2_450u64 {
                let at = number * NOTED;
                let open = window.filter(|window| window.start <= at && at < window.end).map(|window| window.start);
                // Unequal from note to note, so that another pair of notes gives another time.
                collector.note_on_cpu(at, open, || FxHashMap::from_iter([(7, (1, number * number))]));
            }
            collector.finish(Span::new(0, 2_450 * NOTED))
        };
        let window = Span::new(10 * NOTED + 3, 2_410 * NOTED + NOTED / 3);
        let (thinned, all) = (on_cpu(Some(window)), on_cpu(None));
        assert_eq!(all.on_cpu.as_ref().unwrap().len(), 2_450);
        // Those before and after the window, and those within.
        let within = thinned.on_cpu.as_ref().unwrap().len() - 11 - 39;
        assert!((MOST_NOTES / 2..=MOST_NOTES).contains(&within), "{within}");
        assert_eq!(thinned.on_cpu_within(window), all.on_cpu_within(window));
        let batches: Vec<u64> = (1..=20).map(|batch| window.nanos() * batch / 20).collect();
        assert_eq!(thinned.on_cpu_by_part(window, &batches)[&7].len(), 20);
    }
}
