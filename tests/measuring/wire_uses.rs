//! What the round trips behind a server are for, at real sockets. Skipped, with the reason printed, where the host
//! permits no such program or has no PostgreSQL.

use crate::postgres::{Postgres, parse};
use crate::skip::skip;
use crate::sweeps::{Place as Folder, testbed};
use std::collections::BTreeMap;
use std::time::Duration;
use wireprof::load::{Address, Driver, Load, Options, PgwireDriver, Protocol};
use wireprof::statements::{Activity, Reader, StatementSource, open};
use wireprof::testbed::Options as TestbedOptions;
use wireprof::wire::{
    Hop, HopDelta, Listens, Place, Purpose, SocketProgram, Untold, UseDelta, WireSnapshot, WireSource,
};
use wireprof::workload::Workload;

const DATABASE: usize = 1;

/// A server that is followed as one behind: nobody listens on the port before.
fn followed(server: &Postgres) -> Option<(SocketProgram, Vec<Hop>)> {
    let hop = |name: &str, port| Hop { name: name.into(), at: Listens::Port(port) };
    let hops = vec![hop("target", 1), hop("database", server.port)];
    match SocketProgram::open(hops.clone()) {
        Ok(wire) if wire.sends_seen() => Some((wire, hops)),
        Ok(_) => {
            skip("this kernel does not tell of sending (6.16 and later do)");
            None
        }
        Err(why) => {
            skip(format!("{why:#}"));
            None
        }
    }
}

fn load(address: &Address, protocol: Protocol, clients: usize, sql: &str) -> Box<dyn Load> {
    let options = Options { protocol, ..Options::default() };
    let mut load = PgwireDriver::new(address.clone(), Workload::from_query(sql), options).open(clients).unwrap();
    load.start().unwrap();
    load
}

fn of(hop: &HopDelta, is: impl Fn(&Purpose) -> bool) -> Option<&UseDelta> {
    hop.uses.as_ref().unwrap().iter().find(|found| is(&found.purpose))
}

/// Mean ns in the database's hands.
fn served(found: &UseDelta) -> f64 {
    found.nanos[Place::Server.index()] as f64 / found.round_trips as f64
}

/// Whatever is told, the uses are all of the hop: its round trips, and its places but the client's.
fn assert_whole(hop: &HopDelta) {
    let uses = hop.uses.as_ref().unwrap();
    let trips: u64 = uses.iter().map(|found| found.round_trips).sum();
    assert!(trips.abs_diff(hop.queries) <= 2 + hop.queries / 200, "{trips} of {}", hop.queries);
    for place in &Place::ALL[1..] {
        let (sum, whole) = (uses.iter().map(|found| found.nanos[place.index()]).sum::<u64>(), hop.stay(*place).nanos);
        assert!(sum.abs_diff(whole) <= 1_000_000 + whole / 100, "{place}: {sum} of {whole}");
    }
}

fn window(wire: &mut SocketProgram, mut inside: impl FnMut(&SocketProgram)) -> (WireSnapshot, WireSnapshot) {
    wire.start().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let before = wire.snapshot().unwrap();
    std::thread::sleep(Duration::from_millis(800));
    let after = wire.snapshot().unwrap();
    inside(wire);
    wire.stop();
    (before, after)
}

