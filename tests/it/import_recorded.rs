//! Recordings of a real server, imported: the tables of a run of three levels, with exact figures from the files.

use crate::recordings::environmentd;
use std::sync::OnceLock;
use wireprof::analyze::cost::quantities::{Quantity, quantities};
use wireprof::import::{ImportOptions, Imported, import};
use wireprof::preset::Preset;
use wireprof::profile::ColumnKind;
use wireprof::run::Window;

const READ_TS: &str = "SELECT read_ts FROM timestamp_oracle WHERE timeline = $1";

fn preset() -> Preset {
    Preset::built_in("materialize").unwrap()
}

fn run(table: &str) -> Option<&'static Imported> {
    static T: OnceLock<Option<Imported>> = OnceLock::new();
    static BENCH: OnceLock<Option<Imported>> = OnceLock::new();
    let (cell, name) = if table == "t" { (&T, "t") } else { (&BENCH, "bench") };
    let read = || {
        // The stacks were recorded for 15 s inside the window.
        let options = ImportOptions { profile_seconds: Some(15.0), ..ImportOptions::default() };
        environmentd().map(|path| import(&path.join(name), &preset(), &options).unwrap())
    };
    // Asked each time, so that each test that needs it says that it is skipped.
    environmentd()?;
    cell.get_or_init(read).as_ref()
}

fn window(imported: &Imported, level: usize) -> &Window {
    &imported.windows.iter().find(|w| w.window.id().level == level).unwrap().window
}

pub fn quantity(window: &Window, name: &str) -> Quantity {
    quantities(&preset(), window).into_iter().find(|q| q.name == name).unwrap_or_else(|| panic!("no quantity {name}"))
}

pub fn rounded(value: Option<f64>, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value.unwrap() * scale).round() / scale
}

#[test]
fn the_load_is_what_dbbench_printed() {
    for (table, figures) in
        [("t", [(1, 41_144), (16, 102_269), (64, 154_964)]), ("bench", [(1, 9_955), (16, 18_735), (64, 35_588)])]
    {
        let Some(run) = run(table) else { return };
        assert_eq!(run.manifest.levels, [1, 16, 64]);
        assert_eq!(run.manifest.workload.statements, [format!("select * from {table}")]);
        for (level, completed) in figures {
            let load = &window(run, level).load;
            assert_eq!(
                (load.completed, load.rows, load.connections, load.error_count()),
                (completed, completed, level, 0)
            );
            assert!((load.span.seconds() - 20.0).abs() < 0.05, "{}", load.span.seconds());
        }
    }
    let load = &window(run("t").unwrap(), 16).load;
    assert_eq!(rounded(load.mean_latency(), 0), 3_114_374.0);
    assert_eq!(rounded(Some(load.throughput()), 2), 5_112.36);
}

#[test]
fn the_oracle_is_called_less_while_read_ts_takes_longer() {
    let Some(run) = run("t") else { return };
    for (level, ops, batches, per_batch, wait, calls) in [
        (1, 41_172.0, 41_168.0, 1.00, 243.0, 41_144.0),
        (16, 102_297.0, 39_511.0, 2.59, 2_040.0, 102_269.0),
        (64, 154_992.0, 18_500.0, 8.38, 5_277.0, 154_964.0),
    ] {
        let window = window(run, level);
        assert_eq!(quantity(window, "oracle ops").value, Some(ops), "level {level}");
        assert_eq!(quantity(window, "oracle batches").value, Some(batches), "level {level}");
        assert_eq!(rounded(quantity(window, "ops a batch").value, 2), per_batch, "level {level}");
        let read_ts = quantity(window, "read_ts");
        assert_eq!(rounded(read_ts.value, 0), wait, "level {level}");
        assert_eq!(read_ts.count, Some(calls), "level {level}: its own count, one a query");
    }
}

#[test]
fn what_was_registered_and_never_observed_is_not_measured() {
    for table in ["t", "bench"] {
        let Some(run) = run(table) else { return };
        for level in [1, 16, 64] {
            for name in ["batch wait", "get_connection", "prepare_cached", "query_one"] {
                let quantity = quantity(window(run, level), name);
                assert_eq!(
                    (quantity.value, quantity.count, quantity.bounds),
                    (None, None, None),
                    "{table} {level} {name}"
                );
                let missing = quantity.missing.unwrap();
                assert!(missing.starts_with("registered, never observed in the window: mz_ts_oracle_"), "{missing}");
            }
            let measured = quantities(&preset(), window(run, level)).iter().filter(|q| q.missing.is_none()).count();
            assert_eq!(measured, preset().quantity.len() - 4, "{table} {level}: all else was measured");
        }
    }
}

