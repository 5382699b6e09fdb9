//! What a terminal, a pipe and other locales make of an answer: width, colours, characters, the pager, the help.

use crate::binaries::WIREPROF;
use crate::cli::Place;
use clap::{Command as Verb, CommandFactory};
use std::fs::File;
use std::os::fd::FromRawFd;
use std::process::{Command, Stdio};
use wireprof::cli::Arguments;

const ESCAPE: char = '\u{1b}';
/// Columns of a help text that no terminal breaks.
const NARROW: usize = 79;

/// The text without colours.
fn bare(text: &str) -> String {
    let mut parts = text.split(ESCAPE);
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |whole, part| whole + part.split_once('m').unwrap().1)
}

/// What a command writes to a terminal of this size, and its exit code.
fn on_terminal(mut command: Command, columns: u16, lines: u16) -> (String, Option<i32>) {
    let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut ours, mut theirs) = (0, 0);
    // SAFETY: all pointers are to live variables or null, which openpty(3) permits for what is not wanted.
    let opened = unsafe {
        libc::openpty(&raw mut ours, &raw mut theirs, std::ptr::null_mut(), std::ptr::null(), &raw const size)
    };
    assert_eq!(opened, 0);
    // SAFETY: openpty has just opened both descriptors, and nobody else has them.
    let (mut ours, theirs) = unsafe { (File::from_raw_fd(ours), File::from_raw_fd(theirs)) };
    command.env("TERM", "xterm").stdin(Stdio::null());
    command.stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let mut child = command.spawn().unwrap();
    // The terminal's own end closes with the command.
    drop(command);
    let mut shown = Vec::new();
    // A terminal that nobody has open any more is an error to read from.
    let _ = std::io::copy(&mut ours, &mut shown);
    let code = child.wait().unwrap().code();
    (String::from_utf8(shown).unwrap().replace("\r\n", "\n"), code)
}

fn plain(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    for variable in
        ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PAGER", "WIREPROF_PAGER", "LESS", "LC_ALL", "LC_CTYPE", "LANG"]
    {
        command.env_remove(variable);
    }
    command
}

fn text(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_terminal_is_as_wide_as_it_is_and_a_pipe_has_140_columns() {
    let place = Place::new();
    let widest = |text: &str| bare(text).lines().map(|line| line.chars().count()).max().unwrap();
    for columns in [60, 100] {
        let (shown, code) = on_terminal(plain(&place, &["runs", "latest"]), columns, 500);
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains(ESCAPE) && widest(&shown) <= usize::from(columns), "{shown}");
        assert!(widest(&shown) > usize::from(columns) - 20, "{shown}");
    }
    let piped = text(plain(&place, &["runs", "latest"]));
    assert!(!piped.contains(ESCAPE) && (110..=140).contains(&widest(&piped)), "{piped}");
    let (named, _) = on_terminal(plain(&place, &["runs", "latest", "--width", "70"]), 100, 500);
    assert!(widest(&named) <= 70, "{named}");
    let mut narrow = plain(&place, &["runs", "latest"]);
    narrow.env("COLUMNS", "72");
    assert!(widest(&text(narrow)) <= 72);
    let mut odd = plain(&place, &["runs", "latest"]);
    odd.env("COLUMNS", "many");
    assert_eq!(text(odd), piped, "what is no number is no width");
}

#[test]
fn colours_are_for_terminals_or_on_request_and_change_no_width() {
    let place = Place::new();
    let verb = ["runs", "latest"];
    let piped = text(plain(&place, &verb));
    let always = text(plain(&place, &[&verb[..], &["--color", "always"]].concat()));
    assert!(always.contains("\u{1b}[1mRun "), "{always}");
    assert_eq!(bare(&always), piped);
    let with = |variable: &str, more: &[&str]| {
        let mut command = plain(&place, &[&verb[..], more].concat());
        command.env(variable, "1");
        command
    };
    assert_eq!(bare(&text(with("CLICOLOR_FORCE", &[]))), piped);
    assert!(text(with("CLICOLOR_FORCE", &[])).contains(ESCAPE));
    assert_eq!(text(with("CLICOLOR_FORCE", &["--color", "never"])), piped);
    assert!(!on_terminal(with("NO_COLOR", &[]), 140, 500).0.contains(ESCAPE));
    let json = text(plain(&place, &[&verb[..], &["--json", "--color", "always"]].concat()));
    assert!(!json.contains(ESCAPE) && serde_json::from_str::<serde_json::Value>(&json).is_ok());
}

#[test]
fn a_locale_without_utf8_gets_ascii_and_tables_keep_their_columns() {
    let place = Place::new();
    let of = |locale: &str| {
        let mut command = plain(&place, &["explain", "--width", "100"]);
        command.env("LC_ALL", locale);
        text(command)
    };
    let (full, ascii) = (of("C.UTF-8"), of("C"));
    assert!(full.contains('µ') && ascii.is_ascii(), "{ascii}");
    assert!(ascii.lines().all(|line| line.len() <= 100));
    let (mut dumb, json) = (plain(&place, &["explain"]), plain(&place, &["explain", "--json"]));
    dumb.env("LC_ALL", "C");
    assert!(text(dumb).is_ascii());
    assert!(text(json).contains('µ'), "JSON is UTF-8 everywhere");
}

