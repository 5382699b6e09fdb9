//! A window's profile as a request of OTLP profiles (`opentelemetry/proto/profiles/v1development/profiles.proto` and
//! its collector service, as `opentelemetry-proto` has them). Invariant: the first entry of each table is empty, which
//! stands for "none"; the values sum to the window's own.

use super::WindowProfile;
use crate::profile::{FrameId, Space};
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::profiles::v1development::{
    Function, KeyValueAndUnit, Line, Link, Location, Mapping, Profile, ProfilesDictionary, ResourceProfiles, Sample,
    ScopeProfiles, Stack, ValueType,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost_otlp::Message;
use rustc_hash::FxHashMap;

/// The body of `POST /v1development/profiles`, `application/x-protobuf`.
pub fn otlp(profile: &WindowProfile, tool: &str) -> Vec<u8> {
    let mut tables = Tables::new();
    let (stacks, began) = (&profile.stacks, profile.unix_nanos());
    let samples = stacks.profile.samples.iter().map(|sample| {
        let labels = &stacks.profile.labels[sample.labels.index()];
        let attributes = [
            ("process.executable.name", Value::StringValue(labels.process.clone())),
            ("process.pid", Value::IntValue(labels.pid.into())),
            ("thread.name", Value::StringValue(labels.thread.clone())),
            ("thread.id", Value::IntValue(labels.tid.into())),
        ];
        Sample {
            stack_index: tables.stack(profile, stacks.profile.walk(sample.stack).collect()),
            attribute_indices: attributes.into_iter().map(|(key, value)| tables.attribute(key, value)).collect(),
            values: vec![stacks.weight(sample) as i64],
            timestamps_unix_nano: sample.at.map(|at| began + at).into_iter().collect(),
            ..Sample::default()
        }
    });
    let samples = samples.collect();
    let type_of = |kind: &str, unit: &str, tables: &mut Tables| ValueType {
        type_strindex: tables.string(kind),
        unit_strindex: tables.string(unit),
    };
    let kind = stacks.profile.columns[stacks.column].kind.as_str();
    let found = Profile {
        sample_type: Some(type_of(kind, stacks.unit(), &mut tables)),
        samples,
        time_unix_nano: began,
        duration_nano: profile.nanos(),
        period_type: stacks.period.map(|_| type_of("cpu", "nanoseconds", &mut tables)),
        period: stacks.period.unwrap_or(0) as i64,
        profile_id: profile.id.to_vec(),
        ..Profile::default()
    };
    let scope = InstrumentationScope { name: tool.into(), ..InstrumentationScope::default() };
    let attributes = profile.labels.iter().map(|(name, value)| text(resource_key(name), value)).collect();
    let resource = Resource { attributes, ..Resource::default() };
    let scope_profiles = vec![ScopeProfiles { scope: Some(scope), profiles: vec![found], ..ScopeProfiles::default() }];
    let of_resource = ResourceProfiles { resource: Some(resource), scope_profiles, ..ResourceProfiles::default() };
    ExportProfilesServiceRequest { resource_profiles: vec![of_resource], dictionary: Some(tables.dictionary) }
        .encode_to_vec()
}

/// OpenTelemetry's own names, where it has one.
fn resource_key(name: &str) -> String {
    match name {
        "service_name" => "service.name".into(),
        "host" => "host.name".into(),
        other => format!("wireprof.{other}"),
    }
}

fn text(key: String, value: &str) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }), ..KeyValue::default() }
}

/// The tables that all samples refer to.
struct Tables {
    dictionary: ProfilesDictionary,
    strings: FxHashMap<String, i32>,
    stacks: FxHashMap<Vec<FrameId>, i32>,
    locations: FxHashMap<Vec<FrameId>, i32>,
    functions: FxHashMap<FrameId, i32>,
    mappings: FxHashMap<(String, Space), i32>,
    attributes: FxHashMap<String, i32>,
}

