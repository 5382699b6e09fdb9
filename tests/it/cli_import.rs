//! Recordings of a real server through the command line: imported, stored, and read again by the other verbs with the
//! figures that the files hold.

use crate::recordings;
use crate::rows::{self, figure, row};
use crate::sweeps::Place;
use serde_json::{Value, json};
use std::path::Path;
use wireprof::run::Store;

/// Standard output of a verb that reads; no line may be wider than asked.
fn read(place: &Place, arguments: &[&str]) -> String {
    let answer = place.run(&[arguments, &["--width", "120"]].concat());
    answer.assert(0, &[]);
    let wide = answer.out.lines().find(|line| line.chars().count() > 120);
    assert_eq!(wide, None, "{arguments:?}");
    answer.out
}

/// Its rows.
fn rows(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let answer = place.run(&[arguments, &["--json"]].concat());
    answer.assert(0, &[]);
    let report: Value = serde_json::from_str(&answer.out).unwrap();
    rows::rows(&report).to_vec()
}

/// What a query costs in a frame, in µs.
fn cost(rows: &[Value], frame: &str, level: usize) -> f64 {
    figure(rows, &json!({"measure": "cost", "frame": frame, "level": level})) * 1e6
}

fn import(place: &Place, recorded: &Path, table: &str) {
    let directory = recorded.join(table).display().to_string();
    let import =
        ["import", &directory, "--preset", "materialize", "--profile-seconds", "15", "--width", "120", "--full"];
    let answer = place.run(&import);
    // A level of each fails the check of the generator's gap, which the exit code tells. The run is stored all the
    // same.
    answer.assert(1, &[]);
    let gap = if table == "t" { "0.04 of 1" } else { "2.03 of 16" };
    assert!(answer.out.contains(&format!("FAIL          {gap}")), "{}", answer.out);
    assert_eq!(answer.out.contains("other   clusterd"), table == "bench", "the processes beside that were recorded");
    // Commands to be copied are not cut, so only tables are bounded: no line of theirs begins at a word.
    let tables = answer.out.split("== Measured with ==").next().unwrap();
    assert_eq!(tables.lines().find(|line| line.chars().count() > 120), None);
    let again = place.run(&import);
    again.assert(2, &["there is a run 20261122-", "name this one with --id, or remove that one"]);
}

/// What was never observed in environmentd.
const UNOBSERVED: [&str; 4] = ["batch wait", "get_connection", "prepare_cached", "query_one"];

/// (level, read_ts in us, its count, ops a batch); and the quantities that are not measured, with how the reason
/// starts.
fn assert_figures(place: &Place, levels: [(usize, f64, u64, f64); 3], absent: &[&str], reason: &str) {
    let found = rows(place, &["metrics"]);
    for (level, read_ts, calls, per_batch) in levels {
        let of = |name: &str| json!({"quantity": name, "measure": "value", "level": level});
        let number = |name: &str| figure(&found, &of(name));
        assert!((number("read_ts") * 1e6 - read_ts).abs() < 0.05, "level {level}: {}", number("read_ts"));
        assert_eq!(number("read_ts calls"), calls as f64);
        assert!((number("ops a batch") - per_batch).abs() < 0.0005, "level {level}: {}", number("ops a batch"));
        for name in absent {
            let row = row(&found, &of(name));
            assert_eq!(row["value"], Value::Null, "{name} at level {level}");
            let why = row["missing"].as_str().unwrap();
            assert!(why.starts_with(reason), "{why}");
        }
    }
    assert!(read(place, &["metrics"]).contains("not measured"));
}

/// How many pictures there are, of everything and the preset's foci at three levels.
fn pictures(place: &Place) -> usize {
    read(place, &["flamegraph"]);
    let store = Store::new(place.runs());
    let folder = store.find("latest").unwrap().join("flamegraphs");
    let mut pictures = 0;
    for entry in folder.read_dir().unwrap().map(Result::unwrap) {
        let size = entry.metadata().unwrap().len();
        assert!((1_000..3_000_000).contains(&size), "{}: {size} bytes", entry.path().display());
        pictures += usize::from(entry.path().extension().is_some_and(|extension| extension == "svg"));
    }
    pictures
}

