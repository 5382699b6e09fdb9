//! What goes wrong with a sweep, by the real binaries: each fault names the thing, the cause and the remedy, has its
//! exit code, and loses nothing that was finished.

use crate::binaries::{WIREPROF, testbed_binary};
use crate::skip::skip;
use crate::sweeps::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use wireprof::target::Role;
use wireprof::testbed::{Options, Testbed};

/// One testbed for all tests that leave it as it is; the kernel ends it with this process.
fn shared() -> Option<&'static Testbed> {
    static SHARED: OnceLock<Option<Testbed>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| testbed(Options::default())).as_ref();
    // Said again, so that each test that needs it counts as skipped.
    shared.is_none().then(|| skip("no PostgreSQL server found"));
    shared
}

fn generic<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--preset", "generic", "--url", url, "--levels", "1", "--window", "500ms"], more].concat()
}

#[test]
fn a_target_that_is_not_there_is_refused_before_any_load() {
    let Some(testbed) = shared() else { return };
    let place = Place::new();
    let answer = place.sweep(&generic(&testbed.ready.sql, &["--pid", "4194303"]));
    answer.assert(
        3,
        &["measuring process 4194303", "there is no such process on this host", "remedy: give the server's"],
    );
    let absent = place.sweep(&generic(&testbed.ready.sql, &["--no-sampling", "--also", "nosuchprocess"]));
    absent.assert(2, &["--also nosuchprocess: there is no such process on this host"]);
    place.assert_no_run();
}

#[test]
fn a_process_that_does_not_own_the_port_is_refused_by_the_name_of_the_one_that_does() {
    let Some(testbed) = shared() else { return };
    let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let place = Place::new();
    let pid = other.id().to_string();
    let given = ["--no-sampling", "--no-metrics", "--pid", &pid];
    let refused = place.sweep(&generic(&testbed.ready.sql, &given));
    let owner = testbed.ready.pid;
    refused.assert(
        2,
        &[&format!("--pid {pid} (sleep) does not own port "), &format!("process {owner} ("), "--pid-anyway"],
    );
    place.assert_no_run();
    let answer = place.sweep(&generic(&testbed.ready.sql, &[&given[..], &["--pid-anyway"]].concat()));
    other.kill().unwrap();
    other.wait().unwrap();
    let told = format!("process {pid} (sleep) is measured as the server, and port ");
    assert!(place.the_run().manifest.notes.iter().any(|note| note.starts_with(&told)), "{}", answer.err);
}

#[test]
fn a_closed_port_is_said_with_and_without_sampling() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://me@127.0.0.1:{port}/db");
    let place = Place::new();
    for more in [&[][..], &["--no-sampling"]] {
        let told = format!("nothing listens at 127.0.0.1:{port}: Connection refused");
        place.sweep(&generic(&url, more)).assert(3, &[&told, "start the server, or correct host and port in the URL"]);
    }
    place.assert_no_run();
}

#[test]
fn a_wrong_password_is_said_without_showing_it() {
    let Some(testbed) = testbed(Options { password: Some("right".into()), ..Options::default() }) else { return };
    let place = Place::new();
    let port = testbed.ready.sql.split(':').next_back().unwrap().split('/').next().unwrap().to_string();
    let wrong = format!("postgres://me:wr0ng-secret@127.0.0.1:{port}/materialize");
    let answer = place.sweep(&generic(&wrong, &[]));
    answer.assert(3, &["does not accept the password of user \"me\"", "password from the URL", "correct it there"]);
    assert!(!answer.err.contains("wr0ng-secret"), "{}", answer.err);
    let none = format!("postgres://me@127.0.0.1:{port}/materialize");
    let answer = answer_of(place.command(&[&["sweep"], &generic(&none, &[])[..]].concat()).env("HOME", place.path()));
    answer.assert(3, &["wants a password of user \"me\" and there is none; put it into the URL, PGPASSWORD or"]);
    place.assert_no_run();
    let right = format!("postgres://me:right@127.0.0.1:{port}/materialize");
    let answer = place.sweep(&generic(&right, &[]));
    answer.assert_done(&place);
    let stored =
        std::fs::read_to_string(place.runs().join(&place.the_run().manifest.id).join("manifest.json")).unwrap();
    assert!(!stored.contains("me:right") && stored.contains("me:***@"), "{stored}");
}

