//! Raw samples to a profile. Invariant: every sample inside the window is in the profile with its whole weight, named
//! or not.

use super::symbolizer::{Symbol, Symbolizer, Symbols};
use crate::clock::Span;
use crate::profile::{Builder, Column, FrameId, Labels, LabelsId, Miss, OBSERVER, Profile, StackId, marker};
use crate::sample::{Address, Incomplete, RawSamples, RawStack};
use crate::words::GENERATED_CODE;
use std::collections::{BTreeMap, HashMap};

/// Leaf frames without a name, of one module for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Base name of the module's file.
    pub module: String,
    /// Why there is no name.
    pub miss: Miss,
    /// How many samples have such a leaf.
    pub samples: u64,
    /// In the unit of the profile's second column.
    pub weight: u64,
}

/// How much of a window's CPU weight has names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolReport {
    /// Weight of all samples of the window, in the unit of the profile's second column.
    pub weight: u64,
    /// Weight of those whose leaf frame has a name.
    pub named: u64,
    /// The leaves without a name, heaviest first.
    pub missed: Vec<Missed>,
}

impl SymbolReport {
    /// Share of the weight whose leaf frame has a name, 0..1; `None` where nothing was sampled.
    pub fn share(&self) -> Option<f64> {
        (self.weight > 0).then(|| self.named as f64 / self.weight as f64)
    }

    /// Misses as `SamplingReport` keeps them: `no symbol in libfoo.so`, and samples.
    pub fn misses(&self) -> Vec<(String, u64)> {
        self.missed
            .iter()
            .map(|missed| (format!("{} in {}", reason(missed.miss), missed.module), missed.samples))
            .collect()
    }
}

/// A miss in words.
fn reason(miss: Miss) -> &'static str {
    match miss {
        Miss::NoModule => "no mapping",
        Miss::FileUnreadable => "file unreadable",
        Miss::FileReplaced => "file replaced",
        Miss::NoSymbol => "no symbol",
        Miss::Anonymous => GENERATED_CODE,
        Miss::KernelHidden => "kernel symbols hidden",
        Miss::Malformed => "damaged file",
    }
}

/// The name of the marker at the root end of a stack that is not complete.
fn cut(incomplete: Incomplete) -> &'static str {
    match incomplete {
        Incomplete::CopyTooShort => "[stack cut: copy too short]",
        Incomplete::NoTable => "[stack cut: no unwind table]",
        Incomplete::BadRead => "[stack cut: bad read]",
        Incomplete::NotARoot => "[stack cut: not a root]",
        Incomplete::UnsupportedRule => "[stack cut: unsupported unwind rule]",
        Incomplete::TooDeep => "[stack cut: too deep]",
        Incomplete::NoRegisters => "[stack cut: no registers]",
        Incomplete::SwitchedOut => "[switched out before the timer's interrupt came]",
        Incomplete::NotSeen => "[not seen switching out]",
        Incomplete::Before => "[off CPU since before the recording]",
        Incomplete::Newborn => "[new thread, has not run yet]",
    }
}

/// Cuts samples to a window (`at` in `[start, end)`) and names their addresses. `columns` are the two that a sample's
/// one and its weight stand for: [`crate::profile::on_cpu_columns`], or cycles where the event counted those.
pub fn to_profile(
    raw: &RawSamples,
    symbolizer: &mut Symbolizer,
    window: Span,
    columns: Vec<Column>,
) -> (Profile, SymbolReport) {
    debug_assert_eq!(columns.len(), 2);
    let inside: Vec<_> = raw.samples.iter().filter(|sample| window.contains(sample.at)).collect();
    let mut used = vec![false; raw.stacks.len()];
    inside.iter().for_each(|sample| used[sample.stack as usize] = true);
    // A program of the sampler's took the stack of a late sample. Where a timer interrupted such a program, it is what
    // the CPU did.
    let mut taken = vec![false; raw.stacks.len()];
    inside.iter().filter(|sample| sample.late).for_each(|sample| taken[sample.stack as usize] = true);
    let used: Vec<u32> = (0..raw.stacks.len() as u32).filter(|&stack| used[stack as usize]).collect();

    let mut converter = Converter::new(columns);
    let stacks = converter.stacks(raw, used, symbolizer, &|stack| taken[stack as usize]);
    let mut labels: HashMap<(u32, bool), LabelsId> = HashMap::new();
    let mut named = Named::default();
    for sample in inside {
        let complete = raw.stacks[sample.stack as usize].incomplete.is_none();
        let labels = *labels
            .entry((sample.thread, complete))
            .or_insert_with(|| converter.builder.labels(labels_of(raw, sample.thread, "on-cpu", complete)));
        let (stack, leaf) = &stacks[&sample.stack];
        let at = Some(sample.at - window.start);
        converter.builder.sample(*stack, labels, at, vec![1, sample.weight as i64]);
        named.add(leaf, 1, sample.weight);
    }
    (converter.builder.finish(), named.finish())
}

/// Counts how much has a name.
#[derive(Default)]
pub(super) struct Named {
    weight: u64,
    named: u64,
    missed: BTreeMap<(String, Miss), (u64, u64)>,
}

impl Named {
    pub fn add(&mut self, leaf: &Leaf, samples: u64, weight: u64) {
        self.weight += weight;
        match leaf {
            Leaf::Named => self.named += weight,
            Leaf::Missed(module, miss) => {
                let sum = self.missed.entry((module.clone(), *miss)).or_default();
                *sum = (sum.0 + samples, sum.1 + weight);
            }
        }
    }

