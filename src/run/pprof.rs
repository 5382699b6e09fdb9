//! Profiles as pprof files (profile.proto of google/pprof): gzip protobuf that `go tool pprof` and other viewers read.
//! Invariant: `decode(encode(p))` gives the same samples, stacks and labels, ids apart.
//!
//! Samples stand in the order of the call tree walked depth first, which a comment of the file says ([`DEPTH_FIRST`]).
//!
//! What pprof has no field for: a miss's reason stands in `Function.system_name` as `[no_symbol]`, the rest of a frame
//! in the fields of that meaning. A frame inlined into the next outer one shares its `Location`.

use crate::clock::Span;
use crate::profile::{Builder, Column, Frame, FrameId, Labels, LabelsId, Miss, Node, Profile, Sample, Space, StackId};
use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use pprof::protos as proto;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use rustc_hash::FxHashMap;
use std::io::{Read, Write};

/// Comment of a file whose samples follow one another depth first: what two samples share of their stacks, all between them share.
const DEPTH_FIRST: &str = "samples in the order of the call tree";

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

fn miss_of(system_name: &str) -> Option<Miss> {
    let name = system_name.strip_prefix('[')?.strip_suffix(']')?;
    serde_json::from_value(serde_json::Value::String(name.into())).ok()
}

struct Encoder<'p> {
    profile: &'p Profile,
    strings: Strings,
    out: proto::Profile,
    mappings: FxHashMap<(String, Space), u64>,
    locations: FxHashMap<Vec<FrameId>, u64>,
    /// Locations of each stack already met, leaf first.
    stacks: FxHashMap<Option<StackId>, Vec<u64>>,
}