fn answer_of(command: &mut Command) -> Answer {
    answer(command.output().unwrap())
}

#[test]
fn metrics_asked_for_that_cannot_be_read_are_refused_before_anything_is_changed() {
    for (fault, told) in [
        ("metrics-absent", "answers 404: there are no metrics at this path; give the path that serves them"),
        ("metrics-hang", "did not answer whole within 5 s; give it longer, or measure without metrics"),
        ("metrics-garbled", "does not answer in Prometheus' text format"),
    ] {
        let options = Options { faults: vec![fault.into()], ..Options::default() };
        let Some(testbed) = testbed(options) else { return };
        let (place, ready) = (Place::new(), &testbed.ready);
        let target = ["--url", &ready.sql, "--internal-url", &ready.internal, "--metrics-url", &ready.metrics];
        let answer =
            place.sweep(&[&target[..], &["--preset", "testbed", "--levels", "1", "--window", "500ms"]].concat());
        answer.assert(3, &[told, "--no-metrics measures the rest without them"]);
        place.assert_no_run();
        assert_eq!(value(&ready.internal, "SHOW enable_frontend_peek_sequencing"), "off", "{fault}");
    }
}

/// Passes `answers` requests on to `url`, then closes every connection at once.
fn dying_proxy(url: &str, answers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_string();
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            if index >= answers {
                continue;
            }
            // A request without a body, and one read is enough for it.
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let mut upstream = std::net::TcpStream::connect(&server).unwrap();
            upstream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            let mut whole = Vec::new();
            upstream.read_to_end(&mut whole).unwrap();
            stream.write_all(&whole).unwrap();
        }
    });
    format!("http://{address}/metrics")
}

#[test]
fn metrics_that_die_meanwhile_cost_only_their_own_numbers() {
    let Some(testbed) = shared() else { return };
    let place = Place::new();
    // Before the load one that finds the metrics and three that tell their cost, and the first window's two.
    let metrics = dying_proxy(&testbed.ready.metrics, 6);
    let more = ["--metrics-url", &metrics, "--replicates", "3"];
    place.sweep(&generic(&testbed.ready.sql, &more)).assert_done(&place);
    let run = place.the_run();
    let order: Vec<bool> = run.windows.iter().map(|window| window.metrics.is_some()).collect();
    assert_eq!(order, [true, false, false]);
    for window in &run.windows {
        assert!(window.load.completed > 0 && window.profile.is_some() && window.scheduler.is_some());
        let missing: Vec<&str> = window.facts.missing.iter().map(|m| m.what.as_str()).collect();
        assert_eq!(missing, if window.metrics.is_some() { vec![] } else { vec!["metrics"] });
    }
    let why = &run.windows[2].facts.missing[0];
    assert!(why.why.contains("broke off while answering") || why.why.contains("nothing answers at"), "{why:?}");
}

