//! A stored run in other tools' formats, read again by other readers: each format's totals are the run's own, to the
//! nanosecond or to the sample, and what a format cannot hold is refused.

use crate::build;
use crate::cli::Place;
use crate::export_run::{CPU, ID, IN_HAND, OFF_CPU, exported, place, wire};
use crate::recordings;
use crate::rows::rows;
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use wireprof::clock::Span;
use wireprof::import::{Threads, read_folded};
use wireprof::run::WindowId;
use wireprof::run::pprof::{decode, decode_foreign};
use wireprof::wire::QueryTimeline;

fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut text).unwrap();
    text
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn numbers(value: &Value) -> impl Iterator<Item = f64> + '_ {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap())
}

#[test]
fn folded_stacks_sum_to_the_nanosecond_and_no_name_breaks_a_line() {
    let place = place();
    for (level, nanos) in CPU {
        let text = exported(&place, &["folded"], &format!("-L{level}.folded"));
        let again = read_folded(&text[..], Threads::First, "server", 42).unwrap();
        assert_eq!(again.profile.total(again.profile.columns.len() - 1), nanos, "level {level}");
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("worker-1;main;serve "), "{text}");
        assert!(text.contains(";read;tcp_recvmsg;flush "), "{text}");
        let full = exported(&place, &["folded", "--full-names"], &format!("-L{level}.folded"));
        assert!(String::from_utf8(full).unwrap().contains(";read;tcp_recvmsg;write: flush "));
    }
    let whole = |text: &[u8]| -> u64 {
        let weights = std::str::from_utf8(text).unwrap().lines().map(|line| line.rsplit_once(' ').unwrap().1);
        weights.map(|weight| weight.parse::<u64>().unwrap()).sum()
    };
    let off_cpu = exported(&place, &["folded", "--what", "off-cpu"], "-L16-off-cpu.folded");
    assert_eq!(whole(&off_cpu), 2 * OFF_CPU.iter().sum::<u64>());
    let text = String::from_utf8(off_cpu).unwrap();
    assert!(text.contains("worker-1;main;lock;[runnable] 2000006\n"), "{text}");
    let hands = exported(&place, &["folded", "--what", "hands"], "-L4-hands.folded");
    assert_eq!(whole(&hands), IN_HAND);
}

#[test]
fn pprof_has_every_sample_in_the_order_of_time() {
    let place = place();
    for (level, nanos) in CPU {
        let bytes = exported(&place, &["pprof"], &format!("-L{level}.pb.gz"));
        let again = decode(&bytes).unwrap();
        assert_eq!((again.total(0), again.total(1)), (nanos / 1_003_909, nanos));
        let times: Vec<u64> = again.samples.iter().map(|sample| sample.at.unwrap()).collect();
        assert!(times.is_sorted() && times.len() as i64 == nanos / 1_003_909, "{times:?}");
        assert!(decode_foreign(&gunzipped(&bytes)).unwrap().comments[0].contains(ID));
    }
    let off_cpu = exported(&place, &["pprof", "--what", "off-cpu"], "-L16-off-cpu.pb.gz");
    let off_cpu = decode(&off_cpu).unwrap();
    assert_eq!([off_cpu.total(1), off_cpu.total(2)], OFF_CPU.map(|nanos| 2 * nanos as i64));
    let hands = decode(&exported(&place, &["pprof", "--what", "hands"], "-L16-hands.pb.gz")).unwrap();
    assert_eq!(hands.total(0), 2 * IN_HAND as i64);
}

/// The weights of a speedscope file by what stands before the group in the profiles' names.
fn speedscope_weights(file: &Value) -> BTreeMap<String, u64> {
    let mut weights = BTreeMap::new();
    for profile in file["profiles"].as_array().unwrap() {
        let sum: u64 = profile["weights"].as_array().unwrap().iter().map(|weight| weight.as_u64().unwrap()).sum();
        assert_eq!((&profile["endValue"], &profile["unit"]), (&sum.into(), &"nanoseconds".into()));
        assert_eq!(profile["samples"].as_array().unwrap().len(), profile["weights"].as_array().unwrap().len());
        let (of, _) = profile["name"].as_str().unwrap().split_once(": ").unwrap();
        *weights.entry(of.to_string()).or_default() += sum;
    }
    weights
}

