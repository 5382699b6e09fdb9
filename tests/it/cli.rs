//! The reading verbs, end to end on a run stored in a temporary directory: answers, exit codes, remedies.

use crate::binaries::WIREPROF;
use crate::build::*;
use crate::golden;
use crate::rows::{figure, having, rows};
use clap::CommandFactory;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use wireprof::run::{Run, Store, WindowId};

pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A directory with one stored run of two levels; preset testbed.
    pub fn new() -> Place {
        let low = spread("main;tokio::runtime::run;serve;a", 2000, 5);
        let high: Vec<Stack> =
            spread("main;tokio::runtime::run;serve;a", 2000, 5).into_iter().chain(spread("main;b", 1000, 5)).collect();
        let mut made = run(vec![
            window(1, 1, 5, 1_000_000, Some(profile(&low))),
            window(16, 1, 5, 2_000_000, Some(profile(&high))),
        ]);
        made.manifest.order = [16, 1].map(|level| WindowId { level, replicate: 1 }).to_vec();
        Place::holding(made)
    }

    /// A directory with this run.
    pub fn holding(made: Run) -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        let mut writer = Store::new(place.runs()).create(made.manifest).unwrap();
        made.windows.iter().for_each(|w| writer.write_window(w, None).unwrap());
        writer.finish("complete").unwrap();
        place
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn runs(&self) -> PathBuf {
        self.path().join("runs")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(WIREPROF);
        command.args(arguments).current_dir(self.path()).env_remove("COLUMNS").env_remove("WIREPROF_RUNS");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a run that must end with 0.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Exit code and standard error of a run that must fail.
    pub fn failed(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert!(output.stdout.is_empty(), "{arguments:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn hot_answers_the_latest_run_as_text_and_as_json() {
    let place = Place::new();
    let text = place.done(&["hot", "--width", "100"]);
    assert!(
        text.starts_with("Hot functions of the program, libraries and kernel included, run 20261122-101530-testbed\n"),
        "{text}"
    );
    let own = place.done(&["hot", "--by", "self"]);
    assert!(own.starts_with("Hot frames, self cost, run 20261122-101530-testbed\n"), "{own}");
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    let found = place.json(&["hot", "20261122-101530-testbed", "--frame", "^a$"]);
    let cost = |level: usize| figure(rows(&found), &json!({"frame": "a", "measure": "cost", "level": level}));
    assert_eq!((cost(1), cost(16)), (2e-6, 1e-6));
    let path = place.runs().join("20261122-101530-testbed");
    assert_eq!(place.done(&["hot", path.to_str().unwrap(), "--width", "100"]), text);
}

#[test]
fn hot_takes_a_pattern_as_focus_and_shows_the_rest_as_outside() {
    let found = Place::new().json(&["hot", "--focus", "^serve$", "--by", "total"]);
    let outside = json!({"row": 1, "frame": "[outside focus]", "measure": "cost", "level": 16});
    assert_eq!(figure(rows(&found), &outside), 0.5e-6);
}

#[test]
fn folding_takes_the_runtimes_frames_out() {
    let place = Place::new();
    let folded = place.done(&["hot", "--by", "total"]);
    assert!(
        !folded.contains("tokio::runtime") && folded.contains("Folded into their callers: 2 functions of runtimes"),
        "{folded}"
    );
    assert_eq!(place.done(&["hot", "--by", "total", "--fold-plumbing"]), folded);
    let all = place.done(&["hot", "--by", "total", "--unfolded"]);
    assert!(all.contains("tokio::runtime") && !all.contains("Folded"), "{all}");
    // What is asked for by name stays.
    assert!(place.done(&["hot", "--by", "total", "--frame", "tokio::runtime"]).contains("tokio::runtime"));
    let (code, error) = place.failed(&["hot", "--unfolded", "--fold-plumbing"]);
    assert!(code == 2 && error.contains("cannot be used with"), "{error}");
}

#[test]
fn runs_lists_them_and_shows_one() {
    let place = Place::new();
    assert_eq!(rows(&place.json(&["runs"]))[0]["run"], "20261122-101530-testbed");
    let one = place.json(&["runs", "latest"]);
    assert_eq!(figure(rows(&one), &json!({"measure": "throughput", "level": 16})), 400_000.0);
    std::fs::create_dir(place.path().join("empty")).unwrap();
    assert!(place.done(&["runs", "--runs", "empty"]).contains("No run in empty yet"));
}

#[test]
fn the_answer_alone_is_text_or_one_line_of_json() {
    let place = Place::new();
    let brief = place.done(&["explain", "--brief", "--width", "80"]);
    assert!(brief.starts_with("Run 20261122-101530-testbed (complete)\n") && brief.lines().count() <= 25, "{brief}");
    assert!(place.done(&["explain", "--width", "80"]).starts_with(&brief));
    let text = place.done(&["explain", "--brief", "--json"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    let answer = place.json(&["explain", "--brief"]);
    assert_eq!(figure(rows(&answer["answer"]), &json!({"measure": "throughput", "level": 16})), 400_000.0);
    assert!(answer["rows"].is_null());
    let of_list = place.json(&["runs", "latest", "--brief"]);
    assert_eq!(of_list["answer"]["rows"], answer["answer"]["rows"]);
}

#[test]
fn what_fails_is_an_object_for_programs() {
    let place = Place::new();
    for (arguments, code, kind, message) in [
        (&["hot", "nosuch"][..], 2, "usage", "no run `nosuch`"),
        (&["hot", "--no-such-option"], 2, "usage", "unexpected argument '--no-such-option'"),
        (&["log", "check", "--log", "nosuch.md"], 2, "usage", "nosuch.md"),
    ] {
        let output = place.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let error = &told["error"];
        assert_eq!((error["code"].as_i64(), error["kind"].as_str()), (Some(i64::from(code)), Some(kind)), "{told}");
        assert!(error["message"].as_str().unwrap().contains(message), "{told}");
        assert!(!output.stderr.is_empty(), "people read it too");
        assert!(place.run(arguments).stdout.is_empty());
    }
}

#[test]
fn flamegraphs_go_into_the_runs_directory_or_where_asked() {
    let place = Place::new();
    place.done(&["flamegraph"]);
    let folder = place.runs().join("20261122-101530-testbed/flamegraphs");
    let svg = std::fs::read_to_string(folder.join("20261122-101530-testbed-L0016-all.svg")).unwrap();
    assert!(svg.contains("Level 16: 1.50 µs CPU per query (20261122-101530-testbed)"));
    let text = place.done(&["flamegraph", "--level", "16", "--focus", "^b$", "-o", "pictures"]);
    assert!(text.contains("level 16, ^b$: pictures/20261122-101530-testbed-L0016-b.svg"), "{text}");
    assert_eq!(std::fs::read_dir(place.path().join("pictures")).unwrap().count(), 1);
    assert!(
        !svg.contains("tokio::runtime") && svg.contains("2 runtime functions folded, whose own cost is 0 % (--unf")
    );
    place.done(&["flamegraph", "--unfolded", "--level", "16"]);
    let all = std::fs::read_to_string(folder.join("20261122-101530-testbed-L0016-all-unfolded.svg")).unwrap();
    assert!(all.contains("tokio::runtime") && !all.contains("runtime functions folded"), "{all}");
    let none = place.done(&["flamegraph", "--level", "1", "--focus", "^b$", "-o", "pictures"]);
    assert!(none.contains("level 1, ^b$: no sample in it, nothing was drawn"), "{none}");
}

#[test]
fn a_log_entry_is_made_attached_to_and_shown() {
    let place = Place::new();
    assert_eq!(place.json(&["log", "new", "--title", "first", "--problem", "slow"])["log"]["session"], 1);
    assert_eq!(place.json(&["log", "new", "--title", "second"])["log"]["session"], 2);
    // The pictures of all at both levels; one level's; all, with the profiles.
    let attached = |arguments: &[&str]| {
        let attached = place.json(&[&["log", "attach", "--session", "1"], arguments].concat());
        assert_eq!(attached["log"]["session"], 1);
        attached["log"]["attached"].as_u64().unwrap()
    };
    assert_eq!((attached(&[]), attached(&["--level", "16"]), attached(&["--all"])), (2, 1, 4));
    assert!(place.failed(&["log", "attach", "--level", "3"]).1.contains("has no level 3; it has 1, 16"));
    let path = place.path().join("pgwire-server-perf-log.md");
    let once = std::fs::read(&path).unwrap();
    place.done(&["log", "attach", "--session", "1", "--all"]);
    assert!(once == std::fs::read(&path).unwrap());
    for name in ["L0001-all.svg", "L0016-all.svg", "L0001-R1.pb.gz", "L0016-R1.pb.gz"] {
        assert!(place.path().join(format!("flamegraphs/20261122-101530-testbed-{name}")).exists(), "{name}");
    }
    let checked = place.done(&["log", "check"]);
    assert!(checked.contains("9 held against the copies beside the log, 2 made again"), "{checked}");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().position(|line| line.contains("| 400,000 |")).unwrap() + 1;
    std::fs::write(&path, text.replacen("| 400,000 |", "| 500,000 |", 1)).unwrap();
    let output = place.run(&["log", "check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows(&found)[0]["line"], line);
    assert!(place.done(&["log", "check", "--from", "2"]).contains("0 wrong"));
    std::fs::write(&path, text).unwrap();
    assert!(place.done(&["log", "show"]).starts_with("## Session 2: second\n"));
    let both = place.json(&["log", "show", "--last", "5"]);
    assert_eq!(both["entries"].as_array().unwrap().len(), 2);
    assert!(both["entries"][0]["text"].as_str().unwrap().contains("attachments -->"));
}

#[test]
fn a_wrong_argument_is_usage_with_a_remedy() {
    let place = Place::new();
    for (arguments, message) in [
        (&["hot", "nosuch"][..], "no run `nosuch`"),
        (&["hot", "--runs", "empty"], "there is no directory empty; --runs names another"),
        (&["hot", "--by", "sideways"], "possible values: self, total"),
        (&["hot", "--frame", "("], "regex parse error"),
        (&["hot", "--column", "cycles"], "has a column `cycles`; there are: cpu, samples"),
        (&["hot", "--focus", "("], "is neither a focus of preset testbed"),
        (&["hot", "--focus", "nosuch"], "is neither a focus of preset testbed"),
        (&["hot", "--frame", "nosuch"], "--frame nosuch matches no function of run 20261122-101530-testbed"),
        (
            &["hot", "--callers-of", "tokiO"],
            "--callers-of tokiO matches no function of run 20261122-101530-testbed; there are",
        ),
        (&["flamegraph", "--focus", "nosuch"], "--focus nosuch matches no function of run"),
        (&["diff", "latest", "latest", "--focus", "nosuch"], "--focus nosuch matches no function of either run"),
        (&["log", "new", "--title", "x", "--focus", "nosuch"], "--focus nosuch matches no function of run"),
        (&["explain", "--level", "3"], "has no level 3; it has 1, 16"),
        (&["hot", "--level", "3"], "has no level 3; it has 1, 16"),
        (&["metrics", "--level", "3"], "has no level 3; it has 1, 16"),
        (&["statements", "--level", "3"], "has no level 3; it has 1, 16"),
        (&["hot", "--focus", "x", "--preset", "nosuch"], "there is no preset `nosuch`"),
        (&["flamegraph", "--level", "3"], "has no level 3; it has [1, 16]"),
        (&["log", "attach"], "there is no log pgwire-server-perf-log.md: `wireprof log new` makes one"),
        (&["explain", "--levels", "1,x"], "levels are numbers, such as 1,16"),
        (&["report", "-o", "."], "give a file's name, such as ./report.html"),
        (&["metrics", "--followed"], "sweep with --follow 2s stores them"),
        (&["nosuchverb"], "unrecognized subcommand"),
        (&["sweep", "--url", "postgres://127.0.0.1:1/x", "--window", "soon"], "a bare number means seconds"),
        (
            &["sweep", "--url", "postgres://127.0.0.1:1/x", "--window", "0.2"],
            "a window under 500 ms holds too few samples",
        ),
    ] {
        let (code, error) = place.failed(arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
}

#[test]
fn one_level_alone_is_shown_where_it_is_asked_for() {
    let place = Place::new();
    for verb in ["hot", "explain", "statements"] {
        let text = place.done(&[verb, "--level", "16", "--json"]);
        assert!(!text.contains("\"level\":1,"), "{verb}: {text}");
    }
    let found = place.json(&["hot", "--level", "16"]);
    assert!(having(rows(&found), &json!({"measure": "cost", "level": 16})).len() > 1, "{found}");
}

#[test]
fn a_run_without_windows_is_not_the_latest_and_nothing_is_made_of_it() {
    let place = Place::new();
    let store = Store::new(place.runs());
    let mut manifest = store.load("latest").unwrap().manifest;
    (manifest.id, manifest.created) = ("empty".into(), "2026-11-23T00:00:00Z".into());
    store.create(manifest.clone()).unwrap().finish("cut short after 0 of 2 windows: syntax error").unwrap();
    assert!(store.create(manifest).is_err_and(|error| error.to_string().contains("there is a run empty already")));
    let output = place.run(&["hot"]);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("latest is 20261122-101530-testbed: the newer run empty has no window"), "{told}");
    for arguments in [&["explain", "empty"][..], &["hot", "empty"], &["log", "new", "empty", "--title", "x"]] {
        let (code, error) = place.failed(arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains("run empty has no window") && error.contains("syntax error"), "{error}");
    }
    assert!(!place.path().join("pgwire-server-perf-log.md").exists());
    assert!(place.done(&["runs", "empty", "--full"]).contains("syntax error"));
    std::fs::remove_dir_all(place.runs().join("20261122-101530-testbed")).unwrap();
    assert!(place.failed(&["explain"]).1.contains("has a window; of the newest, empty, is told: cut short"));
}

#[test]
fn a_log_in_which_nothing_was_understood_is_said_to_be_one() {
    let place = Place::new();
    let log = place.path().join("pgwire-server-perf-log.md");
    std::fs::write(&log, "# Session 1: a\n\ntext\n").unwrap();
    let checked = place.run(&["log", "check"]);
    assert_eq!(checked.status.code(), Some(1));
    let told = String::from_utf8(checked.stdout).unwrap();
    assert!(told.contains("has no entry: the heading of one is `## Session N: title`"), "{told}");
    assert!(place.done(&["log", "show"]).contains("has no entry"));
    std::fs::write(&log, "\u{feff}## Session 1: a\n\n```sh``` is code.\n\n````\n```\n## Session 7: b\n````\n").unwrap();
    assert_eq!(place.json(&["log", "new", "--title", "second"])["log"]["session"], 2);
    place.done(&["log", "check"]);
    let before = "## Session 1: a\n\n```\nnever closed\n";
    std::fs::write(&log, before).unwrap();
    assert!(place.failed(&["log", "new", "--title", "third"]).1.contains("is never closed"));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), before);
    std::fs::write(&log, [0xff, 0xfe, b'#', 0]).unwrap();
    assert!(place.failed(&["log", "check"]).1.contains("is UTF-16, and is left as it is"));
}

#[test]
fn what_the_environment_refuses_is_3_and_names_the_file() {
    let place = Place::new();
    std::fs::write(place.path().join("file"), "").unwrap();
    let (code, error) = place.failed(&["flamegraph", "-o", "file/pictures"]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("cannot create file/pictures: "), "{error}");
    std::fs::create_dir(place.path().join("logs")).unwrap();
    std::fs::write(place.path().join("logs/flamegraphs"), "").unwrap();
    let (code, error) = place.failed(&["log", "new", "--title", "x", "--log", "logs/log.md"]);
    assert!(code == 3 && error.contains("--log FILE puts the log and its pictures elsewhere"), "{error}");
    let report = place.runs().join("20261122-101530-testbed/report.html.tmp");
    std::fs::create_dir(&report).unwrap();
    let (code, error) = place.failed(&["report"]);
    assert!(code == 3 && error.trim_end().ends_with("; -o FILE writes it elsewhere"), "{error}");
    std::fs::remove_dir(report).unwrap();
    for window in ["L0001-R1", "L0016-R1"] {
        std::fs::write(place.runs().join("20261122-101530-testbed").join(window).join("load.json"), "{").unwrap();
    }
    let (code, error) = place.failed(&["hot"]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("L0001-R1/load.json is damaged: "), "{error}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let mut child = place.command(&["hot"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn every_verbs_help_has_examples() {
    let place = Place::new();
    let command = wireprof::cli::Arguments::command();
    let verbs: Vec<&str> = command.get_subcommands().map(|verb| verb.get_name()).collect();
    assert!(verbs.len() > 10, "{verbs:?}");
    for verb in verbs {
        assert!(place.done(&[verb, "--help"]).contains("Example"), "{verb}");
    }
    assert!(
        place
            .done(&["--help"])
            .contains("Exit codes: 0 done; 1 a check failed, or the measurement was cut short; 2 usage")
    );
}

#[test]
fn runs_of_unlike_hosts_are_compared_only_anyway_and_differences_are_drawn() {
    let place = Place::new();
    let store = Store::new(place.runs());
    let first = store.load("latest").unwrap();
    let mut manifest = first.manifest.clone();
    (manifest.id, manifest.host.name) = ("20261122-111530-testbed".into(), "another".into());
    let mut writer = store.create(manifest).unwrap();
    first.windows.iter().for_each(|w| writer.write_window(w, None).unwrap());
    writer.finish("complete").unwrap();
    let both = ["diff", &first.manifest.id, "20261122-111530-testbed"];

    let (code, error) = place.failed(&both);
    assert_eq!(code, 1);
    assert!(error.contains("unlike host") && error.contains("another") && error.contains("--anyway"), "{error}");
    golden::assert("diff.txt", &place.done(&[&both[..], &["--anyway", "--width", "120"]].concat()));

    let text = place.done(&[&both[..], &["--anyway", "--level", "16", "--focus", "^b$", "--svg", "pictures"]].concat());
    for side in ["before", "after"] {
        let found: Vec<String> = std::fs::read_dir(place.path().join("pictures"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(text.contains(side) && found.iter().any(|file| file.ends_with(&format!("{side}.svg"))), "{found:?}");
    }

    let renamed = place.json(&[&both[..], &["--anyway", "--level", "16", "--rename", "^b$=renamed"]].concat());
    let text = renamed.to_string();
    assert!(text.contains("renamed") && !text.contains("\"b\""), "{text}");
    assert_eq!(place.failed(&[&both[..], &["--rename", "nothing"]].concat()).0, 2);
}

#[test]
fn a_pid_that_does_not_own_the_port_is_refused_with_the_one_that_does() {
    let place = Place::new();
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listening.local_addr().unwrap().port();
    let url = format!("postgres://me@127.0.0.1:{port}/db");
    let sweep = ["sweep", "--preset", "generic", "--url", &url, "--query", "select 1", "--levels", "1", "--pid", "1"];
    let (code, error) = place.failed(&sweep);
    assert_eq!(code, 2, "{error}");
    let owner = format!("does not own port {port}: process {} (", std::process::id());
    assert!(error.contains(&owner) && error.contains("--pid-anyway"), "{error}");
    assert!(error.contains("1 level, about 14 s"), "how long it will take: {error}");
    assert!(place.failed(&["sweep", "--url", &url, "--pid-anyway"]).1.contains("--pid <PID>"));
    assert!(place.failed(&["sweep", "--testbed", "--pid-anyway"]).1.contains("cannot be used with"));
}
