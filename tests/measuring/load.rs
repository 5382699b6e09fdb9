//! Our own driver against a real PostgreSQL: counts, pace, checks of the answers, and the end of the server.

use crate::postgres::{self, Postgres};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use wireprof::clock::{Span, now};
use wireprof::load::{Driver, Load, LoadTrace, LoopKind, Options, PgwireDriver, Protocol};
use wireprof::workload::Workload;

fn script(text: &str) -> Workload {
    Workload::parse(text, Path::new("."), "w.ini").unwrap()
}

/// Through what `WIREPROF_TEST_THROUGH` says, epoll or io_uring: these tests are of both. Without it by the rule, which
/// is epoll for most of them.
pub fn options() -> Options {
    let through = match std::env::var("WIREPROF_TEST_THROUGH").as_deref() {
        Ok("epoll") => Some(LoopKind::Epoll),
        Ok("io_uring") => Some(LoopKind::IoUring),
        _ => None,
    };
    Options { through, ..Options::default() }
}

fn driver(server: &Postgres, workload: Workload, options: Options) -> PgwireDriver {
    PgwireDriver::new(server.address("postgres"), workload, options)
}

/// Runs a load and cuts it to a window of this length, 100 ms after its start.
fn run(server: &Postgres, workload: Workload, options: Options, level: usize, window: Duration) -> LoadTrace {
    let mut load = driver(server, workload, options).open(level).unwrap();
    load.start().unwrap();
    sleep(Duration::from_millis(100));
    let start = now();
    sleep(window);
    let end = now();
    sleep(Duration::from_millis(30));
    assert_eq!(load.failed(), None);
    load.stop(Span::new(start, end)).unwrap()
}

/// Runs a load until all its jobs have ended, and takes all of it.
fn run_out(server: &Postgres, workload: Workload, options: Options, level: usize) -> LoadTrace {
    let mut load = driver(server, workload, options).open(level).unwrap();
    let start = now();
    load.start().unwrap();
    await_failure(load.as_ref(), "every job of the workload has ended");
    load.stop(Span::new(start, now())).unwrap()
}

fn await_failure(load: &dyn Load, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while load.failed().is_none() {
        assert!(Instant::now() < deadline, "nothing failed");
        sleep(Duration::from_millis(5));
    }
    let failure = load.failed().unwrap();
    assert!(failure.contains(expected), "{failure}");
}

fn check_sums(trace: &LoadTrace) {
    assert_eq!(trace.slices.iter().map(|s| s.completed).sum::<u64>(), trace.completed);
    assert_eq!(trace.slices.iter().map(|s| s.nanos).sum::<u64>(), trace.span.nanos());
    assert_eq!(trace.latency.len(), trace.completed);
    assert_eq!(trace.jobs.iter().map(|j| j.completed).sum::<u64>(), trace.completed);
    for slice in &trace.slices {
        assert_eq!(slice.latency.as_ref().unwrap().len(), slice.completed);
    }
    // The histogram's mean is the exact one, but for its three digits and its unit of 512 ns.
    let (mean, exact) = (trace.latency.mean(), trace.mean_latency().unwrap());
    assert!((mean - exact).abs() <= exact / 1000.0 + 512.0, "{mean} for {exact}");
}

#[test]
fn both_protocols_drive_a_closed_loop_whose_sums_are_exact() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create table t as select 'a' as id, 1 as value from generate_series(1, 3)"]);
    for protocol in [Protocol::Simple, Protocol::Extended] {
        for threads in [1, 2] {
            let options = Options { protocol, threads, ..options() };
            let window = Duration::from_millis(420);
            let trace = run(&server, Workload::from_query("select * from t"), options, 4, window);
            check_sums(&trace);
            assert!(trace.completed > 100, "{}", trace.completed);
            assert_eq!((trace.rows, trace.wrong_rows, trace.error_count()), (trace.completed * 3, 0, 0));
            assert_eq!((trace.connections, trace.sessions.opened, trace.sessions.lost), (4, 4, 0));
            assert_eq!((trace.rate, trace.generator.threads), (None, threads));
            // By Little's law the four clients' time is that of their queries and the generator's own gap; at each
            // end of the window a query of each client may be counted with time outside it.
            let busy = trace.throughput() * trace.mean_latency().unwrap() / 1e9;
            let edge = 4.0 * trace.latency.max() as f64 / trace.span.nanos() as f64;
            assert!((3.8 - edge..=4.0 + edge).contains(&busy), "{busy} clients busy");
            let cpu = trace.generator.cpu.unwrap();
            assert!(cpu > 0 && cpu < trace.span.nanos() * threads as u64, "{cpu}");
            assert!(trace.generator.wakes.unwrap() > 0 && trace.generator.dispatch_delay.unwrap() > 0);
        }
    }
}