#[test]
fn speedscope_has_a_profile_for_each_level_and_group_of_threads() {
    let place = place();
    let file = json(&exported(&place, &["speedscope"], ".speedscope.json"));
    assert_eq!(
        speedscope_weights(&file),
        CPU.iter().map(|(level, nanos)| (format!("level {level}, CPU"), *nanos as u64)).collect()
    );
    assert_eq!(file["profiles"][0]["name"], "level 4, CPU: server, worker");
    let frames = file["shared"]["frames"].as_array().unwrap();
    let path = file["profiles"][0]["samples"][0].as_array().unwrap();
    let names: Vec<&str> =
        path.iter().map(|at| frames[at.as_u64().unwrap() as usize]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["main", "serve"], "the first in time, root first");
    assert_eq!(file["profiles"][0]["samples"][1].as_array().unwrap().len(), 5, "the second in time is number 37");
    let off_cpu = json(&exported(&place, &["speedscope", "--what", "off-cpu"], "-off-cpu.speedscope.json"));
    let weights = speedscope_weights(&off_cpu);
    assert_eq!([weights["level 4, blocked"], weights["level 4, runnable"]], OFF_CPU);
    assert_eq!([weights["level 16, blocked"], weights["level 16, runnable"]], OFF_CPU.map(|nanos| 2 * nanos));
}

/// The tables that the documented format demands of each thread: as long as they say, and without dangling indices.
fn check_structure(thread: &Value) {
    let length = |table: &str| thread[table]["length"].as_u64().unwrap();
    for (table, columns) in [
        ("samples", &["stack", "timeDeltas", "weight", "threadCPUDelta"][..]),
        ("markers", &["data", "name", "startTime", "endTime", "phase", "category"]),
        ("stackTable", &["frame", "prefix"]),
        ("frameTable", &["func", "category", "subcategory"]),
        ("funcTable", &["name"]),
    ] {
        for column in columns {
            let found = thread[table][column].as_array().unwrap_or_else(|| panic!("{table}.{column}"));
            assert_eq!(found.len() as u64, length(table), "{table}.{column}");
        }
    }
    let within = |table: &str, column: &str, of: u64| {
        let indices = thread[table][column].as_array().unwrap().iter().filter(|index| !index.is_null());
        assert!(indices.map(|index| index.as_u64().unwrap()).all(|index| index < of), "{table}.{column}");
    };
    within("samples", "stack", length("stackTable"));
    within("stackTable", "frame", length("frameTable"));
    within("stackTable", "prefix", length("stackTable"));
    within("frameTable", "func", length("funcTable"));
    within("funcTable", "name", thread["stringArray"].as_array().unwrap().len() as u64);
}

#[test]
fn firefox_has_each_sample_on_its_thread_and_each_traced_query_as_a_marker() {
    let place = place();
    let file = json(&gunzipped(&exported(&place, &["firefox"], ".firefox.json.gz")));
    assert_eq!(file["meta"]["preprocessedProfileVersion"], 55);
    let threads = file["threads"].as_array().unwrap();
    threads.iter().for_each(check_structure);
    let of = |process: &str, sum: fn(&Value) -> f64| -> f64 {
        threads.iter().filter(|thread| thread["processName"] == process).map(sum).sum()
    };
    for process in ["level 4: server", "level 16, replicate 1: server", "level 16, replicate 2: server"] {
        assert_eq!(of(process, |thread| numbers(&thread["samples"]["weight"]).sum()), 40.0);
        // Twenty samples a thread, in µs; what each has of a ns is carried to the next.
        assert_eq!(of(process, |thread| numbers(&thread["samples"]["threadCPUDelta"]).sum()), 2.0 * 20_078.0);
    }
    let worker = threads.iter().find(|thread| thread["name"] == "worker-1").unwrap();
    let deltas: Vec<f64> = numbers(&worker["samples"]["timeDeltas"]).collect();
    assert!((deltas.iter().sum::<f64>() - 3_800.000_006).abs() < 1e-6 && deltas.iter().all(|delta| *delta >= 0.0));
    let queries = threads.iter().filter(|thread| thread["name"] == "queries to the target, one in 2");
    for thread in queries.clone() {
        let markers = &thread["markers"];
        let spent = numbers(&markers["endTime"]).sum::<f64>() - numbers(&markers["startTime"]).sum::<f64>();
        let latencies: f64 =
            wire(Span::default()).hops[0].sample.as_ref().unwrap().queries.iter().map(|q| q.latency() as f64).sum();
        assert!((spent - latencies / 1e6).abs() < 1e-6, "{spent}");
        assert_eq!((&markers["length"], &markers["data"][7]["server"]), (&400.into(), &2.070_003.into()));
    }
    assert_eq!(queries.count(), 3);
    let throughput: Vec<&Value> =
        file["counters"].as_array().unwrap().iter().filter(|c| c["name"] == "throughput (queries/s)").collect();
    assert_eq!(throughput.len(), 3);
    let completed: f64 = numbers(&throughput[0]["samples"]["count"]).map(|rate| rate * 0.05).sum();
    assert!((completed - 1_000_000.0).abs() < 1e-3, "{completed}");
    // The viewer plots a value over the time since the sample before: slices are 50 ms.
    for counter in file["counters"].as_array().unwrap() {
        let samples = &counter["samples"];
        let figures: Vec<(f64, f64)> = numbers(&samples["count"]).zip(numbers(&samples["timeDeltas"])).collect();
        assert_eq!(figures[0].0, 0.0, "the viewer takes the first value for 0");
        let mut drawn = figures[1..].iter().filter(|(count, _)| *count > 0.0);
        assert!(drawn.all(|(_, delta)| (delta - 50.0).abs() < 1e-6), "{counter}");
    }
}