#[test]
fn the_recorded_table_t_becomes_a_run_that_every_verb_reads() {
    imported("t", [(1, 243.0, 41_144, 1.000), (16, 2_040.2, 102_269, 2.589), (64, 5_276.6, 154_964, 8.378)]);
}

#[test]
fn the_recorded_table_bench_becomes_a_run_that_every_verb_reads() {
    imported("bench", [(1, 446.2, 9_955, 1.000), (16, 2_763.6, 18_735, 2.146), (64, 7_569.6, 35_588, 5.516)]);
}

fn imported(table: &str, levels: [(usize, f64, u64, f64); 3]) {
    let Some(recorded) = recordings::environmentd() else { return };
    let place = Place::new();
    import(&place, &recorded, table);
    let reason = "registered, never observed in the window: mz_ts_oracle_";
    assert_figures(&place, levels, &UNOBSERVED, reason);
    let peek = rows(&place, &["hot", "--focus", "peek", "--by", "total"]);
    for level in [1, 16, 64] {
        let (all, outside) = (cost(&peek, "[all sampled]", level), cost(&peek, "[outside focus]", level));
        let share = 1.0 - outside / all;
        // As the recording's own description has it: 8-10 % of `t`, 4-6 % of `bench`.
        let expected = if table == "t" { 0.075..0.105 } else { 0.035..0.065 };
        assert!(expected.contains(&share), "{table} {level}: {share:.3} within the focus");
    }
    // Names run to kilobytes; text shows them short, JSON in full.
    let longest = peek.iter().filter_map(|row| row["frame"].as_str()).map(str::len).max().unwrap();
    assert!(longest > 1_000, "{longest}");
    assert!(read(&place, &["hot", "--focus", "peek", "--by", "total"]).contains("try_frontend_peek_cached"));
    let whole = row(&peek, &json!({"row": 3}))["frame"].as_str().unwrap();
    let full = read(&place, &["hot", "--focus", "peek", "--by", "total", "--full-names"]);
    assert!(full.contains(&whole[..20]), "{whole} in\n{full}");
    read(&place, &["runs"]);
    // Everything and six foci at three levels, but for foci that nothing was sampled in.
    assert!((12..=21).contains(&pictures(&place)));
}

#[test]
fn the_recording_of_the_testbed_becomes_a_run_that_every_verb_reads() {
    let place = Place::new();
    let directory = recordings::testbed().display().to_string();
    let import =
        ["import", &directory, "--preset", "materialize", "--profile-seconds", "2", "--width", "120", "--full"];
    let answer = place.run(&import);
    answer.assert(0, &[]);
    assert!(answer.out.contains("other   postgres"), "{}", answer.out);
    place.run(&import).assert(2, &["there is a run 20261129-", "name this one with --id, or remove that one"]);
    let levels = [(1, 387.8, 7_618, 1.0), (4, 933.7, 12_656, 1.272), (16, 2_029.5, 20_740, 4.187)];
    let absent = ["tokio polls", "tokio forced yields", "tokio steals"];
    assert_figures(&place, levels, &absent, "absent: the server exports no series mz_tokio_");
    let found = rows(&place, &["hot", "--focus", "planted_|::plant::", "--by", "total"]);
    // ns of CPU in the planted work and in all, and the queries of the 2 s, from the files.
    for (level, planted, all, queries) in [
        (1, 321_608_000.0, 597_989_875.0, 3_809.0),
        (4, 603_015_000.0, 939_698_375.0, 6_328.0),
        (16, 1_165_829_000.0, 1_437_185_750.0, 10_370.0),
    ] {
        let cost = |name: &str| cost(&found, name, level);
        let wanted = |ns: f64| ns / queries / 1000.0;
        assert!((cost("[all sampled]") - wanted(all)).abs() < 1e-6, "level {level}");
        assert!((cost("[outside focus]") - wanted(all - planted)).abs() < 1e-6, "level {level}");
    }
    assert!(read(&place, &["hot", "--by", "total"]).contains("planted_peek_work"));
    read(&place, &["runs"]);
    assert_eq!(pictures(&place), 10);
}

