//! Profiles written as pprof files. Invariant: whatever a profile's own check accepts is written whole.

use super::DEPTH_FIRST;
use crate::clock::Span;
use crate::profile::{ColumnKind, FrameId, Labels, Miss, Node, Profile, Sample, Space, StackId};
use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::protos as proto;
use prost::Message;
use rustc_hash::FxHashMap;
use std::io::Write;

/// Interned strings; `string_table[0]` is empty.
struct Strings {
    table: Vec<String>,
    index: FxHashMap<String, i64>,
}

impl Strings {
    fn new() -> Self {
        Strings { table: vec![String::new()], index: FxHashMap::from_iter([(String::new(), 0)]) }
    }

    fn id(&mut self, text: &str) -> i64 {
        if let Some(&id) = self.index.get(text) {
            return id;
        }
        let id = self.table.len() as i64;
        self.table.push(text.to_string());
        self.index.insert(text.to_string(), id);
        id
    }
}

fn miss_name(miss: Miss) -> String {
    serde_json::to_value(miss).ok().and_then(|v| v.as_str().map(|s| format!("[{s}]"))).unwrap_or_default()
}

struct Encoder<'p> {
    profile: &'p Profile,
    strings: Strings,
    out: proto::Profile,
    mappings: FxHashMap<(String, Space), u64>,
    locations: FxHashMap<Vec<FrameId>, u64>,
}

/// A profile as a gzip pprof file. `span` gives its duration; `period` is ns per sample where the event has one.
pub fn encode(profile: &Profile, span: Span, period: Option<u64>, comments: &[String]) -> Result<Vec<u8>> {
    let order = depth_first(&profile.nodes);
    let mut samples: Vec<&Sample> = profile.samples.iter().collect();
    // One sample shares most of its stack with the next: it packs better, and a reader meets each node once.
    samples.sort_by_key(|sample| sample.stack.map_or(u32::MAX, |stack| order[stack.index()]));
    let comments: Vec<&str> = comments.iter().map(String::as_str).chain([DEPTH_FIRST]).collect();
    write(profile, &samples, span, period, &comments, 0)
}

/// As [`encode`], with the samples in the order of the profile, for tools that show them in time.
pub fn encode_in_order(profile: &Profile, span: Span, period: Option<u64>, comments: &[String]) -> Result<Vec<u8>> {
    encode_dated(profile, span, period, comments, 0)
}

/// As [`encode_in_order`], with the time at which it began, ns since 1970: a receiver of many profiles needs it, and a
/// run's own files tell it elsewhere.
pub fn encode_dated(
    profile: &Profile,
    span: Span,
    period: Option<u64>,
    comments: &[String],
    unix_nanos: u64,
) -> Result<Vec<u8>> {
    let comments: Vec<&str> = comments.iter().map(String::as_str).collect();
    write(profile, &profile.samples.iter().collect::<Vec<_>>(), span, period, &comments, unix_nanos)
}

fn write(
    profile: &Profile,
    samples: &[&Sample],
    span: Span,
    period: Option<u64>,
    comments: &[&str],
    // pprof has 0 for a time that is not told.
    unix_nanos: u64,
) -> Result<Vec<u8>> {
    profile.check().context("a profile that breaks its own invariants is not stored")?;
    let mut encoder = Encoder {
        profile,
        strings: Strings::new(),
        out: proto::Profile::default(),
        mappings: FxHashMap::default(),
        locations: FxHashMap::default(),
    };
    encoder.functions();
    encoder.samples(samples);
    let Encoder { mut strings, mut out, .. } = encoder;
    for column in &profile.columns {
        out.sample_type.push(proto::ValueType { ty: strings.id(column.kind.as_str()), unit: strings.id(&column.unit) });
    }
    out.time_nanos = unix_nanos as i64;
    out.duration_nanos = span.nanos() as i64;
    if let Some(period) = period {
        out.period_type =
            Some(proto::ValueType { ty: strings.id(ColumnKind::Cpu.as_str()), unit: strings.id("nanoseconds") });
        out.period = period as i64;
    }
    out.comment = comments.iter().map(|comment| strings.id(comment)).collect();
    out.string_table = strings.table;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&out.encode_to_vec())?;
    Ok(gzip.finish()?)
}

