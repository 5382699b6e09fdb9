//! Comparisons by the real binaries: the order of the turns, a target of its own for each, and that nothing is left
//! of them. Windows are too short for verdicts, so none is asserted but that of a difference of half the latency.

use crate::binaries::testbed_binary;
use crate::sweeps::*;
use std::collections::BTreeSet;
use wireprof::analyze::compare::freshness::freshness;
use wireprof::run::{Run, Store};
use wireprof::testbed::Options;

const SHORT: [&str; 6] = ["--levels", "1", "--window", "500ms", "--warmup", "100ms"];

/// Both runs, that of side A first.
fn sides(place: &Place) -> [Run; 2] {
    let store = Store::new(place.runs());
    let mut runs: Vec<Run> = store.list().unwrap().iter().map(|manifest| store.load(&manifest.id).unwrap()).collect();
    runs.sort_by_key(|run| run.manifest.side.as_ref().unwrap().letter);
    runs.try_into().unwrap_or_else(|runs: Vec<Run>| panic!("{} runs", runs.len()))
}

/// A testbed can be started here.
fn possible() -> bool {
    testbed(Options::default()).is_some()
}

#[test]
fn turns_alternate_each_with_a_target_of_its_own_and_both_sides_are_runs() {
    if !possible() {
        return;
    }
    let (place, scratch) = (Place::new(), Place::new());
    let sql = "set transaction_isolation = 'serializable'";
    let own = ["compare", "--testbed", "--b-sql", sql, "--b-name", "weak", "--max-replicates", "2", "--seed", "3"];
    let mut command = place.command(&[&own[..], &SHORT].concat());
    let answer = answer(command.env("TMPDIR", scratch.path()).output().unwrap());
    let runs = sides(&place);
    answer.assert_measured("A and weak compared", &runs);
    let [a, b] = runs;
    let (side, partner) = (a.manifest.side.as_ref().unwrap(), b.manifest.side.as_ref().unwrap());
    assert_eq!((&side.partner, &partner.partner), (&b.manifest.id, &a.manifest.id));
    assert_eq!((side.setup.len(), partner.setup.as_slice()), (0, &[format!("session: {sql}")][..]));
    assert_eq!(partner.look.unwrap().replicates, 2);
    let mut windows: Vec<(u64, char)> = [(&a, 'A'), (&b, 'B')]
        .into_iter()
        .flat_map(|(run, letter)| run.windows.iter().map(move |window| (window.facts.span.start, letter)))
        .collect();
    windows.sort_unstable();
    let order: String = windows.iter().map(|(_, letter)| letter).collect();
    assert_eq!(order, side.turns);
    assert!(order == "ABBA" || order == "BAAB", "{order}");
    let processes = |run: &Run| -> Vec<u32> {
        let threads = run.windows.iter().filter_map(|window| window.scheduler.as_ref());
        threads
            .flat_map(|s| s.threads.iter().filter(|t| t.role == wireprof::target::Role::Target))
            .map(|t| t.pid)
            .collect()
    };
    let pids: BTreeSet<u32> = [&a, &b].into_iter().flat_map(processes).collect();
    assert_eq!(pids.len(), 4, "four turns, four targets");
    pids.into_iter().for_each(await_gone);
    // The session's SQL reached the load: such reads do not ask the oracle.
    let asked = |run: &Run| run.windows.iter().map(|w| w.load.mean_latency().unwrap()).fold(0.0, f64::max);
    assert!(asked(&b) < asked(&a), "{} {}", asked(&b), asked(&a));
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0, "a temporary file or directory is left");
    place.assert_no_temporary();
    place.run(&["diff", &a.manifest.id, &b.manifest.id]).assert(0, &[]);
}

#[test]
fn an_interrupted_comparison_keeps_its_windows_and_leaves_no_process() {
    if !possible() {
        return;
    }
    let (place, scratch) = (Place::new(), Place::new());
    let mut command = place.command(&[&["compare", "--testbed", "--aa", "--max-replicates", "3"][..], &SHORT].concat());
    command.env("TMPDIR", scratch.path());
    let mut running = Running::start(command);
    running.await_line("replicate 2 of 3");
    running.await_line("window ");
    signal(running.id(), "-INT");
    running.finish().assert(1, &["interrupted; the 2 finished windows are kept"]);
    for run in sides(&place) {
        assert_eq!(run.windows.len(), 1);
        assert!(
            run.manifest.ended.starts_with("cut short after 1 of 3 windows: interrupted"),
            "{}",
            run.manifest.ended
        );
        await_gone(run.manifest.target.pid.unwrap());
    }
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0, "a temporary file or directory is left");
}

#[test]
fn replicates_of_a_sweep_can_have_a_target_of_their_own_each() {
    if !possible() {
        return;
    }
    let place = Place::new();
    let sweep = ["--testbed", "--restart", "--replicates", "2", "--levels", "1", "--window", "500ms"];
    place.sweep(&sweep).assert_done(&place);
    let run = place.the_run();
    let starts: BTreeSet<_> = run.windows.iter().map(|window| window.facts.target_started.clone().unwrap()).collect();
    assert!(run.manifest.restarted && run.windows.len() == 2 && run.manifest.ended == "complete");
    assert_eq!(starts.len(), 2, "{starts:?}");
}