#[test]
fn counted_jobs_send_exactly_what_the_server_counts() {
    let Some(server) = Postgres::start("shared_preload_libraries = 'pg_stat_statements'") else { return };
    server.run(&["create extension pg_stat_statements", "create table log (n int)", "create sequence s"]);
    let workload = "[reads]\nquery=select 1 as one\nquery=select 2 as two, 3 as \
                    three\nmulti-query-mode=multi-connection\n\
        concurrency=3\ncount=700\n[writes]\nquery=insert into log values (nextval('s'))\nconcurrency=2\ncount=500\n";
    let calls =
        |like: &str| server.value(&format!("select sum(calls) from pg_stat_statements where query like '{like}'"));
    for threads in [1, 2] {
        server.run(&["select pg_stat_statements_reset()", "truncate log"]);
        let trace = run_out(&server, script(workload), Options { threads, ..options() }, 5);
        check_sums(&trace);
        assert_eq!(trace.jobs.iter().map(|j| j.completed).collect::<Vec<_>>(), [1400, 500]);
        assert_eq!((trace.completed, trace.rows, trace.error_count()), (1900, 1400, 0));
        assert_eq!(calls("select $1 as one"), "701", "700 and the one before the load");
        assert_eq!(calls("select $1 as two%"), "701");
        assert_eq!(calls("insert into log%"), "500", "what writes is not run before the load");
        assert_eq!(server.value("select count(distinct n) from log"), "500");
    }
}

#[test]
fn each_row_of_the_arguments_is_sent_once() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create table seen (n int, word text)"]);
    let directory = tempfile::tempdir().unwrap();
    let rows: String = (0..300).map(|n| format!("{n},\"a \"\"{n}\"\"\"\n")).collect();
    std::fs::write(directory.path().join("rows.csv"), rows).unwrap();
    let text = "[a]\nquery=insert into seen values ($1, $2)\nquery-args-file=rows.csv\nconcurrency=4\n";
    let workload = Workload::parse(text, directory.path(), "w.ini").unwrap();
    let trace = run_out(&server, workload, options(), 4);
    assert_eq!((trace.completed, trace.error_count()), (300, 0));
    assert_eq!(server.value("select count(distinct n) || ' ' || min(word) from seen"), "300 a \"0\"");

    let text = "[a]\nquery=select $1::int + 1\nquery-args-file=rows.csv\n";
    let workload = Workload::parse(text, directory.path(), "w.ini").unwrap();
    let error = driver(&server, workload, options()).open(1).err().unwrap().to_string();
    assert!(error.starts_with("statement `select $1::int + 1` fails: bind message supplies 2 parameters"), "{error}");
}

#[test]
fn a_log_is_replayed_at_its_times() {
    let Some(server) = Postgres::start("") else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("log"), "5000000,select 1\n5100000,select 2, 3\n5200000,select nope\n")
        .unwrap();
    let workload = Workload::parse("error=42703\n[a]\nquery-log-file=log\n", directory.path(), "w.ini").unwrap();
    let begun = Instant::now();
    let trace = run_out(&server, workload, options(), 2);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!((trace.completed, trace.rows), (2, 2));
    assert_eq!(
        (trace.errors[0].sqlstate.as_str(), trace.errors[0].count, trace.errors[0].accepted),
        ("42703", 1, true)
    );
    assert_eq!(trace.error_count(), 0);
    let first: Vec<_> = trace.slices.iter().filter(|s| s.completed > 0).map(|s| s.at / 50_000_000).collect();
    assert_eq!(first, [0, 2], "at 0 and 100 ms");
}