/// A profile as a gzip pprof file. `span` gives its duration; `period` is ns per sample where the event has one.
pub fn encode(profile: &Profile, span: Span, period: Option<u64>, comments: &[String]) -> Result<Vec<u8>> {
    profile.check().context("a profile that breaks its own invariants is not stored")?;
    let mut encoder = Encoder {
        profile,
        strings: Strings::new(),
        out: proto::Profile::default(),
        mappings: FxHashMap::default(),
        locations: FxHashMap::default(),
        stacks: FxHashMap::default(),
    };
    encoder.functions();
    encoder.samples();
    let Encoder { mut strings, mut out, .. } = encoder;
    for column in &profile.columns {
        out.sample_type.push(proto::ValueType { ty: strings.id(&column.kind), unit: strings.id(&column.unit) });
    }
    out.duration_nanos = span.nanos() as i64;
    if let Some(period) = period {
        out.period_type = Some(proto::ValueType { ty: strings.id("cpu"), unit: strings.id("nanoseconds") });
        out.period = period as i64;
    }
    out.comment = comments.iter().map(String::as_str).chain([DEPTH_FIRST]).map(|comment| strings.id(comment)).collect();
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

    /// Depth first, so that one sample shares most of its stack with the next: it packs better, and a reader meets each node once.
    fn samples(&mut self) {
        let order = depth_first(&self.profile.nodes);
        let mut samples: Vec<&Sample> = self.profile.samples.iter().collect();
        samples.sort_by_key(|sample| sample.stack.map_or(u32::MAX, |stack| order[stack.index()]));
        for sample in samples {
            if !self.stacks.contains_key(&sample.stack) {
                let locations = self.stack(sample.stack);
                self.stacks.insert(sample.stack, locations);
            }
            let label = self.labels(&self.profile.labels[sample.labels.index()], sample.at);
            let location_id = self.stacks[&sample.stack].clone();
            self.out.sample.push(proto::Sample { location_id, value: sample.values.clone(), label });
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

/// Reads a pprof file, gzip or not.
pub fn decode(bytes: &[u8]) -> Result<Profile> {
    let mut plain = Vec::new();
    let raw = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => {
            GzDecoder::new(bytes).read_to_end(&mut plain).context("the pprof file's gzip stream is damaged")?;
            plain.as_slice()
        }
        false => bytes,
    };
    let file = File::parse(raw)?;
    Decoder::new(&file.proto)?.run(&file.samples)
}

/// What another producer's file tells.
pub struct Foreign {
    pub profile: Profile,
    /// How long it was taken for; `None`: not told.
    pub seconds: Option<f64>,
    pub comments: Vec<String>,
}

/// Reads a pprof file of any producer, unpacked. What has no counterpart here is left out (addresses of named frames, lines).
///
/// # Errors
/// No pprof profile; references to what it does not have; a profile without samples.
pub fn decode_foreign(bytes: &[u8]) -> Result<Foreign> {
    let File { proto, samples } = File::parse(bytes)?;
    let decoder = Decoder::new(&proto)?;
    decoder.check_references(&samples)?;
    let comments = proto.comment.iter().map(|id| decoder.text(*id).to_string());
    let comments = comments.filter(|comment| comment != DEPTH_FIRST).collect();
    let seconds = (proto.duration_nanos > 0).then(|| proto.duration_nanos as f64 / 1e9);
    let profile = decoder.run(&samples)?;
    if profile.samples.is_empty() {
        bail!("the profile has no samples");
    }
    Ok(Foreign { profile, seconds, comments })
}

/// A file's samples, still encoded, and all else of it. A profile has tens of thousands of samples, each of several lists: decoded one
/// after the other into the same room they cost a fraction.
struct File<'a> {
    /// Without its samples.
    proto: proto::Profile,
    samples: Vec<&'a [u8]>,
}

impl<'a> File<'a> {
    fn parse(raw: &'a [u8]) -> Result<Self> {
        // profile.proto: `repeated Sample sample = 2`.
        const SAMPLE: u32 = 2;
        let (mut samples, mut others, mut left) = (Vec::new(), Vec::new(), raw);
        while !left.is_empty() {
            let field = left;
            let (tag, kind) = decode_key(&mut left).context(NO_PROFILE)?;
            if tag == SAMPLE && kind == WireType::LengthDelimited {
                let length = decode_varint(&mut left).context(NO_PROFILE)? as usize;
                let (sample, after) = left.split_at_checked(length).context(NO_PROFILE)?;
                samples.push(sample);
                left = after;
            } else {
                skip_field(kind, tag, &mut left, DecodeContext::default()).context(NO_PROFILE)?;
                others.extend_from_slice(&field[..field.len() - left.len()]);
            }
        }
        Ok(File { proto: proto::Profile::decode(&others[..]).context(NO_PROFILE)?, samples })
    }
}

const NO_PROFILE: &str = "not a pprof profile";

/// The samples one after the other, each decoded into the same room.
fn for_each_sample(samples: &[&[u8]], mut visit: impl FnMut(&proto::Sample) -> Result<()>) -> Result<()> {
    let mut sample = proto::Sample::default();
    for encoded in samples {
        sample.clear();
        sample.merge(*encoded).context(NO_PROFILE)?;
        visit(&sample)?;
    }
    Ok(())
}

struct Decoder<'a> {
    proto: &'a proto::Profile,
    functions: FxHashMap<u64, &'a proto::Function>,
    locations: FxHashMap<u64, &'a proto::Location>,
    mappings: FxHashMap<u64, &'a proto::Mapping>,
    frames: FxHashMap<(u64, u64, bool), FrameId>,
    /// What the labels of these strings' keys tell.
    keys: FxHashMap<i64, Key>,
    labels: FxHashMap<RawLabels, LabelsId>,
    builder: Builder,
}

/// Labels as the file has them: indices of strings, and numbers. Thousands of samples share them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct RawLabels {
    process: i64,
    thread: i64,
    state: i64,
    pid: u32,
    tid: u32,
    complete: Option<bool>,
}

/// Labels that are read.
#[derive(Clone, Copy)]
enum Key {
    Process,
    Thread,
    State,
    Pid,
    Tid,
    Complete,
    At,
}

