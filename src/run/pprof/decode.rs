//! pprof files read, one's own and other producers'. Invariant: each sample is read whole or the file is refused:
//! what it refers to and does not have is never left out in silence.

use super::DEPTH_FIRST;
use super::file::{File, NO_PROFILE};
use crate::profile::{
    Builder, Column, Frame, FrameId, Labels, LabelsId, Miss, Profile, Space, StackId, complete_names, place,
};
use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use pprof::protos as proto;
use prost::Message;
use rustc_hash::FxHashMap;
use std::io::Read;

fn miss_of(system_name: &str) -> Option<Miss> {
    let name = system_name.strip_prefix('[')?.strip_suffix(']')?;
    serde_json::from_value(serde_json::Value::String(name.into())).ok()
}

/// Reads a pprof file, gzip or not. Inlined functions that earlier versions, or others, stored without their path have
/// that of their source file.
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
    let decoder = Decoder::new(&file.proto)?;
    let depth_first = file.proto.comment.iter().any(|id| decoder.text(*id) == DEPTH_FIRST);
    let mut profile = decoder.run(&file.samples, depth_first)?;
    complete_names(&mut profile);
    Ok(profile)
}

/// What another producer's file tells.
pub struct Foreign {
    /// Its samples, with all columns of the file in their order.
    pub profile: Profile,
    /// The column that the profile is about: the one that it names as its default, else the last one (profile.proto).
    pub about: usize,
    /// How long it was taken for; `None`: not told.
    pub seconds: Option<f64>,
    /// What lies between two samples, and how much of it; `None`: not told.
    pub period: Option<(Column, i64)>,
    /// The comments of its producer, in words.
    pub comments: Vec<String>,
    /// Patterns of functions that are not to be shown, with what they call; empty: none.
    pub drop_frames: String,
    /// Patterns of functions that are to be shown nevertheless; empty: none.
    pub keep_frames: String,
}