    pub fn finish(self) -> SymbolReport {
        let missed = self.missed.into_iter();
        let mut missed: Vec<Missed> =
            missed.map(|((module, miss), (samples, weight))| Missed { module, miss, samples, weight }).collect();
        missed.sort_by_key(|missed| std::cmp::Reverse(missed.weight));
        SymbolReport { weight: self.weight, named: self.named, missed }
    }
}

pub(super) fn labels_of(raw: &RawSamples, thread: u32, state: &str, complete: bool) -> Labels {
    let thread = &raw.threads[thread as usize];
    Labels {
        process: thread.process.clone(),
        pid: thread.pid,
        thread: thread.thread.clone(),
        tid: thread.tid,
        state: state.into(),
        complete: Some(complete),
    }
}

#[derive(Clone)]
pub(super) enum Leaf {
    Named,
    Missed(String, Miss),
}

pub(super) struct Converter {
    pub builder: Builder,
    frames: HashMap<Symbol, FrameId>,
}

impl Converter {
    pub fn new(columns: Vec<Column>) -> Self {
        Converter { builder: Builder::new(columns), frames: HashMap::new() }
    }

    /// Names the addresses of the used stacks, and interns the stacks. They are taken in the order of their addresses
    /// from the root, so that what a stack shares with the one before it is neither named nor interned again; and so
    /// that the profile does not depend on which sample came first. `taken`: whether a program of the sampler's took a
    /// stack while it ran, so that its own functions are no part of it.
    pub fn stacks(
        &mut self,
        raw: &RawSamples,
        mut used: Vec<u32>,
        symbolizer: &mut Symbolizer,
        taken: &dyn Fn(u32) -> bool,
    ) -> HashMap<u32, (Option<StackId>, Leaf)> {
        let stack = |index: u32| &raw.stacks[index as usize];
        let from_root = |index: u32| stack(index).addresses.iter().rev();
        used.sort_unstable_by(|&a, &b| {
            stack(a).incomplete.cmp(&stack(b).incomplete).then_with(|| from_root(a).cmp(from_root(b)))
        });
        let shared = |at: usize| match at.checked_sub(1).map(|before| used[before]) {
            Some(before) if stack(before).incomplete == stack(used[at]).incomplete => {
                from_root(before).zip(from_root(used[at])).take_while(|(a, b)| a == b).count()
            }
            _ => 0,
        };
        let shared: Vec<usize> = (0..used.len()).map(shared).collect();
        let fresh = used.iter().zip(&shared).flat_map(|(&index, &shared)| from_root(index).skip(shared));
        let mut addresses: Vec<Address> = fresh.copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        let symbols = symbolizer.resolve(&raw.modules, &addresses);
        let found: HashMap<Address, Symbols> = addresses.into_iter().zip(symbols).collect();

        let mut path = Vec::new();
        let mut interned = HashMap::with_capacity(used.len());
        for (index, shared) in used.into_iter().zip(shared) {
            path.truncate(shared);
            let own = if taken(index) { probe(stack(index), &found, symbolizer) } else { 0 };
            interned.insert(index, self.stack(stack(index), own, &mut path, &found, symbolizer));
        }
        interned
    }

    /// Interns a stack but for its `own` innermost addresses. `path` holds the nodes of the first addresses from the
    /// root, and is completed.
    fn stack(
        &mut self,
        raw: &RawStack,
        own: usize,
        path: &mut Vec<Option<StackId>>,
        found: &HashMap<Address, Symbols>,
        symbolizer: &Symbolizer,
    ) -> (Option<StackId>, Leaf) {
        let mut at = path.last().copied().unwrap_or_else(|| {
            let marker = self.builder.frame(marker(cut(raw.incomplete?)));
            Some(self.builder.push(None, marker))
        });
        for address in raw.addresses[own..].iter().rev().skip(path.len()) {
            for &symbol in found[address].iter().rev() {
                let builder = &mut self.builder;
                let frame = || builder.frame(symbolizer.frame(symbol).clone());
                let frame = *self.frames.entry(symbol).or_insert_with(frame);
                at = Some(self.builder.push(at, frame));
            }
            path.push(at);
        }
        (at, leaf(&raw.addresses[own..], found, symbolizer))
    }
}

/// Innermost addresses among which the sampler's own program, and what is around it, are looked for.
const PROBE: usize = 12;

/// How many of the innermost addresses are the sampler's own, of a stack that a program of its own took: that program,
/// what it calls, and what calls it at its tracepoint.
fn probe(raw: &RawStack, found: &HashMap<Address, Symbols>, symbolizer: &Symbolizer) -> usize {
    let frame = |address: &Address| Some(symbolizer.frame(*found.get(address)?.last()?));
    let own = |address: &Address| frame(address).is_some_and(|frame| frame.module == OBSERVER);
    // The kernel's helpers, its trampolines and dispatchers, and the tracepoint.
    let starts = ["bpf_", "__bpf_", "__traceiter_"];
    let around =
        |address: &Address| frame(address).is_some_and(|frame| starts.iter().any(|at| frame.name.starts_with(at)));
    let innermost = &raw.addresses[..raw.addresses.len().min(PROBE)];
    if !innermost.iter().any(own) {
        return 0;
    }
    innermost.iter().rposition(|address| own(address) || around(address)).map_or(0, |last| last + 1)
}

/// Whether the innermost frame has a name.
fn leaf(addresses: &[Address], found: &HashMap<Address, Symbols>, symbolizer: &Symbolizer) -> Leaf {
    let Some(&innermost) = addresses.first().and_then(|address| found.get(address)?.first()) else {
        return Leaf::Missed("[no stack]".into(), Miss::NoModule);
    };
    let frame = symbolizer.frame(innermost);
    frame.miss.map_or(Leaf::Named, |miss| Leaf::Missed(frame.module.clone(), miss))
}
