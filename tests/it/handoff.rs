//! Handing work on, by the real binary: steps of a prompt are listed, marked and added, and nothing else of it changes.

use crate::binaries::WIREPROF;
use std::path::Path;
use std::process::{Command, Output};

/// With Windows' line breaks and a byte that is not UTF-8.
const PROMPT: &[u8] = b"Tune it \xff.\r\n\r\nImmediate next steps (handoff):\r\n - Fixed pools:\r\n   \
                        `-force-pre-auth`.\r\n - Sweep `1,4`\r\n";

fn handoff(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(WIREPROF);
    command.args(["log", "handoff", "prompt.txt"]).args(arguments).current_dir(directory);
    command.output().unwrap()
}

fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("prompt.txt"), PROMPT).unwrap();
    place
}

#[test]
fn steps_of_the_prompt_and_what_the_log_leaves_open_are_listed() {
    let place = place();
    let log = "## Session 48: a\n\n**Conclusion.** Faster. Next: try the pool.\n";
    std::fs::write(place.path().join("pgwire-server-perf-log.md"), log).unwrap();
    let output = handoff(place.path(), &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1. Fixed pools: `-force-pre-auth`. (line 4)"), "{text}");
    assert!(text.contains("session 48, line 3: try the pool."), "{text}");
    assert_eq!(std::fs::read(place.path().join("prompt.txt")).unwrap(), PROMPT);
}

#[test]
fn a_mark_and_an_added_step_change_no_other_byte_and_are_printed_as_a_difference() {
    let place = place();
    let output = handoff(place.path(), &["--done", "1", "--session", "49", "--add", "Ask the database"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let mark = b" - [done in session 49, not to be taken up again] Fixed pools:";
    let bytes = std::fs::read(place.path().join("prompt.txt")).unwrap();
    let at = PROMPT.windows(3).position(|w| w == b" - ").unwrap();
    let marked = [&PROMPT[..at], mark, &PROMPT[at + b" - Fixed pools:".len()..], b" - Ask the database\r\n"].concat();
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&marked));
    assert_eq!(bytes, marked);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("+ - [done in session 49") && text.contains("+ - Ask the database"), "{text}");
}

#[test]
fn what_cannot_be_marked_changes_nothing_and_exits_with_2() {
    let place = place();
    for (arguments, why) in [
        (&["--done", "9"][..], "no step 9"),
        (&["--commit"][..], "--done"),
        (&["--done", "1", "--done", "9"], "no step 9"),
    ] {
        let output = handoff(place.path(), arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(std::fs::read(place.path().join("prompt.txt")).unwrap(), PROMPT);
}
