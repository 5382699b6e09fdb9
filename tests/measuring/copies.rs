//! With `--clean` no copy of wireprof is left on another host, whatever fails there. The other host is a directory: a
//! program in ssh's place runs here what ssh would run there.

use crate::sweeps::{Answer, Place, answer};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const URL: &str = "postgres://me@127.0.0.1:1/db";

/// What ssh would start there does not run, once it is there.
const UNABLE: &str =
    "case $command in *-for-another-host*) [ ! -d \"$HOME/.cache/wireprof/programs\" ] || exit 7;; esac";

/// Runs wireprof with that other host, of which `more` is in ssh's place as well; no copy may be left.
fn assert_no_copy_left(more: &str, arguments: &[&str], expected: &str) {
    let place = Place::new();
    let (ssh, home) = (place.path().join("ssh"), place.path().join("home"));
    std::fs::create_dir(&home).unwrap();
    let text =
        format!("#!/bin/sh\nHOME={}\nfor command; do :; done\n{more}\nexec sh -c \"$command\"\n", home.display());
    std::fs::write(place.path().join("draft"), text).unwrap();
    std::fs::set_permissions(place.path().join("draft"), std::fs::Permissions::from_mode(0o755)).unwrap();
    // By another process, so that no descriptor open for writing is inherited by another test's child.
    assert!(std::process::Command::new("cp").arg(place.path().join("draft")).arg(&ssh).status().unwrap().success());
    let mut command = place.command(arguments);
    let Answer { err, out, code } =
        answer(command.env("WIREPROF_SSH", ssh).env_remove("XDG_CACHE_HOME").output().unwrap());
    assert!(code > 0 && err.contains(expected), "{out}\n{err}");
    assert!(err.contains("copying wireprof to ssh://there"), "{err}");
    let programs: PathBuf = home.join(".cache/wireprof/programs");
    assert!(home.join(".cache/wireprof").is_dir() && !programs.exists(), "{err}");
}

#[test]
fn of_a_target_host_that_refuses_or_cannot_run_it_no_copy_is_left() {
    let asked = ["record", "--preset", "generic", "--url", URL, "--clients", "1", "--pid", "4194305"];
    let asked = [&asked[..], &["--target-host", "ssh://there", "--clean"]].concat();
    assert_no_copy_left("", &asked, "there is no such process on this host");
    assert_no_copy_left(UNABLE, &asked, "running wireprof on ssh://there is not possible");
}

#[test]
fn of_a_companions_host_that_refuses_or_cannot_run_it_no_copy_is_left() {
    let asked = ["sweep", "--preset", "generic", "--url", URL, "--query", "select 1"];
    let asked = [&asked[..], &["--also", "ssh://there/no-such-process", "--also-clean"]].concat();
    assert_no_copy_left("", &asked, "no-such-process");
    assert_no_copy_left(UNABLE, &asked, "running wireprof on ssh://there is not possible");
}

#[test]
fn of_a_load_host_that_refuses_or_cannot_run_it_no_copy_is_left() {
    let url = "postgres://me@192.0.2.1:1/db?connect_timeout=1";
    let asked = ["sweep", "--preset", "generic", "--url", url, "--query", "select 1"];
    let asked = [&asked[..], &["--load-host", "ssh://there", "--clean"]].concat();
    assert_no_copy_left("", &asked, "on ssh://there");
    assert_no_copy_left(UNABLE, &asked, "running wireprof on ssh://there is not possible");
}
