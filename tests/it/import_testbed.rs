//! The recording of the testbed that is in the repository, imported: the same checks as `import_recorded` has for a
//! real server, so that they run everywhere, with exact figures from the files.

use crate::import_recorded::{quantity, rounded};
use crate::recordings;
use std::sync::OnceLock;
use wireprof::import::{ImportOptions, Imported, import};
use wireprof::preset::Preset;
use wireprof::profile::ColumnKind;
use wireprof::run::Window;

const LEVELS: [usize; 3] = [1, 4, 16];
const READ_TS: &str = "SELECT read_ts FROM timestamp_oracle WHERE timeline = $1";

fn preset() -> Preset {
    Preset::built_in("materialize").unwrap()
}

fn run() -> &'static Imported {
    static RUN: OnceLock<Imported> = OnceLock::new();
    // The stacks were recorded for 2 s inside the window.
    let options = ImportOptions { profile_seconds: Some(2.0), ..ImportOptions::default() };
    RUN.get_or_init(|| import(&recordings::testbed(), &preset(), &options).unwrap())
}

fn window(level: usize) -> &'static Window {
    &run().windows.iter().find(|w| w.window.id().level == level).unwrap().window
}

fn value(level: usize, name: &str, digits: i32) -> f64 {
    rounded(quantity(window(level), name).value, digits)
}

/// ns of CPU below frames that hold one of these words.
fn weight_below(window: &Window, words: &[&str]) -> i64 {
    let profile = window.profile.as_ref().unwrap();
    let cpu = profile.column(&ColumnKind::Cpu).unwrap();
    let inside: Vec<bool> = profile.frames.iter().map(|f| words.iter().any(|word| f.name.contains(word))).collect();
    let samples = profile.samples.iter().filter(|s| profile.walk(s.stack).any(|f| inside[f.index()]));
    samples.map(|s| s.values[cpu]).sum()
}

#[test]
fn the_load_is_what_dbbench_printed() {
    assert_eq!(run().manifest.levels, LEVELS);
    assert_eq!(run().manifest.workload.statements, ["select * from t"]);
    for (level, completed) in [(1, 7_618), (4, 12_656), (16, 20_740)] {
        let load = &window(level).load;
        assert_eq!((load.completed, load.rows, load.connections, load.error_count()), (completed, completed, level, 0));
        assert_eq!(load.span.seconds(), 4.0);
    }
    let load = &window(16).load;
    assert_eq!(rounded(load.mean_latency(), 0), 3_065_444.0);
    assert_eq!(rounded(Some(load.throughput()), 2), 5_185.0);
}

#[test]
fn the_oracle_is_called_less_while_read_ts_takes_longer() {
    for (level, ops, batches, per_batch, wait) in [
        (1, 7_618.0, 7_618.0, 1.0, 387.8),
        (4, 12_656.0, 9_946.0, 1.272, 933.7),
        (16, 20_740.0, 4_953.0, 4.187, 2_029.5),
    ] {
        let figures =
            (value(level, "oracle ops", 0), value(level, "oracle batches", 0), value(level, "ops a batch", 3));
        assert_eq!(figures, (ops, batches, per_batch), "level {level}");
        assert_eq!(value(level, "read_ts", 1), wait, "level {level}");
        assert_eq!(quantity(window(level), "read_ts").count, Some(ops), "level {level}: its own count, one a query");
    }
}

#[test]
fn what_the_server_does_not_export_is_not_measured() {
    let absent = [
        ("tokio polls", "mz_tokio_worker_poll_count"),
        ("tokio forced yields", "mz_tokio_budget_forced_yield_count"),
        ("tokio steals", "mz_tokio_worker_steal_count"),
    ];
    for level in LEVELS {
        for (name, series) in absent {
            let quantity = quantity(window(level), name);
            assert_eq!((quantity.value, quantity.count, quantity.bounds), (None, None, None), "{level} {name}");
            let missing = quantity.missing.unwrap();
            assert!(missing.starts_with("absent: the server exports no series "), "{missing}");
            assert!(missing.contains(series), "{missing}");
        }
        let all = wireprof::analyze::cost::quantities::quantities(&preset(), window(level));
        let measured = all.iter().filter(|q| q.missing.is_none()).count();
        assert_eq!(measured, all.len() - absent.len(), "{level}: all else was measured");
        let note = format!("level {level}: the server exports no mz_tokio_worker_poll_count");
        assert!(run().manifest.notes.iter().any(|n| n.starts_with(&note)), "{:#?}", run().manifest.notes);
    }
}

#[test]
fn the_databases_own_time_hardly_moves() {
    for (level, calls, mean) in [(1, 7_618, 315.0), (4, 9_946, 382.3), (16, 4_953, 385.0)] {
        let statements = window(level).statements.as_ref().unwrap();
        let statement = statements.statement(READ_TS).unwrap();
        assert_eq!(rounded(statement.mean_exec().map(|ns| ns / 1000.0), 1), mean, "level {level}");
        assert_eq!((statement.calls, statement.plan), (calls, None), "level {level}");
    }
}