#[test]
fn the_databases_own_time_hardly_moves() {
    let Some(run) = run("t") else { return };
    for (level, calls, mean) in [(1, 41_169, 13.9), (16, 39_513, 14.8), (64, 18_502, 15.8)] {
        let statements = window(run, level).statements.as_ref().unwrap();
        let statement = statements.statement(READ_TS).unwrap();
        assert_eq!(rounded(statement.mean_exec().map(|ns| ns / 1000.0), 1), mean, "level {level}");
        assert_eq!((statement.calls, statement.plan), (calls, None), "level {level}");
    }
}

/// (table, level, peeks, us a peek, us read_ts, us inner read a batch, ops a batch)
const PEEKS: [(&str, usize, f64, f64, f64, f64, f64); 6] = [
    ("t", 1, 41_143.0, 257.9, 243.0, 214.7, 1.0),
    ("t", 16, 102_253.0, 2_055.5, 2_040.2, 1_291.3, 2.589),
    ("t", 64, 154_900.0, 5_284.8, 5_276.6, 2_970.0, 8.378),
    ("bench", 1, 9_954.0, 518.6, 446.2, 417.6, 1.0),
    ("bench", 16, 18_719.0, 2_856.3, 2_763.6, 2_069.7, 2.146),
    ("bench", 64, 35_524.0, 7_615.6, 7_569.6, 4_658.7, 5.516),
];

#[test]
fn every_peek_took_the_fast_path_and_most_of_it_was_read_ts() {
    for (table, level, peeks, peek, read_ts, inner, ops) in PEEKS {
        let Some(run) = run(table) else { return };
        let value = |name: &str, digits| rounded(quantity(window(run, level), name).value, digits);
        assert_eq!(quantity(window(run, level), "peek").count, Some(peeks), "{table} {level}");
        assert!((0.99..=1.0).contains(&value("peeks a query", 6)), "{table} {level}");
        assert_eq!(
            (value("peek", 1), value("read_ts", 1), value("inner read", 1), value("ops a batch", 3)),
            (peek, read_ts, inner, ops),
            "{table} {level}"
        );
    }
}

#[test]
fn the_runtimes_figures_are_the_files() {
    for (table, level, busy, polls, steals) in [
        ("t", 1, 0.477, 3.399, 1.471),
        ("t", 16, 0.907, 3.245, 1.427),
        ("t", 64, 0.936, 2.855, 1.155),
        ("bench", 64, 0.845, 4.284, 1.533),
    ] {
        let Some(run) = run(table) else { return };
        let value = |name: &str| rounded(quantity(window(run, level), name).value, 3);
        assert_eq!(
            (value("tokio busy ratio"), value("tokio polls"), value("tokio steals")),
            (busy, polls, steals),
            "{table} {level}"
        );
    }
}

#[test]
fn a_quantile_is_the_bounds_of_its_bucket() {
    let Some(run) = run("t") else { return };
    for (level, p50, p99) in [
        (1, (128.0, 256.0), (1_000.0, 2_000.0)),
        (16, (1_000.0, 2_000.0), (4_000.0, 8_000.0)),
        (64, (4_000.0, 8_000.0), (8_000.0, 16_000.0)),
    ] {
        let bounds = |name: &str| {
            let quantity = quantity(window(run, level), name);
            assert_eq!(quantity.value, None);
            let (lower, upper) = quantity.bounds.unwrap();
            (rounded(Some(lower), 3), rounded(Some(upper), 3))
        };
        assert_eq!((bounds("peek p50"), bounds("peek p99")), (p50, p99), "level {level}");
    }
}

#[test]
fn the_processors_are_accounted_to_the_server_and_to_those_behind_it() {
    use wireprof::target::Role;
    for (table, level, target, others) in
        [("t", 1, 12_749_665_579, None), ("bench", 1, 13_237_427_362, Some(20_510_000_000))]
    {
        let Some(run) = run(table) else { return };
        let scheduler = window(run, level).scheduler.as_ref().unwrap();
        assert_eq!(
            (scheduler.cpu(Role::Target), scheduler.cpu(Role::Other)),
            (Some(target), others),
            "{table} {level}"
        );
        assert_eq!(scheduler.machine.as_ref().unwrap().cpus, 2);
    }
}

