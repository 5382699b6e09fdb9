//! Profiles of other tools: folded stacks, the text of perf script, pprof, and files of any kind. Invariant: no weight
//! is lost or made up, wherever reads end and in whichever order stacks stand.

use super::{in_pieces, memory_file, text};
use crate::clock::Span;
use crate::feed::Feed;
use crate::import::{Folded, ProfileFile, ProfileOptions, Threads, Told, import_profiles, read_folded};
use crate::preset::Preset;
use crate::profile::Profile;
use crate::run::pprof;
use ::pprof::protos as proto;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a profile says, whatever the order of its tables: values by stack, labels and time.
fn said(profile: &Profile) -> BTreeMap<String, Vec<i128>> {
    let mut said: BTreeMap<String, Vec<i128>> = BTreeMap::new();
    for sample in &profile.samples {
        let frames: Vec<_> = profile.path(sample.stack).iter().map(|id| &profile.frames[id.index()]).collect();
        let key = format!("{frames:?} {:?} {:?}", profile.labels[sample.labels.index()], sample.at);
        let sums = said.entry(key).or_insert_with(|| vec![0; sample.values.len()]);
        sums.iter_mut().zip(&sample.values).for_each(|(sum, value)| *sum += i128::from(*value));
    }
    said
}

/// Folded stacks: all weights are there, by their own stacks.
pub fn folded(bytes: &[u8]) {
    for threads in [Threads::First, Threads::NotNamed] {
        let read = |bytes: &[u8], size: usize| read_folded(in_pieces(bytes, size), threads, "server", 7);
        let Ok(whole) = read(bytes, 1 << 16) else { continue };
        whole.profile.check().expect("a sound profile");
        let weight = |folded: &Folded| folded.profile.total(folded.profile.columns.len() - 1);
        assert_eq!(weight(&whole) as u128, weights(&text(bytes)), "all weights are there");
        if let (Some(period), Some(samples)) = (whole.period, whole.samples) {
            assert_eq!(u128::from(period) * u128::from(samples), weight(&whole) as u128);
        }
        assert!(whole.symbolized.is_none_or(|share| (0.0..=1.0).contains(&share)), "{:?}", whole.symbolized);
        let pieces = read(bytes, 3).expect("the same file");
        assert_eq!(said(&pieces.profile), said(&whole.profile), "wherever reads end");
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        lines.reverse();
        let turned = read(&lines.join(&b'\n'), 1 << 16).expect("the same lines");
        assert_eq!(said(&turned.profile), said(&whole.profile), "in whichever order");
    }
}

/// The last word of each line that is a stack.
fn weights(text: &str) -> u128 {
    let lines = text.split('\n').map(|line| line.trim_matches('\r').trim_start_matches('\u{feff}').trim());
    let stacks =
        lines.filter(|line| !line.is_empty() && *line != "#" && !line.starts_with("# ") && !line.starts_with("#\t"));
    let weight = |line: &str| line.rsplit([' ', '\t']).next()?.split('.').next()?.parse::<u128>().ok();
    stacks.map(|line| weight(line).unwrap_or(0)).sum()
}

/// A file of any kind, as `wireprof import` takes it.
pub fn file(bytes: &[u8]) {
    static PRESET: LazyLock<Preset> = LazyLock::new(|| Preset::built_in("generic").expect("it is compiled in"));
    // perf is another program.
    if ["PERFILE2", "2ELIFREP", "PERFFILE"].iter().any(|magic| text(&bytes[..bytes.len().min(16)]).contains(magic)) {
        return;
    }
    let path = memory_file("profile", bytes);
    let file = ProfileFile { path, level: Some(4), divisor: Told { queries: Some(10), ..Told::default() } };
    let Ok(made) = import_profiles(&[file], &PRESET, &ProfileOptions::default()) else { return };
    let window = &made.windows[0].window;
    let profile = window.profile.as_ref().expect("it was read");
    profile.check().expect("a sound profile");
    assert!(window.sampling.as_ref().is_some_and(|report| report.symbolized.is_none_or(|share| share <= 1.0)));
}

/// The text of perf script, made of samples that perf could have taken: none is lost, and inferno counts the same.
pub fn script(bytes: &[u8]) {
    let mut feed = Feed(bytes);
    let names = ["srv", "my srv", "tokio-rt 1", "a:b", "kworker/0:1-ev"];
    let functions = ["main", "f(int (*)(char))", "core::ops<T>", "operator new(unsigned long)", "[unknown]", "x+y"];
    let modules = ["/opt/server", "[kernel.kallsyms]", "/opt/App (x86)/s", "[unknown]"];
    let (mut printed, mut samples, mut cycles) = (String::new(), 0, 0);
    while !feed.0.is_empty() && samples < 200 {
        let (name, what) = (names[usize::from(feed.byte()) % names.len()], feed.byte());
        let (pid, tid, period) = (1 + what % 3, 1 + what % 5, 1 + u64::from(what));
        cycles += i64::from(what) + 1;
        printed += &format!("{name} {pid}/{tid} [00{}] {samples}.{what:06}: {period:>10} cycles: \n", what % 4);
        for _ in 0..1 + feed.byte() % 6 {
            let function = functions[usize::from(feed.byte()) % functions.len()];
            let module = modules[usize::from(feed.byte()) % modules.len()];
            printed += &format!("\t{:>16x} {function}+0x{:x} ({module})\n", u64::from(feed.half()) + 1, feed.byte());
        }
        printed.push('\n');
        samples += 1;
    }
    if samples == 0 {
        return;
    }
    let path = memory_file("script", printed.as_bytes());
    let file = ProfileFile { path, level: Some(1), divisor: Told::default() };
    let preset = Preset::default();
    let made = import_profiles(&[file], &preset, &ProfileOptions::default()).expect("perf could have printed it");
    let profile = made.windows[0].window.profile.as_ref().expect("it was read");
    assert_eq!(profile.total(0), samples, "no sample is lost");
    assert_eq!(profile.total(1), cycles, "no cycle is lost");
    assert_eq!(cycles, collapsed(&printed), "inferno, which sums periods, has the same sum");
}

