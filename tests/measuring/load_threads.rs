//! Load threads: sessions that move between them under load lose nothing, and a run takes as many as its levels need,
//! or says why there are no more.

use crate::load::options;
use crate::postgres::Postgres;
use crate::sweeps::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use wireprof::check::{Check, Status};
use wireprof::clock::{Span, now};
use wireprof::load::{Driver, Load, LoadTrace, Options, PgwireDriver, Protocol, WhyThreads, most_threads};
use wireprof::run::{Run, Store, Window};
use wireprof::target::Role;
use wireprof::workload::{Workload, pgbench};

fn open(server: &Postgres, workload: Workload, options: Options, level: usize) -> Box<dyn Load> {
    let options = Options { adjusts: true, ..options };
    PgwireDriver::new(server.address("postgres"), workload, options).open(level).unwrap()
}

/// Other numbers of threads, again and again, for so long or until the load has ended.
fn moved(load: &mut dyn Load, length: Duration) {
    let begun = Instant::now();
    let mut known = BTreeSet::from_iter(load.thread_ids());
    for threads in [2, 1, 2].into_iter().cycle().take_while(|_| begun.elapsed() < length) {
        if load.failed().is_some() {
            return;
        }
        let threads = threads.min(most_threads(usize::MAX));
        load.use_threads(threads).unwrap();
        let ids = load.thread_ids();
        assert_eq!((ids.len(), load.adjustable()), (threads, Some(threads)));
        assert!(ids.into_iter().all(|id| known.insert(id)), "threads that ended are not named again");
        sleep(Duration::from_millis(7));
    }
}

fn whole(mut load: Box<dyn Load>, length: Duration) -> LoadTrace {
    let start = now();
    load.start().unwrap();
    moved(load.as_mut(), length);
    load.stop(Span::new(start, start + 60_000_000_000)).unwrap()
}

fn script(text: &str) -> Workload {
    Workload::parse(text, Path::new("."), "w.ini").unwrap()
}

#[test]
fn sessions_keep_what_they_have_while_they_move() {
    let Some(server) = Postgres::start("") else { return };
    // A temporary table and a prepared statement are their session's own.
    let session = vec!["create temporary table mine (x int)".to_string(), "insert into mine values (1), (2)".into()];
    for client_work in [Duration::ZERO, Duration::from_micros(50)] {
        let options = Options { session: session.clone(), protocol: Protocol::Extended, client_work, ..options() };
        let load = open(&server, Workload::from_query("select * from mine"), options, 7);
        let ends = load.ends();
        assert!(ends.as_ref().is_some_and(|ends| ends.len() == 7), "{ends:?}");
        let trace = whole(load, Duration::from_millis(500));
        assert_eq!((trace.error_count(), trace.wrong_rows, trace.sessions.lost), (0, 0, 0));
        assert_eq!((trace.sessions.opened, trace.rows), (7, 2 * trace.completed));
        assert!(trace.completed > 100, "{}", trace.completed);
    }
}

#[test]
fn each_execution_is_sent_once_however_often_its_connection_moves() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create table log (job text, n int)", "create sequence s", "create sequence p"]);
    let workload = "[closed]\nquery=insert into log values ('closed', nextval('s'))\nconcurrency=3\ncount=1500\n\
                    [paced]\nquery=insert into log values ('paced', nextval('p'))\nrate=2000\ncount=1200\n";
    let load = open(&server, script(workload), options(), 5);
    let trace = whole(load, Duration::from_secs(30));
    assert_eq!(trace.jobs.iter().map(|job| job.completed).collect::<Vec<_>>(), [1500, 1200]);
    assert_eq!(trace.error_count(), 0);
    for (job, count) in [("closed", "1500"), ("paced", "1200")] {
        assert_eq!(server.value(&format!("select count(*) from log where job = '{job}'")), count);
    }
}

#[test]
fn scripts_move_within_their_transactions_and_their_sleeps() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create table log (n int)", "create sequence s"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sleepy.sql");
    std::fs::write(&file, "begin;\ninsert into log values (nextval('s'));\n\\sleep 3 ms\nselect 1;\nend;\n").unwrap();
    let workload = pgbench::load(&[file.display().to_string()], &[]).unwrap();
    let trace = whole(open(&server, workload, options(), 5), Duration::from_millis(700));
    let transactions = trace.transactions.as_ref().unwrap();
    assert!(transactions.completed > 100, "{}", transactions.completed);
    assert_eq!((trace.error_count(), trace.sessions.lost), (0, 0));
    // Those that slept when the load ended were not committed.
    assert_eq!(server.value("select count(*) from log"), transactions.completed.to_string());
}

