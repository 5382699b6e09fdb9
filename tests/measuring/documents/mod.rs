//! The documents, read as a reader does who types what stands there: every command in them runs, and prints what they
//! quote, figures aside. Invariant: a document is the input, and no command in it is passed over unless
//! [`tables::NOT_RUN`] says why.
//!
//! `BLESS=1` writes what was printed into the documents where they quote something else.

mod form;
mod listing;
mod tables;

use crate::binaries::{WIREPROF, testbed_binary};
use crate::postgres::{Postgres, program};
use crate::skip::skip;
use crate::sweeps::{Answer, Place, answer, is_root};
use listing::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use tables::{DOCUMENTS, NOT_RUN, REPLACED};

/// What documents quote is as wide as this, so that it fits into 100 columns with its indent.
const COLUMNS: &str = "96";
/// Verbs that measure: a check may fail on a machine that is shared, which is exit code 1.
const MEASURE: [&str; 4] = ["sweep", "record", "compare", "ladder"];
/// What dbbench's script of a reader says.
const BENCH: &str = "duration=20s\n\n[64 connections]\nquery=select * from t\nconcurrency=64\n";
/// What somebody else's load asks.
const LOAD: &str = "select 1;\n";

/// A reader with a directory, a server, and what was typed so far.
struct Reader {
    place: Place,
    postgres: Postgres,
    /// Answers to what was typed already: it is not typed again.
    typed: BTreeMap<String, Answer>,
    /// Rows of the tables that were of use, by what they begin with.
    used: BTreeSet<&'static str>,
    wrong: Vec<String>,
}

/// One line of a command of several.
fn joined(command: &str) -> String {
    let lines = command.split("\\\n").map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}

impl Reader {
    fn new(postgres: Postgres) -> Reader {
        let place = Place::new();
        std::fs::write(place.path().join("bench.ini"), BENCH).unwrap();
        std::fs::write(place.path().join("load.sql"), LOAD).unwrap();
        Reader { place, postgres, typed: BTreeMap::new(), used: BTreeSet::new(), wrong: Vec::new() }
    }

    /// What is typed instead of this; `None`: nothing.
    fn replaced(&mut self, document: &str, command: &str) -> Option<String> {
        let mut command = joined(command);
        if let Some((row, _)) = NOT_RUN.iter().find(|(begins, _)| command.starts_with(begins)) {
            self.used.insert(row);
            return None;
        }
        for row in REPLACED.iter().filter(|row| row.document.is_empty() || row.document == document) {
            if command.contains(row.from) {
                self.used.insert(row.from);
                command = command.replace(row.from, row.to);
            }
        }
        Some(command)
    }

    fn shell(&self, command: &str) -> Command {
        // No command of a document takes longer.
        let mut shell = Command::new("timeout");
        shell.args(["180", "bash", "-o", "pipefail", "-c", command]).current_dir(self.place.path());
        let beside = |path: &Path| path.parent().unwrap().to_path_buf();
        let (ours, servers) = (beside(WIREPROF.as_ref()), beside(&program().unwrap()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(ours).chain(std::env::split_paths(&path)).chain([servers]);
        let path = std::env::join_paths(path).unwrap();
        shell.env("PATH", path).env("COLUMNS", COLUMNS).env("POSTGRES", self.postgres.url("postgres"));
        // What `wireprof cache --clear` removes.
        shell.env("XDG_CACHE_HOME", self.place.path().join("cache"));
        for (key, value) in [("NAME", "A reader"), ("EMAIL", "reader@example.org")] {
            shell.env(format!("GIT_AUTHOR_{key}"), value).env(format!("GIT_COMMITTER_{key}"), value);
        }
        shell.env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        for variable in ["WIREPROF_RUNS", "PGPASSWORD", "PGPASSFILE"] {
            shell.env_remove(variable);
        }
        shell
    }

    /// Types a command, unless it was typed before, and looks at what is printed.
    fn follow(&mut self, document: &str, step: &Step) -> Option<String> {
        let command = self.replaced(document, &step.command)?;
        if !self.typed.contains_key(&command) {
            let began = std::time::Instant::now();
            let answer = answer(self.shell(&command).output().unwrap());
            println!("{:6.1} s, code {}: {command}", began.elapsed().as_secs_f64(), answer.code);
            self.typed.insert(command.clone(), answer);
        }
        let answer = &self.typed[&command];
        let at = format!("{document}:{}: {command}", step.line);
        let measures = MEASURE.iter().any(|verb| command.contains(&format!("wireprof {verb}")));
        if answer.code != 0 && !(measures && answer.code == 1) {
            self.wrong.push(format!("{at}\nexit code {}\n{}{}", answer.code, answer.out, answer.err));
        }
        let departure = form::departure(step.printed.as_ref()?, &answer.out)?;
        self.wrong.push(format!("{at}\n{departure}"));
        Some(answer.out.clone())
    }

    fn read(&mut self, document: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let text = std::fs::read_to_string(&path).unwrap();
        let steps = listing::steps(&text);
        let printed: Vec<(&Step, String)> =
            steps.iter().filter_map(|step| Some((step, self.follow(document, step)?))).collect();
        if std::env::var_os("BLESS").is_some() {
            let mut lines: Vec<String> = text.lines().map(String::from).collect();
            for (step, out) in printed.iter().rev() {
                let indented = out.lines().map(|line| format!("    {line}").trim_end().to_string());
                lines.splice(step.quoted.clone(), indented);
            }
            std::fs::write(path, lines.join("\n") + "\n").unwrap();
        }
    }
}

#[test]
fn every_command_of_the_documents_runs_and_prints_what_they_quote() {
    testbed_binary();
    if !is_root() {
        return skip("probes need root");
    }
    let Some(postgres) = Postgres::start("fsync = on") else { return };
    let mut reader = Reader::new(postgres);
    let only = std::env::var("DOCUMENT").ok();
    for document in DOCUMENTS.iter().filter(|document| only.as_ref().is_none_or(|only| only == *document)) {
        reader.read(document);
    }
    if only.is_none() {
        let rows = REPLACED.iter().map(|row| row.from).chain(NOT_RUN.iter().map(|(begins, _)| *begins));
        let idle: Vec<&str> = rows.filter(|row| !reader.used.contains(row)).collect();
        if !idle.is_empty() {
            reader.wrong.push(format!("no document needs {idle:?}"));
        }
    }
    assert!(reader.wrong.is_empty(), "{}", reader.wrong.join("\n\n"));
}
