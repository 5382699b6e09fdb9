//! What the verbs that measure make of options that all of them could honour, by the real binaries: each is visible in
//! the stored run, or refused by name. And whatever ends a measurement before its time, the server is as it was.

use crate::sweeps::*;
use rand::{Rng, SeedableRng};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use wireprof::load::{Address, Driver, Options as LoadOptions, PgwireDriver};
use wireprof::run::{BuiltFrom, Part, Run, Store};
use wireprof::testbed::{Options, Testbed};
use wireprof::workload::Workload;

const SHORT: [&str; 6] = ["--levels", "1", "--window", "500ms", "--warmup", "20ms"];
const RESET: &str = "statement statistics were reset before each window";
const STRIPPED: &str = "wireprof-testbed: stripped, so that only exported functions have names";

/// A directory with this wireprof, and beside it a testbed without symbols; `None`, with the reason, where that
/// cannot be made.
fn beside_a_stripped_testbed() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_wireprof"), folder.path().join("wireprof")).unwrap();
    let stripped = folder.path().join("wireprof-testbed");
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&stripped).arg(crate::binaries::testbed_binary()).stderr(Stdio::null());
    if !strip.status().is_ok_and(|status| status.success()) {
        crate::skip::skip("no strip to make a target without symbols; install binutils");
        return None;
    }
    Some(folder)
}

/// The command by a wireprof that finds the testbed beside itself.
fn command(place: &Place, wireprof: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(wireprof);
    command.args(arguments).current_dir(place.path()).stdin(Stdio::null());
    for variable in ["COLUMNS", "WIREPROF_RUNS", "PGPASSWORD", "PGPASSFILE", "CARGO_BIN_EXE_wireprof-testbed"] {
        command.env_remove(variable);
    }
    command
}

fn runs(place: &Place) -> Vec<Run> {
    let store = Store::new(place.runs());
    store.list().unwrap().iter().map(|manifest| store.load(&manifest.id).unwrap()).collect()
}

/// The verbs with a load of their own, as short as they can be.
const VERBS: [&[&str]; 4] = [
    &["sweep", "--no-follow"],
    &["sweep", "--no-follow", "--restart", "--replicates", "2"],
    &["compare", "--aa", "--max-replicates", "1"],
    &["ladder", "--replicates", "1"],
];

#[test]
fn statistics_are_reset_the_source_is_named_and_a_stripped_target_is_said_by_every_verb() {
    if !has_testbed() {
        return;
    }
    let Some(folder) = beside_a_stripped_testbed() else { return };
    let wireprof = folder.path().join("wireprof");
    for verb in VERBS {
        let place = Place::new();
        let asked = ["--testbed", "--reset-statements", "--source", "."];
        let answer = answer(command(&place, &wireprof, &[verb, &asked, &SHORT].concat()).output().unwrap());
        assert!(answer.code <= 1, "{verb:?}: {}\n{}", answer.out, answer.err);
        let runs = runs(&place);
        assert!(!runs.is_empty() && runs.iter().all(|run| run.manifest.ended == "complete"), "{verb:?}");
        for Run { manifest, windows, .. } in &runs {
            let told = |text: &str| manifest.notes.iter().any(|note| note.contains(text));
            assert!(told(RESET) && told(STRIPPED), "{verb:?}: {:?}", manifest.notes);
            assert_ne!(manifest.target.source, BuiltFrom::NotNamed, "{verb:?}");
            assert!(windows.iter().all(|window| window.statements.is_some()), "{verb:?}");
        }
    }
    records_the_same(&folder.path().join("wireprof-testbed"));
}

