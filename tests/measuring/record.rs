//! Recording under somebody else's load, on the real binaries: what is counted, without touching server or load.

use crate::skip::skip;
use crate::sweeps::*;
use std::time::Duration;
use wireprof::clock::now;
use wireprof::load::{Address, Driver, Load, LoadTrace, Options as LoadOptions, PgwireDriver};
use wireprof::run::Window;
use wireprof::testbed::{Options, Testbed};
use wireprof::workload::Workload;

pub const CLIENTS: usize = 4;

pub fn with_peeks() -> Option<Testbed> {
    testbed(Options { arguments: vec!["--frontend-peek".into()], ..Options::default() })
}

/// A load that is this process's, not wireprof's.
pub fn load(url: &str, sql: &str) -> Box<dyn Load> {
    let driver = PgwireDriver::new(Address::parse(url).unwrap(), Workload::from_query(sql), LoadOptions::default());
    let mut load = { driver }.open(CLIENTS).unwrap();
    load.start().unwrap();
    load
}

/// Records one window under a load of ours; both accounts of it.
fn one_window(place: &Place, url: &str, sql: &str, arguments: &[&str]) -> (Window, LoadTrace) {
    let load = load(url, sql);
    let answer = place.run(&[&["record", "--url", url, "--window", "1500ms"], arguments].concat());
    answer.assert_done(place);
    let window = place.the_run().windows.remove(0);
    std::thread::sleep(Duration::from_millis(50));
    let trace = load.stop(window.facts.span).unwrap();
    assert_eq!(trace.error_count(), 0, "{:?}", trace.errors);
    (window, trace)
}

/// The two counts agree, as far as the readings' own length lets them.
fn assert_same_count(window: &Window, trace: &LoadTrace) {
    let skew = window.facts.skew.unwrap_or(0.0);
    let statements = window.statements.as_ref();
    let reading =
        statements.map_or(0, |s| s.before.nanos() + s.after.nanos()) as f64 / window.facts.span.nanos() as f64;
    let ratio = window.load.completed as f64 / trace.completed as f64;
    assert!((ratio - 1.0).abs() < 0.03 + 2.0 * skew + reading, "{} of {}", window.load.completed, trace.completed);
}

#[test]
fn queries_are_counted_by_the_servers_metrics_and_at_its_sockets_as_their_own_driver_counts_them() {
    let Some(testbed) = with_peeks() else { return };
    let ready = &testbed.ready;
    let (place, sql) = (Place::new(), "select * from t");
    let preset = ["--preset", "testbed"];
    let (window, trace) =
        one_window(&place, &ready.sql, sql, &[&preset[..], &["--metrics-url", &ready.metrics]].concat());
    assert_same_count(&window, &trace);
    assert_eq!((window.id().level, window.load.connections), (CLIENTS, CLIENTS), "as many as were connected");
    assert_eq!(window.load.counted_by, r#"count(mz_frontend_peek_seconds{*="try_frontend_peek_cached"})"#);
    assert_eq!((window.load.mean_latency(), window.load.generator.cpu), (None, None));
    for part in ["latency", "row counts", "sessions", "errors"] {
        assert!(
            window.facts.missing.iter().any(|missing| missing.what.as_str() == part),
            "{part} is said to be missing"
        );
    }

    let place = Place::new();
    let arguments = [&preset[..], &["--no-metrics", "--divisor", "sockets", "--clients", "9"]].concat();
    if !wireprof_follows_sockets() {
        return;
    }
    let (window, trace) = one_window(&place, &ready.sql, sql, &arguments);
    assert_same_count(&window, &trace);
    assert_eq!((window.load.counted_by.as_str(), window.id().level), ("sockets", 9));
    // What the load does not tell, the sockets do: it can be diagnosed, and the answer says by whose clock.
    let diagnosed = place.run(&["diagnose"]);
    assert_eq!(diagnosed.code, 0, "{}", diagnosed.err);
    assert!(diagnosed.out.contains("by the sockets (the load does not tell its own)"), "{}", diagnosed.out);
    let seen = wireprof::analyze::time::places::places(&place.the_run());
    let sum = seen[0].levels[&9].within_latency().unwrap();
    let told = trace.mean_latency().unwrap();
    assert!((sum / told - 1.0).abs() < 0.3, "{sum} ns by the sockets, {told} ns by the load itself");
}

fn wireprof_follows_sockets() -> bool {
    if is_root() && std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return true;
    }
    skip("the sockets cannot be followed here");
    false
}

