//! Sweeps by preset, on the real binaries: set-up and its undoing, the process found, other drivers and workloads.

use crate::postgres::Postgres;
use crate::skip::skip;
use crate::sweeps::*;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use wireprof::run::Window;
use wireprof::target::Role;
use wireprof::testbed::{Options, Testbed};
use wireprof::wire::Listens;

const WINDOW: [&str; 4] = ["--levels", "2", "--window", "600ms"];

/// A testbed without its table on the ports of the preset; `None`, with the reason, where they are taken.
fn on_the_presets_ports() -> Option<Testbed> {
    for port in [6875, 6877, 6878] {
        if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
            skip(format!("port {port} is taken: {error}"));
            return None;
        }
    }
    let arguments = ["--sql-port=6875", "--internal-port=6877", "--http-port=6878", "--empty-catalog"];
    testbed(Options { arguments: arguments.map(Into::into).to_vec(), ..Options::default() })
}

fn settings(testbed: &Testbed) -> [String; 2] {
    ["enable_frontend_peek_sequencing", "statement_logging_max_sample_rate"]
        .map(|name| value(&testbed.ready.internal, &format!("SHOW {name}")))
}

#[test]
fn the_materialize_preset_finds_its_server_sets_it_up_and_puts_it_back() {
    let Some(testbed) = on_the_presets_ports() else { return };
    let former = settings(&testbed);
    assert_eq!(former[0], "off");
    let sweep = |more: &[&str]| {
        let place = Place::new();
        let answer = place.sweep(&[&["--preset", "materialize"], &WINDOW[..], more].concat());
        (place, answer)
    };

    // As it is: without its table the statement fails, and that is all that happens.
    let (_, left) = sweep(&["--no-setup"]);
    left.assert(2, &["statement `select * from t` fails"]);
    assert_eq!(settings(&testbed), former);

    let (place, restored) = sweep(&["--restore"]);
    restored.assert_done(&place);
    let told = [
        "set up: enable_frontend_peek_sequencing: off -> true",
        "set up: made: CREATE TABLE t (id text, value int4)",
        "set up: made: CREATE DEFAULT INDEX IN CLUSTER quickstart ON t",
        "set up: made: INSERT INTO t",
        "put back: DROP TABLE t",
        "put back: ALTER SYSTEM SET enable_frontend_peek_sequencing",
    ];
    restored.assert(restored.code, &told);
    assert_eq!(settings(&testbed), former);
    let run = place.the_run();
    assert_eq!(run.manifest.target.pid, Some(testbed.ready.pid));
    assert!(run.manifest.changes.iter().any(|change| change == "enable_frontend_peek_sequencing: off -> true"));
    let note = format!(
        "process {} on port 6875 is called wireprof-testbe; preset materialize expects environmentd",
        testbed.ready.pid
    );
    assert!(run.manifest.notes.contains(&note), "{:?}", run.manifest.notes);
    let window = &run.windows[0];
    assert!(window.metrics.is_some() && window.profile.is_some() && window.load.rows == window.load.completed);
    let (again, answer) = sweep(&["--no-setup"]);
    answer.assert(2, &["statement `select * from t` fails"]);
    drop(again);

    let (kept_in, kept) = sweep(&["--no-sampling"]);
    kept.assert_done(&kept_in);
    assert_eq!(settings(&testbed)[0], "on");
    let (place, nothing_left_to_do) = sweep(&["--no-sampling"]);
    nothing_left_to_do.assert_done(&place);
    assert!(
        !nothing_left_to_do.err.contains("CREATE") && !nothing_left_to_do.err.contains("INSERT"),
        "{}",
        nothing_left_to_do.err
    );

    let doctor = Place::new().run(&["doctor", "--preset", "materialize", "--width", "200"]);
    assert_eq!(doctor.code, 0, "{}", doctor.out);
    assert!(doctor.out.contains("A sweep of this server is possible.") && doctor.out.contains("metrics of the preset"));
}

