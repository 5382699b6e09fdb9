//! What threads wait for, from a constructed run: exact figures a query, the stacks that are named, and that a stored
//! run gives the same.

use crate::build;
use regex::Regex;
use wireprof::analyze::time::WaitKinds;
use wireprof::analyze::time::off_cpu::{Kind, blocked_stacks, waits};
use wireprof::clock::Span;
use wireprof::preset::Preset;
use wireprof::profile::{Builder, Frame, Labels, Profile, Space, off_cpu_columns};
use wireprof::run::{Manifest, OffCpu, Run, Store};
use wireprof::sample::OffCpuReport;

fn frame(name: &str) -> Frame {
    let (space, name) = name.strip_prefix("k:").map_or((Space::User, name), |name| (Space::Kernel, name));
    Frame { name: name.into(), module: "server".into(), space, inlined: false, file: String::new(), miss: None }
}

/// Waits by stack, root first: waits, blocked and runnable ns.
fn profile(stacks: &[(&[&str], [i64; 3])]) -> Profile {
    let mut builder = Builder::new(off_cpu_columns());
    for (at, (stack, values)) in stacks.iter().enumerate() {
        let frames: Vec<_> = stack.iter().map(|name| builder.frame(frame(name))).collect();
        let labels = Labels { tid: at as u32, state: "off-cpu".into(), ..Labels::default() };
        let (stack, labels) = (builder.stack(frames), builder.labels(labels));
        builder.sample(stack, labels, None, values.to_vec());
    }
    builder.finish()
}

const LOCK: &[&str] = &["main", "peek", "Mutex::lock_contended", "k:futex_wait"];

/// One window of 10 s with 1,000 queries; waits were followed over half of it.
fn run() -> Run {
    let stacks: [(&[&str], [i64; 3]); 4] = [
        (LOCK, [100, 500_000, 50_000]),
        (LOCK, [100, 500_000, 50_000]),
        (&["main", "peek", "held", "k:exc_page_fault"], [10, 0, 250_000]),
        (&["main", "park", "k:do_epoll_wait"], [1_000, 4_000_000_000, 1_000_000]),
    ];
    let mut window = build::window(16, 1, 10, 1_000, None);
    let start = window.facts.span.start;
    let report = OffCpuReport { span: Span::new(start, start + 5_000_000_000), waits: 242, ..OffCpuReport::default() };
    window.off_cpu = Some(OffCpu { report, profile: Some(profile(&stacks)) });
    build::run(vec![window])
}

fn kinds() -> WaitKinds {
    WaitKinds::of(&Preset::built_in("generic").unwrap())
}

fn pattern(text: &str) -> Vec<Regex> {
    vec![Regex::new(text).unwrap()]
}

#[test]
fn waits_are_divided_by_the_queries_of_their_own_span_and_told_apart_by_kind() {
    // 500 queries in those 5 s.
    let all = waits(&run(), 16, &kinds(), &[], &[]).unwrap();
    assert_eq!((all.lock, all.other, all.work), (2_000.0, 0.0, 8_000_000.0));
    assert_eq!((all.runnable, all.switches, all.on_cpu), (2_700.0, 2.42, None));
    let peek = waits(&run(), 16, &kinds(), &pattern("^peek$"), &pattern("^held$")).unwrap();
    assert_eq!((peek.blocked(), peek.runnable, peek.switches), (2_000.0, 200.0, 0.4));
    assert_eq!(waits(&run(), 64, &kinds(), &[], &[]), None, "no such level");
}

#[test]
fn the_stack_of_the_lock_is_named_once_for_all_its_threads_and_idle_ones_are_not() {
    let stacks = blocked_stacks(&run(), 16, &kinds(), &[], 5);
    assert_eq!(stacks.len(), 1, "{stacks:?}");
    let names: Vec<&str> = stacks[0].frames.iter().map(|frame| frame.name.as_str()).collect();
    assert_eq!(names, ["Mutex::lock_contended", "peek", "main"]);
    assert_eq!((stacks[0].kind, stacks[0].threads, stacks[0].blocked), (Kind::Lock, 2, 2_000.0));
}

#[test]
fn a_stored_run_gives_the_same_waits_and_one_without_profiles_its_report() {
    let (directory, run) = (tempfile::tempdir().unwrap(), run());
    let store = Store::new(directory.path());
    let manifest = Manifest { order: vec![run.windows[0].id()], ..run.manifest.clone() };
    let mut writer = store.create(manifest).unwrap();
    writer.write_window(&run.windows[0], None).unwrap();
    writer.finish("complete").unwrap();
    let stored = store.load(&run.manifest.id).unwrap();
    assert_eq!(waits(&stored, 16, &kinds(), &[], &[]), waits(&run, 16, &kinds(), &[], &[]));
    let parts = wireprof::run::Parts::NONE;
    let brief = store.load_parts(&run.manifest.id, parts).unwrap();
    let off_cpu = brief.windows[0].off_cpu.as_ref().unwrap();
    assert!(off_cpu.profile.is_none());
    assert_eq!(off_cpu.report, run.windows[0].off_cpu.as_ref().unwrap().report);
}
