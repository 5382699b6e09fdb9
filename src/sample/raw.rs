//! Samples as a sampler leaves them: addresses inside modules, no names. Addresses are relative to files, so that
//! the same code in many processes is one address and is symbolized once.

use super::off_cpu::RawOffCpu;
use crate::clock::{Nanos, Span};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Index into [`RawSamples::modules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModuleId(pub u32);

/// What holds a piece of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ModuleKind {
    /// A mapped file; addresses are offsets into the file.
    File,
    /// The vdso; addresses are offsets from its start.
    Vdso,
    /// Executable memory without a file; addresses are virtual addresses.
    Anonymous,
    /// The kernel and its modules; addresses are kernel virtual addresses.
    Kernel,
}

/// A module of the target as it was mapped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Module {
    /// What it is, which says what its addresses mean.
    pub kind: ModuleKind,
    /// As `/proc/PID/maps` names it, without ` (deleted)`; in the mount namespace of `pid`.
    pub path: PathBuf,
    /// A process that had it mapped, for `/proc/PID/root` and `/proc/PID/map_files`.
    pub pid: u32,
    /// One mapping `(start, end)` of it in that process, which names its entry in `/proc/PID/map_files`.
    pub mapping: (u64, u64),
    /// Inode number of the file on its device; 0: none, or not known.
    pub inode: u64,
    /// The path was marked ` (deleted)`.
    pub deleted: bool,
    /// GNU build-id as lower-case hex, read from the running process's mapping or the file when it was first seen.
    pub build_id: Option<String>,
}

/// A code address. For a return address `at` is already one less than the address returned to, so that it lies
/// inside the call instruction; use it for look-ups as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// `None`: no mapping was seen there; `at` is then a virtual address.
    pub module: Option<ModuleId>,
    /// Offset in the module or virtual address, as the module's [`ModuleKind`] says.
    pub at: u64,
}

/// Why a user stack is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Incomplete {
    /// The copied piece of the stack ended before the root.
    CopyTooShort,
    /// No call-frame information covers an address.
    NoTable,
    /// A caller's address or frame could not be read.
    BadRead,
    /// The walk ended at an address whose call-frame information does not say that it is a root.
    NotARoot,
    /// The call-frame information needs an expression or a register that the unwinder does not follow.
    UnsupportedRule,
    /// More frames than the unwinder follows.
    TooDeep,
    /// The kernel gave no user registers (a thread being born or dying).
    NoRegisters,
    /// The timer's interrupt came after the thread had lost the CPU, and no switch-out of it was sampled.
    SwitchedOut,
    /// The thread left its CPU without its stack being followed: there was no room.
    NotSeen,
    /// The thread left its CPU before anybody looked, and did not run until the window's end.
    Before,
    /// The thread was born and had not run yet.
    Newborn,
}

impl std::fmt::Display for Incomplete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Incomplete::CopyTooShort => "copy too short",
            Incomplete::NoTable => "no call-frame information",
            Incomplete::BadRead => "unreadable frame",
            Incomplete::NotARoot => "ended where there is no root",
            Incomplete::UnsupportedRule => "unsupported call-frame rule",
            Incomplete::TooDeep => "too many frames",
            Incomplete::NoRegisters => "no user registers",
            Incomplete::SwitchedOut => "already switched out",
            Incomplete::NotSeen => "not seen switching out",
            Incomplete::Before => "off CPU since before the recording",
            Incomplete::Newborn => "had not run yet",
        })
    }
}

/// A distinct stack, leaf first: kernel frames, then user frames.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawStack {
    /// Leaf first.
    pub addresses: Vec<Address>,
    /// `None`: complete.
    pub incomplete: Option<Incomplete>,
}

/// A thread that was sampled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawThread {
    /// The process's name (`comm`, at most 15 bytes).
    pub process: String,
    /// The process.
    pub pid: u32,
    /// The thread's name (`comm`, at most 15 bytes).
    pub thread: String,
    /// The thread.
    pub tid: u32,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawSample {
    /// When, ns of `CLOCK_MONOTONIC`; of a late sample when its tick was due.
    pub at: Nanos,
    /// Index into [`RawSamples::threads`].
    pub thread: u32,
    /// Index into [`RawSamples::stacks`].
    pub stack: u32,
    /// What the sample stands for, in the event's unit: ns of CPU for cpu-clock, cycles for cycles.
    pub weight: u64,
    /// The timer's interrupt came after the thread had lost the CPU: the thread is the one that ran when it was due,
    /// the stack one at which that thread was switched out.
    pub late: bool,
}

/// All samples of one recording.
#[derive(Clone, Debug, Default)]
pub struct RawSamples {
    /// From the recording's start to its end; `None` until it has ended.
    pub span: Option<Span>,
    /// What holds code; [`ModuleId`] is an index into it.
    pub modules: Vec<Module>,
    /// Threads with samples or waits.
    pub threads: Vec<RawThread>,
    /// Distinct stacks.
    pub stacks: Vec<RawStack>,
    /// The samples.
    pub samples: Vec<RawSample>,
    /// The threads' time on CPU by the kernel's context switches, noted now and then. `None`: switches were not
    /// followed.
    pub on_cpu: Option<Vec<OnCpu>>,
    /// The process of each thread in `on_cpu`, by thread number.
    pub process_of: FxHashMap<u32, u32>,
    /// Waits by stack, or why there are none. `None`: nobody asked.
    pub off_cpu: Option<Result<RawOffCpu, String>>,
    /// Of the processes that were not named themselves, the one named that they descend from: by process number.
    pub named: FxHashMap<u32, u32>,
}

/// ns on CPU of the sampled processes' threads, by thread number, from the recording's start to an instant.
#[derive(Clone, Debug, Default)]
pub struct OnCpu {
    /// The instant, ns of `CLOCK_MONOTONIC`.
    pub at: Nanos,
    /// ns by thread number; a thread that has not run is absent.
    pub threads: FxHashMap<u32, u64>,
}

impl RawSamples {
    /// The module in which the walk of a stack ended, by its file's name.
    pub fn ended_in(&self, stack: u32) -> String {
        let last = self.stacks[stack as usize].addresses.last();
        let module = last.and_then(|address| self.modules.get(address.module?.0 as usize));
        let name = module.map(|module| module.path.file_name().unwrap_or(module.path.as_os_str()));
        name.map_or_else(|| "no mapping".into(), |name| name.to_string_lossy().into_owned())
    }

    /// ns on CPU of each thread within a span, interpolated between the two notes around each of its ends;
    /// `None` where switches were not followed or nothing was noted.
    pub fn on_cpu_within(&self, span: Span) -> Option<FxHashMap<u32, u64>> {
        let notes = self.on_cpu.as_ref()?;
        let last = notes.last()?;
        let within =
            |tid: &u32| (until(notes, *tid, span.end) - until(notes, *tid, span.start)).max(0.0).round() as u64;
        Some(last.threads.keys().map(|tid| (*tid, within(tid))).collect())
    }
}

/// How often the time on CPU must be noted for its parts to be told: so many times in the shortest of them.
const NOTES_A_PART: f64 = 1.5;
/// A thread that ran for less, in ns, has no parts.
const LEAST: u64 = 1_000_000;

impl RawSamples {
    /// ns on CPU of each thread in each of the parts of a span that end so many ns after its start; nothing where
    /// switches were noted too seldom for that.
    pub fn on_cpu_by_part(&self, span: Span, ends: &[u64]) -> FxHashMap<u32, Vec<u64>> {
        let Some(notes @ [first, .., last]) = self.on_cpu.as_deref() else { return FxHashMap::default() };
        let starts = || std::iter::once(&0).chain(ends);
        let shortest = starts().zip(ends).map(|(start, end)| end - start).min().unwrap_or(0) as f64;
        let apart = (last.at - first.at) as f64 / (notes.len() - 1) as f64;
        if apart * NOTES_A_PART > shortest {
            return FxHashMap::default();
        }
        let parts = |tid: u32| -> Vec<u64> {
            let at: Vec<f64> = starts().map(|end| until(notes, tid, span.start + end)).collect();
            at.windows(2).map(|ends| (ends[1] - ends[0]).max(0.0).round() as u64).collect()
        };
        let each = last.threads.keys().map(|tid| (*tid, parts(*tid)));
        each.filter(|(_, parts)| parts.iter().sum::<u64>() >= LEAST).collect()
    }
}

/// ns on CPU of a thread from the start to `at`.
fn until(notes: &[OnCpu], tid: u32, at: Nanos) -> f64 {
    let of = |note: &OnCpu| note.threads.get(&tid).copied().unwrap_or(0) as f64;
    let after = notes.partition_point(|note| note.at < at);
    match (after.checked_sub(1).map(|before| &notes[before]), notes.get(after)) {
        (Some(before), Some(after)) => {
            let share = (at - before.at) as f64 / (after.at - before.at) as f64;
            of(before) + share * (of(after) - of(before))
        }
        (Some(last), None) => of(last),
        (None, Some(first)) => of(first),
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_cpu_is_interpolated_between_notes_and_a_thread_that_appears_begins_at_none() {
        let note = |at, of: &[(u32, u64)]| OnCpu { at, threads: of.iter().copied().collect() };
        let on_cpu = Some(vec![note(100, &[(1, 10)]), note(200, &[(1, 50)]), note(300, &[(1, 90), (2, 40)])]);
        let raw = RawSamples { on_cpu, ..RawSamples::default() };
        let within = raw.on_cpu_within(Span::new(150, 250)).unwrap();
        assert_eq!((within[&1], within[&2]), (40, 20));
        assert_eq!(raw.on_cpu_within(Span::new(0, 1_000)).unwrap()[&1], 80);
        assert_eq!(RawSamples::default().on_cpu_within(Span::new(0, 1)), None);
    }

    #[test]
    fn time_on_cpu_by_part_is_told_where_it_was_noted_often_enough() {
        let note = |at: u64| OnCpu { at, threads: [(1, at / 2), (2, at / 1_000_000)].into_iter().collect() };
        let on_cpu = Some((0..=10).map(|i| note(i * 100_000_000)).collect());
        let raw = RawSamples { on_cpu, ..RawSamples::default() };
        let span = Span::new(100_000_000, 700_000_000);
        let found = raw.on_cpu_by_part(span, &[200_000_000, 600_000_000]);
        assert_eq!(found, [(1, vec![100_000_000, 200_000_000])].into_iter().collect(), "thread 2 hardly ran");
        assert!(raw.on_cpu_by_part(span, &[100_000_000, 600_000_000]).is_empty());
    }
}
