//! The Debian package: `scripts/deb` makes one of the program under test, and it holds what a package must. Invariant:
//! nothing is installed on this machine; the package is unpacked into a directory of the test's own.

use crate::binaries::WIREPROF;
use crate::skip::skip;
use std::path::Path;
use std::process::Command;

/// What a command prints; a panic with its errors where it fails.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// With these permissions, size and owner at the beginning of its line.
const CONTENTS: [&str; 10] = [
    "./usr/bin/wireprof",
    "./usr/share/bash-completion/completions/wireprof",
    "./usr/share/zsh/vendor-completions/_wireprof",
    "./usr/share/fish/vendor_completions.d/wireprof.fish",
    "./usr/share/man/man1/wireprof.1.gz",
    "./usr/share/man/man1/wireprof-sweep.1.gz",
    "./usr/share/doc/wireprof/copyright",
    "./usr/share/doc/wireprof/LICENSE-MIT",
    "./usr/share/doc/wireprof/LICENSE-APACHE",
    "./usr/share/doc/wireprof/LICENSE-GPL-2.0",
];

#[test]
fn the_debian_package_has_the_program_its_pages_and_licences_and_runs_where_it_is_unpacked() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        return skip("dpkg-deb is not installed");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deb");
    let place = tempfile::tempdir().unwrap();
    let path = printed(Command::new(script).arg(WIREPROF).arg(place.path()));
    let package = Path::new(path.trim());
    assert_eq!(package.parent().unwrap(), place.path().canonicalize().unwrap());

    let deb = |option: &str| printed(Command::new("dpkg-deb").arg(option).arg(package));
    let info = deb("--info");
    let version = format!(" Version: {}\n", env!("CARGO_PKG_VERSION"));
    for wanted in [" Package: wireprof\n", &version, " Architecture: amd64\n", " Depends: libc6 (>= 2."] {
        assert!(info.contains(wanted), "no {wanted:?} in {info}");
    }
    let contents = deb("--contents");
    for wanted in CONTENTS {
        let line = contents.lines().find(|line| line.ends_with(&format!(" {wanted}")));
        let line = line.unwrap_or_else(|| panic!("no {wanted} in {contents}"));
        let mode = if wanted.contains("/bin/") { "-rwxr-xr-x root/root" } else { "-rw-r--r-- root/root" };
        assert!(line.starts_with(mode), "{line}");
    }

    let unpacked = place.path().join("root");
    printed(Command::new("dpkg-deb").arg("-x").arg(package).arg(&unpacked));
    let program = unpacked.join("usr/bin/wireprof");
    assert_eq!(printed(Command::new(program).arg("--version")), format!("wireprof {}\n", env!("CARGO_PKG_VERSION")));
    let completions = unpacked.join("usr/share/bash-completion/completions/wireprof");
    assert!(std::fs::read_to_string(completions).unwrap().contains("complete"));
}

#[test]
fn a_package_of_no_program_is_refused_with_the_remedy() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deb");
    let output = Command::new(script).arg("/nonexistent/wireprof").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("/nonexistent/wireprof") && told.contains("cargo build"), "{told}");
}