#[test]
fn without_permission_to_sample_the_remedy_is_said_and_ones_own_server_is_sampled_thread_by_thread() {
    let Some(testbed) = shared() else { return };
    let place = Place::new();
    if !is_root() {
        return skip("only root can become another user");
    }
    std::fs::create_dir(place.runs()).unwrap();
    std::os::unix::fs::chown(place.runs(), Some(65_534), Some(65_534)).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", WIREPROF]);
        command.args(arguments).current_dir(place.path()).stdin(Stdio::null()).output()
    };
    // setpriv itself may reach what nobody may not, such as a checkout in root's home.
    let mut reaches = Command::new("setpriv");
    reaches.args(["--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x"]).arg(testbed_binary());
    let reached = reaches.status().is_ok_and(|status| status.success());
    if !reached || !as_nobody(&["--version"]).is_ok_and(|output| output.status.success()) {
        return skip(format!("the user nobody cannot run {WIREPROF}"));
    }
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if paranoid.trim().parse::<i32>().unwrap() < 1 {
        return skip("this kernel lets everybody sample everything (kernel.perf_event_paranoid)");
    }
    let pid = testbed.ready.pid.to_string();
    let sweep = [&["sweep"], &generic(&testbed.ready.sql, &["--pid", &pid])[..]].concat();
    let told = [
        "sampling of process",
        "kernel.perf_event_paranoid is",
        "remedy: run as root, or `sudo setcap",
        "--no-sampling",
    ];
    answer(as_nobody(&sweep).unwrap()).assert(3, &told);
    place.assert_no_run();
    let own = ["sweep", "--testbed", "--levels", "2", "--window", "600ms", "--warmup", "100ms"];
    answer(as_nobody(&own).unwrap()).assert_done(&place);
    let run = place.the_run();
    let report = run.windows[0].sampling.as_ref().unwrap();
    assert!(report.fallbacks.iter().any(|why| why.starts_with("one event per thread")), "{:?}", report.fallbacks);
    let smaller = run.manifest.notes.iter().any(|note| note.starts_with("stack copies of "));
    assert!(smaller || report.unwinder.contains("65528"), "{} {:?}", report.unwinder, run.manifest.notes);
    assert!(report.samples > 0 && !run.windows[0].profile.as_ref().unwrap().samples.is_empty());
}

#[test]
fn a_target_killed_in_a_window_leaves_the_windows_before_readable() {
    let Some(testbed) = testbed(Options::default()) else { return };
    let place = Place::new();
    let sweep = ["sweep", "--warmup", "100ms", "--preset", "generic", "--url", &testbed.ready.sql];
    let command = place.command(&[&sweep[..], &["--levels", "1,2,3", "--window", "1s"]].concat());
    let mut running = Running::start(command);
    running.await_line("[1/3]");
    std::thread::sleep(Duration::from_millis(500));
    signal(testbed.ready.pid, "-KILL");
    let answer = running.finish();
    answer.assert(1, &["the sweep was cut short; the finished window is kept", "see the server's own log"]);
    assert!(answer.out.starts_with("Run "), "the finished window is shown: {}", answer.out);
    let run = place.the_run();
    assert_eq!(run.windows.len(), 1);
    assert!(run.windows[0].load.completed > 0);
    assert!(run.manifest.ended.starts_with("cut short after 1 of 3 windows: "), "{}", run.manifest.ended);
    place.assert_no_temporary();
}

/// A small file system of a test's own.
struct SmallDisk<'a>(&'a std::path::Path);

impl SmallDisk<'_> {
    fn mount(at: &std::path::Path, kilobytes: usize) -> Option<SmallDisk<'_>> {
        std::fs::create_dir(at).unwrap();
        let size = format!("size={kilobytes}k");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("-l").arg(self.0).status().unwrap().success());
    }
}

#[test]
fn a_full_disk_ends_the_sweep_and_keeps_what_is_finished() {
    let Some(testbed) = shared() else { return };
    let place = Place::new();
    let runs = place.runs();
    let Some(disk) = SmallDisk::mount(&runs, 1_000) else {
        return skip("no file system can be mounted here");
    };
    let url =
        ["--preset", "testbed", "--url", &testbed.ready.sql, "--metrics-url", &testbed.ready.metrics, "--no-setup"];
    let more = ["--levels", "1,2,3,4", "--replicates", "8", "--window", "500ms"];
    let answer = place.run(&[&["sweep", "--warmup", "20ms"], &url[..], &more].concat());
    answer.assert(1, &["the sweep was cut short", "finished windows are kept", "no space left to write", "--runs"]);
    let run = place.the_run();
    assert!((1..32).contains(&run.windows.len()), "{} windows", run.windows.len());
    assert!(run.windows.iter().all(|window| window.load.completed > 0));
    assert!(run.manifest.ended.starts_with("cut short"), "{}", run.manifest.ended);
    place.assert_no_temporary();
    drop(disk);
}