#[test]
fn queries_are_counted_by_the_databases_statements() {
    let Some(testbed) = with_peeks() else { return };
    let (place, url) = (Place::new(), &testbed.ready.postgres.url);
    value(url, "create extension if not exists pg_stat_statements; select 1");
    let arguments = ["--preset", "postgres", "--statements-url", url, "--no-sampling", "--no-wire"];
    let counted = ["--divisor", r"statements(^select \$1 \+ \$2$)"];
    let (window, trace) = one_window(&place, url, "select 1 + 1", &[&arguments[..], &counted].concat());
    assert_same_count(&window, &trace);
    assert_eq!(window.load.counted_by, r"statements(^select \$1 \+ \$2$)");

    let load = load(url, "select 1 + 1");
    let other = Place::new();
    let idle = ["--divisor", "statements(^no such statement$)", "--window", "500ms"];
    let answer = other.run(&[&["record", "--url", url], &arguments[..], &idle].concat());
    assert!(answer.err.contains("queries not counted"), "{}", answer.err);
    let window = other.the_run().windows.remove(0);
    assert!(!window.counted() && window.load.completed == 0);
    assert!(answer.out.contains("not measured"), "{}", answer.out);
    drop(load);
}

#[test]
fn an_interrupted_recording_keeps_its_finished_windows() {
    let Some(testbed) = with_peeks() else { return };
    let (place, ready) = (Place::new(), &testbed.ready);
    let load = load(&ready.sql, "select * from t");
    let target = ["record", "--preset", "testbed", "--url", &ready.sql, "--metrics-url", &ready.metrics];
    let command = place.command(&[&target[..], &["--windows", "20", "--window", "600ms"]].concat());
    let mut recording = Running::start(command);
    recording.await_line("[1/20]");
    signal(recording.id(), "-INT");
    let answer = recording.finish();
    answer.assert(1, &["interrupted; the finished window"]);
    let run = place.the_run();
    assert!(
        (1..20).contains(&run.windows.len()) && run.manifest.ended.starts_with("cut short"),
        "{}",
        run.manifest.ended
    );
    assert!(load.failed().is_none(), "the load goes on");
    load.stop(wireprof::clock::Span::new(0, now())).unwrap();
}

#[test]
fn what_cannot_be_recorded_is_said_before_anything_is_stored() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://127.0.0.1:{}", silent.local_addr().unwrap().port());
    for (arguments, code, told) in [
        (
            &["--url", &url, "--no-sampling"][..],
            3,
            "start the load first, or give the number of its clients with --clients",
        ),
        (
            &["--url", &url, "--no-sampling", "--clients", "1", "--no-wire"],
            2,
            "what counts the queries? give --divisor",
        ),
        (&["--url", &url, "--clients", "0"], 2, "--windows and --clients are numbers from 1 up"),
        (&["--divisor", "statements([)"], 2, "`[` is no regular expression"),
        (&["--divisor", "delta(a)", "--url", &url, "--no-sampling", "--clients", "1"], 2, "give --metrics-url"),
        (&["--divisor", "statements(x)", "--url", &url, "--no-sampling", "--clients", "1"], 2, "give --statements-url"),
        (&[], 2, "which server? give --url"),
    ] {
        let place = Place::new();
        place.run(&[&["record"], arguments].concat()).assert(code, &[told]);
        place.assert_no_run();
    }
}