#[test]
fn chrome_has_each_traced_query_with_its_places_within_it() {
    let place = place();
    let file = json(&exported(&place, &["chrome"], ".trace.json"));
    let events = file["traceEvents"].as_array().unwrap();
    let lasting = |event: &Value| (event["dur"].as_f64().unwrap() * 1e3).round() as u64;
    let slices: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    let queries = || slices.iter().filter(|event| event["name"] == "query");
    let latencies: u64 =
        wire(Span::default()).hops[0].sample.as_ref().unwrap().queries.iter().map(QueryTimeline::latency).sum();
    assert_eq!((queries().count(), queries().map(|event| lasting(event)).sum::<u64>()), (1_200, 3 * latencies));
    let places = slices.iter().filter(|event| event["name"] != "query");
    assert_eq!(places.clone().map(|event| lasting(event)).sum::<u64>(), 3 * latencies, "places fill their query");
    assert!(places.clone().any(|event| event["name"] == "in the server's hands"));
    let first = slices.iter().position(|event| event["name"] == "query").unwrap();
    assert_eq!((&slices[first]["ts"], &slices[first + 1]["ts"]), (&0.001.into(), &0.001.into()));
    let counted: f64 = events
        .iter()
        .filter(|event| event["ph"] == "C" && event["name"] == "throughput (queries/s)")
        .map(|event| event["args"]["value"].as_f64().unwrap() * 0.05)
        .sum();
    assert!((counted - 3_000_000.0).abs() < 1e-2, "{counted}");
}

#[test]
fn tables_are_those_of_an_explanation() {
    let place = place();
    let explained = place.json(&["explain"]);
    assert_eq!(json(&exported(&place, &["json"], ".json")), explained);
    let csv = String::from_utf8(exported(&place, &["csv"], ".csv")).unwrap();
    let (head, lines) = csv.split_once("\r\n").unwrap();
    // No cell of this run has a line break.
    assert_eq!(lines.lines().count(), rows(&explained).len());
    let column = |name: &str| head.split(',').position(|column| column == name).unwrap();
    let throughput = lines.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let mut throughput = throughput.filter(|line| line[column("measure")] == "throughput");
    let first = throughput.next().unwrap();
    assert_eq!(["level", "value", "unit"].map(|name| first[column(name)]), ["4", "200000.0", "queries/s"]);
    let text = String::from_utf8(exported(&place, &["markdown"], ".md")).unwrap();
    let whole = place.done(&["explain", "--full", "--width", "500"]);
    let titles = text.lines().filter_map(|line| line.strip_prefix("## "));
    assert!(titles.clone().count() > 5 && titles.clone().all(|title| whole.contains(title)), "{text}");
}

#[test]
fn one_level_can_be_asked_for_and_goes_where_it_is_told() {
    let place = place();
    let out = place.run(&["export", "--format", "folded", "--level", "4", "-o", "-"]).stdout;
    assert_eq!(out, exported(&place, &["folded", "--level", "4"], "-L4.folded"));
    assert!(!place.path().join(format!("{ID}-L16.folded")).exists());
    let told = place.json(&["export", "--format", "firefox", "--level", "16", "-o", "here.gz"]);
    assert_eq!(told["pictures"][0]["path"], "here.gz");
    assert!(told["notes"][0]["text"].as_str().unwrap().contains("stored as sums by thread and stack"));
    let file = json(&gunzipped(&std::fs::read(place.path().join("here.gz")).unwrap()));
    let queries = |thread: &&Value| thread["markers"]["length"] == 400;
    assert_eq!(file["threads"].as_array().unwrap().iter().filter(queries).count(), 2);
    std::fs::create_dir(place.path().join("all")).unwrap();
    place.done(&["export", "--format", "pprof", "-o", "all"]);
    assert!(["4", "16"].iter().all(|level| place.path().join(format!("all/{ID}-L{level}.pb.gz")).is_file()));
}