fn records_the_same(stripped: &Path) {
    let options = Options {
        binary: Some(stripped.to_path_buf()),
        arguments: vec!["--frontend-peek".into()],
        ..Options::default()
    };
    let testbed = Testbed::start(&options).unwrap();
    let (place, ready) = (Place::new(), &testbed.ready);
    let (address, workload) = (Address::parse(&ready.sql).unwrap(), Workload::from_query("select * from t"));
    let mut load = { PgwireDriver::new(address, workload, LoadOptions::default()) }.open(1).unwrap();
    load.start().unwrap();
    let target = ["record", "--preset", "testbed", "--url", &ready.sql, "--metrics-url", &ready.metrics];
    let own = ["--window", "500ms", "--source", "."];
    place.run(&[&target[..], &own].concat()).assert_done(&place);
    let manifest = place.the_run().manifest;
    assert!(manifest.notes.iter().any(|note| note.contains(STRIPPED)), "{:?}", manifest.notes);
    assert_ne!(manifest.target.source, BuiltFrom::NotNamed);
    // It sends nothing to the server, so it has nothing that would change one.
    for option in ["--reset-statements", "--restore", "--restart", "--probe"] {
        let refused = place.run(&[&target[..], &[option]].concat());
        refused.assert(2, &[&format!("unexpected argument '{option}'"), &format!("wireprof sweep {option}")]);
    }
}

/// Windows of these runs in which carriers were followed, of all; each for a second and with its queries.
fn followed(runs: &[Run]) -> (usize, usize) {
    let windows: Vec<_> = runs.iter().flat_map(|run| &run.windows).collect();
    for window in &windows {
        let lacking = window.facts.missing.iter().filter(|missing| missing.what == Part::Carriers).collect::<Vec<_>>();
        assert!(lacking.is_empty() && window.hands.is_some() == (window.facts.id.replicate == 1), "{lacking:?}");
        let Some(hands) = &window.hands else { continue };
        let carried = &hands.facts.carried;
        assert!((900_000_000..1_500_000_000).contains(&carried.span.nanos()), "{:?}", carried.span);
        assert!(carried.answered > 10 && carried.tasks > 0, "{carried:?}");
    }
    (windows.iter().filter(|window| window.hands.is_some()).count(), windows.len())
}

#[test]
fn carriers_are_followed_where_it_is_asked_for_by_every_verb_and_nowhere_else() {
    if !is_root() {
        return crate::skip::skip("probes need root");
    }
    if !has_testbed() {
        return;
    }
    // The first window of each level: of two replicates one. A ladder takes long, and is followed where it is tested.
    for (verb, replicates) in VERBS.into_iter().zip([1, 2, 1]) {
        let place = Place::new();
        let verb: Vec<_> = verb.iter().copied().filter(|argument| *argument != "--no-follow").collect();
        let answer = place.run(&[&verb[..], &["--testbed", "--follow", "1s"], &SHORT].concat());
        assert!(answer.code <= 1, "{verb:?}: {}\n{}", answer.out, answer.err);
        let (found, all) = followed(&runs(&place));
        assert!(found > 0 && all == found * replicates, "{verb:?}: {found} of {all}");
    }
    let testbed = lasting().unwrap();
    let ready = &testbed.ready;
    let place = Place::new();
    let target = ["--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal];
    let metrics = ["--metrics-url", &ready.metrics];
    for without in [&["sweep", "--no-follow"][..], &["compare", "--aa", "--max-replicates", "1"]] {
        let answer = place.run(&[without, &target, &metrics, &SHORT].concat());
        assert!(answer.code <= 1, "{without:?}: {}\n{}", answer.out, answer.err);
    }
    assert!(runs(&place).iter().flat_map(|run| &run.windows).all(|window| window.hands.is_none()));
    let (address, workload) = (Address::parse(&ready.sql).unwrap(), Workload::from_query("select * from t"));
    let mut load = { PgwireDriver::new(address, workload, LoadOptions::default()) }.open(2).unwrap();
    load.start().unwrap();
    let (place, own) = (Place::new(), ["--windows", "2", "--window", "500ms", "--follow", "1s"]);
    let target = ["record", "--preset", "testbed", "--url", &ready.sql];
    place.run(&[&target[..], &metrics, &own].concat()).assert_done(&place);
    assert_eq!(followed(&runs(&place)), (1, 2));
}

#[test]
fn each_side_of_a_comparison_may_have_a_source_of_its_own() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let asked = ["compare", "--testbed", "--aa", "--max-replicates", "1", "--a-source", ".", "--no-sampling"];
    let answer = place.run(&[&asked[..], &SHORT].concat());
    assert!(answer.code <= 1, "{}\n{}", answer.out, answer.err);
    // Against itself both sides are the first one.
    assert!(runs(&place).iter().all(|run| run.manifest.target.source != BuiltFrom::NotNamed));
    place.run(&["compare", "--testbed", "--aa", "--b-source", "."]).assert(2, &["cannot be used with"]);
}

