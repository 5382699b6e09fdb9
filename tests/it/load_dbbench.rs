//! The user's own dbbench: a stand-in that prints a recorded result, and real recorded outputs where they are there.

use crate::recordings;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use wireprof::clock::{Span, now};
use wireprof::load::{Address, DbbenchDriver, Driver, parse_output};
use wireprof::workload::Workload;

const HELP: &str =
    "Usage of dbbench:\n  -driver string\n  -url string\n  -max-active-conns int\n  -max-idle-conns int\n";
const RESULT: &str = "2026/11/22 09:22:48 query: 13293 transactions (664.440 TPS), latency 1.479128ms±24.49µs; \
    13293 rows (664.440 RPS), 13293 queries (664.440 QPS); 0 aborts (0.000%), latency 0s±0s\n\
    Transactions:\n   262.144µs -    524.288µs [     1]: x\n";

/// A program that behaves as dbbench does, and notes its arguments, script and password in its directory.
fn stand_in(directory: &Path, help: &str, run: &str) -> PathBuf {
    let here = directory.display();
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = -help ]; then cat >&2 <<'X'\n{help}X\nexit 2; fi\n\
         echo \"$@\" >{here}/arguments\nfor last; do :; done\ncp \"$last\" {here}/script\necho \"$last\" >{here}/path\n\
         echo \"$PGPASSWORD\" >{here}/password\n{run}\n"
    );
    let (draft, program) = (directory.join("draft"), directory.join("dbbench"));
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    // Copied by a process of its own: a descriptor open for writing here could be inherited by another test's child,
    // and then the program could not be executed.
    assert!(Command::new("cp").args([&draft, &program]).status().unwrap().success());
    program
}

fn until_interrupted() -> String {
    format!("trap 'cat >&2 <<X\n{RESULT}X\nexit 0' INT\ntouch $(dirname $0)/ready\nwhile :; do sleep 0.01; done")
}

fn address() -> Address {
    Address::parse_in("postgres://me:secret@127.0.0.1:6875/app", &|_| None).unwrap()
}

fn await_file(path: PathBuf) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} did not appear", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn dbbench_gets_its_connections_and_its_password_and_is_read_at_the_end() {
    for pre_auth in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let help = if pre_auth { format!("{HELP}  -force-pre-auth\n") } else { HELP.to_string() };
        let program = stand_in(directory.path(), &help, &until_interrupted());
        let mut driver = DbbenchDriver::new(&program, address(), Workload::from_query("select * from t")).unwrap();
        assert_eq!(driver.name(), "dbbench");
        let mut load = driver.open(16).unwrap();
        assert_eq!(load.thread_ids(), Vec::<u32>::new());
        load.start().unwrap();
        await_file(directory.path().join("ready"));
        assert_eq!(load.failed(), None);
        let child = load.thread_ids()[0];
        let window = Span::new(now() - 1000, now());
        let trace = load.stop(window).unwrap();

        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let script = read("path").trim().to_string();
        let url = "-url postgres://me@127.0.0.1:6875/app?sslmode=disable -driver postgres";
        let flag = if pre_auth { "-force-pre-auth " } else { "" };
        let expected = format!("{url} -max-active-conns 16 -max-idle-conns 16 {flag}{script}\n");
        assert_eq!(read("arguments"), expected);
        assert_eq!(read("password"), "secret\n");
        assert_eq!(read("script"), "\n[query]\nquery=select * from t\nconcurrency=16\n");
        assert!(!Path::new(&script).exists() && !Path::new(&format!("/proc/{child}")).exists());
        assert_eq!((trace.connections, trace.completed, trace.latency_sum), (16, 0, None));
        assert_eq!((trace.jobs[0].completed, trace.jobs[0].latency_sum), (13293, 13293 * 1_479_128));
        assert_eq!(trace.counted_by, "none: dbbench reports its whole run only");
        let reported = trace.reported.unwrap();
        let job = &reported.jobs[0];
        assert_eq!((job.name.as_str(), job.transactions, job.rate), ("query", 13293, 664.44));
        assert_eq!((job.latency, job.latency_deviation), (1_479_128, 24_490));
        assert!(reported.ran.start < window.start && reported.ran.end >= window.end, "{:?}", reported.ran);
    }
}