/// Reads a pprof file of any producer, unpacked. What has no counterpart here is left out (addresses of named frames,
/// lines).
///
/// # Errors
/// No pprof profile; references to what it does not have; a profile without samples.
pub fn decode_foreign(bytes: &[u8]) -> Result<Foreign> {
    let File { proto, samples } = File::parse(bytes)?;
    let decoder = Decoder { foreign: true, ..Decoder::new(&proto)? };
    let default = proto.sample_type.iter().position(|t| decoder.text(t.ty) == decoder.text(proto.default_sample_type));
    let default = default.filter(|_| !decoder.text(proto.default_sample_type).is_empty());
    let about = default.unwrap_or(proto.sample_type.len() - 1);
    let comments = proto.comment.iter().map(|id| decoder.text(*id).to_string());
    let comments = comments.filter(|comment| comment != DEPTH_FIRST).collect();
    let seconds = (proto.duration_nanos > 0).then(|| proto.duration_nanos as f64 / 1e9);
    let of =
        |kind: &proto::ValueType| Column { kind: decoder.text(kind.ty).into(), unit: decoder.text(kind.unit).into() };
    let period = proto.period_type.as_ref().filter(|_| proto.period > 0).map(|kind| (of(kind), proto.period));
    let [drop_frames, keep_frames] = [proto.drop_frames, proto.keep_frames].map(|id| decoder.text(id).to_string());
    // Other tools keep comments and change the order.
    let profile = decoder.run(&samples, false)?;
    if profile.samples.is_empty() {
        bail!("the profile has no samples");
    }
    Ok(Foreign { profile, about, seconds, period, comments, drop_frames, keep_frames })
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
    /// Of another producer, whose names and modules are told from what it wrote.
    foreign: bool,
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
        let columns =
            proto.sample_type.iter().map(|t| Column { kind: text(t.ty).into(), unit: text(t.unit) }).collect();
        Ok(Decoder {
            proto,
            functions: proto.function.iter().map(|f| (f.id, f)).collect(),
            locations: proto.location.iter().map(|l| (l.id, l)).collect(),
            mappings: proto.mapping.iter().map(|m| (m.id, m)).collect(),
            frames: FxHashMap::default(),
            keys: proto.string_table.iter().zip(0..).filter_map(|(key, id)| Some((id, Key::named(key)?))).collect(),
            labels: FxHashMap::default(),
            builder: Builder::new(columns),
            foreign: false,
        })
    }

    /// Everything that locations and functions need is there; of a file that was cut short something is not.
    fn check_references(&self) -> Result<()> {
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

    /// `depth_first`: no two samples share more than all between them do, so that each stack is met once.
    fn run(mut self, samples: &[&[u8]], depth_first: bool) -> Result<Profile> {
        self.check_references()?;
        let types = self.proto.sample_type.len();
        let (mut path, mut sample) = (Path::default(), proto::Sample::default());
        for encoded in samples {
            sample.clear();
            sample.merge(*encoded).context(NO_PROFILE)?;
            let stack = self.stack(&sample.location_id, &mut path, depth_first)?;
            let (labels, at) = self.raw_labels(&sample.label);
            let labels = self.interned(labels);
            if sample.value.len() != types {
                bail!("a pprof sample has {} values for {types} types", sample.value.len());
            }
            self.builder.sample(stack, labels, at, sample.value.clone());
        }
        let profile = self.builder.finish();
        profile.check()?;
        Ok(profile)
    }

    /// The stack of these locations, leaf first. What it shares with the sample before is not looked up again, and
    /// where samples come depth first the rest cannot have been met either.
    fn stack(&mut self, leaf_first: &[u64], path: &mut Path, depth_first: bool) -> Result<Option<StackId>> {
        let same = path.locations.iter().zip(leaf_first.iter().rev()).take_while(|(known, id)| known.0 == **id).count();
        path.locations.truncate(same);
        let mut depth = path.locations.last().map_or(0, |(_, depth)| *depth);
        let mut parent = depth.checked_sub(1).map(|last| path.frames[last].1);
        for id in leaf_first.iter().rev().skip(same) {
            let mut frames = std::mem::take(&mut path.of_location);
            self.location(*id, &mut frames)?;
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
        Ok(parent)
    }

    /// Appends a location's frames, outermost first.
    fn location(&mut self, id: u64, out: &mut Vec<FrameId>) -> Result<()> {
        let Some(location) = self.locations.get(&id).copied() else {
            bail!("a sample refers to location {id}, which the profile does not have: it is damaged or cut short")
        };
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
        Ok(())
    }

    fn frame(&self, (function, mapping, inlined): (u64, u64, bool)) -> Frame {
        let function = self.functions.get(&function);
        let name = function.map_or("?", |f| self.text(f.name)).to_string();
        let mapping = self.mappings.get(&mapping);
        let module = mapping.map_or("", |m| self.text(m.filename));
        let upper_half = mapping.is_some_and(|m| m.memory_start >> 63 == 1);
        // Other producers store whole paths.
        let (space, module) = match mapping {
            None if name.starts_with('[') => (Space::Marker, module.to_string()),
            _ if self.foreign => place(module, upper_half),
            Some(_) if module == "[vdso]" => (Space::Vdso, module.to_string()),
            _ => (if upper_half { Space::Kernel } else { Space::User }, module.to_string()),
        };
        let (file, miss) = match function {
            Some(f) => (self.text(f.filename).to_string(), miss_of(self.text(f.system_name))),
            None => (String::new(), None),
        };
        let frame = Frame { name, module, space, inlined, file, miss };
        match function.filter(|_| self.foreign && frame.name.is_empty()) {
            Some(function) => named(frame, self.text(function.system_name)),
            None => frame,
        }
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

/// A frame whose function has no name for people: the linker's, else its module's.
fn named(frame: Frame, system_name: &str) -> Frame {
    if frame.miss.is_none() && !system_name.is_empty() {
        return Frame { name: system_name.to_string(), ..frame };
    }
    let module = frame.module.trim_matches(['[', ']']);
    let name = format!("[{}]", if module.is_empty() { "unknown" } else { module });
    Frame { name, miss: frame.miss.or(Some(Miss::NoSymbol)), ..frame }
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
