//! Builds runs and profiles by hand for the tests of what reads them.
#![allow(dead_code)]

use std::collections::BTreeMap;
use wireprof::clock::Span;
use wireprof::load::{Generator, LoadTrace, SLICE, Sessions, Slice, empty_histogram};
use wireprof::profile::{Builder, ColumnKind, Frame, Labels, Profile, Space, on_cpu_columns};
use wireprof::run::*;
use wireprof::sample::SamplingReport;

/// One sample of 1 ms at `at` ms, its stack root first, separated by `;`. A frame named `k:x` is a kernel frame `x`.
#[derive(Clone, Copy)]
pub struct Stack<'a>(pub &'a str, pub u64);

pub fn frame(name: &str) -> Frame {
    let (space, name, module) = match name.strip_prefix("k:") {
        Some(name) => (Space::Kernel, name, "[kernel]"),
        None => (Space::User, name, "server"),
    };
    Frame { name: name.into(), module: module.into(), space, inlined: false, file: String::new(), miss: None }
}

pub fn profile(stacks: &[Stack]) -> Profile {
    let mut builder = Builder::new(on_cpu_columns());
    let labels = builder.labels(Labels { process: "server".into(), complete: Some(true), ..Labels::default() });
    for Stack(stack, at) in stacks {
        let frames: Vec<_> = stack.split(';').filter(|f| !f.is_empty()).map(|f| builder.frame(frame(f))).collect();
        let stack = builder.stack(frames);
        builder.sample(stack, labels, Some(at * 1_000_000), vec![1, 1_000_000]);
    }
    builder.finish()
}

/// `count` samples of a stack, spread evenly over `seconds`.
pub fn spread(stack: &str, count: u64, seconds: u64) -> Vec<Stack<'_>> {
    (0..count).map(|i| Stack(stack, i * seconds * 1000 / count)).collect()
}

/// A window of `seconds` with `queries` completed evenly, each 1 ms long.
pub fn window(level: usize, replicate: usize, seconds: u64, queries: u64, profile: Option<Profile>) -> Window {
    let span = Span::new(1_000_000_000, 1_000_000_000 * (1 + seconds));
    let count = seconds * 20;
    let slices = (0..count)
        .map(|i| {
            let completed = queries * (i + 1) / count - queries * i / count;
            Slice { at: i * SLICE, nanos: SLICE, completed, latency_sum: completed * 1_000_000, latency: None }
        })
        .collect();
    let mut latency = empty_histogram();
    latency.record_n(1_000_000, queries).unwrap();
    let load = LoadTrace {
        driver: "wireprof".into(),
        span,
        connections: level,
        rate: None,
        completed: queries,
        divisor: "client".into(),
        rows: queries,
        wrong_rows: 0,
        errors: vec![],
        latency_sum: Some(queries * 1_000_000),
        slices,
        latency,
        generator: Generator { threads: 1, cpu: Some(queries * 5_000), dispatch_delay: None, wakes: None },
        sessions: Sessions::default(),
        jobs: vec![],
    };
    let sampling = profile.as_ref().map(|p| SamplingReport {
        event: "cpu-clock".into(),
        unwinder: "framehop".into(),
        samples: p.samples.len() as u64,
        symbolized: Some(1.0),
        ..SamplingReport::default()
    });
    let facts = WindowFacts {
        id: WindowId { level, replicate },
        span,
        skew: None,
        wall: "2026-11-22T10:15:30Z".into(),
        scrapes: None,
        target_started: None,
        missing: vec![],
    };
    Window {
        facts,
        load,
        sampling,
        profile,
        off_cpu: None,
        beside: Vec::new(),
        metrics: None,
        statements: None,
        scheduler: None,
        wire: None,
        guards: vec![],
    }
}

pub fn run(windows: Vec<Window>) -> Run {
    let mut levels: Vec<usize> = windows.iter().map(|w| w.facts.id.level).collect();
    levels.dedup();
    let manifest = Manifest {
        schema: SCHEMA,
        id: "20261122-101530-testbed".into(),
        created: "2026-11-22T10:15:30Z".into(),
        tool: "wireprof 0.1.0".into(),
        arguments: vec!["sweep".into(), "--levels".into(), "1,16".into()],
        preset: "testbed".into(),
        target: Target { url: "postgres://127.0.0.1:6875/db".into(), pid: Some(42), ..Target::default() },
        host: Host { name: "host".into(), kernel: "6.1".into(), cpu: "cpu".into(), cpus: 2, ..Host::default() },
        workload: WorkloadSummary { statements: vec!["select * from t".into()], ..WorkloadSummary::default() },
        levels,
        replicates: 1,
        seed: 7,
        order: vec![],
        window_seconds: 5.0,
        warmup_seconds: 1.0,
        changes: vec![],
        notes: vec![],
        ended: "complete".into(),
        restarted: false,
        side: None,
    };
    Run { manifest, windows, observer: None }
}

/// A profile as (stack root first, weight) lines, summed.
pub fn lines(profile: &Profile) -> BTreeMap<String, i64> {
    let mut lines = BTreeMap::new();
    let column = profile.column(&ColumnKind::Cpu).unwrap();
    for sample in &profile.samples {
        let names: Vec<&str> =
            profile.path(sample.stack).iter().map(|f| profile.frames[f.index()].name.as_str()).collect();
        *lines.entry(names.join(";")).or_insert(0) += sample.values[column];
    }
    lines
}

/// The recorded folded stacks of one level, or `None` with a reason printed where the recording is not there.
pub fn recorded(level: &str) -> Option<Profile> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/recorded/environmentd");
    let root = std::env::var("WIREPROF_RECORDED").unwrap_or_else(|_| beside.into());
    let path = format!("{root}/{level}/folded.txt.gz");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: no recording at {path} (set WIREPROF_RECORDED)");
        return None;
    };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
    let mut builder = Builder::new(vec![on_cpu_columns()[1].clone()]);
    for line in text.lines() {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        let (thread, frames) = stack.split_once(';').unwrap_or((stack, ""));
        let labels = builder.labels(Labels { thread: thread.into(), ..Labels::default() });
        let frames: Vec<_> = split_folded(frames).into_iter().map(|f| builder.frame(frame(f))).collect();
        let stack = builder.stack(frames);
        builder.sample(stack, labels, None, vec![weight.parse().unwrap()]);
    }
    Some(builder.finish())
}

/// Splits at `;` outside of brackets: array types hold one, too.
fn split_folded(stack: &str) -> Vec<&str> {
    let (mut depth, mut from, mut frames) = (0i32, 0, Vec::new());
    for (i, byte) in stack.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b';' if depth <= 0 => {
                frames.push(&stack[from..i]);
                from = i + 1;
                depth = 0;
            }
            _ => {}
        }
    }
    if from < stack.len() {
        frames.push(&stack[from..]);
    }
    frames
}