/// (level, peeks, us a peek, us read_ts, us inner read a batch)
const PEEKS: [(usize, f64, f64, f64, f64); 3] = [
    (1, 7_617.0, 489.4, 387.8, 384.2),
    (4, 12_652.0, 1_041.3, 933.7, 1_042.0),
    (16, 20_724.0, 2_153.9, 2_029.5, 2_153.6),
];

#[test]
fn nearly_every_peek_took_the_fast_path_and_most_of_it_was_read_ts() {
    for (level, peeks, peek, read_ts, inner) in PEEKS {
        assert_eq!(quantity(window(level), "peek").count, Some(peeks), "level {level}");
        assert!((0.999..1.0).contains(&value(level, "peeks a query", 6)), "level {level}");
        assert_eq!(
            (value(level, "peek", 1), value(level, "read_ts", 1), value(level, "inner read", 1)),
            (peek, read_ts, inner),
            "level {level}"
        );
    }
}

#[test]
fn a_quantile_is_the_bounds_of_its_bucket() {
    for (level, p50, p99) in [
        (1, (256.0, 512.0), (512.0, 1_000.0)),
        (4, (512.0, 1_000.0), (2_000.0, 4_000.0)),
        (16, (1_000.0, 2_000.0), (4_000.0, 8_000.0)),
    ] {
        let bounds = |name: &str| {
            let quantity = quantity(window(level), name);
            assert_eq!(quantity.value, None);
            let (lower, upper) = quantity.bounds.unwrap();
            (rounded(Some(lower), 3), rounded(Some(upper), 3))
        };
        assert_eq!((bounds("peek p50"), bounds("peek p99")), (p50, p99), "level {level}");
    }
}

#[test]
fn the_processors_are_accounted_to_the_server_and_to_the_database_behind_it() {
    use wireprof::target::Role;
    for (level, target, others) in
        [(1, 1_217_655_788, 2_550_000_000), (4, 1_910_626_700, 3_490_000_000), (16, 2_550_672_070, 1_860_000_000)]
    {
        let scheduler = window(level).scheduler.as_ref().unwrap();
        assert_eq!(
            (scheduler.cpu(Role::Target), scheduler.cpu(Role::Other)),
            (Some(target), Some(others)),
            "level {level}"
        );
        assert_eq!(scheduler.machine.as_ref().unwrap().cpus, 2);
    }
}

/// (level, samples, ns of CPU, ns of it in the planted work, ns of it in the oracle)
const STACKS: [(usize, u64, i64, i64, i64); 3] = [
    (1, 119, 597_989_875, 321_608_000, 25_125_625),
    (4, 187, 939_698_375, 603_015_000, 45_226_125),
    (16, 286, 1_437_185_750, 1_165_829_000, 5_025_125),
];

#[test]
fn the_stacks_keep_their_weight_their_samples_and_their_names() {
    for (level, samples, weight, planted, oracle) in STACKS {
        let window = window(level);
        let (profile, sampling) = (window.profile.as_ref().unwrap(), window.sampling.as_ref().unwrap());
        profile.check().unwrap();
        assert_eq!(profile.total(profile.column(&ColumnKind::Cpu).unwrap()), weight, "level {level}");
        assert_eq!(profile.total(profile.column(&ColumnKind::Samples).unwrap()), samples as i64, "level {level}");
        assert_eq!((sampling.samples, sampling.period), (samples, Some(5_025_125)), "level {level}");
        assert!(sampling.kernel_stacks && sampling.symbolized.unwrap() > 0.99);
        assert_eq!(weight_below(window, &["planted_", "::plant::"]), planted, "level {level}");
        assert_eq!(weight_below(window, &["timestamp_oracle"]), oracle, "level {level}");
    }
}

#[test]
fn costs_are_divided_by_the_queries_of_the_profiles_own_seconds() {
    for ((level, _, weight, ..), rate, cost) in
        [(STACKS[0], 1_904.5, 157.0), (STACKS[1], 3_164.0, 148.5), (STACKS[2], 5_185.0, 138.6)]
    {
        let window = window(level);
        assert_eq!(window.profile_span().seconds(), 2.0);
        let queries = window.queries_under_profile();
        assert!((queries - 2.0 * rate).abs() < 1e-6, "{queries}");
        assert_eq!(rounded(Some(weight as f64 / queries / 1000.0), 1), cost, "us of the server's CPU a query");
    }
}

#[test]
fn the_guards_say_what_the_recording_can_and_cannot_vouch_for() {
    use wireprof::analyze::judge::checks::check_window;
    use wireprof::check::Status;
    for (level, wanted) in [(1, &[][..]), (4, &["machine_busy"]), (16, &["machine_busy"])] {
        let checks = check_window(&preset(), &run().manifest, window(level));
        let tag = |check| serde_json::to_value(check).unwrap()["guard"].as_str().unwrap().to_string();
        let of = |status: fn(Status) -> bool| checks.iter().filter(move |g| status(g.status())).count();
        let fired: Vec<String> = checks.iter().filter(|g| g.status() >= Status::Warn).map(tag).collect();
        assert_eq!(fired, wanted, "level {level}");
        assert_eq!(of(|v| v == Status::NotMeasured), 7, "level {level}");
    }
}