fn interrupted_by(name: &str) {
    if shared().is_none() {
        return;
    }
    let place = Place::new();
    let scratch = Place::new();
    let sweep = ["sweep", "--testbed", "--warmup", "100ms", "--levels", "1,2,3", "--window", "1s"];
    let mut command = place.command(&sweep);
    command.env("TMPDIR", scratch.path());
    let mut running = Running::start(command);
    running.await_line("[1/3]");
    std::thread::sleep(Duration::from_millis(400));
    signal(running.id(), name);
    let answer = running.finish();
    answer.assert(1, &["interrupted; the finished window is kept"]);
    let run = place.the_run();
    assert_eq!(run.windows.len(), 1);
    assert_eq!(run.manifest.ended, "cut short after 1 of 3 windows: interrupted");
    await_gone(run.manifest.target.pid.unwrap());
    let threads = &run.windows[0].scheduler.as_ref().unwrap().threads;
    let behind: Vec<u32> = threads.iter().filter(|t| t.role == Role::Other).map(|t| t.pid).collect();
    assert!(behind.len() > 3, "the postmaster and its children: {threads:?}");
    behind.into_iter().for_each(await_gone);
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0, "a temporary file or directory is left");
    place.assert_no_temporary();
}

#[test]
fn an_interrupt_keeps_finished_windows_and_leaves_no_process_and_no_file() {
    interrupted_by("-INT");
}

#[test]
fn a_request_to_end_is_as_good_as_an_interrupt() {
    interrupted_by("-TERM");
}

#[test]
fn a_wrong_argument_of_a_sweep_is_usage_and_starts_nothing() {
    let place = Place::new();
    std::fs::write(place.path().join("bad.ini"), "[a]\nquery=select 1\nconcurency=3\n").unwrap();
    for (arguments, told) in [
        (&["--levels", "0"][..], "levels are numbers of clients from 1 up, such as --levels 1,4,16,64"),
        (&["--levels", "many"], "invalid value 'many' for '--levels"),
        (&["--window", "1ms"], "a window under 500 ms holds too few samples: give --window 1s or more"),
        (&["--window", "soon"], "`soon` is no length of time; write 5s, 500ms or 1m"),
        (&["--preset", "nosuch"], "there is no preset `nosuch`; there are materialize, testbed, postgres"),
        (&["--plant", "gremlin=1s"], "unknown plant \"gremlin\"; the plants are cpu:peek=DURATION"),
        (&["--plant", "lock=long"], "\"long\" is not a duration"),
        (&["--workload", "nosuch.ini"], "nosuch.ini: cannot read the workload: No such file or directory"),
        (&["--workload", "bad.ini"], "bad.ini:3: "),
        (&["--driver", "pgbench"], "write wireprof, or dbbench=PATH"),
        (&["--driver", "dbbench=x", "--load-threads", "2"], "--load-threads is of wireprof's own load: leave it out"),
        (&["--driver", "dbbench=x", "--protocol", "simple"], "--protocol is of wireprof's own load: leave it out"),
        (&["--frequency", "0"], "0 is not in 1..=20000"),
        (&["--divisor", "delta("], "delta("),
        (&["--url", "postgres://x"], "cannot be used with"),
    ] {
        let answer = place.sweep(&[&["--testbed"], arguments].concat());
        answer.assert(2, &[told]);
        assert!(!answer.err.contains("starting the testbed"), "{}", answer.err);
    }
    place.sweep(&["--preset", "generic", "--query", "select 1"]).assert(2, &["which server? give --url"]);
    place.assert_no_run();
}

#[test]
fn a_statement_that_the_server_refuses_is_the_users_to_correct() {
    let Some(testbed) = shared() else { return };
    let place = Place::new();
    let url = testbed.ready.postgres.url.clone();
    let answer = place.sweep(&generic(&url, &["--query", "select * from nosuch", "--no-sampling"]));
    answer.assert(2, &["statement `select * from nosuch` fails: relation \"nosuch\" does not exist (SQLSTATE 42P01)"]);
}