#[test]
fn a_dbbench_that_ends_early_is_said_with_its_last_words() {
    let directory = tempfile::tempdir().unwrap();
    let program = stand_in(directory.path(), HELP, "echo 'pq: password authentication failed' >&2; exit 1");
    let mut driver = DbbenchDriver::new(&program, address(), Workload::from_query("select 1")).unwrap();
    let mut load = driver.open(1).unwrap();
    load.start().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while load.failed().is_none() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    let expected = "dbbench ended by itself (exit status: 1): pq: password authentication failed";
    assert_eq!(load.failed().as_deref(), Some(expected));
    let error = format!("{:#}", load.stop(Span::new(0, 1)).unwrap_err());
    assert!(error.starts_with("read dbbench's results: dbbench printed no result; its last lines: pq: "), "{error}");
}

#[test]
fn what_is_no_dbbench_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let program = stand_in(directory.path(), "Usage: -url -driver\n", "");
    let error = DbbenchDriver::new(&program, address(), Workload::from_query("select 1")).err().unwrap();
    assert!(error.is_environment());
    assert!(error.to_string().contains("dbbench: its -help names no -max-active-conns; give the path"), "{error}");
    let error = DbbenchDriver::new(Path::new("/nonexistent"), address(), Workload::from_query("x")).err().unwrap();
    assert!(error.to_string().starts_with("/nonexistent: it cannot be run: No such file"), "{error}");
}

#[test]
fn a_load_that_is_dropped_leaves_no_process() {
    let directory = tempfile::tempdir().unwrap();
    let program = stand_in(directory.path(), HELP, &until_interrupted());
    let mut driver = DbbenchDriver::new(&program, address(), Workload::from_query("select 1")).unwrap();
    let mut load = driver.open(1).unwrap();
    load.start().unwrap();
    let child = load.thread_ids()[0];
    drop(load);
    assert!(!Path::new(&format!("/proc/{child}")).exists());
}

#[test]
fn outputs_of_a_real_dbbench_agree_with_themselves() {
    let Some(recorded) = recordings::environmentd() else { return };
    let mut read = 0;
    for level in ["t/c1", "t/c16", "t/c64", "bench/c1", "bench/c16", "bench/c64"] {
        for name in ["dbbench.txt", "dbbench-noperf.txt"] {
            let seconds = agrees_with_itself(&recorded.join(level).join(name));
            assert!((19.9..20.2).contains(&seconds), "{seconds}");
            read += 1;
        }
    }
    assert_eq!(read, 12);
}

#[test]
fn outputs_of_the_testbeds_recording_agree_with_themselves() {
    for level in ["c1", "c4", "c16"] {
        assert_eq!(agrees_with_itself(&recordings::testbed().join(level).join("dbbench.txt")), 4.0);
    }
}

/// The seconds that it ran for.
fn agrees_with_itself(path: &Path) -> f64 {
    let jobs = parse_output(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(jobs.len(), 1, "{}", path.display());
    let job = &jobs[0];
    assert_eq!(job.histogram.iter().map(|b| b.count).sum::<u64>(), job.transactions);
    assert_eq!(job.queries, Some(job.transactions));
    // The mean lies within the bounds that the histogram sets.
    let bound = |edge: fn(&wireprof::load::Bucket) -> u64| {
        job.histogram.iter().map(|b| (edge(b) * b.count) as f64).sum::<f64>() / job.transactions as f64
    };
    assert!((bound(|b| b.from)..bound(|b| b.to)).contains(&(job.latency_mean as f64)));
    job.transactions as f64 / job.tps
}
