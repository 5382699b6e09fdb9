//! What must hold after a round. Invariant: each violation is one line; what the machine's load may do is none.

use super::course::Ended;
use super::ground::Place;
use super::kernel;
use super::left::{digest, files, processes};
use super::plan::{Fault, Output, Round, Target, Verb, Whom};
use super::target::Around;
use serde_json::Value;
use std::time::{Duration, Instant};
use wireprof::run::Store;

/// What ends with wireprof may take that long: a database is shut down, the kernel frees maps later.
const GRACE: Duration = Duration::from_secs(30);

/// Texts that are no plain words.
const RAW: [&str; 10] = [
    "panicked at",
    "RUST_BACKTRACE",
    "Os { code",
    "Custom {",
    "kind: ",
    "Some(",
    "Err(",
    "called `",
    "defect of wireprof",
    "Elapsed(",
];

pub struct Judged<'a> {
    pub round: &'a Round,
    pub place: &'a Place,
    pub around: &'a Around,
    pub ended: &'a Ended,
    pub violations: Vec<String>,
}

impl Judged<'_> {
    pub fn all(&mut self) {
        self.end();
        self.words();
        if self.round.measures() {
            self.events();
            self.runs();
            self.server();
        } else {
            self.stored();
        }
        self.left();
    }

    fn wrong(&mut self, text: impl Into<String>) {
        self.violations.push(text.into());
    }

    /// It could not put anything in order.
    fn killed(&self) -> bool {
        self.ended.signal.is_some() || self.ended.hung || self.ended.code == Some(130)
    }

    fn last_words(&self) -> String {
        let end = self.ended.err.iter().rev().find(|line| !line.trim().is_empty());
        end.map_or_else(|| "nothing".into(), |line| line.chars().take(300).collect())
    }

    /// The allocator of the language ends the process, and says so, with a hint of its own behind it.
    fn out_of_memory(&self) -> bool {
        let said = self.ended.err.iter().any(|line| line.contains("memory allocation of"));
        matches!(self.round.fault, Fault::Memory(_)) && said
    }

    /// The kernel ends a process whose stack finds no more room (RLIMIT_AS in getrlimit(2)).
    fn stack_cannot_grow(&self, signal: i32) -> bool {
        matches!(self.round.fault, Fault::Memory(_)) && signal == libc::SIGSEGV
    }

    /// How it ended.
    fn end(&mut self) {
        let Ended { code, signal, hung, took, .. } = *self.ended;
        let words = self.last_words();
        if hung {
            return self.wrong(format!("it hangs: killed after {took:.0?}; it said last: {words}"));
        }
        if let Some(signal) = signal {
            let own = self.round.kills_wireprof() && signal == libc::SIGKILL;
            // Before it listens for signals, or where it has nothing to put in order.
            let begun = self.round.measures() && self.ended.err.iter().any(|line| line.contains("window 1 of"));
            let asked = self.round.asks_to_end() == Some(signal) && !begun;
            let memory = self.out_of_memory() || self.stack_cannot_grow(signal);
            if !own && !asked && !memory {
                self.wrong(format!("ended by signal {signal}; it said last: {words}"));
            }
            return;
        }
        let permitted: &[i32] = match self.round.fault {
            Fault::Twice(_) => &[0, 1, 130],
            // The file that is named is not what it should be, or not there.
            Fault::Damaged(_) | Fault::ReadErrors | Fault::RunsRemoved | Fault::RunsReplaced(_) => &[0, 1, 2, 3],
            _ => &[0, 1, 3],
        };
        let code = code.unwrap_or(-1);
        if !permitted.contains(&code) {
            self.wrong(format!("exit code {code}; it said last: {words}"));
        }
    }

    /// What it said.
    fn words(&mut self) {
        let text = self.ended.text();
        let out_of_memory = self.out_of_memory();
        let hint = |raw: &str| out_of_memory && raw == "RUST_BACKTRACE";
        for raw in RAW.iter().filter(|raw| text.contains(**raw) && !hint(raw)) {
            let line = text.lines().find(|line| line.contains(raw)).unwrap_or_default();
            self.wrong(format!("it says {raw:?}: {}", line.chars().take(300).collect::<String>()));
        }
        if self.ended.code == Some(0) && self.round.fault == Fault::Output(Output::OutFull) {
            self.wrong("exit code 0, and the answer was lost: standard output is full");
        }
        let deaf = matches!(self.round.fault, Fault::Output(Output::ErrClosed | Output::ErrFull | Output::BothClosed));
        let Some(code @ 1..=3) = self.ended.code.filter(|_| !deaf) else { return };
        let said = self.ended.err.iter().any(|line| line.starts_with("wireprof: ") && line.len() > 30);
        // A check that failed is told by the answer.
        let answered = code == 1 && !self.ended.out.is_empty();
        let deaf = code == 1 && matches!(self.round.fault, Fault::Output(_));
        if !said && !answered && !deaf {
            self.wrong(format!("exit code {code} without a reason; it said last: {}", self.last_words()));
        }
    }

    /// The last event.
    fn events(&mut self) {
        let mute = matches!(self.round.fault, Fault::Output(Output::OutClosed | Output::OutFull | Output::BothClosed));
        let Some(code @ 0..=3) = self.ended.code.filter(|_| self.round.json_lines && !mute) else { return };
        let last = self.ended.out.last().and_then(|line| serde_json::from_str::<Value>(line).ok()).unwrap_or_default();
        if last["event"] != "end" || last["exit_code"] != code {
            let shown = last.to_string().chars().take(200).collect::<String>();
            self.wrong(format!("exit code {code}, and the last event is {shown}"));
        }
    }

    /// What is stored, and what was told to be.
    fn runs(&mut self) {
        if self.round.loses_runs() {
            return;
        }
        for (directory, before) in &self.ended.windows {
            let after = digest(directory);
            if before.is_empty() {
                self.violations.push(format!("{} was told to be stored, and is not there", directory.display()));
            } else if *before != after {
                self.violations.push(format!("{} changed after it was finished", directory.display()));
            }
        }
        let runs: Vec<_> = std::fs::read_dir(self.place.runs()).into_iter().flatten().flatten().collect();
        for entry in runs {
            self.run(&entry.path());
        }
        let temporary = |path: &std::path::PathBuf| path.to_string_lossy().contains(".tmp");
        if !self.killed() {
            let left: Vec<_> = files(&self.place.runs()).into_iter().filter(temporary).collect();
            if !left.is_empty() && !matches!(self.round.fault, Fault::DiskReadOnly) {
                self.wrong(format!("left in the directory of runs: {left:?}"));
            }
        }
    }

    fn run(&mut self, directory: &std::path::Path) {
        let shown = directory.display();
        let stored = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let windows = stored.filter(|entry| entry.file_name().to_string_lossy().starts_with('L')).count();
        let written = std::fs::read(directory.join("manifest.json")).ok();
        let manifest = written.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let Some(manifest) = manifest else {
            // Killed, or without space, before the run began.
            let excused = windows == 0 && (self.round.kills_wireprof() || self.round.loses_disk());
            if !excused && !self.killed() {
                self.wrong(format!("{shown} has no readable manifest, and {windows} windows"));
            }
            return;
        };
        match Store::new(self.place.runs()).load(&shown.to_string()) {
            Ok(run) if run.windows.len() != windows => {
                self.wrong(format!("{shown} has {windows} windows, and {} are read", run.windows.len()));
            }
            Ok(_) => {}
            Err(error) => self.wrong(format!("{shown} cannot be read: {error:#}")),
        }
        let ended = manifest["ended"].as_str().unwrap_or_default();
        let planned = manifest["order"].as_array().map_or(0, Vec::len);
        let killed = self.killed();
        let right = match ended {
            "running" => killed || self.round.loses_disk(),
            "complete" => windows == planned,
            cut => cut.starts_with(&format!("cut short after {windows} of {planned} windows: ")),
        };
        if !right {
            self.wrong(format!("{shown} has {windows} of {planned} windows and says how it ended: {ended}"));
        }
        if self.ended.code == Some(0) && ended != "complete" {
            self.wrong(format!("exit code 0, and {shown} says how it ended: {ended}"));
        }
    }

    /// The server is as it was.
    fn server(&mut self) {
        let killed = self.killed();
        let (Some(cluster), Some(before)) = (&self.around.cluster, &self.around.before) else { return };
        let Some(after) = cluster.state().filter(|_| !killed) else { return };
        let changed = |here: &str, there: &str| -> Vec<String> {
            let gone = here.lines().filter(|line| !there.lines().any(|other| other == *line));
            // What the fault itself did.
            gone.filter(|line| !line.contains("pg_stat_statements")).map(String::from).collect()
        };
        let differs = [changed(before, &after), changed(&after, before)];
        let said = self.ended.text().contains("put back");
        // What cannot be put back over a path that is broken has to be said.
        let excused =
            said && matches!(self.round.fault, Fault::Proxy(_) | Fault::Signal(Whom::Server | Whom::Database, _));
        let deaf = matches!(self.round.fault, Fault::Output(_) | Fault::Proxy(_)) && said;
        if differs.iter().any(|lines| !lines.is_empty()) && !excused && !deaf {
            self.wrong(format!("the server is not as it was: gone {:?}, new {:?}", differs[0], differs[1]));
        }
    }

    /// A stored run that was read is as it was.
    fn stored(&mut self) {
        let is_damaged = matches!(self.round.fault, Fault::Damaged(_)) || self.round.loses_runs();
        if is_damaged || self.round.verb == Verb::Import {
            return;
        }
        let store = Store::new(self.place.runs());
        if let Err(error) = store.load("latest") {
            self.wrong(format!("the stored run cannot be read any more: {error:#}"));
        }
        let log = std::fs::read_to_string(self.place.out().join("log.md")).unwrap_or_default();
        if !log.contains("Before the round") {
            self.wrong("the log lost its earlier entry");
        }
        if self.ended.signal.is_some() {
            return;
        }
        let all = [files(&self.place.runs()), files(&self.place.out())].concat();
        let left: Vec<_> = all.into_iter().filter(|path| path.to_string_lossy().contains(".tmp")).collect();
        if !left.is_empty() && self.round.fault != Fault::DiskReadOnly {
            self.wrong(format!("temporary files are left: {left:?}"));
        }
    }

    /// Nothing is left that runs, no temporary file, nothing in the kernel.
    fn left(&mut self) {
        let deadline = Instant::now() + GRACE;
        let mut processes = processes(self.place);
        while !processes.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            processes = super::left::processes(self.place);
        }
        for process in &processes {
            self.wrong(format!("process {} ({}) is left", process.pid, process.name));
            wireprof::child::signal(process.pid, libc::SIGKILL);
        }
        let temporary = |outright: bool| {
            let entries = std::fs::read_dir(self.place.temporary()).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.filter(|name| !outright || name.starts_with("wireprof-testbed-")).collect::<Vec<_>>()
        };
        let outright = self.killed();
        while !temporary(outright).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        let names = temporary(outright);
        if !names.is_empty() {
            self.wrong(format!("left in the directory of temporary files: {names:?}"));
        }
        let loaded = || self.ended.held.iter().filter(|(kind, id)| kernel::is_there(*kind, *id)).count();
        while loaded() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        if loaded() > 0 {
            self.wrong(format!("{} programs or maps of the kernel are left", loaded()));
        }
        if self.round.target == Target::Stored && !self.ended.held.is_empty() {
            self.wrong("a verb that reads a stored run loads programs into the kernel");
        }
    }
}