/// A server that runs on, whose preset sets parameters and makes a table.
fn lasting() -> Option<Testbed> {
    testbed(Options { arguments: vec!["--empty-catalog".into()], ..Options::default() })
}

/// What a set-up can change, as it is now.
fn settings(testbed: &Testbed) -> Vec<String> {
    let names = ["enable_frontend_peek_sequencing", "statement_logging_max_sample_rate", "max_connections"];
    let mut found: Vec<String> =
        names.iter().map(|name| value(&testbed.ready.internal, &format!("SHOW {name}"))).collect();
    found.push(format!("t is there: {}", answers(&testbed.ready.sql, "select * from t limit 0")));
    found
}

fn answers(url: &str, sql: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.simple_query(sql).await.is_ok()
    })
}

/// The verbs by their arguments for a server that runs already.
fn lasting_verbs(ready: &wireprof::testbed::Ready) -> [Vec<&str>; 4] {
    let target = ["--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal];
    let metrics = ["--metrics-url", &ready.metrics, "--no-sampling"];
    let verb = |words: &[&'static str]| [words, &target, &metrics, &SHORT].concat();
    [
        verb(&["sweep", "--no-follow"]),
        verb(&["sweep", "--no-follow", "--observer-cost", "--pairs", "2"]),
        verb(&["compare", "--aa"]),
        verb(&["ladder"]),
    ]
}

/// A program with dbbench's flags, which is never started to drive anything.
fn dbbench(directory: &Path) -> PathBuf {
    let (draft, program) = (directory.join("draft"), directory.join("dbbench"));
    let help = "echo ' -url -driver -max-active-conns -max-idle-conns' >&2; exit 2";
    std::fs::write(&draft, format!("#!/bin/sh\n{help}\n")).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
    // By another process, so that no descriptor open for writing is inherited by another test's child.
    assert!(Command::new("cp").arg(&draft).arg(&program).status().unwrap().success());
    program
}

#[test]
fn a_refusal_leaves_the_server_as_it_was() {
    let Some(testbed) = lasting() else { return };
    let (place, ready) = (Place::new(), &testbed.ready);
    let former = settings(&testbed);
    std::fs::write(place.path().join("fails.ini"), "[setup]\nquery=select * from nosuch\n[a]\nquery=select 1\n")
        .unwrap();
    let driver = format!("dbbench={}", dbbench(place.path()).display());
    // The database that is named has no statement statistics: known only when it is asked, after the set-up.
    let counted = ["--driver", &driver, "--divisor", "statements(^select)", "--statements-url", &ready.sql];
    let refusals: [(&[&str], &str); 4] = [
        (&counted, "--divisor statements(): statement statistics were not read"),
        (&["--workload", "fails.ini"], "the workload's set-up"),
        (&["--query", "select * from nosuch"], "nosuch"),
        (&["--metrics-url", "http://127.0.0.1:1/metrics"], "--no-metrics measures the rest"),
    ];
    for verb in lasting_verbs(ready) {
        for (arguments, told) in refusals {
            // What observing costs, and a rung's session, need wireprof's own load: told before anything is opened.
            let own_load = verb[0] == "ladder" || verb.contains(&"--observer-cost");
            let told = if own_load && arguments.contains(&"--driver") { "wireprof" } else { told };
            let given_twice = arguments.contains(&"--metrics-url");
            let own: Vec<&str> = if given_twice { without(&verb, "--metrics-url") } else { verb.clone() };
            let answer = place.run(&[&own[..], arguments].concat());
            assert!(answer.code > 0 && answer.err.contains(told), "{own:?} {arguments:?}: {}", answer.err);
            assert_eq!(settings(&testbed), former, "{own:?} {arguments:?}: {}", answer.err);
        }
    }
    let parameter = ["--b-internal-sql", "ALTER SYSTEM SET no_such_parameter = 1"];
    let compared: Vec<&str> = lasting_verbs(ready)[2].iter().copied().filter(|word| *word != "--aa").collect();
    let answer = place.run(&[&compared[..], &parameter, &["--max-replicates", "1"]].concat());
    assert!(answer.code > 0 && answer.err.contains("no_such_parameter"), "{}", answer.err);
    assert_eq!(settings(&testbed), former, "the first side's turn is put back too: {}", answer.err);
}

#[test]
fn a_workload_that_is_refused_after_its_set_up_is_torn_down() {
    let Some(testbed) = lasting() else { return };
    let (place, url) = (Place::new(), &testbed.ready.postgres.url);
    let tables = "[setup]\nquery=create table made (a int)\n[teardown]\nquery=drop table made\n";
    std::fs::write(place.path().join("made.ini"), format!("{tables}[a]\nquery=select * from nosuch\n")).unwrap();
    std::fs::write(place.path().join("twice.ini"), format!("{tables}[a]\nquery=select * from made\n")).unwrap();
    let target = ["sweep", "--preset", "generic", "--url", url, "--no-sampling"];
    let refused = place.run(&[&target[..], &SHORT, &["--workload", "made.ini"]].concat());
    refused.assert(2, &["nosuch"]);
    assert!(!answers(url, "select * from made"), "{}", refused.err);
    // A table of the user's is not dropped by a script that could not make it.
    assert!(answers(url, "create table made (mine int)"));
    let refused = place.run(&[&target[..], &SHORT, &["--workload", "twice.ini"]].concat());
    refused.assert(2, &["the workload's set-up", "already exists"]);
    assert!(answers(url, "select mine from made"), "{}", refused.err);
}

/// Arguments without an option and its value.
fn without<'a>(arguments: &[&'a str], option: &str) -> Vec<&'a str> {
    let at = arguments.iter().position(|word| *word == option).unwrap();
    [&arguments[..at], &arguments[at + 2..]].concat()
}