#[test]
fn what_a_format_cannot_hold_is_a_usage_error_with_the_remedy() {
    let place = place();
    for (arguments, message) in [
        (&["--format", "firefox", "--what", "off-cpu"][..], "without times, and firefox shows times"),
        (&["--format", "csv", "--what", "cpu"], "--what chooses stacks"),
        (&["--format", "chrome", "--what", "hands"], "--format folded, pprof or speedscope has them"),
        (&["--format", "json", "--process", "postgres"], "the stacks of one process"),
        (&["--format", "folded", "--process", "postgres"], "none was (sweep --also NAME)"),
        (&["--format", "folded", "--level", "5"], "has no level 5; it has 4, 16"),
        (&["--format", "folded", "-o", "-"], "-o -: a file of --format folded holds one level, and the run has 4, 16"),
        (&["--format", "pprof", "-o", "x.pb.gz"], "choose one with --level"),
        (&["--format", "perf"], "invalid value 'perf'"),
        (&[], "--format <FORMAT>"),
    ] {
        let (code, error) = place.failed(&[&["export", "latest"], arguments].concat());
        assert!(code == 2 && error.contains(message), "{arguments:?}: {code}, {error}");
    }
    let bare = Place::holding({
        let mut run = build::run(vec![build::window(4, 1, 5, 1_000, None)]);
        run.manifest.order = vec![WindowId { level: 4, replicate: 1 }];
        run
    });
    for (what, message) in [
        ("cpu", "its windows were not sampled"),
        ("off-cpu", "its threads were not followed off CPU"),
        ("hands", "no stacks of this kind"),
    ] {
        let (code, error) = bare.failed(&["export", "--format", "folded", "--what", what]);
        assert!(code == 2 && error.contains(message), "{error}");
    }
}

#[test]
fn only_an_earlier_export_of_the_same_format_is_overwritten() {
    let place = place();
    let write = |format: &str| place.run(&["export", "--format", format, "--level", "4", "-o", "file"]);
    let path = place.path().join("file");
    let formats = ["folded", "pprof", "firefox", "speedscope", "chrome", "csv", "markdown", "json"];
    std::fs::write(&path, "a letter\n").unwrap();
    for (at, format) in formats.iter().enumerate() {
        let before = std::fs::read(&path).unwrap();
        let refused = write(format);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{format} over {}: {error}", formats[at.saturating_sub(1)]);
        assert!(error.contains("is no earlier export of this format"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::remove_file(&path).unwrap();
        assert!(write(format).status.success() && write(format).status.success(), "{format} twice");
    }
}

/// CPU of each level of a stored run, by its own stored profiles.
fn stored(directory: &Path) -> BTreeMap<usize, i64> {
    let mut sums = BTreeMap::new();
    let run = wireprof::run::Store::load_readable(directory, wireprof::run::Parts::ALL).unwrap();
    for window in run.windows {
        let profile = window.profile.unwrap();
        let cpu = profile.column(&wireprof::profile::ColumnKind::Cpu).unwrap();
        *sums.entry(window.facts.id.level).or_default() += profile.total(cpu);
    }
    sums
}

#[test]
fn a_recording_without_times_is_exported_whole_where_no_times_are_needed() {
    let place = place();
    let recording = recordings::testbed();
    let recording = recording.to_str().unwrap();
    place.run(&["import", recording, "--preset", "materialize", "--profile-seconds", "2", "--id", "imported"]);
    let directory: PathBuf = place.runs().join("imported");
    let sums = stored(&directory);
    assert_eq!(sums.len(), 3);
    place.done(&["export", "imported", "--format", "pprof"]);
    place.done(&["export", "imported", "--format", "speedscope"]);
    for (level, nanos) in &sums {
        let path = place.path().join(format!("imported-L{level}.pb.gz"));
        let again = decode(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(again.total(again.columns.len() - 1), *nanos);
    }
    let file = json(&std::fs::read(place.path().join("imported.speedscope.json")).unwrap());
    let expected = sums.iter().map(|(level, nanos)| (format!("level {level}, CPU"), *nanos as u64)).collect();
    assert_eq!(speedscope_weights(&file), expected);
    let (code, error) = place.failed(&["export", "imported", "--format", "firefox"]);
    assert!(code == 2 && error.contains("have no times"), "{error}");
}
