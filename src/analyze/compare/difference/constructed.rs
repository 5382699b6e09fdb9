//! Runs made up for tests: windows with given counts, latencies and CPU, no more than a comparison reads.

use crate::clock::Span;
use crate::load::Slice;
use crate::profile::{Builder, Frame, Labels, Space, marker, on_cpu_columns};
use crate::run::{Manifest, Run, Target, Window, WindowId, build};
use crate::target::{Role, SchedulerDelta};

/// Length of a window in ns.
pub const LENGTH: u64 = 5_000_000_000;

pub fn manifest(id: &str, levels: &[usize]) -> Manifest {
    let mut manifest = build::manifest(id, levels);
    manifest.preset = "generic".into();
    manifest.target = Target { build_id: Some("ab12".into()), ..Target::default() };
    manifest.host.kernel = "6.18".into();
    manifest
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
    let mut window = build::bare(id, span, completed, latency);
    window.facts.target_started = Some(format!("{}", id.replicate));
    window.load.slices = counts.iter().enumerate().map(slice).collect();
    let thread = build::thread(Role::Target, "server", "worker", 1, cpu * completed);
    window.scheduler = Some(SchedulerDelta { span, threads: vec![thread], machine: None });
    window
}

/// One level's windows, each with these completed queries, latency and CPU of a query.
pub fn run(id: &str, level: usize, windows: &[(u64, u64, u64)]) -> Run {
    let windows = windows.iter().enumerate().map(|(i, (completed, latency, cpu))| {
        let id = WindowId { level, replicate: i + 1 };
        window(id, &[completed / 2, completed - completed / 2], *latency, *cpu)
    });
    Run { manifest: manifest(id, &[level]), windows: windows.collect(), observer: None, damaged: Vec::new() }
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
