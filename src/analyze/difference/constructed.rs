//! Runs made up for tests: windows with given counts, latencies and CPU, no more than a comparison reads.

use crate::clock::Span;
use crate::load::{Generator, LoadTrace, Sessions, Slice, empty_histogram};
use crate::profile::{Builder, Frame, Labels, Space, marker, on_cpu_columns};
use crate::run::{Manifest, Run, SCHEMA, Target, Window, WindowFacts, WindowId, WorkloadSummary};
use crate::target::Host;
use crate::target::{Role, SchedulerDelta, ThreadDelta};

/// Length of a window in ns.
pub const LENGTH: u64 = 5_000_000_000;

pub fn manifest(id: &str, levels: &[usize]) -> Manifest {
    Manifest {
        schema: SCHEMA,
        id: id.into(),
        created: String::new(),
        tool: "wireprof".into(),
        arguments: Vec::new(),
        preset: "generic".into(),
        target: Target { build_id: Some("ab12".into()), ..Target::default() },
        host: Host { name: "host".into(), kernel: "6.18".into(), cpu: "cpu".into(), cpus: 2, ..Host::default() },
        workload: WorkloadSummary::default(),
        levels: levels.to_vec(),
        replicates: 1,
        seed: 0,
        order: Vec::new(),
        window_seconds: 5.0,
        warmup_seconds: 1.0,
        changes: Vec::new(),
        notes: Vec::new(),
        ended: "complete".into(),
        restarted: false,
        side: None,
    }
}

/// A window whose slices have these counts, each query with `latency` and `cpu` in ns.
pub fn window(id: WindowId, counts: &[u64], latency: u64, cpu: u64) -> Window {
    let span = Span::new(0, LENGTH);
    let nanos = LENGTH / counts.len() as u64;
    let completed: u64 = counts.iter().sum();
    let slice = |(i, &count): (usize, &u64)| Slice {
        at: i as u64 * nanos,
        nanos,
        completed: count,
        latency_sum: count * latency,
        latency: None,
    };
    let thread = ThreadDelta {
        role: Role::Target,
        process: "server".into(),
        pid: 1,
        thread: "worker".into(),
        tid: 1,
        cpu: cpu * completed,
        runnable: 0,
        switched: None,
        slices: 1,
        born: false,
        gone: false,
    };
    Window {
        facts: WindowFacts {
            id,
            span,
            skew: None,
            scrapes: None,
            wall: String::new(),
            target_started: Some(format!("{}", id.replicate)),
            missing: Vec::new(),
        },
        load: LoadTrace {
            driver: "constructed".into(),
            span,
            connections: id.level,
            rate: None,
            completed,
            divisor: "client".into(),
            rows: completed,
            wrong_rows: 0,
            errors: Vec::new(),
            latency_sum: Some(completed * latency),
            slices: counts.iter().enumerate().map(slice).collect(),
            latency: empty_histogram(),
            generator: Generator::default(),
            sessions: Sessions::default(),
            jobs: Vec::new(),
        },
        off_cpu: None,
        beside: Vec::new(),
        sampling: None,
        profile: None,
        metrics: None,
        statements: None,
        scheduler: Some(SchedulerDelta { span, threads: vec![thread], machine: None }),
        wire: None,
        guards: Vec::new(),
    }
}

/// One level's windows, each with these completed queries, latency and CPU of a query.
pub fn run(id: &str, level: usize, windows: &[(u64, u64, u64)]) -> Run {
    let windows = windows.iter().enumerate().map(|(i, (completed, latency, cpu))| {
        let id = WindowId { level, replicate: i + 1 };
        window(id, &[completed / 2, completed - completed / 2], *latency, *cpu)
    });
    Run { manifest: manifest(id, &[level]), windows: windows.collect(), observer: None }
}

/// Gives the window a profile of these stacks (`root;leaf`) with as many samples of 1 ms.
pub fn profiled(window: &mut Window, stacks: &[(&str, i64)]) {
    let mut builder = Builder::new(on_cpu_columns());
    let labels = builder.labels(Labels::default());
    for (stack, count) in stacks {
        let frame = |name: &str| Frame { name: name.into(), module: "server".into(), space: Space::User, ..marker("") };
        let frames: Vec<_> = stack.split(';').map(|name| builder.frame(frame(name))).collect();
        let stack = builder.stack(frames);
        builder.sample(stack, labels, None, vec![*count, count * 1_000_000]);
    }
    window.profile = Some(builder.finish());
}