#[test]
fn parameters_of_a_side_are_put_back_and_one_that_cannot_be_is_refused() {
    let Some(testbed) = testbed(Options::default()) else { return };
    let (place, ready) = (Place::new(), &testbed.ready);
    let parameter = "ALTER SYSTEM SET max_connections = 77";
    let target =
        ["compare", "--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal, "--no-metrics"];
    let own = ["--b-internal-sql", parameter, "--max-replicates", "1", "--restore"];
    let answer = place.run(&[&target[..], &own, &SHORT].concat());
    let runs = sides(&place);
    answer.assert_measured("A and B compared", &runs);
    let [a, b] = runs;
    let set = |run: &Run| run.manifest.changes.iter().any(|change| change == "max_connections: 5000 -> 77");
    assert!(!set(&a) && set(&b) && !a.manifest.restarted, "{:?} {:?}", a.manifest.changes, b.manifest.changes);
    assert_eq!(value(&ready.internal, "SHOW max_connections"), "5000");
    assert_eq!(value(&ready.internal, "SHOW enable_frontend_peek_sequencing"), "off", "what the preset set");
}

#[test]
fn a_server_by_a_command_is_started_for_each_turn_and_gone_after() {
    if !possible() {
        return;
    }
    let place = Place::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://materialize@127.0.0.1:{port}/materialize");
    let binary = testbed_binary().display().to_string();
    let command = |more: &str| format!("exec {binary} --sql-port {port} --frontend-peek {more}");
    let (a, b) = (command(""), command("--plant cpu:peek=100us"));
    let sides_given =
        ["compare", "--preset", "generic", "--url", &url, "--query", "select * from t", "--a-command", &a];
    let answer = place.run(&[&sides_given[..], &["--b-command", &b, "--max-replicates", "1"], &SHORT].concat());
    let runs = sides(&place);
    answer.assert_measured("A and B compared", &runs);
    for run in runs {
        assert!(run.manifest.restarted && run.windows.len() == 1);
        await_gone(run.manifest.target.pid.unwrap());
    }
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "something still listens");
}

#[test]
fn a_wrong_argument_is_usage_and_starts_nothing() {
    let place = Place::new();
    for (arguments, told) in [
        (&["--testbed"][..], "both sides are alike"),
        (&["--testbed", "--aa", "--b-plant", "lock=1us"], "cannot be used with"),
        (&["--testbed", "--b-plant", "gremlin=1s"], "unknown plant"),
        (&["--testbed", "--b-internal-sql", "drop table t"], "cannot be put back"),
        (&["--testbed", "--b-sql", "select 1", "--b-name", "A"], "both sides have one name"),
        (&["--testbed", "--aa", "--replicates", "4"], "'--max-replicates'"),
        (&["--url", "postgres://a@localhost:1/a", "--b-command", "true"], "give --a-command and --b-command"),
        (&["--b-env", "A=1"], "--b-command"),
    ] {
        place.run(&[&["compare"], arguments].concat()).assert(2, &[told]);
    }
    place.assert_no_run();
}

#[test]
fn a_side_that_serves_stale_reads_is_wrong_before_it_is_fast() {
    if !possible() {
        return;
    }
    let place = Place::new();
    let own = ["compare", "--testbed", "--probe", "read-after-write", "--max-replicates", "1"];
    let answer = place.run(&[&own[..], &["--b-plant", "stale-reads=1s"], &SHORT].concat());
    assert_eq!(answer.code, 1, "{}\n{}", answer.out, answer.err);
    assert!(answer.out.starts_with("A and B compared: B IS WRONG\n\n== Read after write =="), "{}", answer.out);
    let [a, b] = sides(&place).map(|run| freshness(&run).unwrap());
    assert!(a.reads > 0 && a.stale == 0 && !a.wrong(), "{a:?}");
    assert!(b.reads > 0 && b.stale > 0 && b.wrong(), "{b:?}");
    assert_eq!(a.isolation.as_deref(), Some("strict serializable"));
}

#[test]
fn the_probe_knows_what_an_isolation_level_permits() {
    let Some(testbed) = testbed(Options::default()) else { return };
    let (place, ready) = (Place::new(), &testbed.ready);
    let target =
        ["compare", "--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal, "--no-metrics"];
    let own = [
        "--b-sql",
        "set transaction_isolation = 'serializable'",
        "--max-replicates",
        "1",
        "--probe",
        "read-after-write",
    ];
    let answer = place.run(&[&target[..], &own, &SHORT].concat());
    let runs = sides(&place);
    answer.assert_measured("A and B compared", &runs);
    let [a, b] = runs.map(|run| freshness(&run).unwrap());
    assert!(!a.permitted && b.permitted && b.isolation.as_deref() == Some("serializable"), "{a:?} {b:?}");
}