#[test]
fn the_stacks_keep_their_weight_their_samples_and_their_names() {
    let Some(run) = run("t") else { return };
    let window = window(run, 16);
    let (profile, sampling) = (window.profile.as_ref().unwrap(), window.sampling.as_ref().unwrap());
    profile.check().unwrap();
    let (samples, cpu) = (profile.column(&ColumnKind::Samples).unwrap(), profile.column(&ColumnKind::Cpu).unwrap());
    assert_eq!(profile.total(cpu), 13_031_031_018);
    assert_eq!(profile.total(samples), 13_018);
    assert_eq!((sampling.samples, sampling.period), (13_018, Some(1_001_001)));
    assert!(sampling.kernel_stacks);
    assert!(sampling.symbolized.unwrap() > 0.99);
    assert!(profile.frames.iter().all(|f| !f.name.starts_with(' ') && !f.name.ends_with("_[i]")), "names are whole");
    let inside: i64 = profile
        .samples
        .iter()
        .filter(|s| profile.walk(s.stack).any(|f| profile.frames[f.index()].name.contains("try_frontend_peek_cached")))
        .map(|s| s.values[cpu])
        .sum();
    let share = inside as f64 / profile.total(cpu) as f64;
    assert!((0.08..0.105).contains(&share), "{share}");
}

#[test]
fn costs_are_divided_by_the_queries_of_the_profiles_own_seconds() {
    let Some(run) = run("t") else { return };
    let window = window(run, 16);
    assert_eq!(window.profile_span().seconds(), 15.0);
    let queries = window.queries_under_profile();
    assert!((queries - 15.0 * 5_112.36).abs() < 1.0, "{queries}");
    let profile = window.profile.as_ref().unwrap();
    let cost = profile.total(profile.column(&ColumnKind::Cpu).unwrap()) as f64 / queries / 1000.0;
    assert_eq!(rounded(Some(cost), 1), 169.9, "us of the server's CPU a query");
}

/// us of CPU a query, all of the server and under the peek; by the profile's own seconds.
#[test]
fn the_peeks_cost_a_query_is_a_small_part_of_the_servers() {
    for (table, level, all, peek) in [
        ("t", 1, 308.2, 24.4),
        ("t", 16, 169.9, 16.7),
        ("t", 64, 127.0, 12.9),
        ("bench", 1, 1_277.4, 50.6),
        ("bench", 16, 620.3, 33.5),
        ("bench", 64, 494.7, 27.4),
    ] {
        let Some(run) = run(table) else { return };
        let window = window(run, level);
        let profile = window.profile.as_ref().unwrap();
        let cpu = profile.column(&ColumnKind::Cpu).unwrap();
        let focus = &preset().focus[0];
        assert_eq!(focus.name, "peek");
        let inside: Vec<bool> =
            profile.frames.iter().map(|f| focus.patterns.iter().any(|p| p.0.is_match(&f.name))).collect();
        let samples = profile.samples.iter().filter(|s| profile.walk(s.stack).any(|f| inside[f.index()]));
        let weight: i64 = samples.map(|s| s.values[cpu]).sum();
        let cost = |weight: i64| rounded(Some(weight as f64 / window.queries_under_profile() / 1000.0), 1);
        assert_eq!((cost(profile.total(cpu)), cost(weight)), (all, peek), "{table} {level}");
    }
}

/// (table, level, the checks that do not pass)
#[test]
fn the_guards_say_what_the_recordings_can_and_cannot_vouch_for() {
    use wireprof::analyze::judge::checks::check_window;
    use wireprof::check::Status;
    for (table, level, wanted) in
        [("t", 1, &["generator_gap"][..]), ("t", 16, &["machine_busy"]), ("bench", 64, &["machine_busy"])]
    {
        let Some(run) = run(table) else { return };
        let checks = check_window(&preset(), &run.manifest, window(run, level));
        let tag = |check| serde_json::to_value(check).unwrap()["guard"].as_str().unwrap().to_string();
        let of = |status: fn(Status) -> bool| checks.iter().filter(move |g| status(g.status()));
        let fired: Vec<String> = of(|v| v >= Status::Warn).map(tag).collect();
        assert_eq!(fired, wanted, "{table} {level}");
        let unchecked: Vec<String> = of(|v| v == Status::NotMeasured).map(|g| g.to_string()).collect();
        let starts = [
            "the generator's CPU",
            "row counts",
            "sessions",
            "lost samples",
            "share of complete",
            "sampled CPU",
            "CPU of other",
        ];
        assert_eq!(unchecked.len(), starts.len(), "{unchecked:#?}");
        assert!(unchecked.iter().zip(starts).all(|(text, start)| text.starts_with(start)), "{unchecked:#?}");
    }
}

