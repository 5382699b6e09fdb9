//! Working copies of the real git and jj: what a directory is at, the change of one file alone, and a description
//! where it was asked for. Skipped, with the reason printed, where a tool is not installed.

use crate::skip::skip;
use std::path::Path;
use std::process::Command;
use wireprof::vcs::{Tool, commit_file, describe_and_begin, is_unchanged, working_copy};

/// Runs a command in the directory, with nobody's own settings; its answer.
fn run(directory: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

fn installed(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        skip(format!("{program} is not installed"));
    }
    there
}

fn files(directory: &Path) {
    std::fs::write(directory.join("prompt.txt"), "Next steps:\n - one\n").unwrap();
    std::fs::write(directory.join("server.rs"), "fn main() {}\n").unwrap();
}

fn git(directory: &Path) {
    run(directory, "git", &["init", "-q"]);
    run(directory, "git", &["config", "user.name", "a"]);
    run(directory, "git", &["config", "user.email", "a@b"]);
    files(directory);
    run(directory, "git", &["add", "."]);
    run(directory, "git", &["commit", "-qm", "First"]);
}

fn jj(directory: &Path) {
    run(directory, "jj", &["git", "init", "--no-colocate"]);
    run(directory, "jj", &["config", "set", "--repo", "user.name", "a"]);
    run(directory, "jj", &["config", "set", "--repo", "user.email", "a@b"]);
    files(directory);
    run(directory, "jj", &["commit", "-m", "First"]);
}

#[test]
fn a_git_working_copy_tells_its_commit_and_whether_it_is_changed() {
    if !installed("git") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    git(place.path());
    let found = working_copy(place.path()).unwrap();
    assert_eq!(
        (found.tool, found.change.as_deref(), found.title.as_str(), found.changed),
        (Tool::Git, None, "First", false)
    );
    assert_eq!(found.commit, run(place.path(), "git", &["rev-parse", "HEAD"]));
    std::fs::write(place.path().join("server.rs"), "fn main() { }\n").unwrap();
    let found = working_copy(place.path()).unwrap();
    assert!(found.changed);
    assert_eq!(found.newest.unwrap().file, "server.rs");
}

#[test]
fn a_prompts_change_is_a_commit_of_its_own_under_git() {
    if !installed("git") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    git(place.path());
    let prompt = place.path().join("prompt.txt");
    assert!(is_unchanged(&prompt).unwrap());
    std::fs::write(place.path().join("server.rs"), "changed\n").unwrap();
    run(place.path(), "git", &["add", "server.rs"]);
    std::fs::write(&prompt, "Next steps:\n - [done] one\n").unwrap();
    assert!(!is_unchanged(&prompt).unwrap());
    assert_eq!(commit_file(&prompt, "Step 1 done").unwrap(), Tool::Git);
    assert_eq!(run(place.path(), "git", &["show", "--format=%s", "--name-only"]), "Step 1 done\n\nprompt.txt");
    assert_eq!(run(place.path(), "git", &["diff", "--cached", "--name-only"]), "server.rs");
}

#[test]
fn jj_keeps_the_prompts_change_apart_from_the_optimization_and_describes_only_when_asked() {
    if !installed("jj") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    jj(place.path());
    let before = working_copy(place.path()).unwrap();
    assert_eq!((before.tool, before.changed, before.title.as_str()), (Tool::Jj, false, ""));
    std::fs::write(place.path().join("server.rs"), "faster\n").unwrap();
    let prompt = place.path().join("prompt.txt");
    assert!(is_unchanged(&prompt).unwrap());
    std::fs::write(&prompt, "Next steps:\n - [done] one\n").unwrap();
    assert_eq!(commit_file(&prompt, "Step 1 done").unwrap(), Tool::Jj);
    let log = |revision: &str, template: &str| {
        run(place.path(), "jj", &["log", "--no-graph", "-r", revision, "-T", template])
    };
    assert_eq!(log("@-", "description"), "Step 1 done");
    assert_eq!(run(place.path(), "jj", &["diff", "-r", "@-", "--name-only"]), "prompt.txt");
    assert_eq!(run(place.path(), "jj", &["diff", "-r", "@", "--name-only"]), "server.rs");
    // The optimization's change keeps its id.
    let after = working_copy(place.path()).unwrap();
    assert_eq!((after.change.clone(), after.changed), (before.change, true));
    describe_and_begin(place.path(), "Batch the oracle\n\nmore").unwrap();
    assert_eq!(log("@-", "description"), "Batch the oracle\n\nmore");
    assert_eq!(log("@-", "change_id"), after.change.unwrap());
    assert_eq!(log("@", "description"), "");
}