#[test]
fn the_database_behind_is_counted_with_all_its_processes() {
    let Some(testbed) = testbed(Options::default()) else { return };
    let (place, ready) = (Place::new(), &testbed.ready);
    let pid = ready.postgres.pid.to_string();
    let server = [
        "--preset",
        "testbed",
        "--url",
        &ready.sql,
        "--internal-url",
        &ready.internal,
        "--metrics-url",
        &ready.metrics,
    ];
    let answer = place.sweep(&[&server[..], &["--also", &pid], &WINDOW].concat());
    answer.assert_done(&place);
    let scheduler = place.the_run().windows.remove(0).scheduler.unwrap();
    let others: Vec<_> = scheduler.threads.iter().filter(|thread| thread.role == Role::Other).collect();
    assert!(others.len() > 3 && others.iter().all(|thread| thread.process == "postgres"), "{others:?}");
    assert!(others.iter().any(|thread| thread.pid != ready.postgres.pid && thread.cpu > 0), "a backend was busy");
    assert!(
        scheduler.threads.iter().filter(|t| t.role == Role::Target).all(|t| t.pid == ready.pid),
        "children are others"
    );
    let table = answer.out.split("CPU by process").nth(1).expect("a table").split("\n\n").next().unwrap().to_string();
    for row in ["target     wireprof-testbe", "other      postgres", "generator"] {
        assert!(table.contains(row), "{row}: {table}");
    }
}

/// Numbers of the processes in a profile's labels.
fn sampled_pids(profile: &wireprof::profile::Profile) -> std::collections::BTreeSet<u32> {
    profile.samples.iter().map(|sample| profile.labels[sample.labels.index()].pid).collect()
}

#[test]
fn a_process_beside_the_target_has_a_profile_of_its_own_and_is_in_no_other() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    place
        .run(&[&["sweep", "--testbed", "--also", "postgres", "--warmup", "100ms"], &WINDOW[..]].concat())
        .assert_done(&place);
    let run = place.the_run();
    let window = &run.windows[0];
    let pids = |role| -> std::collections::BTreeSet<u32> {
        let threads = &window.scheduler.as_ref().unwrap().threads;
        threads.iter().filter(|thread| thread.role == role).map(|thread| thread.pid).collect()
    };
    let companions = &window.companions[0];
    assert_eq!((window.companions.len(), companions.process.as_str()), (1, "postgres"));
    let (own, others) =
        (sampled_pids(window.profile.as_ref().unwrap()), sampled_pids(companions.profile.as_ref().unwrap()));
    assert_eq!(own, pids(Role::Target));
    assert!(!others.is_empty() && others.is_subset(&pids(Role::Other)), "{others:?}");
    assert_eq!(companions.sampling.samples, companions.profile.as_ref().unwrap().samples.len() as u64);
    let waits = window.off_cpu.as_ref().and_then(|off_cpu| off_cpu.profile.as_ref());
    assert!(waits.is_none_or(|waits| sampled_pids(waits) == own));
    let hot = place.run(&["hot", "--process", "postgres", "--by", "total"]);
    assert!(hot.code == 0 && hot.out.contains("PostgresMain"), "{}\n{}", hot.out, hot.err);
    place.run(&["hot", "--process", "cockroach"]).assert(2, &["--process cockroach was not sampled", "postgres"]);
    let picture = place.runs().join(&run.manifest.id).join("flamegraphs");
    assert!(!picture.exists(), "pictures are drawn when they are asked for");
    let drawn = place.run(&["flamegraph"]);
    assert!(drawn.code == 0 && drawn.out.contains("postgres all"), "{}\n{}", drawn.out, drawn.err);
    let level = run.manifest.levels[0];
    assert!(picture.join(format!("{}-L{level:04}-postgres-all.svg", run.manifest.id)).exists());
}

#[test]
fn each_instrument_is_measured_in_pairs_and_kept_with_the_run() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let cost = ["--testbed", "--observer-cost", "--pairs", "3", "--pair-window", "400ms", "--seed", "1"];
    let answer = place.sweep(&[&cost[..], &WINDOW].concat());
    answer.assert_done(&place);
    let observer = place.the_run().observer.unwrap();
    assert_eq!(observer.instruments.len(), 6);
    for found in &observer.instruments {
        // What this host refuses has its reason, and no pairs.
        assert!(found.pairs.len() == 3 || found.missing.is_some(), "{found:?}");
        let windows = found.pairs.iter().flat_map(|pair| [pair.without, pair.with]);
        assert!(
            windows.clone().all(|w| w.queries > 0 && w.target_cpu > 0 && w.target_cpu < w.watched_cpu),
            "{found:?}"
        );
        assert!(found.pairs.iter().all(|pair| pair.without.scrapes == 0));
    }
    let scrapes = |index: usize| observer.instruments[index].pairs.iter().map(|pair| pair.with.scrapes).sum::<u64>();
    // 1.2 s each, a scrape a second.
    assert_eq!((scrapes(4), scrapes(5)), (1, 1));
    for out in [answer.out, place.run(&["runs", "latest", "--full"]).out] {
        assert!(out.contains("What observing costs at") && out.contains("all of this run's, against none"), "{out}");
    }
}