#[test]
fn a_part_that_is_not_there_is_missing_and_the_rest_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let level = directory.path().join("c4");
    std::fs::create_dir(&level).unwrap();
    let text = "4 connections: 100 transactions (10.000 TPS), latency 1ms±1µs; 100 rows (10 RPS)\n";
    std::fs::write(level.join("dbbench.txt"), text).unwrap();
    let run = import(directory.path(), &preset(), &ImportOptions::default()).unwrap().into_run();
    let window = &run.windows[0];
    assert_eq!((window.load.completed, window.load.span.seconds()), (100, 10.0));
    let missing: Vec<&str> = window.facts.missing.iter().map(|m| m.what.as_str()).collect();
    for part in ["metrics", "profile", "statements", "scheduler", "target start time", "times"] {
        assert!(missing.contains(&part), "{part} is not among {missing:?}");
    }
    let peek = quantity(window, "peek");
    assert_eq!(peek.value, None);
    let why = "no metrics: the recording has no metrics-before.prom and metrics-after.prom";
    assert_eq!(peek.missing.as_deref(), Some(why));
}

#[test]
fn a_part_that_is_there_and_damaged_is_an_error_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let level = directory.path().join("c4");
    std::fs::create_dir(&level).unwrap();
    let text = "4 connections: 100 transactions (10.000 TPS), latency 1ms±1µs; 100 rows (10 RPS)\n";
    std::fs::write(level.join("dbbench.txt"), text).unwrap();
    let damage = |name: &str, text: &[u8]| {
        std::fs::write(level.join(name), text).unwrap();
        let error = format!("{:#}", import(directory.path(), &preset(), &ImportOptions::default()).err().unwrap());
        std::fs::remove_file(level.join(name)).unwrap();
        error
    };
    let zipped = damage("metrics-before.prom.gz", b"not gzip");
    assert!(zipped.contains("c4: cannot read metrics-before.prom"), "{zipped}");
    let stacks = damage("folded.txt", b"t;a 1\nt;b\n");
    assert!(stacks.contains("folded stacks, line 2: no weight"), "{stacks}");
    let load = damage("dbbench.txt", b"starting 4 connections\n");
    assert!(load.contains("dbbench.txt: dbbench printed no result; its last lines: starting 4 connections"), "{load}");
}

#[test]
fn metrics_that_the_preset_wants_and_the_server_lacks_are_noted() {
    let directory = tempfile::tempdir().unwrap();
    let level = directory.path().join("c4");
    std::fs::create_dir(&level).unwrap();
    let text = "4 connections: 100 transactions (10.000 TPS), latency 1ms±1µs; 100 rows (10 RPS)\n";
    std::fs::write(level.join("dbbench.txt"), text).unwrap();
    std::fs::write(level.join("metrics-before.prom"), "mz_append_table_duration_seconds 1\ngarbage\n").unwrap();
    std::fs::write(level.join("metrics-after.prom"), "mz_append_table_duration_seconds 2\n").unwrap();
    let run = import(directory.path(), &preset(), &ImportOptions::default()).unwrap().into_run();
    let notes = run.manifest.notes;
    assert!(
        notes.contains(&"level 4: the server exports no mz_frontend_peek_read_ts_seconds".to_string()),
        "{notes:#?}"
    );
    assert!(notes.contains(&"level 4: 1 line of the metrics could not be read".to_string()), "{notes:#?}");
    assert!(!notes.iter().any(|n| n.contains("append_table")), "{notes:#?}");
}

#[test]
fn a_directory_without_levels_is_an_error_that_says_what_is_expected() {
    let directory = tempfile::tempdir().unwrap();
    let error = import(directory.path(), &preset(), &ImportOptions::default()).err().unwrap().to_string();
    assert!(
        error.ends_with("holds no directory cN (c1, c16, ...), one per level; give the directory above them"),
        "{error}"
    );
}