/// The check of the generator's CPU.
fn generator(window: &Window) -> &Check {
    window.checks.iter().find(|check| matches!(check, Check::GeneratorCpu { .. })).unwrap()
}

/// Every window of a level has the same number, for the same stored reason, and all its threads are in the accounts.
fn one_number_a_level(runs: &[Run]) {
    let windows = || runs.iter().flat_map(|run| &run.windows);
    for level in windows().map(|window| window.id().level).collect::<BTreeSet<_>>() {
        let of_level: Vec<_> = windows().filter(|window| window.id().level == level).collect();
        let first = &of_level[0].load.generator;
        assert!(of_level.iter().all(|w| w.load.generator.threads == first.threads), "level {level}");
        assert!(of_level.iter().all(|w| w.load.generator.choice == first.choice), "level {level}");
        for window in of_level {
            let scheduler = window.scheduler.as_ref().unwrap();
            let driving = scheduler.threads.iter().filter(|thread| thread.role == Role::Generator);
            let names: Vec<_> = driving.map(|thread| (thread.process.as_str(), thread.thread.as_str())).collect();
            assert_eq!(names.len(), window.load.generator.threads, "{names:?}");
            let generator = &window.load.generator;
            let (cpu, busiest) = (generator.cpu.unwrap(), generator.busiest.unwrap());
            assert!(busiest <= cpu && cpu <= busiest * generator.threads as u64, "{busiest} of {cpu}");
        }
    }
}

#[test]
fn a_slow_generator_gets_more_threads_or_it_is_said_that_there_is_no_cpu_for_them() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let load = ["--testbed", "--levels", "1,64", "--replicates", "2", "--client-work", "100us"];
    let answer = place.sweep(&[&load[..], &["--window", "1s"]].concat());
    answer.assert_done(&place);
    let run = place.the_run();
    one_number_a_level(std::slice::from_ref(&run));
    let of_level = |level| run.windows.iter().find(move |window| window.id().level == level).unwrap();
    assert_eq!(of_level(1).load.generator.threads, 1, "one client needs no second thread");
    let generator_of = &of_level(64).load.generator;
    let choice = generator_of.choice.unwrap();
    assert!(generator_of.threads > 1 || choice.why == WhyThreads::CpusFull, "{generator_of:?}");
    let told = choice.told(generator_of.threads);
    assert!(answer.err.contains(&format!("level 64: {told}")), "{told}: {}", answer.err);
    let setup = place.run(&["explain", "--section", "setup"]);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let through = generator_of.through.as_ref().unwrap();
    assert_eq!(through.told(), "through epoll, as it works on each answer before it sends");
    let reason = format!("{}; {}", choice.reason(generator_of.threads), through.told());
    let noted = format!("load threads: {}{reason} (level 64)", generator_of.threads);
    assert!(words(&setup.out).contains(&noted), "{noted}: {}", setup.out);
    for check in run.windows.iter().filter(|window| window.id().level == 64).map(generator) {
        let remedy = check.remedy().unwrap_or_default();
        match choice.no_room() {
            true => assert!(remedy.is_empty() || remedy.contains("another machine"), "{remedy}"),
            false => assert_eq!(check.status(), Status::Pass, "{check}: {choice:?}"),
        }
    }
}

#[test]
fn a_number_that_is_given_is_kept() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let load = ["--testbed", "--levels", "1,8", "--client-work", "100us", "--load-threads", "2"];
    place.sweep(&[&load[..], &["--window", "600ms"]].concat()).assert_done(&place);
    for window in place.the_run().windows {
        let (threads, choice) = (window.load.generator.threads, window.load.generator.choice.unwrap());
        assert_eq!((threads, choice.why, choice.busiest), (window.id().level.min(2), WhyThreads::Given, None));
    }
}

#[test]
fn both_sides_of_a_comparison_have_the_number_that_was_found_for_the_first() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let load = ["compare", "--testbed", "--aa", "--max-replicates", "2", "--levels", "32", "--client-work", "100us"];
    place.run(&[&load[..], &["--window", "600ms", "--warmup", "400ms", "--no-follow"]].concat());
    let store = Store::new(place.runs());
    let runs: Vec<Run> = store.list().unwrap().iter().map(|manifest| store.load(&manifest.id).unwrap()).collect();
    assert_eq!(runs.iter().map(|run| run.windows.len()).collect::<Vec<_>>(), [2, 2]);
    one_number_a_level(&runs);
}
