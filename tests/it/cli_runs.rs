//! Runs as things: what they are called, what the list tells of each, which of them go.

use crate::build::*;
use crate::cli::Place;
use crate::rows::{row, rows};
use serde_json::json;
use std::path::Path;
use wireprof::run::{Store, StoredVerdict, WindowId};

/// A run of one level besides the place's own.
fn another(place: &Place, id: &str, created: &str, name: Option<&str>) {
    let mut made = run(vec![window(4, 1, 5, 1_000_000, None)]);
    (made.manifest.id, made.manifest.created) = (id.into(), created.into());
    made.manifest.name = name.map(str::to_string);
    made.manifest.order = vec![WindowId { level: 4, replicate: 1 }];
    let mut writer = Store::new(place.runs()).create(made.manifest).unwrap();
    writer.write_window(&made.windows[0], None).unwrap();
    writer.finish("complete").unwrap();
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_is_found_by_the_beginning_of_its_id_its_name_or_how_many_came_after() {
    let place = Place::new();
    another(&place, "20261123-080000-testbed-strict_serializable", "2026-11-23T08:00:00Z", Some("base"));
    another(&place, "20261124-080000-testbed", "2026-11-24T08:00:00Z", Some("base"));
    let title = |reference: &str| place.done(&["runs", reference]).lines().next().unwrap().to_string();
    assert_eq!(title("20261123"), "Run 20261123-080000-testbed-strict_serializable (complete)");
    assert_eq!(title("latest~2"), "Run 20261122-101530-testbed (complete)");
    let output = place.run(&["runs", "base"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("Run 20261124-080000-testbed"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the newest of 2 runs of that name"));
    for (reference, message) in [
        ("2026112", "`2026112` could be 20261124-080000-testbed (base), 20261123-080000-testbed-strict"),
        ("latest~3", "has only 3 runs with a window"),
        ("nosuch", "no run `nosuch`"),
    ] {
        let (code, error) = place.failed(&["runs", reference]);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(message), "{error}");
    }
    for name in ["20261122", "latest", "a/b", "-x"] {
        let (code, error) = place.failed(&["sweep", "--testbed", &format!("--name={name}")]);
        assert!(code == 2 && error.contains("a name is a letter, then"), "{error}");
    }
}

#[test]
fn the_list_has_whole_ids_figures_and_verdicts_without_reading_profiles() {
    let place = Place::new();
    let long = "20261123-080000-testbed-strict_serializable";
    another(&place, long, "2026-11-23T08:00:00Z", Some("base"));
    let store = Store::new(place.runs());
    let words = "CPU saturated, 43 %".to_string();
    StoredVerdict { level: 16, words, tool: "wireprof".into() }
        .keep(&place.runs().join("20261122-101530-testbed"))
        .unwrap();
    // What the list does not read may be damaged.
    std::fs::write(place.runs().join("20261122-101530-testbed/L0016-R1/profile.pb.gz"), "x").unwrap();
    for width in ["60", "80", "140"] {
        let text = place.done(&["runs", "--width", width]);
        assert!(text.contains(long) && text.contains("CPU saturated, 43 %"), "{text}");
    }
    let list = place.json(&["runs"]);
    let of = |at: usize, measure: &str| row(rows(&list), &json!({"row": at, "measure": measure})).clone();
    let newest = of(0, "throughput");
    assert_eq!((&newest["run"], &newest["name"]), (&long.into(), &"base".into()));
    let summary = place.json(&["runs", long]);
    for measure in ["throughput", "mean_latency"] {
        assert_eq!(of(0, measure)["value"], row(rows(&summary), &json!({"measure": measure}))["value"], "{measure}");
    }
    let first = of(1, "throughput");
    assert_eq!(first["first_verdict"], "CPU saturated, 43 %");
    assert!(newest["not_told"]["first_verdict"].as_str().unwrap().contains("no finding is kept"), "{newest}");
    for key in ["run", "created", "preset", "levels", "ended"] {
        assert!(first.get(key).is_some(), "{key} was there before");
    }
    assert_eq!((of(1, "replicates")["unit"].clone(), of(1, "window")["unit"].clone()), ("1".into(), "s".into()));
    assert_eq!(store.list().unwrap().len(), 2);
}

#[test]
fn pruning_says_what_it_removes_and_asks_for_what_stays() {
    let place = Place::new();
    another(&place, "20261123-080000-testbed", "2026-11-23T08:00:00Z", Some("base"));
    another(&place, "20261124-080000-testbed", "2026-11-24T08:00:00Z", None);
    let (code, error) = place.failed(&["runs", "--prune"]);
    assert!(code == 2 && error.contains("say what stays, with --keep N"), "{error}");
    assert_eq!(place.failed(&["runs", "--keep", "1"]).0, 2, "--keep alone removes nothing");
    let would = place.done(&["runs", "--prune", "--keep", "1", "--dry-run"]);
    assert!(would.contains("20261122-101530-testbed") && would.contains("1 run with"), "{would}");
    assert!(would.contains("20261123-080000-testbed stays: it has a name, base"), "{would}");
    assert_eq!(files(&place.runs()).len(), 3);
    let removed = place.json(&["runs", "--prune", "--keep", "1"]);
    let bytes = row(rows(&removed), &json!({"measure": "bytes", "run": "20261122-101530-testbed", "unit": "B"}));
    assert!(bytes["value"].as_u64().unwrap() > 1_000, "{removed}");
    assert_eq!(files(&place.runs()), ["20261123-080000-testbed", "20261124-080000-testbed"]);
    let none = place.done(&["runs", "--prune", "--older-than", "36500d", "--named"]);
    assert!(none.contains("0 runs with 0.0 MB removed."), "{none}");
    place.done(&["runs", "--prune", "--keep", "0", "--named"]);
    assert!(files(&place.runs()).is_empty());
}

#[test]
fn a_damaged_window_costs_its_level_and_is_told_of() {
    let place = Place::new();
    let window = place.runs().join("20261122-101530-testbed/L0016-R1");
    std::fs::write(window.join("load.json"), "{").unwrap();
    let output = place.run(&["hot", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("is read without window L0016-R1") && told.contains("load.json is damaged"), "{told}");
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.contains("\"level\":1,") && !answer.contains("\"level\":16,"), "{answer}");
    assert!(place.done(&["runs", "latest"]).contains("Beware   Left out: window "));
    assert!(place.done(&["runs", "latest", "--full"]).contains("note: left out: window "));
    assert!(place.run(&["diff", "latest", "latest"]).status.code() == Some(0));
    let list = place.json(&["runs"]);
    let throughput = row(rows(&list), &json!({"measure": "throughput"}));
    assert!(throughput["missing"].as_str().unwrap().contains("load.json is damaged"), "{throughput}");
    std::fs::write(place.runs().join("20261122-101530-testbed/L0001-R1/load.json"), "{").unwrap();
    let (code, error) = place.failed(&["hot"]);
    assert!(code == 3 && error.contains("load.json is damaged"), "nothing can be read: {error}");
}

#[test]
fn a_run_that_cannot_be_read_is_listed_as_damaged_and_is_not_told_as_none() {
    let place = Place::new();
    let manifest = place.runs().join("20261122-101530-testbed/manifest.json");
    another(&place, "20261123-080000-testbed", "2026-11-23T08:00:00Z", None);
    std::fs::write(&manifest, "").unwrap();
    let listed = place.done(&["runs"]);
    let told = "1 run in runs cannot be read: 20261122-101530-testbed: the file is empty: copy the run again, whole";
    assert!(listed.contains("damaged: the file is empty") && listed.contains(told), "{listed}");
    let (code, error) = place.failed(&["explain", "20261122"]);
    assert!(code == 3 && error.contains(told), "{error}");
    let (code, error) = place.failed(&["explain", "20261122-101530-testbed"]);
    assert!(code == 3 && error.contains("manifest.json is damaged: the file is empty"), "{error}");
    std::fs::remove_dir_all(place.runs().join("20261123-080000-testbed")).unwrap();
    let (code, error) = place.failed(&["explain"]);
    assert!(code == 3 && error.contains(told), "{error}");
    assert_eq!(place.run(&["runs"]).status.code(), Some(3));
}

#[test]
fn a_directory_that_there_is_not_or_that_holds_runs_names_the_option() {
    let place = Place::new();
    for verb in ["runs", "explain"] {
        let (code, error) = place.failed(&[verb, "--runs", "nowhere"]);
        assert!(code == 2 && error.contains("there is no directory nowhere; --runs names another"), "{error}");
    }
    let (code, error) = place.failed(&["explain", "runs"]);
    assert!(code == 2 && error.contains("`wireprof explain --runs runs`"), "{error}");
    let (code, error) = place.failed(&["explain", "latest~5"]);
    let told = "there is no latest~5: runs has only 1 run with a window; `wireprof runs` lists all";
    assert!(code == 2 && error.contains(told), "{error}");
}

#[test]
fn a_window_that_is_gone_is_no_part_of_a_complete_run() {
    let place = Place::new();
    std::fs::remove_dir_all(place.runs().join("20261122-101530-testbed/L0016-R1")).unwrap();
    let answer = place.done(&["explain", "--brief"]);
    let told = "is gone from the run's directory: copy the run again, whole.";
    assert!(answer.starts_with("Run 20261122-101530-testbed (complete, 1 window unreadable)\n"), "{answer}");
    let beware = answer.lines().skip_while(|line| !line.starts_with("Beware   Left out: window "));
    let beware: Vec<&str> = beware.flat_map(str::split_whitespace).collect();
    assert!(beware.join(" ").contains(told), "{answer}");
    // A run that ended early never had the windows behind its last one.
    let store = Store::new(place.runs());
    let mut made = run(vec![window(1, 1, 5, 1_000_000, None)]);
    made.manifest.id = "20261123-080000-testbed".into();
    made.manifest.order = [1, 16].map(|level| WindowId { level, replicate: 1 }).to_vec();
    let mut writer = store.create(made.manifest).unwrap();
    writer.write_window(&made.windows[0], None).unwrap();
    writer.finish("cut short after 1 of 2 windows: interrupted").unwrap();
    let answer = place.done(&["explain", "20261123", "--brief"]);
    assert!(answer.contains("2 windows: interrupted)\n") && !answer.contains("Left out"), "{answer}");
}
