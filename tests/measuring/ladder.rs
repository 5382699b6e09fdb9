//! A ladder by the real binaries: every rung is a run of its own, taken by turns, of the statement and the session
//! that the preset says. Windows are too short for any figure but the order of the whole: an empty query costs less
//! than the workload.

use crate::rows::{having, rows};
use crate::sweeps::*;
use wireprof::run::{Run, Store};

const SHORT: [&str; 8] = ["--levels", "1", "--window", "500ms", "--warmup", "100ms", "--replicates", "2"];

/// The rungs, from the bottom.
fn rungs(place: &Place) -> Vec<Run> {
    let store = Store::new(place.runs());
    let mut runs: Vec<Run> = store.list().unwrap().iter().map(|manifest| store.load(&manifest.id).unwrap()).collect();
    runs.sort_by_key(|run| run.manifest.side.as_ref().unwrap().letter);
    runs
}

#[test]
fn every_rung_is_a_run_of_its_own_taken_by_turns_and_tied_to_the_one_below() {
    if !has_testbed() {
        return;
    }
    let place = Place::new();
    let answer = place.run(&[&["ladder", "--testbed", "--seed", "1", "--follow", "500ms"][..], &SHORT].concat());
    let runs = rungs(&place);
    let followed = |run: &Run| run.windows.iter().filter(|window| window.hands.is_some()).count();
    assert!(!is_root() || runs.iter().all(|run| followed(run) == 1), "the first window of each rung");
    answer.assert_measured("Run ", &runs);
    let [of_answer, of_table] = ["\nWhy ", "\nLadder of 4 rungs"].map(|begins| answer.out.find(begins).unwrap());
    assert!(of_answer < of_table, "{}", answer.out);
    let sides: Vec<_> = runs.iter().map(|run| run.manifest.side.clone().unwrap()).collect();
    let names: Vec<&str> = sides.iter().map(|side| side.name.as_str()).collect();
    assert_eq!(names, ["empty query", "select 1", "serializable", "strict serializable"]);
    let statements: Vec<&[String]> = runs.iter().map(|run| run.manifest.workload.statements.as_slice()).collect();
    assert_eq!(
        statements,
        [&["".to_string()][..], &["select 1".into()], &["select * from t".into()], &["select * from t".into()]]
    );
    assert_eq!(sides[2].setup, ["session: SET transaction_isolation = 'serializable'"]);
    assert!(sides[0].ladder.is_some() && sides.iter().all(|side| side.ladder == sides[0].ladder));
    assert_eq!(sides[0].partner, "");
    assert!(sides[1..].iter().zip(&runs).all(|(side, below)| side.partner == below.manifest.id));
    let mut windows: Vec<(u64, char)> = runs
        .iter()
        .flat_map(|run| run.windows.iter().map(|w| (w.facts.span.start, run.manifest.side.as_ref().unwrap().letter)))
        .collect();
    windows.sort_unstable();
    let order: String = windows.iter().map(|(_, letter)| letter).collect();
    let (first, second) = order.split_at(4);
    assert_eq!((order.len(), first.chars().rev().collect::<String>().as_str()), (8, second));
    assert_eq!(order, sides[0].turns);
    let pids: std::collections::BTreeSet<_> = runs.iter().map(|run| run.manifest.target.pid).collect();
    assert_eq!(pids.len(), 1, "one process of the server");
    // The empty query is answered without a row, and is counted.
    let empty = &runs[0].windows[0].load;
    assert!(empty.completed > 0 && empty.rows == 0 && empty.errors.is_empty(), "{empty:?}");
    // Others may have the CPUs in a window: the better one of each counts.
    let latency = |run: &Run| run.windows.iter().map(|window| window.load.mean_latency().unwrap()).reduce(f64::min);
    assert!(latency(&runs[0]) < latency(&runs[3]), "{:?} {:?}", latency(&runs[0]), latency(&runs[3]));
    let json = place
        .run(&[&["ladder", "--testbed", "--json", "--query", "select 1", "--preset", "generic"][..], &SHORT].concat());
    let report = crate::schema::answer(&json.out);
    let steps = having(rows(&report), &serde_json::json!({"measure": "latency_step"}));
    assert!(steps.len() == 2 && steps.iter().all(|step| step["row"] != 0 && step["low"].is_f64()), "{steps:?}");
}

#[test]
fn a_preset_without_a_ladder_and_what_belongs_to_a_sweep_are_refused_before_anything_is_started() {
    let place = Place::new();
    let preset = place.path().join("bare.toml");
    std::fs::write(&preset, "description = \"bare\"\n[workload]\nquery = \"select 1\"\n").unwrap();
    let url = ["ladder", "--url", "postgres://a@127.0.0.1:1/a"];
    place.run(&[&url[..], &["--preset", preset.to_str().unwrap()]].concat()).assert(2, &["bare has no ladder"]);
    place.run(&[&url[..], &["--observer-cost"]].concat()).assert(2, &["wireprof sweep --observer-cost"]);
    place.assert_no_run();
}
