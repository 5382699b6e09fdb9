//! What was not measured is never 0: each instrument is taken away in turn, from a stored run and while measuring, and
//! no verb's answer may have a zero that the whole run's has not. Invariant: the answers compared are of the same run.

use crate::skip::skip;
use crate::sweeps::*;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Every verb that reads a run, as JSON.
const VERBS: [&[&str]; 9] = [
    &["runs"],
    &["explain"],
    &["diagnose"],
    &["hot"],
    &["hot", "--by", "total"],
    &["hot", "--off-cpu", "blocked"],
    &["statements"],
    &["metrics"],
    &["diff"],
];

static FIGURE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[0-9][0-9.,]*").unwrap());
static ZERO: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[\s(<+])0(?:\.0+)?(?:$|[\s);:%]|[.,](?:\s|$))").unwrap());

/// Where the answer has a zero: the names on the way to it.
type Zeros = BTreeSet<String>;

/// The zeros of an answer, in its figures and in its sentences.
fn zeros(value: &Value, path: &str, found: &mut Zeros) {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => _ = found.insert(path.into()),
        Value::String(text) => found.extend(said(text).into_iter().map(|text| format!("{path}: {text}"))),
        Value::Array(items) => items.iter().for_each(|item| zeros(item, &format!("{path}/{}", name(item)), found)),
        Value::Object(fields) => {
            // The lower end of an interval is no measured figure.
            for (key, field) in
                fields.iter().filter(|(key, _)| !["missing", "not_told", "low", "row"].contains(&key.as_str()))
            {
                zeros(field, &format!("{path}/{key}"), found);
            }
        }
        _ => {}
    }
}

/// What an item of a list is called: by what it is of, which stays when figures go.
fn name(item: &Value) -> String {
    const IDENTITIES: [&str; 14] = [
        "section",
        "table",
        "measure",
        "frame",
        "place",
        "role",
        "process",
        "resource",
        "what",
        "cause",
        "name",
        "quantity",
        "statement",
        "node",
    ];
    let named: Vec<String> =
        IDENTITIES.iter().filter_map(|key| Some(without_figures(item.get(key)?.as_str()?))).collect();
    let level = || item.get("level").filter(|level| level.is_number()).map(|level| format!("level {level}"));
    if named.is_empty() { level().unwrap_or_default() } else { named.join(",") }
}

fn without_figures(text: &str) -> String {
    FIGURE.replace_all(text, "#").into_owned()
}

/// The zeros that a sentence says, each with the words beside it.
fn said(text: &str) -> Vec<String> {
    let beside = |found: regex::Match| {
        let before: Vec<&str> = text[..found.start()].split_whitespace().rev().take(2).collect();
        let after: Vec<&str> = text[found.end()..].split_whitespace().take(2).collect();
        without_figures(&[before, vec!["0"], after].concat().join(" "))
    };
    ZERO.find_iter(text).map(beside).collect()
}

/// The zeros of every verb; a verb that refuses says why, and that is no zero.
fn answers(place: &Place, run: &Path, whole: Option<&Path>) -> Zeros {
    let mut found = Zeros::new();
    for verb in VERBS {
        let run = run.to_str().unwrap();
        let mut arguments = vec![verb[0], run];
        arguments.extend(
            whole
                .filter(|_| verb[0] == "diff")
                .map(|whole| whole.to_str().unwrap())
                .or((verb[0] == "diff").then_some(run)),
        );
        arguments.extend(&verb[1..]);
        arguments.push("--json");
        let answer = place.run(&arguments);
        assert!((0..=3).contains(&answer.code) && !answer.err.contains("panicked"), "{arguments:?}: {}", answer.err);
        let Ok(value) = serde_json::from_str::<Value>(&answer.out) else { continue };
        zeros(&value, verb[0], &mut found);
    }
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => _ = std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap(),
        }
    }
}

fn windows(run: &Path) -> Vec<PathBuf> {
    let entries = run.read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.join("window.json").exists()).collect()
}

/// Changes a JSON file of every window.
fn edit(run: &Path, file: &str, change: &dyn Fn(&mut Value)) {
    for path in windows(run).into_iter().map(|window| window.join(file)).filter(|path| path.exists()) {
        let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(&path, serde_json::to_vec(&value).unwrap()).unwrap();
    }
}

/// Files that a window can do without.
const FILES: [&str; 14] = [
    "guards.json",
    "latency.hdr",
    "metrics-before.prom.gz",
    "metrics-series.prom",
    "offcpu.json",
    "offcpu.pb.gz",
    "profile.pb.gz",
    "sampling.json",
    "scheduler.json",
    "statements.json",
    "timelines.json.gz",
    "wire.json",
    "beside.json",
    "beside-1.pb.gz",
];

/// One instrument or figure that is taken away.
type Removal = (String, Box<dyn Fn(&Path)>);

