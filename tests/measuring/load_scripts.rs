//! pgbench scripts against a real PostgreSQL: what is counted is what the server has, by both protocols.

use crate::load::options;
use crate::postgres::Postgres;
use std::thread::sleep;
use std::time::{Duration, Instant};
use wireprof::clock::{Span, now};
use wireprof::load::{Driver, LoadTrace, Options, PgwireDriver, Protocol};
use wireprof::workload::{Workload, pgbench};

const TABLES: [&str; 5] = [
    "create table pgbench_branches (bid int primary key, bbalance int)",
    "create table pgbench_tellers (tid int primary key, bid int, tbalance int)",
    "create table pgbench_accounts (aid int primary key, bid int, abalance int)",
    "create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp)",
    "insert into pgbench_branches select n, 0 from generate_series(1, 2) n",
];
const ROWS: [&str; 2] = [
    "insert into pgbench_tellers select n, 1 + n % 2, 0 from generate_series(1, 20) n",
    "insert into pgbench_accounts select n, 1, 0 from generate_series(1, 200000) n",
];

fn scripts(wanted: &[&str], defined: &[(&str, &str)]) -> Workload {
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let defined: Vec<_> = defined.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    pgbench::load(&wanted, &defined).unwrap()
}

/// All of a load of this length, from before its first query to after its last.
fn whole(server: &Postgres, workload: Workload, options: Options, level: usize, length: Duration) -> LoadTrace {
    let mut load = PgwireDriver::new(server.address("postgres"), workload, options).open(level).unwrap();
    let start = now();
    load.start().unwrap();
    sleep(length);
    assert_eq!(load.failed(), None);
    // What was under way is finished within two seconds.
    load.stop(Span::new(start, start + 60_000_000_000)).unwrap()
}

fn failure(server: &Postgres, workload: Workload) -> String {
    let mut load = PgwireDriver::new(server.address("postgres"), workload, options()).open(2).unwrap();
    load.start().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while load.failed().is_none() {
        assert!(Instant::now() < deadline, "nothing failed");
        sleep(Duration::from_millis(5));
    }
    load.failed().unwrap()
}

#[test]
fn each_transaction_of_tpcb_is_one_row_of_history_and_all_balances_agree() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&[&TABLES[..], &ROWS[..]].concat());
    for (protocol, threads) in [(Protocol::Simple, 1), (Protocol::Extended, 2)] {
        server.run(&["truncate pgbench_history", "update pgbench_branches set bbalance = 0"]);
        server.run(&["update pgbench_tellers set tbalance = 0", "update pgbench_accounts set abalance = 0"]);
        let options = Options { protocol, threads, ..options() };
        let trace = whole(&server, scripts(&["builtin:tpcb-like"], &[]), options, 4, Duration::from_millis(700));
        let transactions = trace.transactions.as_ref().unwrap();
        assert!(transactions.completed > 20, "{}", transactions.completed);
        assert_eq!(server.value("select count(*) from pgbench_history"), transactions.completed.to_string());
        assert_eq!((transactions.failed, trace.error_count()), (0, 0));
        assert_eq!(trace.completed, transactions.completed * 7, "seven statements each");
        assert_eq!(transactions.counted_scale, Some(2));
        assert_eq!(transactions.latency.len(), transactions.completed);
        assert!(transactions.latency_sum > trace.latency_sum.unwrap(), "scripts take the time of their statements");
        let sums = "select (select sum(delta) from pgbench_history) = all (array[(select sum(bbalance) from \
                    pgbench_branches), (select sum(tbalance) from pgbench_tellers), (select sum(abalance) from \
                    pgbench_accounts)])";
        assert_eq!(server.value(sums), "t");
        let spread = "select count(distinct bid) = 2 and count(distinct tid) > 10 and max(aid) > 100000 from \
                      pgbench_history";
        assert_eq!(server.value(spread), "t", "the scale reaches the random numbers");
    }
}

