//! The run that the tests of exports share: two levels, one with two replicates, with everything that is exported.
//! Invariant: its totals are the constants here.

use crate::build;
use crate::build::hands::{hands, key};
use crate::cli::Place;
use wireprof::carriers::{State, Who};
use wireprof::clock::Span;
use wireprof::profile::{Builder, Labels, Profile, off_cpu_columns, on_cpu_columns};
use wireprof::run::{OffCpu, Run, Window, WindowId};
use wireprof::sample::OffCpuReport;
use wireprof::wire::{QueryTimeline, Sample, WireDelta};

pub const ID: &str = "20261122-101530-testbed";
/// CPU time of level 4's samples, and of those of level 16's two windows together, in ns.
pub const CPU: [(usize, i64); 2] = [(4, 40_156_360), (16, 80_312_720)];
/// Of each window: blocked, runnable.
pub const OFF_CPU: [u64; 2] = [5_000_000_007, 1_000_003];
pub const IN_HAND: u64 = 3_000_000_001;

/// Forty samples of two threads, in an order that is neither that of time nor that of the call tree.
fn samples() -> Profile {
    let mut builder = Builder::new(on_cpu_columns());
    let thread = |tid: u32| Labels {
        process: "server".into(),
        pid: 42,
        thread: format!("worker-{tid}"),
        tid: 100 + tid,
        complete: Some(true),
        ..Labels::default()
    };
    let labels = [1, 2].map(|tid| builder.labels(thread(tid)));
    let names = ["main", "serve", "read", "k:tcp_recvmsg", "write; flush"];
    let frames = names.map(|name| builder.frame(build::frame(name)));
    for number in 0..40u64 {
        let stack = builder.stack(frames[..2 + number as usize / 5 % 4].to_vec());
        let at = number * 13 % 40 * 100_000_000 + number;
        builder.sample(stack, labels[number as usize % 2], Some(at), vec![1, 1_003_909]);
    }
    builder.finish()
}

fn off_cpu(span: Span) -> OffCpu {
    let mut builder = Builder::new(off_cpu_columns());
    let labels = builder.labels(Labels { thread: "worker-1".into(), state: "off-cpu".into(), ..Labels::default() });
    let frames = ["main", "lock"].map(|name| builder.frame(build::frame(name)));
    for (depth, values) in [(1, [3, 5_000_000_000, 0]), (2, [2, 7, 1_000_003])] {
        let stack = builder.stack(frames[..depth].to_vec());
        builder.sample(stack, labels, None, values.to_vec());
    }
    OffCpu { report: OffCpuReport { span, waits: 5, ..OffCpuReport::default() }, profile: Some(builder.finish()) }
}

/// A query each 10 ms of the window, of 2 ms to 6 ms.
pub fn wire(span: Span) -> WireDelta {
    let query = |number: u64| QueryTimeline {
        sent: span.start + number * 10_000_000 + 1,
        client: 5_000 + number as u32 % 3,
        spent: [10_001, 0, 2_000_003 + number as u32 * 10_000, 7, 30_000],
        behind: None,
    };
    let mut hop = build::hop("target", 1_000, 4, [1.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
    hop.sample = Some(Sample { hop: "target".into(), every: 2, lost: 0, queries: (0..400).map(query).collect() });
    WireDelta { span, hops: vec![hop], sends_seen: true }
}

/// One window of 5 s with everything that is exported; the windows follow one another.
fn window(level: usize, replicate: usize, number: u64) -> Window {
    let mut window = build::window(level, replicate, 5, 1_000_000, Some(samples()));
    let start = 1_000_000_000 + number * 7_000_000_000;
    let span = Span::new(start, start + 5_000_000_000);
    (window.facts.span, window.load.span) = (span, span);
    window.sampling.as_mut().unwrap().period = Some(1_003_009);
    window.off_cpu = Some(off_cpu(span));
    window.wire = Some(wire(span));
    let rows = vec![
        (key(State::Waiting, Some(0), Some((Who::Interrupt, 1))), IN_HAND - 1_000_000_000),
        (key(State::Running, None, None), 1_000_000_000),
    ];
    window.hands = Some(hands(&["main;serve;wait", "main;wake"], 1_000, rows, vec![]));
    window
}

/// Level 4 once, level 16 twice.
fn whole() -> Run {
    let windows = vec![window(4, 1, 0), window(16, 1, 1), window(16, 2, 2)];
    let mut run = build::run(windows);
    run.manifest.order = run.windows.iter().map(Window::id).collect::<Vec<WindowId>>();
    run
}

pub fn place() -> Place {
    Place::holding(whole())
}

/// The file of this name that was exported.
pub fn exported(place: &Place, arguments: &[&str], name: &str) -> Vec<u8> {
    place.done(&[&["export", "latest", "--format"], arguments].concat());
    let path = place.path().join(format!("{ID}{name}"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