impl Key {
    fn named(key: &str) -> Option<Key> {
        Some(match key {
            "process" => Key::Process,
            "thread" => Key::Thread,
            "state" => Key::State,
            "pid" => Key::Pid,
            "tid" => Key::Tid,
            "complete" => Key::Complete,
            "at" => Key::At,
            _ => return None,
        })
    }
}

impl<'a> Decoder<'a> {
    fn new(proto: &'a proto::Profile) -> Result<Self> {
        if proto.sample_type.is_empty() || proto.string_table.first().is_none_or(|s| !s.is_empty()) {
            bail!("not a pprof profile: it has no sample types or no string table");
        }
        let text = |id: i64| proto.string_table.get(id as usize).cloned().unwrap_or_default();
        let columns = proto.sample_type.iter().map(|t| Column { kind: text(t.ty), unit: text(t.unit) }).collect();
        Ok(Decoder {
            proto,
            functions: proto.function.iter().map(|f| (f.id, f)).collect(),
            locations: proto.location.iter().map(|l| (l.id, l)).collect(),
            mappings: proto.mapping.iter().map(|m| (m.id, m)).collect(),
            frames: FxHashMap::default(),
            keys: proto.string_table.iter().zip(0..).filter_map(|(key, id)| Some((id, Key::named(key)?))).collect(),
            labels: FxHashMap::default(),
            builder: Builder::new(columns),
        })
    }

    /// Everything that the samples need is there; of a file that was cut short something is not.
    fn check_references(&self, samples: &[&[u8]]) -> Result<()> {
        let missing = |id: &&u64| !self.locations.contains_key(id);
        for_each_sample(samples, |sample| match sample.location_id.iter().find(missing) {
            Some(id) => {
                bail!("a sample refers to location {id}, which the profile does not have: it is damaged or cut short")
            }
            None => Ok(()),
        })?;
        let lines = || self.proto.location.iter().flat_map(|location| &location.line);
        if let Some(line) = lines().find(|line| !self.functions.contains_key(&line.function_id)) {
            bail!(
                "a location refers to function {}, which the profile does not have: it is damaged or cut short",
                line.function_id
            );
        }
        let types = self.proto.sample_type.iter().flat_map(|value| [value.ty, value.unit]);
        let functions = self.proto.function.iter().flat_map(|function| [function.name, function.filename]);
        let mut texts = types.chain(functions).chain(self.proto.mapping.iter().map(|mapping| mapping.filename));
        let text = |id: &i64| usize::try_from(*id).is_ok_and(|id| id < self.proto.string_table.len());
        match texts.find(|id| !text(id)) {
            Some(id) => bail!("string {id} is not in the profile: it is damaged or cut short"),
            None => Ok(()),
        }
    }

