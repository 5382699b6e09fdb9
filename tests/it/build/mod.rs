//! Builds runs, their parts and profiles by hand for the tests of what reads them. Invariant: each type of a stored
//! run is written out here alone, so that a new field is added in one place; unit tests reach it as
//! `crate::run::build`.
#![allow(dead_code, reason = "each user has use for a part of it")]

pub mod carried;
pub mod hands;

use std::collections::{BTreeMap, BTreeSet};
use wireprof::clock::Span;
use wireprof::load::{Generator, LoadTrace, SLICE, Sessions, Slice, empty_histogram};
use wireprof::profile::{Builder, ColumnKind, Frame, Labels, Profile, Space, on_cpu_columns};
use wireprof::run::*;
use wireprof::sample::SamplingReport;
use wireprof::target::Host;
use wireprof::target::{Role, ThreadDelta};
use wireprof::wire::{Hop, HopDelta, Listens, Place, Stay};

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

/// A load of `level` clients, `queries` completed, each of which took `latency` ns; without slices or a histogram.
pub fn load(level: usize, span: Span, queries: u64, latency: u64) -> LoadTrace {
    LoadTrace {
        driver: "wireprof".into(),
        span,
        connections: level,
        rate: None,
        completed: queries,
        counted_by: "client".into(),
        rows: queries,
        wrong_rows: 0,
        errors: vec![],
        latency_sum: Some(queries * latency),
        at_sockets: None,
        slices: vec![],
        latency: empty_histogram(),
        generator: Generator::default(),
        sessions: Sessions::default(),
        jobs: vec![],
        transactions: None,
        reported: None,
        hosts: Vec::new(),
    }
}

/// A window in which nothing but the load was measured.
pub fn bare(id: WindowId, span: Span, queries: u64, latency: u64) -> Window {
    let facts = WindowFacts {
        clocks: None,
        id,
        span,
        skew: None,
        wall: "2026-11-22T10:15:30Z".into(),
        scraping: None,
        scrapes: None,
        target_started: None,
        missing: vec![],
    };
    Window {
        facts,
        load: load(id.level, span, queries, latency),
        sampling: None,
        profile: None,
        off_cpu: None,
        hands: None,
        companions: Vec::new(),
        account: None,
        metrics: None,
        statements: None,
        scheduler: None,
        wire: None,
        checks: vec![],
    }
}

/// A window of `seconds` with `queries` completed evenly, each 1 ms long.
pub fn window(level: usize, replicate: usize, seconds: u64, queries: u64, profile: Option<Profile>) -> Window {
    let span = Span::new(1_000_000_000, 1_000_000_000 * (1 + seconds));
    let mut window = bare(WindowId { level, replicate }, span, queries, 1_000_000);
    let count = seconds * 20;
    let slice = |i| {
        let completed = queries * (i + 1) / count - queries * i / count;
        Slice { at: i * SLICE, nanos: SLICE, completed, latency_sum: completed * 1_000_000, latency: None }
    };
    window.load.slices = (0..count).map(slice).collect();
    window.load.latency.record_n(1_000_000, queries).unwrap();
    window.load.generator =
        Generator { threads: 1, cpu: Some(queries * 5_000), dispatch_delay: None, ..Generator::default() };
    window.sampling = profile.as_ref().map(|p| SamplingReport {
        event: "cpu-clock".into(),
        unwinder: "framehop".into(),
        samples: p.samples.len() as u64,
        symbolized: Some(1.0),
        ..SamplingReport::default()
    });
    window.profile = profile;
    window
}

/// A thread that was `cpu` ns on CPU and waited for none; its process has its number.
pub fn thread(role: Role, process: &str, thread: &str, tid: u32, cpu: u64) -> ThreadDelta {
    ThreadDelta {
        role,
        process: process.into(),
        pid: tid,
        thread: thread.into(),
        tid,
        cpu,
        runnable: 0,
        switched: None,
        switched_by_batch: Vec::new(),
        slices: 1,
        born: false,
        gone: false,
    }
}

/// A hop whose queries were so long in each place (mean in us, in the order of the path), both ends seen.
pub fn hop(name: &str, queries: u64, connections: u64, micros: [f64; 6]) -> HopDelta {
    let stay = |(place, micros): (Place, f64)| Stay {
        place,
        nanos: (micros * 1e3 * queries as f64) as u64,
        count: queries,
        by_power: BTreeMap::from([(10, queries)]),
    };
    HopDelta {
        ways_together: false,
        hop: Hop { name: name.into(), at: Listens::Port(1) },
        connections,
        client_seen: connections,
        server_seen: connections,
        queries,
        pipelined: 0,
        pieces: 0,
        reversed: None,
        others: None,
        elsewhere: None,
        ends_elsewhere: BTreeSet::new(),
        stays: Place::ALL.into_iter().zip(micros).map(stay).collect(),
        uses: None,
        unnamed: None,
        sample: None,
    }
}

pub fn manifest(id: &str, levels: &[usize]) -> Manifest {
    Manifest {
        load_host: None,
        load_hosts: Vec::new(),
        schema: SCHEMA,
        id: id.into(),
        name: None,
        created: "2026-11-22T10:15:30Z".into(),
        tool: "wireprof 0.1.0".into(),
        arguments: vec!["sweep".into(), "--levels".into(), "1,16".into()],
        preset: "testbed".into(),
        target: Target { url: "postgres://127.0.0.1:6875/db".into(), pid: Some(42), ..Target::default() },
        host: Host { name: "host".into(), kernel: "6.1".into(), cpu: "cpu".into(), cpus: 2, ..Host::default() },
        workload: WorkloadSummary { statements: vec!["select * from t".into()], ..WorkloadSummary::default() },
        levels: levels.to_vec(),
        replicates: 1,
        seed: 7,
        order: vec![],
        window_seconds: 5.0,
        warmup_seconds: 1.0,
        changes: vec![],
        notes: vec![],
        ended: "complete".into(),
        restarted: false,
        precision: None,
        side: None,
    }
}

pub fn run(windows: Vec<Window>) -> Run {
    let mut levels: Vec<usize> = windows.iter().map(|w| w.facts.id.level).collect();
    levels.dedup();
    Run { manifest: manifest("20261122-101530-testbed", &levels), windows, observer: None, damaged: Vec::new() }
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

/// Folded stacks, thread first, as a profile of one column, `cpu`.
pub fn folded(text: &str) -> Profile {
    let mut builder = Builder::new(vec![on_cpu_columns()[1].clone()]);
    for line in text.lines() {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        let (thread, frames) = stack.split_once(';').unwrap_or((stack, ""));
        let labels = builder.labels(Labels { thread: thread.into(), ..Labels::default() });
        let frames: Vec<_> = split_folded(frames).into_iter().map(|f| builder.frame(frame(f))).collect();
        let stack = builder.stack(frames);
        builder.sample(stack, labels, None, vec![weight.parse().unwrap()]);
    }
    builder.finish()
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