#[test]
fn an_open_loop_keeps_its_rate_and_counts_from_the_schedule() {
    let Some(server) = Postgres::start("") else { return };
    let text = "[a]\nquery=select 1\nrate=500\nbatch-size=2\n";
    let trace = run(&server, script(text), options(), 4, Duration::from_millis(1000));
    check_sums(&trace);
    assert_eq!(trace.rate, Some(1000.0));
    let expected = 1000.0 * trace.span.seconds();
    assert!((trace.completed as f64 - expected).abs() <= 12.0, "{} of {expected}", trace.completed);

    // One connection serves 20 a second; 100 arrive: latencies grow by 40 ms a query, and no arrival waits for another.
    let text = "[a]\nquery=select pg_sleep(0.05)\nrate=100\ncount=10\n";
    let trace = run_out(&server, script(text), options(), 1);
    assert_eq!(trace.completed, 10);
    let mean = trace.mean_latency().unwrap() / 1e6;
    assert!((200.0..300.0).contains(&mean), "50 + 4.5 * 40 = 230 ms, not {mean}");
}

#[test]
fn errors_and_wrong_row_counts_are_counted_each_by_themselves() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create table t (a int)", "create sequence s"]);
    let every_third = "create function f() returns int language plpgsql as $$ declare n bigint := nextval('s'); \
        begin if n % 3 = 0 then raise exception 'third' using errcode = 'WP003'; end if; return n; end $$";
    server.run(&[every_third]);
    let trace = run_out(&server, script("[a]\nquery=select f()\ncount=300\n"), options(), 1);
    assert_eq!((trace.completed, trace.rows, trace.wrong_rows), (200, 200, 0));
    assert_eq!((trace.errors[0].sqlstate.as_str(), trace.errors[0].message.as_str()), ("WP003", "third"));
    assert_eq!((trace.errors[0].count, trace.error_count(), trace.jobs[0].errors), (100, 100, 100));

    let mut load = driver(&server, script("[a]\nquery=select * from t\ncount=50\n"), options()).open(1).unwrap();
    server.run(&["insert into t values (1)"]);
    let start = now();
    load.start().unwrap();
    await_failure(load.as_ref(), "every job");
    let trace = load.stop(Span::new(start, now())).unwrap();
    assert_eq!((trace.completed, trace.wrong_rows, trace.rows), (50, 50, 50));
}

#[test]
fn a_statement_that_fails_is_named_before_the_load() {
    let Some(server) = Postgres::start("") else { return };
    for (sql, expected) in [
        (
            "select * from nope",
            "statement `select * from nope` fails: relation \"nope\" does not exist (SQLSTATE 42P01)",
        ),
        ("insert into nope values (1)", "statement `insert into nope values (1)` fails: relation \"nope\""),
    ] {
        let error = driver(&server, Workload::from_query(sql), options()).open(1).err().unwrap();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(!error.downcast_ref::<wireprof::load::LoadError>().unwrap().is_environment());
    }
}

#[test]
fn each_connection_runs_its_sessions_statements_first_and_a_wrong_one_is_named() {
    let Some(server) = Postgres::start("") else { return };
    // A temporary table is its session's own: any connection without it would answer errors.
    let session = vec!["create temporary table mine (x int)".to_string(), "insert into mine values (1), (2)".into()];
    let options = Options { session, ..options() };
    let trace = run(&server, Workload::from_query("select * from mine"), options, 5, Duration::from_millis(200));
    assert!(trace.completed > 0 && trace.rows == 2 * trace.completed, "{} rows", trace.rows);
    assert_eq!((trace.error_count(), trace.wrong_rows), (0, 0));
    let options = Options { session: vec!["set nosuch.thing to".into()], ..self::options() };
    let error = driver(&server, Workload::from_query("select 1"), options).open(1).err().unwrap();
    assert!(error.to_string().starts_with("statement `set nosuch.thing to` fails: "), "{error}");
}

#[test]
fn a_server_that_dies_under_load_is_said_with_its_last_words() {
    let Some(mut server) = Postgres::start("") else { return };
    let mut load = driver(&server, Workload::from_query("select 1"), options()).open(8).unwrap();
    let start = now();
    load.start().unwrap();
    sleep(Duration::from_millis(200));
    let before = now();
    server.shut_down();
    let words = "terminating connection due to administrator command (SQLSTATE 57P01); look into the server's log";
    await_failure(load.as_ref(), &format!("all 8 connections are lost: {words}"));
    sleep(Duration::from_millis(30));
    let end = now();
    let trace = load.stop(Span::new(start, end)).unwrap();
    assert_eq!((trace.sessions.lost, trace.connections), (8, 8));
    assert!(trace.completed > 0 && trace.slices[0].completed > 0);
    assert!(before < end);
    check_sums(&trace);
}