impl Encoder<'_> {
    /// Function ids are frame ids plus one: pprof's ids start at 1.
    fn functions(&mut self) {
        for (i, frame) in self.profile.frames.iter().enumerate() {
            let system_name = frame.miss.map(miss_name).unwrap_or_default();
            self.out.function.push(proto::Function {
                id: i as u64 + 1,
                name: self.strings.id(&frame.name),
                system_name: self.strings.id(&system_name),
                filename: self.strings.id(&frame.file),
                start_line: 0,
            });
        }
    }

    fn samples(&mut self, samples: &[&Sample]) {
        let mut last: (Option<StackId>, Vec<u64>) = (None, Vec::new());
        for sample in samples {
            if sample.stack != last.0 {
                last = (sample.stack, self.stack(sample.stack));
            }
            let label = self.labels(&self.profile.labels[sample.labels.index()], sample.at);
            self.out.sample.push(proto::Sample { location_id: last.1.clone(), value: sample.values.clone(), label });
        }
    }

    fn labels(&mut self, labels: &Labels, at: Option<u64>) -> Vec<proto::Label> {
        let mut out = Vec::with_capacity(7);
        for (key, text) in [("process", &labels.process), ("thread", &labels.thread), ("state", &labels.state)] {
            let (key, str) = (self.strings.id(key), self.strings.id(text));
            out.push(proto::Label { key, str, ..Default::default() });
        }
        let complete = labels.complete.map(u64::from);
        let numbers = [("pid", Some(labels.pid.into())), ("tid", Some(labels.tid.into())), ("complete", complete)];
        for (key, number) in numbers {
            if let Some(number) = number {
                out.push(proto::Label { key: self.strings.id(key), num: number as i64, ..Default::default() });
            }
        }
        if let Some(at) = at {
            let num_unit = self.strings.id("nanoseconds");
            out.push(proto::Label { key: self.strings.id("at"), num: at as i64, num_unit, ..Default::default() });
        }
        out
    }

    /// Groups the frames of a stack, leaf first, into locations: inlined ones with the function that holds them.
    fn stack(&mut self, stack: Option<StackId>) -> Vec<u64> {
        let (mut ids, mut group) = (Vec::new(), Vec::new());
        for frame in self.profile.walk(stack) {
            group.push(frame);
            if !self.profile.frames[frame.index()].inlined {
                ids.push(self.location(std::mem::take(&mut group)));
            }
        }
        if !group.is_empty() {
            ids.push(self.location(group));
        }
        ids
    }

    fn location(&mut self, group: Vec<FrameId>) -> u64 {
        if let Some(&id) = self.locations.get(&group) {
            return id;
        }
        let outer = &self.profile.frames[group[group.len() - 1].index()];
        let mapping_id = self.mapping(&outer.module, outer.space);
        let id = self.out.location.len() as u64 + 1;
        let line = group.iter().map(|f| proto::Line { function_id: u64::from(f.0) + 1, line: 0 }).collect();
        self.out.location.push(proto::Location { id, mapping_id, address: 0, line, is_folded: false });
        self.locations.insert(group, id);
        id
    }

    fn mapping(&mut self, module: &str, space: Space) -> u64 {
        if space == Space::Marker {
            return 0;
        }
        let next = self.mappings.len() as u64 + 1;
        let id = *self.mappings.entry((module.to_string(), space)).or_insert(next);
        if id == next {
            // The address range is not stored; its sign tells the kernel's half of the address space.
            let memory_start = if space == Space::Kernel { 1 << 63 } else { 0 };
            let filename = self.strings.id(module);
            self.out.mapping.push(proto::Mapping {
                id,
                filename,
                memory_start,
                has_functions: true,
                has_inline_frames: true,
                ..Default::default()
            });
        }
        id
    }
}

/// The place of each node in the tree walked depth first.
fn depth_first(nodes: &[Node]) -> Vec<u32> {
    // Nodes come after their callers, so sizes of subtrees are known from the end, and places from the beginning.
    let mut sizes = vec![1u32; nodes.len()];
    for at in (0..nodes.len()).rev() {
        if let Some(parent) = nodes[at].parent {
            sizes[parent.index()] += sizes[at];
        }
    }
    let (mut places, mut next, mut next_root) = (vec![0; nodes.len()], vec![0; nodes.len()], 0);
    for (at, node) in nodes.iter().enumerate() {
        let free = node.parent.map_or(&mut next_root, |parent| &mut next[parent.index()]);
        let place = *free;
        *free += sizes[at];
        (places[at], next[at]) = (place, place + 1);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_in_the_order_of_the_call_tree() {
        // a;b, c, a, a;d, a;b;e as nodes in the order in which they were first met.
        let node = |(parent, frame): (Option<u32>, u32)| Node { parent: parent.map(StackId), frame: FrameId(frame) };
        let nodes = [(None, 0), (Some(0), 1), (None, 2), (Some(0), 3), (Some(1), 4)].map(node);
        assert_eq!(depth_first(&nodes), [0, 1, 4, 3, 2]);
        assert_eq!(depth_first(&[]), [] as [u32; 0]);
    }
}