#[test]
fn statistics_that_nobody_reads_cannot_be_reset() {
    let Some(testbed) = lasting() else { return };
    let (place, ready) = (Place::new(), &testbed.ready);
    let target = ["--preset", "generic", "--url", &ready.sql, "--query", "select 1", "--no-sampling"];
    for verb in [&["sweep"][..], &["compare", "--aa"], &["ladder"]] {
        let answer = place.run(&[verb, &target, &["--reset-statements"], &SHORT].concat());
        answer.assert(2, &["--reset-statements: whose? give --statements-url"]);
    }
    place.assert_no_run();
}

#[test]
fn an_interrupt_at_any_moment_leaves_the_server_as_it_was() {
    let Some(testbed) = lasting() else { return };
    let former = settings(&testbed);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = std::env::var("SEED").ok().map_or(clock.as_nanos() as u64, |seed| seed.parse().unwrap());
    println!("SEED={seed} repeats these moments");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    for round in 0..10 {
        let verb = &lasting_verbs(&testbed.ready)[round % 4];
        let replicates = if verb[0] == "compare" { "--max-replicates" } else { "--replicates" };
        // Half of them while it is set up.
        let latest = if round % 2 == 0 { 600 } else { 2_000 };
        let moment = Duration::from_millis(random.random_range(0..latest));
        let place = Place::new();
        let running = Running::start(place.command(&[&verb[..], &[replicates, "30"]].concat()));
        std::thread::sleep(moment);
        signal(running.id(), "-INT");
        let answer = running.finish();
        // Before it listens to signals it has done nothing, and is ended by this one.
        let ended = answer.code == 1 && answer.err.contains("interrupted; ") || answer.code == -1;
        assert!(ended, "seed {seed}, {verb:?} after {moment:?}: {} {}", answer.code, answer.err);
        assert_eq!(settings(&testbed), former, "seed {seed}, {verb:?} after {moment:?}: {}", answer.err);
    }
}