/// The first process is the postmaster; all samples are of its family.
fn assert_whole_family(window: &Window, postmaster: u32) {
    let threads = &window.scheduler.as_ref().unwrap().threads;
    let target: Vec<_> = threads.iter().filter(|thread| thread.role == Role::Target).collect();
    assert!(target.iter().any(|t| t.pid == postmaster) && target.iter().any(|t| t.pid != postmaster && t.cpu > 0));
    let profile = window.profile.as_ref().unwrap();
    assert!(profile.samples.len() > 10, "{} samples", profile.samples.len());
}

fn postmaster(server: &Postgres) -> u32 {
    let text = std::fs::read_to_string(server.directory().join("data/postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

#[test]
fn a_postgres_is_found_by_its_port_by_its_socket_and_by_its_number() {
    let Some(server) = Postgres::start("shared_preload_libraries = 'pg_stat_statements'") else { return };
    let pid = postmaster(&server);
    let directory = server.directory().display().to_string().replace('/', "%2F");
    let socket = format!("postgres://postgres@{directory}:{}/postgres", server.port);
    let (tcp, number) = (server.url("postgres"), pid.to_string());
    for (preset, url, more) in
        [("postgres", &tcp, &[][..]), ("postgres", &socket, &[]), ("generic", &tcp, &["--pid", &number])]
    {
        let place = Place::new();
        let answer = place.sweep(&[&["--preset", preset, "--url", url], &WINDOW[..], more].concat());
        answer.assert_done(&place);
        let run = place.the_run();
        assert_eq!(run.manifest.target.pid, Some(pid), "{url}");
        assert!(run.manifest.target.executable.as_ref().unwrap().ends_with("postgres"));
        if let Some(wire) = &run.windows[0].wire {
            let at = [
                Listens::Port(server.port),
                Listens::Socket(format!("{}/.s.PGSQL.{}", server.directory().display(), server.port).into()),
            ];
            assert_eq!(wire.hops[0].hop.at, at[usize::from(url == &socket)].clone());
            assert!(wire.hops[0].queries > 0 && wire.hops[0].others.is_some(), "{:?}", wire.hops[0]);
        }
        assert!(run.manifest.target.version.as_ref().unwrap().starts_with("PostgreSQL "));
        if preset == "postgres" {
            assert_whole_family(&run.windows[0], pid);
        }
    }
    let doctor = Place::new().run(&["doctor", "--preset", "postgres", "--url", &socket, "--json"]);
    assert_eq!(doctor.code, 0, "{}", doctor.out);
    let report: serde_json::Value = serde_json::from_str(&doctor.out).unwrap();
    let rows = crate::rows::rows(&report);
    let found =
        |check: &str| rows.iter().find(|row| row["check"] == check).unwrap_or_else(|| panic!("{check}: {rows:?}"));
    let process = format!("{pid} (postgres), socket {}/.s.PGSQL.{}", server.directory().display(), server.port);
    assert_eq!((&found("process")["verdict"], &found("process")["found"]), (&"ok".into(), &process.into()));
    assert_eq!(found("frame tables")["verdict"], "ok");
    assert_eq!((&found("connection")["verdict"], &found("metrics")["verdict"]), (&"ok".into(), &"limited".into()));
    let nothing = Place::new().run(&["doctor", "--url", "postgres://me@%2Fnowhere:1/db"]);
    assert_eq!(nothing.code, 3, "{}", nothing.out);
    assert!(
        nothing.out.contains("A sweep is not possible as it stands: 2 of the checks refuse it."),
        "{}",
        nothing.out
    );
}

/// A program that takes dbbench's flags, queries the server as fast as psql would and prints dbbench's result.
fn fake_dbbench(directory: &Path, psql: &Path) -> PathBuf {
    let program = directory.join("dbbench");
    let psql = psql.display();
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = -help ]; then echo ' -url -driver -max-active-conns -max-idle-conns' >&2; exit 2; \
            fi\n\
         trap 'echo \"2026/11/22 09:22:48 query: 7 transactions (7.000 TPS), latency 1ms±1ms; 7 rows (7 RPS), \
         7 queries (7 QPS); 0 aborts (0.000%), latency 0s±0s\" >&2; exit 0' INT\n\
         while :; do for i in 1 2 3 4 5 6 7 8 9; do echo 'select * from t;'; done | {psql} -q \"$2\" >/dev/null; done\n"
    );
    std::fs::write(directory.join("draft"), text).unwrap();
    std::fs::set_permissions(directory.join("draft"), std::fs::Permissions::from_mode(0o755)).unwrap();
    // By another process, so that no descriptor open for writing is inherited by another test's child.
    assert!(Command::new("cp").arg(directory.join("draft")).arg(&program).status().unwrap().success());
    program
}

fn psql() -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join("psql")).find(|path| path.is_file());
    if found.is_none() {
        skip("no psql on the PATH");
    }
    found
}