fn removals(run: &Path) -> Vec<Removal> {
    let mut all: Vec<Removal> = Vec::new();
    for file in FILES {
        let remove = move |run: &Path| {
            for window in windows(run) {
                // A part that this host could not measure is gone already.
                let _ = std::fs::remove_file(window.join(file));
            }
        };
        all.push((file.into(), Box::new(remove)));
    }
    for role in ["target", "generator", "profiler", "other"] {
        let drop_role = move |value: &mut Value| {
            value["threads"].as_array_mut().unwrap().retain(|thread| thread["role"] != role);
        };
        all.push((format!("threads of role {role}"), Box::new(move |run| edit(run, "scheduler.json", &drop_role))));
    }
    for (file, field) in fields(run) {
        let (at, of) = (field.clone(), file.clone());
        let clear = move |value: &mut Value| *value.pointer_mut(&at).unwrap() = Value::Null;
        all.push((format!("{file}{field}"), Box::new(move |run| edit(run, &of, &clear))));
    }
    all
}

/// Fields of the windows' JSON files that may be null, as the run itself shows by reading without them.
fn fields(run: &Path) -> Vec<(String, String)> {
    let first = windows(run).remove(0);
    let mut found = Vec::new();
    for file in
        ["load.json", "scheduler.json", "window.json", "sampling.json", "offcpu.json", "statements.json", "wire.json"]
    {
        let Ok(bytes) = std::fs::read(first.join(file)) else { continue };
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let mut pointers = Vec::new();
        for (key, field) in value.as_object().unwrap() {
            pointers.push(format!("/{key}"));
            let nested = field.as_object().into_iter().flatten();
            pointers.extend(nested.map(|(inner, _)| format!("/{key}/{inner}")));
        }
        found.extend(pointers.into_iter().map(|pointer| (file.to_string(), pointer)));
    }
    found
}

/// A run of the testbed with all that this host can measure.
fn whole(place: &Place) -> Option<PathBuf> {
    if !is_root() {
        skip("without root most instruments are not there to be taken away");
        return None;
    }
    has_testbed().then_some(())?;
    let answer = place.run(&[
        "sweep",
        "--testbed",
        "--levels",
        "1,4",
        "--window",
        "1500ms",
        "--warmup",
        "300ms",
        "--also",
        "postgres",
        "--reset-statements",
    ]);
    assert!(answer.code <= 1, "{}\n{}", answer.out, answer.err);
    let run = place.the_run();
    Some(place.runs().join(run.manifest.id))
}

/// Zeros by what was taken away.
type Faults = BTreeSet<(String, String)>;

/// A figure can come out as 0 by chance, of one run; what is made up is 0 of every run.
fn assert_no_fault(round: impl Fn() -> Option<Faults>) {
    let mut recurring: Option<Faults> = None;
    for _ in 0..3 {
        let Some(found) = round() else { return };
        let kept: Faults = recurring.map_or(found.clone(), |earlier| earlier.intersection(&found).cloned().collect());
        if kept.is_empty() {
            return;
        }
        recurring = Some(kept);
    }
    panic!("zeros without: {recurring:#?}");
}

#[test]
fn a_part_that_is_taken_from_a_stored_run_becomes_no_zero_anywhere() {
    assert_no_fault(|| {
        let place = Place::new();
        let run = whole(&place)?;
        let complete = answers(&place, &run, None);
        let (mut tried, mut faults) = (0, Faults::new());
        for (what, remove) in removals(&run) {
            let copied = place.path().join("copied");
            copy(&run, &copied);
            remove(&copied);
            // A field without which there is no window is refused, and that is an answer too.
            if place.run(&["runs", copied.to_str().unwrap()]).code == 0 {
                tried += 1;
                let found = answers(&place, &copied, Some(&run));
                faults.extend(found.difference(&complete).map(|zero| (what.clone(), zero.clone())));
            }
            std::fs::remove_dir_all(&copied).unwrap();
        }
        assert!(tried >= FILES.len() + 4, "only {tried} parts could be taken away");
        Some(faults)
    });
}

#[test]
fn an_instrument_that_is_switched_off_becomes_no_zero_anywhere() {
    assert_no_fault(|| {
        let place = Place::new();
        let run = whole(&place)?;
        let complete = answers(&place, &run, None);
        let options = ["--no-sampling", "--no-metrics", "--no-wire", "--no-off-cpu", "--no-statements"];
        let faults = options.iter().flat_map(|option| {
            let found = switched_off(option);
            let new: Vec<String> = found.difference(&complete).cloned().collect();
            new.into_iter().map(|zero| (option.to_string(), zero))
        });
        Some(faults.collect())
    });
}

/// The zeros of a sweep with this option. Other windows have other sentences, metrics, frames and statements: tables of
/// levels, places and costs are compared.
fn switched_off(option: &str) -> Zeros {
    let place = Place::new();
    // Following is an instrument of its own: its parts are taken from the stored run.
    let short = ["--testbed", "--levels", "1,4", "--window", "1s"];
    let answer = place.sweep(&[&short[..], &[option]].concat());
    assert!(answer.code <= 1, "{option}: {}\n{}", answer.out, answer.err);
    let measured = place.runs().join(place.the_run().manifest.id);
    let mut found = answers(&place, &measured, None);
    let verb = |zero: &str| zero.split('/').next().unwrap().to_string();
    let own = |zero: &str| [": ", "/functions,", "/places,uses,"].iter().any(|part| zero.contains(part));
    found.retain(|zero| !own(zero) && !["metrics", "diff", "hot"].contains(&verb(zero).as_str()));
    found
}