#[test]
fn round_trips_are_told_apart_by_the_statements_in_their_requests() {
    let Some(server) = Postgres::start("ssl = on") else { return };
    let Some((mut wire, hops)) = followed(&server) else { return };
    let plain = parse(&format!("{}?sslmode=disable", server.url("postgres")));
    let loads = [
        load(&plain, Protocol::Simple, 2, "select pg_sleep(0.004), 'x7' /* job 12 */"),
        load(&plain, Protocol::Simple, 1, "select count(*) from pg_class where relname = 'a'"),
        load(
            &parse(&format!("{}?sslmode=require", server.url("postgres"))),
            Protocol::Simple,
            1,
            "select pg_sleep(0.01)",
        ),
    ];
    let (before, after) = window(&mut wire, |_| ());
    drop(loads);
    let hop = &before.until(&after, &hops, wire.sends_seen(), None).hops[DATABASE];
    assert_whole(hop);
    let told =
        |text: &str| of(hop, |purpose| purpose.statement() == Some(text)).unwrap_or_else(|| panic!("{text}: {hop:?}"));
    let (slow, fast) = (told("select pg_sleep(?), ?"), told("select count(*) from pg_class where relname = ?"));
    assert!((4e6..8e6).contains(&served(slow)) && served(fast) < 2e6, "{slow:?} {fast:?}");
    let encrypted = of(hop, |purpose| *purpose == Purpose::NotTold(Untold::Encrypted)).unwrap();
    assert!((1e7..2e7).contains(&served(encrypted)), "what is encrypted is told as that: {encrypted:?}");
    assert_eq!(hop.uses.as_ref().unwrap().len(), 3, "{hop:?}");
}

