//! Probes at the functions of async tasks: wakers first, then the polls of tasks that are alive. Invariant: a probe
//! lives as long as this does, and is gone with the process that made it.

use super::super::program::KernelProgram;
use super::tasks::TaskFunctions;
use crate::sample::followed::Task;
use crate::sample::{Address, Module};
use anyhow::Result;
use aya::programs::uprobe::{UProbeLink, UProbeScope};
use rustc_hash::{FxHashMap, FxHashSet};
use std::fs::File;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;

/// Poll functions that are probed at most; each takes two probes, and the kernel some 100 ms to take each away again,
/// one after the other.
const MOST_POLLS: usize = 64;
/// Tasks that are met less often than once in so many meetings carry no query of a load, and are not probed.
const RARE: u64 = 200;
/// Bytes of a task's header in which the pointer to its functions is looked for: tokio 1.20 has it at 32, later ones
/// at 16.
const HEADER: usize = 64;

/// The probes of one process.
pub struct Probes {
    functions: TaskFunctions,
    scope: UProbeScope,
    memory: Option<File>,
    /// Where in a header the pointer to the functions lies.
    table_at: Option<u64>,
    looked_at: FxHashSet<u64>,
    /// How often tasks of each poll function were met.
    met: FxHashMap<u64, u64>,
    probed: Vec<(u64, String)>,
    links: Vec<UProbeLink>,
    /// Those that the kernel refused.
    pub refused: Vec<String>,
}

impl Probes {
    /// Probes the functions of wakers.
    pub fn attach(kernel: &mut KernelProgram, pid: u32, functions: TaskFunctions) -> Result<Probes> {
        let scope = NonZeroU32::new(pid).map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
        let mut links = Vec::new();
        for (program, list) in [
            ("on_register", &functions.registers),
            ("on_wake", &functions.wakes),
            ("on_register_within", &functions.registers_within),
            ("on_wake_within", &functions.wakes_within),
        ] {
            for function in list {
                links.push(kernel.probe(program, &functions.file, function.offset, scope)?);
            }
        }
        Ok(Probes {
            functions,
            scope,
            memory: File::open(format!("/proc/{pid}/mem")).ok(),
            table_at: None,
            looked_at: FxHashSet::default(),
            met: FxHashMap::default(),
            probed: Vec::new(),
            links,
            refused: Vec::new(),
        })
    }

    /// A task was met: learns where its functions are named, or counts it.
    pub fn meet(&mut self, kernel: &KernelProgram, task: Task) {
        if task.poll != 0 {
            if self.functions.polls.contains_key(&task.poll) {
                *self.met.entry(task.poll).or_default() += 1;
            }
        } else if self.table_at.is_none() && self.looked_at.insert(task.id) {
            self.table_at = self.look(task.id);
            if let Some(bytes) = self.table_at {
                kernel.following.set_table_at(bytes);
            }
        }
    }

    /// So often a stack was met. Whoever polls a task then, however seldom that task waits, is on it.
    pub fn meet_stack(&mut self, stack: &[Address], modules: &[Module], times: u64) {
        let of_program = |address: &&Address| {
            let module = address.module.and_then(|module| modules.get(module.0 as usize));
            module.is_some_and(|module| module.path == self.functions.mapped_as)
        };
        let mut polls: Vec<u64> =
            stack.iter().filter(of_program).filter_map(|address| self.functions.poll_at(address.at)).collect();
        polls.sort_unstable();
        polls.dedup();
        polls.into_iter().for_each(|poll| *self.met.entry(poll).or_default() += times);
    }

    /// Looks for a word of the header that points to a pointer to a known poll function.
    fn look(&self, header: u64) -> Option<u64> {
        let memory = self.memory.as_ref()?;
        let mut words = [0; HEADER];
        memory.read_exact_at(&mut words, header).ok()?;
        words.chunks_exact(8).enumerate().find_map(|(at, word)| {
            let table = u64::from_le_bytes(word.try_into().expect("8 bytes"));
            let mut first = [0; 8];
            memory.read_exact_at(&mut first, table).ok()?;
            self.functions.polls.contains_key(&u64::from_le_bytes(first)).then_some(at as u64 * 8)
        })
    }

    /// Probes the poll functions of the tasks that were met, those met most first, and not those met rarely.
    pub fn probe_polls(&mut self, kernel: &mut KernelProgram) {
        let mut met: Vec<(u64, u64)> = self.met.iter().map(|(poll, times)| (*times, *poll)).collect();
        met.sort_unstable_by(|a, b| b.cmp(a));
        let all: u64 = met.iter().map(|(times, _)| times).sum();
        let frequent = met.into_iter().filter(|(times, _)| times * RARE >= all);
        for (_, poll) in frequent.take(MOST_POLLS) {
            let function = self.functions.polls[&poll].clone();
            // The end first: a poll that ends without having begun is passed over, one that never ends is not.
            for program in ["on_polled", "on_poll"] {
                match kernel.probe(program, &self.functions.file, function.offset, self.scope) {
                    Ok(link) => self.links.push(link),
                    Err(error) => self.refused.push(format!("{error:#}")),
                }
            }
            self.probed.push((poll, function.symbol));
        }
    }

    /// The poll functions that are probed, by address and symbol, and how many there are.
    pub fn polls(&self) -> (Vec<(u64, String)>, u64) {
        (self.probed.clone(), self.functions.polls.len() as u64)
    }
}
