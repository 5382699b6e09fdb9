//! What programs read: every verb's answer and every failure is as the schema in `docs/json-schema.json` says, and the
//! recipes of `docs/json.md` give what stands there.

use crate::cli::Place;
use crate::skip::skip;
use crate::{binaries, recordings, schema};
use clap::CommandFactory;
use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Verbs whose answers other tests hold against the schema: they measure, serve until they are interrupted, or send.
const ELSEWHERE: [&str; 6] = ["sweep", "compare", "ladder", "record", "open", "push"];
/// Verbs that print what is no answer: text for a shell or a pager.
const TEXTS: [&str; 2] = ["completions", "man"];

/// Calls of every other verb, on the run of [`Place`].
const CALLS: [&[&str]; 25] = [
    &["explain"],
    &["explain", "--brief"],
    &["explain", "--level", "16", "--section", "levels,checks"],
    &["diagnose"],
    &["hot"],
    &["hot", "--by", "total"],
    &["hot", "--waits"],
    &["hot", "--off-cpu", "blocked"],
    &["diff", "latest", "latest"],
    &["diff", "latest", "latest", "--brief"],
    &["runs"],
    &["runs", "latest"],
    &["runs", "--prune", "--keep", "5"],
    &["metrics"],
    &["metrics", "--match", "mz_"],
    &["statements"],
    &["flamegraph"],
    &["export", "--format", "folded"],
    &["report"],
    &["report", "latest", "latest"],
    &["log", "new", "--title", "first"],
    &["log", "attach"],
    &["log", "show"],
    &["log", "check"],
    &["cache"],
];

/// Two runs of the recorded testbed, and a prompt file.
fn with_recording() -> Place {
    let place = Place::new();
    let recorded = recordings::testbed().display().to_string();
    for name in ["base", "again"] {
        let import = ["import", &recorded, "--preset", "materialize", "--profile-seconds", "2", "--id", name];
        schema::answer(&place.done(&[&import[..], &["--json"]].concat()));
    }
    std::fs::write(place.path().join("prompt.txt"), "Next steps:\n- measure it\n").unwrap();
    place
}

