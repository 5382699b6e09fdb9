//! Samples as those of threads. Invariant: a thread's CPU sums to what its samples stand for, to the microsecond that
//! the format counts in; nothing is lost by rounding each sample.

use super::Out;
use crate::clock::{Nanos, Span};
use crate::profile::{self, ColumnKind, Labels, Sample, Space, StackId};
use fxprof_processed_profile::{
    CategoryColor, CategoryHandle, CategoryPairHandle, CpuDelta, Frame, FrameFlags, FrameInfo, ProcessHandle, Profile,
    StackHandle, ThreadHandle,
};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// What frames are coloured by: where their code runs.
pub struct Categories {
    user: CategoryHandle,
    kernel: CategoryHandle,
    /// A frame's category, with its module as the part of it.
    pairs: FxHashMap<(Space, String), CategoryPairHandle>,
}

impl Categories {
    pub fn of(profile: &mut Profile) -> Categories {
        let user = profile.add_category("User", CategoryColor::Yellow);
        let kernel = profile.add_category("Kernel", CategoryColor::Orange);
        Categories { user, kernel, pairs: FxHashMap::default() }
    }

    fn pair(&mut self, frame: &profile::Frame, profile: &mut Profile) -> CategoryPairHandle {
        let category = match frame.space {
            Space::User => self.user,
            Space::Kernel | Space::Vdso => self.kernel,
            Space::Marker => return CategoryHandle::OTHER.into(),
        };
        let key = (frame.space, frame.module.clone());
        *self.pairs.entry(key).or_insert_with(|| profile.add_subcategory(category, &frame.module))
    }
}

/// Process id, thread id and names: a thread.
type Key<'a> = (u32, u32, &'a str, &'a str);

impl Out {
    /// The threads of a profile whose times begin with its span.
    pub fn threads(&mut self, profile: &profile::Profile, span: Span, title: &str) {
        let frames: Vec<FrameInfo> = profile.frames.iter().map(|frame| self.frame(frame)).collect();
        let mut threads: BTreeMap<Key, Vec<&Sample>> = BTreeMap::new();
        for sample in &profile.samples {
            let Labels { process, pid, thread, tid, .. } = &profile.labels[sample.labels.index()];
            threads.entry((*pid, *tid, process, thread)).or_default().push(sample);
        }
        let (begin, end) = (self.at(span.start), self.at(span.end));
        let mut processes: BTreeMap<u32, ProcessHandle> = BTreeMap::new();
        for ((pid, tid, process, name), mut samples) in threads {
            samples.sort_by_key(|sample| sample.at);
            let called = if process.is_empty() { "a process without a name" } else { process };
            let process = *processes.entry(pid).or_insert_with(|| {
                let process = self.profile.add_process(&format!("{title}: {called}"), pid, begin);
                self.profile.set_process_end_time(process, end);
                process
            });
            let thread = self.profile.add_thread(process, tid, begin, pid == tid);
            self.profile.set_thread_name(thread, if name.is_empty() { called } else { name });
            let mut stacks = Stacks { profile, frames: &frames, thread, known: FxHashMap::default() };
            self.samples(&mut stacks, &samples, span.start);
        }
    }

    fn samples(&mut self, stacks: &mut Stacks, samples: &[&Sample], start: Nanos) {
        let counted = stacks.profile.column(&ColumnKind::Samples);
        let cpu = stacks.profile.column(&ColumnKind::Cpu);
        let (mut nanos, mut told) = (0u64, 0u64);
        for sample in samples {
            let stack = sample.stack.map(|stack| stacks.handle(stack, &mut self.profile));
            nanos += cpu.map_or(0, |column| sample.values[column].max(0) as u64);
            let delta = nanos / 1_000 - told;
            told += delta;
            let weight = counted.map_or(1, |column| i32::try_from(sample.values[column]).unwrap_or(i32::MAX));
            let at = self.at(start + sample.at.unwrap_or(0));
            self.profile.add_sample(stacks.thread, at, stack, CpuDelta::from_micros(delta), weight);
        }
    }

    fn frame(&mut self, frame: &profile::Frame) -> FrameInfo {
        let name = self.profile.intern_string(&frame.name);
        let category_pair = self.categories.pair(frame, &mut self.profile);
        FrameInfo { frame: Frame::Label(name), category_pair, flags: FrameFlags::empty() }
    }
}

/// One thread's stacks: those that samples of it have.
struct Stacks<'a> {
    profile: &'a profile::Profile,
    frames: &'a [FrameInfo],
    thread: ThreadHandle,
    known: FxHashMap<StackId, StackHandle>,
}

impl Stacks<'_> {
    fn handle(&mut self, stack: StackId, out: &mut Profile) -> StackHandle {
        let mut missing = Vec::new();
        let mut at = Some(stack);
        while let Some(id) = at.filter(|id| !self.known.contains_key(id)) {
            missing.push(id);
            at = self.profile.nodes[id.index()].parent;
        }
        let mut handle = at.map(|id| self.known[&id]);
        for id in missing.into_iter().rev() {
            let frame = self.frames[self.profile.nodes[id.index()].frame.index()].clone();
            let frame = out.intern_frame(self.thread, frame);
            let made = out.intern_stack(self.thread, handle, frame);
            self.known.insert(id, made);
            handle = Some(made);
        }
        handle.expect("a stack has a node")
    }
}
