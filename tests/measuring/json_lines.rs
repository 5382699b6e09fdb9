//! Events as JSON lines of real measurements: each line is an object, they come in the order of the work, their figures
//! are those of the stored run, and the last line is the answer, also after Ctrl-C.

use crate::record::{CLIENTS, load, with_peeks};
use crate::sweeps::*;
use serde_json::{Value, json};
use wireprof::run::{Run, Store};
use wireprof::target::virtual_machine;

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
}

/// The kinds of events, without those whose number is the machine's.
fn kinds(lines: &[Value]) -> Vec<&str> {
    let kinds = lines.iter().map(|line| line["event"].as_str().unwrap());
    kinds.filter(|kind| !["check", "note"].contains(kind)).collect()
}

fn short(place: &Place, arguments: &[&str]) -> Answer {
    let own = ["--testbed", "--window", "2500ms", "--warmup", "100ms", "--no-follow", "--json-lines"];
    place.run(&[arguments, &own].concat())
}

/// The plan of 5.2 s has time for six pairs of slices in the first warm-up, and all windows have what they showed.
fn assert_interrupts_were_measured(run: &Run) {
    let chosen: Vec<_> = run.windows.iter().map(|window| window.sampling.as_ref().unwrap().chosen.clone()).collect();
    let first = chosen[0].clone().expect("why so often");
    assert!(chosen.iter().all(|chosen| chosen.as_ref() == Some(&first)), "{chosen:?}");
    if virtual_machine() == Some(false) {
        return assert!(first.target.is_none() && first.unmeasured.is_some(), "{first:?}");
    }
    let Some(target) = first.target else {
        // On a machine that others keep busy a slice can be without a query.
        let why = first.unmeasured.expect("a reason");
        return assert!(why.contains("queries were completed in a slice") || why.contains("too few slices"), "{why}");
    };
    assert_eq!((target.pairs, target.level), (6, run.manifest.order[0].level));
    assert!(target.low <= target.nanos && target.nanos <= target.high, "{target:?}");
    // An interrupt cannot take more than the time between two.
    assert!(target.high * target.frequency < 1e9 && (900.0..=997.0).contains(&target.frequency), "{target:?}");
}

#[test]
fn a_sweep_tells_its_windows_as_they_are_and_ends_with_the_answer_that_brief_has() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let answer = short(&place, &["sweep", "--levels", "1,4"]);
    let (lines, run) = (objects(&answer.out), place.the_run());
    assert_eq!(answer.code, code_of(std::slice::from_ref(&run)), "{}", answer.err);
    let of_window = ["window_start", "progress", "window"];
    assert_eq!(kinds(&lines), [&["start"], &of_window[..], &of_window, &["end"]].concat());
    assert_interrupts_were_measured(&run);
    let start = &lines[0];
    assert_eq!(
        (&start["levels"], &start["windows"], &start["window_seconds"]),
        (&json!([1, 4]), &json!(2), &json!(2.5))
    );
    assert!(start["expected_seconds"].as_f64().unwrap() > 5.0, "{start}");
    assert!(lines.is_sorted_by_key(|line| line["seconds"].as_f64().unwrap()), "{lines:?}");
    for told in lines.iter().filter(|line| line["event"] == "window") {
        let window = run.windows.iter().find(|window| json!(window.id().level) == told["level"]).unwrap();
        assert_eq!((&told["run"], &told["queries"]), (&json!(run.manifest.id), &json!(window.load.completed)));
        let mean = told["mean_seconds"].as_f64().unwrap() / (window.load.mean_latency().unwrap() / 1e9);
        assert!((mean - 1.0).abs() < 1e-9, "{told}");
        let broken = lines.iter().filter(|line| line["event"] == "check" && line["level"] == told["level"]).count();
        let stored = window.checks.iter().filter(|check| check.remedy().is_some()).count();
        assert_eq!(broken, stored, "{lines:?}");
    }
    let second = lines.iter().find(|line| line["event"] == "progress" && line["level"] == 4).unwrap();
    let rate = second["queries_per_second"].as_f64().unwrap();
    let whole = run.windows.iter().find(|window| window.id().level == 4).unwrap().load.throughput();
    assert!((0.5..2.0).contains(&(rate / whole)), "{rate} of {whole}");
    let end = lines.last().unwrap();
    assert_eq!((&end["exit_code"], &end["runs"]), (&json!(answer.code), &json!([run.manifest.id])));
    let brief: Value = serde_json::from_str(&place.run(&["runs", "latest", "--brief", "--json"]).out).unwrap();
    assert_eq!((&end["answer"], &end["schema"], end.get("error")), (&brief["answer"], &brief["schema"], None));
}

