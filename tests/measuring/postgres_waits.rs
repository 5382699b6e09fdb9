//! `diagnose` on PostgreSQL as its distribution builds it: what a backend waits for, and a scan, come first. What
//! others do on a machine that is shared may be blamed before it, and then the order of the rest counts.

use crate::postgres::Postgres;
use crate::sweeps::Place;
use wireprof::analyze::judge::diagnose::{Confidence, Diagnosis, Finding, diagnose};
use wireprof::preset::{Cause, Preset};

fn swept(server: &Postgres, query: &str, level: usize) -> Diagnosis {
    let (place, levels) = (Place::new(), format!("1,{level}"));
    let fixed = ["--preset", "postgres", "--window", "1500ms", "--query", query];
    let answer = place.sweep(&[&["--url", &server.url("postgres"), "--levels", &levels], &fixed[..]].concat());
    assert!([0, 1].contains(&answer.code), "{}\n{}", answer.out, answer.err);
    diagnose(&place.the_run(), &Preset::built_in("postgres").unwrap(), level).unwrap()
}

/// The first finding that is about the server.
fn first(found: &Diagnosis) -> &Finding {
    let about = |finding: &&Finding| ![Cause::OtherProcesses, Cause::Generator].contains(&finding.cause);
    found.verdicts.iter().find(about).expect("something is always found")
}

fn assert_first(found: &Diagnosis, cause: Cause, wait: &str, function: &str) {
    let first = first(found);
    let named = first.named.first().map_or("", |named| &named.name);
    let right = (first.cause, first.confidence, first.wait.as_deref(), named);
    assert_eq!(right, (cause, Confidence::Confident, Some(wait), function), "{:#?}", found.verdicts);
}

#[test]
fn what_backends_wait_for_comes_first_and_waiting_for_the_client_is_nothing() {
    // A flush takes as long as this says, on whatever disk.
    let settings = "fsync = on\ncommit_delay = 3000\ncommit_siblings = 0\nmax_parallel_workers_per_gather = 0";
    let Some(server) = Postgres::start(settings) else { return };
    server.run(&[
        "create table counters (k int primary key, v int)",
        "insert into counters select k, 0 from generate_series(1, 100) k",
        "create table notes (n int)",
        "create table large as select n, n * 7 v, repeat('x', 40) pad from generate_series(1, 150000) n",
        "vacuum analyze large",
    ]);
    let row = swept(&server, "update counters set v = v + 1 where k = 1", 16);
    assert_first(&row, Cause::RowLock, "row or table lock", "XactLockTableWait");
    let flush = swept(&server, "insert into notes values (1)", 16);
    assert_first(&flush, Cause::Flush, "WAL flush", "XLogFlush");
    let sleep = swept(&server, "select pg_sleep(0.005)", 8);
    assert_first(&sleep, Cause::Sleep, "sleep in SQL", "pg_sleep");
    let scan = swept(&server, "select count(*) from large where v = 4711", 4);
    let function = first(&scan);
    assert_eq!(function.cause, Cause::CpuFunction, "{:#?}", scan.verdicts);
    let of_scan = ["ExecScan", "heap_", "slot_", "SeqNext", "ExecSeqScan"];
    let named = &function.named[0].name;
    assert!(of_scan.iter().any(|start| named.starts_with(start)), "{named}");
    let nothing = swept(&server, "select 1", 16);
    let waits: Vec<_> = nothing.verdicts.iter().filter(|finding| finding.wait.is_some()).collect();
    assert!(waits.is_empty(), "{waits:#?}");
}