    fn text(&self, id: i64) -> &'a str {
        self.proto.string_table.get(id as usize).map_or("", |s| s.as_str())
    }

    fn run(mut self, samples: &[&[u8]]) -> Result<Profile> {
        let depth_first = self.proto.comment.iter().any(|id| self.text(*id) == DEPTH_FIRST);
        let types = self.proto.sample_type.len();
        let mut path = Path::default();
        for_each_sample(samples, |sample| {
            let stack = self.stack(&sample.location_id, &mut path, depth_first);
            let (labels, at) = self.raw_labels(&sample.label);
            let labels = self.interned(labels);
            if sample.value.len() != types {
                bail!("a pprof sample has {} values for {types} types", sample.value.len());
            }
            self.builder.sample(stack, labels, at, sample.value.clone());
            Ok(())
        })?;
        let profile = self.builder.finish();
        profile.check()?;
        Ok(profile)
    }

    /// The stack of these locations, leaf first. What it shares with the sample before is not looked up again, and where samples come
    /// depth first the rest cannot have been met either.
    fn stack(&mut self, leaf_first: &[u64], path: &mut Path, depth_first: bool) -> Option<StackId> {
        let same = path.locations.iter().zip(leaf_first.iter().rev()).take_while(|(known, id)| known.0 == **id).count();
        path.locations.truncate(same);
        let mut depth = path.locations.last().map_or(0, |(_, depth)| *depth);
        let mut parent = depth.checked_sub(1).map(|last| path.frames[last].1);
        for id in leaf_first.iter().rev().skip(same) {
            let mut frames = std::mem::take(&mut path.of_location);
            self.location(*id, &mut frames);
            for frame in frames.drain(..) {
                // Another location can begin with the same function.
                if path.frames.get(depth).is_none_or(|(known, _)| *known != frame) {
                    path.frames.truncate(depth);
                    let stack = match depth_first {
                        true => self.builder.push_distinct(parent, frame),
                        false => self.builder.push(parent, frame),
                    };
                    path.frames.push((frame, stack));
                }
                parent = Some(path.frames[depth].1);
                depth += 1;
            }
            path.of_location = frames;
            path.locations.push((*id, depth));
        }
        path.frames.truncate(depth);
        parent
    }

    /// Appends a location's frames, outermost first.
    fn location(&mut self, id: u64, out: &mut Vec<FrameId>) {
        let Some(location) = self.locations.get(&id).copied() else { return };
        for (depth, line) in location.line.iter().enumerate().rev() {
            let inlined = depth + 1 < location.line.len();
            let key = (line.function_id, location.mapping_id, inlined);
            let frame = match self.frames.get(&key) {
                Some(&frame) => frame,
                None => {
                    let frame = self.frame(key);
                    let frame = self.builder.frame(frame);
                    self.frames.insert(key, frame);
                    frame
                }
            };
            out.push(frame);
        }
        if location.line.is_empty() {
            let name = format!("0x{:x}", location.address);
            let miss = Some(Miss::NoSymbol);
            let frame = Frame { name, miss, ..self.frame((0, location.mapping_id, false)) };
            out.push(self.builder.frame(frame));
        }
    }

    fn frame(&self, (function, mapping, inlined): (u64, u64, bool)) -> Frame {
        let function = self.functions.get(&function);
        let name = function.map_or("?", |f| self.text(f.name)).to_string();
        let mapping = self.mappings.get(&mapping);
        // Other producers store whole paths.
        let module = mapping.map_or("", |m| self.text(m.filename)).trim_end_matches(" (deleted)");
        let module =
            if module.starts_with("[kernel") { "[kernel]" } else { module.rsplit('/').next().unwrap_or(module) };
        let space = match mapping {
            None if name.starts_with('[') => Space::Marker,
            Some(_) if module == "[vdso]" => Space::Vdso,
            Some(m) if m.memory_start >> 63 == 1 || module == "[kernel]" => Space::Kernel,
            _ => Space::User,
        };
        let (file, miss) = match function {
            Some(f) => (self.text(f.filename).to_string(), miss_of(self.text(f.system_name))),
            None => (String::new(), None),
        };
        Frame { name, module: module.to_string(), space, inlined, file, miss }
    }

    fn raw_labels(&self, labels: &[proto::Label]) -> (RawLabels, Option<u64>) {
        let (mut out, mut at) = (RawLabels::default(), None);
        for label in labels {
            match self.keys.get(&label.key) {
                Some(Key::Process) => out.process = label.str,
                Some(Key::Thread) => out.thread = label.str,
                Some(Key::State) => out.state = label.str,
                Some(Key::Pid) => out.pid = label.num as u32,
                Some(Key::Tid) => out.tid = label.num as u32,
                Some(Key::Complete) => out.complete = Some(label.num != 0),
                Some(Key::At) => at = Some(label.num as u64),
                None => {}
            }
        }
        (out, at)
    }

    fn interned(&mut self, raw: RawLabels) -> LabelsId {
        if let Some(known) = self.labels.get(&raw) {
            return *known;
        }
        let text = |id: i64| self.text(id).to_string();
        let labels = Labels {
            process: text(raw.process),
            pid: raw.pid,
            thread: text(raw.thread),
            tid: raw.tid,
            state: text(raw.state),
            complete: raw.complete,
        };
        let id = self.builder.labels(labels);
        self.labels.insert(raw, id);
        id
    }
}

