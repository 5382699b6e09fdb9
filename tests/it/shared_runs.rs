//! One directory of runs that several write to and read: nothing of two runs is mixed, none is seen in part, and a
//! list of a thousand is told at once.

use crate::build;
use crate::cli::Place;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use wireprof::run::{Parts, Store, StoredVerdict, WindowId, run_id};

const WRITERS: usize = 2;
const RUNS: usize = 12;

/// The environment variables by which a process of this test knows that it is a writer: where, and which.
const DIRECTORY: &str = "WIREPROF_TEST_SHARED_RUNS";
const WRITER: &str = "WIREPROF_TEST_WRITER";

/// Writes runs of one second and name, each of two windows with as many queries as the writer has for its own.
fn write_runs(directory: &Path, writer: usize) {
    let store = Store::new(directory);
    for _ in 0..RUNS {
        let reserved = store.reserve(&run_id(std::time::UNIX_EPOCH, "shared")).unwrap();
        let queries = 1_000 + writer as u64;
        let windows = [1, 2].map(|replicate| build::window(4, replicate, 1, queries, None));
        let mut manifest = build::manifest("any", &[4]);
        manifest.order = windows.iter().map(|window| window.id()).collect();
        let mut run = reserved.begin(manifest).unwrap();
        for window in &windows {
            run.write_window(window, None).unwrap();
        }
        run.finish("complete").unwrap();
        StoredVerdict { level: 4, words: format!("of {writer}"), tool: "x".into() }.keep(run.directory()).unwrap();
    }
}

/// Runs as a process of its own, which this test starts; alone it has nothing to do.
#[test]
fn a_writer_of_a_shared_directory() {
    let (Ok(directory), Ok(writer)) = (std::env::var(DIRECTORY), std::env::var(WRITER)) else { return };
    write_runs(Path::new(&directory), writer.parse().unwrap());
}

fn start_writer(directory: &Path, writer: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "shared_runs::a_writer_of_a_shared_directory"]);
    command.env(DIRECTORY, directory).env(WRITER, writer.to_string());
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Every complete run that is listed is whole; how many there are.
fn complete_runs(store: &Store) -> usize {
    let listed = store.list().unwrap();
    let complete: Vec<_> = listed.iter().filter(|manifest| manifest.ended == "complete").collect();
    for manifest in &complete {
        let run = Store::load_readable(&store.directory(manifest), Parts::NONE).unwrap();
        let queries: BTreeSet<u64> = run.windows.iter().map(|window| window.load.completed).collect();
        assert_eq!((run.windows.len(), queries.len(), run.damaged.len()), (2, 1, 0), "{}", manifest.id);
    }
    complete.len()
}

#[test]
fn two_processes_write_to_one_directory_and_a_third_sees_whole_runs_only() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                complete_runs(&store);
            }
        });
        let writers: Vec<Child> = (1..=WRITERS).map(|writer| start_writer(directory.path(), writer)).collect();
        for mut writer in writers {
            let status = writer.wait().unwrap();
            assert!(status.success(), "{status}");
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(complete_runs(&store), WRITERS * RUNS);
    let listed = store.list().unwrap();
    let ids: BTreeSet<&str> = listed.iter().map(|manifest| manifest.id.as_str()).collect();
    assert_eq!(ids.len(), WRITERS * RUNS, "{ids:?}");
    // The verdict of each is its writer's.
    let mut each = [0; WRITERS];
    for manifest in &listed {
        let run = store.load(&manifest.id).unwrap();
        let writer = run.windows[0].load.completed as usize - 1_000;
        assert_eq!(store.verdict(manifest).unwrap().words, format!("of {writer}"));
        each[writer - 1] += 1;
    }
    assert_eq!(each, [RUNS; WRITERS]);
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().filter_map(Result::ok).collect();
    assert_eq!(left.len(), WRITERS * RUNS, "{left:?}");
}

#[test]
fn a_run_is_under_way_until_it_is_finished_whatever_its_manifest_says() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let mut run = store.create(build::manifest("a", &[4])).unwrap();
    assert!(store.list().unwrap()[0].ended.contains("has not finished it"));
    run.finish("complete").unwrap();
    assert_eq!(store.list().unwrap()[0].ended, "complete");
}

/// A thousand runs of four levels with a verdict each. Their windows are links to those of the first.
fn thousand(place: &Place) {
    let levels = [1, 4, 16, 64];
    let mut made = build::run(levels.map(|level| build::window(level, 1, 10, 100_000, None)).into());
    made.manifest.id = "20270101-000000-x-0000".into();
    made.manifest.order = levels.map(|level| WindowId { level, replicate: 1 }).into();
    let mut first = Store::new(place.runs()).create(made.manifest).unwrap();
    made.windows.iter().for_each(|window| first.write_window(window, None).unwrap());
    first.finish("complete").unwrap();
    StoredVerdict { level: 64, words: "CPU saturated".into(), tool: "x".into() }.keep(first.directory()).unwrap();
    let manifest = std::fs::read_to_string(first.directory().join("manifest.json")).unwrap();
    for at in 1..1_000 {
        let id = format!("20270101-000000-x-{at:04}");
        let directory = place.runs().join(&id);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("manifest.json"), manifest.replace(&first.manifest.id, &id)).unwrap();
        std::fs::copy(first.directory().join("verdict.json"), directory.join("verdict.json")).unwrap();
        for window in made.windows.iter().map(|window| window.id().directory()) {
            std::os::unix::fs::symlink(first.directory().join(&window), directory.join(&window)).unwrap();
        }
    }
}

#[test]
fn a_thousand_runs_are_listed_in_less_than_two_seconds() {
    let place = Place::new();
    thousand(&place);
    // Without optimization reading a thousand windows takes ten times the CPU; the list has twenty unless more are
    // asked for.
    let slow = if cfg!(debug_assertions) { 8.0 } else { 2.0 };
    for (arguments, bound) in [(&["runs"][..], 2.0), (&["runs", "--last", "1000"], slow)] {
        // The fastest of three: other tests run beside it.
        let times = (0..3).map(|_| {
            let began = Instant::now();
            let text = place.done(arguments);
            assert!(text.contains("20270101-000000-x-0999") && text.contains("CPU saturated"), "{text}");
            began.elapsed().as_secs_f64()
        });
        let fastest = times.fold(f64::INFINITY, f64::min);
        eprintln!("{arguments:?}: {fastest:.2} s");
        assert!(fastest < bound, "{arguments:?} took {fastest:.2} s");
    }
}