#[test]
fn a_dbbench_of_the_users_is_counted_by_the_servers_own_counter() {
    let Some(psql) = psql() else { return };
    let Some(testbed) = testbed(Options::default()) else { return };
    let (place, ready) = (Place::new(), &testbed.ready);
    let driver = format!("dbbench={}", fake_dbbench(place.path(), &psql).display());
    let target = ["--preset", "testbed", "--url", &ready.sql, "--internal-url", &ready.internal];
    let alone = place.sweep(&[&target[..], &["--driver", &driver], &WINDOW, &["--no-metrics"]].concat());
    alone.assert(2, &["queries are counted by the server, and its metrics are not read: give --metrics-url"]);
    assert_eq!(value(&ready.internal, "SHOW enable_frontend_peek_sequencing"), "off", "nothing was set up yet");
    let answer = place.sweep(&[&target[..], &["--metrics-url", &ready.metrics, "--driver", &driver], &WINDOW].concat());
    answer.assert_done(&place);
    let window = place.the_run().windows.remove(0);
    let counted = r#"count(mz_frontend_peek_seconds{*="try_frontend_peek_cached"})"#;
    assert_eq!(window.load.counted_by, counted);
    assert!(window.load.completed > 0 && window.load.latency_sum.is_none(), "{}", window.load.completed);
    assert_eq!(window.load.jobs[0].completed, 7);
    assert_eq!(window.load.reported.as_ref().unwrap().jobs[0].transactions, 7);
    assert!(answer.out.contains("the program's job"), "{}", answer.out);
    let generator = window.scheduler.as_ref().unwrap().threads.iter().find(|thread| thread.role == Role::Generator);
    assert!(generator.is_some_and(|thread| thread.pid != std::process::id()), "the user's program is the generator");
}

#[test]
fn a_script_of_several_jobs_is_set_up_driven_and_torn_down_and_a_rate_is_kept() {
    let Some(server) = Postgres::start("") else { return };
    let place = Place::new();
    let script = "duration=2s\n[setup]\nquery=create table pairs (a int)\nquery=insert into pairs values (1), (2)\n\
                  [teardown]\nquery=drop table pairs\n\
                  [reads]\nquery=select a from pairs\nconcurrency=3\n[paced]\nquery=select 1\nrate=50\n";
    std::fs::write(place.path().join("jobs.ini"), script).unwrap();
    let url = server.url("postgres");
    let target = ["--preset", "postgres", "--url", &url, "--no-sampling", "--no-statements"];
    place.sweep(&[&target[..], &["--workload", "jobs.ini", "--levels", "4"]].concat()).assert_done(&place);
    let load = place.the_run().windows.remove(0).load;
    let jobs: Vec<_> = load.jobs.iter().map(|job| (job.name.as_str(), job.rows == job.completed * 2)).collect();
    assert_eq!(jobs, [("reads", true), ("paced", false)]);
    // Where others take the CPUs, the last ones come too late.
    assert!((50..=110).contains(&load.jobs[1].completed), "50 a second for 2 s: {}", load.jobs[1].completed);
    assert_eq!(load.connections, 4);
    assert_eq!(server.value("select count(*) from pg_class where relname = 'pairs'"), "0");
}

#[test]
fn a_set_up_is_not_done_on_the_presets_own_host_for_a_server_on_another() {
    let place = Place::new();
    let target = ["--preset", "materialize", "--url", "postgres://me@192.0.2.1:6875/db?connect_timeout=1"];
    let asked = [&target[..], &WINDOW].concat();
    place.sweep(&asked).assert(2, &["--url names another host than preset materialize", "--internal-url"]);
}