/// The largest recorded file, 152 MB of text. The bounds are CPU time, because other tests run beside this one;
/// on an idle machine it takes a sixth of them, and a tenth of the memory.
#[test]
fn a_large_recorded_file_is_imported_and_drawn_in_5_seconds_of_cpu_and_500_megabytes() {
    let Some(recorded) = recordings::environmentd() else { return };
    is_imported_and_drawn_within_limits(&recorded.join("bench/c64"), "15");
}

#[test]
fn the_testbeds_recording_is_imported_and_drawn_in_5_seconds_of_cpu_and_500_megabytes() {
    is_imported_and_drawn_within_limits(&recordings::testbed().join("c16"), "2");
}

fn is_imported_and_drawn_within_limits(recorded: &Path, profile_seconds: &str) {
    let place = Place::new();
    let level = place.path().join("one");
    std::fs::create_dir(&level).unwrap();
    let name = recorded.file_name().unwrap();
    std::os::unix::fs::symlink(recorded.canonicalize().unwrap(), level.join(name)).unwrap();
    let import = ["import", "one", "--preset", "materialize", "--profile-seconds", profile_seconds];
    for (seconds, verb) in [(2, &import[..]), (1, &["hot"]), (2, &["flamegraph"])] {
        // The shell limits CPU time and all memory that is reserved (in KiB), and becomes the process.
        let limits = format!("ulimit -t {seconds}; ulimit -v 488281; exec \"$0\" \"$@\"");
        let verb = place.command(verb);
        let mut limited = std::process::Command::new("sh");
        limited.arg("-c").arg(limits).arg(verb.get_program()).args(verb.get_args()).current_dir(place.path());
        let output = limited.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{verb:?}: {}: {errors}", output.status);
    }
}

#[test]
fn what_is_no_recording_is_usage_and_what_is_damaged_is_named() {
    let place = Place::new();
    place
        .run(&["import", "nosuch"])
        .assert(2, &["nosuch does not exist: give a profile, or a directory of recordings (c1, c16, ...)"]);
    place.run(&["import", "."]).assert(2, &["holds no directory cN (c1, c16, ...), one per level"]);
    place.run(&["import", ".", "--profile-seconds", "0"]).assert(2, &["is no length of time; write 15 or 15s"]);
    place.run(&["import", ".", "--weights", "ns"]).assert(2, &["--weights is of a profile, and . is a directory"]);
    place.run(&["import", ".", "--id", "../x"]).assert(2, &["an id names a directory"]);
    let level = place.path().join("c4");
    std::fs::create_dir(&level).unwrap();
    place.run(&["import", "."]).assert(3, &["c4: dbbench.txt is not there: without it no query is counted"]);
    std::fs::write(level.join("dbbench.txt"), "Connected\n").unwrap();
    place.run(&["import", "."]).assert(3, &["c4: dbbench.txt: dbbench printed no result; its last lines: Connected"]);
    let result = "a: 0 transactions (0.0 TPS), latency 0s±0s; 0 rows (0.0 RPS), 0 queries (0.0 QPS); 0 aborts (0.0%)\n";
    std::fs::write(level.join("dbbench.txt"), result).unwrap();
    place.run(&["import", "."]).assert(3, &["job a completed no transaction, so there is nothing to divide by"]);
    place.assert_no_run();
    let result =
        "a: 10 transactions (5.0 TPS), latency 800ms±1ms; 10 rows (5.0 RPS), 10 queries (5.0 QPS); 0 aborts (0.0%)\n";
    std::fs::write(level.join("dbbench.txt"), result).unwrap();
    let answer = place.run(&["import", ".", "--id", "mine"]);
    assert_eq!(answer.code, 0, "{}{}", answer.out, answer.err);
    let run = place.the_run();
    assert_eq!((run.manifest.id.as_str(), run.windows[0].load.completed), ("mine", 10));
    let missing: Vec<&str> = run.windows[0].facts.missing.iter().map(|m| m.what.as_str()).collect();
    for part in ["metrics", "profile", "statements", "scheduler", "times"] {
        assert!(missing.contains(&part), "{missing:?}");
    }
}