#[test]
fn one_lost_connection_of_several_is_counted_and_the_load_goes_on() {
    let Some(server) = Postgres::start("") else { return };
    let url = format!("{}?application_name=loaded", server.url("postgres"));
    let mut driver = PgwireDriver::new(postgres::parse(&url), Workload::from_query("select 1"), options());
    let mut load = driver.open(3).unwrap();
    let start = now();
    load.start().unwrap();
    sleep(Duration::from_millis(100));
    server.run(&["select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'loaded' limit 1"]);
    sleep(Duration::from_millis(100));
    let (before, _) = load.progress();
    sleep(Duration::from_millis(100));
    assert_eq!(load.failed(), None);
    assert!(load.progress().0 > before, "two connections go on");
    let trace = load.stop(Span::new(start, now())).unwrap();
    assert_eq!(trace.sessions.lost, 1);
}

#[test]
fn two_hundred_and_fifty_six_connections_are_open_within_two_seconds_and_gone_after() {
    let Some(server) = Postgres::start("") else { return };
    let begun = Instant::now();
    let mut load = driver(&server, Workload::from_query("select 1"), options()).open(256).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // Without the session that asks, which has the same name.
    let sessions =
        "select count(*) from pg_stat_activity where application_name = 'wireprof' and pid <> pg_backend_pid()";
    assert_eq!(server.value(sessions), "256");
    let threads = load.thread_ids();
    assert_eq!(threads.len(), 1);
    let name = std::fs::read_to_string(format!("/proc/self/task/{}/comm", threads[0])).unwrap();
    assert_eq!(name.trim(), "wireprof-load-0");
    load.start().unwrap();
    sleep(Duration::from_millis(300));
    let trace = load.stop(Span::new(now() - 200_000_000, now())).unwrap();
    assert!(trace.completed > 256 && trace.error_count() == 0 && trace.sessions.lost == 0);
    sleep(Duration::from_millis(300));
    assert_eq!(server.value(sessions), "0");
}

#[test]
fn requests_and_answers_larger_than_the_sockets_buffers_arrive_whole() {
    let Some(server) = Postgres::start("") else { return };
    let big = format!("select '{}' from generate_series(1, 4)", "x".repeat(3_000_000));
    for suffix in ["", "?sslmode=require"] {
        let ssl = if suffix.is_empty() { "off" } else { "on" };
        server.run(&[&format!("alter system set ssl = {ssl}"), "select pg_reload_conf()", "select pg_sleep(0.2)"]);
        let url = format!("{}{suffix}", server.url("postgres"));
        let workload =
            Workload { jobs: vec![script("[a]\nquery=x\ncount=6").jobs.remove(0)], ..Workload::from_query("") };
        let mut workload = workload;
        workload.jobs[0].work = Workload::from_query(&big).jobs.remove(0).work;
        let mut load = PgwireDriver::new(postgres::parse(&url), workload, options()).open(2).unwrap();
        let start = now();
        load.start().unwrap();
        await_failure(load.as_ref(), "every job");
        let trace = load.stop(Span::new(start, now())).unwrap();
        assert_eq!((trace.completed, trace.rows, trace.wrong_rows, trace.error_count()), (6, 24, 0, 0), "{suffix}");
    }
}

#[test]
fn the_latency_log_reads_back_with_the_counts_it_was_written_with() {
    let Some(server) = Postgres::start("") else { return };
    let mut trace = run(&server, Workload::from_query("select 1"), options(), 2, Duration::from_millis(230));
    let mut text = Vec::new();
    wireprof::load::write_latency_log(&trace, &mut text).unwrap();
    let json = serde_json::to_string(&trace).unwrap();
    let mut again: LoadTrace = serde_json::from_str(&json).unwrap();
    assert!(again.slices.iter().all(|slice| slice.latency.is_none()) && again.latency.is_empty());
    wireprof::load::read_latency_log(&mut again, text.as_slice()).unwrap();
    assert_eq!(again.latency, trace.latency);
    for (one, other) in again.slices.iter().zip(&trace.slices) {
        assert_eq!(one.latency.as_ref().unwrap(), other.latency.as_ref().unwrap());
    }
    trace.slices[0].completed += 1;
    let error = wireprof::load::read_latency_log(&mut trace, text.as_slice()).unwrap_err().to_string();
    assert!(error.contains("they are not of the same window"), "{error}");
}