/// The sum of all weights by inferno's reader.
fn collapsed(printed: &str) -> i64 {
    use inferno::collapse::Collapse;
    let mut folded = Vec::new();
    let mut folder = inferno::collapse::perf::Folder::default();
    folder.collapse(printed.as_bytes(), &mut folded).expect("inferno reads it");
    text(&folded).lines().filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok()).sum()
}

/// pprof, arbitrary or made of references that mostly are right: prost's own reader sees the same samples, and what is
/// written is read again.
pub fn pprof(bytes: &[u8]) {
    let made = match bytes.split_first() {
        Some((0xff, rest)) => Some(messages(&mut Feed(rest)).encode_to_vec()),
        _ => None,
    };
    let bytes = made.as_deref().unwrap_or(bytes);
    if let Ok(foreign) = pprof::decode_foreign(bytes) {
        foreign.profile.check().expect("a sound profile");
        assert!(foreign.about < foreign.profile.columns.len());
        assert_eq!(pprof::count_samples(bytes).expect("it was read"), foreign.profile.samples.len());
        match proto::Profile::decode(bytes) {
            Ok(other) => same_values(&foreign.profile, &other),
            Err(error) => assert!(error.to_string().contains("not UTF-8"), "prost reads what we read: {error}"),
        }
    }
    let Ok(own) = pprof::decode(bytes) else { return };
    own.check().expect("a sound profile");
    // Nothing that is written has a time before the window.
    if own.samples.iter().any(|sample| sample.values.iter().any(|value| *value < 0)) {
        return;
    }
    let Ok(written) = pprof::encode(&own, Span::new(0, 1_000), None, &[]) else { return };
    let again = pprof::decode(&written).expect("what was written is read");
    for column in 0..own.columns.len() {
        assert_eq!(again.total(column), own.total(column), "no value is lost");
    }
    assert_eq!(again.columns, own.columns);
}

/// As prost reads the same file.
fn same_values(profile: &Profile, other: &proto::Profile) {
    assert_eq!(profile.samples.len(), other.sample.len());
    for column in 0..profile.columns.len() {
        let sum: i128 = other.sample.iter().map(|sample| i128::from(sample.value[column])).sum();
        assert_eq!(i128::from(profile.total(column)), sum, "no value is lost");
    }
}

/// A profile with few of everything, whose references may lead to nothing.
fn messages(feed: &mut Feed) -> proto::Profile {
    let texts = ["", "samples", "count", "cpu", "nanoseconds", "main", "/opt/server", "pid", "thread", "at", "state"];
    let text = |feed: &mut Feed| i64::from(feed.byte() % 13);
    let types = 1 + feed.byte() % 3;
    let sample_type = (0..types).map(|_| proto::ValueType { ty: text(feed), unit: text(feed) }).collect();
    let mapping = (1..=u64::from(feed.byte() % 3)).map(|id| proto::Mapping {
        id,
        memory_start: u64::from(feed.word()) << 32,
        filename: text(feed),
        ..proto::Mapping::default()
    });
    let mapping = mapping.collect();
    let function = (1..=u64::from(feed.byte() % 5)).map(|id| proto::Function {
        id,
        name: text(feed),
        system_name: text(feed),
        filename: text(feed),
        ..proto::Function::default()
    });
    let function = function.collect();
    let mut location = Vec::new();
    for id in 1..=u64::from(feed.byte() % 6) {
        let lines = feed.byte() % 4;
        let line = |feed: &mut Feed| proto::Line { function_id: u64::from(feed.byte() % 6), ..proto::Line::default() };
        let line = (0..lines).map(|_| line(feed)).collect();
        let (mapping_id, address) = (u64::from(feed.byte() % 4), u64::from(feed.half()));
        location.push(proto::Location { id, mapping_id, address, line, ..proto::Location::default() });
    }
    let mut sample = Vec::new();
    while !feed.0.is_empty() && sample.len() < 100 {
        let (stack, labels) = (feed.byte() % 6, feed.byte() % 3);
        let location_id = (0..stack).map(|_| u64::from(feed.byte() % 7)).collect();
        let value = (0..types).map(|_| i64::from(feed.half()) << (feed.byte() % 48)).collect();
        let label = |feed: &mut Feed| proto::Label {
            key: text(feed),
            str: text(feed),
            num: i64::from(feed.half()),
            ..proto::Label::default()
        };
        let label = (0..labels).map(|_| label(feed)).collect();
        sample.push(proto::Sample { location_id, value, label });
    }
    let string_table = texts.iter().map(|text| (*text).to_string()).collect();
    proto::Profile { sample_type, sample, mapping, location, function, string_table, ..proto::Profile::default() }
}
