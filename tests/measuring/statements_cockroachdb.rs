//! The reader of CockroachDB's statement statistics against a stand-in whose figures are a real PostgreSQL's (see
//! `cockroachdb`), in three versions; and sweeps in which a database behind goes away.

use crate::cockroachdb::{StandIn, Version};
use crate::postgres::{self, Postgres};
use crate::sweeps::{Answer, Place, Running};
use std::time::Duration;
use wireprof::check::Status;
use wireprof::load::connect;
use wireprof::statements::{
    PgStatStatements, Reader, Reset, StatementSource, StatementsDelta, StatementsError, open, reset, same_statement,
};

const LOADED: &str = "shared_preload_libraries = 'pg_stat_statements'";
const ORACLE: &str = "SELECT read_ts FROM timestamp_oracle WHERE timeline = $1";

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

async fn reader(stand_in: &StandIn, reader: Reader) -> Result<Box<dyn StatementSource>, StatementsError> {
    let address = postgres::parse(&stand_in.url());
    open(reader, connect(&address).await.unwrap(), &address.shown()).await
}

/// `None`, with the reason printed, where PostgreSQL is not installed.
fn start(version: Version) -> Option<(Postgres, StandIn)> {
    let server = Postgres::start(LOADED)?;
    server.run(&[
        "create table timestamp_oracle (timeline text, read_ts int8)",
        "insert into timestamp_oracle values ('x', 1)",
    ]);
    let stand_in = StandIn::start(&server.url("postgres"), version);
    Some((server, stand_in))
}

fn ask_oracle(server: &Postgres, times: usize) {
    let ask = "SELECT read_ts FROM timestamp_oracle WHERE timeline = 'x'";
    server.run(&vec![ask; times]);
}

/// The server in front is a PostgreSQL here, of which the preset follows the postmaster alone: a check says so, and no
/// other may fail.
fn assert_children_unfollowed(answer: &Answer, place: &Place) {
    assert_eq!(answer.code, 1, "{}\n{}", answer.out, answer.err);
    let run = place.the_run();
    let checks = run.windows.iter().flat_map(|window| &window.checks);
    let failed: Vec<String> = checks.filter(|check| check.status() == Status::Fail).map(ToString::to_string).collect();
    assert!(!failed.is_empty() && failed.iter().all(|said| said.contains("child processes")), "{failed:?}");
}

#[test]
fn figures_are_those_of_the_database_in_ns_each_with_its_own_count() {
    let Some((server, stand_in)) = start(Version::Plain) else { return };
    ask_oracle(&server, 15);
    on_runtime(async {
        let (all, node) =
            (reader(&stand_in, Reader::Auto).await.unwrap(), reader(&stand_in, Reader::CockroachdbNode).await.unwrap());
        let own = connect(&server.address("postgres")).await.unwrap();
        let own = PgStatStatements::open(own, "postgres").await.unwrap();
        let before = [all.snapshot().await, node.snapshot().await, own.snapshot().await].map(Result::unwrap);
        tokio::task::block_in_place(|| ask_oracle(&server, 32));
        let after = [all.snapshot().await, node.snapshot().await, own.snapshot().await].map(Result::unwrap);
        let [all, node, own] =
            [0, 1, 2].map(|at| StatementsDelta::between(&before[at], &after[at]).statement(ORACLE).unwrap());
        // Sums are rounded to ns.
        let close = |found: Option<u64>, wanted: f64| {
            let found = found.unwrap() as f64;
            assert!((found - wanted).abs() < 2.0 + wanted * 1e-6, "{found} ns, wanted {wanted}");
        };
        // What PostgreSQL says of the same calls; the stand-in's shares of it are in its tables.
        for statement in [&all, &node] {
            assert_eq!((statement.calls, statement.rows), (32, 32));
            assert_eq!(statement.application.as_deref(), Some("app"));
            close(Some(statement.exec), own.exec as f64);
            close(statement.service, own.exec as f64 * 2.0);
            assert_eq!(statement.plan, Some(0));
        }
        assert_eq!(node.sampled, None, "without a count of their own they cannot be differenced");
        // One call in ten of 15, then of 47: sampled means were of other calls than all calls.
        let sampled = all.sampled.unwrap();
        assert_eq!(sampled.calls, 3);
        let mean_of = |at: &wireprof::statements::StatementsSnapshot| {
            let row = at.rows.iter().find(|row| same_statement(&row.query, ORACLE)).unwrap();
            row.exec / row.calls as f64
        };
        let (first, last) = (mean_of(&before[2]), mean_of(&after[2]));
        close(sampled.cpu, (4.0 * last - first) / 2.0);
        close(sampled.contention, (4.0 * last - first) / 4.0);
        assert!(
            after[0].source.contains("CockroachDB CCL v25.2.1 at postgres://root@127.0.0.1"),
            "{}",
            after[0].source
        );
        assert!(after[0].rows.iter().all(|row| row.query != "SELECT past"), "intervals that ended before are not read");
    });
}

#[test]
fn a_version_that_wants_its_variable_gets_it_on_our_own_session_only() {
    let Some((_server, stand_in)) = start(Version::Gated) else { return };
    on_runtime(async {
        let reader = reader(&stand_in, Reader::Cockroachdb).await.unwrap();
        let source = reader.snapshot().await.unwrap().source;
        assert!(source.ends_with("(allow_unsafe_internals set on wireprof's own session)"), "{source}");
        let other = connect(&postgres::parse(&stand_in.url())).await.unwrap();
        let refused = other.simple_query("SELECT * FROM crdb_internal.statement_statistics").await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{refused}");
    });
}