#[test]
fn what_is_longer_than_the_terminal_goes_through_the_pager() {
    let place = Place::new();
    let to = place.path().join("paged");
    let paged = |pager: &str, more: &[&str], lines: u16| {
        let _ = std::fs::remove_file(&to);
        let mut command = plain(&place, &[&["explain"][..], more].concat());
        command.env("PAGER", pager);
        let (shown, code) = on_terminal(command, 100, lines);
        assert_eq!(code, Some(0), "{shown}");
        (shown, std::fs::read_to_string(&to).ok())
    };
    let pager = format!("env | grep ^LESS= > '{0}'; cat >> '{0}'", to.display());
    let (shown, read) = paged(&pager, &[], 10);
    assert!(shown.is_empty(), "{shown}");
    let read = read.unwrap();
    assert!(read.starts_with("LESS=FRX\n\u{1b}[1mRun "), "{read}");
    let (shown, none) = paged(&pager, &["--no-pager"], 10);
    assert!(none.is_none() && format!("LESS=FRX\n{shown}") == read);
    assert!(paged(&pager, &[], 2_000).1.is_none(), "all of it fits");
    let (shown, _) = paged("wireprof-has-no-such-pager", &[], 10);
    assert_eq!(shown.matches("wireprof-has-no-such-pager").count(), 1, "{shown}");
    assert!(shown.starts_with("wireprof: no pager `wireprof-has-no-such-pager`: "), "{shown}");
    assert_eq!(shown.matches("Run 20261122-101530-testbed (complete)").count(), 1, "{shown}");
    // A pager that is left at once is no error.
    assert_eq!(paged("true", &[], 10).0, "");
}

/// All verbs below a command, each with the words that call it.
fn verbs(command: &Verb, called: &str) -> Vec<(String, Verb)> {
    let below = command.get_subcommands().filter(|verb| verb.get_name() != "help");
    below
        .flat_map(|verb| {
            let called = format!("{called} {}", verb.get_name());
            let mut all = verbs(verb, &called);
            all.push((called, verb.clone()));
            all
        })
        .collect()
}

#[test]
fn every_option_has_a_help_text_and_in_long_helps_a_heading() {
    let mut command = Arguments::command();
    command.build();
    let mut lacking = Vec::new();
    for (called, verb) in verbs(&command, "wireprof") {
        let options: Vec<_> =
            verb.get_arguments().filter(|option| !["help", "version"].contains(&option.get_id().as_str())).collect();
        for option in &options {
            if option.get_help().is_none() {
                lacking.push(format!("{called} --{}: no help", option.get_id()));
            }
            let many = options.iter().filter(|option| !option.is_positional()).count() > 10;
            if many && !option.is_positional() && option.get_help_heading().is_none() {
                lacking.push(format!("{called} --{}: no heading", option.get_id()));
            }
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn examples_can_be_pasted_from_a_narrow_terminal() {
    let mut command = Arguments::command();
    command.build();
    let mut wide = Vec::new();
    for (called, verb) in verbs(&command, "wireprof") {
        let Some(text) = verb.get_after_help().map(ToString::to_string) else { continue };
        let Some((_, examples)) = text.split_once("Example") else { continue };
        wide.extend(
            examples.lines().filter(|line| line.chars().count() > NARROW).map(|line| format!("{called}: {line}")),
        );
        // What begins a line begins a command, goes on with one, or is a shell's remark.
        let mut goes_on = false;
        for line in examples.lines().skip(1).filter(|line| !line.trim().is_empty()) {
            let begins = ["  wireprof ", "  # ", "  WIREPROF_"].iter().any(|start| line.starts_with(start));
            assert!(begins != goes_on, "{called}: {line}");
            goes_on = line.ends_with('\\');
        }
    }
    assert!(wide.is_empty(), "wider than {NARROW} columns:\n{}", wide.join("\n"));
    let place = Place::new();
    let (shown, _) = on_terminal(plain(&place, &["sweep", "--help"]), 80, 2_000);
    let shown = bare(&shown);
    assert!(shown.contains("\n  wireprof sweep --preset materialize --workload bench.ini --restore\n"));
    for heading in ["Target:", "Load:", "Plan:", "What is measured:", "Output:"] {
        assert!(shown.contains(&format!("\n{heading}\n")), "{heading}: {shown}");
    }
}

#[test]
fn manual_pages_are_made_for_every_verb() {
    let place = Place::new();
    let one = place.done(&["man"]);
    assert!(one.starts_with(".ie") && one.contains(".TH wireprof 1"), "{one}");
    place.done(&["man", "pages"]);
    let mut command = Arguments::command();
    command.build();
    for (called, _) in verbs(&command, "wireprof") {
        let page = place.path().join("pages").join(format!("{}.1", called.replace(' ', "-")));
        assert!(page.is_file(), "{}", page.display());
    }
}

#[test]
fn words_that_nobody_can_read_any_more_cost_no_more_than_the_words() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let runs = ["--runs", place.runs().to_str().unwrap()].map(String::from);
    let mut refused = Command::new(WIREPROF);
    refused.args(["explain", "nosuch"]).args(&runs).stdin(Stdio::null()).stderr(full.try_clone().unwrap());
    assert_eq!(refused.output().unwrap().status.code(), Some(2));
    let mut lost = Command::new(WIREPROF);
    lost.args(["explain", "latest"]).args(&runs).stdin(Stdio::null()).stdout(full);
    let lost = lost.output().unwrap();
    let told = String::from_utf8(lost.stderr).unwrap();
    assert_eq!(lost.status.code(), Some(3), "an answer that is lost is no success: {told}");
    assert!(told.contains("cannot write to standard output"), "{told}");
}
