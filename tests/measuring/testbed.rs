//! The testbed as a user meets it: started as a process, spoken to over its ports. Skipped, with the reason printed,
//! where there is no PostgreSQL to run.

use crate::binaries::testbed_binary;
use crate::recordings;
use crate::skip::skip;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls, SimpleQueryMessage, Statement};
use wireprof::testbed::{Options, Testbed};

pub fn options() -> Options {
    Options { binary: Some(testbed_binary()), ..Options::default() }
}

/// `None`, with the reason printed, where PostgreSQL is not installed.
pub fn start(options: &Options) -> Option<Testbed> {
    match Testbed::start(options) {
        Ok(testbed) => Some(testbed),
        Err(error) if format!("{error:#}").contains("no PostgreSQL server found") => {
            skip(format!("{error:#}"));
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}

pub async fn connect(url: &str) -> Client {
    try_connect(url).await.unwrap()
}

async fn try_connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Series with their labels as written, to values.
pub type Series = BTreeMap<String, f64>;

async fn get(url: impl reqwest::IntoUrl) -> reqwest::Response {
    wireprof::http::builder().build().unwrap().get(url).send().await.unwrap()
}

pub async fn scrape(testbed: &Testbed) -> Series {
    let text = get(&testbed.ready.metrics).await.text().await.unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

pub fn growth(before: &Series, after: &Series, name: &str) -> f64 {
    after.get(name).unwrap_or_else(|| panic!("{name} is not on /metrics")) - before.get(name).copied().unwrap_or(0.0)
}

async fn simple_rows(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap();
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect()),
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

pub fn sqlstate(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn wait_until_gone(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    !is_running(pid)
}

#[tokio::test]
async fn rows_come_in_the_simple_and_in_the_extended_protocol() {
    let Some(testbed) = start(&Options { arguments: vec!["--rows=3".into()], ..options() }) else { return };
    let client = connect(&testbed.ready.sql).await;
    let row = |number: i32| vec![Some(format!("id-{number}")), Some(number.to_string())];
    assert_eq!(simple_rows(&client, "select * from t").await, [row(1), row(2), row(3)]);

    let rows = client.query("select * from t", &[]).await.unwrap();
    let typed: Vec<(String, i32)> = rows.iter().map(|row| (row.get("id"), row.get("value"))).collect();
    assert_eq!(typed, [("id-1".to_owned(), 1), ("id-2".to_owned(), 2), ("id-3".to_owned(), 3)]);

    assert_eq!(client.query_one("select 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    assert!(client.query_one("select version()", &[]).await.unwrap().get::<_, &str>(0).starts_with("wireprof-testbed"));
    assert!(simple_rows(&client, "").await.is_empty());
    assert_eq!(client.execute("", &[]).await.unwrap(), 0);
    client.batch_execute("begin; select 1; commit").await.unwrap();
    let missing = client.query("select * from missing", &[]).await.unwrap_err();
    assert_eq!(sqlstate(&missing), "42P01");
    // The connection is usable after an error.
    assert_eq!(client.query("select * from t", &[]).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_set_up_on_the_internal_port_switches_to_the_frontends_peek() {
    let Some(testbed) = start(&options()) else { return };
    let (internal, client) = (connect(&testbed.ready.internal).await, connect(&testbed.ready.sql).await);
    let cached = "mz_frontend_peek_seconds_count{method=\"try_frontend_peek_cached\"}";
    let executed = "mz_slow_message_handling_count{message_kind=\"command-execute\"}";

    let before = scrape(&testbed).await;
    for _ in 0..10 {
        client.query("select * from t", &[]).await.unwrap();
    }
    let after = scrape(&testbed).await;
    assert_eq!((growth(&before, &after, cached), growth(&before, &after, executed)), (0.0, 10.0));

    let denied = client.batch_execute("alter system set enable_frontend_peek_sequencing = true").await.unwrap_err();
    assert_eq!(sqlstate(&denied), "42501");
    internal.batch_execute("alter system set enable_frontend_peek_sequencing = true").await.unwrap();
    internal.batch_execute("ALTER SYSTEM SET statement_logging_max_sample_rate = 0").await.unwrap();
    assert_eq!(simple_rows(&internal, "show statement_logging_max_sample_rate").await, [[Some("0".to_owned())]]);
    let misspelt = internal.batch_execute("alter system set no_such_thing = 1").await.unwrap_err();
    assert_eq!(sqlstate(&misspelt), "42704");

    let before = scrape(&testbed).await;
    for _ in 0..11 {
        client.query("select * from t", &[]).await.unwrap();
    }
    let after = scrape(&testbed).await;
    // The session's first peek plans.
    assert_eq!((growth(&before, &after, cached), growth(&before, &after, executed)), (10.0, 0.0));
}

#[tokio::test]
async fn a_table_takes_the_fast_path_only_with_an_index_in_the_right_cluster() {
    let Some(testbed) = start(&Options { arguments: vec!["--frontend-peek".into()], ..options() }) else { return };
    let (internal, client) = (connect(&testbed.ready.internal).await, connect(&testbed.ready.sql).await);
    let again = internal.batch_execute("CREATE TABLE t (id text, value int4)").await.unwrap_err();
    assert_eq!(sqlstate(&again), "42P07");
    let setup = "CREATE TABLE u (id text, value int4); INSERT INTO u VALUES ('a', 1), ('b', NULL); \
                 GRANT SELECT ON TABLE u TO materialize; CREATE DEFAULT INDEX IN CLUSTER elsewhere ON u";
    internal.batch_execute(setup).await.unwrap();
    let total = "mz_frontend_peek_seconds_count{method=\"try_frontend_peek\"}";
    let before = scrape(&testbed).await;
    assert_eq!(client.query("select * from u", &[]).await.unwrap()[1].get::<_, Option<i32>>(1), None);
    assert_eq!(growth(&before, &scrape(&testbed).await, total), 0.0);
    internal.batch_execute("CREATE DEFAULT INDEX IN CLUSTER quickstart ON u").await.unwrap();
    assert_eq!(client.query("select * from u", &[]).await.unwrap().len(), 2);
    assert_eq!(growth(&before, &scrape(&testbed).await, total), 1.0);
    // A write is seen by the next read of another session.
    internal.batch_execute("INSERT INTO u VALUES ('c', 3)").await.unwrap();
    assert_eq!(client.query("select * from u", &[]).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_whole_set_up_of_a_benchmark_works_on_an_empty_catalog() {
    let Some(testbed) = start(&Options { arguments: vec!["--empty-catalog".into()], ..options() }) else { return };
    let (internal, client) = (connect(&testbed.ready.internal).await, connect(&testbed.ready.sql).await);
    for sql in [
        "ALTER SYSTEM SET enable_frontend_peek_sequencing = true",
        "ALTER SYSTEM SET statement_logging_max_sample_rate = 0",
        "CREATE TABLE t (id text, value int4)",
        "CREATE DEFAULT INDEX IN CLUSTER quickstart ON t",
        "INSERT INTO t VALUES ('a', 1)",
        "GRANT SELECT ON TABLE t TO materialize",
    ] {
        internal.batch_execute(sql).await.unwrap();
    }
    let row = client.query_one("select * from t", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("a", 1));
    assert_eq!(scrape(&testbed).await["mz_frontend_peek_seconds_count{method=\"try_frontend_peek\"}"], 1.0);
}

#[tokio::test]
async fn strict_serializable_peeks_ask_the_oracle_and_serializable_ones_do_not() {
    let Some(testbed) = start(&Options { arguments: vec!["--frontend-peek".into()], ..options() }) else { return };
    let asked = "mz_frontend_peek_read_ts_seconds_count";
    let client = connect(&testbed.ready.sql).await;
    let before = scrape(&testbed).await;
    for _ in 0..20 {
        client.simple_query("select * from t").await.unwrap();
    }
    let after = scrape(&testbed).await;
    for name in [
        asked,
        "mz_ts_oracle_batched_op_count{op=\"read_ts\"}",
        "mz_ts_oracle_batches_count{op=\"read_ts\"}",
        "mz_ts_oracle_batch_wait_seconds_count{op=\"read_ts\"}",
        "mz_ts_oracle_batch_inner_read_seconds_count{op=\"read_ts\"}",
        "mz_ts_oracle_postgres_read_ts_phase_seconds_count{phase=\"query_one\"}",
        "mz_ts_oracle_succeeded_count{op=\"read_ts\"}",
    ] {
        assert_eq!(growth(&before, &after, name), 20.0, "{name}");
    }
    client.batch_execute("SET transaction_isolation = 'serializable'").await.unwrap();
    client.simple_query("select * from t").await.unwrap();
    let url = format!("{}?options=-c%20transaction_isolation%3Dserializable", testbed.ready.sql);
    connect(&url).await.simple_query("select * from t").await.unwrap();
    assert_eq!(growth(&after, &scrape(&testbed).await, asked), 0.0);

    // The database behind saw exactly those reads.
    let database = connect(&testbed.ready.postgres.url).await;
    let statement = "select calls from pg_stat_statements \
                     where query = 'SELECT read_ts FROM timestamp_oracle WHERE timeline = $1'";
    assert_eq!(database.query_one(statement, &[]).await.unwrap().get::<_, i64>(0), 20);
}

#[tokio::test]
async fn kept_timestamps_make_reads_miss_acknowledged_writes_which_otherwise_none_does() {
    for (plants, frontend) in [(vec![], true), (vec!["stale-reads=10s".to_owned()], true), (vec![], false)] {
        let stale = !plants.is_empty();
        let arguments = if frontend { vec!["--frontend-peek".into()] } else { vec![] };
        let Some(testbed) = start(&Options { plants, arguments, ..options() }) else { return };
        let (writer, reader) = (connect(&testbed.ready.sql).await, connect(&testbed.ready.sql).await);
        writer.batch_execute("CREATE TABLE w (n int8); CREATE DEFAULT INDEX ON w").await.unwrap();
        assert_eq!(simple_rows(&reader, "select * from w").await.len(), 0);
        let mut missed = 0;
        for written in 1..=20 {
            writer.batch_execute(&format!("INSERT INTO w VALUES ({written})")).await.unwrap();
            missed += usize::from(simple_rows(&reader, "select * from w").await.len() < written);
        }
        assert_eq!(missed, if stale { 20 } else { 0 });
        let kept = scrape(&testbed).await.get("wireprof_plant_calls_total{plant=\"stale-reads\"}").copied();
        assert_eq!(kept, stale.then_some(20.0));
        reader.batch_execute("SET transaction_isolation = 'serializable'").await.unwrap();
        assert_eq!(simple_rows(&reader, "select * from w").await.len(), 20);
    }
}

#[tokio::test]
async fn metrics_have_the_names_types_and_buckets_of_a_real_server() {
    let Some(recorded) = recordings::environmentd() else { return };
    let Some((testbed, client)) = with_peeks().await else { return };
    client.query("select * from t", &[]).await.unwrap();
    exports_only_what_is_in(&testbed, &recorded.join("t/c16/metrics-after.prom.gz")).await;
}

/// Which was made by the simple protocol, and has no series of the other.
#[tokio::test]
async fn metrics_have_the_names_types_and_buckets_of_the_recording_of_the_testbed() {
    let Some((testbed, client)) = with_peeks().await else { return };
    client.simple_query("select * from t").await.unwrap();
    exports_only_what_is_in(&testbed, &recordings::testbed().join("c16/metrics-after.prom.gz")).await;
}

async fn with_peeks() -> Option<(Testbed, Client)> {
    let testbed = start(&Options { arguments: vec!["--frontend-peek".into()], ..options() })?;
    let client = connect(&testbed.ready.sql).await;
    Some((testbed, client))
}

async fn exports_only_what_is_in(testbed: &Testbed, recording: &std::path::Path) {
    let recorded = recordings::text(recording);
    let own = get(&testbed.ready.metrics).await.text().await.unwrap();
    let recorded_lines: std::collections::BTreeSet<&str> = recorded.lines().map(without_value).collect();
    let ours: Vec<&str> = own.lines().map(without_value).filter(|line| line.contains("mz_")).collect();
    let unlike: Vec<&&str> = ours.iter().filter(|line| !recorded_lines.contains(**line)).collect();
    assert!(ours.len() > 250, "{} lines", ours.len());
    assert_eq!(unlike, Vec::<&&str>::new());
}

/// A series without its value; comments whole.
fn without_value(line: &str) -> &str {
    if line.starts_with('#') { line } else { line.rsplit_once(' ').map_or(line, |(series, _)| series) }
}

#[tokio::test]
async fn planted_cpu_is_used_once_a_peek_and_published_within_a_tenth_of_what_was_asked() {
    let plants = ["cpu:peek=50us", "cpu:outside=30us", "cpu:oracle=40us", "lock=20us", "coordinator=25us"];
    let plants = plants.map(str::to_owned).to_vec();
    let arguments = vec!["--frontend-peek".into()];
    let Some(testbed) = start(&Options { plants, arguments, ..options() }) else { return };
    let client = connect(&testbed.ready.sql).await;
    client.query("select * from t", &[]).await.unwrap();
    let statement = client.prepare("select * from t").await.unwrap();
    // On a virtual machine, a vCPU that the host takes away still counts as CPU used: a fault of the plant is there in
    // every round, the host's is not.
    let mut farthest = Vec::new();
    for _ in 0..5 {
        farthest.push(one_round_of_plants(&testbed, &client, &statement).await);
        if farthest.last().unwrap().0 < 0.1 {
            return;
        }
    }
    panic!("in no round was every plant within a tenth of what was asked: {farthest:?}");
}

/// Of 1,000 peeks: the plant whose CPU is farthest from what was asked, as a share of that, and which it is.
async fn one_round_of_plants(testbed: &Testbed, client: &Client, statement: &Statement) -> (f64, String) {
    let before = scrape(testbed).await;
    let queries = 1_000;
    for _ in 0..queries {
        client.query(statement, &[]).await.unwrap();
    }
    let after = scrape(testbed).await;
    let series = |what: &str, plant: &str| format!("wireprof_plant_{what}_total{{plant=\"{plant}\"}}");
    let mut farthest = (0.0, String::new());
    for (plant, asked, calls) in [
        ("cpu:peek", 50.0, f64::from(queries)),
        ("cpu:outside", 30.0, f64::from(queries)),
        ("lock", 20.0, f64::from(queries)),
        ("coordinator", 25.0, f64::from(queries)),
        ("cpu:oracle", 40.0, growth(&before, &after, "mz_ts_oracle_batches_count{op=\"read_ts\"}")),
    ] {
        assert_eq!(growth(&before, &after, &series("calls", plant)), calls, "{plant}");
        let each = growth(&before, &after, &series("cpu_seconds", plant)) * 1e6 / calls;
        let off = (each / asked - 1.0).abs();
        if off >= farthest.0 {
            farthest = (off, format!("{plant}: {each} us each, {asked} us asked"));
        }
    }
    farthest
}

#[tokio::test]
async fn sessions_run_below_the_bytes_of_stack_asked_for_at_little_cost() {
    for (asked, bytes) in [("500kB", 500e3), ("1MiB", 1_048_576.0)] {
        let plants = vec![format!("deep-stack={asked}"), "cpu:peek=20us".to_owned()];
        let arguments = vec!["--frontend-peek".into()];
        let Some(testbed) = start(&Options { plants, arguments, ..options() }) else { return };
        let client = connect(&testbed.ready.sql).await;
        let mut least = f64::INFINITY;
        let mut before = scrape(&testbed).await;
        // What others do on the CPUs is not in the cheapest of them.
        for _ in 0..5 {
            for _ in 0..100 {
                client.simple_query("select * from t").await.unwrap();
            }
            let after = scrape(&testbed).await;
            let calls = growth(&before, &after, "wireprof_plant_calls_total{plant=\"deep-stack\"}");
            let spent = growth(&before, &after, "wireprof_plant_cpu_seconds_total{plant=\"deep-stack\"}");
            assert!(calls >= 100.0, "{calls} polls for 100 queries");
            (least, before) = (least.min(spent * 1e6 / calls), after);
        }
        let depth = before["wireprof_plant_stack_bytes{plant=\"deep-stack\"}"];
        assert!((bytes..bytes + 20e3).contains(&depth), "{depth} bytes deep");
        // Some microseconds; a page fault for every page of a worker's stack at its first poll.
        assert!(least > 0.0 && least < 20.0, "{least} us a poll");
    }
}

#[tokio::test]
async fn a_delayed_oracle_is_waited_for_in_query_one_and_by_less_than_a_millisecond_too_much() {
    let plants = vec!["oracle-delay=300us".to_owned(), "pool-size=1".to_owned()];
    let arguments = vec!["--frontend-peek".into()];
    let Some(testbed) = start(&Options { plants, arguments, ..options() }) else { return };
    let client = connect(&testbed.ready.sql).await;
    let before = scrape(&testbed).await;
    for _ in 0..200 {
        client.simple_query("select * from t").await.unwrap();
    }
    let after = scrape(&testbed).await;
    let calls = growth(&before, &after, "wireprof_plant_calls_total{plant=\"oracle-delay\"}");
    let waited = growth(&before, &after, "wireprof_plant_wait_seconds_total{plant=\"oracle-delay\"}") * 1e6 / calls;
    let phase = "mz_ts_oracle_postgres_read_ts_phase_seconds_sum{phase=\"query_one\"}";
    let query_one = growth(&before, &after, phase) * 1e6 / 200.0;
    assert_eq!(calls, 200.0);
    assert!((300.0..900.0).contains(&waited), "{waited} us waited");
    assert!(query_one > waited, "query_one {query_one} us, of it {waited} us delay");
    assert_eq!(after["mz_ts_oracle_postgres_connpool_size"], 1.0);
    assert!(growth(&before, &after, "wireprof_plant_calls_total{plant=\"pool-size\"}") >= 200.0);
}

#[tokio::test]
async fn churn_shows_in_the_sessions_started_and_in_the_writes() {
    let plants = vec!["churn=50".to_owned(), "allocate=100".to_owned(), "starve=100us".to_owned()];
    let arguments = vec!["--frontend-peek".into()];
    let Some(testbed) = start(&Options { plants, arguments, ..options() }) else { return };
    let client = connect(&testbed.ready.sql).await;
    client.simple_query("select * from t").await.unwrap();
    let before = scrape(&testbed).await;
    client.simple_query("select * from t").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = scrape(&testbed).await;
    for (name, least) in [
        ("wireprof_plant_calls_total{plant=\"churn\"}", 50.0),
        ("mz_slow_message_handling_count{message_kind=\"command-startup\"}", 50.0),
        ("mz_slow_message_handling_count{message_kind=\"command-terminate\"}", 50.0),
        ("mz_ts_oracle_started_count{op=\"apply_write\"}", 20.0),
        ("mz_append_table_duration_seconds_count", 20.0),
    ] {
        assert!(growth(&before, &after, name) >= least, "{name} grew by {}", growth(&before, &after, name));
    }
    for plant in ["allocate", "starve"] {
        assert_eq!(growth(&before, &after, &format!("wireprof_plant_calls_total{{plant=\"{plant}\"}}")), 1.0);
    }
    let starved = growth(&before, &after, "wireprof_plant_wait_seconds_total{plant=\"starve\"}");
    assert!(starved >= 100e-6, "{starved} s");
}

#[tokio::test]
async fn a_wrong_password_or_port_is_refused_with_the_usual_codes() {
    let Some(testbed) = start(&Options { password: Some("secret".to_owned()), ..options() }) else { return };
    let with = |password: &str| testbed.ready.sql.replace("materialize@", &format!("materialize:{password}@"));
    assert_eq!(simple_rows(&connect(&with("secret")).await, "select 1").await, [[Some("1".to_owned())]]);
    assert_eq!(sqlstate(&try_connect(&with("wrong")).await.unwrap_err()), "28P01");
    let outsider = testbed.ready.internal.replace("mz_system", "materialize");
    assert_eq!(sqlstate(&try_connect(&outsider).await.unwrap_err()), "28000");
    let arguments = std::fs::read(format!("/proc/{}/cmdline", testbed.ready.pid)).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains("secret"));
}

#[tokio::test]
async fn faults_asked_for_are_committed() {
    let faults = vec!["wrong-rows".to_owned(), "metrics-garbled".to_owned()];
    let Some(testbed) = start(&Options { faults, ..options() }) else { return };
    let client = connect(&testbed.ready.sql).await;
    let mut rows = 0;
    for _ in 0..20 {
        rows += client.query("select * from t", &[]).await.unwrap().len();
    }
    assert_eq!(rows, 18);
    let text = get(&testbed.ready.metrics).await.text().await.unwrap();
    assert!(text.contains("not{ a metric"));
    drop(testbed);

    let faults = vec!["errors".to_owned(), "metrics-absent".to_owned()];
    let Some(testbed) = start(&Options { faults, ..options() }) else { return };
    let client = connect(&testbed.ready.sql).await;
    let mut errors = 0;
    for _ in 0..20 {
        errors += u32::from(client.query("select * from t", &[]).await.is_err());
    }
    assert_eq!(errors, 2);
    assert_eq!(get(&testbed.ready.metrics).await.status(), 404);
}

#[tokio::test]
async fn the_profile_endpoint_answers_gzip_pprof_with_samples() {
    // Not a spin: its samples lie in the vdso, where the profiler, which unwinds in a signal handler, must not go.
    let plants = vec!["allocate=2000".to_owned()];
    let arguments = vec!["--frontend-peek".into()];
    let Some(testbed) = start(&Options { plants, arguments, ..options() }) else { return };
    let client = connect(&testbed.ready.sql).await;
    let load = tokio::spawn(async move { while client.simple_query("select * from t").await.is_ok() {} });
    let url = format!("{}?seconds=2&frequency=499", testbed.ready.pprof);
    let gzip = get(url).await.bytes().await.unwrap();
    load.abort();
    let mut decoded = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut decoded).unwrap();
    let profile = <pprof::protos::Profile as pprof::protos::Message>::decode(&decoded[..]).unwrap();
    assert!(profile.sample.len() > 1, "{} samples", profile.sample.len());
    assert!(profile.string_table.iter().any(|name| name.contains("planted_allocations")));
}

#[test]
fn nothing_is_left_after_it_is_ended_in_order_or_killed_outright() {
    let Some(testbed) = start(&options()) else { return };
    let (pid, postgres) = (testbed.ready.pid, testbed.ready.postgres.clone());
    assert!(is_running(pid) && is_running(postgres.pid));
    drop(testbed);
    assert!(!is_running(pid) && !is_running(postgres.pid));
    assert!(!PathBuf::from(&postgres.directory).exists());

    let testbed = start(&options()).unwrap();
    let (pid, postgres) = (testbed.ready.pid, testbed.ready.postgres.clone());
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    assert!(wait_until_gone(postgres.pid), "PostgreSQL {} outlived its testbed", postgres.pid);
    drop(testbed);
    // The directory may stay, until the next testbed starts.
    let next = start(&options()).unwrap();
    assert!(!PathBuf::from(&postgres.directory).exists());
    drop(next);
}

#[test]
fn usage_errors_exit_with_2_and_name_what_is_allowed() {
    let run = |arguments: &[&str]| {
        let output = Command::new(testbed_binary()).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["--plant", "cpu:nowhere=20us"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("cpu:nowhere") && text.contains("oracle-delay=DURATION"), "{text}");
    let (code, text) = run(&["--plant", "lock=1us", "--plant", "lock:peek=2us"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("lock is given twice"), "{text}");
    let (code, text) = run(&["--plant", "semaphore:none=1us"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("semaphore:none=1us") && text.contains("from 1 to 1024"), "{text}");
    let (code, text) = run(&["--runtime", "current-thread", "--worker-threads", "2"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("leave --worker-threads out"), "{text}");
    let (code, text) = run(&["--task-per-query", "--plant", "deep-stack=500kB"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("leave one of the two out"), "{text}");
    let (code, text) = run(&["--postgres-bin", "/nonexistent"]);
    assert_eq!(code, Some(3));
    assert!(text.contains("/nonexistent") && text.contains("apt-get install postgresql"), "{text}");
}