#[test]
fn after_an_interrupt_the_last_line_has_the_answer_and_the_error() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let sweep = ["sweep", "--testbed", "--levels", "1,2", "--window", "1s", "--warmup", "100ms"];
    let mut running = Running::start(place.command(&[&sweep[..], &["--no-follow", "--json-lines"]].concat()));
    running.await_line("[1/2]");
    signal(running.id(), "-INT");
    let answer = running.finish();
    answer.assert(1, &["interrupted; the finished window is kept"]);
    let lines = objects(&answer.out);
    let end = lines.last().unwrap();
    assert_eq!(
        (&end["event"], &end["exit_code"], &end["error"]["kind"]),
        (&json!("end"), &json!(1), &json!("broken_off"))
    );
    assert_eq!(end["answer"]["windows"], 1, "{end}");
    assert_eq!(end["runs"], json!([place.the_run().manifest.id]));
}

#[test]
fn a_comparison_says_which_side_a_window_is_of_and_ends_with_the_headline() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let answer = short(&place, &["compare", "--aa", "--levels", "1", "--max-replicates", "2"]);
    let lines = objects(&answer.out);
    let end = lines.last().unwrap();
    assert_eq!((&lines[0]["at_most"], &lines[0]["windows"]), (&json!(true), &json!(4)));
    let sides = lines.iter().filter(|line| line["event"] == "window").map(|line| line["side"].as_str().unwrap());
    let mut sides: Vec<&str> = sides.collect();
    sides.sort_unstable();
    assert_eq!(sides, ["A", "A", "A-again", "A-again"], "{lines:?}");
    assert_eq!(end["runs"].as_array().unwrap().len(), Store::new(place.runs()).list().unwrap().len());
    assert_eq!((&end["event"], &end["exit_code"]), (&json!("end"), &json!(answer.code)));
    assert_eq!(end["answer"]["levels"][0]["level"], 1, "{end}");
}

#[test]
fn a_recording_tells_the_level_that_it_found() {
    let Some(testbed) = with_peeks() else { return };
    let (place, ready) = (Place::new(), &testbed.ready);
    let _load = load(&ready.sql, "select * from t");
    let record = ["record", "--preset", "testbed", "--url", &ready.sql, "--metrics-url", &ready.metrics];
    let answer = place.run(&[&record[..], &["--window", "2s", "--json-lines"]].concat());
    let lines = objects(&answer.out);
    assert_eq!(kinds(&lines), ["start", "window_start", "progress", "window", "end"], "{}", answer.err);
    assert_eq!((&lines[0]["levels"], &lines[1]["level"]), (&json!([]), &json!(CLIENTS)));
    let window = lines.iter().find(|line| line["event"] == "window").unwrap();
    assert!(window["mean_seconds"].is_null(), "nobody tells the latency: {window}");
    assert!(window["missing"].as_array().unwrap().iter().any(|lacking| lacking["what"] == "latency"), "{window}");
    assert_eq!(lines.last().unwrap()["exit_code"], json!(answer.code));
}

#[test]
fn the_one_object_of_what_measures_is_as_the_schema_says() {
    if !has_testbed() {
        return;
    }
    let short = ["--testbed", "--levels", "1", "--window", "600ms", "--warmup", "100ms", "--json"];
    for (verb, own) in [("sweep", &["--no-follow"][..]), ("compare", &["--aa", "--max-replicates", "2"])] {
        let place = Place::new();
        let told = place.run(&[&[verb], &short[..], own].concat());
        let answer = crate::schema::answer(&told.out);
        assert_eq!(
            (&answer["verb"], answer["rows"].as_array().unwrap().is_empty()),
            (&verb.into(), false),
            "{}",
            told.err
        );
        let runs = answer["runs"].as_array().unwrap();
        assert!(
            !runs.is_empty() && runs.iter().all(|run| place.runs().join(run.as_str().unwrap()).exists()),
            "{runs:?}"
        );
    }
}