#[test]
fn a_mix_chooses_by_weight_and_a_script_computes_branches_and_keeps() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create table seen (script text, a int, b text, client int)"]);
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, weight: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("{}@{weight}", path.display())
    };
    let first = write(
        "first.sql",
        "\\set a 2 * :x\n\\if :a = 14\nselect 1 as one, 'b' as b \\gset p_\n\\else\n\\set p_one 0\n\\endif\n\
         select 5 as five where false \\aset\n\\sleep 100 us\nbegin;\n\
         insert into seen values ('first', :p_one, 'b', :client_id); end;",
        3,
    );
    let second = write("second.sql", "insert into seen values ('second', :x::int, 'it''s :: fine', :client_id);", 1);
    for protocol in [Protocol::Simple, Protocol::Extended] {
        server.run(&["truncate seen"]);
        let options = Options { protocol, ..options() };
        let workload = scripts(&[&first, &second], &[("x", "7")]);
        let trace = whole(&server, workload, options, 3, Duration::from_millis(600));
        let transactions = trace.transactions.unwrap();
        let counts: Vec<u64> = transactions.scripts.iter().map(|script| script.completed).collect();
        for (name, count) in [("first", counts[0]), ("second", counts[1])] {
            let sql = format!("select count(*) from seen where script = '{name}'");
            assert_eq!(server.value(&sql), count.to_string(), "{name}, {protocol}");
        }
        let queries: Vec<u64> = trace.jobs.iter().map(|job| job.completed).collect();
        // At the end a sleeping script is left, and its first two statements have been counted.
        assert!((counts[0] * 5..=counts[0] * 5 + 3 * 2).contains(&queries[0]), "{queries:?} for {counts:?}");
        assert_eq!(queries[1], counts[1]);
        let (all, share) = ((counts[0] + counts[1]) as f64, counts[0] as f64 / (counts[0] + counts[1]) as f64);
        assert!((share - 0.75).abs() < 6.0 * (0.75f64 * 0.25 / all).sqrt(), "{share} of {all}");
        let values = "select count(distinct client) = 3 and bool_and(a = case script when 'first' then 1 else 7 end) \
                      from seen";
        assert_eq!(server.value(values), "t");
    }
}

#[test]
fn a_failed_transaction_is_rolled_back_and_counted_as_failed() {
    let Some(server) = Postgres::start("") else { return };
    server.run(&["create table t (a int primary key)", "create table tries (n int)", "insert into t values (1)"]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f.sql");
    std::fs::write(&path, "begin;\ninsert into tries values (1);\ninsert into t values (1);\nend;\n").unwrap();
    let wanted = path.display().to_string();
    let length = Duration::from_millis(200);
    let trace = whole(&server, scripts(&[&wanted], &[]), options(), 2, length);
    let transactions = trace.transactions.unwrap();
    assert!(transactions.failed > 0 && transactions.completed == 0, "{transactions:?}");
    assert_eq!(
        trace.errors.iter().map(|e| (e.sqlstate.as_str(), e.count)).collect::<Vec<_>>(),
        [("23505", transactions.failed)]
    );
    assert_eq!(trace.completed, transactions.failed * 2, "begin and the first insert");
    assert_eq!(server.value("select count(*) from tries"), "0", "all are rolled back");
}

#[test]
fn a_script_that_cannot_be_followed_ends_the_load_with_its_line() {
    let Some(server) = Postgres::start("") else { return };
    let directory = tempfile::tempdir().unwrap();
    for (text, said) in [
        ("select 1;\n\\set a 1 / (:client_id - :client_id)\nselect :a;", "s.sql:2: division by zero"),
        (
            "select 1;\nselect generate_series(1, 2) as a \\gset\n",
            "s.sql:2: \\gset takes one row, and the query answered 2",
        ),
        ("begin;\nselect 1;", "s.sql ends inside a transaction"),
        ("select 1\\gset\n", "s.sql:1: the column \"?column?\" names no variable"),
    ] {
        let path = directory.path().join("s.sql");
        std::fs::write(&path, text).unwrap();
        let failed = failure(&server, scripts(&[&path.display().to_string()], &[]));
        assert!(failed.contains(said), "{failed}");
    }
    // A script whose branches send nothing leaves the thread to the others, and can be stopped.
    let path = directory.path().join("s.sql");
    std::fs::write(&path, "\\if :client_id = 0\nselect 1;\n\\endif\n").unwrap();
    let workload = scripts(&[&path.display().to_string()], &[]);
    let trace = whole(&server, workload, options(), 2, Duration::from_millis(500));
    assert!(trace.completed > 10 && trace.transactions.unwrap().completed > trace.completed);
}