/// The sample before, root first.
#[derive(Default)]
struct Path {
    /// Each location, and how many frames there are up to its end.
    locations: Vec<(u64, usize)>,
    /// Each frame, and the stack that ends with it.
    frames: Vec<(FrameId, StackId)>,
    /// Room for the frames of one location, used again.
    of_location: Vec<FrameId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::on_cpu_columns;

    fn frame(name: &str, module: &str, space: Space, inlined: bool, miss: Option<Miss>) -> Frame {
        Frame { name: name.into(), module: module.into(), space, inlined, file: String::new(), miss }
    }

    fn sample() -> Profile {
        let mut builder = Builder::new(on_cpu_columns());
        let frames = [
            frame("[stack cut: copy too short]", "", Space::Marker, false, None),
            frame("main", "server", Space::User, false, None),
            frame("inner", "server", Space::User, true, None),
            frame("server+0x10", "server", Space::User, false, Some(Miss::NoSymbol)),
            frame("tcp_sendmsg", "[kernel]", Space::Kernel, false, None),
            frame("__vdso_clock_gettime", "[vdso]", Space::Vdso, false, None),
        ];
        let ids: Vec<_> = frames.into_iter().map(|f| builder.frame(f)).collect();
        let all = builder.stack(ids.clone());
        let short = builder.stack([ids[1], ids[2], ids[5]]);
        let labels = Labels {
            process: "s".into(),
            pid: 5,
            thread: "w".into(),
            tid: 6,
            state: "on-cpu".into(),
            complete: Some(false),
        };
        let one = builder.labels(labels.clone());
        let two = builder.labels(Labels { complete: None, ..labels });
        builder.sample(all, one, Some(1_234_567), vec![1, 1_003_009]);
        builder.sample(short, two, None, vec![2, 7]);
        builder.sample(None, one, Some(0), vec![1, 1]);
        builder.finish()
    }

    #[test]
    fn samples_are_written_in_the_order_of_the_call_tree() {
        // a;b, c, a, a;d, a;b;e as nodes in the order in which they were first met.
        let node = |(parent, frame): (Option<u32>, u32)| Node { parent: parent.map(StackId), frame: FrameId(frame) };
        let nodes = [(None, 0), (Some(0), 1), (None, 2), (Some(0), 3), (Some(1), 4)].map(node);
        assert_eq!(depth_first(&nodes), [0, 1, 4, 3, 2]);
        assert_eq!(depth_first(&[]), [] as [u32; 0]);
    }

    type Row = (Vec<Frame>, Labels, Option<u64>, Vec<i64>);

    fn rows(p: &Profile) -> Vec<Row> {
        let frames = |s| p.path(s).iter().map(|f| p.frames[f.index()].clone()).collect();
        p.samples
            .iter()
            .map(|s| (frames(s.stack), p.labels[s.labels.index()].clone(), s.at, s.values.clone()))
            .collect()
    }

    #[test]
    fn a_profile_written_and_read_again_has_the_same_samples_stacks_labels_and_columns() {
        let profile = sample();
        let bytes = encode(&profile, Span::new(0, 5_000_000_000), Some(1_003_009), &["cpu-clock".into()]).unwrap();
        let again = decode(&bytes).unwrap();
        assert_eq!(again.columns, profile.columns);
        assert_eq!(rows(&again), rows(&profile));
        assert_eq!(encode(&again, Span::new(0, 5_000_000_000), Some(1_003_009), &["cpu-clock".into()]).unwrap(), bytes);
    }

    #[test]
    fn damaged_files_give_errors_and_never_panic() {
        let bytes = encode(&sample(), Span::new(0, 1), None, &[]).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(decode(b"hello").is_err());
    }
}
