//! Sweeps that end otherwise than planned: the terminal goes, nobody can read the answer, files may not be large, the
//! server ends the sessions. Each ends in order, and leaves the server as it was.

use crate::binaries::WIREPROF;
use crate::postgres::Postgres;
use crate::skip::skip;
use crate::sweeps::*;
use std::process::{Command, Stdio};
use std::time::Duration;
use wireprof::run::Store;
use wireprof::testbed::Options;

const SHORT: [&str; 8] = ["sweep", "--levels", "1,2,3", "--window", "700ms", "--warmup", "100ms", "--no-follow"];

/// A shell's command that becomes the program, after what the shell does before.
fn by_shell(place: &Place, before: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before} exec \"$@\""), "sh", WIREPROF]).args(arguments);
    command.current_dir(place.path()).stdin(Stdio::null()).env_remove("WIREPROF_RUNS");
    command
}

/// How the only run ended, by its manifest.
fn ended(place: &Place) -> String {
    let runs = Store::new(place.runs()).list().unwrap();
    assert_eq!(runs.len(), 1);
    runs[0].ended.clone()
}

#[test]
fn a_terminal_that_goes_away_is_as_good_as_an_interrupt() {
    let Some(testbed) = testbed(Options::default()) else { return };
    if wireprof::child::ignores(libc::SIGHUP) {
        return skip("the tests run under nohup");
    }
    let place = Place::new();
    let target = ["--preset", "generic", "--url", &testbed.ready.sql, "--no-sampling"];
    let mut running = Running::start(place.command(&[&SHORT[..], &target].concat()));
    running.await_line("window 1 of");
    signal(running.id(), "-HUP");
    running.finish().assert(1, &["interrupted; no window was finished"]);
    assert_eq!(ended(&place), "cut short after 0 of 3 windows: interrupted");
}

#[test]
fn an_answer_as_events_that_cannot_be_written_is_no_success() {
    let Some(testbed) = testbed(Options::default()) else { return };
    let place = Place::new();
    let target = ["--preset", "generic", "--url", &testbed.ready.sql, "--no-sampling", "--json-lines"];
    let mut command = place.command(&[&SHORT[..], &target].concat());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    answer(command.stdout(full).stderr(Stdio::piped()).output().unwrap())
        .assert(3, &["cannot write to standard output"]);
    assert_eq!(ended(&place), "complete");
}

#[test]
fn a_limit_of_the_size_of_files_is_told_and_ends_the_sweep_in_order() {
    let Some(testbed) = testbed(Options::default()) else { return };
    let place = Place::new();
    let target = ["--preset", "generic", "--url", &testbed.ready.sql, "--no-sampling"];
    // Room for the manifest, and none for the latencies of a window.
    let mut command = by_shell(&place, "ulimit -f 8;", &[&SHORT[..], &target].concat());
    answer(command.output().unwrap()).assert(1, &["files may not be that large here", "ulimit -f unlimited"]);
    let ended = ended(&place);
    assert!(ended.starts_with("cut short after 0 of 3 windows: cannot write "), "{ended}");
    place.assert_no_temporary();
}

#[test]
fn a_server_that_ends_all_sessions_is_put_back_over_new_ones() {
    let Some(server) = Postgres::start("") else { return };
    let place = Place::new();
    let preset = place.path().join("mine.toml");
    let setup = "statement = \"create table made (a int)\"\nundo = \"drop table made\"\n";
    let made = format!("inherits = \"generic\"\n[[setup]]\n{setup}");
    std::fs::write(&preset, made).unwrap();
    let url = server.url("postgres");
    let target = ["--preset", preset.to_str().unwrap(), "--url", &url, "--query", "select 1", "--no-sampling"];
    // Longer than it takes on a busy host to ask and to end the sessions.
    let long = ["sweep", "--levels", "1", "--window", "30s", "--warmup", "100ms", "--no-follow"];
    let mut running = Running::start(place.command(&[&long[..], &target].concat()));
    running.await_line("window 1 of");
    std::thread::sleep(Duration::from_millis(200));
    let there = "select count(*) from pg_class where relname = 'made'";
    assert_eq!(server.value(there), "1");
    let others = "from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
    server.run(&[&format!("select pg_terminate_backend(pid) {others}")]);
    running.finish().assert(1, &["the sweep was cut short", "put back: drop table made"]);
    assert_eq!(server.value(there), "0");
}

#[test]
fn a_testbed_that_is_killed_leaves_no_directory() {
    if !has_testbed() {
        return;
    }
    let (place, scratch) = (Place::new(), Place::new());
    let mut command = place.command(&[&SHORT[..], &["--testbed", "--no-sampling"]].concat());
    command.env("TMPDIR", scratch.path());
    let mut running = Running::start(command);
    running.await_line("[1/3]");
    signal(place.the_run().manifest.target.pid.unwrap(), "-KILL");
    running.finish().assert(1, &["the sweep was cut short; the finished window is kept"]);
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0, "its directory is left");
}