#[test]
fn sessions_tell_what_they_execute_or_executed_last_and_which_of_them_asks() {
    let Some((server, stand_in)) = start(Version::Gated) else { return };
    on_runtime(async {
        let source = reader(&stand_in, Reader::Auto).await.unwrap();
        let other = connect(&server.address("postgres")).await.unwrap();
        other.query_one("SELECT 'last of another'", &[]).await.unwrap();
        let told = source.activity().await.unwrap();
        assert_eq!(told.iter().filter(|session| session.own).count(), 1, "{told:?}");
        let last = told.iter().find(|session| session.query == "SELECT 'last of another'");
        assert!(last.is_some_and(|session| !session.own && session.port > 0), "{told:?}");
    });
}

#[test]
fn a_reset_is_judged_by_its_effect() {
    for (version, works) in [(Version::Plain, true), (Version::ResetWithoutEffect, false)] {
        let Some((server, stand_in)) = start(version) else { return };
        ask_oracle(&server, 50);
        on_runtime(async {
            let reader = reader(&stand_in, Reader::Auto).await.unwrap();
            let before = reader.snapshot().await.unwrap();
            match reset(&*reader).await.unwrap() {
                Reset::Done => assert!(works),
                Reset::WithoutEffect { query } => assert!(!works && same_statement(&query, ORACLE), "{query}"),
            }
            tokio::task::block_in_place(|| ask_oracle(&server, 9));
            let delta = StatementsDelta::between(&before, &reader.snapshot().await.unwrap());
            let found = delta.statement(ORACLE).map(|statement| statement.calls);
            assert_eq!((found, delta.vanished > 0), if works { (None, true) } else { (Some(9), false) });
        });
    }
}

#[test]
fn what_is_no_cockroachdb_is_said_with_what_it_lacks() {
    let Some(server) = Postgres::start("") else { return };
    on_runtime(async {
        let client = connect(&server.address("postgres")).await.unwrap();
        let error = open(Reader::Cockroachdb, client, "here").await.err().unwrap();
        assert!(matches!(error, StatementsError::NoSuchTable { .. }), "{error}");
        assert!(error.to_string().starts_with("the database has no crdb_internal.statement_statistics"), "{error}");
    });
}

#[test]
fn a_sweep_reads_the_database_behind_and_tells_of_a_reset_without_effect() {
    let Some((server, stand_in)) = start(Version::ResetWithoutEffect) else { return };
    // A reset can be judged by what was called before.
    ask_oracle(&server, 20);
    let place = Place::new();
    let query = "SELECT read_ts FROM timestamp_oracle WHERE timeline = 'x'";
    let url = server.url("postgres");
    let answer = place.sweep(&[
        "--preset",
        "materialize",
        "--url",
        &url,
        "--no-setup",
        "--no-metrics",
        "--no-sampling",
        "--no-wire",
        "--query",
        query,
        "--levels",
        "2",
        "--window",
        "600ms",
        "--statements-url",
        &stand_in.url(),
        "--reset-statements",
    ]);
    assert_children_unfollowed(&answer, &place);
    let run = place.the_run();
    let told = |text: &str| run.manifest.notes.iter().any(|note| note.contains(text));
    assert!(told("statement statistics were not reset: the database answered"), "{:?}", run.manifest.notes);
    let window = &run.windows[0];
    let found = window.statements.as_ref().unwrap().statement(ORACLE).unwrap();
    // The load runs on beyond both ends of the window.
    let completed = window.load.completed;
    assert!(found.calls >= completed && found.calls < completed * 3, "{} of {completed}", found.calls);
    assert!(found.sampled.is_some_and(|sampled| sampled.calls <= found.calls / 10 + 1));
    let shown = place.run(&["statements"]).out;
    assert!(shown.contains("SELECT read_ts FROM timestamp_oracle WHERE timeline = _ (application app)"), "{shown}");
    assert!(shown.contains("µs/sampled call"), "{shown}");
}

#[test]
fn a_database_that_goes_away_within_a_window_costs_its_own_numbers_only() {
    let Some((mut behind, stand_in)) = start(Version::Plain) else { return };
    let Some(server) = Postgres::start("") else { return };
    let place = Place::new();
    let url = server.url("postgres");
    let arguments = [
        "sweep",
        "--preset",
        "materialize",
        "--url",
        &url,
        "--no-setup",
        "--no-metrics",
        "--no-sampling",
        "--no-wire",
        "--query",
        "select 1",
        "--levels",
        "1",
        "--warmup",
        "100ms",
        "--window",
        "3s",
        "--statements-url",
        &stand_in.url(),
    ];
    let mut sweep = Running::start(place.command(&arguments));
    sweep.await_line("level 1");
    // The window has begun, and its first reading is taken.
    std::thread::sleep(Duration::from_millis(1500));
    behind.shut_down();
    assert_children_unfollowed(&sweep.finish(), &place);
    let run = place.the_run();
    let window = &run.windows[0];
    assert_eq!(run.manifest.ended, "complete");
    assert!(window.statements.is_none() && window.scheduler.is_some() && window.load.completed > 0);
    let missing = window.facts.missing.iter().find(|missing| missing.what.as_str() == "statements").unwrap();
    assert!(missing.why.contains("cannot read crdb_internal.statement_statistics"), "{missing:?}");
    let shown = place.run(&["statements"]).out;
    assert!(shown.contains("Not measured in some windows: cannot read crdb_internal"), "{shown}");
}