impl Tables {
    fn new() -> Tables {
        let dictionary = ProfilesDictionary {
            mapping_table: vec![Mapping::default()],
            location_table: vec![Location::default()],
            function_table: vec![Function::default()],
            link_table: vec![Link::default()],
            string_table: vec![String::new()],
            attribute_table: vec![KeyValueAndUnit::default()],
            stack_table: vec![Stack::default()],
        };
        Tables {
            dictionary,
            strings: FxHashMap::from_iter([(String::new(), 0)]),
            stacks: FxHashMap::from_iter([(Vec::new(), 0)]),
            locations: FxHashMap::default(),
            functions: FxHashMap::default(),
            mappings: FxHashMap::default(),
            attributes: FxHashMap::default(),
        }
    }

    fn string(&mut self, text: &str) -> i32 {
        if let Some(at) = self.strings.get(text) {
            return *at;
        }
        let at = append(&mut self.dictionary.string_table, text.to_string());
        self.strings.insert(text.into(), at);
        at
    }

    fn attribute(&mut self, key: &str, value: Value) -> i32 {
        let known = format!("{key}={value:?}");
        if let Some(at) = self.attributes.get(&known) {
            return *at;
        }
        let key_strindex = self.string(key);
        let attribute =
            KeyValueAndUnit { key_strindex, value: Some(AnyValue { value: Some(value) }), unit_strindex: 0 };
        let at = append(&mut self.dictionary.attribute_table, attribute);
        self.attributes.insert(known, at);
        at
    }

    /// A stack, leaf first; inlined frames share the location of the function that holds them.
    fn stack(&mut self, profile: &WindowProfile, frames: Vec<FrameId>) -> i32 {
        if let Some(at) = self.stacks.get(&frames) {
            return *at;
        }
        let all = &profile.stacks.profile.frames;
        let groups = frames.split_inclusive(|frame| !all[frame.index()].inlined);
        let location_indices = groups.map(|group| self.location(profile, group)).collect();
        let at = append(&mut self.dictionary.stack_table, Stack { location_indices });
        self.stacks.insert(frames, at);
        at
    }

    fn location(&mut self, profile: &WindowProfile, group: &[FrameId]) -> i32 {
        if let Some(at) = self.locations.get(group) {
            return *at;
        }
        let lines =
            group.iter().map(|frame| Line { function_index: self.function(profile, *frame), ..Line::default() });
        let lines = lines.collect();
        let outer = &profile.stacks.profile.frames[group[group.len() - 1].index()];
        let mapping_index = self.mapping(&outer.module, outer.space);
        let at = append(&mut self.dictionary.location_table, Location { mapping_index, lines, ..Location::default() });
        self.locations.insert(group.to_vec(), at);
        at
    }

    fn function(&mut self, profile: &WindowProfile, id: FrameId) -> i32 {
        if let Some(at) = self.functions.get(&id) {
            return *at;
        }
        let frame = &profile.stacks.profile.frames[id.index()];
        let (name_strindex, filename_strindex) = (self.string(&frame.name), self.string(&frame.file));
        let function = Function { name_strindex, filename_strindex, ..Function::default() };
        let at = append(&mut self.dictionary.function_table, function);
        self.functions.insert(id, at);
        at
    }

    fn mapping(&mut self, module: &str, space: Space) -> i32 {
        if space == Space::Marker {
            return 0;
        }
        if let Some(at) = self.mappings.get(&(module.to_string(), space)) {
            return *at;
        }
        let filename_strindex = self.string(module);
        let at = append(&mut self.dictionary.mapping_table, Mapping { filename_strindex, ..Mapping::default() });
        self.mappings.insert((module.into(), space), at);
        at
    }
}

/// Appends, and gives the index.
fn append<T>(table: &mut Vec<T>, entry: T) -> i32 {
    table.push(entry);
    table.len() as i32 - 1
}