#[test]
fn the_answer_of_every_verb_that_reads_is_as_the_schema_says() {
    let mut told = BTreeSet::from_iter([&ELSEWHERE[..], &TEXTS].concat());
    let place = with_recording();
    let more: [&[&str]; 2] = [&["log", "handoff", "prompt.txt"], &["log", "handoff", "prompt.txt", "--done", "1"]];
    for arguments in CALLS.into_iter().chain(more) {
        let output = place.run(&[arguments, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let answer = schema::answer(&text);
        let verb = if arguments[0] == "log" { arguments[..2].join(" ") } else { arguments[0].to_string() };
        assert_eq!(answer["verb"], verb.as_str(), "{arguments:?}");
        told.insert(arguments[0]);
    }
    // Doctor tells what the machine does not permit, whatever the exit code.
    schema::answer(&String::from_utf8(place.run(&["doctor", "--json"]).stdout).unwrap());
    told.extend(["doctor", "import"]);
    let verbs = wireprof::cli::Arguments::command();
    let untold: Vec<&str> =
        verbs.get_subcommands().map(|verb| verb.get_name()).filter(|verb| !told.contains(verb)).collect();
    assert!(untold.is_empty(), "no call of {untold:?} is held against the schema");
}

#[test]
fn a_run_of_a_real_environmentd_is_told_as_the_schema_says() {
    let Some(run) = recordings::run_of_environmentd() else { return };
    let place = Place::new();
    let run = run.display().to_string();
    for verb in ["explain", "diagnose", "hot", "runs", "metrics", "statements"] {
        schema::answer(&place.done(&[verb, &run, "--json"]));
    }
}

#[test]
fn every_failure_is_an_object_as_the_schema_says() {
    let place = Place::new();
    let unread: [&[&str]; 6] = [
        &["hot", "nosuch"],
        &["explain", "--level", "3"],
        &["nosuchverb"],
        &["hot", "--by", "sideways"],
        &["sweep", "--url", "postgres://127.0.0.1:1/x", "--window", "soon"],
        &["import", "nosuch"],
    ];
    for arguments in unread {
        let output = place.run(&[arguments, &["--json"]].concat());
        let answer = schema::answer(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(answer["error"]["code"].as_i64().map(|code| code as i32), output.status.code(), "{arguments:?}");
    }
}

#[test]
fn the_schema_refuses_what_it_should() {
    let answer = schema::answer(&Place::new().done(&["hot", "--json"]));
    let figure = answer["rows"].as_array().unwrap().iter().position(|row| row["measure"] == "cost").unwrap();
    let changes: [(&str, Value); 6] = [
        ("/schema", json!(1)),
        ("/verb", json!("sing")),
        (&format!("/rows/{figure}/unit"), json!("µs/query")),
        (&format!("/rows/{figure}/value"), Value::Null),
        (&format!("/rows/{figure}/level"), json!("L16")),
        ("/notes", json!("none")),
    ];
    for (place, change) in changes {
        let mut changed = answer.clone();
        // What is bounded needs no value.
        changed["rows"][figure].as_object_mut().unwrap().remove("low");
        *changed.pointer_mut(place).unwrap() = change;
        assert!(schema::wrong(&changed).is_some(), "{place}");
    }
    let failure =
        json!({"schema": 2, "verb": null, "error": {"code": 0, "kind": "usage", "message": "m", "causes": []}});
    assert!(schema::wrong(&failure).is_some(), "0 is no failure");
}

/// Commands of a document with what they print: a listing's lines from `$ ` to the next blank line, of which those that
/// begin with blanks belong to the command.
fn recipes(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(listed) if listed.starts_with("$ ") => {
                found.push((listed[2..].to_string(), String::new()));
                within = true;
            }
            Some(listed) if within => {
                let (command, printed) = found.last_mut().unwrap();
                match listed.starts_with(' ') {
                    true => *command += &format!("\n{listed}"),
                    false => *printed += &format!("{listed}\n"),
                }
            }
            _ => within = false,
        }
    }
    found
}

fn without_figures(text: &str) -> String {
    let figures = Regex::new(r"-?\b[0-9][0-9.]*(e-?[0-9]+)?").unwrap();
    figures.replace_all(text, "#").into_owned()
}

#[test]
fn recipes_are_found_in_a_text_and_figures_are_told_from_words() {
    let text = "A:\n\n    $ a | \\\n      b\n    1\t2.5e-3 L16\n\n    no recipe\n";
    assert_eq!(recipes(text), [("a | \\\n  b".to_string(), "1\t2.5e-3 L16\n".to_string())]);
    assert_eq!(without_figures("-1\t2.5e-3 L16 p99"), "#\t# L16 p99");
}

#[test]
fn the_recipes_of_the_document_print_what_stands_there() {
    if Command::new("jq").arg("--version").output().is_err() {
        return skip("jq is not installed");
    }
    let recipes = recipes(include_str!("../../docs/json.md"));
    assert!(recipes.len() >= 20, "{} recipes", recipes.len());
    let place = with_recording();
    let directory = Path::new(binaries::WIREPROF).parent().unwrap().display().to_string();
    let path = format!("{directory}:{}", std::env::var("PATH").unwrap());
    let wrong: Vec<String> = recipes
        .iter()
        .filter_map(|(command, expected)| {
            let mut shell = Command::new("bash");
            shell.args(["-o", "pipefail", "-c", command]).current_dir(place.path()).env("PATH", &path);
            let output = shell.env_remove("WIREPROF_RUNS").output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            let as_told = without_figures(&printed) == without_figures(expected) && !printed.is_empty();
            (!as_told).then(|| format!("$ {command}\n{printed}{}", String::from_utf8_lossy(&output.stderr)))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