#[test]
fn a_statement_prepared_before_is_told_by_the_database_or_not_at_all() {
    let Some(server) = Postgres::start("shared_preload_libraries = 'pg_stat_statements'") else { return };
    let Some((mut wire, hops)) = followed(&server) else { return };
    server.run(&["create extension pg_stat_statements"]);
    let address = server.address("postgres");
    let loads = [
        load(&address, Protocol::Extended, 2, "select pg_sleep(0.003), 12"),
        load(&address, Protocol::Extended, 1, "select count(*) from pg_class"),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let source: Box<dyn StatementSource> = runtime.block_on(async {
        let (client, connection) = address.config().connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        open(Reader::PgStatStatements, client, "here").await.unwrap()
    });
    let (mut learnt, mut others) = (BTreeMap::new(), None);
    let (before, mut after) = window(&mut wire, |wire| {
        // A connection is told where it did one thing from before the database was asked until after: not each time.
        for _ in 0..100 {
            let asked = wire.snapshot().unwrap();
            let told = runtime.block_on(source.activity()).unwrap();
            let answered = wire.snapshot().unwrap();
            learnt.extend(asked.learn(&answered, DATABASE, &told).unwrap_or_default());
            // Somebody else's sessions, which have ports too.
            let strangers: Vec<Activity> = told.iter().map(|row| Activity { own: false, ..row.clone() }).collect();
            others = others.take().or(asked.learn(&answered, DATABASE, &strangers));
            let known = |text: &str| learnt.values().any(|found| found == text);
            if known("select pg_sleep(?), ?") && known("select count(*) from pg_class") {
                break;
            }
        }
    });
    drop(loads);
    assert_eq!(others, None, "nothing shows that those are the sessions of these sockets");
    let untold = &before.until(&after, &hops, true, None).hops[DATABASE];
    assert_whole(untold);
    let before_all = of(untold, |purpose| *purpose == Purpose::NotTold(Untold::PreparedBefore)).unwrap();
    assert!(before_all.round_trips + 5 > untold.queries, "{untold:?}");
    after.tell(DATABASE, &learnt);
    let hop = &before.until(&after, &hops, true, None).hops[DATABASE];
    assert_whole(hop);
    let slow =
        of(hop, |purpose| purpose.statement() == Some("select pg_sleep(?), ?")).unwrap_or_else(|| panic!("{hop:?}"));
    assert!((3e6..6e6).contains(&served(slow)) && slow.by_database == slow.round_trips, "{slow:?}");
    let fast = of(hop, |purpose| purpose.statement() == Some("select count(*) from pg_class"))
        .unwrap_or_else(|| panic!("{hop:?}"));
    assert!(served(fast) < 2e6, "{fast:?}");
}

#[test]
fn the_oracles_reads_alone_take_what_the_database_says_though_a_writer_shares_its_connections() {
    let plants = ["database=2ms", "writer=10"].map(String::from).to_vec();
    let Some(testbed) = testbed(TestbedOptions { plants, ..TestbedOptions::default() }) else { return };
    let (folder, ready) = (Folder::new(), &testbed.ready);
    let server = ["--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal];
    // The pool prepares its statements before anybody follows its connections.
    let before = Folder::new();
    let first = ["--levels", "1", "--window", "1s", "--no-sampling", "--no-follow", "--no-wire"];
    before.sweep(&[&server[..], &first].concat()).assert_done(&before);
    let sources = ["--metrics-url", &ready.metrics, "--statements-url", &ready.postgres.url];
    let window = ["--levels", "1", "--window", "4s", "--no-sampling"];
    folder.sweep(&[&server[..], &sources, &window].concat()).assert_done(&folder);
    let run = folder.the_run();
    let found = &run.windows[0];
    let Some(wire) = &found.wire else { return skip(format!("{:?}", run.manifest.notes)) };
    let hop = &wire.hops[1];
    assert_whole(hop);
    let is_read = |purpose: &Purpose| purpose.statement().is_some_and(|text| text.starts_with("SELECT read_ts"));
    let reads = of(hop, is_read).unwrap_or_else(|| panic!("{hop:?}"));
    assert!(reads.by_database > 0, "the pool had prepared it before: {reads:?}");
    let statement = "SELECT read_ts FROM timestamp_oracle WHERE timeline = $1";
    let own = found.statements.as_ref().unwrap().statement(statement).unwrap().mean_exec().unwrap();
    let (alone, together) = (served(reads), hop.mean(Place::Server).unwrap());
    assert!((alone / own - 1.0).abs() < 0.05, "{alone} ns by the sockets, {own} ns by the database");
    assert!(together / own > 1.08, "{together} ns of all: the writer's 20 ms are among them");
    let writer = of(hop, |purpose| purpose.statement().is_some_and(|text| text.starts_with("INSERT INTO consensus")));
    assert!(writer.is_none_or(|writer| served(writer) > 2e7), "{writer:?}");
    let explained = folder.run(&["explain", "--json"]).out;
    assert!(explained.contains("\"table\":\"uses\""), "{explained}");
    let node = explained.find("in the database's hands").is_some();
    assert!(node && !explained.contains("not told apart by statement"), "{explained}");
}

#[test]
fn a_scrape_that_is_dear_is_told_made_seldom_and_delays_no_query_by_more_than_it_takes() {
    let plants = vec!["metrics=10ms".to_string()];
    let Some(testbed) = testbed(TestbedOptions { plants, ..TestbedOptions::default() }) else { return };
    let (folder, ready, clients) = (Folder::new(), &testbed.ready, 4);
    let server = ["--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal];
    let window = ["--metrics-url", &ready.metrics, "--levels", "4", "--window", "6s", "--no-sampling"];
    let answer = folder.sweep(&[&server[..], &window].concat());
    answer.assert_done(&folder);
    let run = folder.the_run();
    let facts = &run.windows[0].facts;
    let scraping = facts.scraping.as_ref().unwrap();
    let cost = scraping.cost.unwrap();
    let cpu = cost.cpu.unwrap() as f64;
    assert!((9e6..16e6).contains(&cpu), "10 ms are planted: {cost:?}");
    assert!(scraping.every as f64 >= cpu / 0.005 && (1..=3).contains(&scraping.inside.len()), "{scraping:?}");
    assert!(run.manifest.notes.iter().any(|note| note.contains("of the target's CPU")), "{:?}", run.manifest.notes);
    let found = wireprof::analyze::time::scraped::scraped(&run)[&clients].clone();
    let scrapes = scraping.inside.len() + 2;
    assert!((scrapes..=4 * scrapes).contains(&found.with), "{found:?}");
    let (with, without) = (found.latency_with.unwrap(), found.latency_without.unwrap());
    assert!(with - without < cpu, "{found:?}");
    // Nor in sum: each client has one query that a scrape can delay. At a window's ends other instruments are read too.
    let delayed = found.with as f64 * 50e6 * clients as f64 * (1.0 - without / with);
    assert!(delayed < 4.0 * cpu * (scrapes * clients) as f64, "{delayed} ns: {found:?}");
    assert!(answer.out.contains("With the slices of the scrapes and without"), "{}", answer.out);
}
